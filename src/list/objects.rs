//! Which list comes next: what was named, one object after another, never all of
//! them at once.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::list::manifest::Manifest;
use crate::source::decompress::codec::Unpack;
use crate::source::listing::{Listing, Object};
use crate::source::location::Location;
use crate::source::sources::{Named, Sources};
use std::collections::VecDeque;

/// The objects of a run, in order.
#[derive(Debug)]
pub struct Objects {
    aws: Aws,
    sources: Sources,
    unpack: Unpack,
    /// Those whose turn has not come.
    named: VecDeque<Named>,
    now: Option<Now>,
    /// How many were taken of all, and of the one that it is at.
    taken: u64,
    of_this: u64,
}

/// What it is at.
#[derive(Debug)]
enum Now {
    Listing(Listing),
    Manifest(Box<Manifest>),
}

impl Objects {
    /// The objects of `sources`.
    pub fn new(sources: &Sources, aws: &Aws) -> Objects {
        Objects {
            aws: aws.clone(),
            sources: sources.clone(),
            unpack: Unpack::default(),
            named: sources.named.iter().cloned().collect(),
            now: None,
            taken: 0,
            of_this: 0,
        }
    }

    /// The next object; nothing at the end.
    ///
    /// # Errors
    /// When a prefix cannot be listed or a manifest not be read, or when there is
    /// nothing at all to be read.
    pub async fn next(&mut self) -> Result<Option<Object>> {
        loop {
            let (object, key) = match &mut self.now {
                Some(Now::Listing(listing)) => match listing.next(&self.aws).await? {
                    Some(next) => next,
                    None => {
                        self.end_of_this()?;
                        continue;
                    }
                },
                Some(Now::Manifest(manifest)) => match manifest.next(&self.aws).await? {
                    Some(object) => {
                        let key = match &object.location {
                            Location::S3 { key, .. } => key.clone(),
                            other => other.to_string(),
                        };
                        (object, key)
                    }
                    None => {
                        self.end_of_this()?;
                        continue;
                    }
                },
                None => match self.named.front() {
                    None => return Ok(None),
                    Some(Named::One(location)) => {
                        let location = location.clone();
                        self.named.pop_front();
                        self.taken += 1;
                        return Ok(Some(Object {
                            location,
                            listed: None,
                        }));
                    }
                    Some(Named::Prefix { bucket, prefix }) => {
                        self.now = Some(Now::Listing(Listing::new(bucket, prefix)));
                        continue;
                    }
                    Some(Named::Manifest(location)) => {
                        let manifest = Manifest::open(location, &self.aws, &self.unpack).await?;
                        self.now = Some(Now::Manifest(Box::new(manifest)));
                        continue;
                    }
                },
            };
            if self.sources.globs.take(&key) {
                self.taken += 1;
                self.of_this += 1;
                return Ok(Some(object));
            }
        }
    }

    /// Bytes of the objects that are still to come, where that is known without
    /// listing a further page.
    pub fn bytes_to_come(&self) -> Option<u64> {
        match (&self.now, self.named.len()) {
            (None, 0) => Some(0),
            (Some(Now::Listing(listing)), 1) => {
                let (_, prefix) = listing.place();
                listing
                    .rest()?
                    .filter(|object| match &object.location {
                        Location::S3 { key, .. } => {
                            let key = key.strip_prefix(prefix).unwrap_or(key);
                            self.sources.globs.take(key)
                        }
                        _ => true,
                    })
                    .map(Object::bytes)
                    .sum()
            }
            _ => None,
        }
    }

    /// Leaves the prefix or manifest that it is at, which has ended.
    fn end_of_this(&mut self) -> Result<()> {
        self.now = None;
        let named = self.named.pop_front();
        let Some(named) = named.filter(|_| self.of_this == 0) else {
            self.of_this = 0;
            return Ok(());
        };
        let (nothing, hint) = match (self.sources.globs.is_empty(), &named) {
            (false, _) => (
                format!("--include and --exclude leave no object of {named}"),
                "the patterns are held against what of a key follows the prefix, in a manifest against \
                 the whole key or path",
            ),
            (true, Named::Manifest(_)) => (
                format!("{named} names no object"),
                "a manifest has one s3://bucket/key or path a line, or is the manifest.json of an S3 \
                 inventory",
            ),
            (true, _) => (
                format!("there is no object under {named}"),
                "check the prefix, which is case-sensitive; aws s3 ls shows what a bucket holds",
            ),
        };
        if self.taken == 0 && self.named.is_empty() {
            return Err(Error::usage(nothing).hint(hint));
        }
        tracing::warn!("{nothing}: nothing is read there");
        Ok(())
    }
}
