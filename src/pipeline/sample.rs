//! Uniform random sample of a list that is read once.
//!
//! Reservoir sampling (Vitter's algorithm R): the first N records are kept; the i-th
//! record after that replaces a random one with probability N/i. The reservoir is a
//! uniform sample of the records read so far at any moment. So the list need not be
//! counted first, and the sample size limits the memory. The same seed draws the same
//! lines of the same list.

use crate::base::record::Record;
use std::fmt;
use std::str::FromStr;

/// Maximum sample size. A record takes some 100 bytes of memory. A larger sample adds
/// little: if none of a million sampled records is missing, then with 95 % confidence fewer
/// than 3 in a million of the whole list are.
pub(crate) const MAX_SAMPLE: u64 = 1_000_000;

/// Part of a list that is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Sample {
    /// Every record.
    #[default]
    All,
    /// This number of records, drawn at random.
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

/// Sample of the records offered so far. See the [module](self).
#[derive(Debug)]
pub(crate) struct Reservoir {
    size: usize,
    records: Vec<Record>,
    offered: u64,
    random: fastrand::Rng,
}

impl Reservoir {
    /// An empty reservoir for `size` records; `seed` decides the draw.
    pub(crate) fn new(size: u64, seed: u64) -> Self {
        Reservoir {
            size: usize::try_from(size.min(MAX_SAMPLE)).unwrap_or(usize::MAX),
            records: Vec::new(),
            offered: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// Offers a record; returns true if a record, this or another, was dropped for it.
    pub(crate) fn offer(&mut self, record: Record) -> bool {
        self.offered += 1;
        if self.records.len() < self.size {
            self.records.push(record);
            return false;
        }
        // The index is below `size` with probability `size / offered`.
        let index = self.random.u64(0..self.offered);
        if let Some(slot) = usize::try_from(index)
            .ok()
            .and_then(|i| self.records.get_mut(i))
        {
            *slot = record;
        }
        true
    }

    /// The sample, in the order of the list.
    pub(crate) fn into_records(mut self) -> Vec<Record> {
        self.records.sort_unstable_by_key(|r| r.position);
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Hash;
    use crate::base::record::Position;

    fn record(line: u64) -> Record {
        Record::new(
            Hash::from_bytes(&line.to_be_bytes()).expect("8 bytes"),
            Position {
                source: 0,
                line,
                byte: 0,
            },
        )
    }

    fn lines(size: u64, seed: u64, total: u64) -> Vec<u64> {
        let mut reservoir = Reservoir::new(size, seed);
        let dropped = (0..total).filter(|n| reservoir.offer(record(*n))).count() as u64;
        let kept: Vec<u64> = reservoir
            .into_records()
            .iter()
            .map(|r| r.position.line)
            .collect();
        assert_eq!(
            kept.len() as u64 + dropped,
            total,
            "each is kept or dropped"
        );
        kept
    }

    #[test]
    fn a_sample_size_outside_its_limits_is_an_error() {
        assert_eq!("all".parse(), Ok(Sample::All));
        assert_eq!("10000".parse(), Ok(Sample::Some(10_000)));
        for bad in ["", "0", "-1", "x", "1000001", "10%"] {
            assert!(bad.parse::<Sample>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_smaller_than_the_sample_is_kept_whole_and_in_order() {
        assert!(lines(10, 1, 0).is_empty());
        assert_eq!(lines(10, 1, 3), [0, 1, 2]);
        assert_eq!(lines(10, 1, 10), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn the_same_seed_draws_the_same_sample_and_another_seed_another() {
        let drawn = lines(5, 42, 1000);
        assert_eq!(drawn, lines(5, 42, 1000));
        assert_ne!(drawn, lines(5, 43, 1000));
        assert!(drawn.is_sorted());
    }

    /// Every record is drawn equally often: in 20,000 samples of 10 out of 100, each
    /// record is expected 2,000 times. The fixed seeds make the test deterministic.
    /// Chi-square with 99 degrees of freedom is below 135 in 99 % of cases.
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
        // A wrong formula shows at the first and the last records.
        for end in [0, 1, 9, 10, 11, 98, 99] {
            assert!(
                (1850..=2150).contains(&counts[end]),
                "{end}: {}",
                counts[end]
            );
        }
    }
}
