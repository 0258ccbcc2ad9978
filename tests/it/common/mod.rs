//! The fake servers of the tests, such as a DynamoDB and an S3. They run in the test's
//! process, behave like the real ones, and fail on demand.
//!
//! The real AWS SDK and the real binary reach them over TCP. A failure, and its call,
//! is a *value* (a plan) that a server gets at its start or later. Nothing depends on
//! the clock, unless a plan says so. Each server has a separate thread and runtime, so
//! a paused clock in the test does not affect it. Dropping a server stops it.

// The lint does not apply to a test program.
#![allow(unreachable_pub)]

pub mod binary;
pub mod fake_api;
pub mod fake_credentials;
pub mod fake_dynamo;
#[cfg(feature = "lambda")]
pub mod fake_lambda;
pub mod fake_s3;
pub mod fake_scaling;
pub mod fake_sign_in;
pub mod item;
pub mod sigv4;
pub mod tls;
pub mod wire;
