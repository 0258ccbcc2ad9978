//! A sample of a list that is read once: every record has the same chance.
//!
//! Reservoir sampling (Vitter's algorithm R): the first N records are kept; the
//! i-th after that takes the place of a random one with probability N/i. At any
//! moment what is kept is a uniform sample of what was read, so that a list need
//! not be counted first, and memory is bounded by the sample. Chance comes from
//! a seed: the same seed draws the same places of the same list.

use crate::base::record::Record;
use std::fmt;
use std::str::FromStr;

/// The largest sample. Each record of it takes some 100 bytes of memory, and a
/// larger one tells nothing more: of a million records of which none is missing
/// one may conclude, with 95 % certainty, that fewer than 3 in a million are.
pub(crate) const MAX_SAMPLE: u64 = 1_000_000;

/// How much of a list is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Sample {
    /// All of it.
    #[default]
    All,
    /// So many of its records, drawn at random.
    Some(u64),
}

impl FromStr for Sample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Sample::All);
        }
        text.parse()
            .ok()
            .filter(|n| (1..=MAX_SAMPLE).contains(n))
            .map(Sample::Some)
            .ok_or_else(|| format!("expected all or a number from 1 to {MAX_SAMPLE}, got {text:?}"))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sample::All => f.write_str("all"),
            Sample::Some(n) => write!(f, "{n}"),
        }
    }
}

/// The sample of what was offered so far. See the [module](self).
#[derive(Debug)]
pub(crate) struct Reservoir {
    size: usize,
    kept: Vec<Record>,
    offered: u64,
    random: fastrand::Rng,
}

impl Reservoir {
    /// An empty one for `size` records, with chance from `seed`.
    pub(crate) fn new(size: u64, seed: u64) -> Self {
        Reservoir {
            size: usize::try_from(size.min(MAX_SAMPLE)).unwrap_or(usize::MAX),
            kept: Vec::new(),
            offered: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Offers a record; says whether one is now left out, this or another.
    pub(crate) fn offer(&mut self, record: Record) -> bool {
        self.offered += 1;
        if self.kept.len() < self.size {
            self.kept.push(record);
            return false;
        }
        // Below `size` in `size` of `offered` cases: no more than usize holds.
        let place = self.random.u64(0..self.offered);
        if let Some(slot) = usize::try_from(place)
            .ok()
            .and_then(|p| self.kept.get_mut(p))
        {
            *slot = record;
        }
        true
    }

    /// The sample, in the order of the list.
    pub(crate) fn into_records(mut self) -> Vec<Record> {
        self.kept.sort_unstable_by_key(|r| r.place);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::base::record::Place;

    fn record(line: u64) -> Record {
        Record::new(
            Hash::from_bytes(&line.to_be_bytes()).expect("8 bytes"),
            Place {
                source: 0,
                line,
                byte: 0,
            },
        )
    }

    fn lines(size: u64, seed: u64, of: u64) -> Vec<u64> {
        let mut reservoir = Reservoir::new(size, seed);
        let left_out = (0..of).filter(|n| reservoir.offer(record(*n))).count() as u64;
        let kept: Vec<u64> = reservoir
            .into_records()
            .iter()
            .map(|r| r.place.line)
            .collect();
        assert_eq!(kept.len() as u64 + left_out, of, "each is in one heap");
        kept
    }

    #[test]
    fn sizes_are_read_within_bounds() {
        assert_eq!("all".parse(), Ok(Sample::All));
        assert_eq!("10000".parse(), Ok(Sample::Some(10_000)));
        for bad in ["", "0", "-1", "x", "1000001", "10%"] {
            assert!(bad.parse::<Sample>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_that_is_smaller_is_taken_whole_and_in_order() {
        assert!(lines(10, 1, 0).is_empty());
        assert_eq!(lines(10, 1, 3), [0, 1, 2]);
        assert_eq!(lines(10, 1, 10), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_seed_draws_the_same_again_and_another_draws_another() {
        let drawn = lines(5, 42, 1000);
        assert_eq!(drawn, lines(5, 42, 1000));
        assert_ne!(drawn, lines(5, 43, 1000));
        assert!(drawn.is_sorted());
    }

    /// Every record equally often: 20,000 samples of 10 out of 100, so each of
    /// the hundred is expected in 2,000 of them. With these seeds the counts are
    /// what they are, so the bounds are met for ever or never; chi-square of 99
    /// degrees of freedom is below 135 in 99 % of cases.
    #[test]
    fn each_record_has_the_same_chance() {
        let mut counts = [0u32; 100];
        for seed in 0..20_000 {
            let drawn = lines(10, seed, 100);
            assert_eq!(drawn.len(), 10);
            for line in drawn {
                counts[line as usize] += 1;
            }
        }
        assert_eq!(counts.iter().sum::<u32>(), 200_000);
        let chi: f64 = counts
            .iter()
            .map(|c| (f64::from(*c) - 2000.0).powi(2) / 2000.0)
            .sum();
        assert!(chi < 135.0, "chi-square {chi}: {counts:?}");
        // The first and the last are where a wrong formula shows.
        for end in [0, 1, 9, 10, 11, 98, 99] {
            assert!(
                (1850..=2150).contains(&counts[end]),
                "{end}: {}",
                counts[end]
            );
        }
    }
}
