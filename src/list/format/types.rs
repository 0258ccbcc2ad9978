//! Type columns of tables, which say what another column holds: `sha256`, `FileHash-MD5`,
//! `filename|sha1`, `domain`.
//!
//! Exports of indicators hold hashes of several algorithms in one column, and other values
//! of the same length (an imphash is as long as an MD5). The type decides, not the length.
//! MISP's type `filename|sha256` has the value `NAME|HASH`.

use crate::base::hash::Algorithm;
use crate::list::format::cell::{algorithm_from_column_name, is_generic_hash_name, is_hash};

/// Names of type columns, folded to lower-case letters and digits.
const TYPE_COLUMN_NAMES: [&str; 9] = [
    "type",
    "algorithm",
    "hashtype",
    "hashalgorithm",
    "algo",
    "indicatortype",
    "ioctype",
    "attributetype",
    "observabletype",
];

/// Meaning of a row's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowType {
    Hash(Algorithm),
    /// A file name, `|`, and a hash of this algorithm.
    NameAndHash(Algorithm),
    /// No type, or a hash of an unnamed algorithm.
    Unspecified,
    /// Not a hash of a file.
    Other,
}

impl RowType {
    pub(super) fn parse(text: &str) -> RowType {
        let text = text.trim();
        if let Some(("filename", rest)) = text.split_once('|') {
            return algorithm_from_column_name(rest).map_or(RowType::Other, RowType::NameAndHash);
        }
        match algorithm_from_column_name(text) {
            Some(algorithm) => RowType::Hash(algorithm),
            None if text.is_empty() || is_generic_hash_name(text) => RowType::Unspecified,
            None => RowType::Other,
        }
    }
}

/// Returns the hash in `text`, which is a name, `|`, and a hash.
pub(super) fn hash_after_name(text: &[u8]) -> &[u8] {
    let bar = text.iter().rposition(|b| *b == b'|');
    bar.map_or(text, |at| &text[at + 1..])
}

/// Detects the type column of these rows. A column with the name of a type column must agree
/// with the hash in one row. Any other column must agree in every row with a hash, and in at
/// least two. `None` if there is no such column.
pub(super) fn find_type_column(names: &[String], rows: &[Vec<String>]) -> Option<usize> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let all = || (0..width).map(|at| (at, agreement(at, rows)));
    let is_type_name = |at: usize| {
        let name = names.get(at).map(|name| crate::base::hash::fold(name));
        name.is_some_and(|name| TYPE_COLUMN_NAMES.contains(&name.as_str()))
    };
    let named = all().find(|(at, a)| is_type_name(*at) && a.matching_rows > 0 && !a.contradicts);
    let seen = || all().find(|(_, a)| a.matching_rows > 1 && a.in_every_row && !a.contradicts);
    named.or_else(seen).map(|(at, _)| at)
}

/// Agreement of a column with the hashes in its rows.
#[derive(Debug)]
struct Agreement {
    /// Rows whose hash has the algorithm that the column names.
    matching_rows: usize,
    /// True if the column names an algorithm in every row with a hash.
    in_every_row: bool,
    /// True if a row has only hashes of algorithms other than the one that the column names.
    contradicts: bool,
}

fn agreement(at: usize, rows: &[Vec<String>]) -> Agreement {
    let mut agreement = Agreement {
        matching_rows: 0,
        in_every_row: true,
        contradicts: false,
    };
    for row in rows {
        let kind = row
            .get(at)
            .map_or(RowType::Unspecified, |text| RowType::parse(text));
        let hash_length = |text: &str| match kind {
            RowType::NameAndHash(_) => hash_after_name(text.as_bytes()).trim_ascii().len(),
            _ => text.trim().len(),
        };
        let has_hash = |text: &&String| match kind {
            RowType::NameAndHash(_) => is_hash(hash_after_name(text.as_bytes()).trim_ascii()),
            _ => is_hash(text.trim().as_bytes()),
        };
        let hashes = row.iter().filter(has_hash);
        let mut hashes = hashes.map(|text| hash_length(text)).peekable();
        if hashes.peek().is_none() {
            continue;
        }
        match kind {
            RowType::Hash(a) | RowType::NameAndHash(a) => {
                match hashes.any(|n| n == a.bytes() * 2) {
                    true => agreement.matching_rows += 1,
                    false => agreement.contradicts = true,
                }
            }
            RowType::Unspecified | RowType::Other => agreement.in_every_row = false,
        }
    }
    agreement
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "92e792c43c35e96fed3f9566083326fc";
    const SHA1: &str = "00d1034546f530d746131ce2a28a052db21652ec";

    #[test]
    fn types_are_parsed_in_the_spelling_of_each_export() {
        for (text, expected) in [
            ("sha256_hash", RowType::Hash(Algorithm::Sha256)),
            ("FileHash-SHA1", RowType::Hash(Algorithm::Sha1)),
            ("MD5", RowType::Hash(Algorithm::Md5)),
            (
                "filename|sha512/256",
                RowType::NameAndHash(Algorithm::Sha512_256),
            ),
            ("filename|imphash", RowType::Other),
            ("imphash", RowType::Other),
            ("x509-fingerprint-sha1", RowType::Other),
            ("FileHash-IMPHASH", RowType::Other),
            ("domain", RowType::Other),
            ("hash", RowType::Unspecified),
            (" ", RowType::Unspecified),
        ] {
            assert_eq!(RowType::parse(text), expected, "{text}");
        }
        assert_eq!(hash_after_name(b"a|b|c"), b"c");
        assert_eq!(hash_after_name(b"c"), b"c");
    }

    #[test]
    fn the_type_column_agrees_with_the_hashes() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let names = row(&["type", "value"]);
        let named = [
            row(&["domain", "a.b"]),
            row(&["md5", MD5]),
            row(&["imphash", MD5]),
        ];
        assert_eq!(find_type_column(&names, &named), Some(0));
        assert_eq!(
            find_type_column(&[], &named),
            None,
            "an imphash is as long as an MD5"
        );
        let bare = [row(&[MD5, "x", "md5_hash"]), row(&[SHA1, "y", "sha1_hash"])];
        assert_eq!(find_type_column(&[], &bare), Some(2));
        assert_eq!(
            find_type_column(&[], &bare[..1]),
            None,
            "it may be a file name"
        );
        // Types of files, and a type of another algorithm.
        assert_eq!(find_type_column(&names, &[row(&["known", MD5])]), None);
        assert_eq!(find_type_column(&names, &[row(&["sha1", MD5])]), None);
        let both = [row(&["filename|md5", &format!("a|{MD5}")])];
        assert_eq!(find_type_column(&names, &both), Some(0));
    }
}
