//! Records → questions to the table: paced, many in flight, until each record is
//! answered for.
//!
//! The counterpart of the [writer](crate::pipeline::writer). One loop owns everything that
//! waits and everything in flight:
//!
//! * what is there, and as it must be, is in the books;
//! * what an eventually consistent read does not find, or finds different, is
//!   asked for once more by a strongly consistent one, and only that says that
//!   it is missing or different;
//! * keys that were left unread go back to the queue with a back-off, and so do
//!   all of a call that was throttled, broken or timed out;
//! * what will never work (no permission, no such table) stops the run.
//!
//! Every question pays at the token bucket what such questions cost of late, and
//! the difference to what DynamoDB says is settled when the answer is there.

use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::Record;
use crate::commands::verify::counts::VerifyMeters;
use crate::commands::verify::finding::{Finding, What};
use crate::commands::verify::order::Order;
use crate::dynamodb::batch_get::expected::{Answer, AskTemplate};
use crate::dynamodb::batch_get::request::{CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Bound, Concurrency};
use crate::flow::rate_limiter::Pace;
use crate::flow::waiting::{Entry, Keys, Waiting};
use bytes::Bytes;

use std::time::Duration;
use tokio::time::Instant;

/// How long expired credentials may stay expired. The chain renews what it can
/// renew within seconds.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(120);

/// Hundreds of records that may be open, or wait for one that is, so that what
/// is told in order takes some megabytes of memory and no more. A multiple of
/// what can be in flight; see [`Order`].
pub(super) const OPEN_SLOTS: usize = 1024;

/// Read units of a key: what it costs at least, by consistency.
pub(super) const LEAST_UNITS: [f64; 2] = [EVENTUAL_READ_UNITS, CONSISTENT_READ_UNITS];

/// How a [`Checker`] goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckerOptions {
    /// Calls in flight, at most.
    pub(super) concurrency: Concurrency,
    /// Whether every read is strongly consistent.
    pub(super) consistent: bool,
    /// How long to go on without a single key being answered.
    pub(super) give_up_after: Duration,
}

/// Asks one table for records. See the [module](self).
#[derive(Debug)]
pub(super) struct Checker<'a, T> {
    pub(super) table: &'a T,
    /// Its name, for messages.
    pub(super) table_name: &'a str,
    pub(super) template: &'a AskTemplate,
    pub(super) pace: &'a Pace,
    pub(super) meters: &'a VerifyMeters,
    pub(super) options: CheckerOptions,
}

/// One call's keys, and how it is made.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) keys: Keys,
    pub(super) consistent: bool,
}

/// How the checking ended before all was checked.
pub(super) enum End {
    Stopped,
    Failed(Error),
}

/// What the loop knows.
pub(super) struct State {
    /// What waits for an eventually and for a strongly consistent read.
    pub(super) waiting: [Waiting; 2],
    /// Calls in flight of each, and keys in all of them.
    pub(super) in_flight: [usize; 2],
    pub(super) keys_in_flight: u64,
    /// Read units of a key of late, of each.
    pub(super) key_units: [f64; 2],
    pub(super) order: Order,
    pub(crate) backoff: Backoff,
    /// Since when calls have failed without a key being answered.
    pub(crate) stalled: Option<Instant>,
    /// Calls in flight, at most.
    pub(crate) bound: Bound,
    pub(crate) end: Option<End>,
}

/// What became of a key of a call.
enum Mark {
    Absent,
    There,
    Differs(What),
    Unread,
}

