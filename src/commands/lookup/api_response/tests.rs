//! Responses of APIs, and their meanings.

use super::*;
use proptest::prelude::*;

const HEX: &str = "92E792C43C35E96FED3F9566083326FC";

fn hash() -> Hash {
    Hash::from_hex(HEX.as_bytes()).expect("hex")
}

fn parse(status: u16, body: &str) -> ParsedResponse {
    let shape = DeclaredPatterns::default();
    ParsedResponse::from_response(status, body.as_bytes(), &hash(), Algorithm::Md5, &shape)
}

fn known(fields: &str) -> ParsedResponse {
    ParsedResponse::Known(fields.to_owned())
}

#[test]
fn an_object_that_names_the_hash_is_an_item_with_sorted_fields() {
    let lower = HEX.to_lowercase();
    for (body, fields) in [
        (format!("{{\"hash\":\"{HEX}\"}}"), ""),
        (
            format!(
                "{{\"source\": \"NSRL\",\r\n \"n\": 1.50e400, \"MD5\":\"{HEX}\", \"l\": [1,\n 2, {{\"a b\": \"c \\\" d\"}}]}}"
            ),
            "\"l\":[1,2,{\"a b\":\"c \\\" d\"}],\"n\":1.50e400,\"source\":\"NSRL\"",
        ),
        (
            format!("{{\"md5\":\"{lower}\",\"sha1\":\"AB\",\"x\":1,\"x\":2}}"),
            "\"sha1\":\"AB\",\"x\":1",
        ),
        // A response of hashferry's API.
        (
            format!("{{\"hash\":\"{HEX}\",\"status\":\"known\",\"item.rules\":\"v2\",\"a\":true}}"),
            "\"a\":true,\"item.rules\":\"v2\"",
        ),
        // An item of another API, with field names that hashferry's answers use.
        (
            format!("{{\"md5\":\"{HEX}\",\"status\":\"malicious\",\"error\":null,\"hash\":\"x\"}}"),
            "\"item.error\":null,\"item.hash\":\"x\",\"item.status\":\"malicious\"",
        ),
    ] {
        assert_eq!(parse(200, &body), known(fields), "{body}");
    }
}

#[test]
fn only_a_clear_response_about_the_hash_means_unknown() {
    for body in [
        format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}"),
        format!("{{\"message\":\"Non existing MD5\",\"query\":\"{HEX}\"}}"),
        format!("{{\"query\":\"{}\"}}", HEX.to_lowercase()),
        format!("{{\"md5\":\"{HEX}\",\"error\":\"not found\"}}"),
    ] {
        assert_eq!(parse(404, &body), ParsedResponse::Unknown, "{body}");
    }
    let own = format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}");
    assert_eq!(parse(200, &own), ParsedResponse::Unknown);
    let another = "F".repeat(32);
    for (status, body) in [
        (404, "<html>Not Found</html>"),
        (404, ""),
        (404, "[]"),
        (404, "{}"),
        (404, "\"unknown\""),
        // API Gateway, FastAPI, Spring, Kong.
        (404, "{\"message\":\"Not Found\"}"),
        (404, "{\"detail\":\"Not Found\"}"),
        (
            404,
            &format!(
                "{{\"timestamp\":\"2026-11-24T10:00:00Z\",\"status\":404,\"error\":\"Not Found\",\"path\":\"/v1/{HEX}\"}}"
            ),
        ),
        (
            404,
            &format!(
                "{{\"message\":\"no Route matched with those values\",\"request_id\":\"{HEX}\"}}"
            ),
        ),
        (404, "{\"status\":\"unknown\"}"),
        (404, "{\"status\":\"error\",\"error\":\"no such route\"}"),
        (404, &format!("{{\"hash\":\"{HEX}\",\"status\":\"known\"}}")),
        (
            404,
            &format!("{{\"hash\":\"{another}\",\"status\":\"unknown\"}}"),
        ),
        (
            404,
            &format!("{{\"message\":\"Non existing MD5\",\"query\":\"{another}\"}}"),
        ),
        // CIRCL, for another algorithm.
        (
            404,
            &format!("{{\"message\":\"Non existing SHA-1\",\"query\":\"{HEX}\"}}"),
        ),
        (200, "<html>log in</html>"),
        (200, "{}"),
        (200, "{\"login\":\"required\"}"),
        (200, "{\"source\":\"NSRL\"}"),
        (200, "{\"status\":\"error\",\"error\":\"x\"}"),
        (200, &format!("{{\"hash\":\"{HEX}\",\"found\":false}}")),
        (
            200,
            &format!("{{\"hash\":\"{HEX}\",\"error\":\"quota exceeded\"}}"),
        ),
        (
            200,
            &format!("{{\"hash\":\"{HEX}\",\"status\":\"not_found\"}}"),
        ),
        (200, &format!("{{\"query\":\"{HEX}\",\"results\":[]}}")),
        (200, &format!("{{\"sha1\":\"{HEX}\"}}")),
        (200, &format!("[{{\"hash\":\"{HEX}\"}}]")),
        (200, ""),
        (400, "{\"error\":\"not a hash\"}"),
        (204, ""),
        (302, ""),
        (410, "{}"),
    ] {
        assert!(
            matches!(parse(status, body), ParsedResponse::Error(_)),
            "{status} {body}"
        );
    }
    assert_eq!(
        parse(400, "{\"detail\":\"no\\nhash\\u202e\"}"),
        ParsedResponse::Error("status 400: no\u{FFFD}hash\u{FFFD}".into())
    );
    for status in [401, 403] {
        assert!(matches!(parse(status, "{}"), ParsedResponse::Denied(_)));
    }
    for (status, is) in [(429, true), (500, false), (503, false), (408, false)] {
        assert!(
            matches!(parse(status, ""), ParsedResponse::Retry { throttled, .. } if throttled == is)
        );
    }
}

