//! TODO

pub mod keepalive;
pub mod runtime;
pub mod serve;
