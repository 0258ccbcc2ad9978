//! The connection to AWS: configuration, credentials, clients and errors.
//!
//! One [`config::Aws`] serves a whole command. The calls themselves are made where their
//! subject is: S3 in `source`, DynamoDB in `dynamodb`. Bottom-up:
//!
//! - [`error`]: the meaning of a failed call: throttled, transient, expired, invalid, permanent
//! - [`endpoint`]: URLs of servers, checked and made safe to show
//! - [`profile`]: profiles of the shared configuration files
//! - [`credentials`]: the credentials in use, and their renewal
//! - [`credential_chain`]: the provider of credentials: the standard chain, or a profile
//! - [`config`]: the connection: region, endpoints, timeouts and clients

pub(crate) mod config;
pub(crate) mod credential_chain;
pub(crate) mod credentials;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod profile;
