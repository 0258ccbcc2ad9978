//! The body of an S3 object, and the range that an answer holds.

use crate::aws::config::Aws;
use crate::base::error::Result;
use crate::flow::backoff::Backoff;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use tokio::time::Instant;

/// How often in a row a broken S3 body is asked for again without a byte of
/// progress.
pub(super) const MAX_BROKEN_READS: u32 = 8;

/// The body of an object, and how its reading goes.
pub(super) struct S3Body {
    pub(super) aws: Aws,
    pub(super) stream: ByteStream,
    /// How often in a row it broke without a byte of progress.
    pub(super) broken: u32,
    /// Since when.
    pub(super) since: Option<Instant>,
    pub(super) backoff: Backoff,
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
}

/// The length of the whole object.
pub(super) fn total_length(answer: &GetObjectOutput) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
