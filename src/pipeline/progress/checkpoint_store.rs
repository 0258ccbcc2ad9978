//! A checkpoint as one run uses it: a local file under a lock, or a fenced object in S3.
//!
//! S3 has no locks. Instead each save is conditional on the ETag of the save before, and
//! names its run. A run whose save is refused reads the object back. If that holds the
//! save itself, only its response was lost. Otherwise another run has the checkpoint,
//! and this one stops.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::run_lock::{Holder, RunLock};
use crate::base::state_file;
use crate::flow::backoff::Backoff;
use crate::pipeline::progress::checkpoint::{Checkpoint, SavedBy};
use crate::pipeline::progress::checkpoint_place::Place;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;

/// The policy that a checkpoint in S3 needs.
const POLICY: &str = "scripts/iam/checkpoint.json";

/// Tries of a conditional call that S3 answers with a conflict.
const MAX_TRIES: u32 = 8;

/// A checkpoint's place, held by this run.
#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    /// Of a local file.
    _lock: Option<RunLock>,
    /// Id of this run.
    run: String,
    holder: Holder,
    fence: Mutex<Fence>,
    lost: AtomicBool,
}

/// What the next save is conditional on.
#[derive(Debug, Default)]
struct Fence {
    /// ETag of the object; `None` if there is none.
    etag: Option<String>,
    /// Saves tried so far.
    sequence: u64,
}

/// The object as it is now.
enum ReadBack {
    Gone,
    /// This very save.
    Saved(Option<String>),
    /// An earlier save of this run, whose response was lost.
    Earlier(Option<String>),
    /// Another run's.
    Other(String),
}

impl Store {
    /// Opens `place` for this run, with the checkpoint there unless the run is to
    /// `restart`. A local one is locked first.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if another run has it, it is damaged, or it cannot be read.
    pub(crate) async fn open(
        place: Place,
        aws: &Aws,
        restart: bool,
    ) -> Result<(Store, Option<Checkpoint>)> {
        let mut store = Store::unlocked(place);
        let found = match &store.place {
            Place::File(path) => {
                store._lock = lock(path)?;
                match restart {
                    true => None,
                    false => read_file(path).await?,
                }
            }
            Place::S3 { bucket, key } => {
                let (found, etag) = match store.get(aws, bucket, key).await? {
                    Some((text, etag)) => (Some(text), etag),
                    None => (None, None),
                };
                store.fence.get_mut().etag = etag;
                found.filter(|_| !restart)
            }
        };
        let checkpoint = found.map(|text| Checkpoint::from_text(&text)).transpose();
        let checkpoint = checkpoint.map_err(|why| {
            Error::usage(format!(
                "the checkpoint {} is damaged, or not of this version: {why}",
                store.place
            ))
            .hint("begin again with --restart: writing an item again changes nothing")
        })?;
        Ok((store, checkpoint))
    }

    /// `place` without a lock, as if nothing were there.
    pub(crate) fn unlocked(place: Place) -> Store {
        // Two halves, each of a hasher with keys of its own from the system.
        let half = || RandomState::new().hash_one(std::process::id());
        Store {
            place,
            _lock: None,
            run: format!("{:016x}{:016x}", half(), half()),
            holder: Holder::this(),
            fence: Mutex::new(Fence::default()),
            lost: AtomicBool::new(false),
        }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether another run has the checkpoint.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Makes a checkpoint in S3 this run's before it goes on from there: a run that is
    /// still at work on it then stops at its next save.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it cannot be saved, or that run has saved it meanwhile.
    pub(crate) async fn claim(&self, found: &Checkpoint, aws: &Aws) -> Result<()> {
        let Place::S3 { .. } = self.place else {
            return Ok(());
        };
        self.save(found, aws).await.map_err(|e| {
            let hint = e.what_to_do().unwrap_or_default().to_owned();
            Error::usage("nothing was written").because(e).hint(hint)
        })?;
        if let Some(by) = &found.saved_by {
            tracing::info!(
                "the checkpoint {} is this run's now: if {} is still at work, it stops at its next save",
                self.place,
                by.holder
            );
        }
        Ok(())
    }

    /// Saves `checkpoint`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be saved: then the one before is still there,
    /// or another run's.
    pub(crate) async fn save(&self, checkpoint: &Checkpoint, aws: &Aws) -> Result<()> {
        match &self.place {
            Place::File(path) => {
                let (path, text) = (path.clone(), checkpoint.to_text());
                let saved = tokio::task::spawn_blocking(move || {
                    state_file::replace(&path, text.as_bytes())
                });
                match saved.await {
                    Ok(saved) => saved.map(drop).map_err(|e| self.cannot_save(e)),
                    Err(e) => Err(self.cannot_save(e)),
                }
            }
            Place::S3 { bucket, key } => self.put(checkpoint, aws, bucket, key).await,
        }
    }

    /// Removes the checkpoint: the run is done. Another run's stays.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be removed.
    pub(crate) async fn remove(&self, aws: &Aws) -> Result<()> {
        match &self.place {
            Place::File(path) => match tokio::fs::remove_file(path).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(self.cannot_remove(e)),
                _ => Ok(()),
            },
            Place::S3 { bucket, key } => self.delete(aws, bucket, key).await,
        }
    }

