//! Reading an opened list, chunk by chunk.
//!
//! An S3 body that breaks off is continued by a ranged GET from the next byte, pinned
//! to the object's ETag: what is read is one version of the object, once, or an
//! error that says where it ended.

use crate::aws::error::{CallError, Meaning, innermost};
use crate::base::error::{ErrorKind, Result};
use crate::source::errors::broken;
use crate::source::location::Location;
use crate::source::open::{Body, READ_BYTES, Source};
use crate::source::reopen::look;
use crate::source::s3::{MAX_BROKEN_READS, S3Body, check_range};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout, timeout_at};

/// How long all of that may take, the SDK's own retries of each call included.
const MAX_BROKEN_TIME: Duration = Duration::from_secs(15 * 60);

/// How long to wait for the next bytes of an S3 body before it counts as broken:
/// a connection that died silently says nothing, for ever. As long as the SDK's
/// stalled-stream protection takes, on which this does not depend.
pub const STALLED: Duration = Duration::from_secs(20);

impl Source {
    /// The next chunk; nothing at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Read`], naming the byte, when the rest cannot be read.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = match &mut self.body {
            Body::Reader(reader) => {
                let mut buffer = BytesMut::with_capacity(READ_BYTES);
                reader
                    .read_buf(&mut buffer)
                    .await
                    .map_err(|e| broken(&self.location, self.position).because(e))?;
                (!buffer.is_empty()).then(|| buffer.freeze())
            }
            Body::S3(_) => self.next_of_s3().await?,
        };
        if let (None, Some(length)) = (&chunk, self.length)
            && self.position < length
        {
            return Err(broken(&self.location, self.position)
                .because(format!(
                    "the file had {length} bytes when it was opened: it was cut off since"
                ))
                .hint("let it be written whole first, then run this again"));
        }
        self.position += chunk.as_ref().map_or(0, |c| c.len() as u64);
        Ok(chunk)
    }

    async fn next_of_s3(&mut self) -> Result<Option<Bytes>> {
        let Source {
            location,
            etag,
            length,
            position,
            body,
            ..
        } = self;
        let Body::S3(s3) = body else { return Ok(None) };
        loop {
            let why = match timeout(STALLED, s3.stream.next()).await {
                Ok(Some(Ok(chunk))) if chunk.is_empty() => continue,
                Ok(Some(Ok(chunk))) => {
                    let end = *position + chunk.len() as u64;
                    if let Some(length) = length.filter(|l| end > *l) {
                        return Err(broken(location, *position)
                            .because(format!(
                                "the object has {length} bytes, and {end} have come"
                            ))
                            .hint(
                                "whatever serves it does not serve it as it is; run this again",
                            ));
                    }
                    (s3.broken, s3.since) = (0, None);
                    return Ok(Some(chunk));
                }
                // All of it came: how the connection ends is no loss.
                _ if *length == Some(*position) => return Ok(None),
                Ok(None) if length.is_none() => return Ok(None),
                Ok(None) => "the body ended before its length".to_owned(),
                Ok(Some(Err(e))) => innermost(&e),
                Err(_) => format!("nothing came for {} s", STALLED.as_secs()),
            };
            s3.resume(location, etag.as_deref(), *length, *position, &why)
                .await?;
        }
    }
}

impl S3Body {
    /// Asks for the rest from `position` on, until it comes or there is no hope.
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
        let deadline = *self.since.get_or_insert_with(Instant::now) + MAX_BROKEN_TIME;
        loop {
            self.broken += 1;
            let hope = self.broken <= MAX_BROKEN_READS && Instant::now() < deadline;
            // Without an ETag nothing says that the rest is of the same object.
            let Some(etag) = etag.filter(|_| hope) else {
                return Err(broken(location, position)
                    .because(why)
                    .hint("what was read before is written or in the books; run this again"));
            };
            tracing::warn!(
                "{location}: reading broke off at byte {position} ({why}); going on from there"
            );
            tokio::time::sleep(self.backoff.wait(self.broken)).await;
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
                        .map_err(|what| broken(location, position).because(what))?;
                    self.stream = answer.body;
                    return Ok(());
                }
                Err(error) => {
                    let status = error.raw_response().map(|r| r.status().as_u16());
                    let error = CallError::from_sdk(error);
                    if status == Some(412) {
                        let now = match look(location, &self.aws).await {
                            Ok(now) => now.etag.unwrap_or_else(|| "none".to_owned()),
                            Err(e) => format!("not to be learnt ({e:#})"),
                        };
                        return Err(broken(location, position)
                            .of_kind(ErrorKind::Damaged)
                            .because(format!(
                                "the object was replaced while it was read: its ETag was {etag} \
                                 and is {now}"
                            ))
                            .hint("let it be written whole first, then run this again"));
                    }
                    match error.meaning {
                        Meaning::Permanent | Meaning::Invalid => {
                            return Err(broken(location, position).because(error));
                        }
                        _ => why = error.to_string(),
                    }
                }
            }
        }
    }
}
