//! A line's ends and a column's cell: byte order marks, carriage returns, hashes, the words
//! that stand for no hash, and the names of hash columns.

use crate::base::hash::{Algorithm, Hash, fold};
use crate::base::record::Reason;
use crate::list::format::digest::Digest;
use crate::list::format::kind::Encoding;
use crate::list::format::plain::{Named, Parsed, algorithm_of_text, hashes_named};

/// The algorithm of whose hashes a column is by its name.
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    // iLook's names of MD5, by the version of its files.
    if ["v1hash", "v3hash", "v4hash"].contains(&fold(name).as_str()) {
        return Some(Algorithm::Md5);
    }
    match hashes_named(name) {
        Some(Named::Of(algorithm)) => Some(algorithm),
        Some(Named::Hashes) | None => None,
    }
}

/// Whether a column's name says that it holds hashes, and not which.
pub(super) fn is_generic(name: &str) -> bool {
    algorithm_named(name).is_none() && hashes_named(name) == Some(Named::Hashes)
}

/// Whether `text` is a hash of a length that is known.
pub(super) fn is_hash(text: &[u8]) -> bool {
    algorithm_of_text(text).is_some()
}

/// The hexadecimal digits of the hash that `text` is.
pub(super) fn digits_of(text: &[u8]) -> Option<usize> {
    algorithm_of_text(text).map(|algorithm| algorithm.bytes() * 2)
}

/// What the text of a hash column is, where hashes have these `digits`.
pub(super) fn in_column(text: &[u8], digits: Digest) -> Parsed {
    let text = text.trim_ascii();
    if text.len() == digits.digits
        && digits.encoding == Encoding::Hex
        && let Some(hash) = Hash::from_hex(text)
    {
        return Parsed::Hash(hash);
    }
    unusual_in_column(text, digits)
}

#[cold]
pub(super) fn unusual_in_column(text: &[u8], digits: Digest) -> Parsed {
    if !says_none(text)
        && let Some(parsed) = digits.adorned(text)
    {
        return parsed;
    }
    Parsed::Rejected(if says_none(text) {
        Reason::NoHash
    } else if text.contains(&0) {
        Reason::Nul
    } else if std::str::from_utf8(text).is_err() {
        Reason::Utf8
    } else if text.len() != digits.digits {
        Reason::Length
    } else {
        Reason::Hex
    })
}

/// Whether `text` is what tools write into a hash column where a file is empty, too
/// large, or was not hashed.
pub(super) fn says_none(text: &[u8]) -> bool {
    let none = [&b""[..], b"-", b"EMPTY", b"LARGE"];
    none.iter().any(|n| text.eq_ignore_ascii_case(n))
}

/// A line without the byte order mark that may stand before the first one of a list.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
}

/// A line without the carriage return that may stand before its line feed.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