    fn cannot_save(&self, cause: impl Into<crate::base::error::Cause>) -> Error {
        let what = format!("cannot save the checkpoint {}", self.place);
        Error::new(ErrorKind::Output, what).because(cause).hint(
            "make room there, or name another place by --checkpoint PATH (or off), then run this again",
        )
    }

    fn cannot_remove(&self, cause: impl Into<crate::base::error::Cause>) -> Error {
        let what = format!("cannot remove the checkpoint {}", self.place);
        Error::new(ErrorKind::Output, what)
            .because(cause)
            .hint("remove it by hand: its run is done")
    }

    async fn put(&self, checkpoint: &Checkpoint, aws: &Aws, bucket: &str, key: &str) -> Result<()> {
        let mut fence = self.fence.lock().await;
        fence.sequence += 1;
        let mut checkpoint = checkpoint.clone();
        checkpoint.saved_by = Some(SavedBy {
            run: self.run.clone(),
            sequence: fence.sequence,
            holder: self.holder.to_string(),
        });
        let text = bytes::Bytes::from(checkpoint.to_text());
        let mut backoff = Backoff::new(fastrand::Rng::new());
        let mut tries = 0;
        loop {
            tries += 1;
            let put = aws.s3().put_object().bucket(bucket).key(key);
            let put = match &fence.etag {
                Some(etag) => put.if_match(etag),
                None => put.if_none_match("*"),
            };
            let put = put.content_type("application/json");
            let refusal = match put.body(ByteStream::from(text.clone())).send().await {
                Ok(saved) => {
                    fence.etag = saved.e_tag;
                    return Ok(());
                }
                Err(e) => Refusal::of(e),
            };
            match refusal.status {
                // 404: If-Match, and the object is gone.
                Some(404 | 412) if refusal.is_of_condition() => {
                    match self.read_back(aws, bucket, key, fence.sequence).await? {
                        ReadBack::Saved(etag) => {
                            fence.etag = etag;
                            return Ok(());
                        }
                        ReadBack::Earlier(etag) if tries < MAX_TRIES => fence.etag = etag,
                        ReadBack::Earlier(_) => return Err(self.cannot_save(refusal.error)),
                        ReadBack::Gone => return Err(self.lost("it was removed by another run")),
                        ReadBack::Other(who) => return Err(self.lost(&who)),
                    }
                }
                Some(409) if tries < MAX_TRIES => tokio::time::sleep(backoff.wait(tries)).await,
                _ => return Err(self.not_saved(refusal, aws)),
            }
        }
    }

