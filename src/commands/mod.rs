//! Commands. Each has a folder and uses no other, except `lambda`.
//!
//! - `ingest`: writes a list to a table, or refreshes it;
//! - `verify`: compares a list with a table;
//! - `lookup`: looks up hashes;
//! - `plan`: forecasts an import;
//! - `serve`: serves look-ups over HTTP;
//! - `lambda`: AWS Lambda functions, one of which uses `serve`;
//! - `item_options`: attributes of items, for several commands;
//! - `run_options`: options that several commands share.

pub(crate) mod ingest;
pub(crate) mod item_options;
#[cfg(feature = "lambda")]
pub(crate) mod lambda;
pub(crate) mod lookup;
pub(crate) mod plan;
pub(crate) mod run_options;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod verify;
