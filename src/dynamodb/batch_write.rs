//! BatchWriteItem: records → request body, and response → unprocessed items and consumed
//! capacity.

use crate::base::hash::{Hash, MAX_HASH_BYTES};
use crate::base::record::{Action, MAX_LINE_BYTES, Record};
use crate::dynamodb::item::{ITEM_SUFFIX, ItemTemplate};
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::flow::capacity::ConsumedCapacity;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use std::collections::HashMap;

/// Maximum put or delete requests in one BatchWriteItem call.
/// Source: DynamoDB API reference, BatchWriteItem.
pub(crate) const MAX_BATCH_ITEMS: usize = 25;

/// Maximum bytes of one BatchWriteItem request (16 MB).
/// Source: DynamoDB API reference, BatchWriteItem.
pub(crate) const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// A BatchWriteItem response.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteResponse {
    /// Unprocessed items: neither written nor deleted.
    pub unprocessed: Vec<UnprocessedItem>,
    /// Consumed capacity; `None` if not reported.
    pub consumed: Option<ConsumedCapacity>,
}

/// An unprocessed item, identified by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnprocessedItem {
    /// The hash.
    pub hash: Hash,
    /// Sort key from the row, in the form of
    /// [`RowAttributes::key_json`](crate::base::row_attributes::RowAttributes::key_json); empty if there is none.
    pub row_key: Vec<u8>,
}

impl UnprocessedItem {
    /// True if it is the item of `record`.
    pub fn matches(&self, record: &Record) -> bool {
        self.hash == record.hash && self.row_key == record.attributes.key_json()
    }
}

impl ItemTemplate {
    /// Maximum items in one BatchWriteItem call: 25, or fewer if 25 such items could exceed
    /// 16 MB.
    pub fn max_batch_items(&self) -> usize {
        let mut each = self.put_prefix.len() + MAX_HASH_BYTES * 2 + self.put_suffix.len() + 8;
        if !self.column_attributes.is_empty() {
            // The longest row, with every character escaped.
            each += MAX_LINE_BYTES * 6;
        }
        (MAX_BATCH_BYTES.saturating_sub(4096) / each).clamp(1, MAX_BATCH_ITEMS)
    }

