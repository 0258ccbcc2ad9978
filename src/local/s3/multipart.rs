//! Multipart uploads; `s3s-fs` stores their parts.

use std::sync::{Arc, Mutex};

use futures::TryStreamExt as _;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use crate::local::s3::conditions::{check_copy, resolve_range};
use crate::local::s3::integrity::Integrity;
use crate::local::s3::object::{Attributes, Checksums, ContentMetadata, Upload, WriteCondition};
use crate::local::s3::operations::{Api, parse_copy_source};

/// `s3s-fs` knows uploads by their id only. The store keeps the object's bucket
/// and key, so that the object appears in one step, with its record, when the
/// upload is complete.
const PARTS_BUCKET: &str = "uploads";
const PARTS_KEY: &str = "object";

/// S3's minimum size of a part except the last, in bytes.
const MIN_PART_BYTES: i64 = 5 * 1024 * 1024;

impl Api {
    /// CreateMultipartUpload.
    pub(super) async fn begin_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (request, input) = split_input(req);
        let upload = Upload {
            bucket: input.bucket,
            key: input.key,
            attributes: Attributes {
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                content_type: input.content_type,
                expires: input.expires,
                metadata: input.metadata,
                website_redirect_location: input.website_redirect_location,
            },
        };
        let (bucket, key) = (upload.bucket.clone(), upload.key.clone());
        let upload = self
            .blocking(move |store| {
                store.check_writable(&upload.bucket, &upload.key)?;
                Ok(upload)
            })
            .await?;
        let input = CreateMultipartUploadInput::builder()
            .bucket(PARTS_BUCKET.to_owned())
            .key(PARTS_KEY.to_owned())
            .build()
            .map_err(S3Error::internal_error)?;
        let created = self
            .parts
            .create_multipart_upload(request.map_input(|()| input))
            .await?;
        let upload_id = created.output.upload_id.unwrap_or_default();
        let id = upload_id.clone();
        self.blocking(move |store| store.save_upload(&id, &upload))
            .await?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(upload_id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    /// UploadPart.
    pub(super) async fn receive_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let integrity = Integrity::from_headers(&req.headers, &req.extensions);
        let (request, input) = split_input(req);
        self.load_upload(&input.upload_id, &input.bucket, &input.key)
            .await?;
        let body = input
            .body
            .unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()));
        let (etag, checksums) = self
            .store_part(
                &request,
                input.upload_id,
                input.part_number,
                body,
                integrity,
            )
            .await?;
        Ok(S3Response::new(UploadPartOutput {
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            e_tag: Some(ETag::Strong(etag)),
            ..UploadPartOutput::default()
        }))
    }

    /// UploadPartCopy.
    pub(super) async fn copy_part(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (request, input) = split_input(req);
        self.load_upload(&input.upload_id, &input.bucket, &input.key)
            .await?;
        let (source_bucket, source_key) = parse_copy_source(input.copy_source)?;
        let range =
            match &input.copy_source_range {
                Some(text) => Some(Range::parse(text).map_err(|_| {
                    s3_error!(InvalidArgument, "the copy range is not a byte range")
                })?),
                None => None,
            };
        let (if_match, if_none_match) =
            (input.copy_source_if_match, input.copy_source_if_none_match);
        let (if_unmodified, if_modified) = (
            input.copy_source_if_unmodified_since,
            input.copy_source_if_modified_since,
        );
        let (body, version, _) = self
            .open(source_bucket, source_key, move |version| {
                check_copy(
                    version,
                    if_match.as_ref(),
                    if_unmodified.as_ref(),
                    if_none_match.as_ref(),
                    if_modified.as_ref(),
                )?;
                resolve_range(version, range, None)
            })
            .await?;
        let (etag, _) = self
            .store_part(
                &request,
                input.upload_id,
                input.part_number,
                body,
                Integrity::default(),
            )
            .await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(ETag::Strong(etag)),
                last_modified: Some(version.modified),
                ..CopyPartResult::default()
            }),
            ..UploadPartCopyOutput::default()
        }))
    }

    /// ListParts.
    pub(super) async fn list_received_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let (request, input) = split_input(req);
        self.load_upload(&input.upload_id, &input.bucket, &input.key)
            .await?;
        let parts = self.list_stored_parts(&request, &input.upload_id).await?;
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(false),
            parts: Some(parts),
            ..ListPartsOutput::default()
        }))
    }

    pub(super) async fn complete_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (request, input) = split_input(req);
        let CompleteMultipartUploadInput {
            bucket,
            key,
            upload_id,
            multipart_upload,
            if_match,
            if_none_match,
            ..
        } = input;
        let upload = self.load_upload(&upload_id, &bucket, &key).await?;
        let named = multipart_upload.and_then(|upload| upload.parts);
        let named = named.unwrap_or_default();
        // `s3s-fs` deletes the upload before it checks the parts, so check them first.
        let stored = self.list_stored_parts(&request, &upload_id).await?;
        check_parts(&named, &stored)?;

        let input = CompleteMultipartUploadInput::builder()
            .bucket(PARTS_BUCKET.to_owned())
            .key(PARTS_KEY.to_owned())
            .upload_id(upload_id.clone())
            .multipart_upload(Some(CompletedMultipartUpload { parts: Some(named) }))
            .build()
            .map_err(S3Error::internal_error)?;
        let one_at_a_time = self.completing.lock().await;
        let completed = self
            .parts
            .complete_multipart_upload(request.map_input(|()| input))
            .await?
            .output;
        let completed = match completed.future {
            Some(future) => future.await?,
            None => completed,
        };
        let stored = ContentMetadata {
            etag: completed.e_tag.map(ETag::into_value).unwrap_or_default(),
            checksums: Checksums::default(),
            attributes: upload.attributes,
        };
        let condition = WriteCondition {
            if_match,
            if_none_match,
        };
        let (to_bucket, to_key) = (bucket.clone(), key.clone());
        let version = self
            .blocking(move |store| {
                let whole = store.parts_dir().join(PARTS_BUCKET).join(PARTS_KEY);
                let temp = store.move_to_temp(&whole)?;
                store.delete_upload(&upload_id);
                store.commit(temp, &to_bucket, &to_key, &condition, stored)
            })
            .await?;
        drop(one_at_a_time);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(version.etag()),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn abort_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (request, input) = split_input(req);
        let AbortMultipartUploadInput {
            bucket,
            key,
            upload_id,
            ..
        } = input;
        self.load_upload(&upload_id, &bucket, &key).await?;
        let input = AbortMultipartUploadInput::builder()
            .bucket(PARTS_BUCKET.to_owned())
            .key(PARTS_KEY.to_owned())
            .upload_id(upload_id.clone())
            .build()
            .map_err(S3Error::internal_error)?;
        self.parts
            .abort_multipart_upload(request.map_input(|()| input))
            .await?;
        self.blocking(move |store| {
            store.delete_upload(&upload_id);
            Ok(())
        })
        .await?;
        let mut response = S3Response::new(AbortMultipartUploadOutput::default());
        response.status = Some(StatusCode::NO_CONTENT);
        Ok(response)
    }

    async fn load_upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<Upload> {
        let (id, bucket, key) = (id.to_owned(), bucket.to_owned(), key.to_owned());
        self.blocking(move |store| store.load_upload(&id, &bucket, &key))
            .await
    }

    /// Stores a part with `s3s-fs` and checks it.
    async fn store_part(
        &self,
        upload: &S3Request<()>,
        upload_id: String,
        part_number: i32,
        body: StreamingBlob,
        integrity: Integrity,
    ) -> S3Result<(String, Checksums)> {
        if !(1..=10_000).contains(&part_number) {
            return Err(s3_error!(InvalidArgument, "part numbers are 1 to 10,000"));
        }
        let integrity = Arc::new(Mutex::new(Some(integrity)));
        let hashing = Arc::clone(&integrity);
        let body = body.map_err(BodyError).inspect_ok(move |data| {
            if let Ok(mut integrity) = hashing.lock()
                && let Some(integrity) = integrity.as_mut()
            {
                integrity.update(data);
            }
        });
        let input = UploadPartInput::builder()
            .bucket(PARTS_BUCKET.to_owned())
            .key(PARTS_KEY.to_owned())
            .upload_id(upload_id)
            .part_number(part_number)
            .body(Some(StreamingBlob::wrap(body)))
            .build()
            .map_err(S3Error::internal_error)?;
        self.parts
            .upload_part(upload.clone().map_input(|()| input))
            .await?;
        // A part that fails here is stored, but the client does not name it on
        // completion and retries it.
        let integrity = integrity.lock().ok().and_then(|mut i| i.take());
        integrity.unwrap_or_default().finish()
    }

    async fn list_stored_parts(
        &self,
        request: &S3Request<()>,
        upload_id: &str,
    ) -> S3Result<Vec<Part>> {
        let input = ListPartsInput::builder()
            .bucket(PARTS_BUCKET.to_owned())
            .key(PARTS_KEY.to_owned())
            .upload_id(upload_id.to_owned())
            .build()
            .map_err(S3Error::internal_error)?;
        let listed = self
            .parts
            .list_parts(request.clone().map_input(|()| input))
            .await?;
        let mut parts = listed.output.parts.unwrap_or_default();
        parts.sort_by_key(|part| part.part_number);
        Ok(parts)
    }
}

