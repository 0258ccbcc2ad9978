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
use crate::commands::lookup::api_options::{Api, ApiKey, KEY_HEADER};
use crate::commands::lookup::api_response::{Shape, Verdict, is_own_unknown, retry_after, why};
use crate::commands::lookup::backend::{AskedBy, Kind, Oracle, Reply, Told};
use crate::dynamodb::batch_get::plain_json::text_of;
use crate::flow::waiting::Keys;
use http::header::{ACCEPT, HeaderValue, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use std::error::Error as _;
use std::time::Duration;

/// The largest body that is read, in bytes.
const MOST_OF_BODY: usize = 1 << 20;

/// Redirections that are followed at most.
pub(super) const MOST_REDIRECTIONS: usize = 5;

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

impl Api {
    /// A client for it, for hashes of `algorithm`.
    pub(super) fn oracle(
        &self,
        algorithm: Algorithm,
        case: Case,
        rules: Option<AskedBy>,
    ) -> Result<ApiOracle> {
        let unknown = self.shape.unknown.as_ref();
        if unknown.is_some_and(AnswerPattern::is_any) {
            return Err(Error::usage("--api-unknown any makes every hash unknown")
                .hint("give a text or a field that only such an answer holds"));
        }
        let client = self.client()?;
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
            check: self.check_hash(algorithm)?,
        })
    }

    /// The hash that it must know, where one is named.
    fn check_hash(&self, algorithm: Algorithm) -> Result<Option<Hash>> {
        let check = self.check.as_deref().map(str::trim);
        let check = check.map(|text| {
            let hash = Hash::from_hex(text.as_bytes());
            hash.filter(|h| h.as_bytes().len() == algorithm.bytes())
                .ok_or_else(|| Error::usage(format!("--api-check is no {algorithm} hash")))
        });
        check.transpose()
    }

    /// The HTTP client.
    fn client(&self) -> Result<Client> {
        let mut client = Client::builder()
            .user_agent(concat!("hashferry/", env!("CARGO_PKG_VERSION")))
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .referer(false)
            .redirect(self.redirections());
        if self.url.scheme() == "http" {
            // A proxy would see the key, and all that is asked.
            client = client.no_proxy();
        }
        if let Some(pem) = &self.ca_cert {
            client = client.tls_certs_only(certificates(pem)?);
        } else if self.url.scheme() == "http" {
            // Nothing is checked by the system's, of which there may be none.
            client = client.tls_certs_only([]);
        }
        if self.insecure {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        client.build().map_err(|e| {
            Error::usage("cannot make a client for the API")
                .because(plain(e))
                .hint("--ca-cert PEM names the certificates to trust, where the system has none")
        })
    }

    /// Redirections within its own scheme, host and port.
    fn redirections(&self) -> Policy {
        let home = (
            self.url.scheme().to_owned(),
            self.url.host_str().map(str::to_owned),
            self.url.port_or_known_default(),
        );
        Policy::custom(move |attempt| {
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
        })
    }
}

/// The certificates in the file that `--ca-cert` names, at least one.
fn certificates(pem: &[u8]) -> Result<Vec<Certificate>> {
    let wrong = |e| Error::usage("--ca-cert is no certificate in PEM").because(e);
    let certificates = Certificate::from_pem_bundle(pem).map_err(|e| wrong(plain(e)))?;
    if certificates.is_empty() {
        return Err(Error::usage("--ca-cert holds no certificate in PEM")
            .hint("it begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(certificates)
}

/// What went wrong, without the URL.
pub(super) fn plain(e: reqwest::Error) -> String {
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
