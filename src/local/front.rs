//! HTTP server of both services: accepts programs on this machine, denies web pages.
//!
//! Any page in a browser on this machine can send requests to 127.0.0.1, and the servers
//! need no secret. A browser names the origin of each request, and a page
//! cannot change that. So these get status 403, with an error in the service's format:
//!
//! * a `Host` other than this machine's names: a page whose domain resolves to
//!   127.0.0.1 (DNS rebinding);
//! * an `Origin` other than the server's own, `null` included;
//! * a `Sec-Fetch-Site` other than `none` and `same-origin`;
//! * a preflight (`Access-Control-Request-Method`).
//!
//! AWS clients send only `Host` of these headers. No response has a CORS header.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Error of a body or of a request.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Response of either server.
pub(super) type HttpResponse = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Host names that a client may use.
const HOST_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Maximum number of characters of a header in a message about it.
const MAX_SHOWN_CHARACTERS: usize = 100;

/// Time that running requests get after a stop request.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// One of the two services, for one connection.
pub(super) trait Service: Send + Sync + 'static {
    /// Name in log lines.
    const NAME: &'static str;

    /// Handles an allowed request.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = HttpResponse> + Send;

    /// Content type and body of the service's error for a denied request.
    fn access_denied(message: &str) -> (&'static str, String);
}

/// Serves until `stop`, then waits a limited time for running requests. Each
/// connection has a separate service.
pub(super) async fn serve<S: Service>(
    listener: TcpListener,
    service: impl Fn() -> S,
    stop: CancellationToken,
) {
    let name = S::NAME;
    let port = match listener.local_addr() {
        Ok(address) => address.port(),
        Err(error) => return tracing::error!(%error, "the local {name} server has no address"),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, service(), port, stop.clone()));
                }
                Err(error) => {
                    // Usually too many open files: some may close meanwhile.
                    tracing::warn!(%error, "the local {name} server cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            // Removes finished connections from the set.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended)
        .await
        .is_err()
    {
        tracing::debug!("local {name} requests cut off");
    }
}

async fn serve_connection<S: Service>(
    stream: TcpStream,
    service: S,
    port: u16,
    stop: CancellationToken,
) {
    let name = S::NAME;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = Arc::new(service);
    let service = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(check_and_handle(&*service, port, request).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client may disconnect at any time.
        tracing::debug!(%error, "a connection to the local {name} server broke off");
    }
}

/// Handles a request if it is allowed, or denies it.
async fn check_and_handle<S: Service>(
    service: &S,
    port: u16,
    mut request: Request<Incoming>,
) -> HttpResponse {
    if let Some(why) = denial_reason(request.uri(), request.headers(), port) {
        tracing::debug!("the local {} server denied a request: {why}", S::NAME);
        let (kind, body) = S::access_denied(&why);
        let mut answer = answer(StatusCode::FORBIDDEN, kind, body);
        // The rest of the connection is useless, because the body is unread.
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
        return answer;
    }
    // With this header dynoxide would let every page read the response.
    request.headers_mut().remove(header::ORIGIN);
    let mut answer = service.handle(request).await;
    let cors: Vec<HeaderName> = (answer.headers().keys())
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in cors {
        answer.headers_mut().remove(name);
    }
    answer
}

/// Builds a response with this body.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Reason to deny a request to a server on `port`; `None` if it is allowed.
fn denial_reason(uri: &Uri, headers: &HeaderMap, port: u16) -> Option<String> {
    let hint = format!("call it by http://127.0.0.1:{port} or http://localhost:{port}");
    let hosts = headers.get_all(header::HOST);
    if uri.authority().is_none() && hosts.iter().next().is_none() {
        return Some(format!("the request has no Host header; {hint}"));
    }
    let authority = uri.authority().map(|a| a.as_str().as_bytes());
    for host in hosts.iter().map(HeaderValue::as_bytes).chain(authority) {
        if !is_local_authority(host, port) {
            let host = quote_header(host);
            return Some(format!(
                "{host} is not the address of this server, which serves this machine only; {hint}"
            ));
        }
    }
    for origin in headers.get_all(header::ORIGIN) {
        let authority = origin.as_bytes().strip_prefix(b"http://");
        // An origin without a port is that of port 80, another server.
        let own = authority.is_some_and(|a| {
            is_local_authority(a, port)
                && (a.ends_with(format!(":{port}").as_bytes()) || port == 80)
        });
        if !own {
            let origin = quote_header(origin.as_bytes());
            return Some(format!(
                "the request comes from a web page ({origin}); this server serves programs on this machine, no pages"
            ));
        }
    }
    for site in headers.get_all(SEC_FETCH_SITE) {
        if !matches!(site.as_bytes(), b"none" | b"same-origin") {
            let site = quote_header(site.as_bytes());
            return Some(format!(
                "the request comes from a web page of another site (Sec-Fetch-Site: {site}); \
                 this server serves programs on this machine, no pages"
            ));
        }
    }
    headers
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        .then(|| "this server allows no requests of web pages (CORS)".to_owned())
}

/// True if `authority` names this machine, with `port` or without a port.
fn is_local_authority(authority: &[u8], port: u16) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else {
        return false;
    };
    HOST_NAMES.iter().any(|name| {
        let Some((host, rest)) = authority.split_at_checked(name.len()) else {
            return false;
        };
        host.eq_ignore_ascii_case(name) && (rest.is_empty() || rest == format!(":{port}"))
    })
}

