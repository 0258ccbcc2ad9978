//! TODO

pub mod answer;
pub mod api_keys;
pub mod app;
pub mod body_budget;
pub mod circl;
pub mod listen;
pub mod metrics;
pub mod openapi;
pub mod reads;
pub mod router;
