//! Where a checkpoint lies: a local file, or an object in S3.

use super::{Checkpoint, Run, hex};
use crate::aws::Aws;
use crate::aws::error::CallError;
use crate::durable;
use crate::error::{Error, ErrorKind, Result};
use crate::source::Location;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::PathBuf;

/// The policy that a checkpoint in S3 needs.
const POLICY: &str = "scripts/iam/checkpoint.json";

/// Where a checkpoint lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A local file.
    File(PathBuf),
    /// An object.
    S3 {
        /// Bucket name.
        bucket: String,
        /// Object key.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

impl Place {
    /// Where a person says: `s3://bucket/key` or a path.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when that is no place to write to.
    pub fn named(text: &str) -> Result<Place> {
        match text.parse::<Location>() {
            Ok(Location::File(path)) => Ok(Place::File(path)),
            Ok(Location::S3 { bucket, key }) => Ok(Place::S3 { bucket, key }),
            Ok(Location::Stdin) => Err(Error::usage("a checkpoint cannot be written to -")
                .hint("give --checkpoint PATH, s3://bucket/key, or off")),
            Err(e) => Err(Error::usage(format!("--checkpoint: {e}"))),
        }
    }

    /// Where it lies when nobody says: a file in the user's folder for state, whose
    /// name is of the sources and the table. Nothing when there is no such folder.
    pub fn usual(run: &Run) -> Option<Place> {
        let mut hash = Sha256::new();
        for text in run.sources.iter().chain([&run.table, &run.place]) {
            // With its length, so that two lists never read alike.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let id = hex(&hash.finalize()[..8]);
        let name = format!("checkpoint-{}-{id}.json", durable::name_part(&run.table));
        Some(Place::File(durable::folder()?.join(name)))
    }

    /// Reads the checkpoint; nothing when there is none.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is damaged or cannot be read.
    pub async fn load(&self, aws: &Aws) -> Result<Option<Checkpoint>> {
        let cannot = || Error::usage(format!("cannot read the checkpoint {self}"));
        let text = match self {
            Place::File(path) => match tokio::fs::read(path).await {
                Ok(text) => text,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(cannot().because(e)),
            },
            Place::S3 { bucket, key } => {
                let answer = match aws.s3().get_object().bucket(bucket).key(key).send().await {
                    Ok(answer) => answer,
                    Err(e) => {
                        let e = CallError::from_sdk(e);
                        return match e.code.as_deref() {
                            Some("NoSuchKey") => Ok(None),
                            Some("AccessDenied") => Err(cannot().because(e).hint(format!(
                                "{}; without s3:ListBucket, S3 says so of a missing object too",
                                aws.with_policy(POLICY).needs("s3:GetObject on it")
                            ))),
                            _ => Err(cannot().because(e)),
                        };
                    }
                };
                let body = answer
                    .body
                    .collect()
                    .await
                    .map_err(|e| cannot().because(e))?;
                body.to_vec()
            }
        };
        let read = Checkpoint::from_text(&text).map_err(|why| {
            Error::usage(format!(
                "the checkpoint {self} is damaged, or not of this version: {why}"
            ))
            .hint("begin again with --restart: writing an item again changes nothing")
        })?;
        Ok(Some(read))
    }

    /// Saves `checkpoint` here.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when that cannot be done; what was there is still
    /// there.
    pub async fn save(&self, checkpoint: &Checkpoint, aws: &Aws) -> Result<()> {
        let cannot = || {
            Error::new(ErrorKind::Output, format!("cannot save the checkpoint {self}")).hint(
                "make room there, or name another place by --checkpoint PATH (or off), then run this again",
            )
        };
        let text = checkpoint.to_text();
        match self {
            Place::File(path) => {
                let path = path.clone();
                let saved =
                    tokio::task::spawn_blocking(move || durable::replace(&path, text.as_bytes()));
                match saved.await {
                    Ok(saved) => saved.map(drop).map_err(|e| cannot().because(e)),
                    Err(e) => Err(cannot().because(e)),
                }
            }
            Place::S3 { bucket, key } => {
                let put = aws
                    .s3()
                    .put_object()
                    .bucket(bucket)
                    .key(key)
                    .body(text.into_bytes().into());
                let put = put.content_type("application/json").send().await;
                put.map(drop).map_err(|e| {
                    let e = CallError::from_sdk(e);
                    match e.code.as_deref() {
                        Some("AccessDenied") => cannot()
                            .because(e)
                            .hint(aws.with_policy(POLICY).needs("s3:PutObject on it")),
                        _ => cannot().because(e),
                    }
                })
            }
        }
    }

    /// Removes the checkpoint, if there is one: the run is done.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when it cannot be removed.
    pub async fn remove(&self, aws: &Aws) -> Result<()> {
        let cannot = || {
            Error::new(
                ErrorKind::Output,
                format!("cannot remove the checkpoint {self}"),
            )
            .hint("remove it by hand: what it is about is done")
        };
        match self {
            Place::File(path) => match tokio::fs::remove_file(path).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cannot().because(e)),
                _ => Ok(()),
            },
            Place::S3 { bucket, key } => {
                let gone = aws
                    .s3()
                    .delete_object()
                    .bucket(bucket)
                    .key(key)
                    .send()
                    .await;
                gone.map(drop)
                    .map_err(|e| cannot().because(CallError::from_sdk(e)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::run;
    use super::*;

    #[test]
    fn the_usual_place_is_one_for_each_run() {
        let usual = |run: Run| Place::usual(&run).map(|p| p.to_string());
        let first = usual(run());
        assert_eq!(
            usual(Run {
                item: String::new(),
                ..run()
            }),
            first,
            "refused there, not missed"
        );
        assert_ne!(
            usual(Run {
                sources: vec!["s3://b/1s3://b/2".into()],
                ..run()
            }),
            first
        );
        assert_ne!(
            usual(Run {
                place: "x".into(),
                ..run()
            }),
            first
        );
    }
}
