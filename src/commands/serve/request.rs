//! Steps of each look-up request: its client, its rate, its body, and the reads of the table.

use crate::base::printable::printable_bytes;
use crate::commands::serve::answer::{Query, Status};
use crate::commands::serve::app::App;
use crate::commands::serve::body_budget::Reservation;
use crate::commands::serve::pending::Found;
use crate::commands::serve::response::{ErrorResponse, error};
use crate::dynamodb::batch_get::plain_json::field_text;
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

/// Maximum size of a request body: 1 MiB.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Timeout for receiving a body.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Address of the client, set by the server of a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Name of the request's API key.
#[derive(Debug, Clone)]
pub(super) struct KeyName(pub(super) Arc<str>);

/// Name of the client: the name of its API key, or its address.
fn client_name(extensions: &Extensions) -> Arc<str> {
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
    /// Charges `count` hashes and paths to the client's rate limit.
    pub(super) fn charge(
        &self,
        extensions: &Extensions,
        count: usize,
    ) -> Result<(), ErrorResponse> {
        let name = extensions.get::<KeyName>().map(|n| n.0.clone());
        let charged = self
            .0
            .access
            .charge(&name.unwrap_or_else(|| "".into()), count);
        charged.map_err(|wait| {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            let why = format!("too many requests; retry in {seconds} s");
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, &why);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response.into()
        })
    }

    /// Looks up the valid hashes in `asked`, in their order. The request timeout starts here;
    /// the body has a separate timeout.
    pub(super) async fn find(&self, asked: &[Query]) -> Vec<Found> {
        let hashes: Vec<_> = asked
            .iter()
            .filter_map(|a| a.hash.as_ref().ok().copied())
            .collect();
        let deadline = Instant::now() + self.0.request_timeout;
        let found = self.0.reads.get(&hashes, deadline).await;
        self.check_rules(asked, &found);
        found
    }

    /// Warns once if an item was written with other path rules. Look-ups of its paths would
    /// then find nothing.
    fn check_rules(&self, asked: &[Query], found: &[Found]) {
        let rules = self.0.normalizer.rules().name();
        let of_paths = asked.iter().filter(|a| a.hash.is_ok()).zip(found);
        for (_, found) in of_paths.filter(|(asked, _)| asked.normalized_path.is_some()) {
            let Found::Known(fields) = found else {
                continue;
            };
            let others = field_text(fields, "item.rules").filter(|others| others != rules);
            if let Some(others) = others
                && !self.0.has_warned_of_rules.swap(true, Ordering::Relaxed)
            {
                let others = printable_bytes(others.as_bytes(), 20);
                tracing::warn!(
                    "the table's paths were normalised by rules {others}, but look-ups use {rules}; give --rules {others}, \
                     otherwise paths that are in the table can be answered as unknown"
                );
            }
        }
    }

    pub(super) fn count_answers(&self, statuses: impl IntoIterator<Item = Status>) {
        self.0.metrics.update(|c| {
            for status in statuses {
                *c.answers.entry(status.name()).or_default() += 1;
            }
        });
    }

    /// Reads the body of a request. Returns it with its memory reservation, to keep until
    /// the response is complete.
    pub(super) async fn read_body(
        &self,
        request: Request,
    ) -> Result<(Vec<u8>, Reservation), Response> {
        let too_large = || {
            error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is larger than 1 MiB; send fewer per request",
            )
        };
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|l| l > MAX_BODY_BYTES) {
            return Err(too_large());
        }
        let mut held = self
            .0
            .body_budget
            .reserve(client_name(request.extensions()));
        let mut stream = request.into_body().into_data_stream();
        let mut body = Vec::new();
        let read = async {
            while let Some(chunk) = stream.next().await {
                let chunk =
                    chunk.map_err(|_| error(StatusCode::BAD_REQUEST, "the body ended early"))?;
                if body.len() + chunk.len() > MAX_BODY_BYTES {
                    return Err(too_large());
                }
                if !held.grow(body.len() + chunk.len()) {
                    let why = "too many request bodies at the moment; retry later";
                    return Err(error(StatusCode::SERVICE_UNAVAILABLE, why));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(BODY_TIMEOUT, read).await {
            Ok(Ok(())) => Ok((body, held)),
            Ok(Err(refused)) => Err(refused),
            Err(_) => Err(error(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive within 10 s",
            )),
        }
    }
}
