//! JSON in one form only: members of an object ordered by name, control characters escaped.
//!
//! DynamoDB returns attributes in an order that changes from response to response. This
//! form depends on the values alone, so two equal look-ups give equal bytes.

use crate::base::printable;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

/// Maximum levels of objects and lists to order; deeper ones keep their form. Each level
/// is parsed once for every level above it.
const MAX_SORTED_DEPTH: usize = 32;

/// Appends `text` as JSON.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let begun = out.len();
    // Cannot fail: every text has a JSON form, and a vector accepts it.
    let _ = serde_json::to_writer(&mut *out, text);
    // JSON escapes every ASCII control character except DEL.
    if text.is_ascii() && memchr::memchr(0x7F, text.as_bytes()).is_none() {
        return;
    }
    escape_controls(out, begun);
}

/// Replaces hidden characters in the JSON from `begun` on by `\u` escapes.
fn escape_controls(out: &mut Vec<u8>, begun: usize) {
    let json = String::from_utf8_lossy(&out[begun..]).into_owned();
    if let Cow::Owned(escaped) = printable::escape_json(&json) {
        out.truncate(begun);
        out.extend_from_slice(escaped.as_bytes());
    }
}

/// Members of one object, ordered by name at the end. It writes no braces.
#[derive(Debug)]
pub(crate) struct MemberSorter {
    /// Offsets of each member and of the end of its name.
    spans: Vec<(usize, usize)>,
    start: usize,
    is_sorted: bool,
}

impl MemberSorter {
    /// Creates a sorter of the members that follow in `out`.
    pub(crate) fn new(out: &[u8]) -> MemberSorter {
        MemberSorter {
            spans: Vec::new(),
            start: out.len(),
            is_sorted: true,
        }
    }

    /// Starts the member `name`. The caller appends its value.
    pub(crate) fn start_member(&mut self, name: &str, out: &mut Vec<u8>) {
        if !self.spans.is_empty() {
            out.push(b',');
        }
        let at = out.len();
        write_string(out, name);
        if let Some(before) = self.spans.last() {
            self.is_sorted &= member_name(out, *before) < member_name(out, (at, out.len()));
        }
        self.spans.push((at, out.len()));
        out.push(b':');
    }

    /// Orders the members by name.
    ///
    /// # Errors
    /// If two members have the same name.
    pub(crate) fn finish(self, out: &mut Vec<u8>) -> Result<(), String> {
        let MemberSorter {
            spans: mut each,
            start: begun,
            ..
        } = self;
        if self.is_sorted {
            return Ok(());
        }
        // Each member ends before the comma, if there is one.
        let starts = each.iter().skip(1).map(|(at, _)| at - 1);
        let ends: Vec<usize> = starts.chain([out.len()]).collect();
        let mut each: Vec<_> = each.drain(..).zip(ends).collect();
        each.sort_unstable_by(|(a, _), (b, _)| member_name(out, *a).cmp(member_name(out, *b)));
        let twice = |pair: &&[((usize, usize), usize)]| {
            member_name(out, pair[0].0) == member_name(out, pair[1].0)
        };
        if let Some(pair) = each.windows(2).find(twice) {
            let name = String::from_utf8_lossy(member_name(out, pair[0].0)).into_owned();
            return Err(format!("an object has the name \"{name}\" twice"));
        }
        let mut ordered = Vec::with_capacity(out.len() - begun);
        for ((at, _), end) in each {
            if !ordered.is_empty() {
                ordered.push(b',');
            }
            ordered.extend_from_slice(&out[at..end]);
        }
        out.truncate(begun);
        out.append(&mut ordered);
        Ok(())
    }
}

/// The JSON of a member's name, without its quotes.
fn member_name(out: &[u8], (at, end): (usize, usize)) -> &[u8] {
    out.get(at + 1..end - 1).unwrap_or_default()
}

/// A JSON object with unparsed values. Of two members with the same name, the first
/// counts.
#[derive(Debug)]
pub(crate) struct Object<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Parses `body`; `None` if it is not a JSON object.
    pub(crate) fn parse(body: &'a [u8]) -> Option<Object<'a>> {
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
        // A raw value is not checked for UTF-8, so check it here.
        let text = std::str::from_utf8(body).ok()?;
        let mut json = serde_json::Deserializer::from_str(text);
        let object = json.deserialize_map(Fields).ok()?;
        json.end().ok()?;
        Some(object)
    }

    /// The value of the member `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| *value)
    }

    /// The text of the member `name`; `None` if it is missing or not a text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }
}

