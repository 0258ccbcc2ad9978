//! Routes of the CIRCL hashlookup API, for its existing clients.
//!
//! Clients treat a response as a hit if it has a field named like the algorithm, regardless
//! of the HTTP status: `SHA-1` for CIRCL, `sha1` for hashlookup-forensic-analyser. So a hit has
//! both, and every other response has only `message` and `query`. A bulk response omits
//! unknown hashes, as CIRCL's does. A failed hash would be omitted too, so the whole
//! request fails instead. `hashlookup:trust` is never sent.

use crate::base::hash::{Algorithm, Case, Hash, fold};
use crate::commands::serve::answer::{Query, Status};
use crate::commands::serve::app::App;
use crate::commands::serve::pending::Found;
use crate::commands::serve::response::{
    ErrorResponse, MAX_RESPONSE_BYTES, check_count, error, path_segment, reply,
};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Extensions, StatusCode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// Algorithms with CIRCL routes, and their CIRCL names.
const ALGORITHMS: [(Algorithm, &str); 3] = [
    (Algorithm::Md5, "MD5"),
    (Algorithm::Sha1, "SHA-1"),
    (Algorithm::Sha256, "SHA-256"),
];

/// CIRCL names of attributes, by the letters and digits of our names in lower case.
const FIELDS: [(&str, &str); 13] = [
    ("filename", "FileName"),
    ("filesize", "FileSize"),
    ("size", "FileSize"),
    ("md5", "MD5"),
    ("sha1", "SHA-1"),
    ("sha256", "SHA-256"),
    ("crc32", "CRC32"),
    ("productcode", "ProductCode"),
    ("productname", "ProductName"),
    ("opsystemcode", "OpSystemCode"),
    ("specialcode", "SpecialCode"),
    ("packagename", "PackageName"),
    ("packageversion", "PackageVersion"),
];

/// Version of the CIRCL API that these routes follow.
const VERSION: &str = "1.4";

pub(super) fn routes() -> Router<App> {
    let mut routes = Router::new().route("/info", get(info));
    for (algorithm, _) in ALGORITHMS {
        let lookup = format!("/lookup/{algorithm}/{{hash}}");
        let bulk = format!("/bulk/{algorithm}");
        routes = routes
            .route(
                &lookup,
                get(
                    move |State(app): State<App>, path, extensions: Extensions| async move {
                        look_up_one(&app, algorithm, path, &extensions).await
                    },
                ),
            )
            .route(
                &bulk,
                post(move |State(app): State<App>, request: Request| async move {
                    match look_up_many(&app, algorithm, request).await {
                        Ok(answer) | Err(answer) => answer,
                    }
                }),
            );
    }
    routes
}

/// CIRCL name of `algorithm`; our name if CIRCL has none.
fn field_name(algorithm: Algorithm) -> &'static str {
    let known = ALGORITHMS.iter().find(|(a, _)| *a == algorithm);
    known.map_or(algorithm.name(), |(_, name)| name)
}

