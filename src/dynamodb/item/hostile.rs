//! Answers that no DynamoDB gives, for the tests of those who read answers; and how
//! the reading of BatchWriteItem's takes them.

use super::*;
use crate::dynamodb::batch_write::WriteResponse;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON, with names and numbers that an answer could have.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let name = || {
        prop_oneof![
            Just("UnprocessedItems".to_owned()),
            Just("Responses".to_owned()),
            Just("UnprocessedKeys".to_owned()),
            Just("Keys".to_owned()),
            Just("ConsumedCapacity".to_owned()),
            Just("CapacityUnits".to_owned()),
            Just("Table".to_owned()),
            Just("GlobalSecondaryIndexes".to_owned()),
            Just("PutRequest".to_owned()),
            Just("Item".to_owned()),
            Just("md5".to_owned()),
            Just("S".to_owned()),
            Just("B".to_owned()),
            Just("__type".to_owned()),
            Just("message".to_owned()),
            Just("throttlingReasons".to_owned()),
            any::<String>(),
        ]
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<[u8; 16]>().prop_map(|raw| Value::from(hex(&raw))),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|b| format!("{b:02X}")).collect()
}

/// Answers with some of their bytes changed, taken out, doubled or cut off.
pub(crate) fn mutated(answers: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let at = any::<prop::sample::Index>;
    let change = (0u8..5, at(), at(), any::<u8>());
    let changes = prop::collection::vec(change, 1..6);
    (answers, changes).prop_map(|(mut body, changes)| {
        for (what, from, to, byte) in changes {
            if body.is_empty() {
                break;
            }
            let (from, to) = (from.index(body.len()), to.index(body.len()));
            let (from, to) = (from.min(to), from.max(to));
            match what {
                0 => body[from] = byte,
                1 => body.insert(from, byte),
                2 => drop(body.drain(from..to.min(from + 20))),
                3 => {
                    let part = body[from..to].to_vec();
                    body.splice(from..from, part);
                }
                _ => body.truncate(to),
            }
        }
        body
    })
}

/// Bodies with something nested a hundred thousand times deep: under `field` as
/// `head` begins it, under a field that nobody knows, and as the whole.
pub(crate) fn deep(field: &str, head: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    for (open, close) in [("[", "]"), (r#"{"L":"#, "}")] {
        let nest = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
        bodies.push(format!(r#"{{"{field}":{head}{nest}"#));
        bodies.push(format!(r#"{{"Unknown":{nest},"{field}":{{}}}}"#));
        bodies.push(nest);
    }
    bodies
}

fn template(kind: KeyType) -> ItemTemplate {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind,
        },
        sort: None,
        index_keys: vec![],
    };
    ItemTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &[]).expect("fits")
}

/// A response with unprocessed items.
fn some_answer() -> impl Strategy<Value = Vec<u8>> {
    let keys = prop::collection::vec(any::<[u8; 16]>(), 0..5);
    (keys, any::<f64>(), json()).prop_map(|(keys, units, more)| {
        let back = |key| json!({"PutRequest": {"Item": {"md5": {"S": hex(key)}, "x": more}}});
        let back: Vec<_> = keys.iter().map(|key| back(key)).collect();
        json!({
            "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": units}],
            "UnprocessedItems": {"t": back},
        })
        .to_string()
        .into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any body is parsed or rejected; a parsed one has a consumed capacity that a call can
    /// consume.
    #[test]
    fn nothing_that_comes_breaks_the_reading(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        json().prop_map(|json| json.to_string().into_bytes()),
        some_answer(),
        mutated(some_answer()),
    ]) {
        for kind in [KeyType::S, KeyType::B] {
            if let Ok(WriteResponse { consumed: Some(consumed), .. }) = template(kind).parse_write_response(&body) {
                prop_assert!((0.0..=crate::flow::capacity::MAX_CALL_UNITS).contains(&consumed.total));
            }
        }
    }

    /// JSON that does not say what became of the items never passes for an answer
    /// that says all of them were written.
    #[test]
    fn only_an_answer_passes_for_one(json in json()) {
        let says = json.get("UnprocessedItems").is_some_and(Value::is_object);
        let read = template(KeyType::S).parse_write_response(json.to_string().as_bytes());
        prop_assert!(says || read.is_err(), "{}", json);
    }
}

#[test]
fn an_answer_that_is_nested_deeply_is_refused_or_passed_over() {
    let head = r#"{"t":[{"PutRequest":{"Item":{"x":"#;
    for body in deep("UnprocessedItems", head) {
        let answer = template(KeyType::S).parse_write_response(body.as_bytes());
        assert!(
            answer.as_ref().map_or(true, |a| a.unprocessed.is_empty()),
            "{answer:?}"
        );
    }
}
