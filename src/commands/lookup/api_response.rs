//! Meaning of an API's response.
//!
//! A response counts only if it is clearly about the requested hash. Any server may respond
//! with 404 to any request, and many respond with 200.
//!
//! | status | body | meaning |
//! |---|---|---|
//! | 200, 404 | `status` of hashferry's API (`known`, `unknown`), with the hash | known, unknown |
//! | 200 | a JSON object with the hash in `hash` or in the algorithm's name, like CIRCL's `SHA-1` | known, with the other fields as the item |
//! | 404 | the same, or with the hash in `query`, like CIRCL | unknown |
//! | 200, 404 | a match of the user's patterns ([`DeclaredPatterns`]) | known, unknown |
//! | 200, 404 | anything else | an error: a wrong URL responds like this |
//! | 400 | | an error, with the server's message: it does not accept the hash |
//! | 401, 403 | | denied: the key is not valid, the run ends |
//! | 429 | | throttled: retry after `Retry-After` |
//! | 408, 425, 5xx, no response | | retry, a limited number of times |
//! | any other | | an error |

use crate::base::hash::{Algorithm, Hash, fold};
use crate::base::printable;
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::dynamodb::batch_get::ordered_json::{MemberSorter, Object, write_string, write_value};
use crate::dynamodb::batch_get::plain_json::{ANSWER_FIELDS, ITEM_PREFIX};
use jiff::Timestamp;
use std::time::Duration;

/// Maximum of `Retry-After`: longer than any run waits, and small enough to add to a clock.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(u32::MAX as u64);

/// Maximum number of characters shown of an API's message.
const MAX_SHOWN_CHARS: usize = 200;

/// Name of the field for a response that is not a JSON object.
const ANSWER_FIELD: &str = "answer";

/// Beginning of CIRCL's message for an unknown hash; the algorithm's name follows.
const CIRCL_UNKNOWN_PREFIX: &str = "Non existing ";

/// The user's patterns for responses that have no known shape.
#[derive(Debug, Clone, Default)]
pub(super) struct DeclaredPatterns {
    pub(super) known: Option<AnswerPattern>,
    pub(super) unknown: Option<AnswerPattern>,
}

/// Meaning of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParsedResponse {
    /// The hash is known; the fields of its item as JSON, without the braces of the object.
    Known(String),
    Unknown,
    Error(String),
    Retry {
        throttled: bool,
        why: String,
    },
    Denied(String),
}

impl ParsedResponse {
    /// Parses `status` and `body` of a response to `hash` of `algorithm`.
    pub(super) fn from_response(
        status: u16,
        body: &[u8],
        hash: &Hash,
        algorithm: Algorithm,
        shape: &DeclaredPatterns,
    ) -> ParsedResponse {
        let object = Object::parse(body);
        let why = || describe(status, body, object.as_ref());
        match status {
            401 | 403 => return ParsedResponse::Denied(why()),
            408 | 425 | 429 | 500.. => {
                return ParsedResponse::Retry {
                    throttled: status == 429,
                    why: why(),
                };
            }
            200 | 404 => {}
            _ => return ParsedResponse::Error(why()),
        }
        if let Some(object) = &object
            && names_other_hash(object, status, hash)
        {
            return ParsedResponse::Error(format!(
                "status {status}: the response is about another hash"
            ));
        }
        let matches = |pattern: &Option<AnswerPattern>| pattern.as_ref().map(|p| p.matches(body));
        let declared_unknown = matches(&shape.unknown) == Some(true);
        let declared_known = status == 200 && matches(&shape.known) == Some(true);
        // A match of the other pattern takes precedence over a match of `any`.
        let is_any = shape.known.as_ref().is_some_and(AnswerPattern::is_any);
        match (
            declared_known && !(is_any && declared_unknown),
            declared_unknown,
        ) {
            (true, true) => {
                let response = why();
                return ParsedResponse::Error(format!(
                    "{response}: both --api-known and --api-unknown match it"
                ));
            }
            (true, false) => {
                return ParsedResponse::Known(match &object {
                    Some(object) => item_fields(object, hash),
                    None => answer_field(body),
                });
            }
            (false, true) => return ParsedResponse::Unknown,
            (false, false) => {}
        }
        match &object {
            Some(object) => parse_known_shape(status, body, object, hash, algorithm),
            None if status == 200 => ParsedResponse::Error(format!("{}: not a JSON object", why())),
            None => ParsedResponse::Error(format!(
                "{}; not a response of a look-up: check the URL",
                why()
            )),
        }
    }
}

