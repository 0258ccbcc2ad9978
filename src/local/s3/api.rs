//! What each S3 operation does.

use std::io::{Seek as _, SeekFrom};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio_util::io::ReaderStream;

use crate::local::access::REGION;
use crate::local::s3::conditions::{ContentSpan, check_copy, check_read, span};
use crate::local::s3::integrity::Integrity;
use crate::local::s3::listing;
use crate::local::s3::listing::{After, Page, Query};
use crate::local::s3::store::{
    Attributes, Checksums, Store, Stored, Upload, Version, WriteCondition,
};

/// Read and written at a time: large enough to be fast, small enough that many
/// requests at once stay small.
const BUFFER: usize = 256 * 1024;

/// S3 never lists more than this on one page.
const MAX_LISTED: i32 = 1000;

/// `s3s-fs` knows uploads by their id only; where the object goes is remembered
/// here, so that it gets there in one step, with its record, and when the upload
/// is complete.
const PARTS_BUCKET: &str = "uploads";
const PARTS_KEY: &str = "object";

/// S3's least size of a part, the last one excepted.
const MIN_PART: i64 = 5 * 1024 * 1024;

/// The S3 operations over a [`Store`].
#[derive(Debug)]
pub(super) struct Api {
    store: Arc<Store>,
    parts: FileSystem,
    /// Held while an upload is put together: all are under the same name then.
    completing: tokio::sync::Mutex<()>,
}

impl Api {
    pub(super) fn new(store: Arc<Store>, parts: FileSystem) -> Api {
        Api {
            store,
            parts,
            completing: tokio::sync::Mutex::new(()),
        }
    }

