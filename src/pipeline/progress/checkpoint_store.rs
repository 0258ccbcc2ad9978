//! Storage of a run's checkpoint: a locked local file, or a fenced object in S3.
//!
//! S3 has no locks. Instead each save is conditional on the ETag of the previous save,
//! and names its run. If the condition fails, the run reads the object back. If it holds
//! this very save, only the response was lost. Otherwise another run uses the checkpoint,
//! and this one stops.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::run_lock::{LockHolder, RunLock};
use crate::base::state_file;
use crate::flow::backoff::Backoff;
use crate::pipeline::progress::checkpoint::{Checkpoint, SavedBy};
use crate::pipeline::progress::checkpoint_location::CheckpointLocation;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;

/// IAM policy for a checkpoint in S3.
const POLICY: &str = "scripts/iam/checkpoint.json";

/// Maximum number of attempts of a conditional call while S3 reports a conflict.
const MAX_TRIES: u32 = 8;

/// A checkpoint that this run holds.
#[derive(Debug)]
pub(crate) struct CheckpointStore {
    location: CheckpointLocation,
    /// Lock of a local file; `None` for an S3 object.
    _lock: Option<RunLock>,
    run_id: String,
    holder: LockHolder,
    fence: Mutex<Fence>,
    lost: AtomicBool,
}

/// Condition of the next save.
#[derive(Debug, Default)]
struct Fence {
    /// ETag of the object; `None` if the object does not exist.
    etag: Option<String>,
    /// Save attempts so far.
    sequence: u64,
}

/// Content of the object after a failed condition.
enum ReadBack {
    Missing,
    /// This very save.
    Saved(Option<String>),
    /// An earlier save of this run, whose response was lost.
    Earlier(Option<String>),
    /// A save of another run, with its holder.
    Other(String),
}