/// Parses `object` by the known shapes. The status is 200 or 404.
fn parse_known_shape(
    status: u16,
    body: &[u8],
    object: &Object<'_>,
    hash: &Hash,
    algorithm: Algorithm,
) -> ParsedResponse {
    let why = || describe(status, body, Some(object));
    let is_known = match hashferry_status(object, hash).as_deref() {
        Some("error" | "invalid") => return ParsedResponse::Error(why()),
        Some("known") => Some(true),
        Some("unknown") => Some(false),
        _ => None,
    };
    // Some servers send status 200 with every response: then the body decides.
    match (status, is_known) {
        (200, Some(true)) => return ParsedResponse::Known(item_fields(object, hash)),
        (_, Some(false)) => return ParsedResponse::Unknown,
        (_, Some(true)) => {
            return ParsedResponse::Error(format!("{}: known, but with status {status}", why()));
        }
        (_, None) => {}
    }
    if let Some(other) = message_algorithm(object).filter(|other| *other != algorithm) {
        return ParsedResponse::Error(format!("{}: the response is about {other}", why()));
    }
    let is_about = has_hash(object, hash, algorithm);
    match status {
        200 if is_about && may_mean_unknown(object) => ParsedResponse::Error(format!(
            "{}: it is not clear whether the hash is known (give --api-known and --api-unknown)",
            why()
        )),
        200 if is_about => ParsedResponse::Known(item_fields(object, hash)),
        404 if is_about || names_hash(object, "query", hash) => ParsedResponse::Unknown,
        _ => ParsedResponse::Error(format!(
            "{}; it does not name the requested hash: check the URL",
            why()
        )),
    }
}

/// True if `body` has the `status` of hashferry's API, and `hash` is unknown. Only hashferry's
/// API sends this response.
pub(super) fn is_hashferry_unknown(body: &[u8], hash: &Hash) -> bool {
    let object = Object::parse(body);
    let status = object.and_then(|object| hashferry_status(&object, hash));
    status.as_deref() == Some("unknown")
}

/// Describes a response: its status, and its message or the beginning of its body.
pub(super) fn describe(status: u16, body: &[u8], object: Option<&Object<'_>>) -> String {
    let message = match object.and_then(error_message) {
        Some(message) => printable_text(message.as_bytes()),
        None => printable_text(body.trim_ascii()),
    };
    match message.is_empty() {
        true => format!("status {status}"),
        false => format!("status {status}: {message}"),
    }
}

/// Text of an API without characters that control a terminal.
fn printable_text(bytes: &[u8]) -> String {
    let text = crate::base::printable::printable_bytes(bytes, MAX_SHOWN_CHARS);
    text.replace(printable::is_hidden, "\u{FFFD}")
}

fn error_message(object: &Object<'_>) -> Option<String> {
    let names = ["error", "message", "detail", "reason", "title", "Message"];
    names.iter().find_map(|name| object.text(name))
}

/// The `status` of hashferry's API. `None` if `object` is not one of its responses to `hash`.
fn hashferry_status(object: &Object<'_>, hash: &Hash) -> Option<String> {
    let status = object.text("status")?;
    (status == "error" || names_hash(object, "hash", hash)).then_some(status)
}

/// True if the field `name` is the text of `hash`.
fn names_hash(object: &Object<'_>, name: &str, hash: &Hash) -> bool {
    object
        .text(name)
        .is_some_and(|text| is_same_hash(&text, hash))
}

/// True if `object` has the hash, in `hash` or in the name of its algorithm.
fn has_hash(object: &Object<'_>, hash: &Hash, algorithm: Algorithm) -> bool {
    let is_its_name = |name: &str| match Algorithm::from_name(name) {
        Some(named) => named == algorithm,
        None => name.eq_ignore_ascii_case("hash"),
    };
    let mut names = object.0.iter().map(|(name, _)| name.as_str());
    names.any(|name| is_its_name(name) && names_hash(object, name, hash))
}

