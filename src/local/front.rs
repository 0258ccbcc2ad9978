//! What stands before both servers: programs on this machine pass, web pages do not.
//!
//! Any page in a browser on this machine can send requests to 127.0.0.1, and the servers
//! ask for no secret. A browser says of each request where it comes from, and a page
//! cannot change that. So these are refused, with 403 in the service's own form:
//!
//! * a `Host` other than this machine's names: a page that points a name of its own at
//!   127.0.0.1 (DNS rebinding);
//! * an `Origin` other than the server's own, `null` included;
//! * a `Sec-Fetch-Site` other than `none` and `same-origin`;
//! * a preflight (`Access-Control-Request-Method`).
//!
//! AWS clients send none of these headers but `Host`. No answer carries a CORS header.

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

/// What goes wrong with a body, or on the way to an answer.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An answer of either server.
pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The names of this machine that a client may call it by.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// How much of a header is repeated in the message about it, in characters.
const SHOWN_CHARACTERS: usize = 100;

/// How long requests that are still running get once a stop is asked for.
const GRACE: Duration = Duration::from_secs(2);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// One of the two services, behind one connection.
pub(super) trait Service: Send + Sync + 'static {
    /// The name, for the log.
    const NAME: &'static str;

    /// Answers a request that may be answered.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;

    /// The content type and the body of the service's own error for a denied request.
    fn denied(message: &str) -> (&'static str, String);
}

/// Serves until `stop`, and then for as long as requests run, within limits. Each
/// connection has a service of its own.
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
                    connections.spawn(connection(stream, service(), port, stop.clone()));
                }
                Err(error) => {
                    // Mostly: too many open files. Give some the time to close.
                    tracing::warn!(%error, "the local {name} server cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            // Reaps those that ended.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all_ended).await.is_err() {
        tracing::debug!("local {name} requests cut off");
    }
}

async fn connection<S: Service>(stream: TcpStream, service: S, port: u16, stop: CancellationToken) {
    let name = S::NAME;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = Arc::new(service);
    let service = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(pass(&*service, port, request).await) }
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
        // A client that goes away in the middle is its own business.
        tracing::debug!(%error, "a connection to the local {name} server broke off");
    }
}

/// Passes a request on, or refuses it.
async fn pass<S: Service>(service: &S, port: u16, mut request: Request<Incoming>) -> Answer {
    if let Some(why) = refusal(request.uri(), request.headers(), port) {
        tracing::debug!("the local {} server refused a request: {why}", S::NAME);
        let (kind, body) = S::denied(&why);
        let mut answer = answer(StatusCode::FORBIDDEN, kind, body);
        // The body of the request is not read.
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(header::CONNECTION, close);
        return answer;
    }
    // dynoxide would take it for a browser's and allow every page to read the answer.
    request.headers_mut().remove(header::ORIGIN);
    let mut answer = service.answer(request).await;
    let cors: Vec<HeaderName> = (answer.headers().keys())
        .filter(|name| name.as_str().starts_with("access-control-"))
        .cloned()
        .collect();
    for name in cors {
        answer.headers_mut().remove(name);
    }
    answer
}

/// An answer with this text for a body.
pub(super) fn answer(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// Why a request to a server on `port` is refused, if it is.
fn refusal(uri: &Uri, headers: &HeaderMap, port: u16) -> Option<String> {
    let hint = format!("call it by http://127.0.0.1:{port} or http://localhost:{port}");
    let hosts = headers.get_all(header::HOST);
    if uri.authority().is_none() && hosts.iter().next().is_none() {
        return Some(format!("the request has no Host header; {hint}"));
    }
    let authority = uri.authority().map(|a| a.as_str().as_bytes());
    for host in hosts.iter().map(HeaderValue::as_bytes).chain(authority) {
        if !is_ours(host, port) {
            let host = shown(host);
            return Some(format!(
                "{host} is not the address of this server, which serves this machine only; {hint}"
            ));
        }
    }
    for origin in headers.get_all(header::ORIGIN) {
        let authority = origin.as_bytes().strip_prefix(b"http://");
        // Without a port it would be that of port 80, another server.
        let own = authority.is_some_and(|a| {
            is_ours(a, port) && (a.ends_with(format!(":{port}").as_bytes()) || port == 80)
        });
        if !own {
            let origin = shown(origin.as_bytes());
            return Some(format!(
                "the request comes from a web page ({origin}); this server serves programs on this machine, no pages"
            ));
        }
    }
    for site in headers.get_all(SEC_FETCH_SITE) {
        if !matches!(site.as_bytes(), b"none" | b"same-origin") {
            let site = shown(site.as_bytes());
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

/// Whether `authority` names this machine, and `port` if any.
fn is_ours(authority: &[u8], port: u16) -> bool {
    let Ok(authority) = std::str::from_utf8(authority) else {
        return false;
    };
    NAMES.iter().any(|name| {
        let Some((host, rest)) = authority.split_at_checked(name.len()) else {
            return false;
        };
        host.eq_ignore_ascii_case(name) && (rest.is_empty() || rest == format!(":{port}"))
    })
}

/// The value of a header, in quotes and safe to show.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let cut: String = text.chars().take(SHOWN_CHARACTERS).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        refusal(&uri.parse().unwrap(), &map, 8000)
    }

    #[test]
    fn a_host_is_one_of_this_machines_names() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8000",
            "localhost",
            "LocalHost:8000",
            "[::1]",
            "[::1]:8000",
        ] {
            assert_eq!(refused("/", &[("host", host)]), None, "{host}");
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
            let why = refused("/", &[("host", host)]).expect(host);
            assert!(why.contains("http://127.0.0.1:8000"), "{why}");
        }
        assert!(refused("/", &[]).is_some());
        assert!(refused("/", &[("host", "localhost"), ("host", "evil.example")]).is_some());
    }

    #[test]
    fn an_absolute_address_counts_as_the_host() {
        assert_eq!(refused("http://localhost:8000/a", &[]), None);
        let own = ("host", "localhost:8000");
        assert_eq!(refused("http://localhost:8000/a", &[own]), None);
        assert!(refused("http://evil.example/a", &[own]).is_some());
        let foreign = ("host", "evil.example");
        assert!(refused("http://localhost:8000/a", &[foreign]).is_some());
    }

    #[test]
    fn an_origin_is_the_servers_own_or_refused() {
        let with = |name, value| refused("/", &[("host", "localhost:8000"), (name, value)]);
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
    fn what_a_message_repeats_is_harmless_and_short() {
        let why = refused(
            "/",
            &[
                ("host", "localhost"),
                ("origin", "http://\u{202E}\u{9b}2J<x>"),
            ],
        )
        .expect("refused");
        assert!(why.contains("\\u{202e}\\u{9b}2J<x>"), "{why}");
        let long = "x".repeat(5_000);
        assert!(refused("/", &[("host", &long)]).expect("refused").len() < 400);
    }
}
