//! Algorithm and first hash of a list, by its first lines.

use crate::base::hash::Algorithm;
use crate::base::hash_prefix;
use crate::list::format::cell::is_hash;
use crate::list::format::digest::algorithm_from_base64;
use crate::list::format::kind::Format;
use crate::list::format::plain::{algorithm_from_line, trimmed};
use crate::list::format::{certutil, clamav, powershell, sums};
use crate::list::lines::{Framer, Line};

/// True if `text` is a hash, or a line as sha256sum prints it.
pub(crate) fn is_hash_row(text: &[u8]) -> bool {
    is_hash(trimmed(text)) || sums::is_sum_line(text)
}

/// The algorithm of the first line with a hash in the output of a program like sha256sum.
/// The tag decides, or else the length. `None` if no line has a hash.
pub(crate) fn sums_algorithm(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    lines.into_iter().find_map(sums::algorithm)
}

/// The algorithm of a list in a format where each line shows it, by a tag or by the length
/// of its hash. `None` for other formats.
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

/// The algorithm of the first hash in `head`, a plain list in base64.
pub(crate) fn first_base64_algorithm(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    let mut texts = lines.into_iter().map(trimmed);
    texts.find_map(algorithm_from_base64)
}

/// The first hash in `head`, a plain list: the algorithm, by the name before it or else by
/// the length, and its digits.
pub(crate) fn first_hash(head: &[u8], whole: bool) -> Option<(Algorithm, Vec<u8>)> {
    let digits = |line: &Line<'_>| hash_prefix::split_prefix(trimmed(line.bytes)).1.to_vec();
    let mut framer = Framer::new();
    let mut lines = framer.push(head);
    while let Some(line) = lines.next() {
        if let Some(algorithm) = algorithm_from_line(&line) {
            return Some((algorithm, digits(&line)));
        }
    }
    let last = framer.finish().filter(|_| whole)?;
    Some((algorithm_from_line(&last)?, digits(&last)))
}
