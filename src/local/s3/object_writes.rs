//! Operations that write or remove objects: PutObject, CopyObject, DeleteObject.

use http::StatusCode;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::local::s3::conditions::check_copy;
use crate::local::s3::integrity::Integrity;
use crate::local::s3::object::{Attributes, WriteCondition};
use crate::local::s3::operations::{Api, checksum_type, parse_copy_source};

impl Api {
    /// PutObject.
    pub(super) async fn put(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let integrity = Integrity::from_headers(&req.headers, &req.extensions);
        let PutObjectInput {
            body,
            bucket,
            key,
            content_length,
            if_match,
            if_none_match,
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            content_type,
            expires,
            metadata,
            website_redirect_location,
            ..
        } = req.input;
        if key.ends_with('/') {
            if content_length.unwrap_or(0) > 0 {
                return Err(s3_error!(
                    InvalidArgument,
                    "objects are files here, and a key that ends in a slash is a folder"
                ));
            }
            self.blocking(move |store| store.create_folder(&bucket, &key))
                .await?;
            let (md5, _) = Integrity::default().finish()?;
            return Ok(S3Response::new(PutObjectOutput {
                e_tag: Some(ETag::Strong(md5)),
                ..PutObjectOutput::default()
            }));
        }
        {
            // Checked early, before gigabytes have arrived.
            let (bucket, key) = (bucket.clone(), key.clone());
            self.blocking(move |store| store.check_writable(&bucket, &key))
                .await?;
        }
        let condition = WriteCondition {
            if_match,
            if_none_match,
        };
        let attributes = Attributes {
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            content_type,
            expires,
            metadata,
            website_redirect_location,
        };
        let body = body.unwrap_or_else(|| StreamingBlob::from(s3s::Body::empty()));
        let version = self
            .store_object(bucket, key, body, integrity, condition, attributes)
            .await?;
        let etag = version.etag();
        let checksums = version.stored.checksums;
        Ok(S3Response::new(PutObjectOutput {
            checksum_type: checksum_type(&checksums),
            checksum_crc32: checksums.crc32,
            checksum_crc32c: checksums.crc32c,
            checksum_crc64nvme: checksums.crc64nvme,
            checksum_sha1: checksums.sha1,
            checksum_sha256: checksums.sha256,
            e_tag: Some(etag),
            ..PutObjectOutput::default()
        }))
    }

    /// CopyObject.
    pub(super) async fn copy(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let (source_bucket, source_key) = parse_copy_source(input.copy_source)?;
        {
            let (bucket, key) = (input.bucket.clone(), input.key.clone());
            self.blocking(move |store| store.check_writable(&bucket, &key))
                .await?;
        }
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
                Ok(None)
            })
            .await?;
        let replace = input
            .metadata_directive
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        let attributes = match replace {
            true => Attributes {
                cache_control: input.cache_control,
                content_disposition: input.content_disposition,
                content_encoding: input.content_encoding,
                content_language: input.content_language,
                content_type: input.content_type,
                expires: input.expires,
                metadata: input.metadata,
                website_redirect_location: input.website_redirect_location,
            },
            false => version.stored.attributes,
        };
        // A copy onto itself is safe: the source stays open, and the copy is a new
        // file until it is complete.
        let copied = self
            .store_object(
                input.bucket,
                input.key,
                body,
                Integrity::default(),
                WriteCondition::default(),
                attributes,
            )
            .await?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(copied.etag()),
                last_modified: Some(copied.modified),
                ..CopyObjectResult::default()
            }),
            ..CopyObjectOutput::default()
        }))
    }

    pub(super) async fn delete(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput {
            bucket,
            key,
            if_match,
            ..
        } = req.input;
        self.blocking(move |store| store.delete(&bucket, &key, if_match))
            .await?;
        // `s3s` would respond with 200.
        let mut response = S3Response::new(DeleteObjectOutput::default());
        response.status = Some(StatusCode::NO_CONTENT);
        Ok(response)
    }

    pub(super) async fn delete_many(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let DeleteObjectsInput { bucket, delete, .. } = req.input;
        let quiet = delete.quiet.unwrap_or(false);
        let (deleted, errors) = self
            .blocking(move |store| {
                store.bucket_dir(&bucket)?;
                let (mut deleted, mut errors) = (Vec::new(), Vec::new());
                for ObjectIdentifier { key, .. } in delete.objects {
                    match store.delete(&bucket, &key, None) {
                        Ok(()) if quiet => {}
                        Ok(()) => deleted.push(DeletedObject {
                            key: Some(key),
                            ..DeletedObject::default()
                        }),
                        Err(error) => errors.push(Error {
                            code: Some(error.code().as_str().to_owned()),
                            key: Some(key),
                            message: error.message().map(str::to_owned),
                            ..Error::default()
                        }),
                    }
                }
                Ok((deleted, errors))
            })
            .await?;
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }
}
