//! TODO

pub mod api;
pub mod chunked;
pub mod conditions;
pub mod integrity;
pub mod listing;
pub mod service;
pub mod store;
