//! Status of an answer: known, unknown, invalid or an error.

use serde::{Deserialize, Serialize};

/// Status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// The backend has the hash.
    Known,
    /// The backend does not have the hash.
    Unknown,
    /// The line is not a hash of this algorithm, or not a path.
    Invalid,
    /// The look-up failed.
    Error,
}

impl Status {
    /// The status as written in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Status::Known => "known",
            Status::Unknown => "unknown",
            Status::Invalid => "invalid",
            Status::Error => "error",
        }
    }
}
