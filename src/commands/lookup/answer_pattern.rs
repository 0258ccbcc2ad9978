//! The shape of an API's answers where it is not one that is known: what its answers to known
//! and to unknown hashes hold, as a person declares it.

use crate::base::error::{Error, Result};
use crate::dynamodb::batch_get::ordered_json::Object;
use serde_json::value::RawValue;
use std::fmt;
use std::str::FromStr;

/// What an answer of an API must hold, to count.
///
/// Read from text: `.found=true` is the JSON field `found` with that value, `.data.source`
/// the field `source` in `data` whatever it is, `any` is any text, and all else is the text
/// that the answer must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Any,
    Text(String),
    Field { path: String, value: Option<String> },
}

impl FromStr for AnswerPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let kind = match text.strip_prefix('.') {
            _ if text.trim().is_empty() => {
                return Err(Error::usage("the text of an answer is empty"));
            }
            None if text == "any" => Kind::Any,
            None => Kind::Text(text.to_owned()),
            Some(field) => {
                let (path, value) = match field.split_once('=') {
                    Some((path, value)) => (path, Some(value.to_owned())),
                    None => (field, None),
                };
                if path.split('.').any(str::is_empty) {
                    let what = format!("{text:?} names no field of an answer");
                    return Err(Error::usage(what).hint("give such as .found=true or .data.source"));
                }
                let path = path.to_owned();
                Kind::Field { path, value }
            }
        };
        Ok(AnswerPattern(kind))
    }
}

impl fmt::Display for AnswerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Any => f.write_str("any"),
            Kind::Text(text) => f.write_str(text),
            Kind::Field { path, value: None } => write!(f, ".{path}"),
            Kind::Field {
                path,
                value: Some(value),
            } => write!(f, ".{path}={value}"),
        }
    }
}

impl AnswerPattern {
    /// Whether it fits every answer.
    pub(super) fn is_any(&self) -> bool {
        self.0 == Kind::Any
    }

    /// Whether `body` holds it.
    pub(super) fn fits(&self, body: &[u8]) -> bool {
        match &self.0 {
            Kind::Any => {
                let text = body.trim_ascii();
                // A page: of a login, or of a proxy.
                !text.is_empty() && text[0] != b'<' && std::str::from_utf8(text).is_ok()
            }
            Kind::Text(text) => memchr::memmem::find(body, text.as_bytes()).is_some(),
            Kind::Field { path, value } => {
                let object = Object::read(body);
                let found = object.as_ref().and_then(|o| field(o, path));
                match (found, value) {
                    (Some(found), Some(value)) => is(found, value),
                    (Some(found), None) => found.get() != "null",
                    (None, _) => false,
                }
            }
        }
    }
}

/// The field `path` of `object`: of that name, or in the object that its first part names.
fn field<'a>(object: &Object<'a>, path: &str) -> Option<&'a RawValue> {
    if let Some(found) = object.get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    let inner = Object::read(object.get(first)?.get().as_bytes())?;
    field(&inner, rest)
}

/// Whether the JSON value `found` is `value`: a text, or a number or word as it is written.
fn is(found: &RawValue, value: &str) -> bool {
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
    fn a_pattern_is_a_text_a_field_or_any_text() {
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
            assert!(pattern(text).fits(body.as_bytes()), "{text} {body}");
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
            assert!(!pattern(text).fits(body.as_bytes()), "{text} {body}");
        }
        for text in ["", " ", ".", ".=x", ".a..b"] {
            assert!(text.parse::<AnswerPattern>().is_err(), "{text:?}");
        }
    }
}
