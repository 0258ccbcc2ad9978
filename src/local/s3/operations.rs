//! Common parts of the S3 operations: blocking file work, and sending and receiving bodies.

use std::io::{Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use s3s::dto::{ChecksumType, CopySource, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio_util::io::ReaderStream;

use crate::local::s3::conditions::ResolvedRange;
use crate::local::s3::integrity::Integrity;
use crate::local::s3::object::{
    Attributes, Checksums, ContentMetadata, StoredVersion, WriteCondition,
};
use crate::local::s3::store::Store;

/// Bytes read and written at a time: large enough to be fast, small enough that many
/// concurrent requests need little memory.
const BUFFER_BYTES: usize = 256 * 1024;

/// The S3 operations over a [`Store`].
#[derive(Debug)]
pub(super) struct Api {
    pub(super) store: Arc<Store>,
    pub(super) parts: FileSystem,
    /// Held while an upload is assembled: all uploads use the same name then.
    pub(super) completing: tokio::sync::Mutex<()>,
}

impl Api {
    pub(super) fn new(store: Arc<Store>, parts: FileSystem) -> Api {
        Api {
            store,
            parts,
            completing: tokio::sync::Mutex::new(()),
        }
    }

    /// Runs file work on a thread that may block.
    pub(super) async fn blocking<T, F>(&self, work: F) -> S3Result<T>
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

    /// Opens an object, or the requested range, as a stream.
    pub(super) async fn open(
        &self,
        bucket: String,
        key: String,
        range: impl FnOnce(&StoredVersion) -> S3Result<Option<ResolvedRange>> + Send + 'static,
    ) -> S3Result<(StreamingBlob, StoredVersion, Option<ResolvedRange>)> {
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
        let len = span.as_ref().map_or(version.len, ResolvedRange::len);
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(BUFFER_BYTES);
        let stream = ReaderStream::with_capacity(file.take(len), BUFFER_BYTES);
        Ok((StreamingBlob::wrap(stream), version, span))
    }

    /// Receives a body and stores it as the object.
    pub(super) async fn store_object(
        &self,
        bucket: String,
        key: String,
        mut body: impl Stream<Item = Result<Bytes, s3s::StdError>> + Unpin + Send,
        mut integrity: Integrity,
        condition: WriteCondition,
        attributes: Attributes,
    ) -> S3Result<StoredVersion> {
        let temp = self.store.temp_file();
        let file = tokio::fs::File::create(temp.path())
            .await
            .map_err(S3Error::internal_error)?;
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        while let Some(data) = body.next().await {
            let data = data.map_err(incomplete_body)?;
            integrity.update(&data);
            writer
                .write_all(&data)
                .await
                .map_err(S3Error::internal_error)?;
        }
        writer.flush().await.map_err(S3Error::internal_error)?;
        let file = writer.into_inner().into_std().await;
        let (md5, checksums) = integrity.finish()?;
        let stored = ContentMetadata {
            etag: md5,
            checksums,
            attributes,
        };
        self.blocking(move |store| {
            // Windows cannot move an open file.
            drop(file);
            store.commit(temp, &bucket, &key, &condition, stored)
        })
        .await
    }
}

pub(super) fn parse_copy_source(source: CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id: None,
        } => Ok((bucket.into_string(), key.into_string())),
        CopySource::Bucket { .. } => Err(s3_error!(NotImplemented, "this server has no versions")),
        _ => Err(s3_error!(NotImplemented, "a copy needs a bucket and a key")),
    }
}

fn incomplete_body(error: s3s::StdError) -> S3Error {
    let message = format!("the body broke off: {error}");
    S3Error::with_message(S3ErrorCode::IncompleteBody, message)
}

pub(super) fn checksum_type(checksums: &Checksums) -> Option<ChecksumType> {
    let any = *checksums != Checksums::default();
    any.then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT))
}
