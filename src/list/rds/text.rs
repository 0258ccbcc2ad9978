//! A database as a list: a thread walks it, and hands on its hashes as text.
//!
//! SQLite blocks, for hours where it has to sort: as the decoders do, it works on a
//! thread of its own, and a short channel bounds what is between.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::external_sort::sorter::SorterOptions;
use crate::list::identity::Identity;
use crate::list::rds::database::{Part, Rds};
use crate::list::rds::schema::Schema;
use crate::source::decompress::output::Chunk;
use crate::source::location::Location;
use crate::source::version::ObjectVersion;
use crate::source::work_dir::{Copy, WorkDir};
use bytes::Bytes;
use rusqlite::InterruptHandle;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Chunks of text that may wait for the reader.
const TEXT_CHUNKS: usize = 8;

/// How much text is handed on at once, at least.
const TEXT_BYTES: usize = 64 * 1024;

/// Where a database lies that can be opened.
#[derive(Debug, Clone)]
pub(crate) enum Lying {
    /// Where it was named.
    There(PathBuf),
    /// In a copy.
    Copied(Arc<Copy>),
}

impl Lying {
    fn path(&self) -> PathBuf {
        match self {
            Lying::There(path) => path.clone(),
            Lying::Copied(copy) => copy.path(),
        }
    }
}

/// A database that is read as a list.
#[derive(Debug)]
pub(crate) struct Database {
    identity: Identity,
    lying: Lying,
    work: WorkDir,
    schema: Schema,
    running: Option<Running>,
}

/// The thread's end of it.
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
    /// Opens the database that the source with this identity is, and looks at what it
    /// holds.
    ///
    /// # Errors
    /// As [`Rds::open`].
    pub(crate) fn open(identity: Identity, lying: Lying, work: WorkDir) -> Result<Database> {
        let opened = Rds::open(&identity.object.uri, &lying.path());
        // Nobody will want it again.
        if let (Err(_), Lying::Copied(copy)) = (&opened, &lying) {
            copy.is_damaged();
        }
        let schema = opened?.schema().clone();
        Ok(Database {
            identity,
            lying,
            work,
            schema,
            running: None,
        })
    }

    /// What it holds.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Begins to read its hashes of `algorithm`, unless that has begun.
    ///
    /// # Errors
    /// As [`Rds::open`], and when it has no such hashes.
    pub(crate) fn begin(&mut self, algorithm: Algorithm) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        let rds = Rds::open(&self.identity.object.uri, &self.lying.path())?;
        rds.schema().column(&self.identity.object.uri, algorithm)?;
        let interrupt = rds.interrupt_handle();
        let (send, text) = mpsc::channel(TEXT_CHUNKS);
        let sorting = SorterOptions::in_folder(self.work.path());
        let bytes = self.identity.object.bytes.unwrap_or(0);
        // It ends when the channel does.
        tokio::task::spawn_blocking(move || {
            let ended = read(&rds, algorithm, sorting, bytes, |chunk| {
                send.blocking_send(Ok(Some(chunk))).is_ok()
            });
            // Nobody may be there any more to take it.
            let _ = send.blocking_send(ended.map(|()| None));
        });
        self.running = Some(Running { text, interrupt });
        Ok(())
    }

    /// The next chunk of text; nothing at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Read`] when it is damaged, or was changed while it was read.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>> {
        let uri = &self.identity.object.uri;
        let Some(running) = &mut self.running else {
            return Err(fault(uri, "was to be read before it was known for what"));
        };
        let next = match running.text.recv().await {
            Some(next) => next,
            None => Err(fault(uri, "is no longer read")),
        };
        match (&next, &self.lying) {
            (Err(e), Lying::Copied(copy)) if e.kind() == ErrorKind::Read => copy.is_damaged(),
            (Ok(None), Lying::Copied(copy)) => copy.was_read(),
            (Ok(None), Lying::There(path)) => unchanged(path, &self.identity.object).await?,
            _ => {}
        }
        next
    }
}

fn fault(uri: &str, what: &str) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the database {uri} {what}; this is a fault of hashferry"),
    )
}

/// Checks that a file, which was not locked, is as it was when it was opened.
async fn unchanged(path: &PathBuf, was: &ObjectVersion) -> Result<()> {
    let location = Location::File(path.clone());
    let now = match tokio::fs::metadata(path).await {
        Ok(metadata) => ObjectVersion {
            bytes: Some(metadata.len()),
            modified: crate::source::open::modified(&metadata),
            ..was.clone()
        },
        Err(e) => {
            return Err(Error::new(
                ErrorKind::Read,
                format!("{location} went away while it was read"),
            )
            .because(e));
        }
    };
    match was.difference(&now) {
        None => Ok(()),
        Some(what) => Err(Error::new(
            ErrorKind::Read,
            format!("{location} was changed while it was read: {what}"),
        )
        .hint("let nobody write to it, then run this again with --restart")),
    }
}

/// Reads the hashes into chunks, which together take all of the source's `bytes`.
fn read(
    rds: &Rds,
    algorithm: Algorithm,
    sorting: SorterOptions,
    bytes: u64,
    mut send: impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let mut text = Vec::with_capacity(TEXT_BYTES + 1024);
    let (mut said, mut goes_on) = (0, true);
    let ended = rds.hashes(algorithm, sorting, &mut |line, part| {
        text.extend_from_slice(line);
        if text.len() >= TEXT_BYTES {
            let now = share(bytes, part).max(said);
            goes_on = send(Chunk {
                bytes: Bytes::copy_from_slice(&text),
                lying: now - said,
            });
            said = now;
            text.clear();
        }
        goes_on
    });
    if goes_on {
        send(Chunk {
            bytes: Bytes::copy_from_slice(&text),
            // Where it breaks off, nobody knows how much was read for the last lines.
            lying: if ended.is_ok() { bytes - said } else { 0 },
        });
    }
    ended
}

/// As much of `bytes` as `part` is of the whole.
fn share(bytes: u64, part: Part) -> u64 {
    let of = part.of.unwrap_or(0).max(part.read).max(1);
    let share = match part.of {
        Some(_) => u128::from(bytes) * u128::from(part.read) / u128::from(of),
        None => 0,
    };
    u64::try_from(share).unwrap_or(bytes).min(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_never_more_than_there_is() {
        let part = |read, of| Part { read, of };
        assert_eq!(share(1000, part(1, Some(4))), 250);
        assert_eq!(share(1000, part(9, Some(4))), 1000);
        assert_eq!(share(1000, part(0, Some(0))), 0);
        assert_eq!(share(1000, part(7, None)), 0);
        assert_eq!(share(u64::MAX, part(1, Some(1))), u64::MAX);
    }
}
