//! A described table: keys, billing, indexes, replicas and capacity.

use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::{Capacity, ON_DEMAND_READ_UNITS, Part};

/// Billing mode of a table, with its write capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Billing {
    /// Provisioned write capacity units a second.
    Provisioned {
        /// Write capacity units.
        write_units: u64,
    },
    /// On-demand, with the maximum that the table sets, if any.
    OnDemand {
        /// Maximum write request units a second; `None` if the table sets none.
        maximum: Option<u64>,
    },
}

/// A table as DescribeTable reports it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// The name that the user gave.
    pub name: String,
    /// Amazon Resource Name; `None` if unknown.
    pub arn: Option<String>,
    /// DynamoDB's id: a table that is deleted and created again has a new one.
    pub id: Option<String>,
    /// Key schema.
    pub schema: KeySchema,
    /// Billing mode.
    pub billing: Billing,
    /// Secondary indexes.
    pub indexes: Vec<Index>,
    /// Regions of the replicas, without the table's own.
    pub replicas: Vec<String>,
    /// Warm throughput for writes, in WCU/s; `None` if not reported.
    pub warm_write_units: Option<f64>,
    /// Provisioned RCU/s, or the on-demand maximum; `None` if there is no limit.
    pub read_units: Option<f64>,
    /// Warm throughput for reads, in RCU/s; `None` if not reported.
    pub warm_read_units: Option<f64>,
    /// Decreases of its capacity today (UTC); DynamoDB allows at most 27.
    pub decreases_today: u64,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Index {
    /// Index name.
    pub name: String,
    /// True if it is a global index, with separate capacity. A local index uses the table's.
    pub global: bool,
    /// Key attributes: an item without one of them is not in the index.
    pub keys: Vec<String>,
    /// Provisioned WCU/s, or the on-demand maximum; `None` if there is no limit.
    pub write_units: Option<f64>,
}

impl Table {
    /// Number of regions that hold the table: 1, or more for a global table.
    pub(crate) fn region_count(&self) -> u64 {
        self.replicas.len() as u64 + 1
    }

    /// Write capacity for items with attributes of these `names`.
    /// `replicas` are the known WCU/s of other regions.
    pub(crate) fn write_capacity(&self, names: &[&str], replicas: &[(String, f64)]) -> Capacity {
        let own = match self.billing {
            Billing::Provisioned { write_units } => Some(write_units as f64),
            Billing::OnDemand { maximum } => maximum.map(|m| m as f64),
        };
        let fed = |i: &&Index| i.keys.iter().all(|k| names.contains(&k.as_str()));
        let mut parts: Vec<_> = own.map(|units| (Part::Table, units)).into_iter().collect();
        for index in self.indexes.iter().filter(fed) {
            parts.extend(
                index
                    .write_units
                    .map(|u| (Part::Index(index.name.clone()), u)),
            );
        }
        parts.extend(replicas.iter().map(|(r, u)| (Part::Replica(r.clone()), *u)));
        Capacity {
            on_demand: matches!(self.billing, Billing::OnDemand { .. }),
            parts,
            warm_throughput: self.warm_write_units,
        }
    }
}

impl Table {
    /// Read capacity of the table. Indexes and replicas do not affect it.
    pub(crate) fn read_capacity(&self) -> Capacity {
        let own = self.read_units.map(|units| (Part::Table, units));
        Capacity {
            on_demand: matches!(self.billing, Billing::OnDemand { .. }),
            parts: own.into_iter().collect(),
            warm_throughput: self.warm_read_units.or(Some(ON_DEMAND_READ_UNITS)),
        }
    }
}
