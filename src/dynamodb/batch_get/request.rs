//! The keys of a BatchGetItem request, and the hash that a key holds.

use crate::base::hash::{Case, Hash, MAX_HASH_BYTES};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::value::Wire;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Keys in one BatchGetItem call, at most.
/// Source: DynamoDB API reference, BatchGetItem.
pub(crate) const MAX_GET_KEYS: usize = 100;

/// Read capacity units of one item of up to 4 KB, when it is read eventually
/// consistently. An item that is not there costs as much.
/// Source: DynamoDB developer guide, read/write capacity mode.
pub(crate) const EVENTUAL_READ_UNITS: f64 = 0.5;

/// The same for a strongly consistent read.
pub(crate) const CONSISTENT_READ_UNITS: f64 = 1.0;

/// Everything about the keys of a request but their hashes.
#[derive(Debug, Clone)]
pub(super) struct KeyTemplate {
    /// The table's name, or its ARN.
    pub(super) table: String,
    pub(super) partition: KeyAttribute,
    case: Case,
    opening: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl KeyTemplate {
    /// The template of keys for `table`, whose schema is `schema`: text keys in `case`,
    /// and the value of the sort key among `attributes`, where the table has one.
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
            opening: format!("{{\"RequestItems\":{{{}:{{\"Keys\":[", text(table)).into_bytes(),
            before: before.into_bytes(),
            after: after.into_bytes(),
        }
    }

    /// The beginning of a request: the table, and all keys, each a hash and what its
    /// row adds.
    pub(super) fn write_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = (&'a Hash, &'a [u8])>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.opening);
        for (i, (hash, row)) in keys.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.before);
            match self.partition.kind {
                KeyType::B => {
                    let mut text = [0u8; MAX_HASH_BYTES * 2];
                    // 64 bytes make 88 digits: the slice is always large enough.
                    let n = BASE64.encode_slice(hash.as_bytes(), &mut text).unwrap_or(0);
                    out.extend_from_slice(&text[..n]);
                }
                _ => hash.write_hex(self.case, out),
            }
            out.extend_from_slice(&self.after);
            out.extend_from_slice(row);
            out.push(b'}');
        }
    }

    /// The hash that a key's value holds.
    pub(super) fn hash_of(&self, key: &Wire<'_>) -> Option<Hash> {
        match (self.partition.kind, key) {
            (KeyType::B, Wire::B(b)) => {
                let mut raw = [0; MAX_HASH_BYTES + 3];
                let n = BASE64.decode_slice(b.as_bytes(), &mut raw).ok()?;
                Hash::from_bytes(&raw[..n])
            }
            (KeyType::S, Wire::S(s)) => Hash::from_hex(s.as_bytes()),
            _ => None,
        }
    }
}
