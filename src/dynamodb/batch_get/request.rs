//! The keys of a BatchGetItem request, and the hash that a key holds.

use crate::base::hash::{Case, Hash, MAX_HASH_BYTES};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::value::WireValue;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Maximum keys in one BatchGetItem call.
/// Source: DynamoDB API reference, BatchGetItem.
pub(crate) const MAX_GET_KEYS: usize = 100;

/// RCU of an eventually consistent read of one item of up to 4 KB. A missing item costs
/// the same.
/// Source: DynamoDB developer guide, read/write capacity mode.
pub(crate) const EVENTUAL_READ_UNITS: f64 = 0.5;

/// RCU of a strongly consistent read of one item of up to 4 KB.
pub(crate) const CONSISTENT_READ_UNITS: f64 = 1.0;

/// Template of a request's keys: everything except the hashes.
#[derive(Debug, Clone)]
pub(super) struct KeyTemplate {
    /// The table's name, or its ARN.
    pub(super) table: String,
    pub(super) partition: KeyAttribute,
    case: Case,
    request_prefix: Vec<u8>,
    key_prefix: Vec<u8>,
    key_suffix: Vec<u8>,
}

impl KeyTemplate {
    /// Creates the template of keys for `table` with `schema`: text keys in `case`, and the
    /// sort key's value from `attributes` if the table has one.
    pub(super) fn new(
        table: &str,
        schema: &KeySchema,
        case: Case,
        attributes: &[Attribute],
    ) -> Self {
        let partition = schema.partition.clone();
        let is_sort = |a: &&Attribute| schema.sort.as_ref().is_some_and(|s| s.name == a.name);
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let before = format!("{{{}:{{\"{}\":\"", text(&partition.name), partition.kind);
        let mut after = "\"}".to_owned();
        if let Some(sort) = attributes.iter().find(is_sort) {
            after.push_str(&format!(",{}:{}", text(&sort.name), sort.value.to_json()));
        }
        KeyTemplate {
            table: table.to_owned(),
            partition,
            case,
            request_prefix: format!("{{\"RequestItems\":{{{}:{{\"Keys\":[", text(table))
                .into_bytes(),
            key_prefix: before.into_bytes(),
            key_suffix: after.into_bytes(),
        }
    }

    /// Writes the start of a request: the table and all keys. Each key is a hash and the JSON
    /// of the key attributes from its row.
    pub(super) fn write_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = (&'a Hash, &'a [u8])>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.request_prefix);
        for (i, (hash, row)) in keys.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.key_prefix);
            match self.partition.kind {
                KeyType::B => {
                    let mut text = [0u8; MAX_HASH_BYTES * 2];
                    // 64 bytes make 88 digits: the slice is always large enough.
                    let n = BASE64.encode_slice(hash.as_bytes(), &mut text).unwrap_or(0);
                    out.extend_from_slice(&text[..n]);
                }
                _ => hash.write_hex(self.case, out),
            }
            out.extend_from_slice(&self.key_suffix);
            out.extend_from_slice(row);
            out.push(b'}');
        }
    }

    /// Parses the hash in a key's value; `None` if it is not a hash.
    pub(super) fn parse_hash(&self, key: &WireValue<'_>) -> Option<Hash> {
        match (self.partition.kind, key) {
            (KeyType::B, WireValue::B(b)) => {
                let mut raw = [0; MAX_HASH_BYTES + 3];
                let n = BASE64.decode_slice(b.as_bytes(), &mut raw).ok()?;
                Hash::from_bytes(&raw[..n])
            }
            (KeyType::S, WireValue::S(s)) => Hash::from_hex(s.as_bytes()),
            _ => None,
        }
    }
}
