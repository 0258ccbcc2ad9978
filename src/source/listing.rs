//! The objects under a prefix, page by page.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind, Result};
use crate::flow::backoff::Backoff;
use crate::source::errors::{cannot_open, redirect_region};
use crate::source::location::Location;
use crate::source::s3::MAX_BROKEN_READS;
use crate::source::version::ObjectVersion;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use std::collections::VecDeque;

/// One list that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it lies.
    pub location: Location,
    /// What it is, as far as a listing says that.
    pub listed: Option<ObjectVersion>,
}

impl Object {
    /// Its length in bytes, where that is listed.
    pub fn bytes(&self) -> Option<u64> {
        self.listed.as_ref()?.bytes
    }
}

/// A page of a listing, read.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    objects: Vec<Object>,
    /// Where the next page begins; nothing when this is the last.
    next: Option<String>,
}

impl Page {
    /// Reads the answer to a call for the page that begins at `asked`. An answer that
    /// is not whole is none: an object that it does not name would be missing from
    /// the table, and nobody would be told.
    fn of(
        bucket: &str,
        answer: &ListObjectsV2Output,
        asked: Option<&str>,
    ) -> Result<Page, &'static str> {
        let contents = answer.contents();
        let named = i32::try_from(contents.len()).ok();
        if answer.key_count().is_some_and(|n| Some(n) != named) {
            return Err("it names another number of keys than it counts");
        }
        let next = match (answer.is_truncated(), answer.next_continuation_token()) {
            (Some(false), _) => None,
            (Some(true), Some(token)) if Some(token) == asked => {
                return Err("its next page is the same page again");
            }
            (Some(true), Some(token)) => Some(token.to_owned()),
            (Some(true), None) => return Err("it does not say where the next page begins"),
            (None, _) => return Err("it does not say whether it is the last"),
        };
        let mut objects = Vec::with_capacity(contents.len());
        for object in contents {
            let key = object.key().ok_or("it has an object without a key")?;
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

/// A page that came and cannot be used.
fn broken_answer(why: &str) -> CallError {
    CallError {
        meaning: Meaning::Transient,
        code: None,
        message: format!("the page that came is not whole: {why}"),
        reasons: Vec::new(),
        no_credentials: false,
    }
}

/// The objects under a prefix, in the order of their keys' bytes; a page of them is
/// held at most. Zero bytes whose key ends in `/` are how some tools show a folder:
/// they are passed over.
#[derive(Debug)]
pub(crate) struct Listing {
    bucket: String,
    prefix: String,
    page: VecDeque<Object>,
    /// Where the next page begins; nothing before the first.
    token: Option<String>,
    /// Whether there is no further page.
    ended: bool,
}

impl Listing {
    /// The objects in `bucket` under `prefix`.
    pub(crate) fn new(bucket: &str, prefix: &str) -> Listing {
        Listing {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            page: VecDeque::new(),
            token: None,
            ended: false,
        }
    }

    /// The next object, and what of its key follows the prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it may not be listed, or there is no such bucket;
    /// [`ErrorKind::Read`] when S3 cannot be asked.
    pub(crate) async fn next(&mut self, aws: &Aws) -> Result<Option<(Object, String)>> {
        while self.page.is_empty() && !self.ended {
            self.fill(aws).await?;
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

    /// Bucket and prefix.
    pub(crate) fn place(&self) -> (&str, &str) {
        (&self.bucket, &self.prefix)
    }

    /// Those that are listed and not taken, when there are no further ones.
    pub(crate) fn rest(&self) -> Option<impl Iterator<Item = &Object>> {
        self.ended.then(|| self.page.iter())
    }

    /// Lists the next page. What is listed is entered only once it is there, so that
    /// a call that is given up half-way loses nothing.
    async fn fill(&mut self, aws: &Aws) -> Result<()> {
        let mut backoff = Backoff::new(fastrand::Rng::new());
        let mut tries = 0;
        let page = loop {
            let call = aws
                .s3()
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&self.prefix)
                .set_continuation_token(self.token.clone());
            let (region, error) = match call.send().await {
                Ok(answer) => match Page::of(&self.bucket, &answer, self.token.as_deref()) {
                    Ok(page) => break page,
                    Err(why) => (None, broken_answer(why)),
                },
                Err(e) => (redirect_region(&e), CallError::from_sdk(e)),
            };
            let hope = match error.meaning {
                Meaning::Transient | Meaning::Throttled => !error.no_credentials,
                // Those that were good for a page are renewed, as while a body is read.
                Meaning::Expired => self.token.is_some(),
                Meaning::Permanent | Meaning::Invalid => false,
            };
            tries += 1;
            if !hope || tries > MAX_BROKEN_READS {
                return Err(self.cannot_list(aws, region, error));
            }
            tracing::warn!("listing {} broke off ({error}); asking again", self.name());
            tokio::time::sleep(backoff.wait(tries)).await;
        };
        self.page.extend(page.objects);
        self.ended = page.next.is_none();
        self.token = page.next;
        Ok(())
    }

    fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn cannot_list(&self, aws: &Aws, region: Option<String>, error: CallError) -> Error {
        let name = self.name();
        if error.code.as_deref() == Some("AccessDenied") {
            return Error::usage(format!("cannot list {name}: access is denied"))
                .because(error)
                .hint(aws.needs("s3:ListBucket on the bucket"));
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
                "cannot list {name}: the bucket is in region {region}, and {} was asked",
                aws.region()
            ))
            .hint(format!(
                "give --region {region} (if the table is in another region than the bucket, copy the \
                 objects first: aws s3 cp --recursive {name} …)"
            ));
        }
        let location = Location::S3 {
            bucket: self.bucket.clone(),
            key: self.prefix.clone(),
        };
        let hope = matches!(error.meaning, Meaning::Transient | Meaning::Throttled);
        match hope && !error.no_credentials {
            true => Error::new(ErrorKind::Read, format!("cannot list {name}"))
                .because(error)
                .hint("what was read before is written or in the books; run this again once S3 answers"),
            false => cannot_open(&location, aws, region, error),
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
        Page::of("b", &answer, Some("asked"))
    }

    #[test]
    fn a_page_has_its_objects_and_where_the_next_begins() {
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
        // What is empty and ends in a slash is a folder; the rest are objects.
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
        // The last page; some name a next one there all the same.
        for token in [None, Some("next")] {
            let last = read(&[], 0, Some(false), token).expect("whole");
            assert_eq!(last.next, None);
        }
    }

    #[test]
    fn a_page_that_is_not_whole_is_none() {
        let some = [entry("p/a", 7)];
        for (count, truncated, token, why) in [
            (2, Some(false), None, "another number"),
            (1, None, None, "whether it is the last"),
            (1, Some(true), None, "where the next page begins"),
            (1, Some(true), Some("asked"), "same page again"),
        ] {
            let error = read(&some, count, truncated, token).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
        let nameless = [Entry::builder().size(1).build()];
        assert!(read(&nameless, 1, Some(false), None).is_err());
    }
}