/// Appends the value `json` on one line, each object ordered by name.
pub(crate) fn write_value(json: &str, out: &mut Vec<u8>) {
    write_nested(json, MAX_SORTED_DEPTH, out);
}

fn write_nested(json: &str, levels: usize, out: &mut Vec<u8>) {
    let first = json.trim_ascii_start().as_bytes().first();
    match (first, levels.checked_sub(1)) {
        (Some(b'{'), Some(levels)) => {
            let Some(object) = Object::parse(json.as_bytes()) else {
                return write_compact(json, out);
            };
            out.push(b'{');
            let mut members = MemberSorter::new(out);
            for (name, value) in &object.0 {
                members.start_member(name, out);
                write_nested(value.get(), levels, out);
            }
            // Cannot fail: a parsed object has distinct names.
            let _ = members.finish(out);
            out.push(b'}');
        }
        (Some(b'['), Some(levels)) => {
            let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(json) else {
                return write_compact(json, out);
            };
            out.push(b'[');
            for (i, value) in list.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_nested(value.get(), levels, out);
            }
            out.push(b']');
        }
        _ => write_compact(json, out),
    }
}

/// Appends JSON without the white space between its tokens: an answer is one line.
fn write_compact(json: &str, out: &mut Vec<u8>) {
    let begun = out.len();
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
    if out[begun..].iter().all(|byte| (b' '..0x7F).contains(byte)) {
        return;
    }
    escape_controls(out, begun);
}

/// Order of the numbers of a set: by value, then by digits.
pub(crate) fn compare_numbers(a: &str, b: &str) -> Ordering {
    let value = |text: &str| text.parse().unwrap_or(f64::INFINITY);
    value(a).total_cmp(&value(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn ordered(json: &str) -> String {
        let mut out = Vec::new();
        write_value(json, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn order_and_white_space_of_an_object_make_no_difference() {
        let expected = r#"{"a":[{"x":1.50e400,"y":null},"c \" d"],"b":{"c":1,"d":2}}"#;
        for json in [
            expected,
            r#"{"b":{"d":2,"c":1},"a":[{"y":null,"x":1.50e400},"c \" d"]}"#,
            "{\n \"b\" : {\"d\":2, \"c\":1},\r\n\t\"a\":[ {\"y\":null,\"x\":1.50e400}, \"c \\\" d\"] }",
        ] {
            assert_eq!(ordered(json), expected);
        }
        assert_eq!(ordered(r#"{"x":1,"x":2}"#), r#"{"x":1}"#);
        // Deeper than the maximum: on one line, in its own order.
        let deep = format!("{}{{\"b\":1,\"a\":2}}{}", "[".repeat(40), "]".repeat(40));
        assert_eq!(ordered(&deep), deep);
    }

    #[test]
    fn a_duplicate_name_is_an_error() {
        for names in [["a", "a"], ["b", "a"]] {
            let mut out = b"{".to_vec();
            let mut members = MemberSorter::new(&out);
            for name in names {
                members.start_member(name, &mut out);
                out.push(b'1');
            }
            let finished = members.finish(&mut out);
            match names {
                ["a", "a"] => assert!(finished.is_err_and(|e| e.contains("twice"))),
                _ => assert_eq!(out, br#"{"a":1,"b":1"#),
            }
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for text in [
            "\u{1b}[2J",
            "a\u{9b}2Jb",
            "\u{7f}",
            "\u{202e}cod.exe",
            "\u{e0041}",
            "é漢\u{200d}",
        ] {
            let mut out = Vec::new();
            write_string(&mut out, text);
            let raw = serde_json::to_string(text).expect("JSON");
            for json in [String::from_utf8(out).expect("text"), ordered(&raw)] {
                assert!(!json.contains(printable::is_hidden), "{json:?}");
                assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), text);
            }
        }
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let mut set = ["10", "9", "-1", "1E+2", "x", "0.5"];
        set.sort_by(|a, b| compare_numbers(a, b));
        assert_eq!(set, ["-1", "0.5", "9", "10", "1E+2", "x"]);
    }

    proptest! {
        /// Ordering keeps the value, and ordering again changes nothing.
        #[test]
        fn ordering_keeps_the_value(json in crate::dynamodb::item::hostile::json()) {
            let pretty = serde_json::to_string_pretty(&json).expect("JSON");
            let once = ordered(&pretty);
            let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
            prop_assert_eq!(value(&once), value(&pretty));
            prop_assert_eq!(ordered(&once), once);
        }
    }
}
