//! A database as a list: a thread reads its hashes and sends them as text.
//!
//! SQLite blocks, for hours if rows must be sorted. It therefore runs on a separate thread,
//! like the decompressors, with a short channel to the reader.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::external_sort::sorter::SorterOptions;
use crate::list::identity::Identity;
use crate::list::rds::database::{Progress, Rds};
use crate::list::rds::schema::Schema;
use crate::source::decompress::output::Chunk;
use crate::source::location::Location;
use crate::source::version::ObjectVersion;
use crate::source::work_dir::{LocalCopy, WorkDir};
use bytes::Bytes;
use rusqlite::InterruptHandle;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Capacity of the channel to the reader, in chunks.
const TEXT_CHUNKS: usize = 8;

/// Minimum size of a chunk, in bytes.
const TEXT_BYTES: usize = 64 * 1024;

/// The file that SQLite opens.
#[derive(Debug, Clone)]
pub(crate) enum DatabaseFile {
    /// The source itself.
    InPlace(PathBuf),
    /// A local copy of the source.
    Copy(Arc<LocalCopy>),
}

impl DatabaseFile {
    fn path(&self) -> PathBuf {
        match self {
            DatabaseFile::InPlace(path) => path.clone(),
            DatabaseFile::Copy(copy) => copy.path(),
        }
    }
}

/// A database that is read as a list.
#[derive(Debug)]
pub(crate) struct Database {
    identity: Identity,
    file: DatabaseFile,
    work: WorkDir,
    schema: Schema,
    running: Option<Running>,
}

/// Handle to the reading thread.
struct Running {
    text: mpsc::Receiver<Result<Option<Chunk>>>,
    interrupt: InterruptHandle,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.interrupt.interrupt();
    }
}

impl Database {
    /// Opens the database with this identity and reads its schema.
    ///
    /// # Errors
    /// Same as [`Rds::open`].
    pub(crate) fn open(
        identity: Identity,
        compressed_bytes: DatabaseFile,
        work: WorkDir,
    ) -> Result<Database> {
        let opened = Rds::open(&identity.object.uri, &compressed_bytes.path());
        // A copy that cannot be opened is not kept.
        if let (Err(_), DatabaseFile::Copy(copy)) = (&opened, &compressed_bytes) {
            copy.mark_damaged();
        }
        let schema = opened?.schema().clone();
        Ok(Database {
            identity,
            file: compressed_bytes,
            work,
            schema,
            running: None,
        })
    }

    /// Returns the schema.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Starts to read the hashes of `algorithm`. Does nothing if reading has started.
    ///
    /// # Errors
    /// Same as [`Rds::open`]; also if the database has no such hashes.
    pub(crate) fn start(&mut self, algorithm: Algorithm) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let rds = Rds::open(&self.identity.object.uri, &self.file.path())?;
        rds.schema().column(&self.identity.object.uri, algorithm)?;
        let interrupt = rds.interrupt_handle();
        let (send, text) = mpsc::channel(TEXT_CHUNKS);
        let sorting = SorterOptions::in_folder(self.work.path());
        let bytes = self.identity.object.bytes.unwrap_or(0);
        // The thread ends when the channel closes.
        tokio::task::spawn_blocking(move || {
            let ended = send_hashes(&rds, algorithm, sorting, bytes, |chunk| {
                send.blocking_send(Ok(Some(chunk))).is_ok()
            });
            // The receiver may be gone.
            let _ = send.blocking_send(ended.map(|()| None));
        });
        self.running = Some(Running { text, interrupt });
        Ok(())
    }

    /// Returns the next chunk of text. `None` at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Read`] if the database is damaged, or was changed while it was read.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>> {
        let uri = &self.identity.object.uri;
        let Some(running) = &mut self.running else {
            return Err(internal_error(
                uri,
                "was read before its algorithm was selected",
            ));
        };
        let next = match running.text.recv().await {
            Some(next) => next,
            None => Err(internal_error(uri, "was not read to its end")),
        };
        match (&next, &self.file) {
            (Err(e), DatabaseFile::Copy(copy)) if e.kind() == ErrorKind::Read => {
                copy.mark_damaged()
            }
            (Ok(None), DatabaseFile::Copy(copy)) => copy.mark_read(),
            (Ok(None), DatabaseFile::InPlace(path)) => {
                check_unchanged(path, &self.identity.object).await?
            }
            _ => {}
        }
        next
    }
}

fn internal_error(uri: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the database {uri} {what}; this is a fault of hashferry"),
    )
}

/// Checks that a file has not changed since it was opened; it is not locked.
async fn check_unchanged(path: &PathBuf, was: &ObjectVersion) -> Result<()> {
    let location = Location::File(path.clone());
    let now = match tokio::fs::metadata(path).await {
        Ok(metadata) => ObjectVersion {
            bytes: Some(metadata.len()),
            modified: crate::source::open::last_modified(&metadata),
            ..was.clone()
        },
        Err(e) => {
            return Err(Error::new(
                ErrorKind::Read,
                format!("{location} became inaccessible while it was read"),
            )
            .with_source(e));
        }
    };
    match was.describe_change(&now) {
        None => Ok(()),
        Some(what) => Err(Error::new(
            ErrorKind::Read,
            format!("{location} was changed while it was read: {what}"),
        )
        .with_hint("make sure that no program writes to it, then run this again with --restart")),
    }
}

/// Sends the hashes in chunks. The compressed bytes of all chunks add up to `bytes`.
fn send_hashes(
    rds: &Rds,
    algorithm: Algorithm,
    sorting: SorterOptions,
    bytes: u64,
    mut send: impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let mut text = Vec::with_capacity(TEXT_BYTES + 1024);
    let (mut reported, mut goes_on) = (0, true);
    let ended = rds.for_each_hash(algorithm, sorting, &mut |line, part| {
        text.extend_from_slice(line);
        if text.len() >= TEXT_BYTES {
            let now = share(bytes, part).max(reported);
            goes_on = send(Chunk {
                bytes: Bytes::copy_from_slice(&text),
                compressed_bytes: now - reported,
            });
            reported = now;
            text.clear();
        }
        goes_on
    });
    if goes_on {
        send(Chunk {
            bytes: Bytes::copy_from_slice(&text),
            // After an error the bytes read for the last lines are unknown.
            compressed_bytes: if ended.is_ok() { bytes - reported } else { 0 },
        });
    }
    ended
}

/// Calculates the share of `bytes` that corresponds to the progress `part`.
fn share(bytes: u64, part: Progress) -> u64 {
    let total = part.total_rows.unwrap_or(0).max(part.rows_read).max(1);
    let share = match part.total_rows {
        Some(_) => u128::from(bytes) * u128::from(part.rows_read) / u128::from(total),
        None => 0,
    };
    u64::try_from(share).unwrap_or(bytes).min(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_never_exceeds_the_total() {
        let part = |read, of| Progress {
            rows_read: read,
            total_rows: of,
        };
        assert_eq!(share(1000, part(1, Some(4))), 250);
        assert_eq!(share(1000, part(9, Some(4))), 1000);
        assert_eq!(share(1000, part(0, Some(0))), 0);
        assert_eq!(share(1000, part(7, None)), 0);
        assert_eq!(share(u64::MAX, part(1, Some(1))), u64::MAX);
    }
}