    fn not_saved(&self, refusal: Refusal, aws: &Aws) -> Error {
        let hint = match (refusal.status, refusal.error.code.as_deref()) {
            (Some(501), _) | (_, Some("NotImplemented")) => Some(
                "this S3 server does not know conditional writes (If-Match, If-None-Match), which keep a second \
                 run off the checkpoint: give --checkpoint PATH, a local file"
                    .to_owned(),
            ),
            (_, Some("AccessDenied")) => {
                let needed = "s3:PutObject and s3:GetObject on it";
                Some(aws.with_policy(POLICY).needs(needed))
            }
            _ => None,
        };
        let error = self.cannot_save(refusal.error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Another run has the checkpoint.
    fn lost(&self, who: &str) -> Error {
        self.lost.store(true, Ordering::Relaxed);
        let what = format!("another run has the checkpoint {}: {who}", self.place);
        Error::new(ErrorKind::Output, what).hint(
            "let that run go on: it resumes from what was saved, and what this one wrote stays written",
        )
    }

    async fn delete(&self, aws: &Aws, bucket: &str, key: &str) -> Result<()> {
        let mut fence = self.fence.lock().await;
        let mut backoff = Backoff::new(fastrand::Rng::new());
        let mut conditional = fence.etag.is_some();
        for tries in 1.. {
            let delete = aws.s3().delete_object().bucket(bucket).key(key);
            let etag = fence.etag.clone().filter(|_| conditional);
            let refusal = match delete.set_if_match(etag).send().await {
                Ok(_) => return Ok(()),
                Err(e) => Refusal::of(e),
            };
            match refusal.status {
                Some(404) => return Ok(()),
                Some(409) if tries < MAX_TRIES => {
                    tokio::time::sleep(backoff.wait(tries)).await;
                    continue;
                }
                // 501: a server that knows no conditional deletes.
                Some(412 | 501) if conditional && tries < MAX_TRIES => {}
                _ => return Err(self.cannot_remove(refusal.error)),
            }
            match self.read_back(aws, bucket, key, fence.sequence).await? {
                ReadBack::Gone => return Ok(()),
                ReadBack::Saved(etag) | ReadBack::Earlier(etag) => {
                    conditional = refusal.status == Some(412) && etag.is_some();
                    fence.etag = etag;
                }
                ReadBack::Other(who) => {
                    tracing::warn!("the checkpoint {} stays: it is of {who}", self.place);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads the object after a condition on it failed.
    async fn read_back(
        &self,
        aws: &Aws,
        bucket: &str,
        key: &str,
        sequence: u64,
    ) -> Result<ReadBack> {
        let read = self.get(aws, bucket, key).await;
        let Some((text, etag)) = read.map_err(|e| e.of_kind(ErrorKind::Output))? else {
            return Ok(ReadBack::Gone);
        };
        let by = Checkpoint::from_text(&text).ok().and_then(|c| c.saved_by);
        Ok(match by {
            Some(by) if by.run == self.run && by.sequence == sequence => ReadBack::Saved(etag),
            Some(by) if by.run == self.run => ReadBack::Earlier(etag),
            Some(by) => ReadBack::Other(by.holder),
            None => ReadBack::Other("a program that does not name itself".to_owned()),
        })
    }

    /// The object and its ETag; `None` if there is none.
    async fn get(
        &self,
        aws: &Aws,
        bucket: &str,
        key: &str,
    ) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let cannot = || Error::usage(format!("cannot read the checkpoint {}", self.place));
        let response = match aws.s3().get_object().bucket(bucket).key(key).send().await {
            Ok(response) => response,
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
        let etag = response.e_tag;
        let body = response.body.collect().await;
        let body = body.map_err(|e| cannot().because(e))?;
        Ok(Some((body.to_vec(), etag)))
    }
}

/// A call that S3 did not do.
struct Refusal {
    /// The HTTP status, if a response came.
    status: Option<u16>,
    error: CallError,
}

impl Refusal {
    fn of<E>(e: SdkError<E, HttpResponse>) -> Refusal
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + fmt::Debug + 'static,
    {
        Refusal {
            status: e.raw_response().map(|r| r.status().as_u16()),
            error: CallError::from_sdk(e),
        }
    }

    /// Whether its condition failed, not something else: a bucket may be missing too.
    fn is_of_condition(&self) -> bool {
        self.status == Some(412) || self.error.code.as_deref() == Some("NoSuchKey")
    }
}

fn lock(path: &Path) -> Result<Option<RunLock>> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let missing = folder.filter(|f| !f.exists());
    let made = missing.map_or(Ok(()), std::fs::create_dir_all);
    if let (Some(folder), Ok(())) = (missing, &made) {
        tracing::info!("made the folder {} for the checkpoint", folder.display());
    }
    let taken = made
        .map_err(crate::base::run_lock::LockError::File)
        .and_then(|()| RunLock::take(path));
    taken.map_err(|e| e.refusal("the checkpoint", path, "give --checkpoint PATH"))
}

async fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match tokio::fs::read(path).await {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let what = format!("cannot read the checkpoint {}", path.display());
            Err(Error::usage(what).because(e))
        }
    }
}
