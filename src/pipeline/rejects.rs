//! Rejected lines: each is written down, or the first ten are shown.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::printable::shown;
use crate::base::record::{LANE, Place, Reason};
use crate::base::run_lock::RunLock;
use crate::list::shape::Shapes;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// How many are shown when there is no file for them.
const SHOWN: u64 = 10;

/// How much of a rejected line is kept, in characters.
const TEXT_CHARACTERS: usize = 200;

/// From how many lines on the share of rejected ones is judged.
pub(crate) const JUDGED_FROM_LINES: u64 = 1000;

/// How many rejected lines a run bears before it stops.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MaxRejects {
    /// So many.
    Count(u64),
    /// So many in a hundred, judged from `JUDGED_FROM_LINES` lines on.
    Percent(f64),
}

impl Default for MaxRejects {
    fn default() -> Self {
        MaxRejects::Percent(10.0)
    }
}

impl MaxRejects {
    /// Whether `rejected` of `lines` are too many.
    pub fn exceeded(self, rejected: u64, lines: u64) -> bool {
        match self {
            MaxRejects::Count(n) => rejected > n,
            MaxRejects::Percent(p) => {
                lines >= JUDGED_FROM_LINES && rejected as f64 * 100.0 > p * lines as f64
            }
        }
    }
}

impl FromStr for MaxRejects {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("expected a number of lines or a share like 10%, got {text:?}");
        match text.strip_suffix('%') {
            Some(p) => p
                .parse::<f64>()
                .ok()
                .filter(|p| (0.0..=100.0).contains(p))
                .map(MaxRejects::Percent)
                .ok_or_else(expected),
            None => text.parse().map(MaxRejects::Count).map_err(|_| expected()),
        }
    }
}

/// Where rejected lines go.
#[derive(Debug)]
pub(crate) struct Rejects(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    file: Option<(PathBuf, BufWriter<File>)>,
    count: u64,
    first: Option<String>,
    /// Keeps a second run off the file.
    _lock: Option<RunLock>,
    /// Of either list, where two are read.
    shapes: [Shapes; 2],
}

#[derive(Serialize)]
struct Reject<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "is_first")]
    object: u32,
    line: u64,
    byte: u64,
    reason: Reason,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// What is read of a line that an earlier run has written.
#[derive(Deserialize)]
struct Was {
    /// The source's number.
    #[serde(default)]
    object: u32,
    line: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_first(object: &u32) -> bool {
    *object == 0
}

fn lock(path: &Path) -> Result<Option<RunLock>> {
    RunLock::of_output(path, "the rejected lines", "give --rejects another file")
}

impl Rejects {
    /// Rejected lines go to the file at `path`, which is made or
    /// emptied now; without one, the first ten go to the log.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the file cannot be made.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self> {
        let lock = path.map(lock).transpose()?.flatten();
        let file = path
            .map(|path| {
                File::create(path)
                    .map(|f| (path.to_owned(), BufWriter::new(f)))
                    .map_err(|e| {
                        Error::usage(format!("cannot write rejected lines to {}", path.display()))
                            .because(e)
                    })
            })
            .transpose()?;
        Ok(Rejects(Mutex::new(Inner {
            file,
            count: 0,
            first: None,
            _lock: lock,
            shapes: Default::default(),
        })))
    }

