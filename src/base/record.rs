//! A line → a hash, a line to skip, or a line to reject, with the reason.
//!
//! Plain lists: one hash a line. Around it may stand blanks (a carriage return
//! among them), before it a byte order mark. Blank lines, `#` comments and
//! header lines are skipped, and counted as skipped. Everything else is
//! rejected by name; nothing is dropped, nothing is repaired.
//!
//! A header is recognised wherever it stands, for lists are concatenated: it is
//! a line that names a hash column (`SHA-256`, `"md5"`, `sha256_hash`), and no
//! such name can be a hash.

use crate::base::hash::Hash;
use crate::base::row_attributes::Extra;
use serde::Serialize;
use std::fmt;

/// The number of the first source of a second list, where two are read.
pub(crate) const LANE: u32 = 1 << 31;

/// Where a line stands, so that whatever happens to it can be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which source, counted from 0 in the order they were given; those of a second
    /// list from `LANE` on.
    pub source: u32,
    /// Line number, from 1.
    pub line: u64,
    /// Offset of the line's first byte in the decoded source, from 0.
    pub byte: u64,
}

/// What is to be done about a record's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// It is to be in the table.
    #[default]
    Put,
    /// It is not to be there.
    Delete,
}

/// A line that is to be written: its hash and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The hash.
    pub hash: Hash,
    /// Where it was read.
    pub place: Place,
    /// What its item has of its own besides the hash.
    pub extra: Extra,
    /// What is to be done.
    pub action: Action,
    /// The number of the stretch that it is in, once it is known.
    pub stretch: u64,
}

impl Record {
    /// A record whose item is to be in the table, with nothing of its own besides
    /// `hash`.
    pub fn new(hash: Hash, place: Place) -> Record {
        Record {
            hash,
            place,
            extra: Extra::default(),
            action: Action::Put,
            stretch: 0,
        }
    }

    /// Whether `other` is about the same item: the same hash, and the same sort key
    /// where that comes from the row.
    pub fn is_of_same_item(&self, other: &Record) -> bool {
        self.hash == other.hash && self.extra.key_json() == other.extra.key_json()
    }
}

/// Why a line was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// Longer than [`MAX_LINE_BYTES`].
    Overlong,
    /// Holds a NUL byte: binary data, or UTF-16 text.
    Nul,
    /// Not valid UTF-8.
    Utf8,
    /// Not as long as a hash of the algorithm.
    Length,
    /// As long as a hash, but not hexadecimal.
    Hex,
    /// Not base64, where hashes are written so.
    Base64,
    /// A record of several lines that no blank line ends.
    Record,
    /// The hash column holds none: it is empty, or says that there is none.
    NoHash,
    /// The row has not so many columns that the hash's is among them.
    Columns,
    /// A quoted field that is not closed.
    Quote,
    /// A hash of another algorithm than the list's.
    Algorithm,
    /// Several hashes of the algorithm, separated by blanks.
    SeveralHashes,
    /// Not a JSON object.
    Json,
    /// It names columns: other ones than the list began with, or no hash came since they
    /// were named before.
    Header,
    /// DynamoDB refused the item on its own, other items being accepted.
    Refused,
    /// A column that gives an attribute holds no value of the attribute's type.
    Attribute,
    /// The column that gives the table's sort key is empty.
    NoKey,
    /// The column that gives a key holds more than DynamoDB takes for one.
    LongKey,
    /// The item would be larger than DynamoDB takes.
    LargeItem,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Overlong => "longer than 64 KiB",
            Reason::Nul => "holds a NUL byte",
            Reason::Utf8 => "not valid UTF-8",
            Reason::Length => "not as long as a hash of this algorithm",
            Reason::Hex => "not hexadecimal",
            Reason::Base64 => "not base64",
            Reason::Record => "a record of several lines that no blank line ends",
            Reason::NoHash => "its hash column holds no hash",
            Reason::Columns => "too few columns: it ends before the hash column",
            Reason::Quote => "a quoted field that is not closed",
            Reason::Algorithm => "a hash of another algorithm",
            Reason::SeveralHashes => {
                "several hashes on one line; put each on a line of its own: tr -s ' ' '\\n' < LIST"
            }
            Reason::Json => "not a JSON object",
            Reason::Header => {
                "a header with other columns than the list began with, or one header after another"
            }
            Reason::Refused => "refused by DynamoDB",
            Reason::Attribute => "a column that gives an attribute holds no value of its type",
            Reason::NoKey => "the column that gives the sort key is empty",
            Reason::LongKey => "a column that gives a key holds more than DynamoDB takes for one",
            Reason::LargeItem => "the item would be larger than 400 KB",
        })
    }
}

/// The longest line that is read, in bytes, without its line feed. No hash list
/// comes near it: the longest path that Linux takes is 4,096 bytes.
pub(crate) const MAX_LINE_BYTES: usize = 64 * 1024;