    /// Writes the body of the BatchWriteItem request that puts or deletes the items of
    /// `records`.
    pub fn write_request<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.request_prefix);
        for (i, record) in records.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let (before, after, extra) = match record.action {
                Action::Put => (&self.put_prefix, &self.put_suffix, record.attributes.json()),
                Action::Delete => (
                    &self.delete_prefix,
                    &self.delete_suffix,
                    record.attributes.key_json(),
                ),
            };
            out.extend_from_slice(before);
            self.write_hash(&record.hash, out);
            out.extend_from_slice(after);
            out.extend_from_slice(extra);
            out.extend_from_slice(ITEM_SUFFIX);
        }
        out.extend_from_slice(&self.request_suffix);
    }

    pub(super) fn write_hash(&self, hash: &Hash, out: &mut Vec<u8>) {
        match self.partition.kind {
            KeyType::B => {
                let mut text = [0u8; MAX_HASH_BYTES * 2];
                // 64 bytes make 88 digits: the slice is always large enough.
                let n = BASE64.encode_slice(hash.as_bytes(), &mut text).unwrap_or(0);
                out.extend_from_slice(&text[..n]);
            }
            _ => hash.write_hex(self.case, out),
        }
    }

    /// Parses the body of a BatchWriteItem response.
    ///
    /// # Errors
    /// A description, if it is not a response, or if an unprocessed item is not one of this
    /// template.
    pub fn parse_write_response(&self, body: &[u8]) -> Result<WriteResponse, String> {
        if body == br#"{"UnprocessedItems":{}}"# {
            return Ok(WriteResponse::default());
        }
        // serde would accept a list as the fields in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is not a JSON object".to_owned());
        }
        let wire: WireResponse = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let mut answer = WriteResponse {
            unprocessed: Vec::new(),
            consumed: wire
                .consumed
                .map(sum_consumed)
                .and_then(ConsumedCapacity::if_plausible),
        };
        for request in wire.unprocessed.into_values().flatten() {
            let key = match request {
                WireRequest {
                    put: Some(put),
                    delete: None,
                } => put.item,
                WireRequest {
                    put: None,
                    delete: Some(delete),
                } => delete.key,
                _ => return Err("an unprocessed request is neither put nor delete".into()),
            };
            answer.unprocessed.push(self.parse_unprocessed_item(&key)?);
        }
        Ok(answer)
    }

    /// Identifies the unprocessed item with the attributes `item`.
    fn parse_unprocessed_item(
        &self,
        item: &HashMap<String, WireKey>,
    ) -> Result<UnprocessedItem, String> {
        let part = |name: &String| {
            item.get(name)
                .ok_or_else(|| format!("an unprocessed item lacks its key {name:?}"))
        };
        let key = part(&self.partition.name)?;
        let hash = match (self.partition.kind, &key.s, &key.b) {
            (KeyType::B, _, Some(b)) => {
                BASE64.decode(b).ok().and_then(|raw| Hash::from_bytes(&raw))
            }
            (_, Some(s), _) => Hash::from_hex(s.as_bytes()),
            _ => None,
        };
        let hash = hash.ok_or("the key of an unprocessed item is not a hash")?;
        let row_key = match &self.row_sort_key {
            None => Vec::new(),
            Some(KeyAttribute { name, kind }) => {
                let key = part(name)?;
                let value = match kind {
                    KeyType::N => &key.n,
                    _ => &key.s,
                };
                let name = serde_json::Value::from(name.as_str());
                let value = serde_json::Value::from(value.as_deref());
                format!(",{name}:{{\"{kind}\":{value}}}").into_bytes()
            }
        };
        Ok(UnprocessedItem { hash, row_key })
    }
}

#[derive(Deserialize)]
struct WireResponse {
    /// Required: a response always has it, even if empty.
    /// Source: DynamoDB API reference, BatchWriteItem, Response Elements.
    #[serde(rename = "UnprocessedItems")]
    unprocessed: HashMap<String, Vec<WireRequest>>,
    #[serde(rename = "ConsumedCapacity")]
    consumed: Option<Vec<WireCapacity>>,
}

#[derive(Deserialize)]
struct WireRequest {
    #[serde(rename = "PutRequest")]
    put: Option<WirePut>,
    #[serde(rename = "DeleteRequest")]
    delete: Option<WireDelete>,
}

#[derive(Deserialize)]
struct WireDelete {
    #[serde(rename = "Key")]
    key: HashMap<String, WireKey>,
}

#[derive(Deserialize)]
struct WirePut {
    #[serde(rename = "Item")]
    item: HashMap<String, WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    #[serde(rename = "S")]
    s: Option<String>,
    #[serde(rename = "N")]
    n: Option<String>,
    #[serde(rename = "B")]
    b: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireCapacity {
    #[serde(rename = "CapacityUnits", default)]
    pub(super) units: f64,
    #[serde(rename = "Table")]
    table: Option<WireUnits>,
    #[serde(rename = "GlobalSecondaryIndexes", default)]
    indexes: HashMap<String, WireUnits>,
}

#[derive(Deserialize)]
struct WireUnits {
    #[serde(rename = "CapacityUnits", default)]
    units: f64,
}

/// Sums the consumed capacity. Requests name one table, so there is one entry.
pub(super) fn sum_consumed(tables: Vec<WireCapacity>) -> ConsumedCapacity {
    let mut sum = ConsumedCapacity::default();
    for t in tables {
        sum.total += t.units;
        if let Some(table) = t.table {
            sum.table = Some(sum.table.unwrap_or(0.0) + table.units);
        }
        sum.indexes
            .extend(t.indexes.into_iter().map(|(name, i)| (name, i.units)));
    }
    sum
}
