//! Detection of lists that mix hashes of several algorithms line by line.
//!
//! Read for one algorithm, such a list would yield many rejected lines. It is an error
//! before the first write, unless the user chooses to skip the other algorithms. A list
//! whose hashes are all of one other algorithm is not a mix; neither is one with a stray line.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::Error;
use crate::base::hash::Algorithm;
use crate::list::format::cell::is_hash;
use crate::list::format::kind::Format;
use crate::list::format::plain::{algorithm_from_text, trimmed};
use crate::list::format::sums;
use indicatif::HumanCount;

/// Maximum share of other algorithms' hashes, in percent; above it a list is a mix.
const MIX_PERCENT: u64 = 5;

/// Minimum number of other algorithms' hashes in a mix: one is a stray line.
const MIN_OTHERS: u64 = 2;

/// Counts the hashes in `lines`, the first ones of a list in `format`, by algorithm.
/// Returns zero counts if there is at most one algorithm.
pub(super) fn count_algorithms(format: Format, lines: &[&[u8]]) -> AlgorithmCounts {
    let mut counts = AlgorithmCounts::default();
    for line in lines {
        let algorithm = match format {
            Format::Lines => algorithm_from_text(trimmed(line)),
            Format::Sums => sums::algorithm(line).or_else(|| algorithm_from_text(trimmed(line))),
            _ => None,
        };
        if let Some(algorithm) = algorithm {
            counts.add(algorithm);
        }
    }
    match counts.nonzero().len() {
        0 | 1 => AlgorithmCounts::default(),
        _ => counts,
    }
}

/// Returns the error for a list to be read for `algorithm` whose first hashes are `seen`.
/// `None` if it is not a mix.
pub(super) fn mix_error(seen: &AlgorithmCounts, algorithm: Algorithm) -> Option<Error> {
    // The length alone yields the most common algorithm of that length.
    let by_length = Algorithm::from_hex_digits(algorithm.bytes() * 2);
    let is_meant = |a: Algorithm| a == algorithm || Some(a) == by_length;
    let counted = seen.nonzero();
    let others = counted.iter().filter(|(a, _)| !is_meant(*a));
    let others: u64 = others.map(|(_, count)| count).sum();
    let all = seen.total();
    if others < MIN_OTHERS || others.saturating_mul(100) <= all.saturating_mul(MIX_PERCENT) {
        return None;
    }
    let meant = match others == all {
        true => format!("none is {algorithm}"),
        false => format!("expected {algorithm}"),
    };
    let what = format!(
        "the list mixes algorithms line by line: of its first {} hashes, {} are of other algorithms ({}); {meant}",
        HumanCount(all),
        HumanCount(others),
        seen,
    );
    Some(Error::usage(what).with_hint(format!(
        "give --other-algorithms skip to read the {algorithm} hashes and count the others as skipped, or choose \
         another algorithm with --hash"
    )))
}

/// The algorithm of `text` from a hash column, if it is a hash of another length than
/// `digits`. `None` otherwise.
pub(super) fn other_algorithm(text: &[u8], digits: usize) -> Option<Algorithm> {
    let text = text.trim_ascii();
    match text.len() != digits && is_hash(text) {
        true => Algorithm::from_hex_digits(text.len()),
        false => None,
    }
}
