//! Tables where one column says what another holds: `sha256`, `FileHash-MD5`,
//! `filename|sha1`, `domain`.
//!
//! Exports of indicators hold hashes of several algorithms in one column, and what are no
//! hashes of files, though as long as some (an imphash has the length of an MD5). What
//! the type says counts, not the length. MISP's `filename|sha256` has `NAME|HASH`.

use crate::base::hash::Algorithm;
use crate::list::format::cell::{algorithm_named, is_generic, is_hash};

/// Names of columns that hold types, folded to lower case letters and digits.
const NAMES: [&str; 9] = [
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

/// The meaning of a row's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// A hash of this algorithm.
    Hash(Algorithm),
    /// A file's name, `|`, and its hash of this algorithm.
    NameAndHash(Algorithm),
    /// Nothing, or that it is a hash, without the algorithm.
    Silent,
    /// Something else.
    Other,
}

impl Type {
    /// Reads a type.
    pub(super) fn of(text: &str) -> Type {
        let text = text.trim();
        if let Some(("filename", rest)) = text.split_once('|') {
            return algorithm_named(rest).map_or(Type::Other, Type::NameAndHash);
        }
        match algorithm_named(text) {
            Some(algorithm) => Type::Hash(algorithm),
            None if text.is_empty() || is_generic(text) => Type::Silent,
            None => Type::Other,
        }
    }
}

/// The hash in `text`, which is a name, `|`, and a hash.
pub(super) fn behind_the_name(text: &[u8]) -> &[u8] {
    let bar = text.iter().rposition(|b| *b == b'|');
    bar.map_or(text, |at| &text[at + 1..])
}

/// The column of these rows that holds types. One with such a name need agree with a hash
/// in its row once; any other must agree in every row with a hash, and in two at least.
pub(super) fn column(names: &[String], rows: &[Vec<String>]) -> Option<usize> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let all = || (0..width).map(|at| (at, agreement(at, rows)));
    let is_named = |at: usize| {
        let name = names.get(at).map(|name| crate::base::hash::fold(name));
        name.is_some_and(|name| NAMES.contains(&name.as_str()))
    };
    let named = all().find(|(at, a)| is_named(*at) && a.rows > 0 && !a.contradicts);
    let seen = || all().find(|(_, a)| a.rows > 1 && a.always && !a.contradicts);
    named.or_else(seen).map(|(at, _)| at)
}

/// The agreement of a column with the hashes in its rows.
#[derive(Debug)]
struct Agreement {
    /// Rows whose hash is of the algorithm that it names.
    rows: usize,
    /// Whether that is so of all rows with a hash.
    always: bool,
    /// Whether a row has only hashes of other algorithms than it names.
    contradicts: bool,
}

fn agreement(at: usize, rows: &[Vec<String>]) -> Agreement {
    let mut agreement = Agreement {
        rows: 0,
        always: true,
        contradicts: false,
    };
    for row in rows {
        let kind = row.get(at).map_or(Type::Silent, |text| Type::of(text));
        let last = |text: &str| match kind {
            Type::NameAndHash(_) => behind_the_name(text.as_bytes()).trim_ascii().len(),
            _ => text.trim().len(),
        };
        let is_one = |text: &&String| match kind {
            Type::NameAndHash(_) => is_hash(behind_the_name(text.as_bytes()).trim_ascii()),
            _ => is_hash(text.trim().as_bytes()),
        };
        let mut hashes = row.iter().filter(is_one).map(|text| last(text)).peekable();
        if hashes.peek().is_none() {
            continue;
        }
        match kind {
            Type::Hash(a) | Type::NameAndHash(a) => match hashes.any(|n| n == a.bytes() * 2) {
                true => agreement.rows += 1,
                false => agreement.contradicts = true,
            },
            Type::Silent | Type::Other => agreement.always = false,
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
    fn a_type_names_an_algorithm_however_exports_write_it() {
        for (text, expected) in [
            ("sha256_hash", Type::Hash(Algorithm::Sha256)),
            ("FileHash-SHA1", Type::Hash(Algorithm::Sha1)),
            ("MD5", Type::Hash(Algorithm::Md5)),
            (
                "filename|sha512/256",
                Type::NameAndHash(Algorithm::Sha512_256),
            ),
            ("filename|imphash", Type::Other),
            ("imphash", Type::Other),
            ("x509-fingerprint-sha1", Type::Other),
            ("FileHash-IMPHASH", Type::Other),
            ("domain", Type::Other),
            ("hash", Type::Silent),
            (" ", Type::Silent),
        ] {
            assert_eq!(Type::of(text), expected, "{text}");
        }
        assert_eq!(behind_the_name(b"a|b|c"), b"c");
        assert_eq!(behind_the_name(b"c"), b"c");
    }

    #[test]
    fn the_column_of_types_is_the_one_that_agrees_with_the_hashes() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let names = row(&["type", "value"]);
        let named = [
            row(&["domain", "a.b"]),
            row(&["md5", MD5]),
            row(&["imphash", MD5]),
        ];
        assert_eq!(column(&names, &named), Some(0));
        assert_eq!(column(&[], &named), None, "an imphash is as long as an MD5");
        let bare = [row(&[MD5, "x", "md5_hash"]), row(&[SHA1, "y", "sha1_hash"])];
        assert_eq!(column(&[], &bare), Some(2));
        assert_eq!(column(&[], &bare[..1]), None, "a file may be called so");
        // A type of what the file is, and one that names another algorithm.
        assert_eq!(column(&names, &[row(&["known", MD5])]), None);
        assert_eq!(column(&names, &[row(&["sha1", MD5])]), None);
        let both = [row(&["filename|md5", &format!("a|{MD5}")])];
        assert_eq!(column(&names, &both), Some(0));
    }
}
