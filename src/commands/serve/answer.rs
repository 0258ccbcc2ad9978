//! What was asked and what was found → the JSON of it.

use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Reason;
use crate::commands::serve::pending::{Found, Trouble};
use crate::dynamodb::batch_get::ordered_json::put;
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::Normalizer;

/// The longest path, in bytes. No system has longer ones.
const MAX_PATH: usize = 64 * 1024;

/// One hash or path that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// As it came.
    pub(super) input: String,
    /// The path made comparable; nothing for a hash.
    pub(super) path: Option<String>,
    /// What to look for, or why it is none.
    pub(super) hash: Result<Hash, String>,
}

impl Asked {
    /// A hash of `algorithm` as text. Blanks around it are no part of it.
    pub(super) fn hash(algorithm: Algorithm, input: String) -> Asked {
        let text = input.trim();
        let digits = algorithm.bytes() * 2;
        let wrong = |reason: Reason| format!("{reason} ({algorithm}: {digits} hexadecimal digits)");
        let hash = match text.len() == digits {
            false => Err(wrong(Reason::Length)),
            true => Hash::from_hex(text.as_bytes()).ok_or_else(|| wrong(Reason::Hex)),
        };
        Asked {
            path: None,
            hash,
            input,
        }
    }

    /// A path.
    pub(super) fn path(normalizer: &Normalizer, input: String) -> Asked {
        if input.len() > MAX_PATH {
            return Asked {
                path: None,
                hash: Err("is longer than 64 KiB".to_owned()),
                input,
            };
        }
        let mut normalized = Vec::with_capacity(input.len());
        let fit = normalizer.normalize(input.as_bytes(), &mut normalized);
        let hash = fit.map(|()| normalizer::hash(&normalized));
        Asked {
            // Pieces of text are text.
            path: (hash.is_ok()).then(|| String::from_utf8_lossy(&normalized).into_owned()),
            hash: hash.map_err(|unfit| unfit.to_string()),
            input,
        }
    }
}

/// What becomes of it.
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

    /// The HTTP status of an answer to this alone.
    pub(super) fn http(self) -> u16 {
        match self {
            Status::Known => 200,
            Status::Unknown => 404,
            Status::Invalid => 400,
            Status::Error => 503,
        }
    }
}

/// Appends the answer to `asked` to `out`; `found` is what the table says of its hash,
/// and `rules` the name of the rules that paths go by.
pub(super) fn write(
    asked: &Asked,
    rules: &str,
    found: Option<&Found>,
    out: &mut Vec<u8>,
) -> Status {
    let mut field = |name: &str, value: &str| {
        out.push(if name == "input" { b'{' } else { b',' });
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        put(out, value);
    };
    field("input", &asked.input);
    if let Some(normalized) = &asked.path {
        field("normalized", normalized);
        field("rules", rules);
    }
    let late = Found::Error(Trouble::Late);
    let status = match &asked.hash {
        Err(reason) => {
            out.extend_from_slice(b",\"hash\":null,\"status\":\"invalid\"");
            out.extend_from_slice(b",\"reason\":");
            put(out, reason);
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

    fn json(asked: &Asked, found: Option<&Found>) -> (Value, Status) {
        let mut out = Vec::new();
        let status = write(asked, "v2", found, &mut out);
        (serde_json::from_slice(&out).expect("JSON"), status)
    }

    #[test]
    fn each_status_has_its_form() {
        let hex = "ab".repeat(32);
        let asked = Asked::hash(Algorithm::Sha256, format!(" {hex}\t"));
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
                    Trouble::Late
                ),
                Status::Error,
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(write(&asked, "v2", found.as_ref(), &mut out), status);
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
    }

    #[test]
    fn what_is_no_hash_says_why_and_a_path_says_by_which_rules() {
        for (text, why) in [
            ("", "as long as"),
            ("\"\u{0}", "as long as"),
            (&"g".repeat(64), "not hexadecimal"),
        ] {
            let asked = Asked::hash(Algorithm::Sha256, text.to_owned());
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
        let path = |p: &str| Asked::path(&Normalizer::default(), p.to_owned());
        let (json_of, _) = json(&path("/home/al \"ice/x"), Some(&Found::Unknown));
        assert_eq!(json_of["normalized"], "/home/ubuntu/x");
        assert_eq!(json_of["rules"], "v2");
        assert_eq!(
            json_of["hash"],
            normalizer::hash(b"/home/ubuntu/x").to_hex(Case::Upper)
        );
        let long = |n: usize| path(&format!("/{}", "x".repeat(n - 1)));
        assert!(long(MAX_PATH).hash.is_ok());
        let (_, status) = json(&long(MAX_PATH + 1), None);
        assert_eq!(status, Status::Invalid);
        let (json_of, status) = json(&path("a\0b"), None);
        assert_eq!(
            (json_of["reason"].as_str(), status),
            (Some("holds a NUL byte"), Status::Invalid)
        );
        assert!(json_of.get("normalized").is_none());
    }
}
