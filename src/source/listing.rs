//! Lists the objects under a prefix, page by page.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind, Result};
use crate::flow::backoff::Backoff;
use crate::source::errors::{open_error, redirect_region};
use crate::source::location::Location;
use crate::source::s3::MAX_RESUMES;
use crate::source::version::ObjectVersion;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use std::collections::VecDeque;

/// An object to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Location of the object.
    pub location: Location,
    /// Version from the listing; `None` if it was not listed.
    pub listed: Option<ObjectVersion>,
}

impl Object {
    /// The length in bytes; `None` if it was not listed.
    pub fn bytes(&self) -> Option<u64> {
        self.listed.as_ref()?.bytes
    }
}

/// A parsed page of a listing.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    objects: Vec<Object>,
    /// Continuation token of the next page; `None` for the last page.
    next: Option<String>,
}

impl Page {
    /// Parses the response for the page with the token `requested_token`. An incomplete
    /// page is an error, because its missing objects would be missing from the table
    /// without notice.
    fn from_response(
        bucket: &str,
        answer: &ListObjectsV2Output,
        requested_token: Option<&str>,
    ) -> Result<Page, &'static str> {
        let contents = answer.contents();
        let named = i32::try_from(contents.len()).ok();
        if answer.key_count().is_some_and(|n| Some(n) != named) {
            return Err("its KeyCount differs from its number of keys");
        }
        let next = match (answer.is_truncated(), answer.next_continuation_token()) {
            (Some(false), _) => None,
            (Some(true), Some(token)) if Some(token) == requested_token => {
                return Err("its continuation token repeats that of this page");
            }
            (Some(true), Some(token)) => Some(token.to_owned()),
            (Some(true), None) => return Err("its continuation token is missing"),
            (None, _) => return Err("its IsTruncated is missing"),
        };
        let mut objects = Vec::with_capacity(contents.len());
        for object in contents {
            let key = object.key().ok_or("an object has no key")?;
            let bytes = object.size().and_then(|s| u64::try_from(s).ok());
            if key.ends_with('/') && bytes == Some(0) {
                continue;
            }
            let location = Location::S3 {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            };
            objects.push(Object {
                listed: Some(ObjectVersion {
                    uri: location.to_string(),
                    etag: object.e_tag().map(str::to_owned),
                    bytes,
                    ..ObjectVersion::default()
                }),
                location,
            });
        }
        Ok(Page { objects, next })
    }
}

fn invalid_page(why: &str) -> CallError {
    CallError {
        class: ErrorClass::Transient,
        code: None,
        message: format!("the page is invalid: {why}"),
        reasons: Vec::new(),
        no_credentials: false,
    }
}

/// The objects under a prefix, in byte order of their keys; at most one page is in
/// memory. Some tools represent a folder by an empty object whose key ends in `/`;
/// those are skipped.
#[derive(Debug)]
pub(crate) struct Listing {
    bucket: String,
    prefix: String,
    page: VecDeque<Object>,
    /// Continuation token of the next page; `None` before the first page.
    continuation_token: Option<String>,
    /// True if there is no further page.
    is_complete: bool,
}

impl Listing {
    /// Lists the objects in `bucket` under `prefix`.
    pub(crate) fn new(bucket: &str, prefix: &str) -> Listing {
        Listing {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            page: VecDeque::new(),
            continuation_token: None,
            is_complete: false,
        }
    }

    /// The next object, with its key after the prefix; `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if access is denied or the bucket does not exist;
    /// [`ErrorKind::Read`] if S3 is unreachable.
    pub(crate) async fn next(&mut self, aws: &Aws) -> Result<Option<(Object, String)>> {
        while self.page.is_empty() && !self.is_complete {
            self.fetch_page(aws).await?;
        }
        let Some(object) = self.page.pop_front() else {
            return Ok(None);
        };
        let key = match &object.location {
            Location::S3 { key, .. } => key.as_str(),
            _ => "",
        };
        let rest = key.strip_prefix(&self.prefix).unwrap_or(key).to_owned();
        Ok(Some((object, rest)))
    }

    pub(crate) fn bucket_and_prefix(&self) -> (&str, &str) {
        (&self.bucket, &self.prefix)
    }

    /// The remaining objects; `None` if there are further pages.
    pub(crate) fn remaining(&self) -> Option<impl Iterator<Item = &Object>> {
        self.is_complete.then(|| self.page.iter())
    }

