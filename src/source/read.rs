//! Reads an open list, chunk by chunk.
//!
//! A broken S3 body is resumed by a ranged GET from the next byte, pinned to the
//! object's ETag. So the bytes are one version of the object, each byte once, or an
//! error names the position.

use crate::aws::error::{CallError, ErrorClass, root_cause};
use crate::base::error::{ErrorKind, Result};
use crate::source::errors::read_error;
use crate::source::location::Location;
use crate::source::open::{Body, OpenSource, READ_BYTES};
use crate::source::reopen::head;
use crate::source::s3::{MAX_RESUMES, S3Body, check_range};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};

/// Maximum time of resuming without progress, including the SDK's retries.
const MAX_RESUME_TIME: Duration = Duration::from_secs(15 * 60);

/// Timeout for the next bytes of an S3 body, because a dead connection stays silent
/// permanently. As long as the SDK's stalled-stream protection, but independent of it.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(20);

impl OpenSource {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Read`], naming the byte, if the rest cannot be read;
    /// [`ErrorKind::Damaged`] if the object was replaced.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = match &mut self.body {
            Body::Reader(reader) => {
                let mut buffer = BytesMut::with_capacity(READ_BYTES);
                reader
                    .read_buf(&mut buffer)
                    .await
                    .map_err(|e| read_error(&self.location, self.position).with_source(e))?;
                (!buffer.is_empty()).then(|| buffer.freeze())
            }
            Body::S3(_) => self.next_from_s3().await?,
        };
        if let (None, Some(length)) = (&chunk, self.length)
            && self.position < length
        {
            return Err(read_error(&self.location, self.position)
                .with_source(format!(
                    "the file had {length} bytes when it was opened; it has been truncated since"
                ))
                .with_hint("wait until the list is completely written, then run this again"));
        }
        self.position += chunk.as_ref().map_or(0, |c| c.len() as u64);
        Ok(chunk)
    }

    async fn next_from_s3(&mut self) -> Result<Option<Bytes>> {
        let OpenSource {
            location,
            etag,
            length,
            position,
            body,
            ..
        } = self;
        let Body::S3(s3) = body else { return Ok(None) };
        loop {
            let why = match timeout(STALL_TIMEOUT, s3.stream.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Ok(Some(Ok(chunk))) => {
                    let end = *position + chunk.len() as u64;
                    if let Some(length) = length.filter(|l| end > *l) {
                        return Err(read_error(location, *position)
                            .with_source(format!(
                                "the object has {length} bytes, but {end} arrived"
                            ))
                            .with_hint(
                                "the server sent more bytes than Content-Length; run this again",
                            ));
                    }
                    (s3.failures, s3.failing_since) = (0, None);
                    return Ok(Some(chunk));
                }
                // The body is complete, so the end of the connection does not matter.
                _ if *length == Some(*position) => return Ok(None),
                Ok(None) if length.is_none() => return Ok(None),
                Ok(None) => "the body ended before its Content-Length".to_owned(),
                Ok(Some(Err(e))) => root_cause(&e),
                Err(_) => format!("no data for {} s", STALL_TIMEOUT.as_secs()),
            };
            s3.resume(location, etag.as_deref(), *length, *position, &why)
                .await?;
        }
    }
}

impl S3Body {
    /// Requests the rest from `position` on, until it succeeds or a retry is useless.
    async fn resume(
        &mut self,
        location: &Location,
        etag: Option<&str>,
        length: Option<u64>,
        position: u64,
        why: &str,
    ) -> Result<()> {
        let Location::S3 { bucket, key } = location else {
            return Ok(());
        };
        let mut why = why.to_owned();
        let deadline = *self.failing_since.get_or_insert_with(Instant::now) + MAX_RESUME_TIME;
        loop {
            self.failures += 1;
            let may_retry = self.failures <= MAX_RESUMES && Instant::now() < deadline;
            // Without an ETag, the rest could belong to another version.
            let Some(etag) = etag.filter(|_| may_retry) else {
                return Err(read_error(location, position)
                    .with_source(why)
                    .with_hint("every line before it is accounted for; run this again"));
            };
            tracing::warn!(
                "{location}: reading broke off at byte {position} ({why}); resuming from there"
            );
            tokio::time::sleep(self.backoff.wait(self.failures)).await;
            let rest = self
                .aws
                .s3()
                .get_object()
                .bucket(bucket)
                .key(key)
                .if_match(etag)
                .range(format!("bytes={position}-"))
                .send();
            let Ok(answer) = timeout_at(deadline, rest).await else {
                continue;
            };
            match answer {
                Ok(answer) => {
                    check_range(&answer, etag, length, position)
                        .map_err(|reason| read_error(location, position).with_source(reason))?;
                    self.stream = answer.body;
                    return Ok(());
                }
                Err(error) => {
                    let status = error.raw_response().map(|r| r.status().as_u16());
                    let error = CallError::from_sdk(error);
                    if status == Some(412) {
                        let now = match head(location, &self.aws).await {
                            Ok(now) => now.etag.unwrap_or_else(|| "none".to_owned()),
                            Err(e) => format!("unknown ({e:#})"),
                        };
                        return Err(read_error(location, position)
                            .with_kind(ErrorKind::Damaged)
                            .with_source(format!(
                                "the object was replaced while it was read: its ETag was {etag} \
                                 and is {now}"
                            ))
                            .with_hint(
                                "wait until the list is completely written, then run this again",
                            ));
                    }
                    match error.class {
                        ErrorClass::Permanent | ErrorClass::Invalid => {
                            return Err(read_error(location, position).with_source(error));
                        }
                        _ => why = error.to_string(),
                    }
                }
            }
        }
    }
}
