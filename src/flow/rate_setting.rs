//! The rate that `--rate` sets, and the rate limiter for it.
//!
//! If the rate depends on the table, the [controller](crate::flow::rate_controller)
//! follows its capacity.

use crate::flow::capacity::Capacity;
use crate::flow::rate_controller::RateController;
use crate::flow::rate_limiter::RateLimiter;
use std::fmt;
use std::str::FromStr;
use tokio::time::Instant;

/// Setting of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum RateSetting {
    /// The table's capacity.
    #[default]
    Auto,
    /// A fixed rate in capacity units per second.
    Units(f64),
    /// A percentage of the table's capacity.
    Percent(f64),
    /// No limit.
    Max,
}

impl FromStr for RateSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |t: &str| t.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let rate = match text {
            "auto" => Some(RateSetting::Auto),
            "max" => Some(RateSetting::Max),
            _ => match text.strip_suffix('%') {
                Some(p) => number(p).map(RateSetting::Percent),
                None => number(text).map(RateSetting::Units),
            },
        };
        rate.ok_or_else(|| {
            format!(
                "expected auto, max, capacity units per second above 0 (such as 1000), \
                 or a percentage of the table's capacity (such as 80%), got {text:?}"
            )
        })
    }
}

impl fmt::Display for RateSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RateSetting::Auto => f.write_str("auto"),
            RateSetting::Units(n) => write!(f, "{n}"),
            RateSetting::Percent(p) => write!(f, "{p}%"),
            RateSetting::Max => f.write_str("max"),
        }
    }
}

impl RateSetting {
    /// Creates the rate limiter for a table of this `capacity`. `max_rate` caps a rate
    /// that follows the table.
    pub fn rate_limiter(self, capacity: Capacity, max_rate: Option<f64>) -> RateLimiter {
        let controlled = |share| {
            RateLimiter::with_controller(RateController::new(
                capacity,
                share,
                max_rate,
                Instant::now(),
            ))
        };
        match self {
            RateSetting::Auto => controlled(1.0),
            RateSetting::Percent(p) => controlled(p / 100.0),
            RateSetting::Units(n) => RateLimiter::fixed(Some(n)),
            RateSetting::Max => RateLimiter::fixed(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::capacity::Part;

    #[test]
    fn rates_are_parsed_and_invalid_ones_fail() {
        for (text, rate) in [
            ("auto", RateSetting::Auto),
            ("max", RateSetting::Max),
            ("1000", RateSetting::Units(1000.0)),
            ("0.5", RateSetting::Units(0.5)),
            ("80%", RateSetting::Percent(80.0)),
        ] {
            assert_eq!(text.parse(), Ok(rate));
            assert_eq!(rate.to_string(), text);
        }
        for bad in [
            "", "0", "-5", "abc", "0%", "-1%", "inf", "NaN", "1e999", "%", "10 %",
        ] {
            assert!(bad.parse::<RateSetting>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_setting_gives_a_rate_for_the_table() {
        let provisioned = || Capacity {
            on_demand: false,
            parts: vec![(Part::Table, 1000.0)],
            warm_throughput: None,
        };
        let on_demand = || Capacity {
            on_demand: true,
            parts: vec![],
            warm_throughput: None,
        };
        let rate = |rate: RateSetting, capacity, max| rate.rate_limiter(capacity, max).rate();
        assert_eq!(rate(RateSetting::Auto, provisioned(), None), Some(1000.0));
        assert_eq!(
            rate(RateSetting::Auto, provisioned(), Some(300.0)),
            Some(300.0)
        );
        assert_eq!(rate(RateSetting::Auto, on_demand(), None), Some(4000.0));
        assert_eq!(
            rate(RateSetting::Percent(50.0), provisioned(), None),
            Some(500.0)
        );
        assert_eq!(
            rate(RateSetting::Units(7.0), provisioned(), None),
            Some(7.0)
        );
        assert_eq!(rate(RateSetting::Max, provisioned(), None), None);
    }
}
