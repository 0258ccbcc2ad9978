//! Hash → DynamoDB item: key schema, attributes, size, and the request's bytes.
//!
//! All items of a run are alike but for their hash. So everything about an item
//! that can be known is worked out once, in an [`ItemTemplate`]: whether the
//! table's schema fits, what the item weighs in write units, and the JSON around
//! the hash. Writing a request is then copying bytes; no map is built, nothing is
//! allocated per item. The other way, [`ItemTemplate::read_answer`] finds out
//! which items DynamoDB handed back.

use crate::algorithm::{Algorithm, Case, Hash, MAX_HASH_BYTES};
use crate::attribute::Attribute;
use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// Put requests in one BatchWriteItem call, at most.
/// Source: DynamoDB API reference, BatchWriteItem.
pub const MAX_BATCH_ITEMS: usize = 25;

/// Bytes of one BatchWriteItem request, at most (16 MB).
/// Source: DynamoDB API reference, BatchWriteItem.
pub const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of one item as it is stored, at most (400 KB).
/// Source: DynamoDB developer guide, Constraints.
pub const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Bytes that one write capacity unit pays for, begun ones included.
/// Source: DynamoDB developer guide, read/write capacity mode.
pub const WRITE_UNIT_BYTES: usize = 1024;

/// Bytes of a partition key's value, at most.
/// Source: DynamoDB developer guide, Constraints.
pub const MAX_PARTITION_KEY_BYTES: usize = 2048;

/// Bytes of a sort key's value, at most.
/// Source: DynamoDB developer guide, Constraints.
pub const MAX_SORT_KEY_BYTES: usize = 1024;

/// Capacity units that one call can have consumed, at the very most: 16 MB are
/// 16,384 write units, and each of some 25 indexes takes up to two writes for one
/// of the table. An answer that says more is not believed.
const MAX_CALL_UNITS: f64 = 1_000_000.0;

/// The type of a key attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // DynamoDB's own letters
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

/// What DynamoDB answered to a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Items it handed back unwritten.
    pub unprocessed: Vec<Hash>,
    /// What it says it consumed, where it says so.
    pub consumed: Option<Consumed>,
}

/// Write capacity units that a call consumed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Consumed {
    /// Of the table and its indexes together.
    pub total: f64,
    /// Of the table alone, where that is said.
    pub table: Option<f64>,
    /// Of each index, by its name.
    pub indexes: Vec<(String, f64)>,
}

impl Consumed {
    /// Itself, when a call can have consumed that. What is paid at the token bucket
    /// follows it: a figure beyond all bounds would stop a run for good.
    pub(crate) fn if_possible(self) -> Option<Self> {
        let possible = |units: f64| (0.0..=MAX_CALL_UNITS).contains(&units);
        let indexes = self.indexes.iter().all(|(_, units)| possible(*units));
        (possible(self.total) && self.table.is_none_or(possible) && indexes).then_some(self)
    }
}

/// Everything about a run's items but the hash. See the [module](self).
#[derive(Debug, Clone)]
pub struct ItemTemplate {
    algorithm: Algorithm,
    partition: KeyAttribute,
    case: Case,
    opening: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
    closing: Vec<u8>,
    item_bytes: usize,
}