impl CheckpointStore {
    /// Opens the checkpoint at `place` for this run and reads it, unless `restart` is set.
    /// A local file is locked first.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if another run holds it, it is damaged, or it cannot be read.
    pub(crate) async fn open(
        place: CheckpointLocation,
        aws: &Aws,
        restart: bool,
    ) -> Result<(CheckpointStore, Option<Checkpoint>)> {
        let mut store = CheckpointStore::unlocked(place);
        let found = match &store.location {
            CheckpointLocation::File(path) => {
                store._lock = lock(path)?;
                match restart {
                    true => None,
                    false => read_file(path).await?,
                }
            }
            CheckpointLocation::S3 { bucket, key } => {
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
                "the checkpoint {} is damaged or of another version: {why}",
                store.location
            ))
            .with_hint("give --restart to begin again: writing an item twice changes nothing")
        })?;
        Ok((store, checkpoint))
    }

    /// The checkpoint at `location`, without a lock and without reading it.
    pub(crate) fn unlocked(location: CheckpointLocation) -> CheckpointStore {
        // Each `RandomState` has random keys from the system.
        let half = || RandomState::new().hash_one(std::process::id());
        CheckpointStore {
            location,
            _lock: None,
            run_id: format!("{:016x}{:016x}", half(), half()),
            holder: LockHolder::current(),
            fence: Mutex::new(Fence::default()),
            lost: AtomicBool::new(false),
        }
    }

    pub(crate) fn location(&self) -> &CheckpointLocation {
        &self.location
    }

    /// True if another run has taken over the checkpoint.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Claims a checkpoint in S3 for this run before it resumes. Another run that still
    /// uses it stops at its next save.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it cannot be saved, or the other run has saved it meanwhile.
    pub(crate) async fn claim(&self, found: &Checkpoint, aws: &Aws) -> Result<()> {
        let CheckpointLocation::S3 { .. } = self.location else {
            return Ok(());
        };
        self.save(found, aws).await.map_err(|e| {
            let hint = e.hint().unwrap_or_default().to_owned();
            Error::usage("nothing was written")
                .with_source(e)
                .with_hint(hint)
        })?;
        if let Some(by) = &found.saved_by {
            tracing::info!(
                "this run now holds the checkpoint {}: if {} is still running, it stops at its next save",
                self.location,
                by.holder
            );
        }
        Ok(())
    }

    /// Saves `checkpoint`.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be saved. The previous checkpoint, or that of
    /// another run, is then still there.
    pub(crate) async fn save(&self, checkpoint: &Checkpoint, aws: &Aws) -> Result<()> {
        match &self.location {
            CheckpointLocation::File(path) => {
                let (path, text) = (path.clone(), checkpoint.to_text());
                let saved = tokio::task::spawn_blocking(move || {
                    state_file::replace(&path, text.as_bytes())
                });
                match saved.await {
                    Ok(saved) => saved.map(drop).map_err(|e| self.cannot_save(e)),
                    Err(e) => Err(self.cannot_save(e)),
                }
            }
            CheckpointLocation::S3 { bucket, key } => self.put(checkpoint, aws, bucket, key).await,
        }
    }

    /// Removes the checkpoint after the end of the run, unless another run has taken it
    /// over.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be removed.
    pub(crate) async fn remove(&self, aws: &Aws) -> Result<()> {
        match &self.location {
            CheckpointLocation::File(path) => match tokio::fs::remove_file(path).await {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(self.cannot_remove(e)),
                _ => Ok(()),
            },
            CheckpointLocation::S3 { bucket, key } => self.delete(aws, bucket, key).await,
        }
    }

    fn cannot_save(&self, cause: impl Into<crate::base::error::Cause>) -> Error {
        let what = format!("cannot save the checkpoint {}", self.location);
        Error::new(ErrorKind::Output, what).with_source(cause).with_hint(
            "free some space there, or give another location by --checkpoint PATH (or off), then run this again",
        )
    }

    fn cannot_remove(&self, cause: impl Into<crate::base::error::Cause>) -> Error {
        let what = format!("cannot remove the checkpoint {}", self.location);
        Error::new(ErrorKind::Output, what)
            .with_source(cause)
            .with_hint("remove it by hand: its run has ended")
    }

    async fn put(&self, checkpoint: &Checkpoint, aws: &Aws, bucket: &str, key: &str) -> Result<()> {
        let mut fence = self.fence.lock().await;
        fence.sequence += 1;
        let mut checkpoint = checkpoint.clone();
        checkpoint.saved_by = Some(SavedBy {
            run: self.run_id.clone(),
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
                Err(e) => FailedCall::from_sdk(e),
            };
            match refusal.status {
                // 404: If-Match, and the object is gone.
                Some(404 | 412) if refusal.is_condition_failed() => {
                    match self.read_back(aws, bucket, key, fence.sequence).await? {
                        ReadBack::Saved(etag) => {
                            fence.etag = etag;
                            return Ok(());
                        }
                        ReadBack::Earlier(etag) if tries < MAX_TRIES => fence.etag = etag,
                        ReadBack::Earlier(_) => return Err(self.cannot_save(refusal.error)),
                        ReadBack::Missing => {
                            return Err(self.lost_error("it was removed by another run"));
                        }
                        ReadBack::Other(who) => return Err(self.lost_error(&who)),
                    }
                }
                Some(409) if tries < MAX_TRIES => tokio::time::sleep(backoff.wait(tries)).await,
                _ => return Err(self.save_error(refusal, aws)),
            }
        }
    }

    fn save_error(&self, refusal: FailedCall, aws: &Aws) -> Error {
        let hint = match (refusal.status, refusal.error.code.as_deref()) {
            (Some(501), _) | (_, Some("NotImplemented")) => Some(
                "this S3 server does not support conditional writes (If-Match, If-None-Match), which protect the \
                 checkpoint from a second run: give --checkpoint PATH, a local file"
                    .to_owned(),
            ),
            (_, Some("AccessDenied")) => {
                let needed = "s3:PutObject and s3:GetObject on it";
                Some(aws.with_policy(POLICY).permission_hint(needed))
            }
            _ => None,
        };
        let error = self.cannot_save(refusal.error);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// Records that another run has taken over the checkpoint, and returns that error.
    fn lost_error(&self, who: &str) -> Error {
        self.lost.store(true, Ordering::Relaxed);
        let message = format!("another run has the checkpoint {}: {who}", self.location);
        Error::new(ErrorKind::Output, message).with_hint(
            "let that run finish: it resumes from the last save, and the items written by this run stay written",
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
                Err(e) => FailedCall::from_sdk(e),
            };
            match refusal.status {
                Some(404) => return Ok(()),
                Some(409) if tries < MAX_TRIES => {
                    tokio::time::sleep(backoff.wait(tries)).await;
                    continue;
                }
                // 501: the server does not support conditional deletes.
                Some(412 | 501) if conditional && tries < MAX_TRIES => {}
                _ => return Err(self.cannot_remove(refusal.error)),
            }
            match self.read_back(aws, bucket, key, fence.sequence).await? {
                ReadBack::Missing => return Ok(()),
                ReadBack::Saved(etag) | ReadBack::Earlier(etag) => {
                    conditional = refusal.status == Some(412) && etag.is_some();
                    fence.etag = etag;
                }
                ReadBack::Other(who) => {
                    tracing::warn!(
                        "the checkpoint {} stays: it belongs to {who}",
                        self.location
                    );
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
        let Some((text, etag)) = read.map_err(|e| e.with_kind(ErrorKind::Output))? else {
            return Ok(ReadBack::Missing);
        };
        let by = Checkpoint::from_text(&text).ok().and_then(|c| c.saved_by);
        Ok(match by {
            Some(by) if by.run == self.run_id && by.sequence == sequence => ReadBack::Saved(etag),
            Some(by) if by.run == self.run_id => ReadBack::Earlier(etag),
            Some(by) => ReadBack::Other(by.holder),
            None => ReadBack::Other("an unnamed program".to_owned()),
        })
    }

    /// Reads the object and its ETag; `None` if the object does not exist.
    async fn get(
        &self,
        aws: &Aws,
        bucket: &str,
        key: &str,
    ) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let cannot = || Error::usage(format!("cannot read the checkpoint {}", self.location));
        let response = match aws.s3().get_object().bucket(bucket).key(key).send().await {
            Ok(response) => response,
            Err(e) => {
                let e = CallError::from_sdk(e);
                return match e.code.as_deref() {
                    Some("NoSuchKey") => Ok(None),
                    Some("AccessDenied") => Err(cannot().with_source(e).with_hint(format!(
                        "{}; without s3:ListBucket, S3 also answers so for a missing object",
                        aws.with_policy(POLICY)
                            .permission_hint("s3:GetObject on it")
                    ))),
                    _ => Err(cannot().with_source(e)),
                };
            }
        };
        let etag = response.e_tag;
        let body = response.body.collect().await;
        let body = body.map_err(|e| cannot().with_source(e))?;
        Ok(Some((body.to_vec(), etag)))
    }
}

/// A failed call to S3.
struct FailedCall {
    /// HTTP status; `None` if there was no response.
    status: Option<u16>,
    error: CallError,
}

impl FailedCall {
    fn from_sdk<E>(e: SdkError<E, HttpResponse>) -> FailedCall
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + fmt::Debug + 'static,
    {
        FailedCall {
            status: e.raw_response().map(|r| r.status().as_u16()),
            error: CallError::from_sdk(e),
        }
    }

    /// True if the condition failed. A 404 may also mean that the bucket is missing.
    fn is_condition_failed(&self) -> bool {
        self.status == Some(412) || self.error.code.as_deref() == Some("NoSuchKey")
    }
}

fn lock(path: &Path) -> Result<Option<RunLock>> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let missing = folder.filter(|f| !f.exists());
    let made = missing.map_or(Ok(()), std::fs::create_dir_all);
    if let (Some(folder), Ok(())) = (missing, &made) {
        tracing::info!("created the folder {} for the checkpoint", folder.display());
    }
    let lock = made
        .map_err(crate::base::run_lock::LockError::File)
        .and_then(|()| RunLock::acquire(path));
    lock.map_err(|e| e.into_error("the checkpoint", path, "give --checkpoint PATH"))
}

async fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match tokio::fs::read(path).await {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let what = format!("cannot read the checkpoint {}", path.display());
            Err(Error::usage(what).with_source(e))
        }
    }
}
