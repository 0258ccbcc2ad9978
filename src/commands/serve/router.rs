//! The routes, and what every request goes through: the log, the counters, the Host
//! check, the key.

use crate::base::hash::Algorithm;
use crate::commands::serve::answer;
use crate::commands::serve::answer::{Asked, Status};
use crate::commands::serve::api_keys::Denied;
use crate::commands::serve::app::{App, MAX_ASKED};
use crate::commands::serve::body_budget::Held;
use crate::commands::serve::circl;
use crate::commands::serve::reads::{Found, Trouble};
use crate::dynamodb::batch_get::plain_json::text_of;
use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use futures::StreamExt as _;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Extensions, HeaderMap, StatusCode, Uri};

use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// The largest body of a request, in bytes.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// How long a body may take to come.
pub(super) const BODY_LIMIT: Duration = Duration::from_secs(10);

/// The largest answer, in bytes: items of as much, and no more.
pub(super) const MAX_ANSWER: usize = 16 * 1024 * 1024;

const PAGE: &str = include_str!("page.html");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who is at the other end of a connection. Set by whoever has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Whose key it was.
#[derive(Debug, Clone)]
pub(super) struct KeyName(pub(super) Arc<str>);

/// The routes.
pub(super) fn router(app: App) -> Router {
    let own = format!("/{}/{{hash}}", app.0.algorithm.name());
    let guarded = Router::new()
        .route(&own, get(one))
        .route("/lookup", post(many))
        .route("/path", get(path))
        .route("/metrics", get(metrics))
        .merge(circl::routes())
        .route_layer(middleware::from_fn_with_state(app.clone(), enter));
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(health))
        .route("/openapi.json", get(openapi))
        .merge(guarded)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

// -- what every request goes through -----------------------------------------

/// Logs and counts a request, and refuses one by a foreign name.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("other", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let peer = request.extensions().get::<Peer>().map(|p| p.0);
    let _here = Present::new(&app);
    let mut response = match app.0.gate.wants_keys() || is_from_here(&request) {
        true => next.run(request).await,
        false => error(
            StatusCode::FORBIDDEN,
            "this server has no API keys, so it answers only to a Host of this machine: localhost, 127.0.0.1 or [::1]",
        ),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (took, status) = (begun.elapsed(), response.status().as_u16());
    app.0.metrics.request(&route, status, took);
    let key = response.extensions().get::<KeyName>();
    tracing::info!(
        method = %method,
        route,
        status,
        ms = took.as_secs_f64() * 1000.0,
        bytes = response.body().size_hint().exact().unwrap_or_default(),
        key = key.map_or("", |k| &*k.0),
        peer = peer.map(|p| tracing::field::display(p.ip())),
        "request"
    );
    response
}

/// Counts a request as long as it is under way.
struct Present<'a>(&'a App);

impl Present<'_> {
    fn new(app: &App) -> Present<'_> {
        app.0.metrics.update(|c| c.requests_in_flight += 1);
        Present(app)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.0.metrics.update(|c| c.requests_in_flight -= 1);
    }
}

/// Whether a request names this machine, as a program here does, and comes from no page
/// of elsewhere.
fn is_from_here(request: &Request) -> bool {
    let host = request.uri().authority().map(|a| a.as_str()).or_else(|| {
        let mut all = request.headers().get_all(HOST).iter();
        let one = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(one)
    });
    let foreign = (request.headers().get(FETCH_SITE)).is_some_and(|site| site == "cross-site");
    host.is_some_and(is_loopback_name) && !(foreign && request.uri().path() != "/")
}

/// Whether `host`, with a port or without, is a name of this machine for itself.
fn is_loopback_name(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, rest)) => (name, rest),
            None => return false,
        },
        None => match host.find(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    let ip = |name: &str| name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    port_fits && (name.eq_ignore_ascii_case("localhost") || ip(name))
}

