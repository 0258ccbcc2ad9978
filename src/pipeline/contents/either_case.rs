//! Questions in either case, to a table whose items do not show the case of its keys, or
//! show both.
//!
//! Where the table holds no hash of a batch, the batch is asked once more in the other
//! case, until one hash is found. Found in the case that was asked first, that case is right. Found in
//! the other, that one is, unless a person told the first: then the question fails. Of a
//! table of both cases each hash that is not found is asked for in the other one, too.

use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::plain_json::{WholeAnswer, WholeTemplate};
use crate::dynamodb::client::operation::BatchGet;
use crate::dynamodb::key_schema::{KeySchema, KeyType};
use crate::flow::capacity::Consumed;
use crate::pipeline::contents::settings::{KeyCase, Settings, case_of};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// The error code of a question in a case that the table does not have.
pub(crate) const WRONG_CASE: &str = "WrongCase";

/// Hashes that are asked for in the other case, too, where the first one was told.
const CHECKED_HASHES: usize = 1000;

/// Requests for whole items, in the case that the table turns out to have.
#[derive(Debug)]
pub(crate) struct EitherCase {
    /// As asked first, and in the other case.
    templates: [WholeTemplate; 2],
    cases: [Case; 2],
    told: bool,
    table: String,
    settings: Settings,
    /// The case that is asked: its number, [`OPEN`] or [`BOTH`].
    state: AtomicU8,
    /// Hashes that were found in neither case.
    absent: AtomicUsize,
}

/// Nothing is found yet.
const OPEN: u8 = 2;

/// The table holds hashes in both cases.
const BOTH: u8 = 3;

/// An answer in the case that the table has.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The answer.
    pub(crate) answer: WholeAnswer,
    /// Bytes of its body.
    pub(crate) bytes: usize,
    /// Calls that it took.
    pub(crate) calls: u64,
}

impl EitherCase {
    /// Requests to `table`, as [`WholeTemplate::new`] has them. Where `case` is open, both
    /// cases are asked until a hash is found.
    ///
    /// # Errors
    /// As [`WholeTemplate::new`].
    pub(crate) fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: KeyCase,
        sort: &[Attribute],
        settings: Settings,
    ) -> Result<EitherCase> {
        let (first, state, told) = match case {
            KeyCase::Known(case) => (case, 0, true),
            KeyCase::Both => (Case::default(), BOTH, false),
            KeyCase::Open(told) => (told.unwrap_or_default(), OPEN, told.is_some()),
        };
        let other = match first {
            Case::Upper => Case::Lower,
            Case::Lower => Case::Upper,
        };
        let template = |case| WholeTemplate::new(table, schema, algorithm, case, sort);
        let is_text = schema.partition.kind == KeyType::S;
        Ok(EitherCase {
            templates: [template(first)?, template(other)?],
            cases: [first, other],
            told,
            table: table.to_owned(),
            settings,
            state: AtomicU8::new(if is_text { state } else { 0 }),
            absent: AtomicUsize::new(0),
        })
    }

    /// Asks `table` for `hashes`, none twice and no more than
    /// [`MAX_GET_KEYS`](crate::dynamodb::batch_get::request::MAX_GET_KEYS).
    ///
    /// # Errors
    /// Why there is no answer; with [`WRONG_CASE`] as code when the case was told and is
    /// not the table's.
    pub(crate) async fn ask<T: BatchGet>(
        &self,
        table: &T,
        hashes: &[Hash],
        consistent: bool,
    ) -> Result<Answered, CallError> {
        let state = self.state.load(Ordering::Relaxed);
        let at = usize::from(state == 1);
        let first = self.ask_in(at, table, hashes, consistent).await?;
        let missing = match state {
            BOTH => missing(hashes, &first.answer),
            OPEN if !first.answer.items.is_empty() && self.settle(0) => return Ok(first),
            OPEN => missing(hashes, &first.answer),
            _ => return Ok(first),
        };
        if missing.is_empty() {
            return Ok(first);
        }
        let other = self.ask_in(1, table, &missing, consistent).await?;
        match (state, other.answer.items.is_empty()) {
            (OPEN, true) => self.count_absent(missing.len()),
            (OPEN, false) if self.told && self.state.load(Ordering::Relaxed) == OPEN => {
                return Err(self.wrong());
            }
            (OPEN, false) => {
                self.settle(1);
            }
            _ => {}
        }
        Ok(joined(first, other))
    }

    async fn ask_in<T: BatchGet>(
        &self,
        at: usize,
        table: &T,
        hashes: &[Hash],
        consistent: bool,
    ) -> Result<Answered, CallError> {
        let template = &self.templates[at];
        // A request of 100 keys of SHA-256 has some 9 KB.
        let mut body = Vec::with_capacity(12 * 1024);
        template.write_request(hashes, consistent, &mut body);
        let body = table.batch_get(Bytes::from(body)).await?;
        let answer = template.read_answer(&body, hashes.len());
        Ok(Answered {
            answer: answer.map_err(CallError::strange_answer)?,
            bytes: body.len(),
            calls: 1,
        })
    }

    /// Settles the case, by a hash that is found in it; whether it is the only one. A hash
    /// that was found in the other case meanwhile shows that the table holds both.
    pub(super) fn settle(&self, at: u8) -> bool {
        let (before, after) = (Ordering::Relaxed, Ordering::Relaxed);
        match self.state.compare_exchange(OPEN, at, before, after) {
            Ok(_) if at == 1 => tracing::info!(
                "the keys of table {} are in {} case: taking that",
                self.table,
                case_of(self.cases[1])
            ),
            Err(BOTH) => return false,
            Err(other) if other != at => {
                self.state.store(BOTH, Ordering::Relaxed);
                tracing::warn!("table {} holds hashes in both cases", self.table);
                return false;
            }
            _ => {}
        }
        true
    }

    /// Ends the questions in the other case where enough of them confirm what was told.
    fn count_absent(&self, hashes: usize) {
        let absent = self.absent.fetch_add(hashes, Ordering::Relaxed) + hashes;
        if self.told && absent >= CHECKED_HASHES {
            let (before, after) = (Ordering::Relaxed, Ordering::Relaxed);
            // Settled already: that is right, too.
            let _ = self.state.compare_exchange(OPEN, 0, before, after);
        }
    }

    /// The refusal of the case that was told, which is not the table's.
    pub(crate) fn refusal(&self) -> Error {
        let flag = [("--case", case_of(self.cases[1]))];
        Error::usage(self.wrong().message).hint(format!("give {}", self.settings.written(&flag)))
    }

    fn wrong(&self) -> CallError {
        let other = case_of(self.cases[1]);
        CallError {
            meaning: Meaning::Permanent,
            code: Some(WRONG_CASE.to_owned()),
            message: format!(
                "table {} holds hashes in {other} case, and they were asked for in {} case: give {}",
                self.table,
                case_of(self.cases[0]),
                self.settings.written(&[("--case", other)])
            ),
            reasons: Vec::new(),
            no_credentials: false,
        }
    }
}

