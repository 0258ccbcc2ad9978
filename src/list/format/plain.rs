//! Plain lists: one hash a line, and the words that may stand in place of one.
//!
//! [`LineParser`] reads them. The other formats ask here which algorithm a text is a hash
//! of, and whether a name is that of a hash column.

use crate::base::hash::{Algorithm, Hash, fold};
use crate::base::hash_prefix;
use crate::base::record::Reason;
use crate::list::lines::Line;
use std::borrow::Cow;

/// What a line turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A hash of the list's algorithm.
    Hash(Hash),
    /// Blank, a comment, or a header.
    Skipped,
    /// A hash of another algorithm, in a list that is read for one of several: it counts
    /// as skipped.
    Other(Algorithm),
    /// No hash of this kind.
    Rejected(Reason),
    /// The beginning of a row that goes on in the next line.
    Continues,
}

/// Names of a hash column in addition to the algorithms' own, folded to lower
/// case letters and digits. An algorithm's name with `hash`, `sum` or `digest`
/// before or after it counts too.
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

/// Reads lines of a plain list of one algorithm.
#[derive(Debug, Clone, Copy)]
pub struct LineParser {
    hex_digits: usize,
    algorithm: Algorithm,
}

impl LineParser {
    /// A parser for lists of `algorithm`.
    pub fn new(algorithm: Algorithm) -> Self {
        LineParser {
            hex_digits: algorithm.bytes() * 2,
            algorithm,
        }
    }

    /// What `line` is.
    pub fn parse(&self, line: &Line<'_>) -> Parsed {
        if !line.is_overlong() {
            // The usual line: the hash, and perhaps a carriage return.
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
            return Parsed::Rejected(Reason::Overlong);
        }
        let text = content(line.bytes);
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        if text.len() == self.hex_digits
            && let Some(hash) = Hash::from_hex(text)
        {
            return Parsed::Hash(hash);
        }
        let (named, digits) = hash_prefix::split(text);
        if digits.len() == self.hex_digits
            && let Some(hash) = Hash::from_hex(digits)
        {
            return match named.is_none_or(|named| named == self.algorithm) {
                true => Parsed::Hash(hash),
                false => Parsed::Rejected(Reason::Algorithm),
            };
        }
        if is_header(text) {
            return Parsed::Skipped;
        }
        Parsed::Rejected(if text.contains(&0) {
            Reason::Nul
        } else if std::str::from_utf8(text).is_err() {
            Reason::Utf8
        } else if are_several(text, self.hex_digits) {
            Reason::SeveralHashes
        } else if text.len() != self.hex_digits {
            Reason::Length
        } else {
            Reason::Hex
        })
    }
}

/// Whether `text` begins with two hashes of so many `digits`, with blanks between them.
pub(crate) fn are_several(text: &[u8], digits: usize) -> bool {
    let rest = text.get(digits..).unwrap_or_default().trim_ascii_start();
    begins_with_hash(text, digits) && begins_with_hash(rest, digits)
}

/// Whether the first word of `text` is a hash of so many `digits`.
pub(crate) fn begins_with_hash(text: &[u8], digits: usize) -> bool {
    let ends = text.get(digits).is_none_or(u8::is_ascii_whitespace);
    ends && text
        .get(..digits)
        .is_some_and(|word| Hash::from_hex(word).is_some())
}

/// The algorithm that `line` shows, when it is a hash at all: by the name before it, or
/// else by its length.
pub(crate) fn algorithm_of(line: &Line<'_>) -> Option<Algorithm> {
    algorithm_of_text(content(line.bytes))
}

/// The same of the text of a hash.
pub(crate) fn algorithm_of_text(text: &[u8]) -> Option<Algorithm> {
    let (named, digits) = hash_prefix::split(text);
    Hash::from_hex(digits)?;
    match named {
        Some(named) => (named.bytes() * 2 == digits.len()).then_some(named),
        None => Algorithm::of_hex_digits(digits.len()),
    }
}

/// What a rejected line looks like, where that is known: said to the person
/// once the run stops for too many of them.
pub(crate) fn looks_like(text: &[u8]) -> Option<Cow<'static, str>> {
    let text = content(text);
    let first = text
        .split(|b| matches!(b, b' ' | b'\t' | b',' | b'|' | b';'))
        .next()?;
    let bare = first
        .strip_prefix(b"\"")
        .and_then(|f| f.strip_suffix(b"\""))
        .unwrap_or(first);
    let algorithm = Hash::from_hex(bare).and_then(|_| Algorithm::of_hex_digits(bare.len()))?;
    if bare.len() == text.len() {
        return Some(format!("{algorithm} by its length").into());
    }
    let shape = match text.get(first.len()) {
        Some(b' ') => "the output of a program like sha256sum (hash, blanks, file name)",
        _ => "a table whose first column is a hash",
    };
    Some(format!("{shape}, {algorithm} by its length").into())
}

/// The line without a byte order mark and the blanks around it.
pub(crate) fn content(bytes: &[u8]) -> &[u8] {
    bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .trim_ascii()
}

/// Whether `text` names a hash column.
pub(crate) fn is_header(text: &[u8]) -> bool {
    // The longest name with its ornaments has some 20 letters.
    let text = std::str::from_utf8(text).ok().filter(|t| t.len() <= 32);
    text.is_some_and(|text| hashes_named(text).is_some())
}

/// What a column's name says of the hashes in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// Their algorithm.
    Of(Algorithm),
    /// That they are hashes, and no more.
    Hashes,
}

/// What `name`, that of a column, says of hashes, however it is adorned; nothing when
/// it is not one of theirs.
pub(crate) fn hashes_named(name: &str) -> Option<Named> {
    let name = fold(name);
    if HEADER_NAMES.contains(&name.as_str()) {
        return Some(Named::Hashes);
    }
    let mut bare = name.as_str();
    for ornament in ["file", "hash", "sum", "digest", "value", "hex", "string"] {
        bare = bare.strip_prefix(ornament).unwrap_or(bare);
        bare = bare.strip_suffix(ornament).unwrap_or(bare);
    }
    match Algorithm::from_name(bare) {
        Some(algorithm) => Some(Named::Of(algorithm)),
        None => (bare.is_empty() && name.contains("hash")).then_some(Named::Hashes),
    }
}

#[cfg(test)]
mod tests;
