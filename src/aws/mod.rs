//! TODO

pub mod config;
pub mod credential_chain;
pub mod credentials;
pub mod endpoint;
pub mod error;
pub mod profile;
