//! API for look-ups: its address, its key, and how it is reached.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::commands::lookup::api_response::Shape;
use http::header::HeaderValue;
use reqwest::Url;
use std::fmt;
use std::time::Duration;

/// The header that the key is in.
pub(crate) const KEY_HEADER: &str = "x-api-key";

/// How long one call may take, answer included.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a hash is asked for before its answer is an error.
pub(crate) const API_TRIES: u32 = 10;

/// Calls in flight.
pub(crate) const API_CONCURRENCY: usize = 64;

/// The shortest key that is looked for in the answers themselves: a shorter one may well
/// stand in them by chance.
const LEAST_KEY: usize = 8;

/// A key of an API. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub(super) HeaderValue);

impl ApiKey {
    /// The key `text`, without the blanks and line feeds around it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it is empty, or can be no header; the text does not say
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
    pub(super) fn hide(&self, text: &str) -> String {
        match self.0.to_str() {
            Ok(key) => text.replace(key, "…"),
            Err(_) => text.to_owned(),
        }
    }

    /// An answer's body without the key, as it is and as JSON has it.
    pub(super) fn hide_in(&self, body: Vec<u8>) -> Vec<u8> {
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
    pub(super) url: Url,
    pub(super) key: Option<ApiKey>,
    pub(super) timeout: Duration,
    pub(super) ca_cert: Option<Vec<u8>>,
    pub(super) insecure: bool,
    tries: u32,
    pub(super) shape: Shape,
    pub(super) check: Option<String>,
}

impl Api {
    /// The API at `url`, behind which the hash is put: after a slash, or as it is when
    /// the URL ends with a query (`…?hash=`).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it is no URL of `http` or `https`, or has a password in it.
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

    /// How long one call may take. Default: `API_TIMEOUT`.
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
    /// `API_TRIES`.
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
    pub(super) fn base(&self) -> String {
        let url = self.url.as_str();
        match self.url.query().is_some() || url.ends_with('/') {
            true => url.to_owned(),
            false => format!("{url}/"),
        }
    }

    /// Warns of what the options give away.
    pub(super) fn warn(&self) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Case;

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
