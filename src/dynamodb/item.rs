//! Hash → DynamoDB item: key schema, attributes, size, and the request's bytes.
//!
//! All items of a run are alike but for their hash, and what they take from their
//! rows. So everything about an item that can be known is worked out once, in an
//! [`ItemTemplate`]: whether the table's schema fits, what the item weighs in write
//! units, and the JSON around the hash. Writing a request is then copying bytes; no
//! map is built, nothing is allocated per item. The other way,
//! [`ItemTemplate::read_answer`] finds out which items DynamoDB handed back.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash, MAX_HASH_BYTES};
use crate::base::record::MAX_LINE_BYTES;
use crate::base::record::{Action, Record};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
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

/// Everything about a run's items but the hash. See the [module](self).
#[derive(Debug, Clone)]
pub struct ItemTemplate {
    algorithm: Algorithm,
    pub(super) partition: KeyAttribute,
    case: Case,
    opening: Vec<u8>,
    /// What stands before the hash of an item that is put.
    before: Vec<u8>,
    /// After the hash: the attributes that all items have.
    after: Vec<u8>,
    /// The same of an item that is deleted: of it the key alone is named.
    before_delete: Vec<u8>,
    pub(super) after_delete: Vec<u8>,
    closing: Vec<u8>,
    item_bytes: usize,
    /// What items take from their rows.
    from: Vec<AttributeFrom>,
    /// The sort key, where it comes from the row.
    pub(super) row_key: Option<KeyAttribute>,
    /// Of deletes that have a condition.
    pub(super) own_delete: Option<crate::dynamodb::delete_item::OwnDelete>,
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
}

/// The end of an item, and of the request that it is in.
const CLOSE: &[u8] = b"}}}";

/// Write capacity units of an item of so many bytes.
fn units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT_BYTES).max(1) as f64
}

/// Whether items of a hash, `attributes`, and those `from` their rows fit `schema`,
/// and if not, what would.
fn check_schema(
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
    use crate::base::record::Place;
    use crate::base::row_attributes::Extra;
    use crate::dynamodb::batch_write::{Answer, Returned};
    use crate::flow::capacity::Consumed;
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

    fn record(byte: u8) -> Record {
        let place = Place {
            source: 0,
            line: u64::from(byte),
            byte: 0,
        };
        Record::new(hash(byte), place)
    }

    #[test]
    fn puts_and_deletes_go_in_one_request_and_are_known_when_they_come_back() {
        let schema = schema(KeyType::S, Some(key("n", KeyType::N)));
        let from = [
            "name=FileName".parse().expect("one"),
            "n:N=Size".parse().expect("one"),
        ];
        let t = ItemTemplate::with_columns(
            "t",
            &schema,
            Algorithm::Sha256,
            Case::Upper,
            &attributes(&["type=x"]),
            &from,
        )
        .expect("fits");
        let extra = || Extra::alone(br#","n":{"N":"7"},"name":{"S":"a"}"#.to_vec(), 14, 1000);
        let put = Record {
            extra: extra(),
            ..record(0xAB)
        };
        let delete = Record {
            action: Action::Delete,
            ..put.clone()
        };
        let mut out = Vec::new();
        t.write_request([&put, &delete], &mut out);
        let got: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        let sha256 = serde_json::json!({"S": "AB".repeat(32)});
        let requests = serde_json::json!([
            {"PutRequest": {"Item": {"sha256": sha256, "type": {"S": "x"}, "n": {"N": "7"}, "name": {"S": "a"}}}},
            {"DeleteRequest": {"Key": {"sha256": sha256, "n": {"N": "7"}}}},
        ]);
        assert_eq!(got["RequestItems"]["t"], requests);
        assert_eq!((t.write_units(), t.units_of(&put)), (1.0, 2.0));
        // What comes back is known by both parts of its key.
        let body = serde_json::json!({"UnprocessedItems": {"t": requests}}).to_string();
        let back = t
            .read_answer(body.as_bytes())
            .expect("an answer")
            .unprocessed;
        assert!(back.len() == 2 && back.iter().all(|r| r.is_of(&put)));
        assert!(!back[0].is_of(&record(0xAB)));
        assert!(t.example().contains("n:N=Size"), "{}", t.example());
    }

    #[test]
    fn a_delete_names_a_sort_key_that_all_items_have() {
        let schema = schema(KeyType::S, Some(key("type", KeyType::S)));
        let all = attributes(&["type=x", "desc=y"]);
        let t = ItemTemplate::new("t", &schema, Algorithm::Sha256, Case::Upper, &all);
        let mut out = Vec::new();
        let delete = Record {
            action: Action::Delete,
            ..record(0xAB)
        };
        t.expect("fits").write_request([&delete], &mut out);
        let got: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            got["RequestItems"]["t"][0]["DeleteRequest"]["Key"],
            serde_json::json!({"sha256": {"S": "AB".repeat(32)}, "type": {"S": "x"}})
        );
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
        t.write_request(&[record(0xAB), record(0x01)], &mut out);
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
        t.write_request(&[record(0)], &mut out);
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
        let records: Vec<_> = (0..big.batch_items() as u8).map(record).collect();
        big.write_request(&records, &mut out);
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
            unprocessed: vec![Returned {
                hash: hash(0xAB),
                row_key: vec![],
            }],
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
                prop_assert!(answer.unprocessed.iter().all(|r| !r.hash.as_bytes().is_empty()));
            }
            // Cut off anywhere, an answer that hands items back is none.
            let whole = r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"sha256":{"S":"00"}}}}]}}"#;
            let at = bytes.len() * whole.len() / 201;
            prop_assert!(template.read_answer(&whole.as_bytes()[..at]).is_err());
        }
    }
}
