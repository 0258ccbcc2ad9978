//! Output of md5sum, sha256sum, md5deep and similar programs.
//!
//! ```text
//! HASH  name            md5sum, sha256sum, md5deep
//! HASH *name            a binary file
//! \HASH  na\nme         a name that holds a line feed or a backslash
//!    SIZE  HASH  name   md5deep -z
//! SHA256 (name) = HASH  BSD, md5sum --tag; openssl: SHA2-256(name)= HASH
//! ```
//!
//! One list may hold all of these, and bare hashes. A tag must name the algorithm of the run:
//! a BLAKE2b-256 hash is rejected, although it is as long as a SHA-256.

use crate::base::hash::{Algorithm, fold};
use crate::base::hash_prefix;
use crate::base::record::RejectReason;
use crate::list::format::cell::{
    is_hash, parse_cell, strip_byte_order_mark, strip_carriage_return,
};
use crate::list::format::digest::{HashSpec, algorithm_from_base64};
use crate::list::format::plain::{
    Parsed, algorithm_from_text, begins_with_hash, begins_with_two_hashes, is_hash_column_name,
    trimmed,
};

/// A column beside the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SumColumn {
    Name,
    Size,
}

impl SumColumn {
    pub(super) fn from_name(name: &str) -> Option<SumColumn> {
        match fold(name).as_str() {
            "name" | "filename" | "file" | "path" => Some(SumColumn::Name),
            "size" | "filesize" => Some(SumColumn::Size),
            _ => None,
        }
    }
}

/// The fields of a line.
#[derive(Debug, PartialEq, Eq)]
struct Sum<'a> {
    hash: &'a [u8],
    /// The tag that names the algorithm. `None` if the line has none.
    tag: Option<&'a [u8]>,
    size: &'a [u8],
    name: &'a [u8],
    /// True if the name has escapes.
    is_escaped: bool,
    /// True if only blanks separate the name from the hash.
    is_bare: bool,
}

#[derive(Debug)]
pub(super) struct SumsParser {
    algorithm: Algorithm,
    hash_spec: HashSpec,
    wanted: Vec<SumColumn>,
    name: Vec<u8>,
    size: Vec<u8>,
    /// The last tag, and whether it names the algorithm: most lists repeat one tag.
    last_tag: Vec<u8>,
    tag_matches: bool,
}

impl SumsParser {
    pub(super) fn new(
        algorithm: Algorithm,
        hash_spec: HashSpec,
        wanted: Vec<SumColumn>,
    ) -> SumsParser {
        SumsParser {
            algorithm,
            hash_spec,
            wanted,
            name: Vec::new(),
            size: Vec::new(),
            last_tag: Vec::new(),
            tag_matches: false,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        self.name.clear();
        self.size.clear();
        let line = strip_carriage_return(strip_byte_order_mark(line));
        let Some(sum) = split_line(line) else {
            let text = trimmed(line);
            if text.is_empty() || text[0] == b'#' {
                return Parsed::Skipped;
            }
            return match parse_cell(text, self.hash_spec) {
                Parsed::Hash(hash) => Parsed::Hash(hash),
                _ if is_hash_column_name(text) => Parsed::Skipped,
                _ if begins_with_two_hashes(text, self.hash_spec.hex_digits) => {
                    Parsed::Rejected(RejectReason::SeveralHashes)
                }
                other => other,
            };
        };
        if !sum.tag.is_none_or(|tag| self.is_own_tag(tag)) {
            return Parsed::Rejected(RejectReason::Algorithm);
        }
        let parsed = parse_cell(sum.hash, self.hash_spec);
        if matches!(parsed, Parsed::Hash(_)) && sum.is_bare && self.is_followed_by_hash(&sum) {
            return Parsed::Rejected(RejectReason::SeveralHashes);
        }
        if !self.wanted.is_empty() && matches!(parsed, Parsed::Hash(_)) {
            self.size.extend_from_slice(sum.size);
            match sum.is_escaped {
                true => unescape(sum.name, &mut self.name),
                false => self.name.extend_from_slice(sum.name),
            }
            // If NULs end the lines, a line feed in a name was converted to a NUL.
            self.name
                .iter_mut()
                .filter(|b| **b == 0)
                .for_each(|b| *b = b'\n');
        }
        parsed
    }

    /// True if another hash follows in place of a name. A file may be named after its own
    /// hash.
    fn is_followed_by_hash(&self, sum: &Sum<'_>) -> bool {
        let name = sum.name.trim_ascii();
        begins_with_hash(name, self.hash_spec.hex_digits) && !name.eq_ignore_ascii_case(sum.hash)
    }

    /// True if `tag` names the parser's algorithm.
    fn is_own_tag(&mut self, tag: &[u8]) -> bool {
        if self.last_tag != tag {
            self.last_tag.clear();
            self.last_tag.extend_from_slice(tag);
            self.tag_matches = Algorithm::from_tag(tag) == Some(self.algorithm);
        }
        self.tag_matches
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        Some(match self.wanted.get(n)? {
            SumColumn::Name => &self.name,
            SumColumn::Size => &self.size,
        })
    }
}

/// True if `line` has this format and a hash of a supported algorithm.
pub(super) fn is_sum_line(line: &[u8]) -> bool {
    algorithm(line).is_some()
}

/// The algorithm of a line, by its tag or else by the length of its hash. `None` if the line
/// does not have this format.
pub(super) fn algorithm(line: &[u8]) -> Option<Algorithm> {
    let sum = split_line(strip_carriage_return(strip_byte_order_mark(line)))
        .filter(|sum| is_hash(sum.hash))?;
    match sum.tag {
        Some(tag) => Algorithm::from_tag(tag).filter(|named| named.bytes() * 2 == sum.hash.len()),
        None => algorithm_from_text(sum.hash),
    }
}

/// True if `line` has a tag and a hash in base64, as `cksum --base64` prints it.
pub(super) fn has_base64_digest(line: &[u8]) -> bool {
    let sum = split_tagged(strip_carriage_return(strip_byte_order_mark(line)));
    sum.is_some_and(|sum| algorithm_from_base64(sum.hash).is_some())
}

fn split_line(line: &[u8]) -> Option<Sum<'_>> {
    split_tagged(line)
        .or_else(|| split_plain(line))
        .or_else(|| split_sized(line))
}

