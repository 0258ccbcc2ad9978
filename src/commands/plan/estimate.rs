//! Numbers with confidence intervals.

use crate::base::human::ten_thousandths;
use serde::Serialize;

/// A counted number, or an estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Estimate {
    /// The number, or the most likely one.
    pub value: u64,
    /// Lower end of the interval.
    pub low: u64,
    /// Upper end of the interval.
    pub high: u64,
}

impl Estimate {
    /// A number without a margin.
    pub fn exact(value: u64) -> Self {
        Estimate {
            value,
            low: value,
            high: value,
        }
    }

    /// True if the number has no margin.
    pub fn is_exact(self) -> bool {
        self.low == self.high
    }

    pub(super) fn scaled(self, n: u64) -> Self {
        self.map(|x| x.saturating_mul(n))
    }

    pub(super) fn map(self, f: impl Fn(u64) -> u64) -> Self {
        Estimate {
            value: f(self.value),
            low: f(self.low),
            high: f(self.high),
        }
    }

    pub(super) fn map_decimal(self, f: impl Fn(f64) -> f64) -> DecimalEstimate {
        DecimalEstimate {
            value: f(self.value as f64),
            low: f(self.low as f64),
            high: f(self.high as f64),
        }
    }
}

/// A decimal number like [`Estimate`]: seconds or USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DecimalEstimate {
    /// The number, or the most likely one.
    #[serde(serialize_with = "ten_thousandths")]
    pub value: f64,
    /// Lower end of the interval.
    #[serde(serialize_with = "ten_thousandths")]
    pub low: f64,
    /// Upper end of the interval.
    #[serde(serialize_with = "ten_thousandths")]
    pub high: f64,
}
