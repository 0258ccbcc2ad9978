//! Reopens a list at the byte where an earlier run stopped, if it is unchanged.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::source::errors::{open_error, redirect_region};
use crate::source::location::Location;
use crate::source::open::{Body, OpenSource, READ_BYTES, last_modified};
use crate::source::s3::{S3Body, check_range};
use crate::source::version::ObjectVersion;
use std::io::SeekFrom;
use std::path::Path;
use tokio::io::AsyncSeekExt as _;

impl OpenSource {
    /// The version, to detect changes on resume.
    pub fn version(&self) -> ObjectVersion {
        ObjectVersion {
            uri: self.location.to_string(),
            etag: self.etag.clone(),
            version_id: self.version_id.clone(),
            bytes: self.length,
            modified: self.modified.clone(),
        }
    }

    /// Opens `location` at byte `from`, if its version is still `before`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it has changed or cannot be read; [`ErrorKind::Read`] if
    /// S3 is unreachable.
    pub async fn reopen(
        location: &Location,
        aws: &Aws,
        before: &ObjectVersion,
        from: u64,
    ) -> Result<OpenSource> {
        match location {
            Location::S3 { .. } if before.bytes == Some(from) => {
                reopen_at_end(location, aws, before, from).await
            }
            Location::S3 { bucket, key } => {
                reopen_object(location, (bucket, key), aws, before, from).await
            }
            Location::File(path) => reopen_file(location, path, before, from).await,
            Location::Stdin => Err(Error::usage("standard input cannot be resumed")),
            Location::Program(_) => Err(Error::usage(format!("{location} cannot be resumed"))),
        }
    }
}

/// Reopens an object at its end, `from`.
async fn reopen_at_end(
    location: &Location,
    aws: &Aws,
    before: &ObjectVersion,
    from: u64,
) -> Result<OpenSource> {
    // No byte is left for a ranged GET.
    let now = head(location, aws).await?;
    check_unchanged(location, before, &now)?;
    Ok(OpenSource {
        location: location.clone(),
        etag: now.etag,
        version_id: now.version_id,
        modified: None,
        length: now.bytes,
        position: from,
        body: Body::Reader(Box::new(tokio::io::empty())),
    })
}

/// Reopens the object `key` of `bucket` at byte `from`.
async fn reopen_object(
    location: &Location,
    (bucket, key): (&str, &str),
    aws: &Aws,
    before: &ObjectVersion,
    from: u64,
) -> Result<OpenSource> {
    let answer = aws
        .s3()
        .get_object()
        .bucket(bucket)
        .key(key)
        .set_if_match(before.etag.clone())
        .range(format!("bytes={from}-"))
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(e) => {
            let status = e.raw_response().map(|r| r.status().as_u16());
            if matches!(status, Some(412 | 416)) {
                let now = head(location, aws).await?;
                check_unchanged(location, before, &now)?;
            }
            let region = redirect_region(&e);
            return Err(open_error(location, aws, region, CallError::from_sdk(e)));
        }
    };
    let etag = before.etag.as_deref().unwrap_or_default();
    check_range(&answer, etag, before.bytes, from).map_err(|difference| {
        Error::new(ErrorKind::Read, format!("cannot resume reading {location}"))
            .with_source(difference)
    })?;
    let body = S3Body::new(aws, answer.body);
    Ok(OpenSource {
        location: location.clone(),
        etag: before.etag.clone(),
        version_id: answer.version_id,
        modified: None,
        length: before.bytes,
        position: from,
        body: Body::S3(Box::new(body)),
    })
}

/// Reopens the file at `path` at byte `from`.
async fn reopen_file(
    location: &Location,
    path: &Path,
    before: &ObjectVersion,
    from: u64,
) -> Result<OpenSource> {
    let cannot =
        |e: std::io::Error| Error::usage(format!("cannot read {}", path.display())).with_source(e);
    let mut file = tokio::fs::File::open(path).await.map_err(cannot)?;
    let metadata = file.metadata().await.map_err(cannot)?;
    let now = ObjectVersion {
        bytes: metadata.is_file().then_some(metadata.len()),
        modified: last_modified(&metadata),
        ..before.clone()
    };
    check_unchanged(location, before, &now)?;
    file.seek(SeekFrom::Start(from)).await.map_err(cannot)?;
    file.set_max_buf_size(READ_BYTES);
    Ok(OpenSource {
        location: location.clone(),
        etag: None,
        version_id: None,
        modified: now.modified,
        length: now.bytes,
        position: from,
        body: Body::Reader(Box::new(file)),
    })
}

/// The present version of `location`.
///
/// # Errors
/// [`ErrorKind::Usage`] if it does not exist or cannot be accessed.
pub(crate) async fn head(location: &Location, aws: &Aws) -> Result<ObjectVersion> {
    let uri = location.to_string();
    match location {
        Location::S3 { bucket, key } => {
            let head = aws
                .s3()
                .head_object()
                .bucket(bucket)
                .key(key)
                .send()
                .await
                .map_err(|e| {
                    crate::source::errors::open_error(
                        location,
                        aws,
                        crate::source::errors::redirect_region(&e),
                        CallError::from_sdk(e),
                    )
                })?;
            Ok(ObjectVersion {
                uri,
                etag: head.e_tag().map(str::to_owned),
                version_id: head.version_id().map(str::to_owned),
                bytes: head.content_length().and_then(|l| u64::try_from(l).ok()),
                ..ObjectVersion::default()
            })
        }
        Location::File(path) => {
            let metadata = tokio::fs::metadata(path).await.map_err(|e| {
                Error::usage(format!("cannot read {}", path.display())).with_source(e)
            })?;
            Ok(ObjectVersion {
                uri,
                bytes: metadata.is_file().then_some(metadata.len()),
                modified: crate::source::open::last_modified(&metadata),
                ..ObjectVersion::default()
            })
        }
        Location::Stdin | Location::Program(_) => Ok(ObjectVersion {
            uri,
            ..ObjectVersion::default()
        }),
    }
}

/// Checks that the version of `location` has not changed.
///
/// # Errors
/// [`ErrorKind::Usage`], naming the difference.
pub(crate) fn check_unchanged(
    location: &Location,
    before: &ObjectVersion,
    now: &ObjectVersion,
) -> Result<()> {
    match before.describe_change(now) {
        None => Ok(()),
        Some(difference) => Err(Error::usage(format!(
            "{location} has changed since the earlier run: {difference}"
        ))
        .with_hint("give --restart to begin again, or restore that run's list")),
    }
}
