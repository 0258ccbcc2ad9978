//! The input → questions, from the line on where an earlier run has stopped.

use crate::aws::config::Aws;
use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::printable::shown;
use crate::base::record::Reason;
use crate::base::shutdown::Stop;
use crate::commands::lookup::counts::LookupMeters;
use crate::commands::lookup::output::Past;
use crate::commands::lookup::query::{Question, Questions};
use crate::list::detect::PEEK_BYTES;
use crate::list::format::first_hash;
use crate::list::lines::{Framer, Line};
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::list::shape::Shapes;
use crate::source::decompress::codec::Unpack;
use crate::source::decompress::output::Chunk;
use crate::source::sources::Sources;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// How much text is taken apart before the questions in it are handed on, in bytes:
/// few lines are longer, and many of them make many answers.
const PART_BYTES: usize = 16 * 1024;

/// The input, one list after another.
#[derive(Debug)]
pub(super) struct Input {
    objects: Objects,
    aws: Aws,
    unpack: Unpack,
    now: Option<Opened>,
    /// What of it was looked at.
    peeked: VecDeque<Chunk>,
    ended: bool,
}

impl Input {
    /// Opens the first list of `sources`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(super) async fn open(sources: &Sources, aws: &Aws, unpack: &Unpack) -> Result<Input> {
        let mut input = Input {
            objects: Objects::new(sources, aws),
            aws: aws.clone(),
            unpack: unpack.clone(),
            now: None,
            peeked: VecDeque::new(),
            ended: false,
        };
        input.advance().await?;
        if input.now.is_none() {
            return Err(Error::usage(
                "there is nothing to read: the input names no object",
            ));
        }
        Ok(input)
    }

    async fn advance(&mut self) -> Result<()> {
        self.now = match self.objects.next().await? {
            Some(object) => {
                Some(Opened::open_text(&object.location, &self.aws, &self.unpack).await?)
            }
            None => None,
        };
        Ok(())
    }

    /// The name of the list that is read.
    fn name(&self) -> String {
        self.now.as_ref().map_or_else(String::new, Opened::name)
    }

    /// The length of the first list as it lies there, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.now.as_ref().and_then(Opened::length)
    }

    /// The algorithm that the first hash of the list shows by its length; of a list with
    /// nothing in it, the usual one.
    ///
    /// # Errors
    /// When its beginning shows none.
    pub(super) async fn algorithm(&mut self) -> Result<Algorithm> {
        let mut head = Vec::new();
        loop {
            let shown = first_hash::first_hash(&head, self.ended).map(|(algorithm, _)| algorithm);
            if let Some(algorithm) = shown.or_else(|| first_hash::sums_algorithm(&head, self.ended))
            {
                tracing::info!(
                    "taking the list for {algorithm}, by the length of its first hash (--hash says otherwise)"
                );
                return Ok(algorithm);
            }
            if self.ended || head.len() >= PEEK_BYTES {
                break;
            }
            let Some(opened) = &mut self.now else { break };
            match opened.next().await? {
                Some(chunk) => {
                    head.extend_from_slice(&chunk.bytes);
                    self.peeked.push_back(chunk);
                }
                None => self.ended = true,
            }
        }
        if head.is_empty() {
            return Ok(Algorithm::Sha256);
        }
        let what = format!("the beginning of {} shows no hash", self.name());
        Err(Error::usage(what).hint(
            "name the algorithm by --hash, such as --hash sha256; of a list of paths, give --paths",
        ))
    }

    /// Whether there is nothing to read in any of the lists. Waits for the first byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn is_empty(&mut self) -> Result<bool> {
        while self.peeked.is_empty() {
            let Some(opened) = &mut self.now else {
                return Ok(true);
            };
            match opened.next().await? {
                Some(chunk) if !self.ended => self.peeked.push_back(chunk),
                _ => {
                    self.advance().await?;
                    self.ended = false;
                }
            }
        }
        Ok(false)
    }

    /// The next chunk of the list that is read.
    async fn chunk(&mut self) -> Result<Option<Chunk>> {
        match (self.peeked.pop_front(), &mut self.now) {
            (Some(chunk), _) => Ok(Some(chunk)),
            (None, Some(opened)) if !self.ended => opened.next().await,
            _ => Ok(None),
        }
    }
}

