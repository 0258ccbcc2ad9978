//! The commands: each a folder, none of which uses another.
//!
//! - `ingest`: a list into a table, and the refresh of one;
//! - `verify`: a list against a table;
//! - `lookup`: questions for hashes;
//! - `plan`: a forecast of an import;
//! - `serve`: look-ups over HTTP;
//! - `lambda`: the same as a Lambda function, which uses `serve`;
//! - `item_options`: attributes of items, below the commands.

pub(crate) mod ingest;
pub(crate) mod item_options;
#[cfg(feature = "lambda")]
pub(crate) mod lambda;
pub(crate) mod lookup;
pub(crate) mod plan;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod verify;
