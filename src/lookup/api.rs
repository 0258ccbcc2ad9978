//! An API that is asked: one GET a hash, and what its answer means.
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
//!
//! The key goes to the one address that was named and nowhere else: redirections
//! are followed within the same scheme, host and port, and a proxy that the environment names is
//! used for `https` alone, through which it cannot look. The key is in no message, and where a
//! server sends it back, it is taken out of what is shown and written.

use super::desk::Reply;
use super::oracle::{Kind, Oracle, Told};
use super::question::put;
use super::table_oracle::AskedBy;
use crate::algorithm::{Algorithm, Case, Hash};
use crate::ask::whole::{ITEM_PREFIX, OWN_FIELDS, text_of};
use crate::aws::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT};
use crate::error::{Error, ErrorKind, Result};
use crate::record::shown;
use crate::waiting::Keys;
use http::header::{ACCEPT, HeaderValue, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

/// The header that the key is in.
pub const KEY_HEADER: &str = "x-api-key";

/// How long one call may take, answer included.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a hash is asked for before its answer is an error.
pub const API_TRIES: u32 = 10;

/// Calls in flight.
pub const API_CONCURRENCY: usize = 64;

/// The largest body that is read, in bytes.
const MOST_OF_BODY: usize = 1 << 20;

/// The longest time that `Retry-After` is taken for: no run waits so long, and a clock
/// can be set ahead by it.
const LONGEST_WAIT: Duration = Duration::from_secs(u32::MAX as u64);

/// The shortest key that is looked for in the answers themselves: a shorter one may well
/// stand in them by chance.
const LEAST_KEY: usize = 8;

/// How much of what an API says is shown.
const SHOWN_CHARACTERS: usize = 200;

/// Redirections that are followed at most.
const MOST_REDIRECTIONS: usize = 5;

/// A key of an API. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(HeaderValue);

impl ApiKey {
    /// The key `text`, without the blanks and line feeds around it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is empty, or can be no header; the text does not say
    /// the key.
    pub fn new(text: &str) -> Result<ApiKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::usage("the key of the API is empty"));
        }
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            Error::usage("the key of the API has characters that no header can have")
                .hint("a key is one line of plain text")
        })?;
        value.set_sensitive(true);
        Ok(ApiKey(value))
    }

    /// `text` without the key.
    fn hide(&self, text: &str) -> String {
        match self.0.to_str() {
            Ok(key) => text.replace(key, "…"),
            Err(_) => text.to_owned(),
        }
    }

    /// An answer's body without the key, as it is and as JSON has it.
    fn hide_in(&self, body: Vec<u8>) -> Vec<u8> {
        let Ok(key) = self.0.to_str() else {
            return body;
        };
        let escaped = serde_json::Value::from(key).to_string();
        let escaped = escaped.trim_matches('"').as_bytes();
        let is_there = |form: &[u8]| memchr::memmem::find(&body, form).is_some();
        if key.len() < LEAST_KEY || !(is_there(key.as_bytes()) || is_there(escaped)) {
            return body;
        }
        let escaped = String::from_utf8_lossy(escaped);
        // Both are text, and where the body is none, nothing of it is an answer.
        let text = String::from_utf8_lossy(&body);
        text.replace(&*escaped, "…").replace(key, "…").into_bytes()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// An API for look-ups: where it is, and how it is reached.
#[derive(Debug, Clone)]
pub struct Api {
    url: Url,
    key: Option<ApiKey>,
    timeout: Duration,
    ca_cert: Option<Vec<u8>>,
    insecure: bool,
    tries: u32,
}

impl Api {
    /// The API at `url`, behind which the hash is put: after a slash, or as it is when
    /// the URL ends with a query (`…?hash=`).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is no URL of `http` or `https`, or has a password in it.
    pub fn new(url: &str) -> Result<Api> {
        let hint = "give such as https://hashes.example.org/v1/sha256";
        // What stands there may be a password: it is not repeated.
        let parsed = Url::parse(url)
            .map_err(|e| Error::usage("--api names no URL").because(e).hint(hint))?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(Error::usage("--api names no URL of http or https").hint(hint));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Error::usage("the URL of the API holds a name or a password").hint(
                "leave them out: the key goes by --api-key-env or --api-key-file, so that nobody sees it",
            ));
        }
        if parsed.fragment().is_some() {
            return Err(Error::usage("the URL of the API holds a #").hint(hint));
        }
        Ok(Api {
            url: parsed,
            key: None,
            timeout: API_TIMEOUT,
            ca_cert: None,
            insecure: false,
            tries: API_TRIES,
        })
    }

    /// The key, for the header `x-api-key`.
    #[must_use]
    pub fn key(mut self, key: ApiKey) -> Self {
        self.key = Some(key);
        self
    }

    /// How long one call may take. Default: [`API_TIMEOUT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Certificates in PEM which are trusted instead of the system's.
    #[must_use]
    pub fn ca_cert(mut self, pem: Vec<u8>) -> Self {
        self.ca_cert = Some(pem);
        self
    }

    /// Whether any certificate at all is taken. Default: no.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// How often a hash is asked for before its answer is an error. Default:
    /// [`API_TRIES`].
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    pub(super) fn most_tries(&self) -> u32 {
        self.tries
    }

    /// The URL as it is shown: without its query, which may hold what is nobody's business.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        let had = url.query().is_some();
        url.set_query(None);
        match had {
            true => format!("{url}?…"),
            false => url.to_string(),
        }
    }

    /// The algorithm that the last part of the URL's path is the name of.
    pub fn algorithm(&self) -> Option<Algorithm> {
        let mut parts = self.url.path_segments()?;
        let last = parts.rfind(|part| !part.is_empty())?;
        Algorithm::from_name(last)
    }

    /// What stands before the hash.
    fn base(&self) -> String {
        let url = self.url.as_str();
        match self.url.query().is_some() || url.ends_with('/') {
            true => url.to_owned(),
            false => format!("{url}/"),
        }
    }

    /// A client for it.
    pub(super) fn oracle(&self, case: Case, rules: Option<AskedBy>) -> Result<ApiOracle> {
        let home = (
            self.url.scheme().to_owned(),
            self.url.host_str().map(str::to_owned),
            self.url.port_or_known_default(),
        );
        let redirect = Policy::custom(move |attempt| {
            let to = attempt.url();
            let there = (
                to.scheme().to_owned(),
                to.host_str().map(str::to_owned),
                to.port_or_known_default(),
            );
            match there == home && attempt.previous().len() <= MOST_REDIRECTIONS {
                true => attempt.follow(),
                false => attempt.stop(),
            }
        });
        let mut client = Client::builder()
            .user_agent(concat!("hashferry/", env!("CARGO_PKG_VERSION")))
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .referer(false)
            .redirect(redirect);
        if self.url.scheme() == "http" {
            // A proxy would see the key, and all that is asked.
            client = client.no_proxy();
        }
        if let Some(pem) = &self.ca_cert {
            let wrong = |e| Error::usage("--ca-cert is no certificate in PEM").because(e);
            let certificates = Certificate::from_pem_bundle(pem).map_err(|e| wrong(plain(e)))?;
            if certificates.is_empty() {
                return Err(Error::usage("--ca-cert holds no certificate in PEM")
                    .hint("it begins with -----BEGIN CERTIFICATE-----"));
            }
            client = client.tls_certs_only(certificates);
        } else if self.url.scheme() == "http" {
            // Nothing is checked by the system's, of which there may be none.
            client = client.tls_certs_only([]);
        }
        if self.insecure {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        let client = client.build().map_err(|e| {
            Error::usage("cannot make a client for the API")
                .because(plain(e))
                .hint("--ca-cert PEM names the certificates to trust, where the system has none")
        })?;
        self.warn();
        Ok(ApiOracle {
            client,
            base: self.base(),
            case,
            key: self.key.clone(),
            shown: self.shown(),
            rules,
        })
    }

    fn warn(&self) {
        if self.insecure {
            tracing::warn!(
                "--insecure: whoever is on the way to {} can read the key and make up the answers",
                self.shown()
            );
        }
        let host = self.url.host_str().unwrap_or_default();
        let near = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if self.key.is_some() && self.url.scheme() == "http" && !near {
            tracing::warn!(
                "the key goes to {} unencrypted: everybody on the way can read it (https://… encrypts it)",
                self.shown()
            );
        }
    }
}

