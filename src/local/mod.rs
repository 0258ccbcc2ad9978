//! An embedded S3 and an embedded DynamoDB, on this machine, without an account.
//!
//! The folder imports nothing of the rest of the crate. Its files, from the bottom up:
//!
//! * [`error`]: start errors of the servers;
//! * [`access`]: the access key and the region that clients sign with;
//! * [`lock`]: the lock on the folder of the data;
//! * [`server`]: one server on a separate thread and runtime;
//! * [`front`]: the HTTP front of both, which keeps web pages out;
//! * [`s3`]: buckets as folders, objects as files;
//! * [`dynamodb`]: tables in a SQLite file;
//! * [`servers`]: both servers, started and stopped together.

pub(crate) mod access;
pub(crate) mod dynamodb;
pub(crate) mod error;
pub(crate) mod front;
pub(crate) mod lock;
pub(crate) mod s3;
pub(crate) mod server;
pub(crate) mod servers;
