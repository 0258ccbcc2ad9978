use super::*;
use crate::base::hash::Hash;
use crate::base::record::{Action, Position};
use crate::base::row_attributes::RowAttributes;
use crate::dynamodb::batch_write::{MAX_BATCH_BYTES, UnprocessedItem, WriteResponse};
use crate::flow::capacity::ConsumedCapacity;
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
    let place = Position {
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
    let extra =
        || RowAttributes::from_json(br#","n":{"N":"7"},"name":{"S":"a"}"#.to_vec(), 14, 1000);
    let put = Record {
        attributes: extra(),
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
    assert_eq!((t.write_units(), t.record_write_units(&put)), (1.0, 2.0));
    // What comes back is known by both parts of its key.
    let body = serde_json::json!({"UnprocessedItems": {"t": requests}}).to_string();
    let back = t
        .parse_write_response(body.as_bytes())
        .expect("an answer")
        .unprocessed;
    assert!(back.len() == 2 && back.iter().all(|r| r.matches(&put)));
    assert!(!back[0].matches(&record(0xAB)));
    assert!(t.describe().contains("n:N=Size"), "{}", t.describe());
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
    assert_eq!(template(KeyType::S, &[]).max_batch_items(), 25);
    // 300,000 control characters take six bytes each on the wire.
    let big = template(KeyType::S, &[&format!("a={}", "\u{1}".repeat(300_000))]);
    let mut out = Vec::new();
    let records: Vec<_> = (0..big.max_batch_items() as u8).map(record).collect();
    big.write_request(&records, &mut out);
    assert!(
        big.max_batch_items() < 25 && out.len() <= MAX_BATCH_BYTES,
        "{} bytes",
        out.len()
    );
}

#[test]
fn answers_are_read_back() {
    let t = template(KeyType::S, &[]);
    let none = WriteResponse::default();
    assert_eq!(
        t.parse_write_response(br#"{"UnprocessedItems":{}}"#),
        Ok(none.clone())
    );
    let unbelievable = br#"{"UnprocessedItems":{},"ConsumedCapacity":[{"CapacityUnits":1e300}]}"#;
    assert_eq!(t.parse_write_response(unbelievable), Ok(none));
    let body = format!(
        r#"{{"ConsumedCapacity":[{{"TableName":"t","CapacityUnits":36.0,"Table":{{"CapacityUnits":24.0}},
                "GlobalSecondaryIndexes":{{"i":{{"CapacityUnits":12.0}}}}}}],"UnprocessedItems":
               {{"t":[{{"PutRequest":{{"Item":{{"type":{{"L":[{{"N":"1"}}]}},"sha256":{{"S":"{}"}}}}}}}}]}}}}"#,
        "ab".repeat(32)
    );
    let expected = WriteResponse {
        unprocessed: vec![UnprocessedItem {
            hash: hash(0xAB),
            row_key: vec![],
        }],
        consumed: Some(ConsumedCapacity {
            total: 36.0,
            table: Some(24.0),
            indexes: vec![("i".into(), 12.0)],
        }),
    };
    assert_eq!(t.parse_write_response(body.as_bytes()), Ok(expected));
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
        assert!(t.parse_write_response(body.as_bytes()).is_err(), "{body}");
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
        format!("{e}: {}", e.hint().unwrap_or_default())
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
        let _ = template.parse_write_response(&bytes);
        let text = json.to_string();
        if let Ok(answer) = template.parse_write_response(text.as_bytes()) {
            prop_assert!(answer.unprocessed.iter().all(|r| !r.hash.as_bytes().is_empty()));
        }
        // A response with unprocessed items that is cut off anywhere is invalid.
        let whole = r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"sha256":{"S":"00"}}}}]}}"#;
        let at = bytes.len() * whole.len() / 201;
        prop_assert!(template.parse_write_response(&whole.as_bytes()[..at]).is_err());
    }
}