/// Quotes and escapes the value of a header for a message.
fn quote_header(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let cut: String = text.chars().take(MAX_SHOWN_CHARACTERS).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        denial_reason(&uri.parse().unwrap(), &map, 8000)
    }

    #[test]
    fn only_host_names_of_this_machine_are_allowed() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8000",
            "localhost",
            "LocalHost:8000",
            "[::1]",
            "[::1]:8000",
        ] {
            assert_eq!(denial("/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "",
            "x",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example:8000",
            "127.0.0.1:8001",
            "127.0.0.1:",
            "localhost:080000",
            "lists.localhost:8000",
            "localhost@evil.example",
            "127.0.0.2",
            "0.0.0.0:8000",
            "[::2]",
            "::1",
            "é",
        ] {
            let why = denial("/", &[("host", host)]).expect(host);
            assert!(why.contains("http://127.0.0.1:8000"), "{why}");
        }
        assert!(denial("/", &[]).is_some());
        assert!(denial("/", &[("host", "localhost"), ("host", "evil.example")]).is_some());
    }

    #[test]
    fn the_host_of_an_absolute_uri_is_checked() {
        assert_eq!(denial("http://localhost:8000/a", &[]), None);
        let own = ("host", "localhost:8000");
        assert_eq!(denial("http://localhost:8000/a", &[own]), None);
        assert!(denial("http://evil.example/a", &[own]).is_some());
        let foreign = ("host", "evil.example");
        assert!(denial("http://localhost:8000/a", &[foreign]).is_some());
    }

    #[test]
    fn only_the_origin_of_the_server_is_allowed() {
        let with = |name, value| denial("/", &[("host", "localhost:8000"), (name, value)]);
        assert_eq!(with("origin", "http://localhost:8000"), None);
        assert_eq!(with("origin", "http://127.0.0.1:8000"), None);
        for origin in [
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "https://localhost:8000",
            "http://evil.example",
            "http://localhost:8000.evil.example",
            "file://",
        ] {
            let why = with("origin", origin).expect(origin);
            assert!(why.contains("web page"), "{why}");
        }
        for site in ["none", "same-origin"] {
            assert_eq!(with("sec-fetch-site", site), None);
        }
        for site in ["cross-site", "same-site", "", "None", "none, cross-site"] {
            assert!(with("sec-fetch-site", site).is_some(), "{site}");
        }
        assert!(with("access-control-request-method", "POST").is_some());
    }

    #[test]
    fn header_values_in_messages_are_escaped_and_short() {
        let why = denial(
            "/",
            &[
                ("host", "localhost"),
                ("origin", "http://\u{202E}\u{9b}2J<x>"),
            ],
        )
        .expect("denied");
        assert!(why.contains("\\u{202e}\\u{9b}2J<x>"), "{why}");
        let long = "x".repeat(5_000);
        assert!(denial("/", &[("host", &long)]).expect("denied").len() < 400);
    }
}
