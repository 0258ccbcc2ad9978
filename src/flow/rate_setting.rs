//! How fast to write: what `--rate` says, and what that is for a table.
//!
//! Where the table decides, the [controller](crate::flow::rate_controller) follows it.

use crate::flow::capacity::Capacity;
use crate::flow::rate_controller::Controller;
use crate::flow::rate_limiter::Pace;
use std::fmt;
use std::str::FromStr;
use tokio::time::Instant;

/// The rate that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Rate {
    /// What the table can take.
    #[default]
    Auto,
    /// So many write capacity units a second.
    Units(f64),
    /// So many hundredths of what the table can take.
    Percent(f64),
    /// No limit.
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |t: &str| t.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
        let rate = match text {
            "auto" => Some(Rate::Auto),
            "max" => Some(Rate::Max),
            _ => match text.strip_suffix('%') {
                Some(p) => number(p).map(Rate::Percent),
                None => number(text).map(Rate::Units),
            },
        };
        rate.ok_or_else(|| {
            format!(
                "expected auto, max, capacity units a second above 0 (such as 1000), \
                 or a share of the table's (such as 80%), got {text:?}"
            )
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Auto => f.write_str("auto"),
            Rate::Units(n) => write!(f, "{n}"),
            Rate::Percent(p) => write!(f, "{p}%"),
            Rate::Max => f.write_str("max"),
        }
    }
}

impl Rate {
    /// The pace of writing to a table of this `capacity`, never above `max_rate`
    /// when the table decides.
    pub fn pace(self, capacity: Capacity, max_rate: Option<f64>) -> Pace {
        let controlled =
            |share| Pace::controlled(Controller::new(capacity, share, max_rate, Instant::now()));
        match self {
            Rate::Auto => controlled(1.0),
            Rate::Percent(p) => controlled(p / 100.0),
            Rate::Units(n) => Pace::fixed(Some(n)),
            Rate::Max => Pace::fixed(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::capacity::Part;

    #[test]
    fn rates_are_read_and_nonsense_is_refused() {
        for (text, rate) in [
            ("auto", Rate::Auto),
            ("max", Rate::Max),
            ("1000", Rate::Units(1000.0)),
            ("0.5", Rate::Units(0.5)),
            ("80%", Rate::Percent(80.0)),
        ] {
            assert_eq!(text.parse(), Ok(rate));
            assert_eq!(rate.to_string(), text);
        }
        for bad in [
            "", "0", "-5", "abc", "0%", "-1%", "inf", "NaN", "1e999", "%", "10 %",
        ] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rate_is_units_of_the_table() {
        let provisioned = || Capacity {
            on_demand: false,
            parts: vec![(Part::Table, 1000.0)],
            warm: None,
        };
        let on_demand = || Capacity {
            on_demand: true,
            parts: vec![],
            warm: None,
        };
        let rate = |rate: Rate, capacity, max| rate.pace(capacity, max).rate();
        assert_eq!(rate(Rate::Auto, provisioned(), None), Some(1000.0));
        assert_eq!(rate(Rate::Auto, provisioned(), Some(300.0)), Some(300.0));
        assert_eq!(rate(Rate::Auto, on_demand(), None), Some(4000.0));
        assert_eq!(rate(Rate::Percent(50.0), provisioned(), None), Some(500.0));
        assert_eq!(rate(Rate::Units(7.0), provisioned(), None), Some(7.0));
        assert_eq!(rate(Rate::Max, provisioned(), None), None);
    }
}
