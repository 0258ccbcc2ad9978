//! Records: hashes with their positions, and reasons for rejected lines.
//!
//! A plain list has one hash a line. Blanks around it (a carriage return among them)
//! and a byte order mark before it are ignored. Blank lines, `#` comments and header
//! lines are skipped, and counted as skipped. Every other line is rejected with a
//! reason: no line is dropped or repaired.
//!
//! Lists are often concatenated, so a header is recognised on any line. A header names
//! a hash column (`SHA-256`, `"md5"`, `sha256_hash`), and no such name can be a hash.

use crate::base::hash::Hash;
use crate::base::row_attributes::RowAttributes;
use serde::Serialize;
use std::fmt;

/// Number of the first source of the second list, if a run reads two.
pub(crate) const SECOND_LIST_START: u32 = 1 << 31;

/// Position of a line in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the source, from 0 in the order given; from `SECOND_LIST_START` for a second list.
    pub source: u32,
    /// Line number, from 1.
    pub line: u64,
    /// Offset of the line's first byte in the decompressed source, from 0.
    pub byte: u64,
}

/// Change to make to a record's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Put the item.
    #[default]
    Put,
    /// Delete the item.
    Delete,
}

/// A line to write: its hash, position and attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Hash of the line.
    pub hash: Hash,
    /// Position of the line.
    pub position: Position,
    /// Attributes from the row, besides the hash.
    pub attributes: RowAttributes,
    /// Change to make.
    pub action: Action,
    /// Number of the segment that holds the line; 0 until it is known.
    pub segment: u64,
}

impl Record {
    /// Creates a put without row attributes.
    pub fn new(hash: Hash, position: Position) -> Record {
        Record {
            hash,
            position,
            attributes: RowAttributes::default(),
            action: Action::Put,
            segment: 0,
        }
    }

    /// True if `other` has the same key: the same hash, and the same sort key if that
    /// comes from the row.
    pub fn is_same_item(&self, other: &Record) -> bool {
        self.hash == other.hash && self.attributes.key_json() == other.attributes.key_json()
    }
}

/// Reason for rejecting a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectReason {
    /// Line longer than [`MAX_LINE_BYTES`].
    Overlong,
    /// NUL byte in the line: binary data, or UTF-16 text.
    Nul,
    /// Invalid UTF-8.
    Utf8,
    /// Length differs from a hash of the algorithm.
    Length,
    /// Length of a hash, but not hexadecimal.
    Hex,
    /// Not base64, in a list of base64 hashes.
    Base64,
    /// Multi-line record without a blank line at its end.
    Record,
    /// Hash column without a hash: empty, or marked as absent.
    NoHash,
    /// Row that ends before the hash column.
    Columns,
    /// Unclosed quoted field.
    Quote,
    /// Hash of an algorithm other than the list's.
    Algorithm,
    /// Several hashes on one line, separated by blanks.
    SeveralHashes,
    /// Not a JSON object.
    Json,
    /// Header with other columns than the first header, or directly after another
    /// header.
    Header,
    /// Item that DynamoDB found invalid on its own, while it accepts others.
    #[serde(rename = "refused")]
    InvalidItem,
    /// Attribute column whose value does not match the attribute's type.
    Attribute,
    /// Empty sort key column.
    NoKey,
    /// Key column longer than DynamoDB's maximum for a key.
    LongKey,
    /// Item larger than DynamoDB's maximum of 400 KB.
    LargeItem,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RejectReason::Overlong => "longer than 64 KiB",
            RejectReason::Nul => "holds a NUL byte",
            RejectReason::Utf8 => "not valid UTF-8",
            RejectReason::Length => "not as long as a hash of this algorithm",
            RejectReason::Hex => "not hexadecimal",
            RejectReason::Base64 => "not base64",
            RejectReason::Record => "a record of several lines without a blank line at its end",
            RejectReason::NoHash => "its hash column holds no hash",
            RejectReason::Columns => "too few columns: the row ends before the hash column",
            RejectReason::Quote => "an unclosed quoted field",
            RejectReason::Algorithm => "a hash of another algorithm",
            RejectReason::SeveralHashes => {
                "several hashes on one line; put one hash on each line: tr -s ' ' '\\n' < LIST"
            }
            RejectReason::Json => "not a JSON object",
            RejectReason::Header => {
                "a header with other columns than the first one, or a header directly after another"
            }
            RejectReason::InvalidItem => "an item that DynamoDB finds invalid",
            RejectReason::Attribute => "an attribute column holds a value of another type",
            RejectReason::NoKey => "the sort key column is empty",
            RejectReason::LongKey => "a key column is longer than DynamoDB's maximum for a key",
            RejectReason::LargeItem => "the item would be larger than 400 KB",
        })
    }
}

/// Maximum length of a line in bytes, without its line feed. No hash list comes near
/// it: the longest path in Linux has 4,096 bytes.
pub(crate) const MAX_LINE_BYTES: usize = 64 * 1024;
