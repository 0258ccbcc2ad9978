//! Where the answers go: a pipe, or a file that a later run can go on with.
//!
//! Whole lines are put together and written at once; only a kill, a full disk, or
//! whoever reads, can tear one. [`taken_up`] reads what an earlier run has written,
//! takes away a line that was torn, and says what is behind.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::run_lock::RunLock;
use crate::base::shutdown::Stop;
use crate::commands::lookup::answers::Desk;
use crate::commands::lookup::counts::{LookupMeters, Tally};
use crate::commands::lookup::query::Question;
use crate::commands::lookup::status::Status;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// How much is put together before it is written, in bytes. A line can be longer.
const WRITE_BYTES: usize = 128 * 1024;

/// The longest answer that is taken for one, in bytes: an item of 400 KB has at most six
/// times as many in JSON, and a line of the input besides.
const MOST_OF_ANSWER: u64 = 8 << 20;

/// Why it ends early.
#[derive(Debug)]
pub(super) enum Halt {
    /// It was told twice to stop.
    Stopped,
    /// Nobody reads the output any more.
    Enough,
    Failed(Error),
}

/// Answers on their way out.
#[derive(Debug)]
pub(super) struct Output<'a, W> {
    to: W,
    bytes: Vec<u8>,
    /// What of the books is in `bytes`.
    tally: Tally,
    /// A write failed: nothing more is written, nor counted.
    broken: bool,
    stop: &'a Stop,
}

impl<'a, W: AsyncWrite + Unpin> Output<'a, W> {
    /// Nothing is put together yet.
    pub(super) fn new(to: W, stop: &'a Stop) -> Self {
        Output {
            to,
            bytes: Vec::new(),
            tally: Tally::default(),
            broken: false,
            stop,
        }
    }

    /// Puts together what can be written.
    pub(super) fn fill(&mut self, desk: &mut Desk) {
        if !self.broken {
            desk.write(&mut self.bytes, WRITE_BYTES, &mut self.tally);
        }
    }

    /// Whether nothing is put together. What is only counted is something.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.tally == Tally::default()
    }

    /// Writes what is put together and enters it in the books.
    ///
    /// # Errors
    /// When it cannot be written, or not before a second request to stop.
    pub(super) async fn write(&mut self, meters: &LookupMeters) -> Result<(), Halt> {
        let written = self.write_bytes().await;
        let tally = std::mem::take(&mut self.tally);
        match &written {
            Ok(()) => meters.update(|c| c.enter(tally)),
            Err(_) => {
                self.broken = true;
                self.bytes.clear();
            }
        }
        written
    }

    async fn write_bytes(&mut self) -> Result<(), Halt> {
        if !self.bytes.is_empty() {
            let write = async {
                self.to.write_all(&self.bytes).await?;
                self.to.flush().await
            };
            let written = tokio::select! {
                biased;
                written = write => written,
                () = self.stop.insisted() => return Err(Halt::Stopped),
            };
            self.bytes.clear();
            self.bytes.shrink_to(WRITE_BYTES * 2);
            written.map_err(|e| match e.kind() {
                io::ErrorKind::BrokenPipe => Halt::Enough,
                _ => Halt::Failed(
                    Error::new(ErrorKind::Output, "cannot write the answers")
                        .because(e)
                        .hint("send them to where there is room: --output FILE, which --resume goes on with"),
                ),
            })?;
        }
        Ok(())
    }
}

/// What to do when the file for the answers is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Existing {
    /// Nothing: that is an error.
    #[default]
    Refuse,
    /// Go on after its last answer.
    Resume,
    /// Write it anew.
    Overwrite,
}

/// A file for answers.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) file: File,
    /// The lines of the input that are answered in it, and how.
    pub(super) lines: u64,
    pub(super) tally: Tally,
    /// The answers in it once more, where there are some.
    pub(super) past: Option<Past>,
}

/// The answers of an earlier run, one after another.
#[derive(Debug)]
pub(super) struct Past {
    reader: BufReader<File>,
    line: Vec<u8>,
    place: String,
}

impl Past {
    fn open(path: &Path) -> io::Result<Past> {
        Ok(Past {
            reader: BufReader::with_capacity(WRITE_BYTES, File::open(path)?),
            line: Vec::new(),
            place: path.display().to_string(),
        })
    }

    /// Whether the next answer is one to `question`.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub(super) fn next_is_of(&mut self, question: &Question) -> Result<bool> {
        self.line.clear();
        let read = (&mut self.reader)
            .take(MOST_OF_ANSWER)
            .read_until(b'\n', &mut self.line);
        read.map_err(|e| {
            let what = format!("cannot read {} once more, to go on after it", self.place);
            Error::new(ErrorKind::Output, what).because(e)
        })?;
        Ok(question.is_answered_by(&self.line))
    }
}

/// What of an answer counts when a run is taken up.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "input")]
    _input: Cow<'a, str>,
    status: Status,
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

/// Takes the lock of the file at `path`, so that one run at a time writes to it. `None`
/// if it is a device or a pipe.
///
/// # Errors
/// [`ErrorKind::Usage`] if another run has it, or the lock file beside it cannot be made.
pub(super) fn lock(path: &Path) -> Result<Option<RunLock>> {
    RunLock::of_output(path, "the answers", "give --output another file")
}

