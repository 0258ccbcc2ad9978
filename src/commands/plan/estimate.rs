//! Numbers with the interval that they are in.

use crate::base::human::ten_thousandths;
use serde::Serialize;

/// A number that was counted, or estimated with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Figure {
    /// The number; of an estimate, the likeliest.
    pub value: u64,
    /// Lower end of the interval.
    pub low: u64,
    /// Upper end of the interval.
    pub high: u64,
}

impl Figure {
    /// A number without a margin.
    pub fn exact(value: u64) -> Self {
        Figure {
            value,
            low: value,
            high: value,
        }
    }

    /// Whether it has no margin.
    pub fn is_exact(self) -> bool {
        self.low == self.high
    }

    pub(super) fn times(self, n: u64) -> Self {
        self.map(|x| x.saturating_mul(n))
    }

    pub(super) fn map(self, f: impl Fn(u64) -> u64) -> Self {
        Figure {
            value: f(self.value),
            low: f(self.low),
            high: f(self.high),
        }
    }

    pub(super) fn span(self, f: impl Fn(f64) -> f64) -> Span {
        Span {
            value: f(self.value as f64),
            low: f(self.low as f64),
            high: f(self.high as f64),
        }
    }
}

/// As [`Figure`], of something that is not whole: seconds, or USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Span {
    /// The likeliest.
    #[serde(serialize_with = "ten_thousandths")]
    pub value: f64,
    /// Lower end of the interval.
    #[serde(serialize_with = "ten_thousandths")]
    pub low: f64,
    /// Upper end of the interval.
    #[serde(serialize_with = "ten_thousandths")]
    pub high: f64,
}
