//! JSON responses and errors.

use crate::commands::serve::options::MAX_BATCH;
use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::json;

/// Size of a response, in bytes, after which no more items are added: 16 MiB.
pub(super) const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Debug)]
pub(super) struct ErrorResponse(Box<Response>);

impl From<Response> for ErrorResponse {
    fn from(response: Response) -> ErrorResponse {
        ErrorResponse(Box::new(response))
    }
}

impl From<ErrorResponse> for Response {
    fn from(refusal: ErrorResponse) -> Response {
        *refusal.0
    }
}

/// Builds a JSON response.
pub(super) fn reply(status: StatusCode, json: impl Into<Body>) -> Response {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Builds an error response.
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

/// The path segment in the position of a hash.
pub(super) fn path_segment(path: Result<Path<String>, PathRejection>) -> String {
    // A segment that is not UTF-8 becomes an invalid hash.
    path.map_or_else(|_| "\u{FFFD}".to_owned(), |Path(text)| text)
}

/// Checks the number of hashes or paths of a request against [`MAX_BATCH`].
pub(super) fn check_count(count: usize) -> Result<(), ErrorResponse> {
    match count <= MAX_BATCH {
        true => Ok(()),
        false => Err(error(
            StatusCode::BAD_REQUEST,
            &format!("{count} entries are too many; send at most {MAX_BATCH} per request"),
        )
        .into()),
    }
}
