//! Handlers of the native routes: one hash or path, several, the page, metrics and health.

use crate::base::hash::Algorithm;
use crate::base::printable::printable_bytes;
use crate::commands::serve::answer;
use crate::commands::serve::answer::{Query, Status};
use crate::commands::serve::app::App;
use crate::commands::serve::pending::{Found, ReadError};
use crate::commands::serve::response::{
    ErrorResponse, MAX_RESPONSE_BYTES, check_count, error, path_segment, reply,
};
use crate::list::matchmeta::normalizer::InvalidPath;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_FRAME_OPTIONS};
use http::{Extensions, StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;

const PAGE: &str = include_str!("page.html");

pub(super) async fn look_up_one(
    State(app): State<App>,
    path: Result<Path<String>, PathRejection>,
    extensions: Extensions,
) -> Response {
    let asked = Query::from_hash(app.0.algorithm, path_segment(path));
    app.answer_one(asked, &extensions).await
}

pub(super) async fn look_up_path(
    State(app): State<App>,
    uri: Uri,
    extensions: Extensions,
) -> Response {
    if let Err(refused) = app.check_paths_allowed() {
        return refused.into();
    }
    let Some(value) = query_value(uri.query().unwrap_or_default(), "p") else {
        return error(
            StatusCode::BAD_REQUEST,
            "no path given; use /path?p=PATH, percent-encoded",
        );
    };
    let asked = match String::from_utf8(value) {
        Ok(path) => Query::from_path(&app.0.normalizer, path),
        Err(e) => Query {
            input: String::from_utf8_lossy(e.as_bytes()).into_owned(),
            normalized_path: None,
            hash: Err(InvalidPath::Utf8.to_string()),
        },
    };
    app.answer_one(asked, &extensions).await
}

/// The value of the field `name` in a form-encoded query; `None` if the field is missing.
fn query_value(query: &str, name: &str) -> Option<Vec<u8>> {
    let mut fields = query
        .split('&')
        .map(|f| f.split_once('=').unwrap_or((f, "")));
    let (_, value) = fields.find(|(n, _)| form_decode(n) == name.as_bytes())?;
    Some(form_decode(value))
}

fn form_decode(text: &str) -> Vec<u8> {
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

/// Body of a request to `/lookup`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchRequest {
    hashes: Option<Vec<String>>,
    paths: Option<Vec<String>>,
}

pub(super) async fn look_up_many(State(app): State<App>, request: Request) -> Response {
    let extensions = request.extensions().clone();
    match app.answer_many(request, &extensions).await {
        Ok(answer) | Err(answer) => answer,
    }
}

impl App {
    /// Answers one hash or path.
    async fn answer_one(&self, asked: Query, extensions: &Extensions) -> Response {
        if let Err(refused) = self.charge(extensions, 1) {
            return refused.into();
        }
        let found = self.find(std::slice::from_ref(&asked)).await;
        let mut json = Vec::with_capacity(512);
        let rules = self.0.normalizer.rules().name();
        let status = answer::write_answer(&asked, rules, found.first(), &mut json);
        tracing::debug!(
            input = printable_bytes(asked.input.as_bytes(), 200),
            status = status.name(),
            "looked up"
        );
        self.count_answers([status]);
        let http = StatusCode::from_u16(status.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = reply(http, json);
        if status == Status::Error {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Denies look-ups of paths unless the table holds SHA-256 hashes.
    fn check_paths_allowed(&self) -> Result<(), ErrorResponse> {
        match self.0.algorithm {
            Algorithm::Sha256 => Ok(()),
            algorithm => Err(error(
                StatusCode::BAD_REQUEST,
                &format!("paths are looked up by their SHA-256, but this table has {algorithm}"),
            )
            .into()),
        }
    }

    async fn answer_many(
        &self,
        request: Request,
        extensions: &Extensions,
    ) -> Result<Response, Response> {
        let bad = |why: &str| error(StatusCode::BAD_REQUEST, why);
        let (body, _held) = self.read_body(request).await?;
        let many: BatchRequest = serde_json::from_slice(&body).map_err(|e| {
            bad(&format!(
                "the body must be {{\"hashes\":[…]}} or {{\"paths\":[…]}}, lists of text: {e}"
            ))
        })?;
        drop(body);
        let asked: Vec<Query> = match (many.hashes, many.paths) {
            (Some(hashes), None) => {
                check_count(hashes.len())?;
                let each = hashes.into_iter();
                each.map(|text| Query::from_hash(self.0.algorithm, text))
                    .collect()
            }
            (None, Some(paths)) => {
                self.check_paths_allowed()?;
                check_count(paths.len())?;
                let each = paths.into_iter();
                each.map(|path| Query::from_path(&self.0.normalizer, path))
                    .collect()
            }
            _ => return Err(bad("give either hashes or paths")),
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
            if json.len() > MAX_RESPONSE_BYTES {
                found = Some(Found::Error(ReadError::Large));
            }
            statuses.push(answer::write_answer(
                asked,
                rules,
                found.as_ref(),
                &mut json,
            ));
        }
        json.extend_from_slice(b"]}");
        self.count_answers(statuses);
        Ok(reply(StatusCode::OK, json))
    }
}

pub(super) async fn page() -> Response {
    let mut response = Response::new(Body::from(PAGE));
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(CONTENT_TYPE, html);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

pub(super) async fn openapi(State(app): State<App>) -> Response {
    reply(StatusCode::OK, app.0.openapi.clone())
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    let mut response = Response::new(Body::from(app.0.metrics.to_prometheus(app.rate())));
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

pub(super) async fn health(State(app): State<App>) -> Response {
    let counts = app.0.metrics.snapshot();
    // Reports the process as alive even if the table fails.
    let json = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "table": match (counts.is_failing, counts.last_success) {
            (true, _) => "failing",
            (false, Some(_)) => "answering",
            (false, None) => "not asked yet",
        },
        "table_answered_s_ago": counts.last_success.map(|at| at.elapsed().as_secs_f64()),
    });
    reply(StatusCode::OK, json.to_string())
}

pub(super) async fn no_route(State(app): State<App>, uri: Uri) -> Response {
    let algorithm = app.0.algorithm.name();
    let mut parts = uri.path().split('/').skip(1);
    let other = parts.next().and_then(Algorithm::from_name);
    let why: Cow<'_, str> = match (other, parts.next(), parts.next()) {
        (Some(_), Some(_), None) => {
            format!("no such route; this table has {algorithm} hashes: /{algorithm}/{{hash}}")
                .into()
        }
        _ => "no such route; /openapi.json lists all routes".into(),
    };
    error(StatusCode::NOT_FOUND, &why)
}

pub(super) async fn no_method() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method not allowed; /openapi.json lists all routes and methods",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_value_is_decoded_as_forms_encode_it() {
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
}
