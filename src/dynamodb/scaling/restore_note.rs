//! Restore note: a file on disk while a table is raised.
//!
//! It holds the capacity of every part before the raise. The run itself restores the table
//! at its end, or `hashferry capacity --restore` does if the run was killed. The note is
//! written before the first change and removed after the last. A run locks its note, and
//! the lock ends with the process.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::state_file;
use crate::flow::capacity::Part;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Version of the note's format.
pub(crate) const NOTE_VERSION: u32 = 1;

/// Capacities to restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreNote {
    /// See [`NOTE_VERSION`].
    pub version: u32,
    /// The table's name.
    pub table: String,
    /// The table's ARN, which names region and account.
    pub arn: String,
    /// Time of the raise (UTC, RFC 3339).
    pub raised_at: String,
    /// Raised parts.
    pub parts: Vec<RaisedPart>,
}

/// A raised part of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RaisedPart {
    /// Global secondary index; `None` for the table itself.
    pub index: Option<String>,
    /// WCU/s before the raise.
    pub write_units: u64,
    /// WCU/s after the raise.
    pub raised_to: u64,
    /// Minimum of the scalable target before the raise; `None` if it was not moved.
    pub minimum: Option<u64>,
}

impl RaisedPart {
    /// The part of the table, for messages.
    pub(crate) fn part(&self) -> Part {
        self.index.clone().map_or(Part::Table, Part::Index)
    }
}

/// A note on disk that this process has locked.
#[derive(Debug)]
pub(crate) struct LockedNote {
    /// Content of the note.
    pub note: RestoreNote,
    /// Path of the file.
    pub path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl LockedNote {
    /// Writes and locks the note.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it cannot be written: the table must not be raised then.
    pub(crate) fn create(note: RestoreNote, path: PathBuf) -> Result<LockedNote> {
        let text = serde_json::to_string_pretty(&note).unwrap_or_default() + "\n";
        let failed = |e| {
            Error::usage(format!(
                "cannot write the restore note of the table's capacity to {}",
                path.display()
            ))
            .with_source(e)
            .with_hint(
                "give another path with --raise-note PATH; without a note, the capacity cannot be restored \
                       after a run that is killed",
            )
        };
        let file = state_file::replace(&path, text.as_bytes()).map_err(failed)?;
        lock(&file, &path)?;
        let _file = file;
        Ok(LockedNote { note, path, _file })
    }

    /// Reads and locks the note at `path`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it is missing or damaged, or the run that wrote it is
    /// still running.
    pub(crate) fn open(path: &Path) -> Result<LockedNote> {
        let shown = path.display();
        let file = File::open(path).map_err(|e| {
            Error::usage(format!("cannot read the restore note {shown}")).with_source(e).with_hint(
                "look for the path in the log of the run that raised the table; a run that ended by itself has \
                 restored the table and removed the note",
            )
        })?;
        lock(&file, path)?;
        let text = std::io::read_to_string(&file).map_err(|e| {
            Error::usage(format!("cannot read the restore note {shown}")).with_source(e)
        })?;
        let damaged = |why: String| {
            Error::usage(format!("{shown} is not a valid restore note of a raised table: {why}")).with_hint(
                "inspect the table with hashferry capacity --table NAME, and restore it with: aws dynamodb \
                 update-table",
            )
        };
        let note: RestoreNote = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if note.version != NOTE_VERSION {
            return Err(damaged(format!(
                "expected version {NOTE_VERSION}, found {}",
                note.version
            )));
        }
        Ok(LockedNote {
            note,
            path: path.to_owned(),
            _file: file,
        })
    }

    /// Removes the note after the restore.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if it cannot be removed.
    pub(crate) fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|e| {
            Error::new(
                ErrorKind::Output,
                format!("cannot remove the restore note {}", self.path.display()),
            )
            .with_source(e)
            .with_hint("delete the file: the table is restored")
        })
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::usage(format!(
            "another running ingest has raised this table: it holds the restore note {}",
            path.display()
        ))
        .with_hint("run this without --raise-to: it follows the table's capacity, and the other run restores it")),
        // Some file systems have no locks: continue without.
        Err(TryLockError::Error(e)) => {
            tracing::debug!("{} cannot be locked: {e}", path.display());
            Ok(())
        }
    }
}

/// Default path of the restore note of the table `name`.
///
/// # Errors
/// [`ErrorKind::Usage`] if the user has no state folder.
pub(crate) fn note_path(aws: &Aws, name: &str) -> Result<PathBuf> {
    let folder = state_file::state_folder().ok_or_else(|| {
        Error::usage("no folder for the restore note of the table's capacity: HOME is not set")
            .with_hint("give a path with --raise-note PATH")
    })?;
    let (region, table) = (
        state_file::file_name_part(aws.region()),
        state_file::file_name_part(name),
    );
    Ok(folder.join(format!("raised-{region}-{table}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> RestoreNote {
        RestoreNote {
            version: NOTE_VERSION,
            table: "sha256".into(),
            arn: "arn:aws:dynamodb:us-east-1:123456789012:table/sha256".into(),
            raised_at: "2026-11-24T10:00:00Z".into(),
            parts: vec![
                RaisedPart {
                    index: None,
                    write_units: 5,
                    raised_to: 1000,
                    minimum: None,
                },
                RaisedPart {
                    index: Some("by-source".into()),
                    write_units: 7,
                    raised_to: 1000,
                    minimum: Some(7),
                },
            ],
        }
    }

    #[test]
    fn a_note_is_read_as_it_was_written_once_its_run_is_gone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("note.json");
        let held = LockedNote::create(note(), path.clone()).expect("written");
        let busy = LockedNote::open(&path).expect_err("it is held");
        assert!(format!("{busy:#}").contains("running ingest"), "{busy}");
        drop(held);
        let held = LockedNote::open(&path).expect("read");
        assert_eq!(held.note, note());
        held.remove().expect("removed");
        assert_eq!(LockedNote::open(&path).expect_err("gone").exit_status(), 2);
    }

    #[test]
    fn damage_is_said() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("note.json");
        let whole = serde_json::to_string(&note()).expect("JSON");
        for bad in [
            "",
            "{}",
            &whole[..whole.len() - 1],
            &whole.replace("\"version\":1", "\"version\":9"),
        ] {
            std::fs::write(&path, bad).expect("written");
            let e = LockedNote::open(&path).expect_err(bad);
            assert!(format!("{e:#}").contains("not a valid restore note"), "{e}");
        }
    }
}
