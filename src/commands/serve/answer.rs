//! Answers as JSON, built from queries and results.

use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::RejectReason;
use crate::commands::serve::pending::{Found, ReadError};
use crate::dynamodb::batch_get::ordered_json::write_string;
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::Normalizer;

/// Maximum length of a path: 64 KiB. No operating system has longer ones.
const MAX_PATH_BYTES: usize = 64 * 1024;

/// A hash or path to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// The input as received.
    pub(super) input: String,
    /// The normalised path; `None` for a hash.
    pub(super) normalized_path: Option<String>,
    /// The hash to look up, or the reason why the input is invalid.
    pub(super) hash: Result<Hash, String>,
}

impl Query {
    /// Parses a hash of `algorithm`. Surrounding white space is ignored.
    pub(super) fn from_hash(algorithm: Algorithm, input: String) -> Query {
        let text = input.trim();
        let digits = algorithm.bytes() * 2;
        let wrong =
            |reason: RejectReason| format!("{reason} ({algorithm}: {digits} hexadecimal digits)");
        let hash = match text.len() == digits {
            false => Err(wrong(RejectReason::Length)),
            true => Hash::from_hex(text.as_bytes()).ok_or_else(|| wrong(RejectReason::Hex)),
        };
        Query {
            normalized_path: None,
            hash,
            input,
        }
    }

    /// Normalises a path and hashes it.
    pub(super) fn from_path(normalizer: &Normalizer, input: String) -> Query {
        if input.len() > MAX_PATH_BYTES {
            return Query {
                normalized_path: None,
                hash: Err("is longer than 64 KiB".to_owned()),
                input,
            };
        }
        let mut normalized = Vec::with_capacity(input.len());
        let fit = normalizer.normalize(input.as_bytes(), &mut normalized);
        let hash = fit.map(|()| normalizer::hash(&normalized));
        Query {
            // Normalisation of valid UTF-8 stays valid UTF-8.
            normalized_path: (hash.is_ok())
                .then(|| String::from_utf8_lossy(&normalized).into_owned()),
            hash: hash.map_err(|unfit| unfit.to_string()),
            input,
        }
    }
}

/// Status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Known,
    Unknown,
    Invalid,
    Error,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Status::Known => "known",
            Status::Unknown => "unknown",
            Status::Invalid => "invalid",
            Status::Error => "error",
        }
    }

    /// The HTTP status of a response to a single look-up.
    pub(super) fn http(self) -> u16 {
        match self {
            Status::Known => 200,
            Status::Unknown => 404,
            Status::Invalid => 400,
            Status::Error => 503,
        }
    }
}

/// Appends the answer to `asked` to `out`. `found` is the result for its hash; `None` counts
/// as a timeout. `rules` is the name of the path rules.
pub(super) fn write_answer(
    asked: &Query,
    rules: &str,
    found: Option<&Found>,
    out: &mut Vec<u8>,
) -> Status {
    let mut field = |name: &str, value: &str| {
        out.push(if name == "input" { b'{' } else { b',' });
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        write_string(out, value);
    };
    field("input", &asked.input);
    if let Some(normalized) = &asked.normalized_path {
        field("normalized", normalized);
        field("rules", rules);
    }
    let late = Found::Error(ReadError::Late);
    let status = match &asked.hash {
        Err(reason) => {
            out.extend_from_slice(b",\"hash\":null,\"status\":\"invalid\"");
            out.extend_from_slice(b",\"reason\":");
            write_string(out, reason);
            Status::Invalid
        }
        Ok(hash) => {
            field("hash", &hash.to_hex(Case::Upper));
            match found.unwrap_or(&late) {
                Found::Known(fields) => {
                    field("status", "known");
                    if !fields.is_empty() {
                        out.push(b',');
                        out.extend_from_slice(fields.as_bytes());
                    }
                    Status::Known
                }
                Found::Unknown => {
                    field("status", "unknown");
                    Status::Unknown
                }
                Found::Error(trouble) => {
                    field("status", "error");
                    field("error", &trouble.to_string());
                    Status::Error
                }
            }
        }
    };
    out.push(b'}');
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn json(asked: &Query, found: Option<&Found>) -> (Value, Status) {
        let mut out = Vec::new();
        let status = write_answer(asked, "v2", found, &mut out);
        (serde_json::from_slice(&out).expect("JSON"), status)
    }

    #[test]
    fn each_status_has_its_fields() {
        let hex = "ab".repeat(32);
        let asked = Query::from_hash(Algorithm::Sha256, format!(" {hex}\t"));
        let upper = hex.to_uppercase();
        for (found, expected, status) in [
            (
                Some(Found::Known("\"source\":\"NSRL\"".into())),
                format!(
                    r#"{{"input":" {hex}\t","hash":"{upper}","status":"known","source":"NSRL"}}"#
                ),
                Status::Known,
            ),
            (
                Some(Found::Known("".into())),
                format!(r#"{{"input":" {hex}\t","hash":"{upper}","status":"known"}}"#),
                Status::Known,
            ),
            (
                Some(Found::Unknown),
                format!(r#"{{"input":" {hex}\t","hash":"{upper}","status":"unknown"}}"#),
                Status::Unknown,
            ),
            (
                None,
                format!(
                    r#"{{"input":" {hex}\t","hash":"{upper}","status":"error","error":"{}"}}"#,
                    ReadError::Late
                ),
                Status::Error,
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(write_answer(&asked, "v2", found.as_ref(), &mut out), status);
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
    }

    #[test]
    fn an_invalid_hash_has_a_reason_and_a_path_has_its_rules() {
        for (text, why) in [
            ("", "as long as"),
            ("\"\u{0}", "as long as"),
            (&"g".repeat(64), "not hexadecimal"),
        ] {
            let asked = Query::from_hash(Algorithm::Sha256, text.to_owned());
            let (json, status) = json(&asked, None);
            assert_eq!(
                (json["input"].as_str(), status),
                (Some(text), Status::Invalid)
            );
            assert_eq!(
                (&json["hash"], &json["status"]),
                (&Value::Null, &"invalid".into())
            );
            assert!(
                json["reason"].as_str().is_some_and(|r| r.contains(why)),
                "{json}"
            );
        }
        let path = |p: &str| Query::from_path(&Normalizer::default(), p.to_owned());
        let (json_of, _) = json(&path("/home/al \"ice/x"), Some(&Found::Unknown));
        assert_eq!(json_of["normalized"], "/home/ubuntu/x");
        assert_eq!(json_of["rules"], "v2");
        assert_eq!(
            json_of["hash"],
            normalizer::hash(b"/home/ubuntu/x").to_hex(Case::Upper)
        );
        let long = |n: usize| path(&format!("/{}", "x".repeat(n - 1)));
        assert!(long(MAX_PATH_BYTES).hash.is_ok());
        let (_, status) = json(&long(MAX_PATH_BYTES + 1), None);
        assert_eq!(status, Status::Invalid);
        let (json_of, status) = json(&path("a\0b"), None);
        assert_eq!(
            (json_of["reason"].as_str(), status),
            (Some("holds a NUL byte"), Status::Invalid)
        );
        assert!(json_of.get("normalized").is_none());
    }
}
