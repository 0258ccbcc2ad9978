//! Hash → DynamoDB item: its attributes, its size, and the JSON around its hash.
//!
//! Items of a run differ only in their hash and in the attributes from their rows. An
//! [`ItemTemplate`] checks the schema and calculates the WCU and the JSON around the hash
//! once. [`ItemTemplate::write_request`] then copies bytes, without a map or an allocation
//! per item. [`ItemTemplate::parse_write_response`] returns the unprocessed items.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::record::Record;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType, check_key_schema};

/// Maximum stored bytes of one item (400 KB).
/// Source: DynamoDB developer guide, Constraints.
pub(crate) const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Bytes that one WCU pays for; a part counts as a whole.
/// Source: DynamoDB developer guide, read/write capacity mode.
pub(crate) const WRITE_UNIT_BYTES: usize = 1024;

/// Template of a run's items: everything except the hash. See the module.
#[derive(Debug, Clone)]
pub struct ItemTemplate {
    algorithm: Algorithm,
    pub(super) partition: KeyAttribute,
    pub(super) case: Case,
    pub(super) request_prefix: Vec<u8>,
    /// JSON before the hash of a put.
    pub(super) put_prefix: Vec<u8>,
    /// JSON after the hash of a put: the attributes that all items have.
    pub(super) put_suffix: Vec<u8>,
    /// JSON before the hash of a delete, which names the key only.
    pub(super) delete_prefix: Vec<u8>,
    pub(super) delete_suffix: Vec<u8>,
    pub(super) request_suffix: Vec<u8>,
    item_bytes: usize,
    /// Attributes that items take from their rows.
    pub(super) column_attributes: Vec<AttributeFrom>,
    /// Sort key; `None` if it does not come from the row.
    pub(super) row_sort_key: Option<KeyAttribute>,
    /// JSON of conditional deletes; `None` if deletes have no condition.
    pub(super) conditional_delete: Option<ConditionalDelete>,
}

/// JSON around the key of a conditional delete.
#[derive(Debug, Clone)]
pub(super) struct ConditionalDelete {
    pub(super) request_prefix: Vec<u8>,
    pub(super) request_suffix: Vec<u8>,
}

impl ItemTemplate {
    /// The template of items for `table`, whose schema is `schema`: hashes of
    /// `algorithm`, text keys in `case`, and `attributes` in each item.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if such items do
    /// not fit the table; the hint says which do.
    pub fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
    ) -> Result<Self> {
        ItemTemplate::with_columns(table, schema, algorithm, case, attributes, &[])
    }

    /// The template of items that also take the attributes `from` their rows.
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
        check_key_schema(table, schema, attributes, from)?;
        let partition = schema.partition.clone();
        let key_bytes = match partition.kind {
            KeyType::B => algorithm.bytes(),
            _ => algorithm.bytes() * 2,
        };
        let item_bytes = partition.name.len()
            + key_bytes
            + attributes
                .iter()
                .map(|a| a.name.len() + a.value.stored_bytes())
                .sum::<usize>();
        if item_bytes > MAX_ITEM_BYTES {
            return Err(Error::usage(format!(
                "each item would be {item_bytes} bytes; DynamoDB accepts at most {MAX_ITEM_BYTES}"
            ))
            .with_hint(
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
            request_prefix: format!("{{\"RequestItems\":{{{}:[", text(table)).into_bytes(),
            put_prefix: format!("{{\"PutRequest\":{{\"Item\":{{{key}").into_bytes(),
            put_suffix: after.into_bytes(),
            delete_prefix: format!("{{\"DeleteRequest\":{{\"Key\":{{{key}").into_bytes(),
            delete_suffix: after_delete.into_bytes(),
            request_suffix: b"]},\"ReturnConsumedCapacity\":\"INDEXES\"}".to_vec(),
            item_bytes,
            column_attributes: from.to_vec(),
            row_sort_key: row_key,
            conditional_delete: None,
        })
    }

    /// Describes an item as written, without its hash and with the names of its columns.
    /// Two runs with the same description write the same items.
    pub fn describe(&self) -> String {
        let mut item = [&self.put_prefix[..], b"...", &self.put_suffix].concat();
        for a in &self.column_attributes {
            item.extend_from_slice(format!(",{a}").as_bytes());
        }
        item.extend_from_slice(ITEM_SUFFIX);
        let case = match (self.partition.kind, self.case) {
            (KeyType::B, _) => "bytes",
            (_, Case::Upper) => "upper case",
            (_, Case::Lower) => "lower case",
        };
        let item = String::from_utf8_lossy(&item);
        let item = item.trim_start_matches("{\"PutRequest\":{\"Item\":");
        format!("{} in {case}", item.strip_suffix("}}").unwrap_or(item))
    }

    /// Algorithm of the hashes.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Size of one item in bytes, as DynamoDB counts it, without attributes from its row.
    pub fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// WCU to write one item, without attributes from its row: `ceil(bytes / 1024)`.
    pub fn write_units(&self) -> f64 {
        write_units(self.item_bytes)
    }

    /// WCU to write the item of `record`. For a delete, the stored item counts; this
    /// estimate assumes that the same list wrote it.
    pub fn record_write_units(&self, record: &Record) -> f64 {
        write_units(self.item_bytes + record.attributes.stored_bytes())
    }

    /// Attributes that items take from their rows.
    pub fn column_attributes(&self) -> &[AttributeFrom] {
        &self.column_attributes
    }
}

/// JSON at the end of an item and of its put or delete request.
pub(super) const ITEM_SUFFIX: &[u8] = b"}}}";

/// WCU of an item of `bytes`.
fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

#[cfg(test)]
pub(crate) mod hostile;

#[cfg(test)]
mod tests;
