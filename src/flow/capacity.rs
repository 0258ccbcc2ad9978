//! The capacity of a table and its parts.
//!
//! A write to a table also writes each index that the item belongs to, and each
//! replica. Each of these parts has a separate capacity. The table is as fast as its
//! slowest part: an index with half of its capacity throttles the table. [`Capacity`]
//! holds all parts. [`Capacity::charge`] converts the consumed capacity of a call to
//! token bucket units, which are units of the narrowest part.

use std::fmt;

/// Write request units per second of a new on-demand table. Source: DynamoDB developer
/// guide, on-demand capacity mode.
pub(crate) const ON_DEMAND_WRITE_UNITS: f64 = 4000.0;

/// Read request units per second of a new on-demand table. Source: DynamoDB developer
/// guide, on-demand capacity mode.
pub(crate) const ON_DEMAND_READ_UNITS: f64 = 12_000.0;

/// A part of a table that consumes write capacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The table itself.
    Table,
    /// A global secondary index.
    Index(String),
    /// A replica, by its region.
    Replica(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Table => f.write_str("the table"),
            Part::Index(name) => write!(f, "index {name}"),
            Part::Replica(region) => write!(f, "the replica in {region}"),
        }
    }
}

/// Capacity of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// True if the table is on-demand.
    pub on_demand: bool,
    /// Provisioned WCU/s of each part; for an on-demand table, the configured maximum
    /// of each part that has one.
    pub parts: Vec<(Part, f64)>,
    /// Warm throughput of an on-demand table, in WCU/s; `None` if DescribeTable does
    /// not report it.
    pub warm_throughput: Option<f64>,
}

impl Capacity {
    /// The part with the least capacity, and its WCU/s. `None` if no part has a limit.
    pub fn narrowest(&self) -> Option<&(Part, f64)> {
        self.parts.iter().min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The maximum rate of the table in WCU/s; `None` if it has no limit.
    pub fn max_rate(&self) -> Option<f64> {
        self.narrowest().map(|(_, units)| *units)
    }

    /// The start rate in WCU/s.
    pub fn start_rate(&self) -> f64 {
        let ceiling = self.max_rate().unwrap_or(f64::INFINITY);
        match self.on_demand {
            false => ceiling.min(1e9),
            true => self
                .warm_throughput
                .unwrap_or(ON_DEMAND_WRITE_UNITS)
                .min(ceiling),
        }
    }

    /// The cost of a call, in tokens of a bucket that refills at the narrowest part's rate.
    /// The part with the highest utilisation determines it.
    pub fn charge(&self, consumed: &ConsumedCapacity) -> f64 {
        let narrowest = self.max_rate();
        let scaled = |part: &Part, units: f64| {
            let part_capacity = self
                .parts
                .iter()
                .find(|(p, _)| p == part)
                .map(|(_, units)| *units);
            match (narrowest, part_capacity) {
                (Some(narrowest), Some(part_capacity)) if part_capacity > 0.0 => {
                    units * narrowest / part_capacity
                }
                _ => units,
            }
        };
        let table = consumed.table.unwrap_or(consumed.total);
        let indexes = consumed
            .indexes
            .iter()
            .map(|(name, units)| scaled(&Part::Index(name.clone()), *units));
        // A replica consumes what the table does; responses do not report it.
        let table_parts = self
            .parts
            .iter()
            .filter(|(p, _)| !matches!(p, Part::Index(_)));
        let table_parts = table_parts.map(|(part, _)| scaled(part, table));
        indexes.chain(table_parts).reduce(f64::max).unwrap_or(table)
    }
}

/// Explains a throttling reason of DynamoDB, with a fix. Source: DynamoDB developer
/// guide, throttling diagnostics. A reason is
/// `{Table|Index}{Read|Write}{ProvisionedThroughput|KeyRangeThroughput|AccountLimit|MaxOnDemandThroughput}Exceeded`.
pub(crate) fn throttling_hint(reason: &str) -> &'static str {
    if let Some((_, kind)) = reason.split_once("Read") {
        return read_throttling_hint(kind);
    }
    let index = reason.starts_with("Index");
    match reason.split_once("Write").map_or("", |(_, kind)| kind) {
        "ProvisionedThroughputExceeded" if index => {
            "the index has less capacity than its share of the writes; raise the index's capacity"
        }
        "ProvisionedThroughputExceeded" => {
            "another client writes to the table, or its capacity was lowered; raise it, or leave \
             room with --rate 80%"
        }
        "KeyRangeThroughputExceeded" => {
            "hot partition: it receives more than 1,000 WCU/s; DynamoDB splits it after a while; an \
             index with few distinct keys cannot be split, so drop it for the import"
        }
        "AccountLimitExceeded" => {
            "the AWS account's quota in this region is used up; request a higher one"
        }
        "MaxOnDemandThroughputExceeded" => {
            "the table's on-demand maximum is reached; raise MaxWriteRequestUnits"
        }
        _ => "the table accepts less than its described capacity",
    }
}