    /// Fetches the next page. The state changes only after success, so a cancelled call
    /// loses nothing.
    async fn fetch_page(&mut self, aws: &Aws) -> Result<()> {
        let mut backoff = Backoff::new(fastrand::Rng::new());
        let mut tries = 0;
        let page = loop {
            let call = aws
                .s3()
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&self.prefix)
                .set_continuation_token(self.continuation_token.clone());
            let (region, error) = match call.send().await {
                Ok(answer) => match Page::from_response(
                    &self.bucket,
                    &answer,
                    self.continuation_token.as_deref(),
                ) {
                    Ok(page) => break page,
                    Err(why) => (None, invalid_page(why)),
                },
                Err(e) => (redirect_region(&e), CallError::from_sdk(e)),
            };
            let is_retryable = match error.class {
                ErrorClass::Transient | ErrorClass::Throttled => !error.no_credentials,
                // Credentials that worked for an earlier page are renewed, as during a
                // read of a body.
                ErrorClass::Expired => self.continuation_token.is_some(),
                ErrorClass::Permanent | ErrorClass::Invalid => false,
            };
            tries += 1;
            if !is_retryable || tries > MAX_RESUMES {
                return Err(self.list_error(aws, region, error));
            }
            tracing::warn!("listing {} failed ({error}); retrying", self.uri());
            tokio::time::sleep(backoff.wait(tries)).await;
        };
        self.page.extend(page.objects);
        self.is_complete = page.next.is_none();
        self.continuation_token = page.next;
        Ok(())
    }

    fn uri(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn list_error(&self, aws: &Aws, region: Option<String>, error: CallError) -> Error {
        let name = self.uri();
        if error.code.as_deref() == Some("AccessDenied") {
            return Error::usage(format!("cannot list {name}: access is denied"))
                .with_source(error)
                .with_hint(aws.permission_hint("s3:ListBucket on the bucket"));
        }
        let elsewhere = region.clone().filter(|r| r != aws.region());
        if let (
            Some(region),
            Some(
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
        ) = (elsewhere, error.code.as_deref())
        {
            return Error::usage(format!(
                "cannot list {name}: the bucket is in region {region}, but the request went to {}",
                aws.region()
            ))
            .with_hint(format!(
                "give --region {region} (if the table is in another region than the bucket, copy the \
                 objects first: aws s3 cp --recursive {name} …)"
            ));
        }
        let location = Location::S3 {
            bucket: self.bucket.clone(),
            key: self.prefix.clone(),
        };
        let is_retryable = matches!(error.class, ErrorClass::Transient | ErrorClass::Throttled);
        match is_retryable && !error.no_credentials {
            true => Error::new(ErrorKind::Read, format!("cannot list {name}"))
                .with_source(error)
                .with_hint(
                    "every line before it is accounted for; run this again when S3 responds",
                ),
            false => open_error(&location, aws, region, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::Object as Entry;

    fn entry(key: &str, bytes: i64) -> Entry {
        Entry::builder()
            .key(key)
            .size(bytes)
            .e_tag("\"tag\"")
            .build()
    }

    fn read(
        entries: &[Entry],
        count: i32,
        truncated: Option<bool>,
        token: Option<&str>,
    ) -> Result<Page, &'static str> {
        let answer = ListObjectsV2Output::builder()
            .set_contents(Some(entries.to_vec()))
            .key_count(count)
            .set_is_truncated(truncated)
            .set_next_continuation_token(token.map(str::to_owned))
            .build();
        Page::from_response("b", &answer, Some("asked"))
    }

    #[test]
    fn a_page_has_its_objects_and_the_token_of_the_next() {
        let entries = [
            entry("p/", 0),
            entry("p/a", 7),
            entry("p/d/", 3),
            entry("p/e", 0),
        ];
        let page = read(&entries, 4, Some(true), Some("next")).expect("whole");
        let objects: Vec<_> = page
            .objects
            .iter()
            .map(|o| (o.location.to_string(), o.bytes()))
            .collect();
        // An empty object whose key ends in a slash is a folder.
        assert_eq!(
            objects,
            [
                ("s3://b/p/a".to_owned(), Some(7)),
                ("s3://b/p/d/".to_owned(), Some(3)),
                ("s3://b/p/e".to_owned(), Some(0)),
            ]
        );
        let listed = page.objects[0].listed.as_ref().expect("listed");
        assert_eq!(listed.etag.as_deref(), Some("\"tag\""));
        assert_eq!(page.next.as_deref(), Some("next"));
        // Some servers send a token even with the last page.
        for token in [None, Some("next")] {
            let last = read(&[], 0, Some(false), token).expect("whole");
            assert_eq!(last.next, None);
        }
    }

    #[test]
    fn an_incomplete_page_is_an_error() {
        let some = [entry("p/a", 7)];
        for (count, truncated, token, why) in [
            (2, Some(false), None, "number of keys"),
            (1, None, None, "IsTruncated"),
            (1, Some(true), None, "token is missing"),
            (1, Some(true), Some("asked"), "repeats that of this page"),
        ] {
            let error = read(&some, count, truncated, token).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let nameless = [Entry::builder().size(1).build()];
        assert!(read(&nameless, 1, Some(false), None).is_err());
    }
}
