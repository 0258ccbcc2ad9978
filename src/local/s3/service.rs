//! The embedded S3: plain files behind the S3 protocol of the `s3s` crate.
//!
//! `s3s` parses requests and writes responses; this module implements the
//! operations. The companion crate `s3s-fs` also uses files, but for loading lists it
//! falls short: it ignores If-Match, lists without ETags, keeps the old ETag when
//! a file is replaced, hashes a whole file to answer a HEAD, and reads in small
//! pieces. So objects and buckets are handled here ([`crate::local::s3`]), and
//! `s3s-fs` keeps only the parts of unfinished multipart uploads.
//!
//! Signatures are removed from every request before `s3s` sees it. Without a list of
//! users it would deny signed requests, and with one it would deny all other
//! users. But any program that can connect to 127.0.0.1 can also read the files, and
//! web pages are denied ([`crate::local::front`]). With the
//! signature goes the signed chunking of uploads ([`crate::local::s3::chunked`]);
//! the checksums that come with it are verified when the body is stored.
//!
//! Not implemented: versions, access control, encryption, lifecycles, and
//! uploads from a browser form.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use s3s::Body;
use s3s::dto::{ETagCondition, Range, StreamingBlob};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::local::error::LocalError;
use crate::local::front::{BoxError, HttpResponse, Service};
use crate::local::s3::chunked::{Dechunked, Trailers};
use crate::local::s3::operations::Api;
use crate::local::s3::store::Store;

/// The S3 service over one folder.
#[derive(Clone)]
pub(crate) struct EmbeddedS3 {
    service: S3Service,
}

impl EmbeddedS3 {
    /// Opens the folder and creates missing folders in it.
    pub(crate) fn open(dir: &Path) -> Result<EmbeddedS3, LocalError> {
        let store =
            Store::open(dir).map_err(|(path, source)| LocalError::Folder { path, source })?;
        let parts_dir: PathBuf = store.parts_dir().to_owned();
        let parts = s3s_fs::FileSystem::new(&parts_dir).map_err(|error| LocalError::Folder {
            path: parts_dir,
            source: std::io::Error::other(format!("{error:?}")),
        })?;
        let service = S3ServiceBuilder::new(Api::new(Arc::new(store), parts)).build();
        Ok(EmbeddedS3 { service })
    }
}

impl Service for EmbeddedS3 {
    const NAME: &'static str = "S3";

    async fn handle(&self, request: Request<Incoming>) -> HttpResponse {
        let request = strip_signature(request);
        let response = self.service.call(request).await.unwrap_or_else(|error| {
            // S3 errors are responses; this is another error, before any response.
            tracing::error!(?error, "the local S3 server failed on a request");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        });
        response.map(|body| body.map_err(BoxError::from).boxed_unsync())
    }

    fn access_denied(message: &str) -> (&'static str, String) {
        let message = message
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
        );
        ("application/xml", body)
    }
}

/// Serves until `stop`, then waits a limited time for running requests.
pub(crate) async fn serve(listener: TcpListener, front: EmbeddedS3, stop: CancellationToken) {
    crate::local::front::serve(listener, || front.clone(), stop).await;
}

/// Removes the signature of a request, if any, and
/// corrects headers that S3 accepts and `s3s` does not.
fn strip_signature(request: Request<Incoming>) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(header::AUTHORIZATION);
    if let Some(uri) = strip_presigned_query(&parts.uri) {
        parts.uri = uri;
    }
    fix_conditions(&mut parts.headers);
    if !is_chunked(&parts.headers) {
        parts.headers.remove(X_AMZ_CONTENT_SHA256);
        return Request::from_parts(parts, Body::from(body));
    }

    let decoded_len = parts
        .headers
        .remove(X_AMZ_DECODED_CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    parts.headers.remove(X_AMZ_CONTENT_SHA256);
    match decoded_len {
        Some(len) => parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(len)),
        None => parts.headers.remove(header::CONTENT_LENGTH),
    };
    remove_chunked_encoding(&mut parts.headers);
    let trailers = Trailers::default();
    parts.extensions.insert(trailers.clone());
    let body = StreamingBlob::new(Dechunked::new(body, decoded_len, trailers));
    Request::from_parts(parts, Body::from(body))
}

const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_DECODED_CONTENT_LENGTH: HeaderName =
    HeaderName::from_static("x-amz-decoded-content-length");

/// URI without the parameters of a presigned one; `None` if it is not presigned.
fn strip_presigned_query(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let name = |parameter: &str| {
        let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.to_ascii_lowercase()
    };
    let of_signature: &[&str] = if query.split('&').any(|p| name(p) == "x-amz-signature") {
        &[
            "x-amz-algorithm",
            "x-amz-content-sha256",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-expires",
            "x-amz-security-token",
            "x-amz-signature",
            "x-amz-signedheaders",
        ]
    } else if query.split('&').any(|p| name(p) == "awsaccesskeyid") {
        &["awsaccesskeyid", "expires", "signature"]
    } else {
        return None;
    };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|parameter| !of_signature.contains(&name(parameter).as_str()))
        .collect();
    let target = match kept.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let starts = |value: &HeaderValue| value.as_bytes().starts_with(b"STREAMING-");
    headers.get(X_AMZ_CONTENT_SHA256).is_some_and(starts)
        || headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| coding.trim().eq_ignore_ascii_case("aws-chunked"))
}

/// Removes `aws-chunked`, but keeps the content encoding of the object, if any.
fn remove_chunked_encoding(headers: &mut HeaderMap) {
    let kept: Vec<String> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .map(str::to_owned)
        .collect();
    headers.remove(header::CONTENT_ENCODING);
    if let Ok(value) = HeaderValue::try_from(kept.join(", "))
        && !value.is_empty()
    {
        headers.insert(header::CONTENT_ENCODING, value);
    }
}

/// Removes an invalid Range, which S3 ignores, and adds missing quotes to ETags.
fn fix_conditions(headers: &mut HeaderMap) {
    let unusable = |value: &HeaderValue| {
        let text = value.to_str().ok();
        text.is_none_or(|text| Range::parse(text).is_err())
    };
    if headers.get(header::RANGE).is_some_and(unusable) {
        headers.remove(header::RANGE);
    }
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        HeaderName::from_static("x-amz-copy-source-if-match"),
        HeaderName::from_static("x-amz-copy-source-if-none-match"),
    ] {
        if let Some(value) = headers.get_mut(&name)
            && ETagCondition::parse_http_header(value.as_bytes()).is_err()
            && let Ok(text) = value.to_str()
            && !text.contains('"')
            && let Ok(quoted) = HeaderValue::try_from(format!("\"{text}\""))
        {
            *value = quoted;
        }
    }
}