/// As [`throttling_hint`], for the part of a read reason after `Read`.
fn read_throttling_hint(kind: &str) -> &'static str {
    match kind {
        "ProvisionedThroughputExceeded" => {
            "another client reads the table, or its capacity was lowered; raise it, or leave room \
             with --rate 80%"
        }
        "KeyRangeThroughputExceeded" => {
            "hot partition: it receives more than 3,000 RCU/s; DynamoDB splits it after a while"
        }
        "AccountLimitExceeded" => {
            "the AWS account's quota in this region is used up; request a higher one"
        }
        "MaxOnDemandThroughputExceeded" => {
            "the table's on-demand maximum is reached; raise MaxReadRequestUnits"
        }
        _ => "the table accepts less than its described capacity",
    }
}

/// Capacity units that a call consumed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConsumedCapacity {
    /// Units of the table and its indexes together.
    pub total: f64,
    /// Units of the table alone; `None` if the response does not report them.
    pub table: Option<f64>,
    /// Units of each index, by name.
    pub indexes: Vec<(String, f64)>,
}

impl ConsumedCapacity {
    /// Returns `self` if the figures are plausible. They feed the token bucket, and an
    /// absurd figure would block the run permanently.
    pub(crate) fn if_plausible(self) -> Option<Self> {
        let possible = |units: f64| (0.0..=MAX_CALL_UNITS).contains(&units);
        let indexes = self.indexes.iter().all(|(_, units)| possible(*units));
        (possible(self.total) && self.table.is_none_or(possible) && indexes).then_some(self)
    }
}

/// Maximum plausible capacity units of one call. A call of 16 MB consumes 16,384 WCU,
/// and each of about 25 indexes up to twice that. Larger figures are ignored.
pub(crate) const MAX_CALL_UNITS: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(parts: &[(Part, f64)]) -> Capacity {
        Capacity {
            on_demand: false,
            parts: parts.to_vec(),
            warm_throughput: None,
        }
    }

    fn index(name: &str) -> Part {
        Part::Index(name.into())
    }

    #[test]
    fn the_narrowest_part_sets_the_rate() {
        let c = capacity(&[
            (Part::Table, 1000.0),
            (index("i"), 400.0),
            (Part::Replica("eu".into()), 700.0),
        ]);
        assert_eq!(c.narrowest(), Some(&(index("i"), 400.0)));
        assert_eq!((c.max_rate(), c.start_rate()), (Some(400.0), 400.0));
    }

    #[test]
    fn on_demand_starts_at_warm_throughput_below_its_maximum() {
        let c = |parts: &[(Part, f64)], warm| Capacity {
            on_demand: true,
            parts: parts.to_vec(),
            warm_throughput: warm,
        };
        assert_eq!(c(&[], None).start_rate(), 4000.0);
        assert_eq!(c(&[], Some(12_000.0)).start_rate(), 12_000.0);
        assert_eq!(
            c(&[(Part::Table, 900.0)], Some(12_000.0)).start_rate(),
            900.0
        );
        assert_eq!(c(&[], None).max_rate(), None);
    }

    #[test]
    fn a_call_costs_its_share_of_the_most_utilised_part() {
        let consumed = |table, i| ConsumedCapacity {
            total: table + i,
            table: Some(table),
            indexes: vec![("i".into(), i)],
        };
        // Equal capacities: not the sum, because each part has its capacity.
        let c = capacity(&[(Part::Table, 1000.0), (index("i"), 1000.0)]);
        assert_eq!(c.charge(&consumed(25.0, 25.0)), 25.0);
        assert_eq!(
            c.charge(&consumed(25.0, 50.0)),
            50.0,
            "items twice as large in the index"
        );
        // The bucket refills at the index's 500: 25 of the table's 1,000 cost half.
        let c = capacity(&[(Part::Table, 1000.0), (index("i"), 500.0)]);
        assert_eq!(c.charge(&consumed(25.0, 25.0)), 25.0);
        assert_eq!(c.charge(&consumed(25.0, 5.0)), 12.5);
        let c = capacity(&[(Part::Table, 1000.0), (Part::Replica("eu".into()), 500.0)]);
        assert_eq!(
            c.charge(&consumed(25.0, 0.0)),
            25.0,
            "as much as in the table"
        );
        let c = capacity(&[(Part::Table, 1000.0), (index("i"), 500.0)]);
        let only_total = ConsumedCapacity {
            total: 25.0,
            table: None,
            indexes: vec![],
        };
        assert_eq!(c.charge(&only_total), 12.5);
    }

    #[test]
    fn each_throttling_reason_has_a_hint() {
        assert!(throttling_hint("IndexWriteProvisionedThroughputExceeded").contains("index"));
        assert!(throttling_hint("TableWriteKeyRangeThroughputExceeded").contains("partition"));
        assert!(throttling_hint("TableWriteAccountLimitExceeded").contains("quota"));
        assert!(
            throttling_hint("TableWriteMaxOnDemandThroughputExceeded")
                .contains("MaxWriteRequestUnits")
        );
        assert!(throttling_hint("TableReadKeyRangeThroughputExceeded").contains("3,000"));
        assert!(
            throttling_hint("TableReadProvisionedThroughputExceeded").contains("reads the table")
        );
        assert!(throttling_hint("SomethingNew").contains("less than its described capacity"));
    }
}
