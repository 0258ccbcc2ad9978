//! ClamAV signatures of whole files, `.hdb` and `.hsb`.
//!
//! ```text
//! HASH:SIZE:NAME            size in bytes
//! HASH:*:NAME:73            any size, for engines of level 73 and later
//! ```
//!
//! One list may hold hashes of several algorithms. Source: ClamAV's documentation,
//! "Hash-based signatures". Files `.mdb` and `.msb` hold hashes of sections, not of files;
//! their lines begin with the size and are not read.

use crate::base::hash::Algorithm;
use crate::base::record::RejectReason;
use crate::list::format::cell::{
    is_hash, parse_cell, strip_byte_order_mark, strip_carriage_return,
};
use crate::list::format::digest::HashSpec;
use crate::list::format::plain::{Parsed, trimmed};
use crate::list::format::sums::SumColumn;

/// Maximum number of fields in a line: hash, size, name, first and last level.
const FIELDS: usize = 5;

/// The fields of a line.
struct Signature<'a> {
    hash: &'a [u8],
    size: &'a [u8],
    name: &'a [u8],
}

fn split_signature(line: &[u8]) -> Option<Signature<'_>> {
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

/// The algorithm of a signature, by the length of its hash. `None` if `line` is not one.
pub(super) fn algorithm(line: &[u8]) -> Option<Algorithm> {
    let signature = split_signature(trimmed(line)).filter(|s| is_hash(s.hash))?;
    Algorithm::from_hex_digits(signature.hash.len())
}

#[derive(Debug)]
pub(super) struct ClamavParser {
    hash_spec: HashSpec,
    wanted: Vec<SumColumn>,
    name: Vec<u8>,
    size: Vec<u8>,
}

impl ClamavParser {
    pub(super) fn new(hash_spec: HashSpec, wanted: Vec<SumColumn>) -> ClamavParser {
        ClamavParser {
            hash_spec,
            wanted,
            name: Vec::new(),
            size: Vec::new(),
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        self.name.clear();
        self.size.clear();
        let text = trimmed(strip_carriage_return(strip_byte_order_mark(line)));
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        let Some(signature) = split_signature(text) else {
            return match parse_cell(text, self.hash_spec) {
                Parsed::Hash(hash) => Parsed::Hash(hash),
                Parsed::Rejected(RejectReason::Length) => Parsed::Rejected(RejectReason::Columns),
                other => other,
            };
        };
        let parsed = parse_cell(signature.hash, self.hash_spec);
        match parsed {
            Parsed::Rejected(RejectReason::Length) if is_hash(signature.hash) => {
                return Parsed::Rejected(RejectReason::Algorithm);
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

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        Some(match self.wanted.get(n)? {
            SumColumn::Name => &self.name,
            SumColumn::Size => &self.size,
        })
    }
}
