//! DynamoDB prices: one dated table, each price with its source.
//!
//! The prices apply to one region, [`PRICE_REGION`], as of [`PRICES_DATE`]. DynamoDB has no API for
//! prices. Other regions, savings plans and free tiers change them, so the user can
//! override them (`hashferry plan --price-…`).

use serde::Serialize;

pub(crate) const PRICE_REGION: &str = "us-east-1";

/// Date of the table of prices.
pub(crate) const PRICES_DATE: &str = "2026-11-24";

/// Price of a million write request units of an on-demand table, in USD.
/// A replicated write request unit costs the same (DynamoDB developer guide,
/// global tables billing).
/// Source: AWS price list, read in August 2026
/// (aws/agent-toolkit-for-aws, `calculate_costs.py`).
pub(crate) const USD_PER_MILLION_WRITE_UNITS: f64 = 0.625;

/// Price of a million read request units of an on-demand table, in USD.
/// Source: the same as for write request units.
pub(crate) const USD_PER_MILLION_READ_UNITS: f64 = 0.125;

/// Price of one provisioned write capacity unit for an hour, in USD. A
/// replicated one costs the same (DynamoDB developer guide, global tables
/// billing).
/// Source: zeonedge and usage.ai, 2026: secondary sources. No first-party page
/// that shows the figure was found.
pub(crate) const USD_PER_CAPACITY_HOUR: f64 = 0.00065;

/// Price of importing a gigabyte from S3 by ImportTable, in USD, by its
/// uncompressed size. Indexes are free.
/// Source: a copy of the price list of us-east-2 from 2023: secondary, another
/// region and old, so the most uncertain of these prices.
pub(crate) const USD_PER_IMPORT_GB: f64 = 0.15;

/// Bytes of a gigabyte. DynamoDB counts in powers of 1,024 (a KB is 1,024 bytes).
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A price and its source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    /// Amount in USD.
    pub usd: f64,
    /// Unit that the amount pays for.
    pub per: &'static str,
    /// Source of the figure.
    pub source: String,
}

impl Price {
    /// Replaces the amount by `usd`, and the source by `flag`, if `usd` is given.
    #[must_use]
    pub fn overridden_with(mut self, usd: Option<f64>, flag: &str) -> Self {
        if let Some(usd) = usd {
            self.usd = usd;
            flag.clone_into(&mut self.source);
        }
        self
    }
}

/// Prices that a plan estimates with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prices {
    /// A million on-demand write request units, replicated ones too.
    pub write_units: Price,
    /// A provisioned write capacity unit for an hour, replicated ones too.
    pub capacity_hour: Price,
    /// A gigabyte imported by ImportTable.
    pub import_gb: Price,
}

impl Default for Prices {
    fn default() -> Self {
        Prices {
            write_units: Price {
                usd: USD_PER_MILLION_WRITE_UNITS,
                per: "million write units on demand",
                source: format!("{PRICE_REGION}: AWS price list of August 2026"),
            },
            capacity_hour: Price {
                usd: USD_PER_CAPACITY_HOUR,
                per: "provisioned write unit and hour",
                source: format!("{PRICE_REGION}: zeonedge and usage.ai, 2026, secondary"),
            },
            import_gb: Price {
                usd: USD_PER_IMPORT_GB,
                per: "GB (1,073,741,824 bytes) imported, uncompressed",
                source: "us-east-2: a copy of the price list from 2023, secondary and uncertain"
                    .to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overridden_price_names_its_flag() {
        let price = || Prices::default().write_units;
        assert_eq!(price().overridden_with(None, "--x"), price());
        let given = price().overridden_with(Some(0.7), "--x");
        assert_eq!((given.usd, given.source.as_str()), (0.7, "--x"));
    }
}
