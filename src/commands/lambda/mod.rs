//! AWS Lambda functions: commands of this program, each with a binary as its bootstrap.
//!
//! Bottom-up:
//!
//! * `runtime`: the log, the environment and the runtime of each function.
//! * `keepalive`: one round of `hashferry keepalive`, invoked by a schedule.
//! * `serve`: `hashferry serve` behind API Gateway or a function URL.

pub mod keepalive;
pub(crate) mod runtime;
pub mod serve;
