use super::*;
use crate::base::record::Position;
use crate::dynamodb::item::hostile;
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use proptest::prelude::*;
use serde_json::json;

fn key(name: &str, kind: KeyType) -> KeyAttribute {
    KeyAttribute {
        name: name.into(),
        kind,
    }
}

fn template(kind: KeyType, sort: Option<KeyAttribute>, attributes: &[&str]) -> GetTemplate {
    let schema = KeySchema {
        partition: key("md5", kind),
        sort,
        index_keys: vec![],
    };
    let attributes: Vec<Attribute> = attributes.iter().map(|a| a.parse().expect("one")).collect();
    GetTemplate::new("t", &schema, Algorithm::Md5, Case::Lower, &attributes).expect("fits")
}

#[test]
fn row_attributes_are_compared_with_the_row() {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: Some(KeyAttribute {
            name: "name".into(),
            kind: KeyType::S,
        }),
        index_keys: vec![],
    };
    let from = ["size:N=2", "name=3", "bad:BOOL=4"].map(|a| a.parse().expect("one"));
    let t = GetTemplate::with_columns("t", &schema, Algorithm::Md5, Case::Lower, &[], &from)
        .expect("fits");
    assert_eq!(t.compared().collect::<Vec<_>>(), ["size", "bad"]);
    let key = r#","name":{"S":"x"}"#;
    let json = format!(r#"{key},"size":{{"N":"7"}}"#);
    let row = Record {
        attributes: RowAttributes::from_json(json.into_bytes(), key.len(), 10),
        ..record(&md5(1))
    };
    let mut body = Vec::new();
    t.write_request([&row], false, &mut body);
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let table = &body["RequestItems"]["t"];
    assert_eq!(
        table["Keys"],
        json!([{"md5": {"S": "01".repeat(16)}, "name": {"S": "x"}}])
    );
    assert_eq!(table["ProjectionExpression"], "#k,#o0,#o1");
    for (size, said) in [
        (json!({"size": {"N": "7.0"}, "bad": {"BOOL": true}}), None),
        (json!({"size": {"N": "8"}}), Some(Some("N 8".to_owned()))),
        (
            json!({"size": {"S": "7"}}),
            Some(Some("S \"7\"".to_owned())),
        ),
        (json!({}), Some(None)),
    ] {
        let mut item = size;
        item["md5"] = json!({"S": "01".repeat(16)});
        let answer = json!({"Responses": {"t": [item]}});
        let body = answer.to_string();
        let answer = t.parse_response(body.as_bytes(), 5).expect("read");
        let difference = t.own_difference(&answer.items[0], &row.attributes);
        let expected = said.map(|found| {
            Box::new(Mismatch {
                attribute: "size".into(),
                found,
            })
        });
        assert_eq!(difference, expected);
    }
}

fn md5(n: u8) -> Hash {
    Hash::from_bytes(&[n; 16]).expect("16 bytes")
}

fn record(hash: &Hash) -> Record {
    let place = Position {
        source: 0,
        line: 1,
        byte: 0,
    };
    Record::new(*hash, place)
}

fn request(t: &GetTemplate, hashes: &[Hash], consistent: bool) -> serde_json::Value {
    let mut body = Vec::new();
    let records: Vec<Record> = hashes.iter().map(record).collect();
    t.write_request(&records, consistent, &mut body);
    serde_json::from_slice(&body).expect("JSON")
}

#[test]
fn a_request_has_the_keys_and_only_compared_attributes() {
    let t = template(KeyType::S, None, &["source=NSRL", "n:N=1"]);
    assert_eq!(
        request(&t, &[md5(0xAB), md5(1)], false),
        json!({
            "RequestItems": {"t": {
                "Keys": [{"md5": {"S": "ab".repeat(16)}}, {"md5": {"S": "01".repeat(16)}}],
                "ProjectionExpression": "#k,#a0,#a1",
                "ExpressionAttributeNames": {"#k": "md5", "#a0": "source", "#a1": "n"},
                "ConsistentRead": false,
            }},
            "ReturnConsumedCapacity": "TOTAL",
        })
    );
    assert_eq!(t.compared().collect::<Vec<_>>(), ["source", "n"]);
}

#[test]
fn a_binary_key_is_base64_and_a_sort_key_is_part_of_the_key() {
    let t = template(
        KeyType::B,
        Some(key("set", KeyType::N)),
        &["x=y", "set:N=7"],
    );
    let got = request(&t, &[md5(0)], true);
    let table = &got["RequestItems"]["t"];
    assert_eq!(
        table["Keys"],
        json!([{"md5": {"B": "AAAAAAAAAAAAAAAAAAAAAA=="}, "set": {"N": "7"}}])
    );
    assert_eq!(table["ProjectionExpression"], "#k,#a0");
    assert_eq!(table["ConsistentRead"], true);
    let answer = json!({"Responses": {"t": [{"x": {"S": "y"},
        "md5": {"B": "AAAAAAAAAAAAAAAAAAAAAA=="}}]}});
    let body = answer.to_string();
    let answer = t.parse_response(body.as_bytes(), 5).expect("read");
    assert_eq!(
        answer.items,
        [FoundItem {
            hash: md5(0),
            mismatch: None,
            row_attributes: vec![]
        }]
    );
}

