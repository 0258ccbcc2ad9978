//! Input of a look-up: lists in, queries out, from the line after the previous answers.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::printable::printable_bytes;
use crate::base::record::RejectReason;
use crate::base::shutdown::Stop;
use crate::commands::lookup::counts::LookupCounters;
use crate::commands::lookup::output::PreviousAnswers;
use crate::commands::lookup::query::{Query, QueryParser};
use crate::list::detect::PEEK_BYTES;
use crate::list::format::first_hash;
use crate::list::lines::{Framer, Line};
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::list::shape::Shapes;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::decompress::output::Chunk;
use crate::source::sources::Sources;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// Text of one batch of queries, in bytes. Most lines are shorter, so a batch has many.
const PART_BYTES: usize = 16 * 1024;

/// The lists of the input, one after another.
#[derive(Debug)]
pub(super) struct Input {
    objects: Objects,
    aws: Aws,
    unpack: DecompressOptions,
    current: Option<OpenList>,
    /// Chunks that were read before the first query; the queries begin with them.
    peeked: VecDeque<Chunk>,
    at_end: bool,
}

impl Input {
    /// Opens the first list of `sources`.
    ///
    /// # Errors
    /// If there is none, or if it cannot be read.
    pub(super) async fn open(
        sources: &Sources,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<Input> {
        let mut input = Input {
            objects: Objects::new(sources, aws),
            aws: aws.clone(),
            unpack: unpack.clone(),
            current: None,
            peeked: VecDeque::new(),
            at_end: false,
        };
        input.open_next().await?;
        if input.current.is_none() {
            return Err(Error::usage(
                "there is nothing to read: the input names no object",
            ));
        }
        Ok(input)
    }

    async fn open_next(&mut self) -> Result<()> {
        self.current = match self.objects.next().await? {
            Some(object) => {
                Some(OpenList::open_text(&object.location, &self.aws, &self.unpack).await?)
            }
            None => None,
        };
        Ok(())
    }

    /// Name of the current list.
    fn name(&self) -> String {
        self.current
            .as_ref()
            .map_or_else(String::new, OpenList::name)
    }

    /// Compressed length of the current list in bytes. `None` if it is unknown.
    pub(super) fn length(&self) -> Option<u64> {
        self.current.as_ref().and_then(OpenList::length)
    }

    /// The algorithm of the list, from the length of its first hash. SHA-256 if the list is
    /// empty.
    ///
    /// # Errors
    /// If the first bytes of the list have no hash.
    pub(super) async fn algorithm(&mut self) -> Result<Algorithm> {
        let mut head = Vec::new();
        loop {
            let first = first_hash::first_hash(&head, self.at_end).map(|(algorithm, _)| algorithm);
            if let Some(algorithm) =
                first.or_else(|| first_hash::sums_algorithm(&head, self.at_end))
            {
                tracing::info!(
                    "detected {algorithm}, from the length of the first hash (give --hash to change it)"
                );
                return Ok(algorithm);
            }
            if self.at_end || head.len() >= PEEK_BYTES {
                break;
            }
            let Some(opened) = &mut self.current else {
                break;
            };
            match opened.next().await? {
                Some(chunk) => {
                    head.extend_from_slice(&chunk.bytes);
                    self.peeked.push_back(chunk);
                }
                None => self.at_end = true,
            }
        }
        if head.is_empty() {
            return Ok(Algorithm::Sha256);
        }
        let problem = format!("the first lines of {} have no hash", self.name());
        Err(Error::usage(problem).with_hint(
            "give the algorithm with --hash, such as --hash sha256, or --paths for a list of paths",
        ))
    }

    /// True if all lists are empty. Waits for the first byte.
    ///
    /// # Errors
    /// If a list cannot be read.
    pub(super) async fn is_empty(&mut self) -> Result<bool> {
        while self.peeked.is_empty() {
            let Some(opened) = &mut self.current else {
                return Ok(true);
            };
            match opened.next().await? {
                Some(chunk) if !self.at_end => self.peeked.push_back(chunk),
                _ => {
                    self.open_next().await?;
                    self.at_end = false;
                }
            }
        }
        Ok(false)
    }

    /// The next chunk of the current list. `None` at its end.
    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        match (self.peeked.pop_front(), &mut self.current) {
            (Some(chunk), _) => Ok(Some(chunk)),
            (None, Some(opened)) if !self.at_end => opened.next().await,
            _ => Ok(None),
        }
    }
}

