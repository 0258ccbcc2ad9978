//! Target of a plan: the table that the items are written into, and its copies.

use crate::base::hash::Algorithm;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::dynamodb::table;
use crate::dynamodb::table::{Billing, Table};
use serde::Serialize;

/// A number of copies that are written, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Copies {
    /// How many.
    pub count: u64,
    /// Where the number comes from.
    pub source: String,
}

/// What the items are written into.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The table's name; nothing when it is yet to be made.
    pub table: Option<String>,
    /// Its keys.
    pub schema: KeySchema,
    /// How it is paid and what it can take; nothing when it is yet to be made.
    pub billing: Option<Billing>,
    /// Regions that hold the table, at least 1.
    pub replicas: Copies,
    /// Global indexes that the items are in; each has a capacity of its own.
    pub indexes: Copies,
    /// Local indexes that the items are in; they draw on the table's capacity.
    pub local_indexes: Copies,
}

impl Target {
    /// A table that DynamoDB has described. Of its indexes those count whose key
    /// attributes all items have.
    pub(super) fn described(table: Table, attributes: &[Attribute]) -> Self {
        let schema = &table.schema;
        let has = |name: &String| {
            *name == schema.partition.name || attributes.iter().any(|a| a.name == *name)
        };
        let fed = |global: bool| {
            let of = |i: &&table::Index| i.global == global && i.keys.iter().all(has);
            Copies {
                count: table.indexes.iter().filter(of).count() as u64,
                source: "DescribeTable".to_owned(),
            }
        };
        Target {
            indexes: fed(true),
            local_indexes: fed(false),
            replicas: Copies {
                count: table.regions(),
                source: "DescribeTable".to_owned(),
            },
            table: Some(table.name),
            billing: Some(table.billing),
            schema: table.schema,
        }
    }

    /// A table that is yet to be made, with a text key named as the algorithm.
    pub(super) fn assumed(table: Option<String>, algorithm: Algorithm) -> Self {
        let none = |count| Copies {
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
            replicas: none(1),
            indexes: none(0),
            local_indexes: none(0),
        }
    }
}
