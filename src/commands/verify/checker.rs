//! Checker: reads the records' keys from the table, rate-limited, with many calls in
//! flight, until each record has an outcome.
//!
//! Counterpart of the [writer](crate::pipeline::writer). One loop owns the queues and the
//! calls in flight:
//!
//! * an item with the expected attributes counts as found;
//! * the checker repeats an eventually consistent read that finds a key missing or
//!   different, strongly consistently; only the second read counts;
//! * unprocessed keys return to the queue with a back-off, and so do all keys of a call
//!   that was throttled, failed or timed out;
//! * a permanent error (no permission, no such table) ends the run.
//!
//! Every call takes its estimated cost from the token bucket. The estimate follows the
//! recent calls; the response's consumed capacity corrects it.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::Record;
use crate::commands::verify::counts::VerifyCounters;
use crate::commands::verify::finding::{FindingKind, UnresolvedFinding};
use crate::commands::verify::order::FindingOrder;
use crate::dynamodb::batch_get::expected::{GetResponse, GetTemplate};
use crate::dynamodb::batch_get::request::{CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Concurrency, ConcurrencyLimit};
use crate::flow::key_queue::{Entry, KeyBatch, KeyQueue};
use crate::flow::rate_limiter::RateLimiter;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum time with expired credentials. The credential chain renews them within
/// seconds if it can.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(120);

/// Maximum number of slots of a hundred records in [`FindingOrder`], so that ordered output
/// takes only some megabytes of memory. A multiple of the records in flight.
pub(super) const MAX_PENDING_SLOTS: usize = 1024;

/// Minimum cost of a key in RCU: eventually and strongly consistent.
pub(super) const MIN_KEY_RCU: [f64; 2] = [EVENTUAL_READ_UNITS, CONSISTENT_READ_UNITS];

/// Options of a [`Checker`].
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckerOptions {
    /// Maximum number of calls in flight.
    pub(super) concurrency: Concurrency,
    /// True if every read is strongly consistent.
    pub(super) consistent: bool,
    /// Maximum time without a key being read.
    pub(super) give_up_after: Duration,
}

/// Checks records against one table. See the [module](self).
#[derive(Debug)]
pub(super) struct Checker<'a, T> {
    pub(super) table: &'a T,
    /// Its name, for messages.
    pub(super) table_name: &'a str,
    pub(super) template: &'a GetTemplate,
    pub(super) rate_limiter: &'a RateLimiter,
    pub(super) counters: &'a VerifyCounters,
    pub(super) options: CheckerOptions,
}

/// The keys of one call, and its consistency.
#[derive(Debug)]
pub(super) struct ReadBatch {
    pub(super) keys: KeyBatch,
    pub(super) consistent: bool,
}

/// Reason why the checker ends before it has checked every record.
pub(super) enum StopReason {
    Stopped,
    Failed(Error),
}

/// State of the loop.
pub(super) struct CheckerState {
    /// Keys that wait for an eventually and for a strongly consistent read.
    pub(super) queues: [KeyQueue; 2],
    /// Calls in flight, by consistency.
    pub(super) in_flight: [usize; 2],
    pub(super) keys_in_flight: u64,
    /// Recent cost of a key in RCU, by consistency.
    pub(super) key_rcu: [f64; 2],
    pub(super) order: FindingOrder,
    pub(crate) backoff: Backoff,
    /// Time of the first failure since a key was read.
    pub(crate) stalled_since: Option<Instant>,
    pub(crate) concurrency_limit: ConcurrencyLimit,
    pub(crate) stop_reason: Option<StopReason>,
}

/// Outcome of a key of a call.
enum KeyOutcome {
    Missing,
    Found,
    Different(FindingKind),
    Unprocessed,
}

