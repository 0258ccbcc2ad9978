//! API as backend: one GET a hash, with a [parsed response](crate::commands::lookup::api_response).
//!
//! The key goes to the given host and nowhere else. The client follows redirects only within
//! the same scheme, host and port. It uses a proxy only for `https`, where the proxy cannot
//! read the key. No message has the key. If a server's response has it, the backend redacts
//! it before anything is shown or written.

use crate::aws::config::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::commands::lookup::api_options::{Api, ApiKey, KEY_HEADER};
use crate::commands::lookup::api_response::{
    DeclaredPatterns, ParsedResponse, describe, is_hashferry_unknown, parse_retry_after,
};
use crate::commands::lookup::backend::{
    Backend, BackendErrorClass, BackendReply, Reply, RulesCheck,
};
use crate::dynamodb::batch_get::plain_json::field_text;
use crate::flow::retry_queue::Entry;
use http::header::{ACCEPT, HeaderValue, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use std::error::Error as _;
use std::time::Duration;

/// Maximum size of a body, in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Maximum number of redirects.
pub(super) const MAX_REDIRECTS: usize = 5;

/// Looks up hashes in an API. See the [module](self).
#[derive(Debug)]
pub(super) struct ApiBackend {
    client: Client,
    base_url: String,
    algorithm: Algorithm,
    case: Case,
    key: Option<ApiKey>,
    display_url: String,
    rules: Option<RulesCheck>,
    patterns: DeclaredPatterns,
    check: Option<Hash>,
}

impl Api {
    /// The backend for hashes of `algorithm`.
    pub(super) fn backend(
        &self,
        algorithm: Algorithm,
        case: Case,
        rules: Option<RulesCheck>,
    ) -> Result<ApiBackend> {
        let unknown = self.patterns.unknown.as_ref();
        if unknown.is_some_and(AnswerPattern::is_any) {
            return Err(Error::usage("--api-unknown any makes every hash unknown")
                .with_hint("give a text or a field that only a response to an unknown hash has"));
        }
        let client = self.http_client()?;
        self.warn_about_exposure();
        Ok(ApiBackend {
            client,
            base_url: self.base_url(),
            algorithm,
            case,
            key: self.key.clone(),
            display_url: self.display_url(),
            rules,
            patterns: self.patterns.clone(),
            check: self.check_hash(algorithm)?,
        })
    }

    /// The hash that the API must know. `None` if the caller gives none.
    fn check_hash(&self, algorithm: Algorithm) -> Result<Option<Hash>> {
        let check = self.check.as_deref().map(str::trim);
        let check = check.map(|text| {
            let hash = Hash::from_hex(text.as_bytes());
            hash.filter(|h| h.as_bytes().len() == algorithm.bytes())
                .ok_or_else(|| Error::usage(format!("--api-check is not a valid {algorithm} hash")))
        });
        check.transpose()
    }

    fn http_client(&self) -> Result<Client> {
        let mut client = Client::builder()
            .user_agent(concat!("hashferry/", env!("CARGO_PKG_VERSION")))
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .referer(false)
            .redirect(self.redirect_policy());
        if self.url.scheme() == "http" {
            // A proxy could read the key and the requests.
            client = client.no_proxy();
        }
        if let Some(pem) = &self.ca_cert {
            client = client.tls_certs_only(parse_certificates(pem)?);
        } else if self.url.scheme() == "http" {
            // Without TLS no certificates are needed, and the system may have none.
            client = client.tls_certs_only([]);
        }
        if self.insecure {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        client.build().map_err(|e| {
            Error::usage("cannot create a client for the API")
                .with_source(describe_error(e))
                .with_hint(
                    "give the certificates to trust with --ca-cert PEM if the system has none",
                )
        })
    }

    /// Follows redirects within the scheme, host and port of the URL.
    fn redirect_policy(&self) -> Policy {
        let allowed = (
            self.url.scheme().to_owned(),
            self.url.host_str().map(str::to_owned),
            self.url.port_or_known_default(),
        );
        Policy::custom(move |attempt| {
            let url = attempt.url();
            let target = (
                url.scheme().to_owned(),
                url.host_str().map(str::to_owned),
                url.port_or_known_default(),
            );
            match target == allowed && attempt.previous().len() <= MAX_REDIRECTS {
                true => attempt.follow(),
                false => attempt.stop(),
            }
        })
    }
}

/// Parses the certificates of `--ca-cert`. There must be at least one.
fn parse_certificates(pem: &[u8]) -> Result<Vec<Certificate>> {
    let invalid = |e| Error::usage("--ca-cert is not a certificate in PEM").with_source(e);
    let certificates = Certificate::from_pem_bundle(pem).map_err(|e| invalid(describe_error(e)))?;
    if certificates.is_empty() {
        return Err(Error::usage("--ca-cert has no certificate in PEM")
            .with_hint("give a file with -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

/// Describes an error and its causes, without the URL.
pub(super) fn describe_error(e: reqwest::Error) -> String {
    let e = e.without_url();
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(c) = cause {
        let message = c.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = c.source();
    }
    text
}

#[derive(Debug)]
pub(super) struct ApiResponse {
    status: u16,
    body: Vec<u8>,
    /// False if the body is too large and was cut off.
    is_complete: bool,
    location: Option<String>,
    /// Minimum time until a retry, from the header `Retry-After`. `None` without that header.
    pub(super) retry_after: Option<Duration>,
}

impl ApiResponse {
    /// True if the response to `text` and the response `other` to `other_text` differ only in
    /// the requested text.
    pub(super) fn is_equivalent(&self, text: &str, other: &ApiResponse, other_text: &str) -> bool {
        let without = |response: &ApiResponse, text: &str| {
            let body = String::from_utf8_lossy(&response.body).to_ascii_lowercase();
            body.replace(&text.to_ascii_lowercase(), "")
        };
        self.status == other.status && without(self, text) == without(other, other_text)
    }

    /// Describes an unusable response: its body is too large, or it redirects elsewhere. `None`
    /// for any other response.
    fn describe_unusable(&self) -> Option<String> {
        let status = self.status;
        match (&self.location, self.is_complete) {
            (_, false) if matches!(status, 200..400 | 404) => {
                Some(format!("status {status}, and a body of more than 1 MiB"))
            }
            (Some(to), true) if (300..400).contains(&status) => {
                // Only the host: the rest of the URL may be confidential.
                let to = Url::parse(to).ok();
                let host = to.and_then(|to| to.host_str().map(str::to_owned));
                let to = host.map_or_else(|| "elsewhere".to_owned(), |host| format!("to {host}"));
                let reason = "which must not receive the key";
                Some(format!("status {status}: a redirect {to}, {reason}"))
            }
            _ => None,
        }
    }
}

impl Backend for ApiBackend {
    async fn look_up(&self, keys: &[Entry<Hash>]) -> BackendReply {
        let Some(entry) = keys.first() else {
            return BackendReply::default();
        };
        let hash = entry.item;
        match self.get(&self.hash_text(&hash)).await {
            Ok(response) => self.backend_reply(keys, hash, &response),
            Err(e) => {
                let (class, message) = self.classify_failure(e);
                BackendReply::from_error(keys, class, message)
            }
        }
    }
}

impl ApiBackend {
    /// The URL for messages, without its query.
    pub(super) fn display_url(&self) -> &str {
        &self.display_url
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// A hash that the API must know. `None` if the caller gives none.
    pub(super) fn check_hash(&self) -> Option<&Hash> {
        self.check.as_ref()
    }

    /// `hash` as text in the URL.
    pub(super) fn hash_text(&self, hash: &Hash) -> String {
        hash.to_hex(self.case)
    }

    /// Sends one call, with `text` appended to the URL.
    ///
    /// # Errors
    /// If there is no response, or an incomplete one.
    pub(super) async fn get(&self, text: &str) -> reqwest::Result<ApiResponse> {
        let url = format!("{}{text}", self.base_url);
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
        let wait = header(RETRY_AFTER).and_then(|text| parse_retry_after(text, Timestamp::now()));
        let location = header(LOCATION).map(str::to_owned);
        let mut body = Vec::new();
        let mut whole = true;
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                whole = false;
                break;
            }
            body.extend_from_slice(&chunk);
        }
        if let Some(key) = &self.key {
            body = key.redact_body(body);
        }
        Ok(ApiResponse {
            status,
            body,
            is_complete: whole,
            location,
            retry_after: wait,
        })
    }

    /// The meaning of a response to `hash`.
    pub(super) fn parse_response(&self, received: &ApiResponse, hash: &Hash) -> ParsedResponse {
        self.parse_with_patterns(received, hash, &self.patterns)
    }

    /// True if the response means that `hash` is unknown only by the declared patterns.
    pub(super) fn is_declared_unknown(&self, received: &ApiResponse, hash: &Hash) -> bool {
        let by_known_shapes =
            self.parse_with_patterns(received, hash, &DeclaredPatterns::default());
        self.parse_response(received, hash) == ParsedResponse::Unknown
            && by_known_shapes != ParsedResponse::Unknown
    }

    /// True if the response has the field `status` of hashferry's API and means that `hash`
    /// is unknown.
    pub(super) fn is_hashferry_unknown(&self, received: &ApiResponse, hash: &Hash) -> bool {
        is_hashferry_unknown(&received.body, hash)
    }

    fn parse_with_patterns(
        &self,
        received: &ApiResponse,
        hash: &Hash,
        shape: &DeclaredPatterns,
    ) -> ParsedResponse {
        let parse = |body: &[u8]| {
            ParsedResponse::from_response(received.status, body, hash, self.algorithm, shape)
        };
        let parsed = match (received.describe_unusable(), received.is_complete) {
            (Some(message), _) => ParsedResponse::Error(message),
            // The status alone decides.
            (None, false) => parse(b""),
            (None, true) => parse(&received.body),
        };
        match parsed {
            ParsedResponse::Error(message) => ParsedResponse::Error(self.redact(message)),
            ParsedResponse::Denied(message) => ParsedResponse::Denied(self.redact(message)),
            ParsedResponse::Retry { throttled, why } => ParsedResponse::Retry {
                throttled,
                why: self.redact(why),
            },
            parsed => parsed,
        }
    }

    /// Describes a response: its status, and the beginning of its body.
    pub(super) fn describe_response(&self, received: &ApiResponse) -> String {
        let unusable = received.describe_unusable();
        self.redact(unusable.unwrap_or_else(|| describe(received.status, &received.body, None)))
    }

    /// The reply to `hash`, the only one of `keys`.
    fn backend_reply(
        &self,
        keys: &[Entry<Hash>],
        hash: Hash,
        received: &ApiResponse,
    ) -> BackendReply {
        let mut is_unrecognised = false;
        let reply = match self.parse_response(received, &hash) {
            ParsedResponse::Known(fields) => Reply::Known {
                foreign: (self.rules.as_ref())
                    .is_some_and(|rules| rules.has_other_rules(|name| field_text(&fields, name))),
                fields: fields.into(),
            },
            ParsedResponse::Unknown => Reply::Unknown,
            ParsedResponse::Error(message) => {
                is_unrecognised = true;
                Reply::Error(message.into())
            }
            ParsedResponse::Retry { throttled, why } => {
                let class = match throttled {
                    true => BackendErrorClass::Throttled,
                    false => BackendErrorClass::Transient,
                };
                let mut reply = BackendReply::from_error(keys, class, why);
                if let Some(error) = &mut reply.error {
                    error.retry_after = received.retry_after;
                }
                return reply;
            }
            ParsedResponse::Denied(message) => {
                let e = self.denied_error(message.clone());
                return BackendReply::from_error(keys, BackendErrorClass::Fatal(e), message);
            }
        };
        BackendReply {
            replies: vec![(hash, reply)],
            is_unrecognised,
            ..BackendReply::default()
        }
    }

    /// The error of a look-up without a valid key.
    pub(super) fn denied_error(&self, cause: String) -> Error {
        let problem = format!("{} denies access", self.display_url);
        let hint = match &self.key {
            Some(_) => "check the key: it is invalid, expired, or not allowed to look up hashes",
            None => "give a key: set HASHFERRY_API_KEY, or give --api-key-env or --api-key-file",
        };
        Error::new(ErrorKind::Read, problem)
            .with_source(cause)
            .with_hint(hint)
    }

    /// Class and description of the error of a call without a complete response.
    pub(super) fn classify_failure(&self, e: reqwest::Error) -> (BackendErrorClass, String) {
        let is_timeout = e.is_timeout();
        let message = self.redact(describe_error(e));
        // A retry cannot make a certificate trusted.
        if message.contains("invalid peer certificate") {
            let problem = format!("the certificate of {} is not trusted", self.display_url);
            let e = Error::new(ErrorKind::Read, problem).with_source(message.clone());
            let e = e.with_hint(match message.contains("CaUsedAsEndEntity") {
                true => {
                    "the server uses the certificate of an authority, as openssl req -x509 creates it; give the \
                     server its own certificate (CA:FALSE), signed by that authority, and the authority's to --ca-cert"
                }
                false => "give the certificates to trust with --ca-cert PEM",
            });
            return (BackendErrorClass::Fatal(e), message);
        }
        let message = match is_timeout {
            true => format!("no response in time: {message}"),
            false => format!("no response: {message}"),
        };
        (BackendErrorClass::Transient, message)
    }

    fn redact(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.redact(&text),
            None => text,
        }
    }
}
