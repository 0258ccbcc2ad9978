//! Routes, and the middleware of every request: log, counters, Host check, API key.

use crate::commands::serve::access::Denied;
use crate::commands::serve::app::App;
use crate::commands::serve::request::{KeyName, Peer};
use crate::commands::serve::response::error;
use crate::commands::serve::{circl, handlers};
use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, HOST, HeaderName, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use std::net::IpAddr;
use tokio::time::Instant;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl App {
    /// The routes. See the [module](self).
    pub(crate) fn router(&self) -> Router {
        router(self.clone())
    }
}

fn router(app: App) -> Router {
    let own = format!("/{}/{{hash}}", app.0.algorithm.name());
    let guarded = Router::new()
        .route(&own, get(handlers::look_up_one))
        .route("/lookup", post(handlers::look_up_many))
        .route("/path", get(handlers::look_up_path))
        .route("/metrics", get(handlers::metrics))
        .merge(circl::routes())
        .route_layer(middleware::from_fn_with_state(app.clone(), authenticate));
    Router::new()
        .route("/", get(handlers::page))
        .route("/healthz", get(handlers::health))
        .route("/openapi.json", get(handlers::openapi))
        .merge(guarded)
        .fallback(handlers::no_route)
        .method_not_allowed_fallback(handlers::no_method)
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Logs and counts a request. Without API keys, denies requests to foreign host names.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("other", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let peer = request.extensions().get::<Peer>().map(|p| p.0);
    let _here = RequestGuard::new(&app);
    let mut response = match app.0.access.requires_keys() || is_same_origin(&request) {
        true => next.run(request).await,
        false => error(
            StatusCode::FORBIDDEN,
            "this server has no API keys and accepts only a Host of this machine: localhost, 127.0.0.1 or [::1]",
        ),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (took, status) = (begun.elapsed(), response.status().as_u16());
    app.0.metrics.record_request(&route, status, took);
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

/// Counts a request while it is in flight.
struct RequestGuard<'a>(&'a App);

impl RequestGuard<'_> {
    fn new(app: &App) -> RequestGuard<'_> {
        app.0.metrics.update(|c| c.requests_in_flight += 1);
        RequestGuard(app)
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.0.0.metrics.update(|c| c.requests_in_flight -= 1);
    }
}

/// True if the Host of a request is this machine, and no web page of another site sent it.
fn is_same_origin(request: &Request) -> bool {
    let host = request.uri().authority().map(|a| a.as_str()).or_else(|| {
        let mut all = request.headers().get_all(HOST).iter();
        let one = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(one)
    });
    let foreign = (request.headers().get(FETCH_SITE)).is_some_and(|site| site == "cross-site");
    host.is_some_and(is_loopback_name) && !(foreign && request.uri().path() != "/")
}

/// True if `host`, with or without a port, is a loopback name or address.
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

/// Admits requests with a valid API key, or all if none is required.
async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let key = api_key(request.headers());
    let name = match app.0.access.authenticate(key) {
        Ok(name) => name,
        Err(denied) => {
            let why = match denied {
                Denied::NoKey => {
                    "an API key is required; send it as x-api-key, or as Authorization: Bearer"
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

fn api_key(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get(API_KEY) {
        return Some(key.as_bytes().trim_ascii());
    }
    let authorization = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = authorization.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_accepted() {
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
    fn a_key_is_taken_from_either_header() {
        let key = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            api_key(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(key("x-api-key", "k"), Some(b"k".to_vec()));
        assert_eq!(key("authorization", "bearer  k"), Some(b"k".to_vec()));
        assert_eq!(key("authorization", "Basic k"), None);
        assert_eq!(key("authorization", "B"), None);
        assert_eq!(key("cookie", "k"), None);
    }
}