impl<T: BatchGet> Checker<'_, T> {
    /// Handles the response to `batch`.
    pub(super) fn handle_response(
        &self,
        s: &mut CheckerState,
        batch: ReadBatch,
        paid: f64,
        sent_at: Instant,
        response: Result<Bytes, CallError>,
    ) {
        let outcomes = response.and_then(|body| {
            let response = self.template.read_answer(&body, batch.keys.0.len());
            response
                .and_then(|response| self.key_outcomes(&batch.keys, response))
                .map_err(CallError::unrecognised_response)
        });
        let count = batch.keys.0.len();
        let error = match outcomes {
            Ok((outcomes, consumed)) => {
                let is_unprocessed = |o: &&KeyOutcome| matches!(o, KeyOutcome::Unprocessed);
                let unprocessed = outcomes.iter().filter(is_unprocessed).count();
                let read = count - unprocessed;
                let paid_each = paid / count as f64;
                let consistency = usize::from(batch.consistent);
                let formula_rcu = read as f64 * MIN_KEY_RCU[consistency];
                // Throttling first: the rate limiter must see the success last.
                if unprocessed > 0 {
                    self.rate_limiter
                        .record_throttled(paid_each * unprocessed as f64, &[]);
                }
                if read > 0 {
                    let now = Instant::now();
                    let paid = paid_each * read as f64;
                    if self.rate_limiter.record_success(paid, consumed.as_ref()) {
                        s.queues.iter_mut().for_each(|w| w.release_delayed(now));
                    }
                    s.concurrency_limit.observe(sent_at, now);
                    s.stalled_since = None;
                    if let Some(consumed) = &consumed {
                        s.key_rcu[consistency] =
                            (consumed.total / read as f64).max(MIN_KEY_RCU[consistency]);
                    }
                }
                let consumed_rcu = consumed.map_or(formula_rcu, |c| c.total);
                self.counters.update(|a| {
                    a.unprocessed += unprocessed as u64;
                    a.consumed_rcu += consumed_rcu;
                });
                self.record_outcomes(s, batch, outcomes);
                if unprocessed == 0 || read > 0 {
                    return;
                }
                CallError {
                    class: ErrorClass::Throttled,
                    code: None,
                    message: "DynamoDB returned every key of the call as unprocessed".into(),
                    reasons: Vec::new(),
                    no_credentials: false,
                }
            }
            Err(error) => {
                if error.class == ErrorClass::Throttled {
                    self.rate_limiter.record_throttled(paid, &error.reasons);
                    self.counters.update(|a| a.throttled += 1);
                }
                tracing::debug!("a call of {count} keys failed: {error}");
                s.requeue(batch.keys.0, batch.consistent);
                error
            }
        };
        self.handle_failure(s, &error);
    }

    /// Counts the outcomes of a call's keys, and requeues keys that need another read.
    fn record_outcomes(&self, s: &mut CheckerState, batch: ReadBatch, outcomes: Vec<KeyOutcome>) {
        let now = Instant::now();
        let (mut found, mut missing, mut different) = (0, 0, 0);
        let mut unprocessed = Vec::new();
        for (entry, outcome) in batch.keys.0.into_iter().zip(outcomes) {
            let Record {
                hash,
                position: place,
                ..
            } = entry.record;
            let kind = match outcome {
                KeyOutcome::Found => {
                    found += 1;
                    s.order.resolve(place, None);
                    continue;
                }
                KeyOutcome::Unprocessed => {
                    unprocessed.push(entry);
                    continue;
                }
                // An eventually consistent read may lag behind recent writes.
                KeyOutcome::Missing | KeyOutcome::Different(_) if !batch.consistent => {
                    s.queues[1].push(entry.record, now);
                    continue;
                }
                KeyOutcome::Missing => {
                    missing += 1;
                    FindingKind::Missing
                }
                KeyOutcome::Different(kind) => {
                    different += 1;
                    kind
                }
            };
            let finding = UnresolvedFinding {
                hash,
                position: place,
                kind,
            };
            s.order.resolve(place, Some(finding));
        }
        self.counters.update(|a| {
            a.found += found;
            a.missing += missing;
            a.different += different;
        });
        if !unprocessed.is_empty() {
            s.requeue(unprocessed, batch.consistent);
        }
    }

    /// Decides whether the run continues after a call that read no key.
    fn handle_failure(&self, s: &mut CheckerState, error: &CallError) {
        if s.stop_reason.is_some() {
            return;
        }
        let table = self.table_name;
        if matches!(error.class, ErrorClass::Permanent | ErrorClass::Invalid) {
            let problem = format!("cannot read from table {table}");
            let hint = match error.code.as_deref() {
                Some("AccessDeniedException") => {
                    "allow dynamodb:BatchGetItem on this table (see scripts/iam/verify.json), \
                     then run this again"
                }
                Some("ResourceNotFoundException") => {
                    "the table is deleted or not ready; run this again once it is ACTIVE"
                }
                _ => "fix the cause, then run this again",
            };
            let e = Error::new(ErrorKind::Read, problem).with_source(error.clone());
            s.stop_reason = Some(StopReason::Failed(e.with_hint(hint)));
            return;
        }
        let since = *s.stalled_since.get_or_insert_with(Instant::now);
        let patience = match error.class {
            ErrorClass::Expired => self.options.give_up_after.min(EXPIRED_PATIENCE),
            _ => self.options.give_up_after,
        };
        if since.elapsed() >= patience {
            let seconds = patience.as_secs();
            let problem =
                format!("nothing could be read from table {table} for {seconds} s; the last error");
            let hint = match error.class {
                ErrorClass::Expired => "renew the credentials, then run this again",
                _ => {
                    "run this again once DynamoDB answers, or give a longer time with --give-up-after"
                }
            };
            let e = Error::new(ErrorKind::Read, problem).with_source(error.clone());
            s.stop_reason = Some(StopReason::Failed(e.with_hint(hint)));
        }
    }

    /// The outcome of each of `keys` in `response`, and the consumed capacity.
    fn key_outcomes(
        &self,
        keys: &KeyBatch,
        response: GetResponse,
    ) -> Result<
        (
            Vec<KeyOutcome>,
            Option<crate::flow::capacity::ConsumedCapacity>,
        ),
        String,
    > {
        let mut outcomes: Vec<KeyOutcome> = keys.0.iter().map(|_| KeyOutcome::Missing).collect();
        let unexpected = || "it has a key that was not requested".to_owned();
        for item in response.items {
            let at = keys.find(&item.hash).ok_or_else(unexpected)?;
            if !matches!(outcomes[at], KeyOutcome::Missing) {
                return Err("it has an item twice".to_owned());
            }
            let own = || {
                self.template
                    .own_difference(&item, &keys.0[at].record.attributes)
            };
            outcomes[at] = match item.mismatch.clone().or_else(own) {
                None => KeyOutcome::Found,
                Some(difference) => KeyOutcome::Different(FindingKind::Different(difference)),
            };
        }
        for hash in response.unprocessed {
            let at = keys.find(&hash).ok_or_else(unexpected)?;
            if !matches!(outcomes[at], KeyOutcome::Missing) {
                return Err(
                    "it has a key both as read and as unprocessed, or twice as unprocessed"
                        .to_owned(),
                );
            }
            outcomes[at] = KeyOutcome::Unprocessed;
        }
        Ok((outcomes, response.consumed))
    }
}