    /// The same for a run that is taken up: of what is in the file, the lines stay
    /// of which `keep` is true, by the number of their source and their own; the rest
    /// will be rejected again.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the file cannot be read or written.
    pub(crate) fn take_up(path: &Path, keep: impl Fn(u32, u64) -> bool) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::usage(format!(
                "cannot take up the rejected lines in {}",
                path.display()
            ))
            .because(e)
            .hint("name another file by --rejects PATH")
        };
        let lock = lock(path)?;
        let mut kept = Vec::new();
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line.map_err(cannot)?;
                    // A line that was cut off when the run was killed is none.
                    let Ok(was) = serde_json::from_slice::<Was>(&line) else {
                        continue;
                    };
                    if keep(was.object, was.line) {
                        kept.extend_from_slice(&line);
                        kept.push(b'\n');
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(
                    "{} is not there: lines that were rejected before are in the books, but not in it",
                    path.display()
                );
            }
            Err(e) => return Err(cannot(e)),
        }
        let count = memchr::memchr_iter(b'\n', &kept).count() as u64;
        let file = crate::base::state_file::replace(path, &kept).map_err(cannot)?;
        Ok(Rejects(Mutex::new(Inner {
            file: Some((path.to_owned(), BufWriter::new(file))),
            count,
            first: None,
            _lock: lock,
            shapes: Default::default(),
        })))
    }

    /// Begins anew: what was rejected so far will be again.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when the file cannot be emptied.
    pub(crate) fn reset(&self) -> Result<()> {
        let mut inner = self.inner();
        (inner.count, inner.first) = (0, None);
        inner.shapes = Default::default();
        if let Some((path, file)) = &mut inner.file {
            let emptied = file
                .flush()
                .and_then(|()| file.get_ref().set_len(0))
                .and_then(|()| file.rewind());
            emptied.map_err(|e| cannot_write(path).because(e))?;
        }
        Ok(())
    }

    /// Rejected lines are counted, and neither kept nor shown: they
    /// were when these were read before.
    pub(crate) fn known() -> Self {
        Rejects(Mutex::new(Inner {
            file: None,
            count: SHOWN,
            first: None,
            _lock: None,
            shapes: Default::default(),
        }))
    }

    /// Takes a rejected line: its place, the source's name, why, its bytes as far as they are kept,
    /// and what DynamoDB said of it.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when the file cannot be written.
    pub(crate) fn add(
        &self,
        place: Place,
        source: &str,
        reason: Reason,
        text: &[u8],
        detail: Option<&str>,
    ) -> Result<()> {
        let mut inner = self.inner();
        let Inner {
            file,
            count,
            first,
            shapes,
            ..
        } = &mut *inner;
        *count += 1;
        let shapes = &mut shapes[usize::from(place.source >= LANE)];
        shapes.add(text, reason);
        let text = shown(text, TEXT_CHARACTERS);
        let said = || {
            let Place { line, byte, .. } = place;
            format!("{source}, line {line} (byte {byte}): {reason}: {text:?}")
        };
        shapes.begin_with(said);
        if first.is_none() {
            *first = Some(said());
        }
        match file {
            Some((path, file)) => {
                let reject = Reject {
                    source,
                    object: place.source % LANE,
                    line: place.line,
                    byte: place.byte,
                    reason,
                    text: &text,
                    detail,
                };
                let failed = |e: std::io::Error| cannot_write(path).because(e);
                serde_json::to_writer(&mut *file, &reject).map_err(|e| failed(e.into()))?;
                file.write_all(b"\n").map_err(failed)?;
            }
            None if *count <= SHOWN => {
                let text: String = text.chars().take(100).collect();
                tracing::warn!(
                    "rejected: {source}, line {} (byte {}): {reason}: {text:?}{}",
                    place.line,
                    place.byte,
                    detail.map(|d| format!(" ({d})")).unwrap_or_default()
                );
                if *count == SHOWN {
                    tracing::warn!(
                        "further rejected lines are counted, not shown: --rejects PATH keeps them all"
                    );
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The first rejected line, for messages.
    pub(crate) fn first(&self) -> Option<String> {
        self.inner().first.clone()
    }

    /// What the rejected lines of the first list look like, or of the `second`.
    pub(crate) fn shapes(&self, second: bool) -> Shapes {
        self.inner().shapes[usize::from(second)].clone()
    }

    /// Writes out what is buffered, to the disk itself.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when the file cannot be written.
    pub(crate) fn sync(&self) -> Result<()> {
        self.finish()?;
        match &self.inner().file {
            Some((path, file)) => file
                .get_ref()
                .sync_data()
                .or_else(|e| match e.kind() {
                    // A pipe or a device has no disk.
                    std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported => Ok(()),
                    _ => Err(e),
                })
                .map_err(|e| cannot_write(path).because(e)),
            None => Ok(()),
        }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when the file cannot be written.
    pub(crate) fn finish(&self) -> Result<()> {
        match &mut self.inner().file {
            Some((path, file)) => file.flush().map_err(|e| cannot_write(path).because(e)),
            None => Ok(()),
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot_write(path: &Path) -> Error {
    Error::new(
        ErrorKind::Output,
        format!("cannot write rejected lines to {}", path.display()),
    )
    .hint("free some space or name another file (--rejects PATH), then run this again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_judged_from_a_thousand_lines_on_and_numbers_at_once() {
        let share: MaxRejects = "10%".parse().expect("a share");
        assert_eq!(share, MaxRejects::default());
        assert!(!share.exceeded(999, 999));
        assert!(!share.exceeded(100, 1000));
        assert!(share.exceeded(101, 1000));
        let number: MaxRejects = "3".parse().expect("a number");
        assert!(!number.exceeded(3, 3));
        assert!(number.exceeded(4, 4));
        for bad in ["", "-1", "x", "%", "101%", "-1%", "NaN%"] {
            assert!(bad.parse::<MaxRejects>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rejected_lines_are_json_lines_with_their_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rejects");
        let rejects = Rejects::new(Some(&path)).expect("made");
        let place = Place {
            source: 0,
            line: 7,
            byte: 420,
        };
        rejects
            .add(place, "s3://b/k", Reason::Nul, b"a\0\"b\r", None)
            .expect("written");
        rejects.finish().expect("written");
        let text = std::fs::read_to_string(path).expect("readable");
        assert_eq!(
            text,
            "{\"source\":\"s3://b/k\",\"line\":7,\"byte\":420,\"reason\":\"nul\",\"text\":\"a\u{FFFD}\\\"b\"}\n"
        );
        assert!(
            rejects
                .first()
                .is_some_and(|f| f.contains("line 7 (byte 420)"))
        );
    }
}
