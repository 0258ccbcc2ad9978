//! Keys of a table: their types, names and limits, and whether items fit them.

use crate::base::error::{Error, Result};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use std::fmt;
use std::str::FromStr;

/// Bytes of a partition key's value, at most.
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const MAX_PARTITION_KEY_BYTES: usize = 2048;

/// Bytes of a sort key's value, at most.
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const MAX_SORT_KEY_BYTES: usize = 1024;

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // DynamoDB's own letters
#[non_exhaustive]
pub enum KeyType {
    S,
    N,
    B,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyType::S => "S",
            KeyType::N => "N",
            KeyType::B => "B",
        })
    }
}

impl FromStr for KeyAttribute {
    type Err = String;

    /// Reads `NAME` or `NAME:TYPE`; without a type it is text.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = match text.rsplit_once(':') {
            None => (text, KeyType::S),
            Some((name, "S")) => (name, KeyType::S),
            Some((name, "B")) => (name, KeyType::B),
            Some((_, other)) => {
                return Err(format!(
                    "expected NAME, NAME:S or NAME:B, got the type {other:?}"
                ));
            }
        };
        if name.is_empty() {
            return Err("expected NAME, NAME:S or NAME:B, got no name".to_owned());
        }
        Ok(KeyAttribute {
            name: name.to_owned(),
            kind,
        })
    }
}

/// A key attribute: its name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttribute {
    /// Attribute name.
    pub name: String,
    /// Attribute type.
    pub kind: KeyType,
}

/// A table's key schema, and the key attributes of its indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySchema {
    /// The partition key.
    pub partition: KeyAttribute,
    /// The sort key, where the table has one.
    pub sort: Option<KeyAttribute>,
    /// Key attributes of the table's indexes: an item may lack them, but where
    /// it has one, DynamoDB insists on its type.
    pub index_keys: Vec<KeyAttribute>,
}

/// Whether items of a hash, `attributes`, and those `from` their rows fit `schema`,
/// and if not, what would.
pub(super) fn check_schema(
    table: &str,
    schema: &KeySchema,
    attributes: &[Attribute],
    from: &[AttributeFrom],
) -> Result<()> {
    let partition = &schema.partition;
    if partition.kind == KeyType::N {
        return Err(Error::usage(format!(
            "the partition key {:?} of table {table} is a number (N), and a hash is none",
            partition.name
        ))
        .hint(
            "the table needs a partition key of type S (the hash as hex text) or B (its raw bytes), \
             for example: aws dynamodb create-table --attribute-definitions \
             AttributeName=sha256,AttributeType=S --key-schema AttributeName=sha256,KeyType=HASH …",
        ));
    }
    let mut names = std::collections::HashSet::new();
    let all = attributes.iter().map(|a| &a.name);
    for name in all.chain(from.iter().map(|a| &a.name)) {
        if !names.insert(name) {
            return Err(Error::usage(format!("the attribute {name:?} is given twice"))
                .hint("--type, --source and --desc set the attributes of these names; leave one of the two out"));
        }
        if *name == partition.name {
            return Err(Error::usage(format!(
                "the attribute {name:?} is the partition key of table {table}, which the hash itself fills"
            ))
            .hint("leave this attribute out, or give it another name by --attr NAME=TEXT"));
        }
    }
    let of_row = |key: &&KeyAttribute| from.iter().any(|a| a.name == key.name);
    if let Some(sort) = schema.sort.as_ref().filter(|key| !of_row(key)) {
        let how = match (sort.name.as_str(), sort.kind) {
            (name @ ("type" | "source" | "desc"), KeyType::S) => format!("--{name} TEXT"),
            (name, KeyType::S) => format!("--attr {name}=TEXT"),
            (name, kind) => format!("--attr {name}:{kind}=VALUE"),
        };
        let Some(given) = attributes.iter().find(|a| a.name == sort.name) else {
            return Err(Error::usage(format!(
                "table {table} has a sort key, {:?} ({}), and the items have no such attribute",
                sort.name, sort.kind
            ))
            .hint(format!("give it by {how}, or from a column by --attr-from")));
        };
        check_key_value(table, "sort key", sort, given, &how, MAX_SORT_KEY_BYTES)?;
    }
    for key in &schema.index_keys {
        if let Some(given) = attributes.iter().find(|a| a.name == key.name) {
            let how = format!("--attr {}:{}=VALUE", key.name, key.kind);
            check_key_value(
                table,
                "index key",
                key,
                given,
                &how,
                MAX_PARTITION_KEY_BYTES,
            )?;
        }
    }
    Ok(())
}

/// Whether the attribute `given` can be the value of `key`.
fn check_key_value(
    table: &str,
    role: &str,
    key: &KeyAttribute,
    given: &Attribute,
    how: &str,
    max: usize,
) -> Result<()> {
    let name = &key.name;
    let letter = given.value.type_letter();
    if letter != key.kind.to_string() {
        return Err(Error::usage(format!(
            "the {role} {name:?} of table {table} has type {}, and the attribute given has type {letter}",
            key.kind
        ))
        .hint(format!("give it by {how}")));
    }
    let size = given.value.size();
    if size == 0 || size > max {
        return Err(Error::usage(format!(
            "the {role} {name:?} of table {table} would be {size} bytes, and DynamoDB takes 1 to {max}"
        ))
        .hint(format!("give it by {how}")));
    }
    Ok(())
}