impl CheckerState {
    /// Composes the next batch at `now`; `open` is true while more records may arrive.
    pub(super) fn compose(&mut self, now: Instant, open: bool) -> Option<ReadBatch> {
        // Once every key had its first read, the second queue cannot grow any more.
        let last = !open && self.queues[0].is_empty() && self.in_flight[0] == 0;
        let [eventual, consistent] = &mut self.queues;
        let keys = consistent.compose(now, last);
        keys.map(|keys| (keys, true))
            .or_else(|| eventual.compose(now, !open).map(|keys| (keys, false)))
            .map(|(keys, consistent)| ReadBatch { keys, consistent })
    }

    /// Composes a batch of one key: the first of `next` if it is `Some`. The other keys of
    /// `next` return to the queue.
    pub(super) fn compose_one(
        &mut self,
        next: Option<ReadBatch>,
        now: Instant,
    ) -> Option<ReadBatch> {
        if let Some(ReadBatch { keys, consistent }) = next {
            let keys = self.queues[usize::from(consistent)].keep_first(keys, now);
            return Some(ReadBatch { keys, consistent });
        }
        let [eventual, consistent] = &mut self.queues;
        let second = consistent.compose_one(now).map(|keys| (keys, true));
        let (keys, consistent) =
            second.or_else(|| eventual.compose_one(now).map(|keys| (keys, false)))?;
        Some(ReadBatch { keys, consistent })
    }

    /// Estimated cost of `batch` in RCU.
    pub(super) fn batch_rcu(&self, batch: &ReadBatch) -> f64 {
        batch.keys.0.len() as f64 * self.key_rcu[usize::from(batch.consistent)]
    }

    /// Returns entries to the queue, with a back-off.
    fn requeue(&mut self, mut entries: Vec<Entry>, consistent: bool) {
        for e in &mut entries {
            e.attempts += 1;
        }
        let attempts = entries.iter().map(|e| e.attempts).max().unwrap_or(1);
        let ready = Instant::now() + self.backoff.wait(attempts);
        for e in entries {
            self.queues[usize::from(consistent)].push_retry(e, ready);
        }
    }

    /// Passes a finding to `on_finding`. An error of that function ends the run.
    pub(super) fn report_finding(
        &mut self,
        finding: UnresolvedFinding,
        on_finding: &mut impl FnMut(UnresolvedFinding) -> Result<()>,
    ) {
        if matches!(self.stop_reason, Some(StopReason::Failed(_))) {
            return;
        }
        if let Err(e) = on_finding(finding) {
            self.stop_reason = Some(StopReason::Failed(e));
        }
    }
}

#[cfg(test)]
mod outages;
#[cfg(test)]
mod tests;
