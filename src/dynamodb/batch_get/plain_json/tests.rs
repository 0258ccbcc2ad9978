use super::*;
use crate::dynamodb::item::hostile;
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use proptest::prelude::*;
use serde_json::{Value, json};

fn template(kind: KeyType) -> ItemJsonTemplate {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind,
        },
        sort: None,
        index_keys: vec![],
    };
    ItemJsonTemplate::new("t", &schema, Algorithm::Md5, Case::Lower, &[]).expect("fits")
}

fn md5(n: u8) -> Hash {
    Hash::from_bytes(&[n; 16]).expect("16 bytes")
}

fn text(n: u8) -> String {
    md5(n).to_hex(Case::Lower)
}

/// The fields of an item with these attributes.
fn fields(attributes: Value) -> Result<String, String> {
    let mut item = attributes;
    item["md5"] = json!({"S": text(1)});
    let answer = json!({"Responses": {"t": [item]}}).to_string();
    let answer = template(KeyType::S).parse_response(answer.as_bytes(), 1)?;
    assert_eq!((answer.items.len(), answer.items[0].hash), (1, md5(1)));
    Ok(answer.items[0].fields.clone())
}

#[test]
fn a_request_asks_for_whole_items() {
    let mut body = Vec::new();
    template(KeyType::S).write_request(&[md5(0xAB), md5(1)], false, &mut body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        body,
        json!({
            "RequestItems": {"t": {
                "Keys": [{"md5": {"S": "ab".repeat(16)}}, {"md5": {"S": "01".repeat(16)}}],
                "ConsistentRead": false,
            }},
            "ReturnConsumedCapacity": "TOTAL",
        })
    );
}

#[test]
fn a_sort_key_is_part_of_each_key_and_a_field_of_each_item() {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::B,
        },
        sort: Some(KeyAttribute {
            name: "set".into(),
            kind: KeyType::N,
        }),
        index_keys: vec![],
    };
    let sort = ["set:N=7".parse().expect("an attribute")];
    let t = ItemJsonTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &sort).expect("fits");
    let mut body = Vec::new();
    t.write_request(&[md5(0)], true, &mut body);
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let key = json!({"md5": {"B": "AAAAAAAAAAAAAAAAAAAAAA=="}, "set": {"N": "7"}});
    assert_eq!(body["RequestItems"]["t"]["Keys"], json!([key]));
    let answer = json!({"Responses": {"t": [key]}}).to_string();
    let answer = t.parse_response(answer.as_bytes(), 1).expect("read");
    let item = PlainItem {
        hash: md5(0),
        fields: "\"set\":7".into(),
    };
    assert_eq!(answer.items, [item]);
}

#[test]
fn a_response_has_items_unprocessed_keys_and_consumed_capacity() {
    let answer = json!({
        "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": 2.5}],
        "Responses": {"t": [
            {"source": {"S": "NSRL"}, "md5": {"S": text(1)}},
            {"md5": {"S": text(2)}},
        ]},
        "UnprocessedKeys": {"t": {"ConsistentRead": false, "Keys": [{"md5": {"S": text(5)}}]}},
        "More": {"unknown": ["members"]},
    });
    let t = template(KeyType::S);
    let answer = t
        .parse_response(answer.to_string().as_bytes(), 3)
        .expect("read");
    let items = answer.items.iter().map(|i| (i.hash, i.fields.as_str()));
    let expected = [(md5(1), "\"source\":\"NSRL\""), (md5(2), "")];
    assert_eq!(items.collect::<Vec<_>>(), expected);
    assert_eq!(answer.unprocessed, [md5(5)]);
    assert_eq!(answer.consumed.map(|c| c.total), Some(2.5));
}