/// The hashes that are neither in `answer` nor unprocessed.
fn missing(hashes: &[Hash], answer: &WholeAnswer) -> Vec<Hash> {
    let found = answer.items.iter().map(|item| item.hash);
    let settled: HashSet<Hash> = found.chain(answer.unprocessed.iter().copied()).collect();
    let missing = hashes.iter().filter(|hash| !settled.contains(hash));
    missing.copied().collect()
}

/// The answers in both cases as one.
fn joined(first: Answered, other: Answered) -> Answered {
    let mut answer = first.answer;
    answer.consumed = sum(answer.consumed.as_ref(), other.answer.consumed.as_ref());
    answer.items.extend(other.answer.items);
    answer.unprocessed.extend(other.answer.unprocessed);
    Answered {
        answer,
        bytes: first.bytes.max(other.bytes),
        calls: first.calls + other.calls,
    }
}

/// The case in which `table` holds one of `hashes`: nothing when it holds none of them. And
/// the read units that the question consumed.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it holds one in the other case
/// than `told`.
pub(crate) async fn case_by_keys<T: BatchGet>(
    either: &EitherCase,
    table: &T,
    hashes: &[Hash],
) -> Result<(Option<Case>, f64)> {
    if hashes.is_empty() {
        return Ok((None, 0.0));
    }
    match either.ask(table, hashes, false).await {
        Ok(answered) => {
            let at = either.state.load(Ordering::Relaxed);
            let case = either.cases.get(usize::from(at)).copied();
            let consumed = answered.answer.consumed;
            Ok((case, consumed.map_or(0.0, |c| c.total)))
        }
        Err(error) if error.code.as_deref() == Some(WRONG_CASE) => Err(either.refusal()),
        Err(error) => {
            if !either.told {
                tracing::warn!(
                    "the case of the keys of table {} is not known, and {} case is taken (--case says otherwise): {error}",
                    either.table,
                    case_of(either.cases[0])
                );
            }
            Ok((None, 0.0))
        }
    }
}

/// The units that two calls consumed together.
fn sum(one: Option<&Consumed>, other: Option<&Consumed>) -> Option<Consumed> {
    let total = one?.total + other?.total;
    Some(Consumed {
        total,
        ..Consumed::default()
    })
}
