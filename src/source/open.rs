//! Where a list lies → its bytes, chunk by chunk.
//!
//! An S3 object, a local file, or standard input; never held whole. An S3 body
//! that breaks off is continued by a ranged GET from the next byte, pinned to
//! the object's ETag: what is read is one version of the object, once, or an
//! error that says where it ended.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, Meaning, innermost};
use crate::base::error::{Error, ErrorKind, Result};
use crate::flow::backoff::Backoff;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout, timeout_at};

/// How much of a file or pipe is read at once. Large enough that the hand-over
/// to the thread that reads costs nothing, small enough to hold a few of.
pub(super) const READ_BYTES: usize = 256 * 1024;

/// How often in a row a broken S3 body is asked for again without a byte of
/// progress.
pub(super) const MAX_BROKEN_READS: u32 = 8;

/// How long all of that may take, the SDK's own retries of each call included.
const MAX_BROKEN_TIME: Duration = Duration::from_secs(15 * 60);

/// How long to wait for the next bytes of an S3 body before it counts as broken:
/// a connection that died silently says nothing, for ever. As long as the SDK's
/// stalled-stream protection takes, on which this does not depend.
pub const STALLED: Duration = Duration::from_secs(20);

/// Where a list lies, as it was named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `s3://bucket/key`
    S3 {
        /// Bucket name.
        bucket: String,
        /// Object key.
        key: String,
    },
    /// A local path.
    File(PathBuf),
    /// `-`
    Stdin,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Location::Stdin);
        }
        if text.is_empty() {
            return Err("expected s3://bucket/key, a path, or - for standard input".into());
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            if let Some((scheme, _)) = text.split_once("://") {
                return Err(format!(
                    "{scheme}:// is no place that can be read from: expected s3://bucket/key, a path, \
                     or - for standard input"
                ));
            }
            return Ok(Location::File(text.into()));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || key.is_empty() {
            return Err(format!(
                "expected s3://bucket/key, and {text:?} names no object"
            ));
        }
        if key.ends_with('/') {
            return Err(format!(
                "{text:?} is a prefix, not an object: name one object, as in s3://bucket/key \
                 (aws s3 ls {text} shows them)"
            ));
        }
        Ok(Location::S3 {
            bucket: bucket.into(),
            key: key.into(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Location::File(path) => write!(f, "{}", path.display()),
            Location::Stdin => f.write_str("-"),
        }
    }
}

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

pub(super) struct S3Body {
    aws: Aws,
    stream: ByteStream,
    /// How often in a row it broke without a byte of progress.
    broken: u32,
    /// Since when.
    since: Option<Instant>,
    backoff: Backoff,
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
    /// [`ErrorKind::Usage`] when there is nothing to read there, or no
    /// permission; [`ErrorKind::Read`] when S3 cannot be asked.
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
            Location::Stdin => Ok(Source {
                location: Location::Stdin,
                etag: None,
                version_id: None,
                modified: None,
                length: None,
                position: 0,
                body: Body::Reader(Box::new(tokio::io::stdin())),
            }),
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
    pub(super) fn new(aws: &Aws, stream: ByteStream) -> Self {
        S3Body {
            aws: aws.clone(),
            stream,
            broken: 0,
            since: None,
            backoff: Backoff::new(fastrand::Rng::new()),
        }
    }

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
                        let now = match crate::source::reopen::look(location, &self.aws).await {
                            Ok(now) => now.etag.unwrap_or_else(|| "none".to_owned()),
                            Err(e) => format!("not to be learnt ({e})"),
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

/// When a file was last changed; nothing for a pipe or a device.
pub fn modified(metadata: &std::fs::Metadata) -> Option<String> {
    let at = metadata.modified().ok().filter(|_| metadata.is_file())?;
    Some(jiff::Timestamp::try_from(at).ok()?.to_string())
}

fn broken(location: &Location, position: u64) -> Error {
    Error::new(
        ErrorKind::Read,
        format!("reading {location} ended at byte {position}"),
    )
}

/// The length of the whole object.
fn total_length(answer: &GetObjectOutput) -> Option<u64> {
    answer.content_length().and_then(|l| u64::try_from(l).ok())
}

/// Whether `answer` is the rest of the same object from `position` on.
pub(super) fn check_range(
    answer: &GetObjectOutput,
    etag: &str,
    length: Option<u64>,
    position: u64,
) -> Result<(), String> {
    if answer.e_tag() != Some(etag) {
        return Err(format!(
            "the rest has ETag {:?}, and the beginning had {etag}",
            answer.e_tag()
        ));
    }
    let said = answer.content_range().unwrap_or_default();
    let parsed = parse_content_range(said);
    match parsed {
        Some((first, _, total)) if first == position && (length.is_none() || total == length) => {
            Ok(())
        }
        _ => Err(format!(
            "asked for the bytes from {position} on, and got {said:?}"
        )),
    }
}

/// `bytes FIRST-LAST/TOTAL`; the total may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let total = if total == "*" {
        None
    } else {
        Some(total.parse().ok()?)
    };
    Some((first.parse().ok()?, last.parse().ok()?, total))
}

/// The region that S3 says the bucket is in, when it is not the one asked.
pub(super) fn redirect_region<E>(
    error: &aws_smithy_runtime_api::client::result::SdkError<
        E,
        aws_smithy_runtime_api::client::orchestrator::HttpResponse,
    >,
) -> Option<String> {
    let headers = error.raw_response()?.headers();
    headers.get("x-amz-bucket-region").map(str::to_owned)
}

/// Says why an object could not be opened, and what to do.
pub(super) fn cannot_open(
    location: &Location,
    aws: &Aws,
    region: Option<String>,
    error: CallError,
) -> Error {
    if error.no_credentials {
        return crate::aws::error::no_credentials(aws, error);
    }
    let region = region.filter(|r| r != aws.region());
    match (error.meaning, error.code.as_deref()) {
        (_, Some("NoSuchBucket")) => Error::usage(format!("cannot read {location}: there is no such bucket"))
            .hint("check the name; aws s3 ls shows your buckets"),
        (_, Some("NoSuchKey")) => Error::usage(format!("cannot read {location}: there is no such object"))
            .hint(
                "check the key, which is case-sensitive, and ends in / where all objects under it are \
                 meant; aws s3 ls shows what a bucket holds",
            ),
        (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"))
            if region.is_some() =>
        {
            let region = region.unwrap_or_default();
            Error::usage(format!(
                "cannot read {location}: the bucket is in region {region}, and {} was asked",
                aws.region()
            ))
            .hint(format!(
                "give --region {region} (if the table is in another region than the bucket, copy the \
                 object first, or pipe it in: aws s3 cp {location} - | hashferry ingest - …)"
            ))
        }
        (_, Some("AccessDenied")) => Error::usage(format!("cannot read {location}: access is denied"))
            .because(error)
            .hint(format!(
                "{}; without s3:ListBucket, S3 says so of a missing object too",
                aws.needs("s3:GetObject on it")
            )),
        (_, Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken")) => {
            Error::usage(format!("cannot read {location}: S3 does not accept these credentials"))
                .because(error)
                .hint("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
        }
        (Meaning::Expired, _) => {
            Error::usage(format!("cannot read {location}: the credentials have expired"))
                .because(error)
                .hint("renew them (for example: aws sso login), then run this again")
        }
        (Meaning::Permanent | Meaning::Invalid, _) => {
            Error::usage(format!("cannot read {location}")).because(error)
        }
        _ => Error::new(ErrorKind::Read, format!("cannot read {location}: S3 cannot be reached"))
            .because(error)
            .hint("check the region, the endpoint and the network, then run this again; nothing was written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read() {
        let ok = |s: &str| s.parse::<Location>().expect("a location");
        assert_eq!(ok("-"), Location::Stdin);
        assert_eq!(ok("a/b.txt"), Location::File("a/b.txt".into()));
        assert_eq!(
            ok("s3://b/a/k.txt"),
            Location::S3 {
                bucket: "b".into(),
                key: "a/k.txt".into()
            }
        );
        assert_eq!(ok("s3://b/a/k.txt").to_string(), "s3://b/a/k.txt");
        for bad in [
            "",
            "s3://",
            "s3://b",
            "s3://b/",
            "s3:///k",
            "s3://b/p/",
            "https://x/y",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }

    #[test]
    fn content_range_is_parsed_not_searched() {
        assert_eq!(
            parse_content_range("bytes 1024-2047/4096"),
            Some((1024, 2047, Some(4096)))
        );
        assert_eq!(parse_content_range("bytes 0-1/*"), Some((0, 1, None)));
        for bad in [
            "",
            "bytes */100",
            "1024-2047/4096",
            "bytes a-b/c",
            "bytes 1-2",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
