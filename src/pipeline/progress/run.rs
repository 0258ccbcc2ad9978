//! The identity of a run: a checkpoint is resumed by the same run only.

use serde::{Deserialize, Serialize};

/// By what a run is recognised: all of it must be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// The sources as they were named, in order.
    pub sources: Vec<String>,
    /// How they are read.
    pub reading: String,
    /// The table's name.
    pub table: String,
    /// Where it is: its ARN, or the endpoint and region.
    pub place: String,
    /// DynamoDB's own id of it, where it has one: a table that was deleted and
    /// made anew has another.
    pub table_id: Option<String>,
    /// The hash algorithm.
    pub hash: String,
    /// The items, as they are written, without their hash.
    pub item: String,
}