    /// Runs work on files where it may block.
    async fn blocking<T, F>(&self, work: F) -> S3Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> S3Result<T> + Send + 'static,
    {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(result) => result,
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    /// Opens an object, or the range of it that was asked for, as a stream.
    async fn open(
        &self,
        bucket: String,
        key: String,
        range: impl FnOnce(&Version) -> S3Result<Option<ContentSpan>> + Send + 'static,
    ) -> S3Result<(StreamingBlob, Version, Option<ContentSpan>)> {
        let (file, version, span) = self
            .blocking(move |store| {
                let (mut file, version) = store.read(&bucket, &key)?;
                let span = range(&version)?;
                if let Some(span) = &span {
                    file.seek(SeekFrom::Start(span.start))
                        .map_err(S3Error::internal_error)?;
                }
                Ok((file, version, span))
            })
            .await?;
        let len = span.as_ref().map_or(version.len, ContentSpan::len);
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(BUFFER);
        let stream = ReaderStream::with_capacity(file.take(len), BUFFER);
        Ok((StreamingBlob::wrap(stream), version, span))
    }

    /// Receives a body and makes it the object.
    async fn store_object(
        &self,
        bucket: String,
        key: String,
        mut body: impl Stream<Item = Result<Bytes, s3s::StdError>> + Unpin + Send,
        mut integrity: Integrity,
        condition: WriteCondition,
        attributes: Attributes,
    ) -> S3Result<Version> {
        let temp = self.store.temp_file();
        let file = tokio::fs::File::create(temp.path())
            .await
            .map_err(S3Error::internal_error)?;
        let mut writer = BufWriter::with_capacity(BUFFER, file);
        while let Some(data) = body.next().await {
            let data = data.map_err(incomplete)?;
            integrity.update(&data);
            writer
                .write_all(&data)
                .await
                .map_err(S3Error::internal_error)?;
        }
        writer.flush().await.map_err(S3Error::internal_error)?;
        let file = writer.into_inner().into_std().await;
        let (md5, checksums) = integrity.finish()?;
        let stored = Stored {
            etag: md5,
            checksums,
            attributes,
        };
        self.blocking(move |store| {
            // Closed before it is moved.
            drop(file);
            store.commit(temp, &bucket, &key, &condition, stored)
        })
        .await
    }

    async fn load_upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<Upload> {
        let (id, bucket, key) = (id.to_owned(), bucket.to_owned(), key.to_owned());
        self.blocking(move |store| store.load_upload(&id, &bucket, &key))
            .await
    }

    /// Hands a part to `s3s-fs` and checks it.
    async fn store_part(
        &self,
        upload: &S3Request<()>,
        upload_id: String,
        part_number: i32,
        body: StreamingBlob,
        integrity: Integrity,
    ) -> S3Result<(String, Checksums)> {
        if !(1..=10_000).contains(&part_number) {
            return Err(s3_error!(
                InvalidArgument,
                "part numbers go from 1 to 10,000"
            ));
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
        // A part that fails here was kept, but the client will not ask for it, and
        // sends it again.
        let integrity = integrity.lock().ok().and_then(|mut i| i.take());
        integrity.unwrap_or_default().finish()
    }

    async fn list(
        &self,
        bucket: String,
        max_keys: Option<i32>,
        query: impl FnOnce(usize) -> S3Result<Query>,
    ) -> S3Result<(Page, i32)> {
        let max_keys = max_keys.unwrap_or(MAX_LISTED).min(MAX_LISTED);
        let max = usize::try_from(max_keys)
            .map_err(|_| s3_error!(InvalidArgument, "max-keys is negative"))?;
        let query = query(max)?;
        let page = self
            .blocking(move |store| listing::list(store, &bucket, &query))
            .await?;
        Ok((page, max_keys))
    }
}

#[async_trait::async_trait]
impl S3 for Api {
    // Buckets

    async fn list_buckets(
        &self,
        req: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let ListBucketsInput {
            continuation_token,
            max_buckets,
            prefix,
            ..
        } = req.input;
        let mut buckets = self.blocking(|store| store.list_buckets()).await?;
        let after = continuation_token.as_deref().map(After::from_token);
        if let Some(After::Key(after) | After::Prefix(after)) = after.transpose()? {
            buckets.retain(|(name, _)| *name > after);
        }
        if let Some(prefix) = &prefix {
            buckets.retain(|(name, _)| name.starts_with(prefix.as_str()));
        }
        let max = max_buckets.and_then(|max| usize::try_from(max).ok());
        let more = max.is_some_and(|max| max > 0 && buckets.len() > max);
        if let Some(max) = max.filter(|_| more) {
            buckets.truncate(max);
        }
        let last = buckets.last().filter(|_| more);
        let continuation_token = last.map(|(name, _)| After::Key(name.clone()).to_token());
        let buckets = buckets
            .into_iter()
            .map(|(name, created)| Bucket {
                name: Some(name),
                creation_date: Some(created),
                ..Bucket::default()
            })
            .collect();
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token,
            prefix,
            ..ListBucketsOutput::default()
        }))
    }

    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let bucket = req.input.bucket;
        let location = format!("/{bucket}");
        self.blocking(move |store| store.create_bucket(&bucket))
            .await?;
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(location),
        }))
    }

    async fn delete_bucket(
        &self,
        req: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        self.blocking(move |store| store.delete_bucket(&req.input.bucket))
            .await?;
        // The status of the `s3s` output is 200.
        let mut response = S3Response::new(DeleteBucketOutput::default());
        response.status = Some(StatusCode::NO_CONTENT);
        Ok(response)
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.blocking(move |store| store.bucket_dir(&req.input.bucket))
            .await?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(REGION.to_owned()),
            ..HeadBucketOutput::default()
        }))
    }

    async fn get_bucket_location(
        &self,
        req: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.blocking(move |store| store.bucket_dir(&req.input.bucket))
            .await?;
        // None stands for us-east-1.
        Ok(S3Response::new(GetBucketLocationOutput::default()))
    }

    // Objects

    async fn head_object(
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
        let span = span(&version, input.range, input.part_number)?;
        let wanted = checksums_wanted(input.checksum_mode.as_ref(), span.as_ref());
        let etag = version.etag();
        let Stored {
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
            content_length: Some(length(span.as_ref().map_or(version.len, ContentSpan::len))?),
            content_range: span.as_ref().map(ContentSpan::to_header),
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

    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let checksum_mode = input.checksum_mode;
        let decide = move |version: &Version| {
            check_read(
                version,
                input.if_match.as_ref(),
                input.if_unmodified_since.as_ref(),
                input.if_none_match.as_ref(),
                input.if_modified_since.as_ref(),
            )?;
            span(version, input.range, input.part_number)
        };
        let (body, version, span) = self.open(input.bucket, input.key, decide).await?;
        let wanted = checksums_wanted(checksum_mode.as_ref(), span.as_ref());
        let etag = version.etag();
        let Stored {
            checksums,
            attributes,
            ..
        } = version.stored;
        let checksums = if wanted {
            checksums
        } else {
            Checksums::default()
        };
        // A content range makes it a 206.
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
            content_length: Some(length(span.as_ref().map_or(version.len, ContentSpan::len))?),
            content_range: span.as_ref().map(ContentSpan::to_header),
            content_type: Some(content_type(attributes.content_type)),
            e_tag: Some(etag),
            expires: attributes.expires,
            last_modified: Some(version.modified),
            metadata: attributes.metadata,
            website_redirect_location: attributes.website_redirect_location,
            ..GetObjectOutput::default()
        }))
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let integrity = Integrity::expected(&req.headers, &req.extensions);
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
            // Not after gigabytes have come in.
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

    async fn copy_object(
        &self,
        req: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let (source_bucket, source_key) = source(input.copy_source)?;
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
        // A copy onto itself is no danger: the source stays open, the copy is a new
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

    async fn delete_object(
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
        // The status of the `s3s` output is 200.
        let mut response = S3Response::new(DeleteObjectOutput::default());
        response.status = Some(StatusCode::NO_CONTENT);
        Ok(response)
    }

    async fn delete_objects(
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

    // Listings

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input {
            bucket,
            continuation_token,
            delimiter,
            encoding_type,
            max_keys,
            prefix,
            start_after,
            ..
        } = req.input;
        let after = match (&continuation_token, &start_after) {
            (Some(token), _) => After::from_token(token)?,
            (None, start_after) => After::Key(start_after.clone().unwrap_or_default()),
        };
        let query = |max_keys| {
            Ok(Query {
                prefix: prefix.clone().unwrap_or_default(),
                delimiter: delimiter.clone().filter(|d| !d.is_empty()),
                after,
                max_keys,
            })
        };
        let (page, max_keys) = self.list(bucket.clone(), max_keys, query).await?;
        let encode = encoder(encoding_type.as_ref());
        let next = page.next.as_ref().map(After::to_token);
        let (contents, common_prefixes) = listed(page, encode);
        let count = contents.len() + common_prefixes.len();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix: Some(encode(prefix.unwrap_or_default())),
            delimiter: delimiter.map(encode),
            start_after: start_after.map(encode),
            max_keys: Some(max_keys),
            key_count: i32::try_from(count).ok(),
            is_truncated: Some(next.is_some()),
            continuation_token,
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type,
            ..ListObjectsV2Output::default()
        }))
    }

    async fn list_objects(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let ListObjectsInput {
            bucket,
            delimiter,
            encoding_type,
            marker,
            max_keys,
            prefix,
            ..
        } = req.input;
        let delimiter = delimiter.filter(|d| !d.is_empty());
        let query = |max_keys| {
            let marker = marker.clone().unwrap_or_default();
            // The marker is a key or a common prefix, as listed last.
            let after = match &delimiter {
                Some(delimiter) if marker.ends_with(delimiter.as_str()) => After::Prefix(marker),
                _ => After::Key(marker),
            };
            Ok(Query {
                prefix: prefix.clone().unwrap_or_default(),
                delimiter: delimiter.clone(),
                after,
                max_keys,
            })
        };
        let (page, max_keys) = self.list(bucket.clone(), max_keys, query).await?;
        let encode = encoder(encoding_type.as_ref());
        let next = page.next.as_ref().map(|next| {
            let (After::Key(next) | After::Prefix(next)) = next;
            encode(next.clone())
        });
        let (contents, common_prefixes) = listed(page, encode);
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(bucket),
            prefix: Some(encode(prefix.unwrap_or_default())),
            delimiter: delimiter.map(encode),
            marker: Some(encode(marker.unwrap_or_default())),
            max_keys: Some(max_keys),
            is_truncated: Some(next.is_some()),
            next_marker: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            encoding_type,
            ..ListObjectsOutput::default()
        }))
    }

    // Uploads in parts

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let (request, input) = split(req);
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

    async fn upload_part(
        &self,
        req: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let integrity = Integrity::expected(&req.headers, &req.extensions);
        let (request, input) = split(req);
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

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (request, input) = split(req);
        self.load_upload(&input.upload_id, &input.bucket, &input.key)
            .await?;
        let (source_bucket, source_key) = source(input.copy_source)?;
        let range = match &input.copy_source_range {
            Some(text) => Some(
                Range::parse(text)
                    .map_err(|_| s3_error!(InvalidArgument, "the copy range is no byte range"))?,
            ),
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
                span(version, range, None)
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

    async fn list_parts(
        &self,
        req: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let (request, input) = split(req);
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

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let (request, input) = split(req);
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
        // `s3s-fs` forgets the upload before it looks, so look first.
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
        let stored = Stored {
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
                let temp = store.adopt(&whole)?;
                store.forget_upload(&upload_id);
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

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let (request, input) = split(req);
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
            store.forget_upload(&upload_id);
            Ok(())
        })
        .await?;
        let mut response = S3Response::new(AbortMultipartUploadOutput::default());
        response.status = Some(StatusCode::NO_CONTENT);
        Ok(response)
    }
}