/// The answers of an earlier run, after which this one resumes.
#[derive(Debug, Default)]
pub(super) struct ResumePoint {
    /// Number of answered lines.
    pub(super) lines: u64,
    /// The answers, to compare with the lines. `None` if there are none.
    pub(super) previous: Option<PreviousAnswers>,
    /// Name of the file with the answers, for messages.
    pub(super) output_name: String,
}

/// Reads all lines and sends their queries to the requester.
pub(super) struct InputReader<'a> {
    /// Shapes of lines without a hash.
    pub(super) shapes: &'a Mutex<Shapes>,
    pub(super) parser: QueryParser,
    pub(super) resume: ResumePoint,
    pub(super) counters: &'a LookupCounters,
    pub(super) stop: &'a Stop,
    pub(super) send: mpsc::Sender<Vec<Query>>,
}

impl InputReader<'_> {
    /// Reads `input`. Returns true if it came to the end.
    ///
    /// # Errors
    /// If the input cannot be read, or differs from the list that an earlier run answered.
    pub(super) async fn run(mut self, mut input: Input) -> Result<bool> {
        let stop = self.stop;
        let mut skipped = 0;
        loop {
            let mut framer = Framer::new();
            let name = input.name();
            loop {
                let chunk = tokio::select! {
                    biased;
                    () = stop.requested() => return Ok(false),
                    // The requester has ended: do not wait for a slow writer of the list.
                    () = self.send.closed() => return Ok(false),
                    chunk = input.next_chunk() => chunk?,
                };
                let Some(chunk) = chunk else { break };
                let mut compressed_bytes = chunk.compressed_bytes;
                let mut rest = chunk.bytes;
                while !rest.is_empty() {
                    let part = rest.split_to(rest.len().min(PART_BYTES));
                    let mut queries = Vec::new();
                    let mut lines = framer.push(&part);
                    while let Some(line) = lines.next() {
                        self.read_line(&line, &name, &mut skipped, &mut queries)?;
                    }
                    // The bytes of a chunk count with its last part.
                    let bytes = if rest.is_empty() {
                        std::mem::take(&mut compressed_bytes)
                    } else {
                        0
                    };
                    if !self.send_queries(queries, bytes).await {
                        return Ok(false);
                    }
                }
            }
            let mut queries = Vec::new();
            if let Some(line) = framer.finish() {
                self.read_line(&line, &name, &mut skipped, &mut queries)?;
            }
            if !self.send_queries(queries, 0).await {
                return Ok(false);
            }
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(false),
                () = self.send.closed() => return Ok(false),
                next = input.open_next() => next?,
            }
            input.at_end = false;
            if input.current.is_none() {
                break;
            }
        }
        if skipped < self.resume.lines {
            return Err(self.other_list_error(&format!("this list has {skipped} lines")));
        }
        Ok(true)
    }

    /// Adds the query of a line to `queries`, or skips the line if it has an answer.
    fn read_line(
        &mut self,
        line: &Line<'_>,
        name: &str,
        skipped: &mut u64,
        queries: &mut Vec<Query>,
    ) -> Result<()> {
        let query = self.parser.parse(line, name)?;
        if query.hash.as_ref().is_err_and(|invalid| !invalid.is_blank) {
            let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
            shapes.add(line.bytes, RejectReason::Length);
            let text = || printable_bytes(line.bytes, 100);
            shapes.set_first(|| format!("{name}, line {}: {:?}", line.number, text()));
        }
        if *skipped >= self.resume.lines {
            queries.push(query);
            return Ok(());
        }
        *skipped += 1;
        let is_same = match &mut self.resume.previous {
            Some(answers) => answers.next_answers(&query)?,
            None => true,
        };
        match is_same {
            true => Ok(()),
            false => Err(self.other_list_error(&format!(
                "its line {skipped} does not answer line {skipped} of the input"
            ))),
        }
    }

    fn other_list_error(&self, reason: &str) -> Error {
        let ResumePoint {
            lines,
            output_name: name,
            ..
        } = &self.resume;
        Error::usage(format!(
            "{name} has the answers to {lines} lines of another list: {reason}"
        ))
        .with_hint("give the list and the flags of the first run, without --only and --unordered; or give --overwrite to begin again")
    }

    /// Sends queries to the requester. Returns false if it has ended.
    async fn send_queries(&self, queries: Vec<Query>, bytes: u64) -> bool {
        let lines = queries.len() as u64;
        self.counters.update(|c| {
            c.line_counts.lines += lines;
            c.bytes_read += bytes;
        });
        queries.is_empty() || self.send.send(queries).await.is_ok()
    }
}
