//! Plain lists: one hash per line.
//!
//! [`LineParser`] reads them. Other formats use this module to detect the algorithm of a
//! hash, and the names of hash columns.

use crate::base::hash::{Algorithm, Hash, fold};
use crate::base::hash_prefix;
use crate::base::record::RejectReason;
use crate::list::lines::Line;
use std::borrow::Cow;

/// Result of parsing a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A hash of the list's algorithm.
    Hash(Hash),
    /// Blank, a comment, or a header.
    Skipped,
    /// A hash of another algorithm, in a list of several algorithms. It counts as skipped.
    Other(Algorithm),
    /// Not a hash of the list's algorithm, with the reason.
    Rejected(RejectReason),
    /// The first part of a row that continues in the next line.
    Continues,
}

/// Names of a hash column besides those of algorithms, folded to lower-case letters and
/// digits. An algorithm's name with an affix such as `hash` or `sum` is one, too.
pub(crate) const HEADER_NAMES: [&str; 8] = [
    "hashes",
    "filehashes",
    "value",
    "indicator",
    "digest",
    "checksum",
    "ioc",
    "iocvalue",
];

/// Parser of a plain list of one algorithm.
#[derive(Debug, Clone, Copy)]
pub struct LineParser {
    hex_digits: usize,
    algorithm: Algorithm,
}

impl LineParser {
    /// A parser for lists of `algorithm` hashes.
    pub fn new(algorithm: Algorithm) -> Self {
        LineParser {
            hex_digits: algorithm.bytes() * 2,
            algorithm,
        }
    }

    /// Parses `line`.
    pub fn parse(&self, line: &Line<'_>) -> Parsed {
        if !line.is_overlong() {
            // Fast path: the hash, optionally with a carriage return.
            let bytes = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
            if bytes.len() == self.hex_digits
                && let Some(hash) = Hash::from_hex(bytes)
            {
                return Parsed::Hash(hash);
            }
        }
        self.parse_unusual(line)
    }

    #[cold]
    fn parse_unusual(&self, line: &Line<'_>) -> Parsed {
        if line.is_overlong() {
            return Parsed::Rejected(RejectReason::Overlong);
        }
        let text = trimmed(line.bytes);
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        if text.len() == self.hex_digits
            && let Some(hash) = Hash::from_hex(text)
        {
            return Parsed::Hash(hash);
        }
        let (named, digits) = hash_prefix::split_prefix(text);
        if digits.len() == self.hex_digits
            && let Some(hash) = Hash::from_hex(digits)
        {
            return match named.is_none_or(|named| named == self.algorithm) {
                true => Parsed::Hash(hash),
                false => Parsed::Rejected(RejectReason::Algorithm),
            };
        }
        if is_hash_column_name(text) {
            return Parsed::Skipped;
        }
        Parsed::Rejected(if text.contains(&0) {
            RejectReason::Nul
        } else if std::str::from_utf8(text).is_err() {
            RejectReason::Utf8
        } else if begins_with_two_hashes(text, self.hex_digits) {
            RejectReason::SeveralHashes
        } else if text.len() != self.hex_digits {
            RejectReason::Length
        } else {
            RejectReason::Hex
        })
    }
}

/// True if `text` begins with two hashes of `digits` digits, separated by blanks.
pub(crate) fn begins_with_two_hashes(text: &[u8], digits: usize) -> bool {
    let rest = text.get(digits..).unwrap_or_default().trim_ascii_start();
    begins_with_hash(text, digits) && begins_with_hash(rest, digits)
}

/// True if the first word of `text` is a hash of `digits` digits.
pub(crate) fn begins_with_hash(text: &[u8], digits: usize) -> bool {
    let ends = text.get(digits).is_none_or(u8::is_ascii_whitespace);
    ends && text
        .get(..digits)
        .is_some_and(|word| Hash::from_hex(word).is_some())
}

/// The algorithm of the hash in `line`: by the name before it, or else by its length.
/// `None` if `line` is not a hash.
pub(crate) fn algorithm_from_line(line: &Line<'_>) -> Option<Algorithm> {
    algorithm_from_text(trimmed(line.bytes))
}

/// The algorithm of the hash `text`, as [`algorithm_from_line`] detects it.
pub(crate) fn algorithm_from_text(text: &[u8]) -> Option<Algorithm> {
    let (named, digits) = hash_prefix::split_prefix(text);
    Hash::from_hex(digits)?;
    match named {
        Some(named) => (named.bytes() * 2 == digits.len()).then_some(named),
        None => Algorithm::from_hex_digits(digits.len()),
    }
}

/// Describes a rejected line that looks like a hash or a row of another format, for the
/// message about too many rejected lines. `None` for other lines.
pub(crate) fn describe_line(text: &[u8]) -> Option<Cow<'static, str>> {
    let text = trimmed(text);
    let first = text
        .split(|b| matches!(b, b' ' | b'\t' | b',' | b'|' | b';'))
        .next()?;
    let bare = first
        .strip_prefix(b"\"")
        .and_then(|f| f.strip_suffix(b"\""))
        .unwrap_or(first);
    let algorithm = Hash::from_hex(bare).and_then(|_| Algorithm::from_hex_digits(bare.len()))?;
    if bare.len() == text.len() {
        return Some(format!("{algorithm} by its length").into());
    }
    let shape = match text.get(first.len()) {
        Some(b' ') => "the output of a program like sha256sum (hash, blanks, file name)",
        _ => "a table whose first column is a hash",
    };
    Some(format!("{shape}, {algorithm} by its length").into())
}

/// Strips a byte order mark and blanks from both ends of a line.
pub(crate) fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .trim_ascii()
}

/// True if `text` names a hash column.
pub(crate) fn is_hash_column_name(text: &[u8]) -> bool {
    // The longest name with its affixes has about 20 letters.
    let text = std::str::from_utf8(text).ok().filter(|t| t.len() <= 32);
    text.is_some_and(|text| parse_hash_column_name(text).is_some())
}

/// Meaning of a hash column's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashColumnName {
    /// The column holds hashes of this algorithm.
    Algorithm(Algorithm),
    /// The column holds hashes; the name does not say of which algorithm.
    Generic,
}

/// Parses the name of a hash column, with or without affixes such as `file` or `sum`.
/// `None` if it names no hash column.
pub(crate) fn parse_hash_column_name(name: &str) -> Option<HashColumnName> {
    let name = fold(name);
    if HEADER_NAMES.contains(&name.as_str()) {
        return Some(HashColumnName::Generic);
    }
    let mut bare = name.as_str();
    for affix in ["file", "hash", "sum", "digest", "value", "hex", "string"] {
        bare = bare.strip_prefix(affix).unwrap_or(bare);
        bare = bare.strip_suffix(affix).unwrap_or(bare);
    }
    match Algorithm::from_name(bare) {
        Some(algorithm) => Some(HashColumnName::Algorithm(algorithm)),
        None => (bare.is_empty() && name.contains("hash")).then_some(HashColumnName::Generic),
    }
}

#[cfg(test)]
mod tests;
