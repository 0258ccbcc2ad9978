//! How much a table can take, and which of its parts is the narrowest.
//!
//! A write to a table is a write to each index that the item feeds and to each
//! replica, and every one of these has a capacity of its own. A table writes as
//! fast as the least of them lets it: an index with half of the table's capacity
//! throttles the table itself. [`Capacity`] holds them all; [`Capacity::charge`]
//! turns what a call consumed of each into what it costs at the token bucket,
//! which is kept in units of the narrowest.

use std::fmt;

/// Write request units a second that a new on-demand table takes.
/// Source: DynamoDB developer guide, on-demand capacity mode.
pub(crate) const ON_DEMAND_WRITE_UNITS: f64 = 4000.0;

/// Read request units a second that a new on-demand table takes.
/// Source: DynamoDB developer guide, on-demand capacity mode.
pub(crate) const ON_DEMAND_READ_UNITS: f64 = 12_000.0;

/// A part of a table that takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The table itself.
    Table,
    /// A global secondary index.
    Index(String),
    /// The table in another region.
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

/// What a table can take.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// Whether its writes are paid per request.
    pub on_demand: bool,
    /// Provisioned write capacity units a second, by part; of an on-demand
    /// table, the maximum that was set, where one was.
    pub parts: Vec<(Part, f64)>,
    /// Write units a second that an on-demand table is warm for, where it says so.
    pub warm: Option<f64>,
}

impl Capacity {
    /// The narrowest part and its write units a second; nothing when no part has
    /// a limit of its own.
    pub fn narrowest(&self) -> Option<&(Part, f64)> {
        self.parts.iter().min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The most that the table may be asked for, in write units a second.
    pub fn ceiling(&self) -> Option<f64> {
        self.narrowest().map(|(_, units)| *units)
    }

    /// Where to begin, in write units a second.
    pub fn start(&self) -> f64 {
        let ceiling = self.ceiling().unwrap_or(f64::INFINITY);
        match self.on_demand {
            false => ceiling.min(1e9),
            true => self.warm.unwrap_or(ON_DEMAND_WRITE_UNITS).min(ceiling),
        }
    }

    /// What a call that consumed `consumed` costs at a bucket that is filled at
    /// the narrowest part's rate: the part that is used up most decides.
    pub fn charge(&self, consumed: &Consumed) -> f64 {
        let narrowest = self.ceiling();
        let scaled = |part: &Part, units: f64| {
            let own = self
                .parts
                .iter()
                .find(|(p, _)| p == part)
                .map(|(_, units)| *units);
            match (narrowest, own) {
                (Some(narrowest), Some(own)) if own > 0.0 => units * narrowest / own,
                _ => units,
            }
        };
        let table = consumed.table.unwrap_or(consumed.total);
        let indexes = consumed
            .indexes
            .iter()
            .map(|(name, units)| scaled(&Part::Index(name.clone()), *units));
        // What a replica consumes is what the table does; no answer names it.
        let same = self
            .parts
            .iter()
            .filter(|(p, _)| !matches!(p, Part::Index(_)));
        let same = same.map(|(part, _)| scaled(part, table));
        indexes.chain(same).reduce(f64::max).unwrap_or(table)
    }
}

/// What DynamoDB's reason for throttling means, and what can be done about it.
/// Source: DynamoDB developer guide, throttling diagnostics: the reason is
/// `{Table|Index}{Read|Write}{ProvisionedThroughput|KeyRangeThroughput|AccountLimit|MaxOnDemandThroughput}Exceeded`.
pub(crate) fn advice(reason: &str) -> &'static str {
    if let Some((_, kind)) = reason.split_once("Read") {
        return read_advice(kind);
    }
    let index = reason.starts_with("Index");
    match reason.split_once("Write").map_or("", |(_, kind)| kind) {
        "ProvisionedThroughputExceeded" if index => {
            "the index has less capacity than its share of the writes: raise the index's"
        }
        "ProvisionedThroughputExceeded" => {
            "something else writes to the table too, or its capacity was lowered: raise it, or leave \
             room by --rate 80%"
        }
        "KeyRangeThroughputExceeded" => {
            "one partition gets more than its 1,000 units a second: DynamoDB splits it after a while; \
             an index with few different keys cannot be split and should be dropped for the import"
        }
        "AccountLimitExceeded" => {
            "the account's quota in this region is used up: ask for a higher one"
        }
        "MaxOnDemandThroughputExceeded" => {
            "the table's own on-demand maximum is reached: raise MaxWriteRequestUnits"
        }
        _ => "the table takes less than it says",
    }
}