#[test]
fn declared_patterns_decide_responses_of_unknown_shape() {
    let shape = |known: &str, unknown: &str| DeclaredPatterns {
        known: Some(known.parse().expect("a pattern")),
        unknown: Some(unknown.parse().expect("a pattern")),
    };
    let parse = |shape: &DeclaredPatterns, status, body: &str| {
        ParsedResponse::from_response(status, body.as_bytes(), &hash(), Algorithm::Md5, shape)
    };
    // An API with plain text responses.
    let plain = shape("any", "no such hash");
    assert_eq!(
        parse(&plain, 200, "NSRL 2026\n"),
        known("\"answer\":\"NSRL 2026\"")
    );
    assert_eq!(parse(&plain, 200, "[1, 2]"), known("\"answer\":[1,2]"));
    assert_eq!(
        parse(&plain, 404, "no such hash\n"),
        ParsedResponse::Unknown
    );
    assert_eq!(
        parse(&plain, 200, "no such hash\n"),
        ParsedResponse::Unknown
    );
    let found = shape(".found=true", ".found=false");
    let item = "{\"found\":true,\"b\":{\"d\":1,\"c\":2},\"a\":1}";
    let fields = "\"a\":1,\"b\":{\"c\":2,\"d\":1},\"found\":true";
    assert_eq!(parse(&found, 200, item), known(fields));
    assert_eq!(
        parse(&found, 200, "{\"found\":false}"),
        ParsedResponse::Unknown
    );
    assert_eq!(
        parse(&found, 404, "{\"found\":false}"),
        ParsedResponse::Unknown
    );
    let both = shape(".found", ".found");
    let another = format!("{{\"found\":true,\"hash\":\"{}\"}}", "F".repeat(32));
    for (shape, status, body) in [
        (&plain, 404, "<html>Not Found</html>"),
        (&plain, 404, "{\"message\":\"Not Found\"}"),
        (&plain, 200, "<html>log in</html>"),
        (&plain, 200, ""),
        (&found, 404, "{\"found\":true}"),
        (&found, 404, "{\"message\":\"Not Found\"}"),
        (&found, 200, "{\"login\":\"required\"}"),
        (&found, 200, &another),
        (&both, 200, "{\"found\":true}"),
    ] {
        assert!(
            matches!(parse(shape, status, body), ParsedResponse::Error(_)),
            "{status} {body}"
        );
    }
    // Known shapes still count.
    let own = format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}");
    assert_eq!(parse(&found, 404, &own), ParsedResponse::Unknown);
}

#[test]
fn field_order_does_not_change_the_answer() {
    let one =
        format!("{{\"md5\":\"{HEX}\",\"b\":{{\"d\":[{{\"y\":1,\"x\":2}}],\"c\":1}},\"a\":0}}");
    let other =
        format!("{{\"a\":0, \"b\":{{\"c\":1, \"d\":[{{\"x\":2, \"y\":1}}]}}, \"md5\":\"{HEX}\"}}");
    assert_eq!(parse(200, &one), parse(200, &other));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now: Timestamp = "2026-11-24T10:00:00Z".parse().expect("a time");
    for (text, seconds) in [
        ("7", Some(7)),
        (" 0 ", Some(0)),
        ("Tue, 24 Nov 2026 10:01:30 GMT", Some(90)),
        ("Tue, 24 Nov 2026 09:00:00 GMT", Some(0)),
        ("9999999999999999999", Some(u64::from(u32::MAX))),
        ("99999999999999999999", Some(u64::from(u32::MAX))),
        ("soon", None),
        ("-1", None),
        ("", None),
    ] {
        assert_eq!(
            parse_retry_after(text, now),
            seconds.map(Duration::from_secs),
            "{text:?}"
        );
    }
}

proptest! {
    /// Any response is either not known, or has fields that are JSON on one line.
    #[test]
    fn any_known_response_is_one_line_of_json(status in prop_oneof![Just(200u16), any::<u16>()], body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        crate::dynamodb::item::hostile::json().prop_map(|json| serde_json::to_vec_pretty(&json).expect("JSON")),
    ]) {
        let shape = DeclaredPatterns {
            known: Some("any".parse().expect("a pattern")),
            unknown: None,
        };
        if let ParsedResponse::Known(fields) = ParsedResponse::from_response(status, &body, &hash(), Algorithm::Md5, &shape) {
            prop_assert!(!fields.contains('\n'));
            let json: serde_json::Value = serde_json::from_str(&format!("{{{fields}}}")).expect("JSON");
            for name in ANSWER_FIELDS {
                prop_assert!(json.get(name).is_none());
            }
        }
    }
}
