//! Options of an API for look-ups: its URL, its key and its connection.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::commands::lookup::api_response::DeclaredPatterns;
use http::header::HeaderValue;
use reqwest::Url;
use std::fmt;
use std::time::Duration;

pub(crate) const KEY_HEADER: &str = "x-api-key";

/// Default timeout of a call, response included.
pub(crate) const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Default maximum number of tries of a hash; then its answer is an error.
pub(crate) const API_TRIES: u32 = 10;

/// Default maximum number of calls in flight.
pub(crate) const API_CONCURRENCY: usize = 64;

/// Minimum length of a key that is redacted in the responses: a shorter text may be in them
/// by chance.
const MIN_REDACTED_KEY_BYTES: usize = 8;

/// The key of an API. No message, log or report shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub(super) HeaderValue);

impl ApiKey {
    /// The key `text`, without leading and trailing white space.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the key is empty or not
    /// a valid header value. The error does not show the key.
    pub fn new(text: &str) -> Result<ApiKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::usage("the key of the API is empty"));
        }
        let mut value = HeaderValue::from_str(text).map_err(|_| {
            Error::usage("the key of the API has characters that a header cannot have")
                .with_hint("give a key of one line of plain text")
        })?;
        value.set_sensitive(true);
        Ok(ApiKey(value))
    }

    /// `text` with `…` in place of the key.
    pub(super) fn redact(&self, text: &str) -> String {
        match self.0.to_str() {
            Ok(key) => text.replace(key, "…"),
            Err(_) => text.to_owned(),
        }
    }

    /// A body with `…` in place of the key, both plain and escaped as in JSON.
    pub(super) fn redact_body(&self, body: Vec<u8>) -> Vec<u8> {
        let Ok(key) = self.0.to_str() else {
            return body;
        };
        let escaped = serde_json::Value::from(key).to_string();
        let escaped = escaped.trim_matches('"').as_bytes();
        let has = |text: &[u8]| memchr::memmem::find(&body, text).is_some();
        if key.len() < MIN_REDACTED_KEY_BYTES || !(has(key.as_bytes()) || has(escaped)) {
            return body;
        }
        let escaped = String::from_utf8_lossy(escaped);
        // Lossy is enough: a body that is not text cannot be a valid response.
        let text = String::from_utf8_lossy(&body);
        text.replace(&*escaped, "…").replace(key, "…").into_bytes()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// An API for look-ups: its URL, its key and its connection.
#[derive(Debug, Clone)]
pub struct Api {
    pub(super) url: Url,
    pub(super) key: Option<ApiKey>,
    pub(super) timeout: Duration,
    pub(super) ca_cert: Option<Vec<u8>>,
    pub(super) insecure: bool,
    tries: u32,
    pub(super) patterns: DeclaredPatterns,
    pub(super) check: Option<String>,
}

impl Api {
    /// The API at `url`. A look-up appends the hash to it: after a slash, or directly if the
    /// URL has a query (`…?hash=`).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if `url` is not a URL of
    /// `http` or `https`, or has a user name, a password or a fragment.
    pub fn new(url: &str) -> Result<Api> {
        let hint = "give a URL such as https://hashes.example.org/v1/sha256";
        // The errors do not show the URL, because it may have a password.
        let parsed = Url::parse(url).map_err(|e| {
            Error::usage("--api is not a URL")
                .with_source(e)
                .with_hint(hint)
        })?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(Error::usage("--api is not a URL of http or https").with_hint(hint));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Error::usage("the URL of the API has a user name or a password").with_hint(
                "leave them out, and give the key with --api-key-env or --api-key-file, so that nobody sees it",
            ));
        }
        if parsed.fragment().is_some() {
            return Err(Error::usage("the URL of the API has a #").with_hint(hint));
        }
        Ok(Api {
            url: parsed,
            key: None,
            timeout: API_TIMEOUT,
            ca_cert: None,
            insecure: false,
            tries: API_TRIES,
            patterns: DeclaredPatterns::default(),
            check: None,
        })
    }

    /// The key, sent in the header `x-api-key`.
    #[must_use]
    pub fn key(mut self, key: ApiKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Timeout of a call. Default: 10 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Certificates in PEM, trusted instead of the system's.
    #[must_use]
    pub fn ca_cert(mut self, pem: Vec<u8>) -> Self {
        self.ca_cert = Some(pem);
        self
    }

    /// True to accept any certificate. Default: false.
    #[must_use]
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Maximum number of tries of a hash, at least 1; then its answer is an error.
    /// Default: 10.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// Pattern of a response with status 200 to a known hash, for an API whose responses do
    /// not name the hash.
    #[must_use]
    pub fn known_by(mut self, pattern: AnswerPattern) -> Self {
        self.patterns.known = Some(pattern);
        self
    }

    /// Pattern of a response with status 404 or 200 to an unknown hash, for an API whose
    /// responses do not name the hash.
    #[must_use]
    pub fn unknown_by(mut self, pattern: AnswerPattern) -> Self {
        self.patterns.unknown = Some(pattern);
        self
    }

    /// A hash that the API must know. The look-up requests it before the list, and fails if
    /// it is unknown.
    #[must_use]
    pub fn check(mut self, hash: impl Into<String>) -> Self {
        self.check = Some(hash.into());
        self
    }

    /// Maximum number of tries of a hash.
    pub(super) fn max_tries(&self) -> u32 {
        self.tries
    }

    /// The URL for messages: without its query, which may be confidential.
    pub fn display_url(&self) -> String {
        let mut url = self.url.clone();
        let has_query = url.query().is_some();
        url.set_query(None);
        match has_query {
            true => format!("{url}?…"),
            false => url.to_string(),
        }
    }

    /// The algorithm that the last segment of the URL's path names. `None` if it names none.
    pub fn algorithm(&self) -> Option<Algorithm> {
        let mut parts = self.url.path_segments()?;
        let last = parts.rfind(|part| !part.is_empty())?;
        Algorithm::from_name(last)
    }

    /// The URL to which the hash is appended.
    pub(super) fn base_url(&self) -> String {
        let url = self.url.as_str();
        match self.url.query().is_some() || url.ends_with('/') {
            true => url.to_owned(),
            false => format!("{url}/"),
        }
    }

    /// Warns if the options expose the key.
    pub(super) fn warn_about_exposure(&self) {
        if self.insecure {
            tracing::warn!(
                "--insecure: anyone on the network path to {} can read the key and forge the responses",
                self.display_url()
            );
        }
        let host = self.url.host_str().unwrap_or_default();
        let is_local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        if self.key.is_some() && self.url.scheme() == "http" && !is_local {
            tracing::warn!(
                "the key goes to {} unencrypted: anyone on the network path can read it (use https://…)",
                self.display_url()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Case;

    #[test]
    fn a_url_gives_the_algorithm_and_the_base_url() {
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
                (api.algorithm(), api.base_url().as_str()),
                (algorithm, base),
                "{url}"
            );
        }
        assert_eq!(
            Api::new("https://h/x?key=s").expect("a URL").display_url(),
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
        assert_eq!(key.redact("no key s3cret-key here"), "no key … here");
        let api = Api::new("https://h/").expect("a URL").key(key);
        assert!(!format!("{api:?}").contains("s3cret"), "{api:?}");
        let backend = api
            .ca_cert(Vec::new())
            .backend(Algorithm::Md5, Case::Upper, None);
        assert!(backend.is_err(), "no certificate");
        for wrong in ["", " \n", "a\nb", "k\u{0}"] {
            let e = ApiKey::new(wrong).expect_err("no key");
            assert_eq!(e.exit_status(), 2);
        }
    }
}
