//! The objects under a prefix, page by page.

use super::{Location, MAX_BROKEN_READS, cannot_open, redirect_region};
use crate::aws::Aws;
use crate::aws::error::{CallError, Meaning};
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identity;
use std::collections::VecDeque;

/// One list that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it lies.
    pub location: Location,
    /// What it is, as far as a listing says that.
    pub listed: Option<Identity>,
}

impl Object {
    /// Its length in bytes, where that is listed.
    pub fn bytes(&self) -> Option<u64> {
        self.listed.as_ref()?.bytes
    }
}

/// The objects under a prefix, in the order of their keys' bytes; a page of them is
/// held at most. Zero bytes whose key ends in `/` are how some tools show a folder:
/// they are passed over.
#[derive(Debug)]
pub struct Listing {
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
    pub fn new(bucket: &str, prefix: &str) -> Listing {
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
    pub async fn next(&mut self, aws: &Aws) -> Result<Option<(Object, String)>> {
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
    pub fn place(&self) -> (&str, &str) {
        (&self.bucket, &self.prefix)
    }

    /// Those that are listed and not taken, when there are no further ones.
    pub fn rest(&self) -> Option<impl Iterator<Item = &Object>> {
        self.ended.then(|| self.page.iter())
    }

    /// Lists the next page. What is listed is entered only once it is there, so that
    /// a call that is given up half-way loses nothing.
    async fn fill(&mut self, aws: &Aws) -> Result<()> {
        let mut backoff = Backoff::new(fastrand::Rng::new());
        let mut tries = 0;
        let answer = loop {
            let call = aws
                .s3()
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(&self.prefix)
                .set_continuation_token(self.token.clone());
            let error = match call.send().await {
                Ok(answer) => break answer,
                Err(e) => e,
            };
            let region = redirect_region(&error);
            let error = CallError::from_sdk(error);
            let hope = matches!(error.meaning, Meaning::Transient | Meaning::Throttled);
            tries += 1;
            if !hope || tries > MAX_BROKEN_READS {
                return Err(self.cannot_list(aws, region, error));
            }
            tracing::warn!("listing {} broke off ({error}); asking again", self.name());
            tokio::time::sleep(backoff.wait(tries)).await;
        };
        for object in answer.contents() {
            let Some(key) = object.key() else { continue };
            let bytes = object.size().and_then(|s| u64::try_from(s).ok());
            if key.ends_with('/') && bytes == Some(0) {
                continue;
            }
            let location = Location::S3 {
                bucket: self.bucket.clone(),
                key: key.to_owned(),
            };
            self.page.push_back(Object {
                listed: Some(Identity {
                    uri: location.to_string(),
                    etag: object.e_tag().map(str::to_owned),
                    bytes,
                    ..Identity::default()
                }),
                location,
            });
        }
        self.token = answer.next_continuation_token().map(str::to_owned);
        self.ended = self.token.is_none() || answer.is_truncated() != Some(true);
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
        let location = Location::S3 {
            bucket: self.bucket.clone(),
            key: self.prefix.clone(),
        };
        let hope = matches!(error.meaning, Meaning::Transient | Meaning::Throttled);
        match hope && !error.no_credentials {
            true => Error::new(ErrorKind::Read, format!("cannot list {name}"))
                .because(error)
                .hint("run this again once S3 answers; it goes on where it was"),
            false => cannot_open(&location, aws, region, error),
        }
    }
}
