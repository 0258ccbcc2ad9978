//! What the answer of an API means.
//!
//! | status | body | means |
//! |---|---|---|
//! | 200 | a JSON object | known; its fields are the item's |
//! | 404 | a JSON object | unknown |
//! | 404 | anything else, or `"status":"error"` | an error: that is how a wrong address answers |
//! | 400 | | an error, with what it says: it takes the hash for none |
//! | 401, 403 | | the key is not valid: the run is over |
//! | 429 | | too many: later, when `Retry-After` says |
//! | 408, 425, 5xx, no answer | | again, some times |
//! | else | | an error |

use super::question::put;
use crate::algorithm::{Algorithm, Hash};
use crate::ask::whole::{ITEM_PREFIX, OWN_FIELDS};
use crate::record::shown;
use jiff::Timestamp;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

/// The longest time that `Retry-After` is taken for: no run waits so long, and a clock
/// can be set ahead by it.
const LONGEST_WAIT: Duration = Duration::from_secs(u32::MAX as u64);

/// How much of what an API says is shown.
const SHOWN_CHARACTERS: usize = 200;

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The fields of the item.
    Known(String),
    Unknown,
    Error(String),
    Again {
        throttled: bool,
        why: String,
    },
    Refused(String),
}

impl Verdict {
    /// What `status` and `body` mean, asked for `hash`.
    pub(super) fn of(status: u16, body: &[u8], hash: &Hash) -> Verdict {
        let object = Object::read(body);
        let why = |object: Option<&Object<'_>>| {
            let said = match object.and_then(Object::said) {
                Some(said) => shown(said.as_bytes(), SHOWN_CHARACTERS),
                None => shown(body.trim_ascii(), SHOWN_CHARACTERS),
            };
            match said.is_empty() {
                true => format!("status {status}"),
                false => format!("status {status}: {said}"),
            }
        };
        let told = object.as_ref().and_then(|o| o.own_status(hash));
        match (status, &object, told.as_deref()) {
            // One that answers everything by 200 means what it says.
            (200 | 404, Some(_), Some("error" | "invalid")) => Verdict::Error(why(object.as_ref())),
            (200, Some(object), _) if object.is_of_another(hash) => Verdict::Error(format!(
                "status {status}: it answers for another hash than it was asked for"
            )),
            (200, Some(_), Some("unknown")) => Verdict::Unknown,
            (200, Some(object), _) => Verdict::Known(object.fields(hash)),
            (200, None, _) => Verdict::Error(format!("{}: no JSON object", why(None))),
            (404, Some(_), _) => Verdict::Unknown,
            (404, None, _) => Verdict::Error(format!(
                "{}; not an answer of a look-up: is the URL right?",
                why(None)
            )),
            (401 | 403, object, _) => Verdict::Refused(why(object.as_ref())),
            (429, object, _) => Verdict::Again {
                throttled: true,
                why: why(object.as_ref()),
            },
            (408 | 425 | 500.., object, _) => Verdict::Again {
                throttled: false,
                why: why(object.as_ref()),
            },
            (_, object, _) => Verdict::Error(why(object.as_ref())),
        }
    }
}

/// A JSON object, whose fields are as they were written.
#[derive(Debug)]
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads it; nothing when `body` is none.
    fn read(body: &'a [u8]) -> Option<Object<'a>> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                let mut seen = HashSet::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if seen.insert(name.clone()) {
                        fields.push((name, value));
                    }
                }
                Ok(Object(fields))
            }
        }
        // A raw value is taken as it stands: that it is UTF-8 is seen to here.
        let text = std::str::from_utf8(body).ok()?;
        let mut json = serde_json::Deserializer::from_str(text);
        let object = json.deserialize_map(Fields).ok()?;
        json.end().ok()?;
        Some(object)
    }

    fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(n, _)| n == name)?;
        serde_json::from_str(value.get()).ok()
    }

    /// What it says of itself, where that is not good news.
    fn said(&self) -> Option<String> {
        let names = ["error", "message", "detail", "reason", "title", "Message"];
        names.iter().find_map(|name| self.text(name))
    }

    /// Its status, when it is an answer about `hash` or about no hash at all, and no item.
    fn own_status(&self, hash: &Hash) -> Option<String> {
        let status = self.text("status")?;
        let is_ours = match status.as_str() {
            "error" => true,
            _ => self.text("hash").is_some_and(|text| is_hash(&text, hash)),
        };
        is_ours.then_some(status)
    }

    /// Whether it names another hash than `hash`, of the same length.
    fn is_of_another(&self, hash: &Hash) -> bool {
        let named = self.text("hash");
        let named = named.and_then(|text| Hash::from_hex(text.as_bytes()));
        named.is_some_and(|n| n.as_bytes().len() == hash.as_bytes().len() && n != *hash)
    }

    /// The fields of the item: without what only repeats the question, and under other
    /// names where they are ours.
    fn fields(&self, hash: &Hash) -> String {
        let of_answer = self.own_status(hash).is_some();
        let mut out = Vec::new();
        for (name, value) in &self.0 {
            let is_key = name == "hash" || Algorithm::from_name(name).is_some();
            let repeats = is_key
                && serde_json::from_str::<String>(value.get())
                    .is_ok_and(|text| is_hash(&text, hash));
            if repeats || (of_answer && OWN_FIELDS.contains(&name.as_str())) {
                continue;
            }
            if !out.is_empty() {
                out.push(b',');
            }
            let clashes = OWN_FIELDS.contains(&name.as_str())
                || (!of_answer && name.starts_with(ITEM_PREFIX));
            match clashes {
                true => put(&mut out, &format!("{ITEM_PREFIX}{name}")),
                false => put(&mut out, name),
            }
            out.push(b':');
            compact(value.get(), &mut out);
        }
        // Text and blanks taken out of text.
        String::from_utf8(out).unwrap_or_default()
    }
}

