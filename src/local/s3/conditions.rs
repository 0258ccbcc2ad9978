//! Conditional requests and byte ranges.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use s3s::dto::{ETagCondition, Range, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::local::s3::object::StoredVersion;

/// Checks the conditions of a GET or HEAD in the order of RFC 9110: a failed If-Match or
/// If-Unmodified-Since is a 412, a failed If-None-Match or If-Modified-Since a 304.
pub(super) fn check_read(
    version: &StoredVersion,
    if_match: Option<&ETagCondition>,
    if_unmodified_since: Option<&Timestamp>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
) -> S3Result<()> {
    let etag = version.etag();
    match (if_match, if_unmodified_since) {
        (Some(ETagCondition::ETag(wanted)), _) if !etag.strong_cmp(wanted) => {
            return Err(s3_error!(PreconditionFailed));
        }
        (None, Some(time)) if version.modified_secs > *time => {
            return Err(s3_error!(PreconditionFailed));
        }
        _ => {}
    }
    let unchanged = match (if_none_match, if_modified_since) {
        (Some(ETagCondition::Any), _) => true,
        (Some(ETagCondition::ETag(known)), _) => etag.weak_cmp(known),
        (None, Some(time)) => version.modified_secs <= *time,
        (None, None) => false,
    };
    if !unchanged {
        return Ok(());
    }
    let mut error = s3_error!(NotModified);
    let mut headers = HeaderMap::new();
    if let Ok(value) = etag.to_http_header() {
        headers.insert(header::ETAG, value);
    }
    let mut date = Vec::new();
    if version
        .modified
        .format(TimestampFormat::HttpDate, &mut date)
        .is_ok()
        && let Ok(value) = HeaderValue::from_bytes(&date)
    {
        headers.insert(header::LAST_MODIFIED, value);
    }
    error.set_headers(headers);
    Err(error)
}

/// Checks the conditions on the source of a copy, where all failures are a 412.
pub(super) fn check_copy(
    version: &StoredVersion,
    if_match: Option<&ETagCondition>,
    if_unmodified_since: Option<&Timestamp>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
) -> S3Result<()> {
    check_read(
        version,
        if_match,
        if_unmodified_since,
        if_none_match,
        if_modified_since,
    )
    .map_err(|_| s3_error!(PreconditionFailed))
}

/// Part of an object, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedRange {
    pub(super) start: u64,
    /// Offset after the last byte.
    end: u64,
    /// Length of the whole object.
    whole: u64,
}

impl ResolvedRange {
    pub(super) fn len(&self) -> u64 {
        self.end - self.start
    }

    pub(super) fn to_header(&self) -> String {
        format!("bytes {}-{}/{}", self.start, self.end - 1, self.whole)
    }
}

pub(super) fn resolve_range(
    version: &StoredVersion,
    range: Option<Range>,
    part_number: Option<i32>,
) -> S3Result<Option<ResolvedRange>> {
    // The store does not keep the parts of an upload: the whole object is part 1.
    if part_number.is_some_and(|number| number != 1) {
        let mut error = S3Error::with_message(
            S3ErrorCode::Custom("InvalidPartNumber".into()),
            "every object is one part here",
        );
        error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
        return Err(error);
    }
    let Some(range) = range else { return Ok(None) };
    let whole = version.len;
    match range.check(whole) {
        Ok(found) if !found.is_empty() => Ok(Some(ResolvedRange {
            start: found.start,
            end: found.end,
            whole,
        })),
        _ => {
            let mut error = s3_error!(InvalidRange, "the object has {whole} bytes");
            let mut headers = HeaderMap::new();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/xml"),
            );
            if let Ok(value) = HeaderValue::try_from(format!("bytes */{whole}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            error.set_headers(headers);
            Err(error)
        }
    }
}