#[test]
fn a_response_has_items_and_their_mismatches() {
    let t = template(KeyType::S, None, &["source=NSRL", "n:N=1"]);
    let text = |n: u8| md5(n).to_hex(Case::Lower);
    let answer = json!({
        "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": 2.5}],
        "Responses": {"t": [
            {"md5": {"S": text(1)}, "source": {"S": "NSRL"}, "n": {"N": "1.0"}},
            {"n": {"N": "2"}, "md5": {"S": text(2)}, "source": {"S": "nsrl"}},
            {"md5": {"S": text(3)}, "source": {"S": "NSRL"}},
            {"md5": {"S": text(4)}},
        ]},
        "UnprocessedKeys": {"t": {"Keys": [{"md5": {"S": text(5)}}], "ConsistentRead": false}},
        "More": {"unknown": ["members"]},
    });
    let body = answer.to_string();
    let answer = t.parse_response(body.as_bytes(), 5).expect("read");
    let differs = |attribute: &str, found: Option<&str>| {
        Some(Box::new(Mismatch {
            attribute: attribute.into(),
            found: found.map(str::to_owned),
        }))
    };
    let expected = [
        (1, None),
        (2, differs("source", Some("S \"nsrl\""))),
        (3, differs("n", None)),
        (4, differs("source", None)),
    ];
    let expected = expected.map(|(n, difference)| FoundItem {
        hash: md5(n),
        mismatch: difference,
        row_attributes: vec![],
    });
    assert_eq!(answer.items, expected);
    assert_eq!(answer.unprocessed, [md5(5)]);
    assert_eq!(answer.consumed.map(|c| c.total), Some(2.5));
}

#[test]
fn other_documents_are_rejected() {
    let t = template(KeyType::S, None, &[]);
    for body in [
        "",
        "{}",
        "<html>",
        "[]",
        r#"{"UnprocessedKeys":{}}"#,
        r#"{"Responses":{"t":[]}"#,
        r#"{"Responses":{"t":[]}} x"#,
        r#"{"Responses":{"t":[{}]}}"#,
        r#"{"Responses":{"t":[{"md5":{"S":"xyz"}}]}}"#,
        r#"{"Responses":{"t":[{"md5":{"N":"7"}}]}}"#,
    ] {
        assert!(t.parse_response(body.as_bytes(), 1).is_err(), "{body}");
    }
    let empty = t.parse_response(br#"{"Responses":{"t":[]},"UnprocessedKeys":{}}"#, 1);
    assert_eq!(empty, Ok(GetResponse::default()));
}

#[test]
fn an_item_with_a_duplicate_attribute_is_rejected() {
    let t = template(KeyType::S, None, &["source=x"]);
    let key = format!(r#""md5":{{"S":"{}"}}"#, "01".repeat(16));
    for item in [
        format!("{{{key},{key}}}"),
        format!(r#"{{{key},"source":{{"S":"x"}},"source":{{"S":"y"}}}}"#),
    ] {
        let body = format!(r#"{{"Responses":{{"t":[{item}]}}}}"#);
        let error = t.parse_response(body.as_bytes(), 1).expect_err(&body);
        assert!(error.contains("twice"), "{error}");
    }
}

#[test]
fn a_response_names_the_requested_table_once() {
    let t = template(KeyType::S, None, &[]);
    crate::dynamodb::batch_get::table_name::tests::assert_named(|body, asked| {
        let answer = t.parse_response(body.as_bytes(), asked)?;
        Ok((answer.items.len(), answer.unprocessed.len()))
    });
}

/// A response with some of eight keys as items, and some as unprocessed.
fn some_answer() -> impl Strategy<Value = Vec<u8>> {
    let marks = prop::collection::vec(0u8..4, 8);
    (marks, hostile::json()).prop_map(|(marks, more)| {
        let of = |wanted: u8| {
            let keys = (0u8..)
                .zip(&marks)
                .filter(move |(_, mark)| **mark == wanted);
            keys.map(|(n, _)| md5(n).to_hex(Case::Lower))
                .collect::<Vec<_>>()
        };
        let there = of(1);
        let there = there
            .iter()
            .map(|k| json!({"md5": {"S": k}, "source": {"S": "x"}}));
        let unread = of(2);
        let unread = unread.iter().map(|k| json!({"md5": {"S": k}}));
        json!({
            "Responses": {"t": there.collect::<Vec<_>>()},
            "UnprocessedKeys": {"t": {"Keys": unread.collect::<Vec<_>>(), "More": more}},
        })
        .to_string()
        .into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any body is parsed or rejected, and a parsed one has a plausible consumed capacity.
    #[test]
    fn no_body_breaks_the_parser(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        hostile::json().prop_map(|json| json.to_string().into_bytes()),
        some_answer(),
        hostile::mutated(some_answer()),
    ]) {
        for kind in [KeyType::S, KeyType::B] {
            let t = template(kind, None, &["source=x", "n:N=1"]);
            if let Ok(answer) = t.parse_response(&body, 8) {
                let units = answer.consumed.map_or(0.0, |c| c.total);
                prop_assert!((0.0..=1e6).contains(&units));
            }
        }
    }
}

#[test]
fn a_deeply_nested_response_has_no_items() {
    let t = template(KeyType::S, None, &["source=x"]);
    for body in hostile::deep("Responses", r#"{"t":[{"source":"#) {
        let answer = t.parse_response(body.as_bytes(), 1);
        assert_no_item(&answer);
    }
}

/// Asserts that no part of such a response is read as an item.
fn assert_no_item(answer: &std::result::Result<GetResponse, String>) {
    assert!(
        answer.as_ref().map_or(true, |a| a.items.is_empty()),
        "{answer:?}"
    );
}
