//! The body of an S3 object, and the check of a response's range.

use crate::aws::config::Aws;
use crate::base::error::Result;
use crate::flow::backoff::Backoff;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use tokio::time::Instant;

/// Maximum number of consecutive resumes of an S3 body without progress.
pub(super) const MAX_RESUMES: u32 = 8;

/// The body of an object, with the state of its resumes.
pub(super) struct S3Body {
    pub(super) aws: Aws,
    pub(super) stream: ByteStream,
    /// Consecutive failures without progress.
    pub(super) failures: u32,
    /// Time of the first of them.
    pub(super) failing_since: Option<Instant>,
    pub(super) backoff: Backoff,
}

impl S3Body {
    pub(super) fn new(aws: &Aws, stream: ByteStream) -> Self {
        S3Body {
            aws: aws.clone(),
            stream,
            failures: 0,
            failing_since: None,
            backoff: Backoff::new(fastrand::Rng::new()),
        }
    }
}

pub(super) fn total_length(answer: &GetObjectOutput) -> Option<u64> {
    answer.content_length().and_then(|l| u64::try_from(l).ok())
}

/// Checks that `answer` is the rest of the same object from `position` on.
pub(super) fn check_range(
    answer: &GetObjectOutput,
    etag: &str,
    length: Option<u64>,
    position: u64,
) -> Result<(), String> {
    if answer.e_tag() != Some(etag) {
        return Err(format!(
            "the rest has ETag {:?}, but the start had {etag}",
            answer.e_tag()
        ));
    }
    let range = answer.content_range().unwrap_or_default();
    let parsed = parse_content_range(range);
    match parsed {
        Some((first, _, total)) if first == position && (length.is_none() || total == length) => {
            Ok(())
        }
        _ => Err(format!(
            "expected the bytes from {position} on, got the range {range:?}"
        )),
    }
}

/// Parses `bytes FIRST-LAST/TOTAL`; the total may be `*`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range_is_parsed_strictly() {
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