/// Splits a line `HASH  name`. `None` if it has another format.
fn split_plain(line: &[u8]) -> Option<Sum<'_>> {
    let (line, escaped) = match line.strip_prefix(b"\\") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let end = line.iter().position(|b| *b == b' ')?;
    let (hash, rest) = (&line[..end], &line[end + 1..]);
    let (_, digits) = hash_prefix::split_prefix(hash);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    // The second character is a blank for a text file, `*` for a binary file.
    let name = match rest.first() {
        Some(b' ' | b'*') => &rest[1..],
        _ => rest,
    };
    // A size has fewer than 32 digits.
    (hash.len() >= 32 && !name.is_empty()).then_some(Sum {
        hash,
        tag: None,
        size: b"",
        name,
        is_escaped: escaped,
        is_bare: rest.first() != Some(&b'*') && !escaped,
    })
}

/// Splits a line `   SIZE  HASH  name`. `None` if it has another format.
fn split_sized(line: &[u8]) -> Option<Sum<'_>> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|b| *b == b' ')?;
    let (size, rest) = (&line[..end], line[end..].trim_ascii_start());
    if size.is_empty() || size.len() > 20 || !size.iter().all(u8::is_ascii_digit) {
        return None;
    }
    split_plain(rest).map(|sum| Sum { size, ..sum })
}

/// Splits a line `SHA256 (name) = HASH`. `None` if it has another format.
fn split_tagged(line: &[u8]) -> Option<Sum<'_>> {
    let (line, escaped) = match line.strip_prefix(b"\\") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let open = line.iter().take(24).position(|b| *b == b'(')?;
    let tag = line[..open].trim_ascii_end();
    let is_tag = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'_');
    if tag.is_empty() || !tag.iter().all(is_tag) {
        return None;
    }
    // A name may hold parentheses; the last `)` ends it, with `=` after it.
    let close = line.iter().rposition(|b| *b == b')')?;
    let hash = line[close + 1..].trim_ascii_start().strip_prefix(b"=")?;
    Some(Sum {
        hash: hash.trim_ascii(),
        tag: Some(tag),
        size: b"",
        name: line.get(open + 1..close)?,
        is_escaped: escaped,
        is_bare: false,
    })
}

fn unescape(name: &[u8], out: &mut Vec<u8>) {
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        let next = if *byte == b'\\' {
            rest.clone().next()
        } else {
            None
        };
        let plain = match next {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'\\') => b'\\',
            _ => {
                out.push(*byte);
                continue;
            }
        };
        rest.next();
        out.push(plain);
    }
}
