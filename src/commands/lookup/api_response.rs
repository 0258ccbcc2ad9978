//! What the answer of an API means.
//!
//! An answer counts only if it is recognisably about the hash that was asked: any server
//! answers 404, and many answer 200, whatever they are asked.
//!
//! | status | body | means |
//! |---|---|---|
//! | 200, 404 | our own `status` (`known`, `unknown`), with the hash | that |
//! | 200 | a JSON object with the hash as `hash` or by its algorithm's name, as CIRCL's `SHA-1` | known; its fields are the item's |
//! | 404 | the same, or with the hash as `query`, as CIRCL's | unknown |
//! | 200, 404 | what a person declared ([`Shape`]) | known, unknown |
//! | 200, 404 | anything else | an error: that is how a wrong address answers |
//! | 400 | | an error, with what it says: it takes the hash for none |
//! | 401, 403 | | the key is not valid: the run is over |
//! | 429 | | too many: later, when `Retry-After` says |
//! | 408, 425, 5xx, no answer | | again, some times |
//! | else | | an error |

use crate::base::hash::{Algorithm, Hash, fold};
use crate::base::printable;
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::dynamodb::batch_get::ordered_json::{Members, Object, put, put_value};
use crate::dynamodb::batch_get::plain_json::{ITEM_PREFIX, OWN_FIELDS};
use jiff::Timestamp;
use std::time::Duration;

/// The longest time that `Retry-After` is taken for: no run waits so long, and a clock
/// can be set ahead by it.
const LONGEST_WAIT: Duration = Duration::from_secs(u32::MAX as u64);

/// How much of what an API says is shown.
const SHOWN_CHARACTERS: usize = 200;

/// The field of a known hash whose answer is no JSON object.
const ANSWER_FIELD: &str = "answer";

/// CIRCL's message for a hash that it does not know, before the algorithm's name.
const NON_EXISTING: &str = "Non existing ";

/// What is declared of answers that are of no known shape.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) known: Option<AnswerPattern>,
    pub(super) unknown: Option<AnswerPattern>,
}

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
    /// What `status` and `body` mean, asked for `hash`, which is of `algorithm`.
    pub(super) fn of(
        status: u16,
        body: &[u8],
        hash: &Hash,
        algorithm: Algorithm,
        shape: &Shape,
    ) -> Verdict {
        let object = Object::read(body);
        let why = || why(status, body, object.as_ref());
        match status {
            401 | 403 => return Verdict::Refused(why()),
            408 | 425 | 429 | 500.. => {
                return Verdict::Again {
                    throttled: status == 429,
                    why: why(),
                };
            }
            200 | 404 => {}
            _ => return Verdict::Error(why()),
        }
        if let Some(object) = &object
            && is_of_another(object, status, hash)
        {
            return Verdict::Error(format!(
                "status {status}: it answers for another hash than it was asked for"
            ));
        }
        let fits = |pattern: &Option<AnswerPattern>| pattern.as_ref().map(|p| p.fits(body));
        let declared_unknown = fits(&shape.unknown) == Some(true);
        let declared_known = status == 200 && fits(&shape.known) == Some(true);
        // What fits any text leaves the last word to the other.
        let is_any = shape.known.as_ref().is_some_and(AnswerPattern::is_any);
        match (
            declared_known && !(is_any && declared_unknown),
            declared_unknown,
        ) {
            (true, true) => {
                let why = why();
                return Verdict::Error(format!("{why}: both --api-known and --api-unknown fit it"));
            }
            (true, false) => {
                return Verdict::Known(match &object {
                    Some(object) => fields(object, hash),
                    None => answer_field(body),
                });
            }
            (false, true) => return Verdict::Unknown,
            (false, false) => {}
        }
        match &object {
            Some(object) => recognised(status, body, object, hash, algorithm),
            None if status == 200 => Verdict::Error(format!("{}: no JSON object", why())),
            None => Verdict::Error(format!(
                "{}; not an answer of a look-up: is the URL right?",
                why()
            )),
        }
    }
}

/// What `object` means by one of the known shapes; the status is 200 or 404.
fn recognised(
    status: u16,
    body: &[u8],
    object: &Object<'_>,
    hash: &Hash,
    algorithm: Algorithm,
) -> Verdict {
    let why = || why(status, body, Some(object));
    let is_known = match own_status(object, hash).as_deref() {
        Some("error" | "invalid") => return Verdict::Error(why()),
        Some("known") => Some(true),
        Some("unknown") => Some(false),
        _ => None,
    };
    // One that answers everything by 200 means what it says.
    match (status, is_known) {
        (200, Some(true)) => return Verdict::Known(fields(object, hash)),
        (_, Some(false)) => return Verdict::Unknown,
        (_, Some(true)) => {
            return Verdict::Error(format!("{}: it says known, by status {status}", why()));
        }
        (_, None) => {}
    }
    if let Some(other) = message_algorithm(object).filter(|other| *other != algorithm) {
        return Verdict::Error(format!("{}: it answers for {other}", why()));
    }
    let is_about = has_hash(object, hash, algorithm);
    match status {
        200 if is_about && says_no(object) => Verdict::Error(format!(
            "{}: it does not say clearly whether the hash is known (--api-known and --api-unknown say how it does)",
            why()
        )),
        200 if is_about => Verdict::Known(fields(object, hash)),
        404 if is_about || is_text(object, "query", hash) => Verdict::Unknown,
        _ => Verdict::Error(format!(
            "{}; it does not name the hash that was asked for: is the URL right?",
            why()
        )),
    }
}

