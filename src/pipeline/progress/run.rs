//! Identity of a run: only the same run resumes a checkpoint.

use serde::{Deserialize, Serialize};

/// Identity of a run. A run resumes a checkpoint only if all fields are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// Sources as named on the command line, in order.
    pub sources: Vec<String>,
    /// Options that decide how the sources are read.
    #[serde(rename = "reading")]
    pub read_settings: String,
    /// Table name.
    pub table: String,
    /// Location of the table: endpoint and region, with its ARN if known.
    #[serde(rename = "place")]
    pub table_location: String,
    /// DynamoDB's id of the table; `None` if unknown. A table that was deleted and
    /// created again has another.
    pub table_id: Option<String>,
    /// Hash algorithm.
    #[serde(rename = "hash")]
    pub algorithm: String,
    /// Item as it is written, without its hash.
    #[serde(rename = "item")]
    pub item_template: String,
}