impl ItemTemplate {
    /// The template of items for `table`, whose schema is `schema`: hashes of
    /// `algorithm`, text keys in `case`, and `attributes` in each item.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) when such items do
    /// not fit the table; the message says what would.
    pub fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
    ) -> Result<Self> {
        check_schema(table, schema, attributes)?;
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
        let before = format!(
            "{{\"PutRequest\":{{\"Item\":{{{}:{{\"{}\":\"",
            text(&partition.name),
            partition.kind
        );
        let mut after = "\"}".to_owned();
        for a in attributes {
            after.push_str(&format!(",{}:{}", text(&a.name), a.value.to_json()));
        }
        after.push_str("}}}");
        Ok(ItemTemplate {
            algorithm,
            partition,
            case,
            opening: format!("{{\"RequestItems\":{{{}:[", text(table)).into_bytes(),
            before: before.into_bytes(),
            after: after.into_bytes(),
            closing: b"]},\"ReturnConsumedCapacity\":\"INDEXES\"}".to_vec(),
            item_bytes,
        })
    }

    /// An item as it is written, without its hash: by which it is recognised that
    /// two runs write the same.
    pub fn example(&self) -> String {
        let item = [&self.before[..], b"...", &self.after].concat();
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

    /// Size of one item in bytes, as DynamoDB counts it.
    pub fn item_bytes(&self) -> usize {
        self.item_bytes
    }

    /// Write capacity units that writing one item costs:
    /// `ceil(bytes / 1024)`, each item rounded up by itself.
    pub fn write_units(&self) -> f64 {
        self.item_bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
    }

    /// Items that go into one BatchWriteItem call: 25, or fewer where 25 such
    /// items would make a request of more than 16 MB.
    pub fn batch_items(&self) -> usize {
        let each = self.before.len() + MAX_HASH_BYTES * 2 + self.after.len() + 1;
        (MAX_BATCH_BYTES.saturating_sub(4096) / each).clamp(1, MAX_BATCH_ITEMS)
    }

    /// The body of the BatchWriteItem request that puts `hashes`.
    pub fn write_request<'a>(&self, hashes: impl IntoIterator<Item = &'a Hash>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.opening);
        for (i, hash) in hashes.into_iter().enumerate() {
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
        }
        out.extend_from_slice(&self.closing);
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
            let item = request
                .put
                .ok_or("it hands back a request that is no put")?
                .item;
            let key = item.get(&self.partition.name).ok_or_else(|| {
                format!(
                    "an item without its key {:?} is handed back",
                    self.partition.name
                )
            })?;
            let hash = match (self.partition.kind, &key.s, &key.b) {
                (KeyType::B, _, Some(b)) => {
                    BASE64.decode(b).ok().and_then(|raw| Hash::from_bytes(&raw))
                }
                (_, Some(s), _) => Hash::from_hex(s.as_bytes()),
                _ => None,
            };
            answer
                .unprocessed
                .push(hash.ok_or("an item whose key is no hash is handed back")?);
        }
        Ok(answer)
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
    #[serde(rename = "B")]
    b: Option<String>,
}

