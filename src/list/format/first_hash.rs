//! The algorithm and the first hash that the beginning of a list shows, by its format.

use crate::base::hash::Algorithm;
use crate::base::hash_prefix;
use crate::list::format::cell::is_hash;
use crate::list::format::digest::algorithm_of_base64;
use crate::list::format::kind::Format;
use crate::list::format::plain::{algorithm_of, content};
use crate::list::format::{certutil, clamav, powershell, sums};
use crate::list::lines::{Framer, Line};

/// Whether `text` is a row that begins with a hash, or a bare one.
pub(crate) fn is_row_of_hash(text: &[u8]) -> bool {
    is_hash(content(text)) || sums::is_one(text)
}

/// The algorithm of the first of `head`'s lines, which are sums: as it is tagged, or by
/// the length of its hash.
pub(crate) fn sums_algorithm(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    lines.into_iter().find_map(sums::algorithm)
}

/// The algorithm that `head` shows, a list of a form whose lines show it one by one: as
/// one is tagged, or by the length of its hash. `None` for other forms.
pub(crate) fn algorithm_by_lines(format: Format, head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    match format {
        Format::Sums => sums_algorithm(head, whole),
        Format::Clamav => lines.into_iter().find_map(clamav::algorithm),
        Format::Powershell => powershell::algorithm(&lines),
        Format::Certutil => lines.windows(2).find_map(certutil::algorithm),
        _ => None,
    }
}

/// The algorithm of the first digest in `head`, a plain list in base64.
pub(crate) fn first_encoded(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    let mut texts = lines.into_iter().map(content);
    texts.find_map(algorithm_of_base64)
}

/// The first hash in `head`, a plain list: its algorithm, by its length or as it is named
/// before it, and its digits.
pub(crate) fn first_hash(head: &[u8], whole: bool) -> Option<(Algorithm, Vec<u8>)> {
    let digits = |line: &Line<'_>| hash_prefix::split(content(line.bytes)).1.to_vec();
    let mut framer = Framer::new();
    let mut lines = framer.push(head);
    while let Some(line) = lines.next() {
        if let Some(algorithm) = algorithm_of(&line) {
            return Some((algorithm, digits(&line)));
        }
    }
    let last = framer.finish().filter(|_| whole)?;
    Some((algorithm_of(&last)?, digits(&last)))
}
