//! Findings: hashes of the list that are missing in the table, or different there.

use crate::base::hash::Hash;
use crate::base::record::Place;
use crate::dynamodb::batch_get::expected::Difference;
use std::fmt;

/// What is wrong about a hash of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It is not in the table.
    Missing,
    /// It is, and an attribute is not as it must be.
    Different(Box<Difference>),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let What::Different(difference) = self else {
            return f.write_str("missing");
        };
        let Difference { attribute, found } = &**difference;
        match found {
            Some(found) => write!(f, "different ({attribute} is {found})"),
            None => write!(f, "different (it has no {attribute})"),
        }
    }
}

/// A hash of the list that is not in the table as it should be.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Problem<'a> {
    /// The hash as text, in the case of the list.
    pub hash: &'a str,
    /// The source it was read from.
    pub source: &'a str,
    /// Its line there, from 1.
    pub line: u64,
    /// Offset of the line's first byte in the decoded source, from 0.
    pub byte: u64,
    /// What is wrong.
    pub what: &'a What,
}

/// The same on its way through the stages.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) hash: Hash,
    pub(super) place: Place,
    pub(super) what: What,
}