/// True if `object` names another hash of the same length. The field `query` counts only with
/// status 404, where it repeats the request.
fn names_other_hash(object: &Object<'_>, status: u16, hash: &Hash) -> bool {
    let is_another = |name: &str| {
        let named = object.text(name);
        let named = named.and_then(|text| Hash::from_hex(text.as_bytes()));
        named.is_some_and(|n| n.as_bytes().len() == hash.as_bytes().len() && n != *hash)
    };
    is_another("hash") || (status == 404 && is_another("query"))
}

/// The algorithm in CIRCL's message for an unknown hash: `Non existing SHA-1`.
fn message_algorithm(object: &Object<'_>) -> Option<Algorithm> {
    let message = object.text("message")?;
    Algorithm::from_name(message.strip_prefix(CIRCL_UNKNOWN_PREFIX)?)
}

/// Values of a status that mean an unknown hash or a failure.
const NEGATIVE_STATUSES: [&str; 11] = [
    "notfound", "unknown", "missing", "absent", "none", "nomatch", "error", "failed", "failure",
    "fail", "invalid",
];

/// True if a response with status 200 that names the hash may mean that it is unknown.
fn may_mean_unknown(object: &Object<'_>) -> bool {
    let is_one_of = |name: &str, values: &[&str]| {
        let value = object.get(name);
        value.is_some_and(|v| values.contains(&v.get()))
    };
    let failed = object.get("error").is_some()
        && !is_one_of("error", &["null", "false", "\"\"", "[]", "{}"]);
    let status = fold(&object.text("status").unwrap_or_default());
    let names = ["found", "known", "exists", "present", "match", "success"];
    failed
        || NEGATIVE_STATUSES.contains(&status.as_str())
        || (names.iter()).any(|name| is_one_of(name, &["false", "0", "\"false\"", "\"no\""]))
}

/// The fields of the item, sorted by name, without the hash itself. Fields with a name that
/// hashferry's answers use get a prefix.
fn item_fields(object: &Object<'_>, hash: &Hash) -> String {
    let is_hashferry = hashferry_status(object, hash).is_some();
    let mut out = Vec::new();
    let mut members = MemberSorter::new(&out);
    for (name, value) in &object.0 {
        let is_key = name == "hash" || Algorithm::from_name(name).is_some();
        let is_the_hash = is_key
            && serde_json::from_str::<String>(value.get())
                .is_ok_and(|text| is_same_hash(&text, hash));
        if is_the_hash || (is_hashferry && ANSWER_FIELDS.contains(&name.as_str())) {
            continue;
        }
        let clashes = ANSWER_FIELDS.contains(&name.as_str())
            || (!is_hashferry && name.starts_with(ITEM_PREFIX));
        match clashes {
            true => members.start_member(&format!("{ITEM_PREFIX}{name}"), &mut out),
            false => members.start_member(name, &mut out),
        }
        write_value(value.get(), &mut out);
    }
    // Cannot fail: the names differ, because no other name has the prefix.
    let _ = members.finish(&mut out);
    // Cannot fail: the output consists of parts of UTF-8 text.
    String::from_utf8(out).unwrap_or_default()
}

/// The field for a response that is not a JSON object: its JSON value, or else its text.
fn answer_field(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let json = serde_json::from_str::<&serde_json::value::RawValue>(text);
    let mut out = Vec::new();
    let mut members = MemberSorter::new(&out);
    members.start_member(ANSWER_FIELD, &mut out);
    match json {
        Ok(json) => write_value(json.get(), &mut out),
        Err(_) => write_string(&mut out, text),
    }
    String::from_utf8(out).unwrap_or_default()
}

fn is_same_hash(text: &str, hash: &Hash) -> bool {
    Hash::from_hex(text.as_bytes()).as_ref() == Some(hash)
}

/// Parses `Retry-After`: seconds, or a date. `None` if it is neither.
/// Source: RFC 9110, 10.2.3.
pub(super) fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests;
