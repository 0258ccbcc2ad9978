//! Answers of APIs, and what each means.

use super::*;
use proptest::prelude::*;

const HEX: &str = "92E792C43C35E96FED3F9566083326FC";

fn hash() -> Hash {
    Hash::from_hex(HEX.as_bytes()).expect("hex")
}

fn of(status: u16, body: &str) -> Verdict {
    let shape = Shape::default();
    Verdict::of(status, body.as_bytes(), &hash(), Algorithm::Md5, &shape)
}

fn known(fields: &str) -> Verdict {
    Verdict::Known(fields.to_owned())
}

#[test]
fn an_object_that_names_the_hash_is_an_item_and_its_fields_are_told_in_order() {
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
        // As our own server answers.
        (
            format!("{{\"hash\":\"{HEX}\",\"status\":\"known\",\"item.rules\":\"v2\",\"a\":true}}"),
            "\"a\":true,\"item.rules\":\"v2\"",
        ),
        // An item of others, which has fields of our names.
        (
            format!("{{\"md5\":\"{HEX}\",\"status\":\"malicious\",\"error\":null,\"hash\":\"x\"}}"),
            "\"item.error\":null,\"item.hash\":\"x\",\"item.status\":\"malicious\"",
        ),
    ] {
        assert_eq!(of(200, &body), known(fields), "{body}");
    }
}

#[test]
fn only_what_says_so_of_the_hash_is_unknown() {
    for body in [
        format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}"),
        format!("{{\"message\":\"Non existing MD5\",\"query\":\"{HEX}\"}}"),
        format!("{{\"query\":\"{}\"}}", HEX.to_lowercase()),
        format!("{{\"md5\":\"{HEX}\",\"error\":\"not found\"}}"),
    ] {
        assert_eq!(of(404, &body), Verdict::Unknown, "{body}");
    }
    let own = format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}");
    assert_eq!(of(200, &own), Verdict::Unknown);
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
        // CIRCL's, of another algorithm.
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
            matches!(of(status, body), Verdict::Error(_)),
            "{status} {body}"
        );
    }
    assert_eq!(
        of(400, "{\"detail\":\"no\\nhash\\u202e\"}"),
        Verdict::Error("status 400: no\u{FFFD}hash\u{FFFD}".into())
    );
    for status in [401, 403] {
        assert!(matches!(of(status, "{}"), Verdict::Refused(_)));
    }
    for (status, is) in [(429, true), (500, false), (503, false), (408, false)] {
        assert!(matches!(of(status, ""), Verdict::Again { throttled, .. } if throttled == is));
    }
}

#[test]
fn answers_of_another_shape_count_as_they_are_declared() {
    let shape = |known: &str, unknown: &str| Shape {
        known: Some(known.parse().expect("a pattern")),
        unknown: Some(unknown.parse().expect("a pattern")),
    };
    let of = |shape: &Shape, status, body: &str| {
        Verdict::of(status, body.as_bytes(), &hash(), Algorithm::Md5, shape)
    };
    // The plain API: one text for one hash.
    let plain = shape("any", "no such hash");
    assert_eq!(
        of(&plain, 200, "NSRL 2026\n"),
        known("\"answer\":\"NSRL 2026\"")
    );
    assert_eq!(of(&plain, 200, "[1, 2]"), known("\"answer\":[1,2]"));
    assert_eq!(of(&plain, 404, "no such hash\n"), Verdict::Unknown);
    assert_eq!(of(&plain, 200, "no such hash\n"), Verdict::Unknown);
    let found = shape(".found=true", ".found=false");
    let item = "{\"found\":true,\"b\":{\"d\":1,\"c\":2},\"a\":1}";
    let fields = "\"a\":1,\"b\":{\"c\":2,\"d\":1},\"found\":true";
    assert_eq!(of(&found, 200, item), known(fields));
    assert_eq!(of(&found, 200, "{\"found\":false}"), Verdict::Unknown);
    assert_eq!(of(&found, 404, "{\"found\":false}"), Verdict::Unknown);
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
            matches!(of(shape, status, body), Verdict::Error(_)),
            "{status} {body}"
        );
    }
    // Known shapes are known still.
    let own = format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}");
    assert_eq!(of(&found, 404, &own), Verdict::Unknown);
}

#[test]
fn two_answers_that_differ_in_their_order_alone_are_told_in_equal_bytes() {
    let one =
        format!("{{\"md5\":\"{HEX}\",\"b\":{{\"d\":[{{\"y\":1,\"x\":2}}],\"c\":1}},\"a\":0}}");
    let other =
        format!("{{\"a\":0, \"b\":{{\"c\":1, \"d\":[{{\"x\":2, \"y\":1}}]}}, \"md5\":\"{HEX}\"}}");
    assert_eq!(of(200, &one), of(200, &other));
}

#[test]
fn the_time_to_wait_is_seconds_or_a_date() {
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
            retry_after(text, now),
            seconds.map(Duration::from_secs),
            "{text:?}"
        );
    }
}

proptest! {
    /// Whatever is answered is told as JSON on one line, or not as known.
    #[test]
    fn whatever_is_answered(status in prop_oneof![Just(200u16), any::<u16>()], body in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        crate::dynamodb::item::hostile::json().prop_map(|json| serde_json::to_vec_pretty(&json).expect("JSON")),
    ]) {
        let shape = Shape {
            known: Some("any".parse().expect("a pattern")),
            unknown: None,
        };
        if let Verdict::Known(fields) = Verdict::of(status, &body, &hash(), Algorithm::Md5, &shape) {
            prop_assert!(!fields.contains('\n'));
            let json: serde_json::Value = serde_json::from_str(&format!("{{{fields}}}")).expect("JSON");
            for name in OWN_FIELDS {
                prop_assert!(json.get(name).is_none());
            }
        }
    }
}
