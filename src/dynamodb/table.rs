//! A table as it is described: keys, billing, indexes and replicas, and what it takes.

use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::{Capacity, ON_DEMAND_READ_UNITS, Part};

/// How a table's writes are paid, and how many there can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Billing {
    /// Provisioned write capacity units a second.
    Provisioned {
        /// Write capacity units.
        write_units: u64,
    },
    /// Pay per request, with the table's own maximum where it has one.
    OnDemand {
        /// Maximum write request units a second.
        maximum: Option<u64>,
    },
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    /// Its name, as it was asked for.
    pub name: String,
    /// Its ARN and DynamoDB's own id of it: one that is deleted and made anew has
    /// another.
    pub arn: Option<String>,
    /// See `arn`.
    pub id: Option<String>,
    /// Its keys.
    pub schema: KeySchema,
    /// How its writes are paid.
    pub billing: Billing,
    /// Its secondary indexes.
    pub indexes: Vec<Index>,
    /// The other regions that it is replicated to.
    pub replicas: Vec<String>,
    /// Write units a second that it is warm for, where it says so.
    pub warm: Option<f64>,
    /// Read units a second: provisioned, or its own on-demand maximum.
    pub read_units: Option<f64>,
    /// Read units a second that it is warm for, where it says so.
    pub warm_reads: Option<f64>,
    /// How often its capacity was lowered today (UTC): DynamoDB bears 27 times
    /// at most.
    pub decreases_today: u64,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Index {
    /// Its name.
    pub name: String,
    /// Whether it is a global one, with a capacity of its own; a local one draws
    /// on the table's.
    pub global: bool,
    /// The attributes that an item must have to be in it.
    pub keys: Vec<String>,
    /// Its write units a second: provisioned, or its own on-demand maximum.
    pub write_units: Option<f64>,
}

impl Table {
    /// Regions that hold it, its own included: 1 but for a global table.
    pub(crate) fn regions(&self) -> u64 {
        self.replicas.len() as u64 + 1
    }

    /// What the table takes of items that have attributes of these `names`;
    /// `replicas` says what is known of other regions.
    pub(crate) fn capacity(&self, names: &[&str], replicas: &[(String, f64)]) -> Capacity {
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
            warm: self.warm,
        }
    }
}

impl Table {
    /// What the table takes of reads. Indexes and replicas have no part in it.
    pub(crate) fn read_capacity(&self) -> Capacity {
        let own = self.read_units.map(|units| (Part::Table, units));
        Capacity {
            on_demand: matches!(self.billing, Billing::OnDemand { .. }),
            parts: own.into_iter().collect(),
            warm: self.warm_reads.or(Some(ON_DEMAND_READ_UNITS)),
        }
    }
}