/// Whether `body` says by our own `status` that `hash` is unknown: no other server does.
pub(super) fn is_own_unknown(body: &[u8], hash: &Hash) -> bool {
    let object = Object::read(body);
    let status = object.and_then(|object| own_status(&object, hash));
    status.as_deref() == Some("unknown")
}

/// The status, and what the answer says.
pub(super) fn why(status: u16, body: &[u8], object: Option<&Object<'_>>) -> String {
    let said = match object.and_then(said) {
        Some(said) => shown(said.as_bytes()),
        None => shown(body.trim_ascii()),
    };
    match said.is_empty() {
        true => format!("status {status}"),
        false => format!("status {status}: {said}"),
    }
}

/// What an API said, for a terminal: without characters that it would obey.
fn shown(bytes: &[u8]) -> String {
    let text = crate::base::printable::shown(bytes, SHOWN_CHARACTERS);
    text.replace(printable::is_hidden, "\u{FFFD}")
}

/// What `object` says of itself, where that is not good news.
fn said(object: &Object<'_>) -> Option<String> {
    let names = ["error", "message", "detail", "reason", "title", "Message"];
    names.iter().find_map(|name| object.text(name))
}

/// Our own status, when `object` is an answer about `hash` or about no hash at all, and no
/// item.
fn own_status(object: &Object<'_>, hash: &Hash) -> Option<String> {
    let status = object.text("status")?;
    (status == "error" || is_text(object, "hash", hash)).then_some(status)
}

/// Whether the field `name` is the text of `hash`.
fn is_text(object: &Object<'_>, name: &str, hash: &Hash) -> bool {
    object.text(name).is_some_and(|text| is_hash(&text, hash))
}

/// Whether `object` has the hash, as `hash` or by the name of its algorithm.
fn has_hash(object: &Object<'_>, hash: &Hash, algorithm: Algorithm) -> bool {
    let is_its_name = |name: &str| match Algorithm::from_name(name) {
        Some(named) => named == algorithm,
        None => name.eq_ignore_ascii_case("hash"),
    };
    let mut names = object.0.iter().map(|(name, _)| name.as_str());
    names.any(|name| is_its_name(name) && is_text(object, name, hash))
}

/// Whether it names another hash than `hash`, of the same length. A `query` is the question
/// only where nothing was found.
fn is_of_another(object: &Object<'_>, status: u16, hash: &Hash) -> bool {
    let is_another = |name: &str| {
        let named = object.text(name);
        let named = named.and_then(|text| Hash::from_hex(text.as_bytes()));
        named.is_some_and(|n| n.as_bytes().len() == hash.as_bytes().len() && n != *hash)
    };
    is_another("hash") || (status == 404 && is_another("query"))
}

/// The algorithm that CIRCL names for a hash it does not know: `Non existing SHA-1`.
fn message_algorithm(object: &Object<'_>) -> Option<Algorithm> {
    let message = object.text("message")?;
    Algorithm::from_name(message.strip_prefix(NON_EXISTING)?)
}

/// Words for a hash that is not known, and for a failure, that a status may be.
const NEGATIVE: [&str; 11] = [
    "notfound", "unknown", "missing", "absent", "none", "nomatch", "error", "failed", "failure",
    "fail", "invalid",
];

/// Whether an answer by 200 that names the hash may mean that it is not known.
fn says_no(object: &Object<'_>) -> bool {
    let is_one_of = |name: &str, values: &[&str]| {
        let value = object.get(name);
        value.is_some_and(|v| values.contains(&v.get()))
    };
    let failed = object.get("error").is_some()
        && !is_one_of("error", &["null", "false", "\"\"", "[]", "{}"]);
    let status = fold(&object.text("status").unwrap_or_default());
    let answers = ["found", "known", "exists", "present", "match", "success"];
    failed
        || NEGATIVE.contains(&status.as_str())
        || (answers.iter()).any(|name| is_one_of(name, &["false", "0", "\"false\"", "\"no\""]))
}

/// The fields of the item, in the order of their names: without what only repeats the
/// question, and under other names where they are ours.
fn fields(object: &Object<'_>, hash: &Hash) -> String {
    let of_answer = own_status(object, hash).is_some();
    let mut out = Vec::new();
    let mut members = Members::new(&out);
    for (name, value) in &object.0 {
        let is_key = name == "hash" || Algorithm::from_name(name).is_some();
        let repeats = is_key
            && serde_json::from_str::<String>(value.get()).is_ok_and(|text| is_hash(&text, hash));
        if repeats || (of_answer && OWN_FIELDS.contains(&name.as_str())) {
            continue;
        }
        let clashes =
            OWN_FIELDS.contains(&name.as_str()) || (!of_answer && name.starts_with(ITEM_PREFIX));
        match clashes {
            true => members.name(&format!("{ITEM_PREFIX}{name}"), &mut out),
            false => members.name(name, &mut out),
        }
        put_value(value.get(), &mut out);
    }
    // The names differ: those that clash get a prefix that no other has.
    let _ = members.finish(&mut out);
    // Text and blanks taken out of text.
    String::from_utf8(out).unwrap_or_default()
}

/// The field of an answer that is no JSON object: its JSON, or else its text.
fn answer_field(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let json = serde_json::from_str::<&serde_json::value::RawValue>(text);
    let mut out = Vec::new();
    let mut members = Members::new(&out);
    members.name(ANSWER_FIELD, &mut out);
    match json {
        Ok(json) => put_value(json.get(), &mut out),
        Err(_) => put(&mut out, text),
    }
    String::from_utf8(out).unwrap_or_default()
}

fn is_hash(text: &str, hash: &Hash) -> bool {
    Hash::from_hex(text.as_bytes()).as_ref() == Some(hash)
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
mod tests;
