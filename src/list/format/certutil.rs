//! What Windows' `certutil -hashfile` prints, of any version and language.
//!
//! ```text
//! SHA256 hash of C:\a b.txt:
//! 3a 21 18 df …                 without blanks since Windows 10
//! CertUtil: -hashfile command completed successfully.
//! ```
//!
//! The first two lines are one row.

use crate::base::hash::{Algorithm, MAX_HASH_BYTES};
use crate::base::record::Reason;
use crate::list::format::cell::in_column;
use crate::list::format::digest::Digest;
use crate::list::format::plain::{Parsed, content};

/// The algorithm that `line` names, where it is the first of an output.
fn heading(line: &[u8]) -> Option<Algorithm> {
    let text = content(line).strip_suffix(b":")?;
    // It stands first or last before the name, by the language: `SHA256-Hash von …`.
    let words = text.split(|b| matches!(b, b' ' | b'-')).take(6);
    let mut words = words.filter(|w| w.len() <= 8);
    text.contains(&b' ')
        .then(|| words.find_map(Algorithm::from_tag))
        .flatten()
}

/// The name of the file: what stands behind the last word of the heading.
fn name(line: &[u8]) -> &[u8] {
    let text = content(line);
    let text = text.strip_suffix(b":").unwrap_or(text);
    let ends = [&b" hash of file "[..], b" hash of ", b"-Hash von "];
    let behind = ends.iter().find_map(|end| {
        let mut windows = text.windows(end.len());
        let at = windows.position(|w| w.eq_ignore_ascii_case(end))?;
        Some(&text[at + end.len()..])
    });
    behind.unwrap_or(text)
}

/// The digits of a hash that may have blanks between its bytes.
fn digits<'b>(text: &'b [u8], buffer: &'b mut [u8; MAX_HASH_BYTES * 2]) -> &'b [u8] {
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

/// The algorithm of a list that begins with these lines.
pub(super) fn algorithm(lines: &[&[u8]]) -> Option<Algorithm> {
    let [first, second, ..] = lines else {
        return None;
    };
    let algorithm = heading(first)?;
    let mut buffer = [0; MAX_HASH_BYTES * 2];
    let length = digits(content(second), &mut buffer).len();
    (length == algorithm.bytes() * 2).then_some(algorithm)
}

#[derive(Debug)]
pub(super) struct CertutilParser {
    digits: Digest,
    wanted: usize,
    begun: bool,
    algorithm: Option<Algorithm>,
    name: Vec<u8>,
}

impl CertutilParser {
    pub(super) fn new(digits: Digest, wanted: usize) -> CertutilParser {
        CertutilParser {
            digits,
            wanted,
            begun: false,
            algorithm: None,
            name: Vec::new(),
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let text = content(line);
        let begun = std::mem::take(&mut self.begun);
        if let Some(algorithm) = heading(line) {
            if begun {
                // The one before has no hash.
                return Parsed::Rejected(Reason::NoHash);
            }
            self.begun = true;
            self.algorithm = Some(algorithm);
            self.name.clear();
            self.name.extend_from_slice(name(line));
            return Parsed::Continues;
        }
        let is_last = text.starts_with(b"CertUtil:");
        match (text.is_empty() || is_last, begun) {
            (true, false) => return Parsed::Skipped,
            (true, true) => return Parsed::Rejected(Reason::NoHash),
            _ => {}
        }
        if !begun {
            self.name.clear();
        }
        let mut buffer = [0; MAX_HASH_BYTES * 2];
        match self
            .algorithm
            .filter(|a| begun && *a != self.digits.algorithm)
        {
            Some(other) => Parsed::Other(other),
            None => in_column(digits(text, &mut buffer), self.digits),
        }
    }

    /// Forgets a row that has begun.
    pub(super) fn forget(&mut self) {
        self.begun = false;
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        (n < self.wanted).then_some(&self.name[..])
    }
}
