//! Access key and region that clients of the embedded servers sign with.

/// The access key the client side signs with. It is no secret: the servers
/// accept any credentials, but an SDK client does not send a request without.
pub const ACCESS_KEY_ID: &str = "local";

/// Goes with [`ACCESS_KEY_ID`], and is no secret either.
pub const SECRET_ACCESS_KEY: &str = "local-is-no-secret";

/// The region the client side signs for; the servers answer for any.
pub const REGION: &str = "us-east-1";
