//! Target of a plan: the table for the items, with its indexes and replicas.

use crate::base::hash::Algorithm;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::dynamodb::table;
use crate::dynamodb::table::{Billing, Table};
use serde::Serialize;

/// A number of copies of each item, and the source of this number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Copies {
    /// Number of copies.
    pub count: u64,
    /// Source of the number: a flag, `DescribeTable` or `assumed`.
    pub source: String,
}

/// The table for the items.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Name of the table. `None` if the caller gives none.
    pub table: Option<String>,
    /// Keys of the table.
    pub schema: KeySchema,
    /// Billing mode and capacity. `None` if the table does not exist.
    pub billing: Option<Billing>,
    /// Number of Regions with the table, at least 1.
    pub replicas: Copies,
    /// Number of global indexes with the items. Each has its own capacity.
    pub indexes: Copies,
    /// Number of local indexes with the items. They share the table's capacity.
    pub local_indexes: Copies,
}

impl Target {
    /// A table described by DynamoDB. Only indexes whose key attributes all items have count.
    pub(super) fn from_table(table: Table, attributes: &[Attribute]) -> Self {
        let schema = &table.schema;
        let has = |name: &String| {
            *name == schema.partition.name || attributes.iter().any(|a| a.name == *name)
        };
        let indexes = |global: bool| {
            let counts = |i: &&table::Index| i.global == global && i.keys.iter().all(has);
            Copies {
                count: table.indexes.iter().filter(counts).count() as u64,
                source: "DescribeTable".to_owned(),
            }
        };
        Target {
            indexes: indexes(true),
            local_indexes: indexes(false),
            replicas: Copies {
                count: table.region_count(),
                source: "DescribeTable".to_owned(),
            },
            table: Some(table.name),
            billing: Some(table.billing),
            schema: table.schema,
        }
    }

    /// A new table, with a text key named after the algorithm.
    pub(super) fn new_table(table: Option<String>, algorithm: Algorithm) -> Self {
        let assumed = |count| Copies {
            count,
            source: "assumed".to_owned(),
        };
        Target {
            table,
            schema: KeySchema {
                partition: KeyAttribute {
                    name: algorithm.name().to_owned(),
                    kind: KeyType::S,
                },
                sort: None,
                index_keys: Vec::new(),
            },
            billing: None,
            replicas: assumed(1),
            indexes: assumed(0),
            local_indexes: assumed(0),
        }
    }
}