fn check_parts(named: &[CompletedPart], stored: &[Part]) -> S3Result<()> {
    if named.is_empty() {
        return Err(s3_error!(InvalidPart, "an upload needs at least one part"));
    }
    for (index, part) in named.iter().enumerate() {
        let number = part.part_number;
        if number != i32::try_from(index + 1).ok() {
            return Err(s3_error!(
                InvalidPartOrder,
                "this server needs part numbers from 1 without gaps"
            ));
        }
        let Some(found) = stored.iter().find(|stored| stored.part_number == number) else {
            return Err(s3_error!(
                InvalidPart,
                "part {} was not uploaded",
                index + 1
            ));
        };
        if index + 1 < named.len() && found.size.unwrap_or(0) < MIN_PART_BYTES {
            return Err(s3_error!(
                EntityTooSmall,
                "part {} is smaller than 5 MiB and not the last",
                index + 1
            ));
        }
    }
    Ok(())
}

/// Splits a request into its input and the rest.
fn split_input<T>(request: S3Request<T>) -> (S3Request<()>, T) {
    let S3Request {
        input,
        method,
        uri,
        headers,
        extensions,
        credentials,
        region,
        service,
        trailing_headers,
    } = request;
    let request = S3Request {
        input: (),
        method,
        uri,
        headers,
        extensions,
        credentials,
        region,
        service,
        trailing_headers,
    };
    (request, input)
}

/// Error of a request body, in the type that `s3s-fs` expects.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
struct BodyError(s3s::StdError);
