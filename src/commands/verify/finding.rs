//! Findings: hashes of the list that are missing from the table, or different in it.

use crate::base::hash::Hash;
use crate::base::record::Position;
use crate::dynamodb::batch_get::expected::Mismatch;
use std::fmt;

/// Kind of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The hash is not in the table.
    Missing,
    /// The hash is in the table, with another value of a compared attribute or without it.
    Different(Box<Mismatch>),
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FindingKind::Different(difference) = self else {
            return f.write_str("missing");
        };
        let Mismatch { attribute, found } = &**difference;
        match found {
            Some(found) => write!(f, "different ({attribute} is {found})"),
            None => write!(f, "different (it has no {attribute})"),
        }
    }
}

/// A hash of the list that is missing from the table, or different in it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Finding<'a> {
    /// The hash as text, in the case of the list.
    pub hash: &'a str,
    /// Name of its source.
    pub source: &'a str,
    /// Line number in the source, from 1.
    pub line: u64,
    /// Offset of the line's first byte in the decompressed source, from 0.
    pub byte: u64,
    /// Missing or different.
    pub kind: &'a FindingKind,
}

/// A finding of the checker, before its hash and position become text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnresolvedFinding {
    pub(super) hash: Hash,
    pub(super) position: Position,
    pub(super) kind: FindingKind,
}
