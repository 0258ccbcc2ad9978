//! Opens a list: an S3 object, a local file, or standard input.
//!
//! A list is never held in memory completely: [`OpenSource::next`] returns its bytes chunk
//! by chunk.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, Result};
use crate::source::errors::{open_error, redirect_region};
use crate::source::location::Location;
use crate::source::s3::{S3Body, total_length};
use std::fmt;
use tokio::io::AsyncRead;

/// Read size of files and pipes. Large enough to make the hand-off to the reading
/// thread cheap, small enough to hold a few.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// An opened list.
pub struct OpenSource {
    pub(super) location: Location,
    pub(super) etag: Option<String>,
    pub(super) version_id: Option<String>,
    pub(super) modified: Option<String>,
    pub(super) length: Option<u64>,
    pub(super) position: u64,
    pub(super) body: Body,
}

pub(super) enum Body {
    S3(Box<S3Body>),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl fmt::Debug for OpenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("location", &self.location)
            .field("etag", &self.etag)
            .field("length", &self.length)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl OpenSource {
    /// Opens `location`. For S3, the GetObject call also starts the body.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it does not exist
    /// or access is denied; [`ErrorKind::Read`](crate::base::error::ErrorKind::Read) if
    /// S3 is unreachable.
    pub async fn open(location: &Location, aws: &Aws) -> Result<OpenSource> {
        match location {
            Location::S3 { bucket, key } => {
                let answer = aws
                    .s3()
                    .get_object()
                    .bucket(bucket)
                    .key(key)
                    .send()
                    .await
                    .map_err(|e| {
                        open_error(location, aws, redirect_region(&e), CallError::from_sdk(e))
                    })?;
                let (etag, length) = (answer.e_tag.clone(), total_length(&answer));
                let version_id = answer.version_id.clone();
                let body = S3Body::new(aws, answer.body);
                Ok(OpenSource {
                    location: location.clone(),
                    etag,
                    version_id,
                    modified: None,
                    length,
                    position: 0,
                    body: Body::S3(Box::new(body)),
                })
            }
            Location::File(path) => {
                let cannot = |e: std::io::Error| {
                    Error::usage(format!("cannot read {}", path.display())).with_source(e)
                };
                let mut file = tokio::fs::File::open(path).await.map_err(cannot)?;
                let metadata = file.metadata().await.map_err(cannot)?;
                if metadata.is_dir() {
                    return Err(Error::usage(format!("{} is a directory", path.display()))
                        .with_hint("give a file with one hash a line"));
                }
                file.set_max_buf_size(READ_BYTES);
                Ok(OpenSource {
                    location: location.clone(),
                    etag: None,
                    version_id: None,
                    modified: last_modified(&metadata),
                    // A pipe or a device has no meaningful length.
                    length: metadata.is_file().then_some(metadata.len()),
                    position: 0,
                    body: Body::Reader(Box::new(file)),
                })
            }
            Location::Stdin => Ok(OpenSource::from_reader(
                location,
                Box::new(tokio::io::stdin()),
            )),
            Location::Program(hashes) => match hashes.take() {
                Some(text) => Ok(OpenSource::from_reader(location, text)),
                None => Err(Error::usage(format!(
                    "{location} were already read, and a stream can be read only once"
                ))),
            },
        }
    }

    /// Creates a source from `reader`, which can be read once.
    fn from_reader(location: &Location, reader: Box<dyn AsyncRead + Send + Unpin>) -> OpenSource {
        OpenSource {
            location: location.clone(),
            etag: None,
            version_id: None,
            modified: None,
            length: None,
            position: 0,
            body: Body::Reader(reader),
        }
    }

    /// The location of the list.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The object's ETag, without its quotes; `None` if it is not an S3 object.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref().map(|e| e.trim_matches('"'))
    }

    /// The length in bytes; `None` if unknown before the end.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes returned so far.
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// The modification time of a file (UTC, RFC 3339); `None` for a pipe or a device.
pub(crate) fn last_modified(metadata: &std::fs::Metadata) -> Option<String> {
    let at = metadata.modified().ok().filter(|_| metadata.is_file())?;
    Some(jiff::Timestamp::try_from(at).ok()?.to_string())
}
