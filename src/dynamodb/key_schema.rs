//! Keys of a table: types, names and limits, and the check that items fit them.

use crate::base::error::{Error, Result};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use std::fmt;
use std::str::FromStr;

/// Maximum bytes of a partition key's value.
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const MAX_PARTITION_KEY_BYTES: usize = 2048;

/// Maximum bytes of a sort key's value.
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const MAX_SORT_KEY_BYTES: usize = 1024;

/// Type of a key attribute.
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

    /// Parses `NAME` or `NAME:TYPE`; without a type it is text.
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
    /// Sort key; `None` if the table has none.
    pub sort: Option<KeyAttribute>,
    /// Key attributes of the table's indexes. An item may lack them, but DynamoDB requires
    /// their type.
    pub index_keys: Vec<KeyAttribute>,
}

/// Checks that items of a hash, `attributes`, and attributes `from` their rows fit
/// `schema`. The hint of the error says which do.
pub(super) fn check_key_schema(
    table: &str,
    schema: &KeySchema,
    attributes: &[Attribute],
    from: &[AttributeFrom],
) -> Result<()> {
    let partition = &schema.partition;
    if partition.kind == KeyType::N {
        return Err(Error::usage(format!(
            "the partition key {:?} of table {table} has type N (a number); a hash needs S or B",
            partition.name
        ))
        .with_hint(
            "use a table with a partition key of type S (the hash as hex text) or B (its raw bytes), \
             for example: aws dynamodb create-table --attribute-definitions \
             AttributeName=sha256,AttributeType=S --key-schema AttributeName=sha256,KeyType=HASH …",
        ));
    }
    let mut names = std::collections::HashSet::new();
    let all = attributes.iter().map(|a| &a.name);
    for name in all.chain(from.iter().map(|a| &a.name)) {
        if !names.insert(name) {
            return Err(Error::usage(format!("the attribute {name:?} is given twice"))
                .with_hint("--type, --source and --desc set the attributes of these names; remove one of the two"));
        }
        if *name == partition.name {
            return Err(Error::usage(format!(
                "the attribute {name:?} is the partition key of table {table}, which holds the hash itself"
            ))
            .with_hint("remove this attribute, or give it another name with --attr NAME=TEXT"));
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
                "table {table} has a sort key, {:?} ({}), but the items have no such attribute",
                sort.name, sort.kind
            ))
            .with_hint(format!(
                "give it with {how}, or take it from a column with --attr-from"
            )));
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

/// Checks that the attribute `given` can be the value of `key`.
fn check_key_value(
    table: &str,
    role: &str,
    key: &KeyAttribute,
    given: &Attribute,
    how: &str,
    max: usize,
) -> Result<()> {
    let name = &key.name;
    let letter = given.value.type_code();
    if letter != key.kind.to_string() {
        return Err(Error::usage(format!(
            "the {role} {name:?} of table {table} has type {}, but the given attribute has type {letter}",
            key.kind
        ))
        .with_hint(format!("give it with {how}")));
    }
    let size = given.value.stored_bytes();
    if size == 0 || size > max {
        return Err(Error::usage(format!(
            "the {role} {name:?} of table {table} would be {size} bytes; DynamoDB accepts 1 to {max}"
        ))
        .with_hint(format!("give it with {how}")));
    }
    Ok(())
}
