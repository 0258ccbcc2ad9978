//! The connection to AWS: configuration, credentials, clients and errors.
//!
//! One [`config::Aws`] serves a whole command. The calls themselves are in `source`
//! (S3) and `dynamodb`. Bottom-up:
//!
//! - [`error`]: classes of failed calls: throttled, transient, expired, invalid,
//!   permanent
//! - [`endpoint`]: server URLs, validated and without secrets
//! - [`profile`]: profiles of the shared configuration files
//! - [`credentials`]: the credentials in use, and their renewal
//! - [`credential_chain`]: the credentials provider: the standard chain, or a profile
//! - [`config`]: the connection: region, endpoints, timeouts and clients

pub(crate) mod config;
pub(crate) mod credential_chain;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod profile;
