//! Hash → DynamoDB item: its attributes, its size, and the JSON around its hash.
//!
//! All items of a run are alike but for their hash, and what they take from their
//! rows. So everything about an item that can be known is worked out once, in an
//! [`ItemTemplate`]: whether the table's schema fits, what the item weighs in write
//! units, and the JSON around the hash. Writing a request is then copying bytes; no
//! map is built, nothing is allocated per item. [`ItemTemplate::write_request`] does that,
//! and [`ItemTemplate::read_answer`] finds out which items DynamoDB handed back.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::record::Record;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType, check_schema};

/// Bytes of one item as it is stored, at most (400 KB).
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Bytes that one write capacity unit pays for, begun ones included.
/// Source: DynamoDB developer guide, read/write capacity mode.
pub(crate) const WRITE_UNIT_BYTES: usize = 1024;

/// Everything about a run's items but the hash. See the module.
#[derive(Debug, Clone)]
pub struct ItemTemplate {
    algorithm: Algorithm,
    pub(super) partition: KeyAttribute,
    pub(super) case: Case,
    pub(super) opening: Vec<u8>,
    /// What stands before the hash of an item that is put.
    pub(super) before: Vec<u8>,
    /// After the hash: the attributes that all items have.
    pub(super) after: Vec<u8>,
    /// The same of an item that is deleted: of it the key alone is named.
    pub(super) before_delete: Vec<u8>,
    pub(super) after_delete: Vec<u8>,
    pub(super) closing: Vec<u8>,
    item_bytes: usize,
    /// What items take from their rows.
    pub(super) from: Vec<AttributeFrom>,
    /// The sort key, where it comes from the row.
    pub(super) row_key: Option<KeyAttribute>,
    /// Of deletes that have a condition.
    pub(super) own_delete: Option<OwnDelete>,
}

/// What stands around the key in each request of a delete that has a condition.
#[derive(Debug, Clone)]
pub(super) struct OwnDelete {
    pub(super) opening: Vec<u8>,
    pub(super) closing: Vec<u8>,
}

impl ItemTemplate {
    /// The template of items for `table`, whose schema is `schema`: hashes of
    /// `algorithm`, text keys in `case`, and `attributes` in each item.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when such items do
    /// not fit the table; the message says what would.
    pub fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
    ) -> Result<Self> {
        ItemTemplate::with_columns(table, schema, algorithm, case, attributes, &[])
    }

    /// The same for items that also take the attributes `from` their rows.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_columns(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
        from: &[AttributeFrom],
    ) -> Result<Self> {
        check_schema(table, schema, attributes, from)?;
        let partition = schema.partition.clone();
        let key_bytes = match partition.kind {
            KeyType::B => algorithm.bytes(),
            _ => algorithm.bytes() * 2,
        };
        let item_bytes = partition.name.len()
            + key_bytes
            + attributes
                .iter()
                .map(|a| a.name.len() + a.value.size())
                .sum::<usize>();
        if item_bytes > MAX_ITEM_BYTES {
            return Err(Error::usage(format!(
                "each item would be {item_bytes} bytes, and DynamoDB takes at most {MAX_ITEM_BYTES}"
            ))
            .hint(
                "shorten the attributes that every item gets (--type, --source, --desc, --attr)",
            ));
        }
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let key = format!("{}:{{\"{}\":\"", text(&partition.name), partition.kind);
        let (mut after, mut after_delete) = ("\"}".to_owned(), "\"}".to_owned());
        let is_key = |name: &str| schema.sort.as_ref().is_some_and(|s| s.name == name);
        for a in attributes {
            let json = format!(",{}:{}", text(&a.name), a.value.to_json());
            if is_key(&a.name) {
                after_delete.push_str(&json);
            }
            after.push_str(&json);
        }
        let row_key = schema.sort.clone();
        let row_key = row_key.filter(|key| from.iter().any(|a| a.name == key.name));
        Ok(ItemTemplate {
            algorithm,
            partition,
            case,
            opening: format!("{{\"RequestItems\":{{{}:[", text(table)).into_bytes(),
            before: format!("{{\"PutRequest\":{{\"Item\":{{{key}").into_bytes(),
            after: after.into_bytes(),
            before_delete: format!("{{\"DeleteRequest\":{{\"Key\":{{{key}").into_bytes(),
            after_delete: after_delete.into_bytes(),
            closing: b"]},\"ReturnConsumedCapacity\":\"INDEXES\"}".to_vec(),
            item_bytes,
            from: from.to_vec(),
            row_key,
            own_delete: None,
        })
    }

    /// An item as it is written, without its hash and with the names of the columns
    /// that it takes: by which it is recognised that two runs write the same.
    pub fn example(&self) -> String {
        let mut item = [&self.before[..], b"...", &self.after].concat();
        for a in &self.from {
            item.extend_from_slice(format!(",{a}").as_bytes());
        }
        item.extend_from_slice(CLOSE);
        let case = match (self.partition.kind, self.case) {
            (KeyType::B, _) => "bytes",
            (_, Case::Upper) => "upper case",
            (_, Case::Lower) => "lower case",
        };
        let item = String::from_utf8_lossy(&item);
        let item = item.trim_start_matches("{\"PutRequest\":{\"Item\":");
        format!("{} in {case}", item.strip_suffix("}}").unwrap_or(item))
    }

    /// The algorithm of the hashes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Size of one item in bytes, as DynamoDB counts it, without what it takes from
    /// its row.
    pub fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// Write capacity units that writing one item costs, without what it takes from
    /// its row: `ceil(bytes / 1024)`, each item rounded up by itself.
    pub fn write_units(&self) -> f64 {
        units(self.item_bytes)
    }

    /// Write capacity units that writing the item of `record` costs. What deleting one
    /// costs depends on the item that is there: it is taken for one of this list.
    pub fn units_of(&self, record: &Record) -> f64 {
        units(self.item_bytes + record.extra.stored_bytes())
    }

    /// What items take from their rows.
    pub fn from(&self) -> &[AttributeFrom] {
        &self.from
    }
}

/// The end of an item, and of the request that it is in.
pub(super) const CLOSE: &[u8] = b"}}}";

/// Write capacity units of an item of so many bytes.
fn units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

#[cfg(test)]
pub(crate) mod hostile;

#[cfg(test)]
mod tests;