/// What an earlier run has answered.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// So many lines.
    pub(super) lines: u64,
    /// The answers, from the first on, to be set against the lines.
    pub(super) answers: Option<Past>,
    /// Where the answers are, for messages.
    pub(super) place: String,
}

/// Reads all lines and hands on what they ask.
pub(super) struct Reading<'a> {
    /// What lines without a hash look like.
    pub(super) shapes: &'a Mutex<Shapes>,
    pub(super) questions: Questions,
    pub(super) behind: Behind,
    pub(super) meters: &'a LookupMeters,
    pub(super) stop: &'a Stop,
    pub(super) send: mpsc::Sender<Vec<Question>>,
}

impl Reading<'_> {
    /// Reads `input`; says whether it came to the end.
    ///
    /// # Errors
    /// When it cannot be read, or is another one than an earlier run has answered.
    pub(super) async fn run(mut self, mut input: Input) -> Result<bool> {
        let stop = self.stop;
        let mut passed = 0;
        loop {
            let mut framer = Framer::new();
            let name = input.name();
            loop {
                let chunk = tokio::select! {
                    biased;
                    () = stop.requested() => return Ok(false),
                    // Nobody takes any more: it need not wait for who writes the list.
                    () = self.send.closed() => return Ok(false),
                    chunk = input.chunk() => chunk?,
                };
                let Some(chunk) = chunk else { break };
                let mut lying = chunk.lying;
                let mut rest = chunk.bytes;
                while !rest.is_empty() {
                    let part = rest.split_to(rest.len().min(PART_BYTES));
                    let mut asked = Vec::new();
                    let mut lines = framer.push(&part);
                    while let Some(line) = lines.next() {
                        self.line(&line, &name, &mut passed, &mut asked)?;
                    }
                    // Entered with its last part.
                    let bytes = if rest.is_empty() {
                        std::mem::take(&mut lying)
                    } else {
                        0
                    };
                    if !self.hand_on(asked, bytes).await {
                        return Ok(false);
                    }
                }
            }
            let mut asked = Vec::new();
            if let Some(line) = framer.finish() {
                self.line(&line, &name, &mut passed, &mut asked)?;
            }
            if !self.hand_on(asked, 0).await {
                return Ok(false);
            }
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(false),
                () = self.send.closed() => return Ok(false),
                next = input.advance() => next?,
            }
            input.ended = false;
            if input.now.is_none() {
                break;
            }
        }
        if passed < self.behind.lines {
            return Err(self.another(&format!("it has {passed} lines")));
        }
        Ok(true)
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        name: &str,
        passed: &mut u64,
        asked: &mut Vec<Question>,
    ) -> Result<()> {
        let question = self.questions.read(line, name)?;
        if question.hash.as_ref().is_err_and(|invalid| !invalid.blank) {
            let mut shapes = self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
            shapes.add(line.bytes, Reason::Length);
            let text = || shown(line.bytes, 100);
            shapes.begin_with(|| format!("{name}, line {}: {:?}", line.number, text()));
        }
        if *passed >= self.behind.lines {
            asked.push(question);
            return Ok(());
        }
        *passed += 1;
        let same = match &mut self.behind.answers {
            Some(answers) => answers.next_is_of(&question)?,
            None => true,
        };
        match same {
            true => Ok(()),
            false => Err(self.another(&format!(
                "it has no answer to line {passed} of the input in that place"
            ))),
        }
    }

    fn another(&self, why: &str) -> Error {
        let Behind { lines, place, .. } = &self.behind;
        Error::usage(format!(
            "{place} has the answers to {lines} lines of another list: {why}"
        ))
        .hint("give the list and the flags that it was begun with, without --only and --unordered; or begin anew with --overwrite")
    }

    /// Hands on what was asked; false when nobody takes it any more.
    async fn hand_on(&self, asked: Vec<Question>, bytes: u64) -> bool {
        let lines = asked.len() as u64;
        self.meters.update(|c| {
            c.books.lines += lines;
            c.bytes_read += bytes;
        });
        asked.is_empty() || self.send.send(asked).await.is_ok()
    }
}