#[derive(Deserialize)]
struct WireCapacity {
    #[serde(rename = "CapacityUnits", default)]
    units: f64,
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
fn consumed(tables: Vec<WireCapacity>) -> Consumed {
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

/// Whether items of a hash and `attributes` fit `schema`, and if not, what would.
fn check_schema(table: &str, schema: &KeySchema, attributes: &[Attribute]) -> Result<()> {
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
    for a in attributes {
        if !names.insert(&a.name) {
            return Err(Error::usage(format!("the attribute {:?} is given twice", a.name))
                .hint("--type, --source and --desc set the attributes of these names; leave one of the two out"));
        }
        if a.name == partition.name {
            return Err(Error::usage(format!(
                "the attribute {:?} is the partition key of table {table}, which the hash itself fills",
                a.name
            ))
            .hint("leave this attribute out, or give it another name by --attr NAME=TEXT"));
        }
    }
    if let Some(sort) = &schema.sort {
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
            .hint(format!("give it by {how}")));
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

#[cfg(test)]
pub(crate) mod hostile;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str, kind: KeyType) -> KeyAttribute {
        KeyAttribute {
            name: name.into(),
            kind,
        }
    }

    fn schema(kind: KeyType, sort: Option<KeyAttribute>) -> KeySchema {
        KeySchema {
            partition: key("sha256", kind),
            sort,
            index_keys: vec![],
        }
    }

    fn attributes(list: &[&str]) -> Vec<Attribute> {
        list.iter()
            .map(|a| a.parse().expect("an attribute"))
            .collect()
    }

    fn template(kind: KeyType, list: &[&str]) -> ItemTemplate {
        ItemTemplate::new(
            "t",
            &schema(kind, None),
            Algorithm::Sha256,
            Case::Upper,
            &attributes(list),
        )
        .expect("fits")
    }

    fn hash(byte: u8) -> Hash {
        Hash::from_bytes(&[byte; 32]).expect("32 bytes")
    }

    #[test]
    fn a_request_is_the_json_that_dynamodb_expects() {
        let t = template(
            KeyType::S,
            &[
                "type=linux \"x\"",
                "n:N=7",
                "b:BOOL=true",
                "raw:B=AQI=",
                "z:NULL=",
            ],
        );
        let mut out = Vec::new();
        t.write_request(&[hash(0xAB), hash(0x01)], &mut out);
        let got: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let item = |hex: &str| {
            serde_json::json!({"PutRequest": {"Item": {
                "sha256": {"S": hex.repeat(32)}, "type": {"S": "linux \"x\""}, "n": {"N": "7"},
                "b": {"BOOL": true}, "raw": {"B": "AQI="}, "z": {"NULL": true}}}})
        };
        assert_eq!(
            got,
            serde_json::json!({
                "RequestItems": {"t": [item("AB"), item("01")]}, "ReturnConsumedCapacity": "INDEXES"})
        );
    }

    #[test]
    fn a_binary_key_is_base64_of_the_raw_bytes() {
        let t = template(KeyType::B, &[]);
        let mut out = Vec::new();
        t.write_request(&[hash(0)], &mut out);
        let got: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let b = &got["RequestItems"]["t"][0]["PutRequest"]["Item"]["sha256"]["B"];
        assert_eq!(b, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }

    #[test]
    fn size_and_write_units_follow_dynamodbs_formula() {
        // sha256 + 64 digits, type + linux
        assert_eq!(
            template(KeyType::S, &["type=linux"]).item_bytes(),
            6 + 64 + 4 + 5
        );
        assert_eq!(template(KeyType::B, &[]).item_bytes(), 6 + 32);
        assert_eq!(
            template(KeyType::S, &["n:N=1234500"]).item_bytes(),
            70 + 1 + 3 + 1
        );
        assert_eq!(template(KeyType::S, &[]).write_units(), 1.0);
        let fill = |n: usize| format!("a={}", "x".repeat(n));
        assert_eq!(template(KeyType::S, &[&fill(1024 - 71)]).write_units(), 1.0);
        assert_eq!(template(KeyType::S, &[&fill(1025 - 71)]).write_units(), 2.0);
    }

    #[test]
    fn batches_stay_below_the_request_limit() {
        assert_eq!(template(KeyType::S, &[]).batch_items(), 25);
        // 300,000 control characters take six bytes each on the wire.
        let big = template(KeyType::S, &[&format!("a={}", "\u{1}".repeat(300_000))]);
        let mut out = Vec::new();
        let hashes: Vec<_> = (0..big.batch_items() as u8).map(hash).collect();
        big.write_request(&hashes, &mut out);
        assert!(
            big.batch_items() < 25 && out.len() <= MAX_BATCH_BYTES,
            "{} bytes",
            out.len()
        );
    }

    #[test]
    fn answers_are_read_back() {
        let t = template(KeyType::S, &[]);
        let none = Answer::default();
        assert_eq!(
            t.read_answer(br#"{"UnprocessedItems":{}}"#),
            Ok(none.clone())
        );
        let unbelievable =
            br#"{"UnprocessedItems":{},"ConsumedCapacity":[{"CapacityUnits":1e300}]}"#;
        assert_eq!(t.read_answer(unbelievable), Ok(none));
        let body = format!(
            r#"{{"ConsumedCapacity":[{{"TableName":"t","CapacityUnits":36.0,"Table":{{"CapacityUnits":24.0}},
                "GlobalSecondaryIndexes":{{"i":{{"CapacityUnits":12.0}}}}}}],"UnprocessedItems":
               {{"t":[{{"PutRequest":{{"Item":{{"type":{{"L":[{{"N":"1"}}]}},"sha256":{{"S":"{}"}}}}}}}}]}}}}"#,
            "ab".repeat(32)
        );
        let expected = Answer {
            unprocessed: vec![hash(0xAB)],
            consumed: Some(Consumed {
                total: 36.0,
                table: Some(24.0),
                indexes: vec![("i".into(), 12.0)],
            }),
        };
        assert_eq!(t.read_answer(body.as_bytes()), Ok(expected));
    }

    #[test]
    fn strange_answers_are_errors() {
        let t = template(KeyType::S, &[]);
        for body in [
            "",
            "not JSON",
            "[]",
            "[{},[]]",
            "{}",
            r#"{"message":"please log in"}"#,
            r#"{"UnprocessedItems":{"t":[{"DeleteRequest":{}}]}}"#,
            r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{}}}]}}"#,
            r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"sha256":{"S":"zz"}}}}]}}"#,
            r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"sha256":{"N":"1"}}}}]}}"#,
        ] {
            assert!(t.read_answer(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_schema_that_does_not_fit_says_what_would() {
        let refusal = |schema: &KeySchema, list: &[&str]| {
            let e = ItemTemplate::new(
                "t",
                schema,
                Algorithm::Sha256,
                Case::Upper,
                &attributes(list),
            )
            .expect_err("does not fit");
            assert_eq!(e.exit_status(), 2);
            format!("{e}: {}", e.what_to_do().unwrap_or_default())
        };
        assert!(refusal(&schema(KeyType::N, None), &[]).contains("type S"));
        let sorted = schema(KeyType::S, Some(key("type", KeyType::S)));
        assert!(refusal(&sorted, &[]).contains("--type TEXT"));
        assert!(refusal(&sorted, &["type="]).contains("0 bytes"));
        let numbered = schema(KeyType::S, Some(key("set", KeyType::N)));
        assert!(refusal(&numbered, &["set=1"]).contains("--attr set:N=VALUE"));
        assert!(refusal(&schema(KeyType::S, None), &["sha256=x"]).contains("partition key"));
        assert!(refusal(&schema(KeyType::S, None), &["a=1", "a=2"]).contains("twice"));
        assert!(
            refusal(
                &schema(KeyType::S, None),
                &[&format!("a={}", "x".repeat(409_600))]
            )
            .contains("409600")
        );
        let mut indexed = schema(KeyType::S, None);
        indexed.index_keys.push(key("source", KeyType::N));
        assert!(refusal(&indexed, &["source=x"]).contains("index key"));
    }

    /// JSON of any shape, with the names that answers have here and there.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let name = prop_oneof![
            Just("UnprocessedItems".to_owned()),
            Just("ConsumedCapacity".to_owned()),
            Just("PutRequest".to_owned()),
            Just("Item".to_owned()),
            Just("sha256".to_owned()),
            Just("S".to_owned()),
            "[a-zA-Z]{0,9}",
        ];
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "[0-9a-fA-F]{64}".prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(name.clone(), inner, 0..5)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever is answered is read or refused; nothing panics.
        #[test]
        fn any_answer_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), json in json()) {
            let schema = schema(KeyType::S, None);
            let template = ItemTemplate::new("t", &schema, Algorithm::Sha256, Case::Upper, &[]).expect("fits");
            let _ = template.read_answer(&bytes);
            let text = json.to_string();
            if let Ok(answer) = template.read_answer(text.as_bytes()) {
                prop_assert!(answer.unprocessed.iter().all(|h| !h.as_bytes().is_empty()));
            }
            // Cut off anywhere, an answer that hands items back is none.
            let whole = r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"sha256":{"S":"00"}}}}]}}"#;
            let at = bytes.len() * whole.len() / 201;
            prop_assert!(template.read_answer(&whole.as_bytes()[..at]).is_err());
        }
    }
}
