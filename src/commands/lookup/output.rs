//! Output of the answers: a pipe, or a file that a later run resumes.
//!
//! The output writes many whole lines at once. Only a kill, a full disk or a closed pipe can
//! truncate a line. [`resume`] reads the answers of an earlier run and removes a truncated
//! last line.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::run_lock::RunLock;
use crate::base::shutdown::Stop;
use crate::commands::lookup::answers::ReorderBuffer;
use crate::commands::lookup::counts::{AnswerCounts, LookupCounters};
use crate::commands::lookup::query::Query;
use crate::commands::lookup::status::Status;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Target size of a write in bytes. A line can be longer.
const WRITE_BYTES: usize = 128 * 1024;

/// Maximum length of an answer in bytes. An item of 400 KB has at most six times as many bytes
/// in JSON, and the answer has the line of the input, too.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// Reason why writing ends early.
#[derive(Debug)]
pub(super) enum StopReason {
    /// A stop was forced.
    Stopped,
    /// The reader closed the pipe.
    OutputClosed,
    Failed(Error),
}

/// Writer of the answers.
#[derive(Debug)]
pub(super) struct Output<'a, W> {
    writer: W,
    bytes: Vec<u8>,
    /// Counts of the answers in `bytes`.
    counts: AnswerCounts,
    /// True after a failed write: nothing more is written or counted.
    failed: bool,
    stop: &'a Stop,
}

impl<'a, W: AsyncWrite + Unpin> Output<'a, W> {
    /// An empty output to `writer`.
    pub(super) fn new(writer: W, stop: &'a Stop) -> Self {
        Output {
            writer,
            bytes: Vec::new(),
            counts: AnswerCounts::default(),
            failed: false,
            stop,
        }
    }

    /// Takes answers that are ready from `buffer`.
    pub(super) fn fill(&mut self, buffer: &mut ReorderBuffer) {
        if !self.failed {
            buffer.write_ready(&mut self.bytes, WRITE_BYTES, &mut self.counts);
        }
    }

    /// True if there is no answer to write or count.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.counts == AnswerCounts::default()
    }

    /// Writes the answers and counts them.
    ///
    /// # Errors
    /// If the write fails, or if a stop is forced before it succeeds.
    pub(super) async fn write(&mut self, counters: &LookupCounters) -> Result<(), StopReason> {
        let written = self.write_bytes().await;
        let counts = std::mem::take(&mut self.counts);
        match &written {
            Ok(()) => counters.update(|c| c.add_answers(counts)),
            Err(_) => {
                self.failed = true;
                self.bytes.clear();
            }
        }
        written
    }

    async fn write_bytes(&mut self) -> Result<(), StopReason> {
        if !self.bytes.is_empty() {
            let write = async {
                self.writer.write_all(&self.bytes).await?;
                self.writer.flush().await
            };
            let written = tokio::select! {
                biased;
                written = write => written,
                () = self.stop.forced() => return Err(StopReason::Stopped),
            };
            self.bytes.clear();
            self.bytes.shrink_to(WRITE_BYTES * 2);
            written.map_err(|e| match e.kind() {
                io::ErrorKind::BrokenPipe => StopReason::OutputClosed,
                _ => StopReason::Failed(
                    Error::new(ErrorKind::Output, "cannot write the answers")
                        .with_source(e)
                        .with_hint("give --output FILE on a disk with free space; a later run with --resume resumes that file"),
                ),
            })?;
        }
        Ok(())
    }
}

/// Action if the file for the answers exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IfExists {
    /// Fail with an error.
    #[default]
    Fail,
    /// Resume after its last answer.
    Resume,
    /// Overwrite it.
    Overwrite,
}

/// An open file for answers.
#[derive(Debug)]
pub(super) struct OpenOutput {
    pub(super) file: File,
    /// Number of answers in it.
    pub(super) lines: u64,
    /// Their counts by status.
    pub(super) counts: AnswerCounts,
    /// The answers in it, to compare with the list. `None` if there are none.
    pub(super) previous: Option<PreviousAnswers>,
}

/// Reader of the answers of an earlier run.
#[derive(Debug)]
pub(super) struct PreviousAnswers {
    reader: BufReader<File>,
    line: Vec<u8>,
    name: String,
}

impl PreviousAnswers {
    fn open(path: &Path) -> io::Result<PreviousAnswers> {
        Ok(PreviousAnswers {
            reader: BufReader::with_capacity(WRITE_BYTES, File::open(path)?),
            line: Vec::new(),
            name: path.display().to_string(),
        })
    }

    /// True if the next answer matches `query`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn next_answers(&mut self, query: &Query) -> Result<bool> {
        self.line.clear();
        let read = (&mut self.reader)
            .take(MAX_ANSWER_BYTES)
            .read_until(b'\n', &mut self.line);
        read.map_err(|e| {
            let problem = format!("cannot read {} to resume after it", self.name);
            Error::new(ErrorKind::Output, problem).with_source(e)
        })?;
        Ok(query.is_answered_by(&self.line))
    }
}

/// The fields of an answer that count when a run resumes.
#[derive(Deserialize)]
struct WrittenAnswer<'a> {
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
/// [`ErrorKind::Usage`] if another run has it, or if the lock file cannot be created.
pub(super) fn lock(path: &Path) -> Result<Option<RunLock>> {
    RunLock::for_output(path, "the answers", "give --output another file")
}

