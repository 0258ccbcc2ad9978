//! BatchWriteItem: records → the body of a request, and the answer → which items
//! DynamoDB handed back, and what it consumed.

use crate::base::hash::{Hash, MAX_HASH_BYTES};
use crate::base::record::{Action, MAX_LINE_BYTES, Record};
use crate::dynamodb::item::{CLOSE, ItemTemplate};
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::flow::capacity::Consumed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use std::collections::HashMap;

/// Put requests in one BatchWriteItem call, at most.
/// Source: DynamoDB API reference, BatchWriteItem.
pub(crate) const MAX_BATCH_ITEMS: usize = 25;

/// Bytes of one BatchWriteItem request, at most (16 MB).
/// Source: DynamoDB API reference, BatchWriteItem.
pub(crate) const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// What DynamoDB answered to a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Items it handed back: what was to be done about them is not done.
    pub unprocessed: Vec<Returned>,
    /// What it says it consumed, where it says so.
    pub consumed: Option<Consumed>,
}

/// An item that was handed back, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The hash.
    pub hash: Hash,
    /// The sort key, where that comes from the row, as
    /// [`Extra::key_json`](crate::base::row_attributes::Extra::key_json) has it.
    pub row_key: Vec<u8>,
}

impl Returned {
    /// Whether it is the item of `record`.
    pub fn is_of(&self, record: &Record) -> bool {
        self.hash == record.hash && self.row_key == record.extra.key_json()
    }
}

impl ItemTemplate {
    /// Items that go into one BatchWriteItem call: 25, or fewer where 25 such
    /// items could make a request of more than 16 MB.
    pub fn batch_items(&self) -> usize {
        let mut each = self.before.len() + MAX_HASH_BYTES * 2 + self.after.len() + 8;
        if !self.from.is_empty() {
            // What a row holds, each character of it escaped.
            each += MAX_LINE_BYTES * 6;
        }
        (MAX_BATCH_BYTES.saturating_sub(4096) / each).clamp(1, MAX_BATCH_ITEMS)
    }

    /// The body of the BatchWriteItem request that puts, or deletes, the items of
    /// `records`.
    pub fn write_request<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.opening);
        for (i, record) in records.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let (before, after, extra) = match record.action {
                Action::Put => (&self.before, &self.after, record.extra.json()),
                Action::Delete => (
                    &self.before_delete,
                    &self.after_delete,
                    record.extra.key_json(),
                ),
            };
            out.extend_from_slice(before);
            self.write_hash(&record.hash, out);
            out.extend_from_slice(after);
            out.extend_from_slice(extra);
            out.extend_from_slice(CLOSE);
        }
        out.extend_from_slice(&self.closing);
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

    /// Reads the body of DynamoDB's answer to such a request.
    ///
    /// # Errors
    /// When it is no such answer, or hands back something that is no item of
    /// ours; the text says which.
    pub fn read_answer(&self, body: &[u8]) -> Result<Answer, String> {
        if body == br#"{"UnprocessedItems":{}}"# {
            return Ok(Answer::default());
        }
        // A list would be read as the fields in their order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is no JSON object".to_owned());
        }
        let wire: WireAnswer = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let mut answer = Answer {
            unprocessed: Vec::new(),
            consumed: wire.consumed.map(consumed).and_then(Consumed::if_possible),
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
                _ => return Err("it hands back a request that is neither put nor delete".into()),
            };
            answer.unprocessed.push(self.returned(&key)?);
        }
        Ok(answer)
    }

    /// The item whose attributes, its key among them, are `item`.
    fn returned(&self, item: &HashMap<String, WireKey>) -> Result<Returned, String> {
        let part = |name: &String| {
            item.get(name)
                .ok_or_else(|| format!("an item without its key {name:?} is handed back"))
        };
        let key = part(&self.partition.name)?;
        let hash = match (self.partition.kind, &key.s, &key.b) {
            (KeyType::B, _, Some(b)) => {
                BASE64.decode(b).ok().and_then(|raw| Hash::from_bytes(&raw))
            }
            (_, Some(s), _) => Hash::from_hex(s.as_bytes()),
            _ => None,
        };
        let hash = hash.ok_or("an item whose key is no hash is handed back")?;
        let row_key = match &self.row_key {
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
        Ok(Returned { hash, row_key })
    }
}

#[derive(Deserialize)]
struct WireAnswer {
    /// Without it nothing is said of the items; there is always one, if empty.
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

/// The requests name one table, so there is one entry.
pub(super) fn consumed(tables: Vec<WireCapacity>) -> Consumed {
    let mut sum = Consumed::default();
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
