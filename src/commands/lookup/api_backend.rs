//! An API that is asked: one GET a hash, whose answer is a [verdict](crate::commands::lookup::api_response).
//!
//! The key goes to the one address that was named and nowhere else: redirections
//! are followed within the same scheme, host and port, and a proxy that the environment names is
//! used for `https` alone, through which it cannot look. The key is in no message, and where a
//! server sends it back, it is taken out of what is shown and written.

use crate::aws::config::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::commands::lookup::answers::Reply;
use crate::commands::lookup::api_response::{Shape, Verdict, is_own_unknown, retry_after, why};
use crate::commands::lookup::backend::{Kind, Oracle, Told};
use crate::commands::lookup::table_backend::AskedBy;
use crate::dynamodb::batch_get::plain_json::text_of;
use crate::flow::waiting::Keys;
use http::header::{ACCEPT, HeaderValue, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
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

/// The shortest key that is looked for in the answers themselves: a shorter one may well
/// stand in them by chance.
const LEAST_KEY: usize = 8;

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
    shape: Shape,
    check: Option<String>,
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
            shape: Shape::default(),
            check: None,
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

    /// What an answer by status 200 holds where the hash is known, of an API whose answers
    /// do not name the hash.
    #[must_use]
    pub fn known_by(mut self, pattern: AnswerPattern) -> Self {
        self.shape.known = Some(pattern);
        self
    }

    /// What an answer by status 404 or 200 holds where the hash is not known, of an API whose
    /// answers do not name the hash.
    #[must_use]
    pub fn unknown_by(mut self, pattern: AnswerPattern) -> Self {
        self.shape.unknown = Some(pattern);
        self
    }

    /// A hash that the API must know: it is asked for before the list, and the look-up does
    /// not begin when the API does not know it.
    #[must_use]
    pub fn check(mut self, hash: impl Into<String>) -> Self {
        self.check = Some(hash.into());
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

    /// A client for it, for hashes of `algorithm`.
    pub(super) fn oracle(
        &self,
        algorithm: Algorithm,
        case: Case,
        rules: Option<AskedBy>,
    ) -> Result<ApiOracle> {
        if self
            .shape
            .unknown
            .as_ref()
            .is_some_and(AnswerPattern::is_any)
        {
            return Err(Error::usage("--api-unknown any makes every hash unknown")
                .hint("give a text or a field that only such an answer holds"));
        }
        let check = self.check.as_deref().map(str::trim);
        let check = check.map(|text| {
            let hash = Hash::from_hex(text.as_bytes());
            hash.filter(|h| h.as_bytes().len() == algorithm.bytes())
                .ok_or_else(|| Error::usage(format!("--api-check is no {algorithm} hash")))
        });
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
            algorithm,
            case,
            key: self.key.clone(),
            shown: self.shown(),
            rules,
            shape: self.shape.clone(),
            check: check.transpose()?,
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
    algorithm: Algorithm,
    case: Case,
    key: Option<ApiKey>,
    shown: String,
    rules: Option<AskedBy>,
    shape: Shape,
    check: Option<Hash>,
}

/// An answer that came.
#[derive(Debug)]
pub(super) struct Received {
    status: u16,
    body: Vec<u8>,
    /// Whether the body is all of it.
    whole: bool,
    location: Option<String>,
    /// What `Retry-After` says.
    pub(super) wait: Option<Duration>,
}

impl Received {
    /// Whether it, the answer to `asked`, is `other`, the answer to `other_asked`, but for what
    /// was asked.
    pub(super) fn is_alike(&self, asked: &str, other: &Received, other_asked: &str) -> bool {
        let plain = |received: &Received, asked: &str| {
            let text = String::from_utf8_lossy(&received.body).to_ascii_lowercase();
            text.replace(&asked.to_ascii_lowercase(), "")
        };
        self.status == other.status && plain(self, asked) == plain(other, other_asked)
    }

    /// Why its body says nothing, whatever it is; `None` when the body, or the status alone,
    /// says something.
    fn unusable(&self) -> Option<String> {
        let status = self.status;
        match (&self.location, self.whole) {
            (_, false) if matches!(status, 200..400 | 404) => {
                Some(format!("status {status}, and a body of more than 1 MiB"))
            }
            (Some(to), true) if (300..400).contains(&status) => {
                // The place alone: what is asked there may hold more.
                let to = Url::parse(to).ok();
                let host = to.and_then(|to| to.host_str().map(str::to_owned));
                let to = host.map_or_else(|| "elsewhere".to_owned(), |host| format!("to {host}"));
                let why = "where the key does not go";
                Some(format!("status {status}: it sends on {to}, {why}"))
            }
            _ => None,
        }
    }
}

impl Oracle for ApiOracle {
    async fn ask(&self, keys: &Keys) -> Told {
        let Some(entry) = keys.0.first() else {
            return Told::default();
        };
        let hash = entry.record.hash;
        match self.get(&self.text(&hash)).await {
            Ok(received) => self.told(keys, hash, &received),
            Err(e) => {
                let (kind, why) = self.not_reached(e);
                Told::trouble(keys, kind, why)
            }
        }
    }
}

impl ApiOracle {
    /// The API as it is shown.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The algorithm of the hashes that it is asked for.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A hash that it must know, where one is named.
    pub(super) fn check(&self) -> Option<&Hash> {
        self.check.as_ref()
    }

    /// `hash` as it stands in the URL.
    pub(super) fn text(&self, hash: &Hash) -> String {
        hash.to_hex(self.case)
    }

    /// Makes one call: `text` is what stands behind the URL.
    ///
    /// # Errors
    /// When no whole answer came.
    pub(super) async fn get(&self, text: &str) -> reqwest::Result<Received> {
        let url = format!("{}{text}", self.base);
        let mut request = self.client.get(url).header(ACCEPT, "application/json");
        if let Some(key) = &self.key {
            request = request.header(KEY_HEADER, key.0.clone());
        }
        let mut response: Response = request.send().await?;
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
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MOST_OF_BODY {
                whole = false;
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if let Some(key) = &self.key {
            body = key.hide_in(body);
        }
        Ok(Received {
            status,
            body,
            whole,
            location,
            wait,
        })
    }

    /// What an answer to `hash` means.
    pub(super) fn verdict(&self, received: &Received, hash: &Hash) -> Verdict {
        self.verdict_by(received, hash, &self.shape)
    }

    /// Whether it says that `hash` is unknown, by what was declared of its shape alone.
    pub(super) fn is_declared_unknown(&self, received: &Received, hash: &Hash) -> bool {
        let known_shapes = self.verdict_by(received, hash, &Shape::default());
        self.verdict(received, hash) == Verdict::Unknown && known_shapes != Verdict::Unknown
    }

    /// Whether it says by our own `status` that `hash` is unknown.
    pub(super) fn is_own_unknown(&self, received: &Received, hash: &Hash) -> bool {
        is_own_unknown(&received.body, hash)
    }

    fn verdict_by(&self, received: &Received, hash: &Hash, shape: &Shape) -> Verdict {
        let of = |body: &[u8]| Verdict::of(received.status, body, hash, self.algorithm, shape);
        let verdict = match (received.unusable(), received.whole) {
            (Some(why), _) => Verdict::Error(why),
            // What matters of these is the status.
            (None, false) => of(b""),
            (None, true) => of(&received.body),
        };
        match verdict {
            Verdict::Error(why) => Verdict::Error(self.hidden(why)),
            Verdict::Refused(why) => Verdict::Refused(self.hidden(why)),
            Verdict::Again { throttled, why } => Verdict::Again {
                throttled,
                why: self.hidden(why),
            },
            told => told,
        }
    }

    /// An answer in short: its status, and the beginning of its body.
    pub(super) fn said(&self, received: &Received) -> String {
        let unusable = received.unusable();
        self.hidden(unusable.unwrap_or_else(|| why(received.status, &received.body, None)))
    }

    /// What an answer tells of the one of `keys`, `hash`.
    fn told(&self, keys: &Keys, hash: Hash, received: &Received) -> Told {
        let mut astray = false;
        let reply = match self.verdict(received, &hash) {
            Verdict::Known(fields) => Reply::Known {
                foreign: (self.rules.as_ref())
                    .is_some_and(|rules| rules.is_foreign(|name| text_of(&fields, name))),
                fields: fields.into(),
            },
            Verdict::Unknown => Reply::Unknown,
            Verdict::Error(why) => {
                astray = true;
                Reply::Error(why.into())
            }
            Verdict::Again { throttled, why } => {
                let kind = match throttled {
                    true => Kind::Throttled,
                    false => Kind::Passing,
                };
                let mut told = Told::trouble(keys, kind, why);
                if let Some(trouble) = &mut told.trouble {
                    trouble.wait = received.wait;
                }
                return told;
            }
            Verdict::Refused(why) => {
                let e = self.refused(why.clone());
                return Told::trouble(keys, Kind::Fatal(e), why);
            }
        };
        Told {
            settled: vec![(hash, reply)],
            astray,
            ..Told::default()
        }
    }

    /// The failure of a look-up whose key is not valid there.
    pub(super) fn refused(&self, why: String) -> Error {
        let what = format!("{} refuses to answer", self.shown);
        let hint = match &self.key {
            Some(_) => "check the key: it is not, or no longer, one that may look up there",
            None => {
                "it wants a key: set HASHFERRY_API_KEY, or name where it is by --api-key-env or --api-key-file"
            }
        };
        Error::new(ErrorKind::Read, what).because(why).hint(hint)
    }

    /// What it means that a call had no whole answer, and why.
    pub(super) fn not_reached(&self, e: reqwest::Error) -> (Kind, String) {
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
            return (Kind::Fatal(e), why);
        }
        let why = match is_timeout {
            true => format!("no answer in time: {why}"),
            false => format!("no answer: {why}"),
        };
        (Kind::Passing, why)
    }

    fn hidden(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.hide(&text),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let oracle = api.ca_cert(Vec::new());
        let oracle = oracle.oracle(Algorithm::Md5, Case::Upper, None);
        assert!(oracle.is_err(), "no certificate");
        for wrong in ["", " \n", "a\nb", "k\u{0}"] {
            let e = ApiKey::new(wrong).expect_err("no key");
            assert_eq!(e.exit_status(), 2);
        }
    }
}
