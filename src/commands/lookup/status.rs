//! Status of an answer: known, unknown, invalid or an error.

use serde::{Deserialize, Serialize};

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// The hash is there.
    Known,
    /// It is not.
    Unknown,
    /// The line is no hash of this kind, or no path.
    Invalid,
    /// It could not be found out.
    Error,
}

impl Status {
    /// As it stands in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Status::Known => "known",
            Status::Unknown => "unknown",
            Status::Invalid => "invalid",
            Status::Error => "error",
        }
    }
}
