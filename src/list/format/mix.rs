//! Lists that mix hashes of several algorithms line by line.
//!
//! Read for one algorithm, the others' would be a heap of rejected lines. Such a list is
//! refused before anything is written, unless a person says that the others are to be
//! skipped. One that is all of another algorithm is no mix, nor is a stray line.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::Error;
use crate::base::hash::Algorithm;
use crate::list::format::cell::is_hash;
use crate::list::format::kind::Format;
use crate::list::format::plain::{algorithm_of_text, content};
use crate::list::format::sums;
use indicatif::HumanCount;

/// The share of other algorithms' hashes from which on a list is a mix, in percent.
const MIX_PERCENT: u64 = 5;

/// A stray line is none, however short the list.
const FEWEST_OTHERS: u64 = 2;

/// The hashes in `lines`, the first ones of a list of `format`, by algorithm, where there
/// are several.
pub(super) fn counted(format: Format, lines: &[&[u8]]) -> AlgorithmCounts {
    let mut counts = AlgorithmCounts::default();
    for line in lines {
        let algorithm = match format {
            Format::Lines => algorithm_of_text(content(line)),
            Format::Sums => sums::algorithm(line).or_else(|| algorithm_of_text(content(line))),
            _ => None,
        };
        if let Some(algorithm) = algorithm {
            counts.add(algorithm);
        }
    }
    match counts.counted().len() {
        0 | 1 => AlgorithmCounts::default(),
        _ => counts,
    }
}

/// The refusal to read a list for `algorithm` whose first hashes are `seen`, if it is a mix.
pub(super) fn refused(seen: &AlgorithmCounts, algorithm: Algorithm) -> Option<Error> {
    // By its length alone, a hash is taken for the usual one.
    let by_length = Algorithm::of_hex_digits(algorithm.bytes() * 2);
    let is_meant = |a: Algorithm| a == algorithm || Some(a) == by_length;
    let counted = seen.counted();
    let others = counted.iter().filter(|(a, _)| !is_meant(*a));
    let others: u64 = others.map(|(_, count)| count).sum();
    let all = seen.total();
    if others < FEWEST_OTHERS || others.saturating_mul(100) <= all.saturating_mul(MIX_PERCENT) {
        return None;
    }
    let meant = match others == all {
        true => format!("none is a {algorithm}"),
        false => format!("{algorithm} is meant"),
    };
    let what = format!(
        "the list mixes algorithms line by line: of its first {} hashes {} are others; by algorithm: {}; {meant}",
        HumanCount(all),
        HumanCount(others),
        seen,
    );
    Some(Error::usage(what).hint(format!(
        "--other-algorithms skip takes the {algorithm} ones and counts the others as skipped; --hash names another"
    )))
}

/// The algorithm of `text`, which is in a column of hashes, when it is another one than
/// that of so many `digits`.
pub(super) fn other_in_column(text: &[u8], digits: usize) -> Option<Algorithm> {
    let text = text.trim_ascii();
    match text.len() != digits && is_hash(text) {
        true => Algorithm::of_hex_digits(text.len()),
        false => None,
    }
}
