//! Pattern for the responses of an API: the user declares with it which responses mean known
//! or unknown.

use crate::base::error::{Error, Result};
use crate::dynamodb::batch_get::ordered_json::Object;
use serde_json::value::RawValue;
use std::fmt;
use std::str::FromStr;

/// A pattern that the response of an API must match.
///
/// Parsed from text:
///
/// - `.found=true` matches the JSON field `found` with that value;
/// - `.data.source` matches the field `source` in `data` with any value except null;
/// - `any` matches any text that is neither blank nor HTML;
/// - everything else is text that the response must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPattern(PatternKind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternKind {
    Any,
    Text(String),
    Field { path: String, value: Option<String> },
}

impl FromStr for AnswerPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let kind = match text.strip_prefix('.') {
            _ if text.trim().is_empty() => {
                return Err(
                    Error::usage("the pattern for an API's response is empty").with_hint(
                        "give a text that the response contains, or a field such as .found=true",
                    ),
                );
            }
            None if text == "any" => PatternKind::Any,
            None => PatternKind::Text(text.to_owned()),
            Some(field) => {
                let (path, value) = match field.split_once('=') {
                    Some((path, value)) => (path, Some(value.to_owned())),
                    None => (field, None),
                };
                if path.split('.').any(str::is_empty) {
                    let problem = format!("{text:?} names no field of a response");
                    return Err(Error::usage(problem)
                        .with_hint("give a field such as .found=true or .data.source"));
                }
                let path = path.to_owned();
                PatternKind::Field { path, value }
            }
        };
        Ok(AnswerPattern(kind))
    }
}

impl fmt::Display for AnswerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PatternKind::Any => f.write_str("any"),
            PatternKind::Text(text) => f.write_str(text),
            PatternKind::Field { path, value: None } => write!(f, ".{path}"),
            PatternKind::Field {
                path,
                value: Some(value),
            } => write!(f, ".{path}={value}"),
        }
    }
}

impl AnswerPattern {
    /// True if the pattern is `any`.
    pub(super) fn is_any(&self) -> bool {
        self.0 == PatternKind::Any
    }

    /// True if `body` matches.
    pub(super) fn matches(&self, body: &[u8]) -> bool {
        match &self.0 {
            PatternKind::Any => {
                let text = body.trim_ascii();
                // HTML is the page of a login or a proxy.
                !text.is_empty() && text[0] != b'<' && std::str::from_utf8(text).is_ok()
            }
            PatternKind::Text(text) => memchr::memmem::find(body, text.as_bytes()).is_some(),
            PatternKind::Field { path, value } => {
                let object = Object::parse(body);
                let found = object.as_ref().and_then(|o| find_field(o, path));
                match (found, value) {
                    (Some(found), Some(value)) => is_value(found, value),
                    (Some(found), None) => found.get() != "null",
                    (None, _) => false,
                }
            }
        }
    }
}

/// The field `path` of `object`: a field with this whole name, or a nested field.
fn find_field<'a>(object: &Object<'a>, path: &str) -> Option<&'a RawValue> {
    if let Some(found) = object.get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    let inner = Object::parse(object.get(first)?.get().as_bytes())?;
    find_field(&inner, rest)
}

/// True if the JSON value `found` equals `value`: as a text, or else as written in JSON.
fn is_value(found: &RawValue, value: &str) -> bool {
    match serde_json::from_str::<String>(found.get()) {
        Ok(text) => text == value,
        Err(_) => found.get() == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> AnswerPattern {
        text.parse().expect("a pattern")
    }

    #[test]
    fn a_pattern_matches_a_text_a_field_or_any_text() {
        for (text, body) in [
            ("not in any set", "sorry: not in any set\n"),
            (".found", r#"{"found":false}"#),
            (".found=false", r#"{"found":false}"#),
            (".n=0", r#"{"n":0}"#),
            (".status=no such hash", r#"{"status":"no such hash"}"#),
            (".data.source", r#"{"data":{"source":"NSRL"}}"#),
            (".data.source", r#"{"data.source":"NSRL"}"#),
            ("any", "NSRL"),
            ("any", " {}"),
        ] {
            assert!(pattern(text).matches(body.as_bytes()), "{text} {body}");
            assert_eq!(pattern(text).to_string(), text);
        }
        for (text, body) in [
            ("not in any set", "Not in any set"),
            (".found", r#"{"found":null}"#),
            (".found", "found"),
            (".found=false", r#"{"found":true}"#),
            (".found=false", r#"[{"found":false}]"#),
            (".data.source", r#"{"data":"source"}"#),
            ("any", ""),
            ("any", " \r\n"),
            ("any", "<!DOCTYPE html><form>log in</form>"),
        ] {
            assert!(!pattern(text).matches(body.as_bytes()), "{text} {body}");
        }
        for text in ["", " ", ".", ".=x", ".a..b"] {
            assert!(text.parse::<AnswerPattern>().is_err(), "{text:?}");
        }
    }
}