impl Api {
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
        return Err(s3_error!(InvalidPart, "an upload needs a part"));
    }
    for (index, part) in named.iter().enumerate() {
        let number = part.part_number;
        if number != i32::try_from(index + 1).ok() {
            return Err(s3_error!(
                InvalidPartOrder,
                "parts are numbered from 1 here, without gaps"
            ));
        }
        let Some(found) = stored.iter().find(|stored| stored.part_number == number) else {
            return Err(s3_error!(InvalidPart, "part {} did not come", index + 1));
        };
        if index + 1 < named.len() && found.size.unwrap_or(0) < MIN_PART {
            return Err(s3_error!(
                EntityTooSmall,
                "part {} is smaller than 5 MiB and not the last",
                index + 1
            ));
        }
    }
    Ok(())
}

/// Takes the input out of a request.
fn split<T>(request: S3Request<T>) -> (S3Request<()>, T) {
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

fn source(source: CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id: None,
        } => Ok((bucket.into_string(), key.into_string())),
        CopySource::Bucket { .. } => Err(s3_error!(NotImplemented, "there are no versions here")),
        _ => Err(s3_error!(NotImplemented, "a copy needs a bucket and a key")),
    }
}

fn content_type(stored: Option<String>) -> String {
    // S3's own default.
    stored.unwrap_or_else(|| "binary/octet-stream".to_owned())
}

