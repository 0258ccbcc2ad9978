//! Answers as JSON, and refusals.

use crate::commands::serve::options::MAX_ASKED;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::json;

/// The largest answer, in bytes: items of as much, and no more.
pub(super) const MAX_ANSWER: usize = 16 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

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

/// What was in the place of a hash.
pub(super) fn segment(path: Result<Path<String>, PathRejection>) -> String {
    // What is no UTF-8 is no hash either.
    path.map_or_else(|_| "\u{FFFD}".to_owned(), |Path(text)| text)
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
