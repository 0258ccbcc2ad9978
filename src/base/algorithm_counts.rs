//! Counters by hash algorithm.

use crate::base::hash::Algorithm;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// Number of hashes by algorithm. Its JSON form is an object of the nonzero counts:
/// `{"md5": 20}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlgorithmCounts([u64; Algorithm::ALL.len()]);

impl AlgorithmCounts {
    /// Adds one hash of `algorithm`.
    pub fn add(&mut self, algorithm: Algorithm) {
        self.add_many(algorithm, 1);
    }

    /// Adds `many` hashes of `algorithm`.
    pub fn add_many(&mut self, algorithm: Algorithm, many: u64) {
        for (a, count) in Algorithm::ALL.iter().zip(&mut self.0) {
            if *a == algorithm {
                *count = count.saturating_add(many);
            }
        }
    }

    /// The nonzero counts, largest first.
    pub fn nonzero(&self) -> Vec<(Algorithm, u64)> {
        let mut counted: Vec<_> = Algorithm::ALL.into_iter().zip(self.0).collect();
        counted.retain(|(_, count)| *count > 0);
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counted
    }

    /// The sum of all counts.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// True if all counts are zero.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|n| *n == 0)
    }

    /// Subtracts `other`, down to zero.
    #[must_use]
    pub fn without(mut self, other: AlgorithmCounts) -> AlgorithmCounts {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_sub(other);
        }
        self
    }
}

impl AddAssign for AlgorithmCounts {
    fn add_assign(&mut self, other: Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(other);
        }
    }
}

/// Displays the nonzero counts, as in `20 md5, 3 sha1`.
impl fmt::Display for AlgorithmCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (algorithm, count)) in self.nonzero().into_iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{} {algorithm}", indicatif::HumanCount(count))?;
        }
        Ok(())
    }
}

impl Serialize for AlgorithmCounts {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.nonzero().iter().map(|(a, count)| (a.name(), count)))
    }
}

impl<'de> Deserialize<'de> for AlgorithmCounts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut counts = AlgorithmCounts::default();
        for (name, count) in BTreeMap::<String, u64>::deserialize(d)? {
            let algorithm = name.parse().map_err(D::Error::custom)?;
            counts.add_many(algorithm, count);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonzero_counts_are_a_json_object() {
        let mut counts = AlgorithmCounts::default();
        assert!(counts.is_zero());
        counts.add_many(Algorithm::Sha1, 3);
        counts.add_many(Algorithm::Md5, 1200);
        assert_eq!(counts.to_string(), "1,200 md5, 3 sha1");
        let json = serde_json::to_value(counts).expect("JSON");
        assert_eq!(json, serde_json::json!({"md5": 1200, "sha1": 3}));
        let read: AlgorithmCounts = serde_json::from_value(json).expect("counts");
        assert_eq!((read, read.total()), (counts, 1203));
        assert!(read.without(counts).is_zero());
        let unknown = serde_json::json!({"crc32": 1});
        assert!(serde_json::from_value::<AlgorithmCounts>(unknown).is_err());
    }
}
