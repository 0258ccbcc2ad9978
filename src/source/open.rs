//! Opening a list: an S3 object, a local file, or standard input.
//!
//! A list is never held whole: [`Source::next`] gives its bytes, chunk by chunk.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, Result};
use crate::source::errors::{cannot_open, redirect_region};
use crate::source::location::Location;
use crate::source::s3::{S3Body, total_length};
use std::fmt;
use tokio::io::AsyncRead;

/// How much of a file or pipe is read at once. Large enough that the hand-over
/// to the thread that reads costs nothing, small enough to hold a few of.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// An opened list.
pub struct Source {
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

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("location", &self.location)
            .field("etag", &self.etag)
            .field("length", &self.length)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Opens `location`. For S3 that is the GetObject call whose body is then
    /// read.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when there is nothing to read there, or no
    /// permission; [`ErrorKind::Read`](crate::base::error::ErrorKind::Read) when S3 cannot be asked.
    pub async fn open(location: &Location, aws: &Aws) -> Result<Source> {
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
                        cannot_open(location, aws, redirect_region(&e), CallError::from_sdk(e))
                    })?;
                let (etag, length) = (answer.e_tag.clone(), total_length(&answer));
                let version_id = answer.version_id.clone();
                let body = S3Body::new(aws, answer.body);
                Ok(Source {
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
                    Error::usage(format!("cannot read {}", path.display())).because(e)
                };
                let mut file = tokio::fs::File::open(path).await.map_err(cannot)?;
                let metadata = file.metadata().await.map_err(cannot)?;
                if metadata.is_dir() {
                    return Err(Error::usage(format!("{} is a directory", path.display()))
                        .hint("name a file that holds one hash a line"));
                }
                file.set_max_buf_size(READ_BYTES);
                Ok(Source {
                    location: location.clone(),
                    etag: None,
                    version_id: None,
                    modified: modified(&metadata),
                    // A pipe or a device has no length that means anything.
                    length: metadata.is_file().then_some(metadata.len()),
                    position: 0,
                    body: Body::Reader(Box::new(file)),
                })
            }
            Location::Stdin => Ok(Source::once(location, Box::new(tokio::io::stdin()))),
            Location::Program(hashes) => match hashes.take() {
                Some(text) => Ok(Source::once(location, text)),
                None => Err(Error::usage(format!(
                    "{location} were read before, and a stream can be read once"
                ))),
            },
        }
    }

    /// A source that `reader` brings, which can be read once.
    fn once(location: &Location, reader: Box<dyn AsyncRead + Send + Unpin>) -> Source {
        Source {
            location: location.clone(),
            etag: None,
            version_id: None,
            modified: None,
            length: None,
            position: 0,
            body: Body::Reader(reader),
        }
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The object's ETag, without its quotes.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref().map(|e| e.trim_matches('"'))
    }

    /// Its length in bytes, where that is known before the end.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Bytes handed out so far.
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// When a file was last changed; nothing for a pipe or a device.
pub(crate) fn modified(metadata: &std::fs::Metadata) -> Option<String> {
    let at = metadata.modified().ok().filter(|_| metadata.is_file())?;
    Some(jiff::Timestamp::try_from(at).ok()?.to_string())
}
