//! Opening a list again where an earlier run left it: only if it is the same.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::source::errors::{cannot_open, redirect_region};
use crate::source::location::Location;
use crate::source::open::{Body, READ_BYTES, Source, modified};
use crate::source::s3::{S3Body, check_range};
use crate::source::version::ObjectVersion;
use std::io::SeekFrom;
use std::path::Path;
use tokio::io::AsyncSeekExt as _;

impl Source {
    /// By what it can be recognised later.
    pub fn version(&self) -> ObjectVersion {
        ObjectVersion {
            uri: self.location.to_string(),
            etag: self.etag.clone(),
            version_id: self.version_id.clone(),
            bytes: self.length,
            modified: self.modified.clone(),
        }
    }

    /// Opens `location`, which was `identity` when an earlier run read it up to
    /// byte `from`, and goes on there.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it has changed since, or cannot be read;
    /// [`ErrorKind::Read`] when S3 cannot be asked.
    pub async fn open_again(
        location: &Location,
        aws: &Aws,
        identity: &ObjectVersion,
        from: u64,
    ) -> Result<Source> {
        match location {
            Location::S3 { .. } if identity.bytes == Some(from) => {
                at_end_of_object(location, aws, identity, from).await
            }
            Location::S3 { bucket, key } => {
                rest_of_object(location, (bucket, key), aws, identity, from).await
            }
            Location::File(path) => rest_of_file(location, path, identity, from).await,
            Location::Stdin => Err(Error::usage(
                "standard input cannot be read again from where it was left",
            )),
            Location::Program(_) => Err(Error::usage(format!(
                "{location} cannot be read again from where they were left"
            ))),
        }
    }
}

/// An object that an earlier run read to its end, `from`.
async fn at_end_of_object(
    location: &Location,
    aws: &Aws,
    identity: &ObjectVersion,
    from: u64,
) -> Result<Source> {
    // There is no byte left that could be asked for.
    let now = look(location, aws).await?;
    same(location, identity, &now)?;
    Ok(Source {
        location: location.clone(),
        etag: now.etag,
        version_id: now.version_id,
        modified: None,
        length: now.bytes,
        position: from,
        body: Body::Reader(Box::new(tokio::io::empty())),
    })
}

/// The object `key` of `bucket` from byte `from` on.
async fn rest_of_object(
    location: &Location,
    (bucket, key): (&str, &str),
    aws: &Aws,
    identity: &ObjectVersion,
    from: u64,
) -> Result<Source> {
    let answer = aws
        .s3()
        .get_object()
        .bucket(bucket)
        .key(key)
        .set_if_match(identity.etag.clone())
        .range(format!("bytes={from}-"))
        .send()
        .await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(e) => {
            let status = e.raw_response().map(|r| r.status().as_u16());
            if matches!(status, Some(412 | 416)) {
                let now = look(location, aws).await?;
                same(location, identity, &now)?;
            }
            let region = redirect_region(&e);
            return Err(cannot_open(location, aws, region, CallError::from_sdk(e)));
        }
    };
    let etag = identity.etag.as_deref().unwrap_or_default();
    check_range(&answer, etag, identity.bytes, from).map_err(|what| {
        Error::new(ErrorKind::Read, format!("cannot go on reading {location}")).because(what)
    })?;
    let body = S3Body::new(aws, answer.body);
    Ok(Source {
        location: location.clone(),
        etag: identity.etag.clone(),
        version_id: answer.version_id,
        modified: None,
        length: identity.bytes,
        position: from,
        body: Body::S3(Box::new(body)),
    })
}

/// The file at `path` from byte `from` on.
async fn rest_of_file(
    location: &Location,
    path: &Path,
    identity: &ObjectVersion,
    from: u64,
) -> Result<Source> {
    let cannot =
        |e: std::io::Error| Error::usage(format!("cannot read {}", path.display())).because(e);
    let mut file = tokio::fs::File::open(path).await.map_err(cannot)?;
    let metadata = file.metadata().await.map_err(cannot)?;
    let now = ObjectVersion {
        bytes: metadata.is_file().then_some(metadata.len()),
        modified: modified(&metadata),
        ..identity.clone()
    };
    same(location, identity, &now)?;
    file.seek(SeekFrom::Start(from)).await.map_err(cannot)?;
    file.set_max_buf_size(READ_BYTES);
    Ok(Source {
        location: location.clone(),
        etag: None,
        version_id: None,
        modified: now.modified,
        length: now.bytes,
        position: from,
        body: Body::Reader(Box::new(file)),
    })
}

/// What `location` is now.
///
/// # Errors
/// [`ErrorKind::Usage`] when it is not there, or cannot be asked for.
pub(crate) async fn look(location: &Location, aws: &Aws) -> Result<ObjectVersion> {
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
                    crate::source::errors::cannot_open(
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
            let metadata = tokio::fs::metadata(path)
                .await
                .map_err(|e| Error::usage(format!("cannot read {}", path.display())).because(e))?;
            Ok(ObjectVersion {
                uri,
                bytes: metadata.is_file().then_some(metadata.len()),
                modified: crate::source::open::modified(&metadata),
                ..ObjectVersion::default()
            })
        }
        Location::Stdin | Location::Program(_) => Ok(ObjectVersion {
            uri,
            ..ObjectVersion::default()
        }),
    }
}

/// Checks that `location`, which was `before`, is so `now`.
///
/// # Errors
/// [`ErrorKind::Usage`], naming what is another.
pub(crate) fn same(location: &Location, before: &ObjectVersion, now: &ObjectVersion) -> Result<()> {
    match before.difference(now) {
        None => Ok(()),
        Some(what) => Err(Error::usage(format!(
            "{location} has changed since the run that is to be taken up: {what}"
        ))
        .hint("begin again with --restart, or give that run's list back its place")),
    }
}
