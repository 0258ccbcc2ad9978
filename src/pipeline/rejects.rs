//! Rejected lines: written to a file, or the first ten to the log.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::printable::printable_bytes;
use crate::base::record::{Position, RejectReason, SECOND_LIST_START};
use crate::base::run_lock::RunLock;
use crate::list::shape::Shapes;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Maximum number of rejected lines in the log if there is no file for them.
const MAX_LOGGED: u64 = 10;

/// Maximum length of a rejected line in the file, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// Minimum number of lines before a percentage limit applies.
pub(crate) const MIN_LINES_FOR_PERCENT: u64 = 1000;

/// Maximum of rejected lines before a run stops. Default: 10 percent.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MaxRejects {
    /// This number of lines.
    Count(u64),
    /// This percentage of all lines, 0 to 100; applies from 1,000 lines on.
    Percent(f64),
}

impl Default for MaxRejects {
    fn default() -> Self {
        MaxRejects::Percent(10.0)
    }
}

impl MaxRejects {
    /// True if `rejected` of `lines` lines exceed the limit.
    pub fn is_exceeded(self, rejected: u64, lines: u64) -> bool {
        match self {
            MaxRejects::Count(n) => rejected > n,
            MaxRejects::Percent(p) => {
                lines >= MIN_LINES_FOR_PERCENT && rejected as f64 * 100.0 > p * lines as f64
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

/// Destination of rejected lines: a file or the log.
#[derive(Debug)]
pub(crate) struct Rejects(Mutex<State>);

#[derive(Debug)]
struct State {
    file: Option<(PathBuf, BufWriter<File>)>,
    count: u64,
    first: Option<String>,
    /// Lock that protects the file from a second run.
    _lock: Option<RunLock>,
    /// Shapes of the rejected lines of the first and the second list.
    shapes: [Shapes; 2],
}

#[derive(Serialize)]
struct RejectedLine<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "is_first")]
    object: u32,
    line: u64,
    byte: u64,
    reason: RejectReason,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

/// Fields needed of a line that an earlier run wrote to the file.
#[derive(Deserialize)]
struct SavedReject {
    /// Number of the source.
    #[serde(default)]
    object: u32,
    line: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_first(object: &u32) -> bool {
    *object == 0
}

fn lock_file(path: &Path) -> Result<Option<RunLock>> {
    RunLock::for_output(path, "the rejected lines", "give --rejects another file")
}

impl Rejects {
    /// Creates or empties the file at `path`. Without a path, the first ten lines go to
    /// the log.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the file cannot be created or is locked.
    pub(crate) fn new(path: Option<&Path>) -> Result<Self> {
        let lock = path.map(lock_file).transpose()?.flatten();
        let file = path
            .map(|path| {
                File::create(path)
                    .map(|f| (path.to_owned(), BufWriter::new(f)))
                    .map_err(|e| {
                        Error::usage(format!("cannot write rejected lines to {}", path.display()))
                            .with_source(e)
                    })
            })
            .transpose()?;
        Ok(Rejects(Mutex::new(State {
            file,
            count: 0,
            first: None,
            _lock: lock,
            shapes: Default::default(),
        })))
    }

    /// Opens the file at `path` for a resumed run. Lines stay if `keep` is true for their
    /// source number and line number. The run reads the other lines again.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if the file cannot be read, written or locked.
    pub(crate) fn resume(path: &Path, keep: impl Fn(u32, u64) -> bool) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::usage(format!(
                "cannot resume the file of rejected lines {}",
                path.display()
            ))
            .with_source(e)
            .with_hint("give another file by --rejects PATH")
        };
        let lock = lock_file(path)?;
        let mut kept = Vec::new();
        match File::open(path) {
            Ok(file) => {
                for line in BufReader::new(file).split(b'\n') {
                    let line = line.map_err(cannot)?;
                    // The last line is truncated if the earlier run was killed.
                    let Ok(saved) = serde_json::from_slice::<SavedReject>(&line) else {
                        continue;
                    };
                    if keep(saved.object, saved.line) {
                        kept.extend_from_slice(&line);
                        kept.push(b'\n');
                    }
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(
                    "{} does not exist: lines that the earlier run rejected are counted, but will be missing in it",
                    path.display()
                );
            }
            Err(e) => return Err(cannot(e)),
        }
        let count = memchr::memchr_iter(b'\n', &kept).count() as u64;
        let file = crate::base::state_file::replace(path, &kept).map_err(cannot)?;
        Ok(Rejects(Mutex::new(State {
            file: Some((path.to_owned(), BufWriter::new(file))),
            count,
            first: None,
            _lock: lock,
            shapes: Default::default(),
        })))
    }

    /// Forgets all rejected lines, because the lists are read again from the start.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if the file cannot be emptied.
    pub(crate) fn reset(&self) -> Result<()> {
        let mut inner = self.state();
        (inner.count, inner.first) = (0, None);
        inner.shapes = Default::default();
        if let Some((path, file)) = &mut inner.file {
            let emptied = file
                .flush()
                .and_then(|()| file.get_ref().set_len(0))
                .and_then(|()| file.rewind());
            emptied.map_err(|e| cannot_write(path).with_source(e))?;
        }
        Ok(())
    }

    /// Counts rejected lines without writing or logging them, for a second read of the
    /// same lists.
    pub(crate) fn counted_only() -> Self {
        Rejects(Mutex::new(State {
            file: None,
            count: MAX_LOGGED,
            first: None,
            _lock: None,
            shapes: Default::default(),
        }))
    }

    /// Adds a rejected line: its position, the name of its source, the reason, its bytes,
    /// and the error of DynamoDB if there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if the file cannot be written.
    pub(crate) fn add(
        &self,
        place: Position,
        source: &str,
        reason: RejectReason,
        text: &[u8],
        detail: Option<&str>,
    ) -> Result<()> {
        let mut inner = self.state();
        let State {
            file,
            count,
            first,
            shapes,
            ..
        } = &mut *inner;
        *count += 1;
        let shapes = &mut shapes[usize::from(place.source >= SECOND_LIST_START)];
        shapes.add(text, reason);
        let text = printable_bytes(text, MAX_TEXT_CHARS);
        let message = || {
            let Position { line, byte, .. } = place;
            format!("{source}, line {line} (byte {byte}): {reason}: {text:?}")
        };
        shapes.set_first(message);
        if first.is_none() {
            *first = Some(message());
        }
        match file {
            Some((path, file)) => {
                let reject = RejectedLine {
                    source,
                    object: place.source % SECOND_LIST_START,
                    line: place.line,
                    byte: place.byte,
                    reason,
                    text: &text,
                    detail,
                };
                let failed = |e: std::io::Error| cannot_write(path).with_source(e);
                serde_json::to_writer(&mut *file, &reject).map_err(|e| failed(e.into()))?;
                file.write_all(b"\n").map_err(failed)?;
            }
            None if *count <= MAX_LOGGED => {
                let text: String = text.chars().take(100).collect();
                tracing::warn!(
                    "rejected: {source}, line {} (byte {}): {reason}: {text:?}{}",
                    place.line,
                    place.byte,
                    detail.map(|d| format!(" ({d})")).unwrap_or_default()
                );
                if *count == MAX_LOGGED {
                    tracing::warn!(
                        "further rejected lines are counted but not logged: --rejects PATH keeps them all"
                    );
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The first rejected line, for messages; `None` if there is none.
    pub(crate) fn first(&self) -> Option<String> {
        self.state().first.clone()
    }

    /// Shapes of the rejected lines of the first list, or of the `second`.
    pub(crate) fn shapes(&self, second: bool) -> Shapes {
        self.state().shapes[usize::from(second)].clone()
    }

    /// Flushes the buffer and syncs the file to disk.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if the file cannot be written.
    pub(crate) fn sync(&self) -> Result<()> {
        self.flush()?;
        match &self.state().file {
            Some((path, file)) => file
                .get_ref()
                .sync_data()
                .or_else(|e| match e.kind() {
                    // A pipe or a device cannot be synced.
                    std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported => Ok(()),
                    _ => Err(e),
                })
                .map_err(|e| cannot_write(path).with_source(e)),
            None => Ok(()),
        }
    }

    /// Flushes the buffer to the file.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if the file cannot be written.
    pub(crate) fn flush(&self) -> Result<()> {
        match &mut self.state().file {
            Some((path, file)) => file.flush().map_err(|e| cannot_write(path).with_source(e)),
            None => Ok(()),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cannot_write(path: &Path) -> Error {
    Error::new(
        ErrorKind::Output,
        format!("cannot write rejected lines to {}", path.display()),
    )
    .with_hint("free some space or give another file by --rejects PATH, then run this again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_applies_from_a_thousand_lines_on_and_a_number_at_once() {
        let share: MaxRejects = "10%".parse().expect("a share");
        assert_eq!(share, MaxRejects::default());
        assert!(!share.is_exceeded(999, 999));
        assert!(!share.is_exceeded(100, 1000));
        assert!(share.is_exceeded(101, 1000));
        let number: MaxRejects = "3".parse().expect("a number");
        assert!(!number.is_exceeded(3, 3));
        assert!(number.is_exceeded(4, 4));
        for bad in ["", "-1", "x", "%", "101%", "-1%", "NaN%"] {
            assert!(bad.parse::<MaxRejects>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rejected_lines_are_json_lines_with_their_position() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rejects");
        let rejects = Rejects::new(Some(&path)).expect("made");
        let place = Position {
            source: 0,
            line: 7,
            byte: 420,
        };
        rejects
            .add(place, "s3://b/k", RejectReason::Nul, b"a\0\"b\r", None)
            .expect("written");
        rejects.flush().expect("written");
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