/// Lets in who may ask.
async fn enter(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let key = key_of(request.headers());
    let name = match app.0.gate.enter(key) {
        Ok(name) => name,
        Err(denied) => {
            let why = match denied {
                Denied::NoKey => {
                    "an API key is needed: send it as x-api-key, or as Authorization: Bearer"
                }
                Denied::WrongKey => "this API key is not valid",
            };
            let mut response = error(StatusCode::UNAUTHORIZED, why);
            let challenge = HeaderValue::from_static("Bearer realm=\"hashferry\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return response;
        }
    };
    let name = KeyName(name);
    request.extensions_mut().insert(name.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(name);
    response
}

/// Whose request it is: the name of the key, or the address it came from.
fn client_of(extensions: &Extensions) -> Arc<str> {
    let name = extensions.get::<KeyName>().map(|n| n.0.clone());
    let peer = || {
        extensions
            .get::<Peer>()
            .map(|p| p.0.ip().to_string().into())
    };
    let name = name.filter(|n| !n.is_empty());
    name.or_else(peer).unwrap_or_else(|| "".into())
}

fn key_of(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(API_KEY) {
        return Some(key.as_bytes().trim_ascii());
    }
    let authorization = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = authorization.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| key.trim_ascii())
}

// -- what the routes have in common ------------------------------------------

/// An answer instead of the one that was asked for.
#[derive(Debug)]
pub(super) struct Refusal(Box<Response>);

impl From<Response> for Refusal {
    fn from(response: Response) -> Refusal {
        Refusal(Box::new(response))
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Response {
        *refusal.0
    }
}

/// A JSON answer.
pub(super) fn reply(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An answer that is not about a hash.
pub(super) fn error(status: StatusCode, why: &str) -> Response {
    let json = json!({"status": "error", "error": why});
    let mut response = reply(status, json.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

impl App {
    /// Takes `count` requests from the rate of whoever asks.
    pub(super) fn charge(&self, extensions: &Extensions, count: usize) -> Result<(), Refusal> {
        let name = extensions.get::<KeyName>().map(|n| n.0.clone());
        let charged = self
            .0
            .gate
            .charge(&name.unwrap_or_else(|| "".into()), count);
        charged.map_err(|wait| {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            let why = format!("too many requests: the next one may come in {seconds} s");
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, &why);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response.into()
        })
    }

    /// What the table says of those of `asked` that are hashes, in their order. The time
    /// of a request counts from here: that of its body has a limit of its own.
    pub(super) async fn find(&self, asked: &[Asked]) -> Vec<Found> {
        let hashes: Vec<_> = asked
            .iter()
            .filter_map(|a| a.hash.as_ref().ok().copied())
            .collect();
        let deadline = Instant::now() + self.0.request_limit;
        let found = self.0.reads.get(&hashes, deadline).await;
        self.check_rules(asked, &found);
        found
    }

    /// Says once when an item tells that other rules made its path comparable: then
    /// paths are asked for in vain, and look unknown.
    fn check_rules(&self, asked: &[Asked], found: &[Found]) {
        let rules = self.0.normalizer.rules().name();
        let of_paths = asked.iter().filter(|a| a.hash.is_ok()).zip(found);
        for (_, found) in of_paths.filter(|(asked, _)| asked.path.is_some()) {
            let Found::Known(fields) = found else {
                continue;
            };
            let others = text_of(fields, "item.rules").filter(|others| others != rules);
            if let Some(others) = others
                && !self.0.warned_of_rules.swap(true, Ordering::Relaxed)
            {
                let others = crate::base::printable::shown(others.as_bytes(), 20);
                tracing::warn!(
                    "the table was built by the rules {others}, and paths are looked up by {rules}: give --rules {others}, \
                     else paths that are in the table can look unknown"
                );
            }
        }
    }

    pub(super) fn count(&self, statuses: impl IntoIterator<Item = Status>) {
        self.0.metrics.update(|c| {
            for status in statuses {
                *c.answers.entry(status.name()).or_default() += 1;
            }
        });
    }

    /// The answer to one hash or path.
    async fn answer(&self, asked: Asked, extensions: &Extensions) -> Response {
        if let Err(refused) = self.charge(extensions, 1) {
            return refused.into();
        }
        let found = self.find(std::slice::from_ref(&asked)).await;
        let mut json = Vec::with_capacity(512);
        let rules = self.0.normalizer.rules().name();
        let status = answer::write(&asked, rules, found.first(), &mut json);
        tracing::debug!(
            input = crate::base::printable::shown(asked.input.as_bytes(), 200),
            status = status.name(),
            "looked up"
        );
        self.count([status]);
        let http = StatusCode::from_u16(status.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply(http, json);
        if status == Status::Error {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The body of a request, whole, and what it takes of the memory of all: to be held
    /// until the answer is there.
    pub(super) async fn body(&self, request: Request) -> Result<(Vec<u8>, Held), Response> {
        let too_large = || {
            error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is larger than 1 MiB: ask for fewer at once",
            )
        };
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|l| l > MAX_BODY) {
            return Err(too_large());
        }
        let mut held = self.0.bodies.begin(client_of(request.extensions()));
        let mut stream = request.into_body().into_data_stream();
        let mut body = Vec::new();
        let read = async {
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|_| {
                    error(StatusCode::BAD_REQUEST, "the body broke off before its end")
                })?;
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(too_large());
                }
                if !held.grow(body.len() + chunk.len()) {
                    let why = "too much is being sent at the moment: try again later";
                    return Err(error(StatusCode::SERVICE_UNAVAILABLE, why));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(BODY_LIMIT, read).await {
            Ok(Ok(())) => Ok((body, held)),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(error(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come within 10 s",
            )),
        }
    }
}

// -- the routes --------------------------------------------------------------

/// What was in the place of a hash.
pub(super) fn segment(
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> String {
    // What is no UTF-8 is no hash either.
    path.map_or_else(|_| "\u{FFFD}".to_owned(), |Path(text)| text)
}

async fn one(
    State(app): State<App>,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    extensions: Extensions,
) -> Response {
    let asked = Asked::hash(app.0.algorithm, segment(path));
    app.answer(asked, &extensions).await
}

async fn path(State(app): State<App>, uri: Uri, extensions: Extensions) -> Response {
    if let Err(refused) = app.has_paths() {
        return refused.into();
    }
    let Some(value) = query_value(uri.query().unwrap_or_default(), "p") else {
        return error(
            StatusCode::BAD_REQUEST,
            "no path is given: /path?p=PATH, percent-encoded",
        );
    };
    let asked = match String::from_utf8(value) {
        Ok(path) => Asked::path(&app.0.normalizer, path),
        Err(e) => Asked {
            input: String::from_utf8_lossy(e.as_bytes()).into_owned(),
            path: None,
            hash: Err(crate::list::matchmeta::normalizer::Unfit::Utf8.to_string()),
        },
    };
    app.answer(asked, &extensions).await
}

/// The value of the field `name` in a query, as forms write it: percent-encoded, a plus
/// being a blank.
fn query_value(query: &str, name: &str) -> Option<Vec<u8>> {
    let mut fields = query
        .split('&')
        .map(|f| f.split_once('=').unwrap_or((f, "")));
    let (_, value) = fields.find(|(n, _)| decoded(n) == name.as_bytes())?;
    Some(decoded(value))
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        let byte = match (first, rest) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => first,
        };
        out.push(byte);
    }
    out
}

/// What is posted to `/lookup`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    hashes: Option<Vec<String>>,
    paths: Option<Vec<String>>,
}

async fn many(State(app): State<App>, request: Request) -> Response {
    let extensions = request.extensions().clone();
    match app.many(request, &extensions).await {
        Ok(answer) | Err(answer) => answer,
    }
}

impl App {
    /// Refuses paths where they can never be known.
    fn has_paths(&self) -> Result<(), Refusal> {
        match self.0.algorithm {
            Algorithm::Sha256 => Ok(()),
            algorithm => Err(error(
                StatusCode::BAD_REQUEST,
                &format!("paths are looked up by their SHA-256, and this table has {algorithm}"),
            )
            .into()),
        }
    }

    async fn many(&self, request: Request, extensions: &Extensions) -> Result<Response, Response> {
        let bad = |why: &str| error(StatusCode::BAD_REQUEST, why);
        let (body, _held) = self.body(request).await?;
        let many: Many = serde_json::from_slice(&body).map_err(|e| {
            bad(&format!(
                "the body must be {{\"hashes\":[…]}} or {{\"paths\":[…]}}, lists of text: {e}"
            ))
        })?;
        drop(body);
        let asked: Vec<Asked> = match (many.hashes, many.paths) {
            (Some(hashes), None) => {
                check_count(hashes.len())?;
                let each = hashes.into_iter();
                each.map(|text| Asked::hash(self.0.algorithm, text))
                    .collect()
            }
            (None, Some(paths)) => {
                self.has_paths()?;
                check_count(paths.len())?;
                let each = paths.into_iter();
                each.map(|path| Asked::path(&self.0.normalizer, path))
                    .collect()
            }
            _ => return Err(bad("give either hashes or paths, and one of them")),
        };
        self.charge(extensions, asked.len().max(1))?;
        let mut found = self.find(&asked).await.into_iter();
        let rules = self.0.normalizer.rules().name();
        let mut json = Vec::with_capacity(64 + asked.len() * 200);
        let mut statuses = Vec::with_capacity(asked.len());
        json.extend_from_slice(b"{\"results\":[");
        for asked in &asked {
            if !statuses.is_empty() {
                json.push(b',');
            }
            let mut found = asked.hash.is_ok().then(|| found.next()).flatten();
            if json.len() > MAX_ANSWER {
                found = Some(Found::Error(Trouble::Large));
            }
            statuses.push(answer::write(asked, rules, found.as_ref(), &mut json));
        }
        json.extend_from_slice(b"]}");
        self.count(statuses);
        Ok(reply(StatusCode::OK, json))
    }
}

/// Refuses more than may be asked for at once.
pub(super) fn check_count(count: usize) -> Result<(), Refusal> {
    match count <= MAX_ASKED {
        true => Ok(()),
        false => Err(error(
            StatusCode::BAD_REQUEST,
            &format!("{count} at once are too many: up to {MAX_ASKED} are answered"),
        )
        .into()),
    }
}

async fn page() -> Response {
    let mut response = Response::new(Body::from(PAGE));
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, html);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

async fn openapi(State(app): State<App>) -> Response {
    reply(StatusCode::OK, app.0.openapi.clone())
}

async fn metrics(State(app): State<App>) -> Response {
    let mut response = Response::new(Body::from(app.0.metrics.text(app.rate())));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

async fn health(State(app): State<App>) -> Response {
    let counts = app.0.metrics.read();
    // The process is alive, whatever the table does.
    let json = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "table": match (counts.failing, counts.answered) {
            (true, _) => "failing",
            (false, Some(_)) => "answering",
            (false, None) => "not asked yet",
        },
        "table_answered_s_ago": counts.answered.map(|at| at.elapsed().as_secs_f64()),
    });
    reply(StatusCode::OK, json.to_string())
}

async fn no_route(State(app): State<App>, uri: Uri) -> Response {
    let algorithm = app.0.algorithm.name();
    let mut parts = uri.path().split('/').skip(1);
    let other = parts.next().and_then(Algorithm::from_name);
    let why: Cow<'_, str> = match (other, parts.next(), parts.next()) {
        (Some(_), Some(_), None) => format!(
            "no such route: the hashes of this table are {algorithm}, /{algorithm}/{{hash}}"
        )
        .into(),
        _ => "no such route: /openapi.json has those that there are".into(),
    };
    error(StatusCode::NOT_FOUND, &why)
}

async fn no_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "this route has no such method: /openapi.json has those that there are",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_its_own() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "localhost:",
            "localhost:x",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::1",
            "[::1]x",
            "::1",
            "127.0.0.1:99999",
            "user@localhost",
            "127.1",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn a_path_in_a_query_is_read_as_forms_write_it() {
        let p = |query: &str| query_value(query, "p");
        assert_eq!(p("p=/home/a%20b+c%2B"), Some(b"/home/a b c+".to_vec()));
        assert_eq!(p("x=1&p=%ff"), Some(vec![0xff]));
        assert_eq!(p("%70=C:%5Cx&p=2"), Some(b"C:\\x".to_vec()));
        assert_eq!(p("p=100%&q"), Some(b"100%".to_vec()));
        assert_eq!(p("p=%zz%4"), Some(b"%zz%4".to_vec()));
        assert_eq!(p("p"), Some(Vec::new()));
        assert_eq!(p("p="), Some(Vec::new()));
        assert_eq!(p("q=p"), None);
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        let key = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            key_of(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(key("x-api-key", "k"), Some(b"k".to_vec()));
        assert_eq!(key("authorization", "bearer  k"), Some(b"k".to_vec()));
        assert_eq!(key("authorization", "Basic k"), None);
        assert_eq!(key("authorization", "B"), None);
        assert_eq!(key("cookie", "k"), None);
    }
}
