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
use crate::base::shutdown::Stop;
use crate::commands::verify::counts::VerifyMeters;
use crate::commands::verify::finding::{Finding, What};
use crate::commands::verify::order::Order;
use crate::dynamodb::batch_get::expected::{Answer, AskTemplate};
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Bound, Concurrency};
use crate::flow::rate_limiter::Pace;
use crate::flow::waiting::{Entry, Keys, Waiting};
use crate::pipeline::progress::watermark::HandOver;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long calls in flight may take to finish once the run is stopped.
const DRAIN: Duration = Duration::from_secs(10);

/// How long expired credentials may stay expired. The chain renews what it can
/// renew within seconds.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(120);

/// Hundreds of records that may be open, or wait for one that is, so that what
/// is told in order takes some megabytes of memory and no more. A multiple of
/// what can be in flight; see [`Order`].
const OPEN_SLOTS: usize = 1024;

/// Read units of a key: what it costs at least, by consistency.
const LEAST_UNITS: [f64; 2] = [EVENTUAL_READ_UNITS, CONSISTENT_READ_UNITS];

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
struct Batch {
    keys: Keys,
    consistent: bool,
}

/// How the checking ended before all was checked.
enum End {
    Stopped,
    Failed(Error),
}

/// What the loop knows.
struct State {
    /// What waits for an eventually and for a strongly consistent read.
    waiting: [Waiting; 2],
    /// Calls in flight of each, and keys in all of them.
    in_flight: [usize; 2],
    keys_in_flight: u64,
    /// Read units of a key of late, of each.
    key_units: [f64; 2],
    order: Order,
    backoff: Backoff,
    /// Since when calls have failed without a key being answered.
    stalled: Option<Instant>,
    /// Calls in flight, at most.
    bound: Bound,
    end: Option<End>,
}

/// What became of a key of a call.
enum Mark {
    Absent,
    There,
    Differs(What),
    Unread,
}

