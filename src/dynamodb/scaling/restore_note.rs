//! The note that is left on disk while a table is raised.
//!
//! It says what every part had before, so that whoever finds it can bring the
//! table back: the run itself at its end, or `hashferry capacity --restore` when
//! the run was killed. It is written before the first change and removed after
//! the last; while a run is at work it holds a lock on it, which ends with the
//! process, however that ends.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::state_file;
use crate::flow::capacity::Part;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Version of the note's form.
pub(crate) const VERSION: u32 = 1;

/// What must be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Note {
    /// See [`VERSION`].
    pub version: u32,
    /// The table's name.
    pub table: String,
    /// Where it is: the ARN, which names region and account.
    pub arn: String,
    /// When it was raised (UTC, RFC 3339).
    pub raised_at: String,
    /// What was raised.
    pub parts: Vec<Raised>,
}

/// One part of the table that was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raised {
    /// The global secondary index; nothing for the table itself.
    pub index: Option<String>,
    /// Write capacity units a second before.
    pub write_units: u64,
    /// What they were raised to.
    pub raised_to: u64,
    /// The minimum of the auto scaling target before, when that was raised.
    pub minimum: Option<u64>,
}

impl Raised {
    /// The part of the table that it is.
    pub(crate) fn part(&self) -> Part {
        self.index.clone().map_or(Part::Table, Part::Index)
    }
}

/// A note on disk that this process holds the lock of.
#[derive(Debug)]
pub(crate) struct Held {
    /// What it says.
    pub note: Note,
    /// Where it lies.
    pub path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Held {
    /// Writes the note.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it cannot be written: then nothing may be
    /// raised.
    pub(crate) fn write(note: Note, path: PathBuf) -> Result<Held> {
        let text = serde_json::to_string_pretty(&note).unwrap_or_default() + "\n";
        let failed = |e| {
            Error::usage(format!(
                "cannot write the note of the table's capacity to {}",
                path.display()
            ))
            .because(e)
            .hint(
                "name another place by --raise-note PATH; without a note, a run that is killed \
                       could not be cleaned up after",
            )
        };
        let file = state_file::replace(&path, text.as_bytes()).map_err(failed)?;
        lock(&file, &path)?;
        let _file = file;
        Ok(Held { note, path, _file })
    }

    /// Reads the note at `path`, and takes it over.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when there is none, it is damaged, or the run that
    /// left it is still at work.
    pub(crate) fn read(path: &Path) -> Result<Held> {
        let shown = path.display();
        let file = File::open(path).map_err(|e| {
            Error::usage(format!("cannot read the note {shown}")).because(e).hint(
                "the run that raised the table said where its note lies; one that ended by itself has \
                 brought the table back and removed it",
            )
        })?;
        lock(&file, path)?;
        let text = std::io::read_to_string(&file)
            .map_err(|e| Error::usage(format!("cannot read the note {shown}")).because(e))?;
        let damaged = |why: String| {
            Error::usage(format!("{shown} is no note of a raised table: {why}")).hint(
                "look at the table by hashferry capacity --table NAME, and bring it back by: aws dynamodb \
                 update-table",
            )
        };
        let note: Note = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        if note.version != VERSION {
            return Err(damaged(format!(
                "version {} where {VERSION} was expected",
                note.version
            )));
        }
        Ok(Held {
            note,
            path: path.to_owned(),
            _file: file,
        })
    }

    /// Removes the note: there is nothing left to bring back.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when it cannot be removed.
    pub(crate) fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(|e| {
            Error::new(
                ErrorKind::Output,
                format!("cannot remove the note {}", self.path.display()),
            )
            .because(e)
            .hint("remove it by hand: the table is as it was")
        })
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(Error::usage(format!(
            "a run that is at work has raised this table: it holds its note {}",
            path.display()
        ))
        .hint("run this without --raise-to, it follows what the table has; the other run brings the table back")),
        // A file system without locks is no reason not to go on.
        Err(TryLockError::Error(e)) => {
            tracing::debug!("{} cannot be locked: {e}", path.display());
            Ok(())
        }
    }
}

/// Where the note of the table `name` lies unless a person says otherwise.
///
/// # Errors
/// [`ErrorKind::Usage`] when the user has no folder for such things.
pub(crate) fn place(aws: &Aws, name: &str) -> Result<PathBuf> {
    let folder = state_file::folder().ok_or_else(|| {
        Error::usage("there is no folder for the note of the table's capacity: HOME is not set")
            .hint("name a place by --raise-note PATH")
    })?;
    let (region, table) = (
        state_file::name_part(aws.region()),
        state_file::name_part(name),
    );
    Ok(folder.join(format!("raised-{region}-{table}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        Note {
            version: VERSION,
            table: "sha256".into(),
            arn: "arn:aws:dynamodb:us-east-1:123456789012:table/sha256".into(),
            raised_at: "2026-11-24T10:00:00Z".into(),
            parts: vec![
                Raised {
                    index: None,
                    write_units: 5,
                    raised_to: 1000,
                    minimum: None,
                },
                Raised {
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
        let held = Held::write(note(), path.clone()).expect("written");
        let busy = Held::read(&path).expect_err("it is held");
        assert!(format!("{busy:#}").contains("at work"), "{busy}");
        drop(held);
        let held = Held::read(&path).expect("read");
        assert_eq!(held.note, note());
        held.remove().expect("removed");
        assert_eq!(Held::read(&path).expect_err("gone").exit_status(), 2);
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
            let e = Held::read(&path).expect_err(bad);
            assert!(
                format!("{e:#}").contains("no note of a raised table"),
                "{e}"
            );
        }
    }
}
