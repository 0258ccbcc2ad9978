//! Cells of hash columns, names of hash columns, and the ends of lines (byte order mark,
//! carriage return).

use crate::base::hash::{Algorithm, Hash, fold};
use crate::base::record::RejectReason;
use crate::list::format::digest::HashSpec;
use crate::list::format::kind::Encoding;
use crate::list::format::plain::{
    HashColumnName, Parsed, algorithm_from_text, parse_hash_column_name,
};

/// The algorithm in a column's name. `None` if it names no algorithm.
pub(super) fn algorithm_from_column_name(name: &str) -> Option<Algorithm> {
    // iLook names MD5 after the version of its files.
    if ["v1hash", "v3hash", "v4hash"].contains(&fold(name).as_str()) {
        return Some(Algorithm::Md5);
    }
    match parse_hash_column_name(name) {
        Some(HashColumnName::Algorithm(algorithm)) => Some(algorithm),
        Some(HashColumnName::Generic) | None => None,
    }
}

/// True if a column's name says that it holds hashes, but not of which algorithm.
pub(super) fn is_generic_hash_name(name: &str) -> bool {
    algorithm_from_column_name(name).is_none()
        && parse_hash_column_name(name) == Some(HashColumnName::Generic)
}

/// True if `text` is a hash of a supported length.
pub(super) fn is_hash(text: &[u8]) -> bool {
    algorithm_from_text(text).is_some()
}

/// The number of hexadecimal digits of the hash `text`. `None` if it is not a hash.
pub(super) fn hex_digits(text: &[u8]) -> Option<usize> {
    algorithm_from_text(text).map(|algorithm| algorithm.bytes() * 2)
}

/// Parses the cell of a hash column; `digits` describes its hashes.
pub(super) fn parse_cell(text: &[u8], digits: HashSpec) -> Parsed {
    let text = text.trim_ascii();
    if text.len() == digits.hex_digits
        && digits.encoding == Encoding::Hex
        && let Some(hash) = Hash::from_hex(text)
    {
        return Parsed::Hash(hash);
    }
    parse_unusual_cell(text, digits)
}

#[cold]
pub(super) fn parse_unusual_cell(text: &[u8], digits: HashSpec) -> Parsed {
    if !is_no_hash_marker(text)
        && let Some(parsed) = digits.parse_decorated(text)
    {
        return parsed;
    }
    Parsed::Rejected(if is_no_hash_marker(text) {
        RejectReason::NoHash
    } else if text.contains(&0) {
        RejectReason::Nul
    } else if std::str::from_utf8(text).is_err() {
        RejectReason::Utf8
    } else if text.len() != digits.hex_digits {
        RejectReason::Length
    } else {
        RejectReason::Hex
    })
}

/// True if `text` is a marker that tools write in place of a hash: the file was empty, too
/// large, or not hashed.
pub(super) fn is_no_hash_marker(text: &[u8]) -> bool {
    let none = [&b""[..], b"-", b"EMPTY", b"LARGE"];
    none.iter().any(|n| text.eq_ignore_ascii_case(n))
}

/// Strips the byte order mark that may precede the first line of a list.
pub(super) fn strip_byte_order_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
}

/// Strips the carriage return that may precede the line feed.
pub(super) fn strip_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
