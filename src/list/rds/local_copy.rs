//! A source → a local copy of it, for databases, which cannot be streamed.
//!
//! The file name of a copy is derived from the identity of its source, so that the same
//! command finds it again. A complete copy is used without reading the source. A partial copy
//! is continued. Stored bytes are compared with the source as far as that is read again.

use crate::base::error::{Error, ErrorKind, Result};
use crate::list::identity::Identity;
use crate::source::work_dir::{LocalCopy, WorkDir, open_exclusive};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// Minimum size of a copy whose progress is logged, in bytes.
const MIN_REPORTED_BYTES: u64 = 1024 * 1024 * 1024;

/// State of a copy when a run starts.
pub(crate) enum CopyState {
    Complete(Arc<LocalCopy>),
    /// The copy is partial or empty.
    Partial(PartialCopy),
}

/// A copy that is being written.
pub(crate) struct PartialCopy {
    name: String,
    file: File,
    copy: Arc<LocalCopy>,
    /// Path of the complete copy. `None` if no later run can find it.
    final_path: Option<PathBuf>,
    /// Bytes stored in the file.
    stored_bytes: u64,
    /// Offset of the next byte from the source.
    position: u64,
    /// Expected size in bytes. `None` if unknown.
    length: Option<u64>,
    /// Number of tenths whose completion was logged.
    reported_tenths: u64,
}

/// Starts or continues the copy of the source with this identity. `length` is its size in
/// bytes; `None` if unknown.
///
/// # Errors
/// [`ErrorKind::Usage`] if the folder has no space for it, or is not writable.
pub(crate) fn begin(identity: &Identity, work: &WorkDir, length: Option<u64>) -> Result<CopyState> {
    let name = identity.object.uri.clone();
    let folder = work.path();
    let (part, whole) = match identity.object.is_comparable() {
        true => {
            let stem = file_stem(identity);
            let whole = folder.join(format!("{stem}.db"));
            if let Some(copy) = work.find_copy(&whole) {
                return Ok(CopyState::Complete(copy));
            }
            if let Some(lock) = open_exclusive(&whole, false)? {
                tracing::info!("the copy of {name} in {} is complete", whole.display());
                return Ok(CopyState::Complete(
                    work.add_copy(LocalCopy::new(&name, whole, true, lock)),
                ));
            }
            (folder.join(format!("{stem}.part")), Some(whole))
        }
        false => {
            // No later run can find it: the source has no identity.
            let part = tempfile::Builder::new()
                .prefix("hashferry-")
                .tempfile_in(&folder);
            let part = part.and_then(|p| p.keep().map_err(|e| e.error));
            let (_, path) = part.map_err(|e| create_error(&folder, e))?;
            (path, None)
        }
    };
    work.remove_read_copies();
    let Some(lock) = open_exclusive(&part, true)? else {
        return Err(Error::new(ErrorKind::Internal, "a file was not created"));
    };
    let have = lock.metadata().map_err(|e| create_error(&folder, e))?.len();
    let file = lock.try_clone().map_err(|e| create_error(&folder, e))?;
    let copy = LocalCopy::new(&name, part.clone(), whole.is_some(), lock);
    // From here on `work` reports or removes it.
    let copy = work.add_copy(copy);
    let have = match length {
        // The stored bytes are of another source.
        Some(length) if have > length => 0,
        _ => have,
    };
    match length {
        Some(length) => {
            let room = work.check_room(length - have, &format!("the copy of {name}"));
            if room.is_err() && have == 0 {
                copy.mark_damaged();
            }
            room?;
            tracing::info!(
                "{name} is a database: reading it from a local copy, {length} bytes in {}{}",
                folder.display(),
                match have {
                    0 => String::new(),
                    have => format!(", {have} of them already there"),
                }
            );
        }
        None => tracing::info!(
            "{name} is a database of unknown size: reading it from a local copy in {}",
            folder.display()
        ),
    }
    Ok(CopyState::Partial(PartialCopy {
        name,
        file: File::from_std(file),
        copy,
        final_path: whole,
        stored_bytes: have,
        position: 0,
        length,
        reported_tenths: 0,
    }))
}

impl PartialCopy {
    /// Returns the number of bytes stored in the file.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// True if the file holds more bytes than were read from the source so far.
    pub(crate) fn is_ahead_of_source(&self) -> bool {
        self.position < self.stored_bytes
    }

    /// Skips the stored bytes: the source continues after them.
    pub(crate) fn skip_stored(&mut self) {
        self.position = self.stored_bytes;
    }