/// The same for reads, by what is exceeded.
fn read_advice(kind: &str) -> &'static str {
    match kind {
        "ProvisionedThroughputExceeded" => {
            "something else reads the table too, or its capacity was lowered: raise it, or leave room \
             by --rate 80%"
        }
        "KeyRangeThroughputExceeded" => {
            "one partition gets more than its 3,000 units a second: DynamoDB splits it after a while"
        }
        "AccountLimitExceeded" => {
            "the account's quota in this region is used up: ask for a higher one"
        }
        "MaxOnDemandThroughputExceeded" => {
            "the table's own on-demand maximum is reached: raise MaxReadRequestUnits"
        }
        _ => "the table takes less than it says",
    }
}

/// Write capacity units that a call consumed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Consumed {
    /// Of the table and its indexes together.
    pub total: f64,
    /// Of the table alone, where that is said.
    pub table: Option<f64>,
    /// Of each index, by its name.
    pub indexes: Vec<(String, f64)>,
}

impl Consumed {
    /// Itself, when a call can have consumed that. What is paid at the token bucket
    /// follows it: a figure beyond all bounds would stop a run for good.
    pub(crate) fn if_possible(self) -> Option<Self> {
        let possible = |units: f64| (0.0..=MAX_CALL_UNITS).contains(&units);
        let indexes = self.indexes.iter().all(|(_, units)| possible(*units));
        (possible(self.total) && self.table.is_none_or(possible) && indexes).then_some(self)
    }
}

/// Capacity units that one call can have consumed, at the very most: 16 MB are
/// 16,384 write units, and each of some 25 indexes takes up to two writes for one
/// of the table. An answer that says more is not believed.
pub(crate) const MAX_CALL_UNITS: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(parts: &[(Part, f64)]) -> Capacity {
        Capacity {
            on_demand: false,
            parts: parts.to_vec(),
            warm: None,
        }
    }

    fn index(name: &str) -> Part {
        Part::Index(name.into())
    }

    #[test]
    fn the_narrowest_part_decides() {
        let c = capacity(&[
            (Part::Table, 1000.0),
            (index("i"), 400.0),
            (Part::Replica("eu".into()), 700.0),
        ]);
        assert_eq!(c.narrowest(), Some(&(index("i"), 400.0)));
        assert_eq!((c.ceiling(), c.start()), (Some(400.0), 400.0));
    }

    #[test]
    fn on_demand_begins_warm_and_below_its_maximum() {
        let c = |parts: &[(Part, f64)], warm| Capacity {
            on_demand: true,
            parts: parts.to_vec(),
            warm,
        };
        assert_eq!(c(&[], None).start(), 4000.0);
        assert_eq!(c(&[], Some(12_000.0)).start(), 12_000.0);
        assert_eq!(c(&[(Part::Table, 900.0)], Some(12_000.0)).start(), 900.0);
        assert_eq!(c(&[], None).ceiling(), None);
    }

    #[test]
    fn a_call_costs_what_it_takes_of_the_part_it_uses_up_most() {
        let consumed = |table, i| Consumed {
            total: table + i,
            table: Some(table),
            indexes: vec![("i".into(), i)],
        };
        // Equal capacities: not the sum, for each has its own.
        let c = capacity(&[(Part::Table, 1000.0), (index("i"), 1000.0)]);
        assert_eq!(c.charge(&consumed(25.0, 25.0)), 25.0);
        assert_eq!(
            c.charge(&consumed(25.0, 50.0)),
            50.0,
            "items twice as large in the index"
        );
        // The bucket runs at the index's 500: the table's 25 of 1,000 weigh half.
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
        let only_total = Consumed {
            total: 25.0,
            table: None,
            indexes: vec![],
        };
        assert_eq!(c.charge(&only_total), 12.5);
    }

    #[test]
    fn each_reason_has_its_advice() {
        assert!(advice("IndexWriteProvisionedThroughputExceeded").contains("index"));
        assert!(advice("TableWriteKeyRangeThroughputExceeded").contains("partition"));
        assert!(advice("TableWriteAccountLimitExceeded").contains("quota"));
        assert!(advice("TableWriteMaxOnDemandThroughputExceeded").contains("MaxWriteRequestUnits"));
        assert!(advice("TableReadKeyRangeThroughputExceeded").contains("3,000"));
        assert!(advice("TableReadProvisionedThroughputExceeded").contains("reads the table"));
        assert!(advice("SomethingNew").contains("less than it says"));
    }
}
