//! Operations that read an object: HeadObject, GetObject.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

use crate::local::s3::conditions::{ResolvedRange, check_read, resolve_range};
use crate::local::s3::object::{Checksums, ContentMetadata, StoredVersion};
use crate::local::s3::operations::{Api, checksum_type};

impl Api {
    /// HeadObject.
    pub(super) async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let (bucket, key) = (input.bucket, input.key);
        let version = self
            .blocking(move |store| store.stat(&bucket, &key))
            .await?;
        check_read(
            &version,
            input.if_match.as_ref(),
            input.if_unmodified_since.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
        )?;
        let span = resolve_range(&version, input.range, input.part_number)?;
        let wanted = wants_checksums(input.checksum_mode.as_ref(), span.as_ref());
        let etag = version.etag();
        let ContentMetadata {
            checksums,
            attributes,
            ..
        } = version.stored;
        let checksums = if wanted {
            checksums
        } else {
            Checksums::default()
        };
        let output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: attributes.cache_control,
            checksum_type: checksum_type(&checksums),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_length: Some(content_length(
                span.as_ref().map_or(version.len, ResolvedRange::len),
            )?),
            content_range: span.as_ref().map(ResolvedRange::to_header),
            content_type: Some(content_type(attributes.content_type)),
            e_tag: Some(etag),
            expires: attributes.expires,
            last_modified: Some(version.modified),
            metadata: attributes.metadata,
            website_redirect_location: attributes.website_redirect_location,
            ..HeadObjectOutput::default()
        };
        let mut response = S3Response::new(output);
        response.status = span.map(|_| StatusCode::PARTIAL_CONTENT);
        Ok(response)
    }

    /// GetObject.
    pub(super) async fn get(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let checksum_mode = input.checksum_mode;
        let decide = move |version: &StoredVersion| {
            check_read(
                version,
                input.if_match.as_ref(),
                input.if_unmodified_since.as_ref(),
                input.if_none_match.as_ref(),
                input.if_modified_since.as_ref(),
            )?;
            resolve_range(version, input.range, input.part_number)
        };
        let (body, version, span) = self.open(input.bucket, input.key, decide).await?;
        let wanted = wants_checksums(checksum_mode.as_ref(), span.as_ref());
        let etag = version.etag();
        let ContentMetadata {
            checksums,
            attributes,
            ..
        } = version.stored;
        let checksums = if wanted {
            checksums
        } else {
            Checksums::default()
        };
        // A content range sets the status to 206.
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            cache_control: attributes.cache_control,
            checksum_type: checksum_type(&checksums),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_length: Some(content_length(
                span.as_ref().map_or(version.len, ResolvedRange::len),
            )?),
            content_range: span.as_ref().map(ResolvedRange::to_header),
            content_type: Some(content_type(attributes.content_type)),
            e_tag: Some(etag),
            expires: attributes.expires,
            last_modified: Some(version.modified),
            metadata: attributes.metadata,
            website_redirect_location: attributes.website_redirect_location,
            ..GetObjectOutput::default()
        }))
    }
}

fn content_type(stored: Option<String>) -> String {
    // S3's own default.
    stored.unwrap_or_else(|| "binary/octet-stream".to_owned())
}

fn content_length(len: u64) -> S3Result<i64> {
    i64::try_from(len).map_err(S3Error::internal_error)
}

fn wants_checksums(mode: Option<&ChecksumMode>, span: Option<&ResolvedRange>) -> bool {
    // The stored checksums are of the whole object.
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && span.is_none()
}
