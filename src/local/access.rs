//! Access key and region for clients of the embedded servers.

/// Access key ID for clients. It is not a secret: the servers
/// accept any credentials, but an SDK client needs some.
pub const ACCESS_KEY_ID: &str = "local";

/// Secret key of [`ACCESS_KEY_ID`], also no secret.
pub const SECRET_ACCESS_KEY: &str = "local-is-no-secret";

/// Region for clients; the servers accept any.
pub const REGION: &str = "us-east-1";