impl<T: BatchGet> Checker<'_, T> {
    /// Checks what comes from `fresh`, in the order of the list, until that is
    /// closed and all of it is answered for, or until `stop`; says whether it
    /// came to the end. What is found out is told to `tell`, in the order of the
    /// list. What is left in the end is counted as unchecked.
    ///
    /// # Errors
    /// When the table cannot be asked, or when `tell` fails.
    pub(super) async fn run(
        &self,
        mut fresh: mpsc::Receiver<HandOver>,
        mut tell: impl FnMut(Finding) -> Result<()>,
        stop: &Stop,
        backoff: Backoff,
    ) -> Result<bool> {
        let first = usize::from(self.options.consistent);
        let mut s = State {
            waiting: [Waiting::new(MAX_GET_KEYS), Waiting::new(MAX_GET_KEYS)],
            in_flight: [0; 2],
            keys_in_flight: 0,
            key_units: LEAST_UNITS,
            order: Order::default(),
            backoff,
            stalled: None,
            bound: Bound::new(self.options.concurrency),
            end: None,
        };
        let mut in_flight = FuturesUnordered::new();
        let mut next: Option<Batch> = None;
        let mut open = true;
        let mut drain: Option<Instant> = None;

        loop {
            let now = Instant::now();
            let call_units = s.key_units[first] * MAX_GET_KEYS as f64;
            let concurrency = s.bound.calls(self.pace.rate(), call_units);
            let open_slots = OPEN_SLOTS.max(concurrency * 4);
            // Enough to fill every call from retries alone; reading pauses beyond.
            let again_limit = concurrency * MAX_GET_KEYS * 2;
            let turn = self.pace.turn(now);
            if s.end.is_none() && turn.is_probe() {
                next = s.compose_one(next, now);
            } else if s.end.is_none() && next.is_none() && in_flight.len() < concurrency {
                next = s.compose(now, open);
            }
            let empty = s.waiting.iter().all(Waiting::is_empty) && next.is_none();
            if s.end.is_none() && !open && empty && in_flight.is_empty() {
                break;
            }
            if s.end.is_some() {
                if in_flight.is_empty() || drain.is_some_and(|at| at <= now) {
                    break;
                }
                if drain.is_none() {
                    drain = Some(now + DRAIN);
                    open = false;
                    fresh.close();
                }
            }
            let running = s.end.is_none();
            let room = in_flight.len() < concurrency;
            let may_send = running && next.is_some() && room && turn.is_due(now);
            let again: usize = s.waiting.iter().map(Waiting::again).sum();
            let may_read = running
                && open
                && s.waiting[first].ready() < MAX_GET_KEYS
                && s.order.len() < open_slots
                && again < again_limit;
            let units = next.as_ref().map_or(0.0, |b| s.units(b));
            // When to look again though nothing happens.
            let wake = match drain {
                Some(at) => Some(at),
                None if next.is_some() || !room => turn.wake(now),
                None => {
                    let waiting = s.waiting.iter().filter_map(Waiting::next);
                    waiting.chain(turn.wake(now)).min()
                }
            };

            tokio::select! {
                biased;
                () = stop.requested(), if running => s.end = Some(End::Stopped),
                () = stop.insisted(), if !running => drain = Some(now),
                Some((batch, paid, begun, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                    let batch: Batch = batch;
                    s.in_flight[usize::from(batch.consistent)] -= 1;
                    s.keys_in_flight -= batch.keys.0.len() as u64;
                    self.meters.update(|a| a.in_flight = in_flight.len() as u64);
                    self.look_at(&mut s, batch, paid, begun, answer);
                    for finding in s.order.ready() {
                        s.tell(finding, &mut tell);
                    }
                }
                () = self.pace.take(turn, units), if may_send => {
                    if let Some(batch) = next.take() {
                        s.in_flight[usize::from(batch.consistent)] += 1;
                        s.keys_in_flight += batch.keys.0.len() as u64;
                        in_flight.push(self.send(batch, units));
                        let count = in_flight.len() as u64;
                        self.meters.update(|a| a.in_flight = count);
                    }
                }
                more = fresh.recv(), if may_read => match more {
                    Some(handed) => for record in handed.records {
                        s.order.push(record.place);
                        s.waiting[first].push(record, now);
                    },
                    None => open = false,
                },
                () = sleep_until(wake), if wake.is_some() => {}
                else => {
                    // Every branch is closed: the loop above must not let that be.
                    let what = "the checker has nothing to wait for";
                    s.end = Some(End::Failed(Error::new(ErrorKind::Internal, what)));
                }
            }
        }

        for finding in s.order.rest() {
            s.tell(finding, &mut tell);
        }
        let mut left = s.waiting.iter().map(|w| w.len() as u64).sum::<u64>() + s.keys_in_flight;
        left += next.map_or(0, |b| b.keys.0.len() as u64);
        fresh.close();
        while let Some(handed) = fresh.recv().await {
            left += handed.records.len() as u64;
        }
        self.meters.update(|a| {
            a.unchecked += left;
            a.in_flight = 0;
        });
        match s.end {
            None => Ok(true),
            Some(End::Stopped) => Ok(false),
            Some(End::Failed(e)) => Err(e),
        }
    }

    /// Sends a batch once, for which `paid` units were taken; says when that began.
    async fn send(
        &self,
        batch: Batch,
        paid: f64,
    ) -> (Batch, f64, Instant, Result<Bytes, CallError>) {
        // A request of 100 keys of SHA-256 has some 9 KB.
        let mut body = Vec::with_capacity(12 * 1024);
        let keys = &batch.keys.0;
        let records = keys.iter().map(|e| &e.record);
        self.template
            .write_request(records, batch.consistent, &mut body);
        let again = keys.iter().any(|e| e.attempts > 0);
        self.meters.update(|a| {
            a.requests += 1;
            a.retries += u64::from(again);
        });
        let begun = Instant::now();
        let answer = self.table.batch_get(Bytes::from(body)).await;
        (batch, paid, begun, answer)
    }

    /// Takes what came back for `batch`.
    fn look_at(
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
    fn compose(&mut self, now: Instant, open: bool) -> Option<Batch> {
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
    fn compose_one(&mut self, next: Option<Batch>, now: Instant) -> Option<Batch> {
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
    fn units(&self, batch: &Batch) -> f64 {
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
    fn tell(&mut self, finding: Finding, tell: &mut impl FnMut(Finding) -> Result<()>) {
        if matches!(self.end, Some(End::Failed(_))) {
            return;
        }
        if let Err(e) = tell(finding) {
            self.end = Some(End::Failed(e));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod outages;
#[cfg(test)]
mod tests;