/// Opens the file at `path` for answers.
///
/// # Errors
/// [`ErrorKind::Usage`] when it is there and must not be, or holds something else than
/// answers; or when it cannot be written to.
pub(super) fn open(path: &Path, existing: Existing) -> Result<Answers> {
    let cannot = |e: io::Error| {
        Error::usage(format!("cannot write the answers to {}", path.display()))
            .because(e)
            .hint("name a path in a folder that exists and can be written to")
    };
    let mut options = OpenOptions::new();
    options.write(true);
    match existing {
        Existing::Refuse => options.create_new(true),
        Existing::Overwrite => options.create(true).truncate(true),
        Existing::Resume => options.create(true).truncate(false).read(true),
    };
    let file = options.open(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => cannot(e),
    })?;
    match existing {
        Existing::Resume => taken_up(file, path),
        _ => Ok(Answers {
            file,
            lines: 0,
            tally: Tally::default(),
            past: None,
        }),
    }
}

pub(super) fn already_there(path: &Path) -> Error {
    let what = format!(
        "{} is there already, and is not written over",
        path.display()
    );
    Error::usage(what).hint("--resume goes on after its last answer, --overwrite begins anew")
}

/// Reads what an earlier run has answered, and takes away a last line that was torn.
fn taken_up(file: File, path: &Path) -> Result<Answers> {
    let name = path.display();
    let cannot = |e: io::Error| {
        Error::usage(format!(
            "cannot read {name}, to go on after its last answer"
        ))
        .because(e)
    };
    let foreign = |line: u64, why: &str| {
        Error::usage(format!(
            "line {line} of {name} is no answer of a look-up: {why}"
        ))
        .hint("--resume goes on with a file that lookup --output has written; name another")
    };
    let mut reader = BufReader::with_capacity(WRITE_BYTES, file);
    let (mut lines, mut whole, mut tally) = (0, 0u64, Tally::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut reader)
            .take(MOST_OF_ANSWER)
            .read_until(b'\n', &mut line)
            .map_err(cannot)?;
        if line.last() != Some(&b'\n') {
            if n as u64 == MOST_OF_ANSWER {
                return Err(foreign(lines + 1, "it is too long"));
            }
            // Nothing, or torn. What is no answer at all was not written by us.
            if n > 0 && !b"{\"input\":".starts_with(&line[..n.min(9)]) {
                return Err(foreign(lines + 1, "it does not begin like one"));
            }
            break;
        }
        lines += 1;
        let answer: Answer<'_> =
            serde_json::from_slice(&line).map_err(|e| foreign(lines, &e.to_string()))?;
        tally.count(answer.status);
        let blank = |r: &str| matches!(r, "empty" | "comment" | "header");
        tally.blank += u64::from(
            answer.status == Status::Invalid && answer.reason.as_deref().is_some_and(blank),
        );
        whole += n as u64;
    }
    let mut file = reader.into_inner();
    let cut = file
        .set_len(whole)
        .and_then(|()| file.seek(SeekFrom::Start(whole)));
    cut.map_err(cannot)?;
    let past = match lines {
        0 => None,
        _ => Some(Past::open(path).map_err(cannot)?),
    };
    Ok(Answers {
        file,
        lines,
        tally,
        past,
    })
}

/// Whether both paths are of one file, as far as can be told.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    let whole = |p: &Path| -> Option<PathBuf> { std::fs::canonicalize(p).ok() };
    whole(a).is_some_and(|a| Some(a) == whole(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = [
        "{\"input\":\"a\\n\",\"hash\":\"AB\",\"status\":\"known\",\"input.x\":1}\n",
        "{\"input\":\"#\",\"hash\":null,\"status\":\"invalid\",\"reason\":\"comment\"}\n",
        "{\"input\":\"é\",\"hash\":\"CD\",\"status\":\"unknown\"}\n",
    ];

    fn resumed(bytes: &[u8]) -> (Result<Answers>, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        std::fs::write(&path, bytes).expect("written");
        let answers = open(&path, Existing::Resume);
        (answers, std::fs::read(&path).expect("there"))
    }

    #[test]
    fn wherever_it_was_torn_whole_answers_are_kept() {
        let all = LINES.concat();
        for cut in 0..=all.len() {
            let (answers, left) = resumed(&all.as_bytes()[..cut]);
            let answers = answers.expect("answers");
            let whole = all.as_bytes()[..cut]
                .iter()
                .filter(|b| **b == b'\n')
                .count();
            assert_eq!(answers.lines, whole as u64, "cut at {cut}");
            assert_eq!(left, LINES[..whole].concat().as_bytes());
            assert_eq!(answers.past.is_some(), whole > 0);
        }
        let (answers, _) = resumed(all.as_bytes());
        let tally = answers.expect("answers").tally;
        assert_eq!(
            (tally.known, tally.unknown, tally.invalid, tally.blank),
            (1, 1, 1, 1)
        );
    }

    #[test]
    fn what_is_no_file_of_answers_is_left_alone() {
        for other in ["a list\n", "{\"input\":\"x\"}\n", "no line", "{}\n", "\n"] {
            let (answers, left) = resumed(other.as_bytes());
            let e = answers.expect_err("no answers");
            assert_eq!(e.exit_status(), 2, "{e}");
            assert_eq!(left, other.as_bytes());
        }
        let long = format!("{{\"input\":\"{}", "x".repeat(9 << 20));
        assert!(resumed(long.as_bytes()).0.is_err());
    }

    #[test]
    fn a_file_that_is_there_is_not_written_over_unasked() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        open(&path, Existing::Refuse).expect("new");
        let e = open(&path, Existing::Refuse).expect_err("there");
        assert_eq!(e.exit_status(), 2);
        std::fs::write(&path, "x").expect("written");
        open(&path, Existing::Overwrite).expect("anew");
        assert_eq!(std::fs::read(&path).expect("there"), b"");
        assert!(is_same_file(&path, &dir.path().join("./answers")));
        assert!(!is_same_file(&path, &dir.path().join("other")));
    }
}
