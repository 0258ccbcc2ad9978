//! Output of Windows' `certutil -hashfile`, in any version and language.
//!
//! ```text
//! SHA256 hash of C:\a b.txt:
//! 3a 21 18 df …                 no blanks since Windows 10
//! CertUtil: -hashfile command completed successfully.
//! ```
//!
//! The first two lines form one row.

use crate::base::hash::{Algorithm, MAX_HASH_BYTES};
use crate::base::record::RejectReason;
use crate::list::format::cell::parse_cell;
use crate::list::format::digest::HashSpec;
use crate::list::format::plain::{Parsed, trimmed};

/// The algorithm in a heading. `None` if `line` is not the first line of an output.
fn heading_algorithm(line: &[u8]) -> Option<Algorithm> {
    let text = trimmed(line).strip_suffix(b":")?;
    // The algorithm's place among the words depends on the language: `SHA256-Hash von …`.
    let words = text.split(|b| matches!(b, b' ' | b'-')).take(6);
    let mut words = words.filter(|w| w.len() <= 8);
    text.contains(&b' ')
        .then(|| words.find_map(Algorithm::from_tag))
        .flatten()
}

/// The name of the file: the rest of the heading after its fixed words.
fn file_name(line: &[u8]) -> &[u8] {
    let text = trimmed(line);
    let text = text.strip_suffix(b":").unwrap_or(text);
    let ends = [&b" hash of file "[..], b" hash of ", b"-Hash von "];
    let after = ends.iter().find_map(|end| {
        let mut windows = text.windows(end.len());
        let at = windows.position(|w| w.eq_ignore_ascii_case(end))?;
        Some(&text[at + end.len()..])
    });
    after.unwrap_or(text)
}

/// Removes blanks between the bytes of a hash.
fn compact_digits<'b>(text: &'b [u8], buffer: &'b mut [u8; MAX_HASH_BYTES * 2]) -> &'b [u8] {
    if !text.contains(&b' ') {
        return text;
    }
    let mut length = 0;
    for byte in text.split(|b| *b == b' ') {
        match buffer.get_mut(length..length + byte.len()) {
            Some(place) if byte.len() == 2 => place.copy_from_slice(byte),
            _ => return text,
        }
        length += byte.len();
    }
    &buffer[..length]
}

/// The algorithm of a list that starts with these lines. `None` if it is not output of
/// certutil.
pub(super) fn algorithm(lines: &[&[u8]]) -> Option<Algorithm> {
    let [first, second, ..] = lines else {
        return None;
    };
    let algorithm = heading_algorithm(first)?;
    let mut buffer = [0; MAX_HASH_BYTES * 2];
    let length = compact_digits(trimmed(second), &mut buffer).len();
    (length == algorithm.bytes() * 2).then_some(algorithm)
}

#[derive(Debug)]
pub(super) struct CertutilParser {
    hash_spec: HashSpec,
    wanted_columns: usize,
    in_row: bool,
    algorithm: Option<Algorithm>,
    name: Vec<u8>,
}

impl CertutilParser {
    pub(super) fn new(hash_spec: HashSpec, wanted_columns: usize) -> CertutilParser {
        CertutilParser {
            hash_spec,
            wanted_columns,
            in_row: false,
            algorithm: None,
            name: Vec::new(),
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let text = trimmed(line);
        let begun = std::mem::take(&mut self.in_row);
        if let Some(algorithm) = heading_algorithm(line) {
            if begun {
                // The previous heading has no hash.
                return Parsed::Rejected(RejectReason::NoHash);
            }
            self.in_row = true;
            self.algorithm = Some(algorithm);
            self.name.clear();
            self.name.extend_from_slice(file_name(line));
            return Parsed::Continues;
        }
        let is_last = text.starts_with(b"CertUtil:");
        match (text.is_empty() || is_last, begun) {
            (true, false) => return Parsed::Skipped,
            (true, true) => return Parsed::Rejected(RejectReason::NoHash),
            _ => {}
        }
        if !begun {
            self.name.clear();
        }
        let mut buffer = [0; MAX_HASH_BYTES * 2];
        match self
            .algorithm
            .filter(|a| begun && *a != self.hash_spec.algorithm)
        {
            Some(other) => Parsed::Other(other),
            None => parse_cell(compact_digits(text, &mut buffer), self.hash_spec),
        }
    }

    /// Discards an unfinished row.
    pub(super) fn abandon_row(&mut self) {
        self.in_row = false;
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        (n < self.wanted_columns).then_some(&self.name[..])
    }
}
