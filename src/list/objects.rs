//! The objects of a run: expands sources (prefixes, manifests) one object at a time.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::list::manifest::Manifest;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::listing::{Listing, Object};
use crate::source::location::Location;
use crate::source::sources::{SourceSpec, Sources};
use std::collections::VecDeque;

/// Iterator over the objects of a run, in order.
#[derive(Debug)]
pub struct Objects {
    aws: Aws,
    sources: Sources,
    unpack: DecompressOptions,
    /// Sources that are not finished, the current one first.
    remaining: VecDeque<SourceSpec>,
    current: Option<Current>,
    /// Objects returned in total, and from the current source.
    taken_total: u64,
    taken_here: u64,
}

/// The prefix or manifest that is being read.
#[derive(Debug)]
enum Current {
    Listing(Listing),
    Manifest(Box<Manifest>),
}

impl Objects {
    /// The objects of `sources`.
    pub fn new(sources: &Sources, aws: &Aws) -> Objects {
        Objects {
            aws: aws.clone(),
            sources: sources.clone(),
            unpack: DecompressOptions::default(),
            remaining: sources.specs.iter().cloned().collect(),
            current: None,
            taken_total: 0,
            taken_here: 0,
        }
    }

    /// Returns the next object. `None` at the end.
    ///
    /// # Errors
    /// If a prefix cannot be listed or a manifest cannot be read, or if the sources hold no
    /// object at all.
    pub async fn next(&mut self) -> Result<Option<Object>> {
        loop {
            let (object, key) = match &mut self.current {
                Some(Current::Listing(listing)) => match listing.next(&self.aws).await? {
                    Some(next) => next,
                    None => {
                        self.finish_current()?;
                        continue;
                    }
                },
                Some(Current::Manifest(manifest)) => match manifest.next(&self.aws).await? {
                    Some(object) => {
                        let key = match &object.location {
                            Location::S3 { key, .. } => key.clone(),
                            other => other.to_string(),
                        };
                        (object, key)
                    }
                    None => {
                        self.finish_current()?;
                        continue;
                    }
                },
                None => match self.remaining.front() {
                    None => return Ok(None),
                    Some(SourceSpec::Single(location)) => {
                        let location = location.clone();
                        self.remaining.pop_front();
                        self.taken_total += 1;
                        return Ok(Some(Object {
                            location,
                            listed: None,
                        }));
                    }
                    Some(SourceSpec::Prefix { bucket, prefix }) => {
                        self.current = Some(Current::Listing(Listing::new(bucket, prefix)));
                        continue;
                    }
                    Some(SourceSpec::Manifest(location)) => {
                        let manifest = Manifest::open(location, &self.aws, &self.unpack).await?;
                        self.current = Some(Current::Manifest(Box::new(manifest)));
                        continue;
                    }
                },
            };
            if self.sources.globs.selects(&key) {
                self.taken_total += 1;
                self.taken_here += 1;
                return Ok(Some(object));
            }
        }
    }

    /// Returns the total size of the remaining objects, in bytes. `None` if only another
    /// page of the listing would tell.
    pub fn remaining_bytes(&self) -> Option<u64> {
        match (&self.current, self.remaining.len()) {
            (None, 0) => Some(0),
            (Some(Current::Listing(listing)), 1) => {
                let (_, prefix) = listing.bucket_and_prefix();
                listing
                    .remaining()?
                    .filter(|object| match &object.location {
                        Location::S3 { key, .. } => {
                            let key = key.strip_prefix(prefix).unwrap_or(key);
                            self.sources.globs.selects(key)
                        }
                        _ => true,
                    })
                    .map(Object::bytes)
                    .sum()
            }
            _ => None,
        }
    }

    /// Finishes the current prefix or manifest.
    fn finish_current(&mut self) -> Result<()> {
        self.current = None;
        let named = self.remaining.pop_front();
        let Some(named) = named.filter(|_| self.taken_here == 0) else {
            self.taken_here = 0;
            return Ok(());
        };
        let (message, hint) = match (self.sources.globs.is_empty(), &named) {
            (false, _) => (
                format!("--include and --exclude match no object of {named}"),
                "check the patterns: they apply to the part of a key after the prefix, in a manifest to \
                 the whole key or path",
            ),
            (true, SourceSpec::Manifest(_)) => (
                format!("{named} names no object"),
                "give a manifest with one s3://bucket/key or path per line, or the manifest.json of an S3 \
                 inventory",
            ),
            (true, _) => (
                format!("found no object under {named}"),
                "check the prefix, which is case-sensitive; list the bucket with aws s3 ls",
            ),
        };
        if self.taken_total == 0 && self.remaining.is_empty() {
            return Err(Error::usage(message).with_hint(hint));
        }
        tracing::warn!("{message}; skipping it");
        Ok(())
    }
}
