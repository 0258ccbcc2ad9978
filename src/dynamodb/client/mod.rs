//! A client of DynamoDB for calls that are made a thousand times a second.
//!
//! The body goes in as bytes and comes out as bytes. Endpoint, headers and signing key
//! are worked out once. Bottom-up:
//!
//! - [`clock_skew`]: the error of this machine's clock
//! - [`sigv4`]: the signature of a call
//! - [`service_error`]: an error that DynamoDB answers
//! - [`operation`]: one operation: signs, sends and classifies errors

pub(crate) mod clock_skew;
pub(crate) mod operation;
pub(crate) mod service_error;
pub(crate) mod sigv4;