    /// Processes the next bytes of the source: compares them with stored bytes, and writes
    /// those that are not stored.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if they cannot be written; [`ErrorKind::Read`] if the source is
    /// longer than expected.
    pub(crate) async fn append(&mut self, bytes: &Bytes) -> Result<()> {
        let end = self.position + bytes.len() as u64;
        if let Some(length) = self.length.filter(|l| end > *l) {
            self.copy.mark_damaged();
            return Err(Error::new(
                ErrorKind::Read,
                format!(
                    "the database {} is longer than expected: it should have {length} bytes",
                    self.name
                ),
            )
            .with_hint("fetch the complete file again, then run this again"));
        }
        let written = self.write(bytes).await;
        written.map_err(|e| {
            Error::new(
                ErrorKind::Output,
                format!(
                    "cannot write the copy of {} to {}",
                    self.name,
                    self.copy.path().display()
                ),
            )
            .with_source(e)
            .with_hint("set --work-dir DIR to a folder with more space")
        })?;
        self.report_progress();
        Ok(())
    }

    /// Logs the progress of a large copy at each tenth.
    fn report_progress(&mut self) {
        let Some(length) = self.length.filter(|l| *l >= MIN_REPORTED_BYTES) else {
            return;
        };
        let tenths = self.position / (length / 10);
        if tenths > self.reported_tenths && tenths < 10 {
            self.reported_tenths = tenths;
            tracing::info!(
                "copied {} of {length} bytes of {}",
                self.position,
                self.name
            );
        }
    }

    async fn write(&mut self, bytes: &Bytes) -> std::io::Result<()> {
        let mut new = &bytes[..];
        if self.position < self.stored_bytes {
            let known = usize::try_from(self.stored_bytes - self.position).unwrap_or(usize::MAX);
            let known = known.min(bytes.len());
            let mut stored = vec![0; known];
            self.file
                .seek(std::io::SeekFrom::Start(self.position))
                .await?;
            self.file.read_exact(&mut stored).await?;
            if stored == bytes[..known] {
                new = &bytes[known..];
            } else {
                tracing::warn!(
                    "the copy in {} differs from {} from byte {} on: rewriting it",
                    self.copy.path().display(),
                    self.name,
                    self.position
                );
                self.stored_bytes = self.position;
            }
        }
        if !new.is_empty() {
            if self.file.metadata().await?.len() != self.stored_bytes {
                self.file.set_len(self.stored_bytes).await?;
            }
            self.file
                .seek(std::io::SeekFrom::Start(self.stored_bytes))
                .await?;
            self.file.write_all(new).await?;
            // A process that is killed has then stored all bytes that it counted.
            self.file.flush().await?;
            self.stored_bytes += new.len() as u64;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Completes the copy at the end of the source.
    ///
    /// # Errors
    /// [`ErrorKind::Read`] if it is shorter than expected; [`ErrorKind::Output`] if it cannot
    /// be synchronised to disk.
    pub(crate) async fn finish(self) -> Result<Arc<LocalCopy>> {
        if let Some(length) = self.length.filter(|l| *l != self.position) {
            self.copy.mark_damaged();
            return Err(Error::new(
                ErrorKind::Read,
                format!(
                    "the database {} is cut off: it should have {length} bytes, but has {}",
                    self.name, self.position
                ),
            )
            .with_hint("fetch the complete file again, then run this again"));
        }
        let write_error = |e| {
            Error::new(
                ErrorKind::Output,
                format!("cannot write the copy of {}", self.name),
            )
            .with_source(e)
            .with_hint("set --work-dir DIR to another folder")
        };
        // Stored bytes after the end were of another source.
        self.file
            .set_len(self.position)
            .await
            .map_err(write_error)?;
        let Some(whole) = &self.final_path else {
            return Ok(self.copy);
        };
        self.file.sync_all().await.map_err(write_error)?;
        self.copy.rename(whole.clone()).map_err(write_error)?;
        Ok(self.copy)
    }
}

/// Returns the file name of a copy without extension, derived from the source's identity.
fn file_stem(identity: &Identity) -> String {
    // A struct of strings and numbers always serialises.
    let json = serde_json::to_vec(identity).unwrap_or_default();
    let digest = Sha256::digest(&json);
    let hex = digest.iter().take(16);
    hex.fold("hashferry-".to_owned(), |name, byte| {
        name + &format!("{byte:02x}")
    })
}

fn create_error(folder: &std::path::Path, e: std::io::Error) -> Error {
    Error::usage(format!("cannot create a file in {}", folder.display()))
        .with_source(e)
        .with_hint("set --work-dir DIR to an existing, writable folder")
}