/// Opens the file at `path` for answers.
///
/// # Errors
/// [`ErrorKind::Usage`] if the file exists and must not, if it has anything but answers, or if
/// it cannot be written.
pub(super) fn open(path: &Path, existing: IfExists) -> Result<OpenOutput> {
    let cannot = |e: io::Error| {
        Error::usage(format!("cannot write the answers to {}", path.display()))
            .with_source(e)
            .with_hint("give a path in a folder that exists and is writable")
    };
    let mut options = OpenOptions::new();
    options.write(true);
    match existing {
        IfExists::Fail => options.create_new(true),
        IfExists::Overwrite => options.create(true).truncate(true),
        IfExists::Resume => options.create(true).truncate(false).read(true),
    };
    let file = options.open(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => exists_error(path),
        _ => cannot(e),
    })?;
    match existing {
        IfExists::Resume => resume(file, path),
        _ => Ok(OpenOutput {
            file,
            lines: 0,
            counts: AnswerCounts::default(),
            previous: None,
        }),
    }
}

pub(super) fn exists_error(path: &Path) -> Error {
    Error::usage(format!("{} exists already", path.display()))
        .with_hint("give --resume to resume after its last answer, or --overwrite to begin again")
}

/// Reads the answers of an earlier run, and removes a truncated last line.
fn resume(file: File, path: &Path) -> Result<OpenOutput> {
    let name = path.display();
    let cannot = |e: io::Error| {
        Error::usage(format!(
            "cannot read {name} to resume after its last answer"
        ))
        .with_source(e)
    };
    let not_an_answer = |line: u64, reason: &str| {
        Error::usage(format!(
            "line {line} of {name} is not an answer of a look-up: {reason}"
        ))
        .with_hint("give --resume with a file that lookup --output has written")
    };
    let mut reader = BufReader::with_capacity(WRITE_BYTES, file);
    let (mut lines, mut whole_bytes, mut counts) = (0, 0u64, AnswerCounts::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = (&mut reader)
            .take(MAX_ANSWER_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(cannot)?;
        if line.last() != Some(&b'\n') {
            if n as u64 == MAX_ANSWER_BYTES {
                return Err(not_an_answer(lines + 1, "it is too long"));
            }
            // The last line is missing or truncated. Even so it must begin like an answer.
            if n > 0 && !b"{\"input\":".starts_with(&line[..n.min(9)]) {
                return Err(not_an_answer(lines + 1, "it does not begin like one"));
            }
            break;
        }
        lines += 1;
        let answer: WrittenAnswer<'_> =
            serde_json::from_slice(&line).map_err(|e| not_an_answer(lines, &e.to_string()))?;
        counts.count(answer.status);
        let is_blank = |r: &str| matches!(r, "empty" | "comment" | "header");
        counts.blank += u64::from(
            answer.status == Status::Invalid && answer.reason.as_deref().is_some_and(is_blank),
        );
        whole_bytes += n as u64;
    }
    let mut file = reader.into_inner();
    let truncated = file
        .set_len(whole_bytes)
        .and_then(|()| file.seek(SeekFrom::Start(whole_bytes)));
    truncated.map_err(cannot)?;
    let previous = match lines {
        0 => None,
        _ => Some(PreviousAnswers::open(path).map_err(cannot)?),
    };
    Ok(OpenOutput {
        file,
        lines,
        counts,
        previous,
    })
}

/// True if both paths exist and lead to the same file.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    let absolute = |p: &Path| -> Option<PathBuf> { std::fs::canonicalize(p).ok() };
    absolute(a).is_some_and(|a| Some(a) == absolute(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 3] = [
        "{\"input\":\"a\\n\",\"hash\":\"AB\",\"status\":\"known\",\"input.x\":1}\n",
        "{\"input\":\"#\",\"hash\":null,\"status\":\"invalid\",\"reason\":\"comment\"}\n",
        "{\"input\":\"é\",\"hash\":\"CD\",\"status\":\"unknown\"}\n",
    ];

    fn resumed(bytes: &[u8]) -> (Result<OpenOutput>, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        std::fs::write(&path, bytes).expect("written");
        let answers = open(&path, IfExists::Resume);
        (answers, std::fs::read(&path).expect("there"))
    }

    #[test]
    fn resume_keeps_whole_answers_of_a_truncated_file() {
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
            assert_eq!(answers.previous.is_some(), whole > 0);
        }
        let (answers, _) = resumed(all.as_bytes());
        let counts = answers.expect("answers").counts;
        assert_eq!(
            (counts.known, counts.unknown, counts.invalid, counts.blank),
            (1, 1, 1, 1)
        );
    }

    #[test]
    fn resume_does_not_change_a_file_without_answers() {
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
    fn an_existing_file_is_overwritten_only_on_request() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("answers");
        open(&path, IfExists::Fail).expect("new");
        let e = open(&path, IfExists::Fail).expect_err("there");
        assert_eq!(e.exit_status(), 2);
        std::fs::write(&path, "x").expect("written");
        open(&path, IfExists::Overwrite).expect("overwritten");
        assert_eq!(std::fs::read(&path).expect("there"), b"");
        assert!(is_same_file(&path, &dir.path().join("./answers")));
        assert!(!is_same_file(&path, &dir.path().join("other")));
    }
}