#[test]
fn values_lose_their_types_only() {
    for (value, told) in [
        (
            json!({"S": "a\"\n\u{e9}"}),
            r#""a\"\n\u00e9""#.replace("\\u00e9", "\u{e9}"),
        ),
        (json!({"S": ""}), "\"\"".into()),
        (json!({"N": "1"}), "1".into()),
        (json!({"N": "-0.50"}), "-0.50".into()),
        (
            json!({"N": "12345678901234567890123456789012345678"}),
            "12345678901234567890123456789012345678".into(),
        ),
        (json!({"N": "1E+2"}), "1E+2".into()),
        (json!({"N": ".5"}), "\".5\"".into()),
        (json!({"N": "NaN"}), "\"NaN\"".into()),
        (json!({"N": "true"}), "\"true\"".into()),
        (json!({"N": "1 "}), "\"1 \"".into()),
        (json!({"B": "AQI="}), "\"AQI=\"".into()),
        (json!({"BOOL": true}), "true".into()),
        (json!({"BOOL": false}), "false".into()),
        (json!({"NULL": true}), "null".into()),
        (json!({"SS": ["b", "a"]}), r#"["a","b"]"#.into()),
        (json!({"NS": ["2", "1.5"]}), "[1.5,2]".into()),
        (json!({"BS": ["AQI="]}), r#"["AQI="]"#.into()),
        (json!({"L": []}), "[]".into()),
        (
            json!({"L": [{"S": "x"}, {"L": [{"N": "1"}]}, {"NULL": true}]}),
            r#"["x",[1],null]"#.into(),
        ),
        (json!({"M": {}}), "{}".into()),
        (
            json!({"M": {"status": {"S": "x"}, "b": {"M": {"c": {"BOOL": false}}}}}),
            r#"{"b":{"c":false},"status":"x"}"#.into(),
        ),
    ] {
        assert_eq!(
            fields(json!({"a": value})),
            Ok(format!("\"a\":{told}")),
            "{value}"
        );
    }
    for value in [
        json!("x"),
        json!({}),
        json!({"X": "x"}),
        json!({"S": "x", "N": "1"}),
        json!({"S": 1}),
        json!({"L": ["x"]}),
    ] {
        assert!(fields(json!({"a": value})).is_err(), "{value}");
    }
}

#[test]
fn attributes_named_like_answer_fields_get_a_prefix() {
    for name in ANSWER_FIELDS {
        let told = fields(json!({name: {"S": "x"}}));
        assert_eq!(told, Ok(format!("\"item.{name}\":\"x\"")));
    }
    let told = fields(json!({"status": {"S": "a"}, "item.status": {"S": "b"}}));
    let expected = r#""item.item.status":"b","item.status":"a""#;
    assert_eq!(told.as_deref(), Ok(expected));
}

#[test]
fn a_field_is_found_by_its_name() {
    let told = fields(json!({"rules": {"S": "v2"}, "n": {"N": "1"}, "x": {"S": "item.rules"}}));
    let told = told.expect("fields");
    assert_eq!(field_text(&told, "item.rules").as_deref(), Some("v2"));
    for name in ["n", "rules", "y", ""] {
        assert_eq!(field_text(&told, name), None, "{name}");
    }
}

#[test]
fn other_documents_are_rejected() {
    let t = template(KeyType::S);
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
    assert_eq!(empty, Ok(PlainResponse::default()));
}

#[test]
fn a_response_names_the_requested_table_once() {
    let t = template(KeyType::S);
    crate::dynamodb::batch_get::table_name::tests::assert_named(|body, asked| {
        let answer = t.parse_response(body.as_bytes(), asked)?;
        Ok((answer.items.len(), answer.unprocessed.len()))
    });
}

#[test]
fn an_item_with_another_sort_key_is_rejected() {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: Some(KeyAttribute {
            name: "set".into(),
            kind: KeyType::N,
        }),
        index_keys: vec![],
    };
    let sort = ["set:N=7".parse().expect("an attribute")];
    let t = ItemJsonTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &sort).expect("fits");
    let read = |item: Value| {
        let answer = json!({"Responses": {"t": [item]}}).to_string();
        t.parse_response(answer.as_bytes(), 1)
            .map(|a| a.items.len())
    };
    assert_eq!(
        read(json!({"md5": {"S": text(1)}, "set": {"N": "7.0"}})),
        Ok(1)
    );
    for item in [
        json!({"md5": {"S": text(1)}, "set": {"N": "8"}}),
        json!({"md5": {"S": text(1)}}),
    ] {
        let error = read(item.clone()).expect_err("another item");
        assert!(error.contains("sort key"), "{item}: {error}");
    }
}

#[test]
fn equal_items_give_equal_bytes_in_any_order() {
    let key = format!(r#""md5":{{"S":"{}"}}"#, text(1));
    let told = |attributes: &str| {
        let body = format!(r#"{{"Responses":{{"t":[{{{key}{attributes}}}]}}}}"#);
        let answer = template(KeyType::S).parse_response(body.as_bytes(), 1);
        answer.map(|answer| answer.items[0].fields.clone())
    };
    let one = told(
        r#","z":{"M":{"b":{"SS":["y","x"]},"a":{"L":[{"S":"2"},{"S":"1"}]}}},"n":{"NS":["10","9"]},"status":{"S":"q"}"#,
    );
    let other = told(
        r#","status":{"S":"q"},"n":{"NS":["9","10"]},"z":{"M":{"a":{"L":[{"S":"2"},{"S":"1"}]},"b":{"SS":["x","y"]}}}"#,
    );
    assert_eq!(one, other);
    let expected = r#""item.status":"q","n":[9,10],"z":{"a":["2","1"],"b":["x","y"]}"#;
    assert_eq!(one.as_deref(), Ok(expected));
    for twice in [
        r#","a":{"S":"1"},"a":{"S":"2"}"#,
        r#","m":{"M":{"a":{"S":"1"},"a":{"S":"1"}}}"#,
    ] {
        assert!(told(twice).is_err_and(|e| e.contains("twice")), "{twice}");
    }
    assert!(told(&format!(",{key}")).is_err_and(|e| e.contains("twice")));
}

fn some_answer() -> impl Strategy<Value = Vec<u8>> {
    (hostile::json(), hostile::json()).prop_map(|(more, value)| {
        json!({
            "Responses": {"t": [{"md5": {"S": text(1)}, "a": {"S": "x"}, "b": {"L": [value]}}]},
            "UnprocessedKeys": {"t": {"Keys": [{"md5": {"S": text(2)}}], "More": more}},
        })
        .to_string()
        .into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any body is parsed or rejected, and the fields are JSON.
    #[test]
    fn no_body_breaks_the_parser(body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        hostile::json().prop_map(|json| json.to_string().into_bytes()),
        some_answer(),
        hostile::mutated(some_answer()),
    ]) {
        for kind in [KeyType::S, KeyType::B] {
            if let Ok(answer) = template(kind).parse_response(&body, 2) {
                for item in answer.items {
                    let json = format!("{{{}}}", item.fields);
                    prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok(), "{json}");
                }
            }
        }
    }
}

#[test]
fn a_deeply_nested_response_has_no_items() {
    let t = template(KeyType::S);
    for body in hostile::deep("Responses", r#"{"t":[{"source":"#) {
        let items = t.parse_response(body.as_bytes(), 1).map(|a| a.items);
        assert!(items.as_ref().map_or(true, Vec::is_empty), "{items:?}");
    }
}
