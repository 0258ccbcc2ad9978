//! TODO

pub mod clock_skew;
pub mod operation;
pub mod service_error;
pub mod sigv4;