fn is_hash(text: &str, hash: &Hash) -> bool {
    Hash::from_hex(text.as_bytes()).as_ref() == Some(hash)
}

/// Appends JSON without the blanks between its parts: an answer is one line.
fn compact(json: &str, out: &mut Vec<u8>) {
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
        } else if byte.is_ascii_whitespace() {
            continue;
        } else if byte == b'"' {
            in_text = true;
        }
        out.push(byte);
    }
}

/// How long `Retry-After` says to wait: seconds, or a date.
/// Source: RFC 9110, 10.2.3.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "92E792C43C35E96FED3F9566083326FC";

    fn of(status: u16, body: &str) -> Verdict {
        Verdict::of(
            status,
            body.as_bytes(),
            &Hash::from_hex(HEX.as_bytes()).expect("hex"),
        )
    }

    fn known(fields: &str) -> Verdict {
        Verdict::Known(fields.to_owned())
    }

    #[test]
    fn an_object_is_an_item_and_its_fields_are_told_as_they_are() {
        let lower = HEX.to_lowercase();
        for (body, fields) in [
            ("{}", ""),
            (
                "{\"source\": \"NSRL\",\r\n \"n\": 1.50e400, \"l\": [1,\n 2, {\"a b\": \"c \\\" d\"}]}",
                "\"source\":\"NSRL\",\"n\":1.50e400,\"l\":[1,2,{\"a b\":\"c \\\" d\"}]",
            ),
            (
                &format!("{{\"md5\":\"{lower}\",\"sha1\":\"AB\",\"x\":1,\"x\":2}}"),
                "\"sha1\":\"AB\",\"x\":1",
            ),
            // As our own server answers.
            (
                &format!(
                    "{{\"hash\":\"{HEX}\",\"status\":\"known\",\"item.rules\":\"v2\",\"a\":true}}"
                ),
                "\"item.rules\":\"v2\",\"a\":true",
            ),
            // An item of others, which has fields of our names.
            (
                "{\"status\":\"unknown\",\"error\":null,\"hash\":\"x\"}",
                "\"item.status\":\"unknown\",\"item.error\":null,\"item.hash\":\"x\"",
            ),
        ] {
            assert_eq!(of(200, body), known(fields), "{body}");
        }
    }

    #[test]
    fn only_what_says_so_is_unknown() {
        assert_eq!(of(404, "{\"message\":\"no such hash\"}"), Verdict::Unknown);
        let own = format!("{{\"hash\":\"{HEX}\",\"status\":\"unknown\"}}");
        assert_eq!(
            (of(404, &own), of(200, &own)),
            (Verdict::Unknown, Verdict::Unknown)
        );
        for (status, body) in [
            (404, "<html>Not Found</html>"),
            (404, ""),
            (404, "[]"),
            (404, "\"unknown\""),
            (404, "{\"status\":\"error\",\"error\":\"no such route\"}"),
            (200, "<html>log in</html>"),
            (200, "{\"status\":\"error\",\"error\":\"x\"}"),
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
            of(400, "{\"detail\":\"no\\nhash\"}"),
            Verdict::Error("status 400: no\u{FFFD}hash".into())
        );
        for status in [401, 403] {
            assert!(matches!(of(status, "{}"), Verdict::Refused(_)));
        }
        for (status, is) in [(429, true), (500, false), (503, false), (408, false)] {
            assert!(matches!(of(status, ""), Verdict::Again { throttled, .. } if throttled == is));
        }
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
            crate::item::hostile::json().prop_map(|json| serde_json::to_vec_pretty(&json).expect("JSON")),
        ]) {
            if let Verdict::Known(fields) = Verdict::of(status, &body, &Hash::from_hex(HEX.as_bytes()).expect("hex")) {
                prop_assert!(!fields.contains('\n'));
                let json: serde_json::Value = serde_json::from_str(&format!("{{{fields}}}")).expect("JSON");
                for name in OWN_FIELDS {
                    prop_assert!(json.get(name).is_none());
                }
            }
        }
    }
}
