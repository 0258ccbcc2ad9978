//! The servers the tests run against: a DynamoDB and an S3 that live in the
//! test's own process, do what the real ones do, and misbehave on demand.
//!
//! Both are reached over real TCP by the real AWS SDK and by the real binary.
//! What goes wrong, and at which call, is a *value* (a plan) handed to the
//! server when it starts or while it runs; nothing depends on the clock except
//! where a plan asks for it. Each server has a thread and a runtime of its own,
//! so it neither notices a paused clock in the test nor blocks it, and stops
//! when it is dropped.

// Nothing in a program can be public in the sense of the lint.
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
pub mod wire;