fn error_message(status: StatusCode, message: &str, query: Option<&str>) -> Response {
    let mut json = json!({"message": message});
    if let Some(query) = query {
        json["query"] = query.into();
    }
    let mut response = reply(status, json.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Rejects an algorithm that is not the table's.
fn check_algorithm(
    app: &App,
    algorithm: Algorithm,
    query: Option<&str>,
) -> Result<(), ErrorResponse> {
    let own = app.0.algorithm;
    match own == algorithm {
        true => Ok(()),
        false => Err(error_message(
            StatusCode::BAD_REQUEST,
            &format!(
                "the hashes of this table are {}, not {}",
                field_name(own),
                field_name(algorithm)
            ),
            query,
        )
        .into()),
    }
}

async fn info(State(app): State<App>) -> Response {
    let algorithm = app.0.algorithm;
    let known = ALGORITHMS.iter().any(|(a, _)| *a == algorithm);
    let json = json!({
        "hashlookup-version": VERSION,
        "server": concat!("hashferry ", env!("CARGO_PKG_VERSION")),
        "table": app.0.table,
        "algorithm": algorithm.name(),
        "algorithms": if known { vec![algorithm.name()] } else { vec![] },
        "rules": app.0.normalizer.rules().name(),
    });
    reply(StatusCode::OK, json.to_string())
}

async fn look_up_one(
    app: &App,
    algorithm: Algorithm,
    path: Result<Path<String>, PathRejection>,
    extensions: &Extensions,
) -> Response {
    let asked = Query::from_hash(algorithm, path_segment(path));
    let query = Some(asked.input.as_str());
    if let Err(refused) =
        check_algorithm(app, algorithm, query).and_then(|()| app.charge(extensions, 1))
    {
        return refused.into();
    }
    let name = field_name(algorithm);
    let hash = match &asked.hash {
        Ok(hash) => *hash,
        Err(why) => {
            app.count_answers([Status::Invalid]);
            let why = format!("{name} value incorrect: {why}");
            return error_message(StatusCode::BAD_REQUEST, &why, query);
        }
    };
    let found = app.find(std::slice::from_ref(&asked)).await;
    match found.first() {
        Some(Found::Known(fields)) => {
            app.count_answers([Status::Known]);
            reply(StatusCode::OK, item_json(algorithm, &hash, fields))
        }
        Some(Found::Unknown) => {
            app.count_answers([Status::Unknown]);
            error_message(
                StatusCode::NOT_FOUND,
                &format!("Non existing {name}"),
                query,
            )
        }
        Some(Found::Error(_)) | None => {
            app.count_answers([Status::Error]);
            unavailable(&found)
        }
    }
}

fn unavailable(found: &[Found]) -> Response {
    let trouble = found.iter().find_map(|f| match f {
        Found::Error(trouble) => Some(trouble.to_string()),
        _ => None,
    });
    let why = trouble.unwrap_or_else(|| "the table did not respond".to_owned());
    error_message(StatusCode::SERVICE_UNAVAILABLE, &why, None)
}

/// Body of a bulk request.
#[derive(Deserialize)]
struct BulkRequest {
    hashes: Vec<String>,
}

async fn look_up_many(
    app: &App,
    algorithm: Algorithm,
    request: Request,
) -> Result<Response, Response> {
    let extensions = request.extensions().clone();
    check_algorithm(app, algorithm, None)?;
    let (body, _held) = app.read_body(request).await?;
    let Ok(BulkRequest { hashes }) = serde_json::from_slice(&body) else {
        let why = "JSON format incorrect. An array of hashes in the key 'hashes' is expected.";
        return Err(error_message(StatusCode::BAD_REQUEST, why, None));
    };
    drop(body);
    check_count(hashes.len())?;
    app.charge(&extensions, hashes.len().max(1))?;
    let each = hashes.into_iter();
    let asked: Vec<Query> = each.map(|text| Query::from_hash(algorithm, text)).collect();
    let found = app.find(&asked).await;
    let valid = asked.iter().filter_map(|a| a.hash.as_ref().ok());
    let mut statuses = vec![Status::Invalid; asked.len() - found.len()];
    statuses.extend(found.iter().map(|f| match f {
        Found::Known(_) => Status::Known,
        Found::Unknown => Status::Unknown,
        Found::Error(_) => Status::Error,
    }));
    let failed = statuses.contains(&Status::Error);
    app.count_answers(statuses);
    if failed {
        return Err(unavailable(&found));
    }
    let mut json = vec![b'['];
    for (hash, found) in valid.zip(&found) {
        if let Found::Known(fields) = found {
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(item_json(algorithm, hash, fields).as_bytes());
            if json.len() > MAX_RESPONSE_BYTES {
                let why = "the response would exceed 16 MiB; send fewer per request";
                return Err(error(StatusCode::BAD_REQUEST, why));
            }
        }
    }
    json.push(b']');
    Ok(reply(StatusCode::OK, json))
}

/// Builds the JSON of an item: its hash, and its attributes by their CIRCL names.
fn item_json(algorithm: Algorithm, hash: &Hash, fields: &str) -> String {
    let own = field_name(algorithm);
    let text = format!("{{{fields}}}");
    // Always valid JSON: `fields` was built by this program.
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(&text).unwrap_or_default();
    let mut renamed: BTreeMap<String, Box<RawValue>> = BTreeMap::new();
    // Both names are needed: see the module.
    if let Ok(hash) = to_raw_value(&hash.to_hex(Case::Upper)) {
        renamed.insert(algorithm.name().to_owned(), hash.clone());
        renamed.insert(own.to_owned(), hash);
    }
    let mut rest = Vec::new();
    for (name, value) in fields {
        let folded = fold(&name);
        let known = FIELDS.iter().find(|(ours, _)| *ours == folded);
        match known {
            Some((_, theirs)) if !renamed.contains_key(*theirs) => {
                renamed.insert((*theirs).to_owned(), value.to_owned());
            }
            _ => rest.push((name, value.to_owned())),
        }
    }
    for (name, value) in rest {
        // The looked-up hash overrides an attribute of the same name.
        renamed.entry(name).or_insert(value);
    }
    serde_json::to_string(&renamed).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_item_has_circl_names_and_keeps_other_attributes() {
        let hash = Hash::from_bytes(&[0xAB; 32]).expect("a hash");
        let fields = r#""source":"NSRL","file_name":"ls","size":12345678901234567890123,"sha-1":"AA","filename":"x","SHA-256":"no","n":1.50"#;
        let text = item_json(Algorithm::Sha256, &hash, fields);
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["SHA-256"], "AB".repeat(32));
        assert_eq!(json["SHA-1"], "AA");
        assert_eq!(json["source"], "NSRL");
        assert_eq!(
            (&json["FileName"], &json["filename"]),
            (&"ls".into(), &"x".into())
        );
        assert!(
            text.contains("\"FileSize\":12345678901234567890123"),
            "{text}"
        );
        assert!(text.contains("\"n\":1.50"), "{text}");
        assert_eq!(
            item_json(Algorithm::Md5, &Hash::from_bytes(&[0]).expect("a hash"), ""),
            r#"{"MD5":"00","md5":"00"}"#
        );
    }
}