fn length(len: u64) -> S3Result<i64> {
    i64::try_from(len).map_err(S3Error::internal_error)
}

fn incomplete(error: s3s::StdError) -> S3Error {
    let message = format!("the body broke off: {error}");
    S3Error::with_message(S3ErrorCode::IncompleteBody, message)
}

/// An error of a request body, as `s3s-fs` wants it.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
struct BodyError(s3s::StdError);

// Listings

fn encoder(encoding: Option<&EncodingType>) -> fn(String) -> String {
    match encoding {
        Some(encoding) if encoding.as_str() == EncodingType::URL => {
            |text| listing::url_encode(&text)
        }
        _ => |text| text,
    }
}

fn listed(page: Page, encode: fn(String) -> String) -> (Vec<Object>, Vec<CommonPrefix>) {
    let objects = page.objects.into_iter().map(|(key, version)| Object {
        key: Some(encode(key)),
        e_tag: Some(version.etag()),
        size: i64::try_from(version.len).ok(),
        last_modified: Some(version.modified),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Object::default()
    });
    let prefixes = page.common_prefixes.into_iter().map(|prefix| CommonPrefix {
        prefix: Some(encode(prefix)),
    });
    (objects.collect(), prefixes.collect())
}

// Checksums

fn checksums_wanted(mode: Option<&ChecksumMode>, span: Option<&ContentSpan>) -> bool {
    // Those kept are of the whole object.
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && span.is_none()
}

fn checksum_type(checksums: &Checksums) -> Option<ChecksumType> {
    let any = *checksums != Checksums::default();
    any.then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT))
}