impl<T: BatchGet> Checker<'_, T> {
    /// Takes what came back for `batch`.
    pub(super) fn look_at(
        &self,
        s: &mut State,
        batch: Batch,
        paid: f64,
        begun: Instant,
        answer: Result<Bytes, CallError>,
    ) {
        let answer = answer.and_then(|body| {
            let answer = self.template.read_answer(&body, batch.keys.0.len());
            answer
                .and_then(|answer| self.marks(&batch.keys, answer))
                .map_err(CallError::strange_answer)
        });
        let count = batch.keys.0.len();
        let error = match answer {
            Ok((marks, consumed)) => {
                let unread = marks.iter().filter(|m| matches!(m, Mark::Unread)).count();
                let read = count - unread;
                let paid_each = paid / count as f64;
                let at = usize::from(batch.consistent);
                let by_formula = read as f64 * LEAST_UNITS[at];
                // First what was refused: the table accepts some.
                if unread > 0 {
                    self.pace.refused(paid_each * unread as f64, &[]);
                }
                if read > 0 {
                    let now = Instant::now();
                    let paid = paid_each * read as f64;
                    if self.pace.accepted(paid, consumed.as_ref()) {
                        s.waiting.iter_mut().for_each(|w| w.release(now));
                    }
                    s.bound.took(begun, now);
                    s.stalled = None;
                    if let Some(consumed) = &consumed {
                        s.key_units[at] = (consumed.total / read as f64).max(LEAST_UNITS[at]);
                    }
                }
                let consumed = consumed.map_or(by_formula, |c| c.total);
                self.meters.update(|a| {
                    a.unprocessed += unread as u64;
                    a.consumed += consumed;
                });
                self.enter(s, batch, marks);
                if unread == 0 || read > 0 {
                    return;
                }
                CallError {
                    meaning: Meaning::Throttled,
                    code: None,
                    message: "DynamoDB left every key of the call unprocessed".into(),
                    reasons: Vec::new(),
                    no_credentials: false,
                }
            }
            Err(error) => {
                if error.meaning == Meaning::Throttled {
                    self.pace.refused(paid, &error.reasons);
                    self.meters.update(|a| a.throttled += 1);
                }
                tracing::debug!("a call of {count} keys failed: {error}");
                s.ask_again(batch.keys.0, batch.consistent);
                error
            }
        };
        self.judge(s, &error);
    }

    /// Enters what became of the keys of a call.
    fn enter(&self, s: &mut State, batch: Batch, marks: Vec<Mark>) {
        let now = Instant::now();
        let (mut found, mut missing, mut different) = (0, 0, 0);
        let mut unread = Vec::new();
        for (entry, mark) in batch.keys.0.into_iter().zip(marks) {
            let Record { hash, place, .. } = entry.record;
            let what = match mark {
                Mark::There => {
                    found += 1;
                    s.order.settle(place, None);
                    continue;
                }
                Mark::Unread => {
                    unread.push(entry);
                    continue;
                }
                // An eventually consistent read may be behind.
                Mark::Absent | Mark::Differs(_) if !batch.consistent => {
                    s.waiting[1].push(entry.record, now);
                    continue;
                }
                Mark::Absent => {
                    missing += 1;
                    What::Missing
                }
                Mark::Differs(what) => {
                    different += 1;
                    what
                }
            };
            s.order.settle(place, Some(Finding { hash, place, what }));
        }
        self.meters.update(|a| {
            a.found += found;
            a.missing += missing;
            a.different += different;
        });
        if !unread.is_empty() {
            s.ask_again(unread, batch.consistent);
        }
    }

    /// Whether to go on after a call that answered nothing.
    fn judge(&self, s: &mut State, error: &CallError) {
        if s.end.is_some() {
            return;
        }
        let table = self.table_name;
        if matches!(error.meaning, Meaning::Permanent | Meaning::Invalid) {
            let what = format!("DynamoDB refuses to read from table {table}");
            let hint = match error.code.as_deref() {
                Some("AccessDeniedException") => {
                    "the credentials need dynamodb:BatchGetItem on this table (see \
                     scripts/iam/verify.json); then run this again"
                }
                Some("ResourceNotFoundException") => {
                    "the table is gone, or not ready; once it is ACTIVE, run this again"
                }
                _ => "mend that, then run this again",
            };
            let e = Error::new(ErrorKind::Read, what).because(error.clone());
            s.end = Some(End::Failed(e.hint(hint)));
            return;
        }
        let since = *s.stalled.get_or_insert_with(Instant::now);
        let patience = match error.meaning {
            Meaning::Expired => self.options.give_up_after.min(EXPIRED_PATIENCE),
            _ => self.options.give_up_after,
        };
        if since.elapsed() >= patience {
            let seconds = patience.as_secs();
            let what = format!(
                "nothing could be read from table {table} for {seconds} s; the last answer"
            );
            let hint = match error.meaning {
                Meaning::Expired => "renew the credentials, then run this again",
                _ => "run this again once DynamoDB answers; --give-up-after sets how long to try",
            };
            let e = Error::new(ErrorKind::Read, what).because(error.clone());
            s.end = Some(End::Failed(e.hint(hint)));
        }
    }

    /// What `answer` says of each of `keys`, and what it consumed.
    fn marks(
        &self,
        keys: &Keys,
        answer: Answer,
    ) -> Result<(Vec<Mark>, Option<crate::flow::capacity::Consumed>), String> {
        let mut marks: Vec<Mark> = keys.0.iter().map(|_| Mark::Absent).collect();
        let strange = || "it holds a key that was not asked for".to_owned();
        for item in answer.items {
            let at = keys.find(&item.hash).ok_or_else(strange)?;
            if !matches!(marks[at], Mark::Absent) {
                return Err("it holds an item twice".to_owned());
            }
            let own = || {
                self.template
                    .own_difference(&item, &keys.0[at].record.extra)
            };
            marks[at] = match item.difference.clone().or_else(own) {
                None => Mark::There,
                Some(difference) => Mark::Differs(What::Different(difference)),
            };
        }
        for hash in answer.unprocessed {
            let at = keys.find(&hash).ok_or_else(strange)?;
            if !matches!(marks[at], Mark::Absent) {
                return Err(
                    "it holds a key that was read and is unprocessed, or is so twice".to_owned(),
                );
            }
            marks[at] = Mark::Unread;
        }
        Ok((marks, answer.consumed))
    }
}

