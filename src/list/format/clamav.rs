//! ClamAV's signatures of whole files, `.hdb` and `.hsb`.
//!
//! ```text
//! HASH:SIZE:NAME            size in bytes
//! HASH:*:NAME:73            of any size, for engines of level 73 and later
//! ```
//!
//! Hashes of several algorithms may stand in one list. Source: ClamAV's documentation,
//! "Hash-based signatures". Its `.mdb` and `.msb` hold hashes of sections, not of files,
//! and begin with the size: they are none.

use crate::base::hash::Algorithm;
use crate::base::record::Reason;
use crate::list::format::cell::{in_column, is_hash, without_mark, without_return};
use crate::list::format::digest::Digest;
use crate::list::format::plain::{Parsed, content};
use crate::list::format::sums::Column;

/// Fields of a line at most: hash, size, name, and the first and last level.
const FIELDS: usize = 5;

/// A line taken apart.
struct Signature<'a> {
    hash: &'a [u8],
    size: &'a [u8],
    name: &'a [u8],
}

fn apart(line: &[u8]) -> Option<Signature<'_>> {
    let mut fields = line.split(|b| *b == b':');
    let signature = Signature {
        hash: fields.next()?,
        size: fields.next()?,
        name: fields.next()?,
    };
    let is_number = |t: &[u8]| !t.is_empty() && t.iter().all(u8::is_ascii_digit);
    let is_size = signature.size == b"*" || is_number(signature.size);
    let levels = fields.clone().count() <= FIELDS - 3 && fields.all(is_number);
    (is_size && levels && !signature.name.is_empty()).then_some(signature)
}

/// The algorithm of such a line, by the length of its hash.
pub(super) fn algorithm(line: &[u8]) -> Option<Algorithm> {
    let signature = apart(content(line)).filter(|s| is_hash(s.hash))?;
    Algorithm::of_hex_digits(signature.hash.len())
}

#[derive(Debug)]
pub(super) struct ClamavParser {
    digits: Digest,
    wanted: Vec<Column>,
    name: Vec<u8>,
    size: Vec<u8>,
}

impl ClamavParser {
    pub(super) fn new(digits: Digest, wanted: Vec<Column>) -> ClamavParser {
        ClamavParser {
            digits,
            wanted,
            name: Vec::new(),
            size: Vec::new(),
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        self.name.clear();
        self.size.clear();
        let text = content(without_return(without_mark(line)));
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        let Some(signature) = apart(text) else {
            return match in_column(text, self.digits) {
                Parsed::Hash(hash) => Parsed::Hash(hash),
                Parsed::Rejected(Reason::Length) => Parsed::Rejected(Reason::Columns),
                other => other,
            };
        };
        let parsed = in_column(signature.hash, self.digits);
        match parsed {
            Parsed::Rejected(Reason::Length) if is_hash(signature.hash) => {
                return Parsed::Rejected(Reason::Algorithm);
            }
            Parsed::Hash(_) if !self.wanted.is_empty() => {
                self.name.extend_from_slice(signature.name);
                if signature.size != b"*" {
                    self.size.extend_from_slice(signature.size);
                }
            }
            _ => {}
        }
        parsed
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        Some(match self.wanted.get(n)? {
            Column::Name => &self.name,
            Column::Size => &self.size,
        })
    }
}