/// What went wrong, without the URL.
fn plain(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        let said = c.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = c.source();
    }
    text
}

/// Asks an API. See the [module](self).
#[derive(Debug)]
pub(super) struct ApiOracle {
    client: Client,
    base: String,
    case: Case,
    key: Option<ApiKey>,
    shown: String,
    rules: Option<AskedBy>,
}

impl Oracle for ApiOracle {
    async fn ask(&self, keys: &Keys) -> Told {
        let Some(entry) = keys.0.first() else {
            return Told::default();
        };
        let hash = entry.record.hash;
        let url = format!("{}{}", self.base, hash.to_hex(self.case));
        let mut request = self.client.get(url).header(ACCEPT, "application/json");
        if let Some(key) = &self.key {
            request = request.header(KEY_HEADER, key.0.clone());
        }
        match request.send().await {
            Ok(response) => self.told(keys, hash, response).await,
            Err(e) => self.not_reached(keys, e),
        }
    }
}

impl ApiOracle {
    /// What an answer means.
    async fn told(&self, keys: &Keys, hash: Hash, mut response: Response) -> Told {
        let status = response.status().as_u16();
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        let wait = header(RETRY_AFTER).and_then(|text| retry_after(text, Timestamp::now()));
        let location = header(LOCATION).map(str::to_owned);
        let mut body = Vec::new();
        let mut whole = true;
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > MOST_OF_BODY => {
                    whole = false;
                    break;
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(e) => return self.not_reached(keys, e),
            }
        }
        if let Some(key) = &self.key {
            body = key.hide_in(body);
        }
        let verdict = match (whole, location) {
            // What matters of these is the status.
            (false, _) if !matches!(status, 200..400 | 404) => Verdict::of(status, b"", &hash),
            (false, _) => Verdict::Error(format!("status {status}, and a body of more than 1 MiB")),
            (true, Some(to)) if (300..400).contains(&status) => {
                // The place alone: what is asked there may hold more.
                let to = Url::parse(&to).ok();
                let host = to.and_then(|to| to.host_str().map(str::to_owned));
                let to = host.map_or_else(|| "elsewhere".to_owned(), |host| format!("to {host}"));
                Verdict::Error(format!(
                    "status {status}: it sends on {to}, where the key does not go"
                ))
            }
            (true, _) => Verdict::of(status, &body, &hash),
        };
        let mut astray = false;
        let reply = match verdict {
            Verdict::Known(fields) => Reply::Known {
                foreign: (self.rules.as_ref())
                    .is_some_and(|rules| rules.is_foreign(|name| text_of(&fields, name))),
                fields: fields.into(),
            },
            Verdict::Unknown => Reply::Unknown,
            Verdict::Error(why) => {
                astray = true;
                Reply::Error(self.hidden(why).into())
            }
            Verdict::Again { throttled, why } => {
                let kind = match throttled {
                    true => Kind::Throttled,
                    false => Kind::Passing,
                };
                let mut told = Told::trouble(keys, kind, self.hidden(why));
                if let Some(trouble) = &mut told.trouble {
                    trouble.wait = wait;
                }
                return told;
            }
            Verdict::Refused(why) => {
                let what = format!("{} refuses to answer", self.shown);
                let hint = match &self.key {
                    Some(_) => "check the key: it is not, or no longer, one that may look up there",
                    None => {
                        "it wants a key: set HASHFERRY_API_KEY, or name where it is by --api-key-env or --api-key-file"
                    }
                };
                let why = self.hidden(why);
                let e = Error::new(ErrorKind::Read, what)
                    .because(why.clone())
                    .hint(hint);
                return Told::trouble(keys, Kind::Fatal(e), why);
            }
        };
        Told {
            settled: vec![(hash, reply)],
            astray,
            ..Told::default()
        }
    }

    /// A call that had no whole answer.
    fn not_reached(&self, keys: &Keys, e: reqwest::Error) -> Told {
        let is_timeout = e.is_timeout();
        let why = self.hidden(plain(e));
        // A certificate that is not trusted now will not be the next time.
        if why.contains("invalid peer certificate") {
            let what = format!("the certificate of {} is not trusted", self.shown);
            let e = Error::new(ErrorKind::Read, what).because(why.clone());
            let e = e.hint(match why.contains("CaUsedAsEndEntity") {
                true => {
                    "the server shows the certificate of an authority, as openssl req -x509 makes it: it needs \
                     one of its own (CA:FALSE), signed by that, which --ca-cert then names"
                }
                false => "--ca-cert PEM names the certificates to trust",
            });
            return Told::trouble(keys, Kind::Fatal(e), why);
        }
        let why = match is_timeout {
            true => format!("no answer in time: {why}"),
            false => format!("no answer: {why}"),
        };
        Told::trouble(keys, Kind::Passing, why)
    }

    fn hidden(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.hide(&text),
            None => text,
        }
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
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
    fn of(status: u16, body: &[u8], hash: &Hash) -> Verdict {
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
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
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

    #[test]
    fn the_url_says_the_algorithm_and_where_the_hash_goes() {
        for (url, algorithm, base) in [
            (
                "https://h/v1/sha256",
                Some(Algorithm::Sha256),
                "https://h/v1/sha256/",
            ),
            (
                "https://h/v1/SHA-1/",
                Some(Algorithm::Sha1),
                "https://h/v1/SHA-1/",
            ),
            ("http://h", None, "http://h/"),
            ("https://h/find?hash=", None, "https://h/find?hash="),
        ] {
            let api = Api::new(url).expect("a URL");
            assert_eq!(
                (api.algorithm(), api.base().as_str()),
                (algorithm, base),
                "{url}"
            );
        }
        assert_eq!(
            Api::new("https://h/x?key=s").expect("a URL").shown(),
            "https://h/x?…"
        );
        for url in [
            "h/x",
            "ftp://h/x",
            "https://u:secret@h/x",
            "https://u@h/",
            "http://",
            "http://h/#x",
        ] {
            let e = Api::new(url).expect_err(url);
            assert!(!format!("{e} {e:?}").contains("secret"), "{e:?}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = ApiKey::new(" s3cret-key\n").expect("a key");
        assert_eq!(key.hide("no key s3cret-key here"), "no key … here");
        let api = Api::new("https://h/").expect("a URL").key(key);
        assert!(!format!("{api:?}").contains("s3cret"), "{api:?}");
        let oracle = api.ca_cert(Vec::new()).oracle(Case::Upper, None);
        assert!(oracle.is_err(), "no certificate");
        for wrong in ["", " \n", "a\nb", "k\u{0}"] {
            let e = ApiKey::new(wrong).expect_err("no key");
            assert_eq!(e.exit_status(), 2);
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