impl State {
    /// The next batch at `now`; `open` while more records may come.
    pub(super) fn compose(&mut self, now: Instant, open: bool) -> Option<Batch> {
        // Nothing more can join those that wait for a second look once all have
        // had their first.
        let last = !open && self.waiting[0].is_empty() && self.in_flight[0] == 0;
        let [eventual, consistent] = &mut self.waiting;
        let keys = consistent.compose(now, last);
        keys.map(|keys| (keys, true))
            .or_else(|| eventual.compose(now, !open).map(|keys| (keys, false)))
            .map(|(keys, consistent)| Batch { keys, consistent })
    }

    /// One key alone: the first of `next` if there is one; the others of that wait on.
    pub(super) fn compose_one(&mut self, next: Option<Batch>, now: Instant) -> Option<Batch> {
        if let Some(Batch { keys, consistent }) = next {
            let keys = self.waiting[usize::from(consistent)].keep_one(keys, now);
            return Some(Batch { keys, consistent });
        }
        let [eventual, consistent] = &mut self.waiting;
        let second = consistent.compose_one(now).map(|keys| (keys, true));
        let (keys, consistent) =
            second.or_else(|| eventual.compose_one(now).map(|keys| (keys, false)))?;
        Some(Batch { keys, consistent })
    }

    /// Read units that `batch` will cost, as far as is known.
    pub(super) fn units(&self, batch: &Batch) -> f64 {
        batch.keys.0.len() as f64 * self.key_units[usize::from(batch.consistent)]
    }

    /// Puts entries back, to be asked for after a back-off.
    fn ask_again(&mut self, mut entries: Vec<Entry>, consistent: bool) {
        for e in &mut entries {
            e.attempts += 1;
        }
        let attempts = entries.iter().map(|e| e.attempts).max().unwrap_or(1);
        let ready = Instant::now() + self.backoff.wait(attempts);
        for e in entries {
            self.waiting[usize::from(consistent)].push_again(e, ready);
        }
    }

    /// Tells a finding; when that fails, the run is over.
    pub(super) fn tell(&mut self, finding: Finding, tell: &mut impl FnMut(Finding) -> Result<()>) {
        if matches!(self.end, Some(End::Failed(_))) {
            return;
        }
        if let Err(e) = tell(finding) {
            self.end = Some(End::Failed(e));
        }
    }
}

#[cfg(test)]
mod outages;
#[cfg(test)]
mod tests;
