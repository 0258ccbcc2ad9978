//! What md5sum, sha256sum, md5deep and their like print.
//!
//! ```text
//! HASH  name            md5sum, sha256sum, md5deep
//! HASH *name            the same of a binary file
//! \HASH  na\nme         the same of a name that holds a line feed or a backslash
//!    SIZE  HASH  name   md5deep -z
//! SHA256 (name) = HASH  BSD, and md5sum --tag; openssl: SHA2-256(name)= HASH
//! ```
//!
//! All of them may stand in one list; a bare hash counts too. A tag must name the
//! algorithm of the run: BLAKE2b-256 is as long as SHA-256 and is none.

use crate::base::hash::{Algorithm, fold};
use crate::base::hash_prefix;
use crate::base::record::Reason;
use crate::list::format::cell::{in_column, is_hash, without_mark, without_return};
use crate::list::format::digest::{Digest, algorithm_of_base64};
use crate::list::format::plain::{
    Parsed, algorithm_of_text, are_several, begins_with_hash, content, is_header,
};

/// A column of such a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Size,
}

impl Column {
    pub(super) fn named(name: &str) -> Option<Column> {
        match fold(name).as_str() {
            "name" | "filename" | "file" | "path" => Some(Column::Name),
            "size" | "filesize" => Some(Column::Size),
            _ => None,
        }
    }
}

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Sum<'a> {
    hash: &'a [u8],
    /// What a tag says, by its name.
    tag: Option<&'a [u8]>,
    size: &'a [u8],
    name: &'a [u8],
    /// Whether the name is written with escapes.
    escaped: bool,
    /// Whether nothing but blanks says that it is a name.
    bare: bool,
}

#[derive(Debug)]
pub(super) struct SumsParser {
    algorithm: Algorithm,
    digits: Digest,
    wanted: Vec<Column>,
    name: Vec<u8>,
    size: Vec<u8>,
    /// The tag that came last, and whether it names the algorithm: they mostly are all
    /// alike.
    tag: Vec<u8>,
    fits: bool,
}

impl SumsParser {
    pub(super) fn new(algorithm: Algorithm, digits: Digest, wanted: Vec<Column>) -> SumsParser {
        SumsParser {
            algorithm,
            digits,
            wanted,
            name: Vec::new(),
            size: Vec::new(),
            tag: Vec::new(),
            fits: false,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        self.name.clear();
        self.size.clear();
        let line = without_return(without_mark(line));
        let Some(sum) = apart(line) else {
            let text = content(line);
            if text.is_empty() || text[0] == b'#' {
                return Parsed::Skipped;
            }
            return match in_column(text, self.digits) {
                // A bare hash.
                Parsed::Hash(hash) => Parsed::Hash(hash),
                _ if is_header(text) => Parsed::Skipped,
                _ if are_several(text, self.digits.digits) => {
                    Parsed::Rejected(Reason::SeveralHashes)
                }
                other => other,
            };
        };
        if !sum.tag.is_none_or(|tag| self.is_of_this(tag)) {
            return Parsed::Rejected(Reason::Algorithm);
        }
        let parsed = in_column(sum.hash, self.digits);
        if matches!(parsed, Parsed::Hash(_)) && sum.bare && self.are_several(&sum) {
            return Parsed::Rejected(Reason::SeveralHashes);
        }
        if !self.wanted.is_empty() && matches!(parsed, Parsed::Hash(_)) {
            self.size.extend_from_slice(sum.size);
            match sum.escaped {
                true => unescape(sum.name, &mut self.name),
                false => self.name.extend_from_slice(sum.name),
            }
            // Where NULs end lines, a line feed in a name comes as one.
            self.name
                .iter_mut()
                .filter(|b| **b == 0)
                .for_each(|b| *b = b'\n');
        }
        parsed
    }

    /// Whether the name is more hashes of the algorithm. A file may be called by its own.
    fn are_several(&self, sum: &Sum<'_>) -> bool {
        let name = sum.name.trim_ascii();
        begins_with_hash(name, self.digits.digits) && !name.eq_ignore_ascii_case(sum.hash)
    }

    /// Whether `tag` names the algorithm.
    fn is_of_this(&mut self, tag: &[u8]) -> bool {
        if self.tag != tag {
            self.tag.clear();
            self.tag.extend_from_slice(tag);
            self.fits = Algorithm::from_tag(tag) == Some(self.algorithm);
        }
        self.fits
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        Some(match self.wanted.get(n)? {
            Column::Name => &self.name,
            Column::Size => &self.size,
        })
    }
}

/// Whether `line` is such a line, of an algorithm that is known.
pub(super) fn is_one(line: &[u8]) -> bool {
    algorithm(line).is_some()
}

/// The algorithm of such a line: as it is tagged, or by the length of its hash.
pub(super) fn algorithm(line: &[u8]) -> Option<Algorithm> {
    let sum = apart(without_return(without_mark(line))).filter(|sum| is_hash(sum.hash))?;
    match sum.tag {
        Some(tag) => Algorithm::from_tag(tag).filter(|named| named.bytes() * 2 == sum.hash.len()),
        None => algorithm_of_text(sum.hash),
    }
}

/// Whether `line` is tagged and has its digest in base64, as `cksum --base64` prints it.
pub(super) fn is_encoded(line: &[u8]) -> bool {
    let sum = tagged(without_return(without_mark(line)));
    sum.is_some_and(|sum| algorithm_of_base64(sum.hash).is_some())
}

fn apart(line: &[u8]) -> Option<Sum<'_>> {
    tagged(line).or_else(|| plain(line)).or_else(|| sized(line))
}

/// `HASH  name`
fn plain(line: &[u8]) -> Option<Sum<'_>> {
    let (line, escaped) = match line.strip_prefix(b"\\") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let end = line.iter().position(|b| *b == b' ')?;
    let (hash, rest) = (&line[..end], &line[end + 1..]);
    let (_, digits) = hash_prefix::split(hash);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    // The second character is a blank, or tells a binary file.
    let name = match rest.first() {
        Some(b' ' | b'*') => &rest[1..],
        _ => rest,
    };
    // Hashes are longer than any size.
    (hash.len() >= 32 && !name.is_empty()).then_some(Sum {
        hash,
        tag: None,
        size: b"",
        name,
        escaped,
        bare: rest.first() != Some(&b'*') && !escaped,
    })
}

/// `   SIZE  HASH  name`
fn sized(line: &[u8]) -> Option<Sum<'_>> {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|b| *b == b' ')?;
    let (size, rest) = (&line[..end], line[end..].trim_ascii_start());
    if size.is_empty() || size.len() > 20 || !size.iter().all(u8::is_ascii_digit) {
        return None;
    }
    plain(rest).map(|sum| Sum { size, ..sum })
}

/// `SHA256 (name) = HASH`
fn tagged(line: &[u8]) -> Option<Sum<'_>> {
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
    // A name may hold parentheses; the last `)` with `=` behind it ends it.
    let close = line.iter().rposition(|b| *b == b')')?;
    let hash = line[close + 1..].trim_ascii_start().strip_prefix(b"=")?;
    Some(Sum {
        hash: hash.trim_ascii(),
        tag: Some(tag),
        size: b"",
        name: line.get(open + 1..close)?,
        escaped,
        bare: false,
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
