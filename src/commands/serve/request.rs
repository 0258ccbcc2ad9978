//! Steps of each look-up request: its client, its rate, its body, and the reads of the table.

use crate::base::printable::shown;
use crate::commands::serve::answer::{Asked, Status};
use crate::commands::serve::app::App;
use crate::commands::serve::body_budget::Held;
use crate::commands::serve::pending::Found;
use crate::commands::serve::response::{Refusal, error};
use crate::dynamodb::batch_get::plain_json::text_of;
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt as _;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{Extensions, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// How long a body may take to come.
pub(super) const BODY_LIMIT: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection. Set by whoever has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Whose key it was.
#[derive(Debug, Clone)]
pub(super) struct KeyName(pub(super) Arc<str>);

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
                let others = shown(others.as_bytes(), 20);
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
