//! Checker: reads the records' keys from the table, rate-limited, until each record has an
//! outcome.
//!
//! Counterpart of the [writer](crate::pipeline::writer), on the same
//! [dispatcher](crate::flow::dispatcher). It handles the responses:
//!
//! * an item with the expected attributes counts as found;
//! * the checker repeats an eventually consistent read that finds a key missing or
//!   different, strongly consistently; only the second read counts;
//! * unprocessed keys are retried, and so are all keys of a call that was throttled, failed
//!   or timed out;
//! * a permanent error (no permission, no such table) ends the run.
//!
//! Every call takes its estimated cost from the token bucket. The estimate follows the
//! recent calls; the response's consumed capacity corrects it.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{ErrorKind, Result};
use crate::base::hash::Hash;
use crate::base::record::Record;
use crate::base::shutdown::Stop;
use crate::commands::verify::counts::VerifyCounters;
use crate::commands::verify::finding::{FindingKind, UnresolvedFinding};
use crate::commands::verify::order::FindingOrder;
use crate::dynamodb::batch_get::expected::{GetResponse, GetTemplate};
use crate::dynamodb::batch_get::read_error::permanent_read_error;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::concurrency::Concurrency;
use crate::flow::dispatcher::{
    CallHandler, CallOutcome, CallSender, DispatchOptions, Dispatcher, Failure, FinishedCall,
    RunEnd,
};
use crate::flow::key_batch::{LINGER, ReadKey, find_key};
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::retry_queue::{Batch, Entry, KindOptions, RetryQueue};
use crate::pipeline::progress::watermark::RecordBatch;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Maximum number of slots of a hundred records in [`FindingOrder`], so that ordered output
/// takes only some megabytes of memory. A multiple of the records in flight.
const MAX_PENDING_SLOTS: usize = 1024;

/// Kind of strongly consistent calls: all of them, or the second reads.
const CONSISTENT: usize = 0;

/// Kind of eventually consistent calls.
const EVENTUAL: usize = 1;

/// Minimum cost of a key in RCU, by kind.
const MIN_KEY_RCU: [f64; 2] = [CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS];

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

/// A record whose item is read by its hash.
#[derive(Debug, Clone)]
pub(super) struct CheckedRecord(Record);

impl ReadKey for CheckedRecord {
    fn hash(&self) -> &Hash {
        &self.0.hash
    }
}

/// Handler of the responses.
struct CheckHandler<'a, T, F> {
    checker: &'a Checker<'a, T>,
    /// Recent cost of a key in RCU, by kind.
    key_rcu: [f64; 2],
    order: FindingOrder,
    on_finding: F,
    /// True after `on_finding` has failed.
    has_failed: bool,
}

/// Outcome of a key of a call.
enum KeyOutcome {
    Missing,
    Found,
    Different(FindingKind),
    Unprocessed,
}

/// Outcomes of the keys of a call, and its consumed capacity.
type KeyOutcomes = (Vec<KeyOutcome>, Option<ConsumedCapacity>);

impl<T: BatchGet> Checker<'_, T> {
    /// Checks all records from `fresh` until that channel is closed and every record has
    /// an outcome, or until `stop`. Returns true in the first case. Passes findings to
    /// `on_finding` in the order of the list, and counts remaining records as unchecked.
    ///
    /// # Errors
    /// If the table cannot be read, or if `on_finding` fails.
    pub(super) async fn run(
        &self,
        fresh: mpsc::Receiver<RecordBatch>,
        on_finding: impl FnMut(UnresolvedFinding) -> Result<()>,
        stop: &Stop,
        backoff: Backoff,
    ) -> Result<bool> {
        let dispatcher = Dispatcher {
            rate_limiter: self.rate_limiter,
            stop,
            options: DispatchOptions {
                concurrency: self.options.concurrency,
                give_up_after: self.options.give_up_after,
                read_ahead: MAX_GET_KEYS,
                max_items: MAX_GET_KEYS,
                is_eager: false,
                sends_probes: true,
                error_kind: ErrorKind::Read,
                action: format!("read from table {}", self.table_name),
            },
        };
        let mut handler = CheckHandler {
            checker: self,
            key_rcu: MIN_KEY_RCU,
            order: FindingOrder::default(),
            on_finding,
            has_failed: false,
        };
        let kind = KindOptions {
            max_items: MAX_GET_KEYS,
            linger: LINGER,
        };
        let queue = RetryQueue::new(&[kind, kind]);
        let result = dispatcher
            .run(queue, self, &mut handler, fresh, &mut (), backoff)
            .await;
        self.counters.update(|a| a.unchecked += result.unfinished);
        let mut end = result.end;
        for finding in handler.order.take_rest() {
            if let Err(e) = handler.report_finding(finding) {
                end = RunEnd::Failed(e);
            }
        }
        match end {
            RunEnd::Complete => Ok(true),
            RunEnd::Stopped | RunEnd::OutputClosed => Ok(false),
            RunEnd::Failed(e) => Err(e),
        }
    }
}

impl<T: BatchGet> CallSender<CheckedRecord> for Checker<'_, T> {
    type Response = Result<Bytes, CallError>;

    async fn send(&self, batch: &Batch<CheckedRecord>) -> Self::Response {
        // A request with 100 SHA-256 keys has about 9 KB.
        let mut body = Vec::with_capacity(12 * 1024);
        let records = batch.entries.iter().map(|e| &e.item.0);
        self.template
            .write_request(records, batch.kind == CONSISTENT, &mut body);
        let is_retry = batch.entries.iter().any(|e| e.attempts > 0);
        self.counters.update(|a| {
            a.requests += 1;
            a.retries += u64::from(is_retry);
        });
        self.table.batch_get(Bytes::from(body)).await
    }
}

impl<T, F> CallHandler for CheckHandler<'_, T, F>
where
    T: BatchGet,
    F: FnMut(UnresolvedFinding) -> Result<()>,
{
    type Item = CheckedRecord;
    type Input = RecordBatch;
    type Response = Result<Bytes, CallError>;

    fn full_call_units(&self, _: &RetryQueue<CheckedRecord>) -> f64 {
        self.key_rcu[self.checker.first_kind()] * MAX_GET_KEYS as f64
    }

    fn units(&self, batch: &Batch<CheckedRecord>) -> f64 {
        batch.entries.len() as f64 * self.key_rcu[batch.kind]
    }

    fn receive(&mut self, input: RecordBatch, queue: &mut RetryQueue<CheckedRecord>, now: Instant) {
        for record in &input.records {
            self.order.push(record.position);
        }
        let records = input.records.into_iter().map(CheckedRecord);
        queue.extend(self.checker.first_kind(), records, now);
    }

    fn count(&self, input: &RecordBatch) -> u64 {
        input.records.len() as u64
    }

    fn may_receive(&self, max_calls: usize) -> bool {
        self.order.len() < MAX_PENDING_SLOTS.max(max_calls * 4)
    }

    fn handle(
        &mut self,
        call: FinishedCall<CheckedRecord>,
        response: Self::Response,
        queue: &mut RetryQueue<CheckedRecord>,
    ) -> CallOutcome<CheckedRecord> {
        let entries = &call.batch.entries;
        let template = self.checker.template;
        let outcomes = response.and_then(|body| {
            let response = template.parse_response(&body, entries.len());
            response
                .and_then(|response| self.checker.key_outcomes(entries, response))
                .map_err(CallError::unrecognised_response)
        });
        let mut outcome = match outcomes {
            Ok(outcomes) => self.record_outcomes(call, outcomes, queue),
            Err(error) => self.retry(call, error),
        };
        for finding in self.order.take_ready() {
            if let Err(e) = self.report_finding(finding) {
                outcome.failure = Some(Failure::Fatal(e));
            }
        }
        outcome
    }

    fn record_in_flight(&self, calls: u64) {
        self.checker.counters.update(|a| a.in_flight = calls);
    }
}

impl<T> Checker<'_, T> {
    /// Kind of the first read of a record.
    fn first_kind(&self) -> usize {
        match self.options.consistent {
            true => CONSISTENT,
            false => EVENTUAL,
        }
    }

    /// The outcome of each key of a call, and the consumed capacity.
    ///
    /// # Errors
    /// A description of the first inconsistency of the response.
    fn key_outcomes(
        &self,
        keys: &[Entry<CheckedRecord>],
        response: GetResponse,
    ) -> Result<KeyOutcomes, String> {
        let mut outcomes: Vec<KeyOutcome> = keys.iter().map(|_| KeyOutcome::Missing).collect();
        let unexpected = || "it has a key that was not requested".to_owned();
        for item in response.items {
            let at = find_key(keys, &item.hash).ok_or_else(unexpected)?;
            if !matches!(outcomes[at], KeyOutcome::Missing) {
                return Err("it has an item twice".to_owned());
            }
            let own = || {
                self.template
                    .own_difference(&item, &keys[at].item.0.attributes)
            };
            outcomes[at] = match item.mismatch.clone().or_else(own) {
                None => KeyOutcome::Found,
                Some(difference) => KeyOutcome::Different(FindingKind::Different(difference)),
            };
        }
        for hash in response.unprocessed {
            let at = find_key(keys, &hash).ok_or_else(unexpected)?;
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

impl<T, F> CheckHandler<'_, T, F>
where
    T: BatchGet,
    F: FnMut(UnresolvedFinding) -> Result<()>,
{
    /// Settles the units of a call, counts the outcomes of its keys, and requeues keys that
    /// need another read.
    fn record_outcomes(
        &mut self,
        call: FinishedCall<CheckedRecord>,
        (outcomes, consumed): KeyOutcomes,
        queue: &mut RetryQueue<CheckedRecord>,
    ) -> CallOutcome<CheckedRecord> {
        let Batch { kind, entries, .. } = call.batch;
        let count = entries.len();
        let is_unprocessed = |o: &&KeyOutcome| matches!(o, KeyOutcome::Unprocessed);
        let unprocessed = outcomes.iter().filter(is_unprocessed).count();
        let read = count - unprocessed;
        let paid_each = call.paid / count as f64;
        let min_rcu = MIN_KEY_RCU[kind];
        if read > 0
            && let Some(consumed) = &consumed
        {
            self.key_rcu[kind] = (consumed.total / read as f64).max(min_rcu);
        }
        let formula_rcu = read as f64 * min_rcu;
        let consumed_rcu = consumed.as_ref().map_or(formula_rcu, |c| c.total);
        self.checker.counters.update(|a| {
            a.unprocessed += unprocessed as u64;
            a.consumed_rcu += consumed_rcu;
        });
        CallOutcome {
            success: (read > 0).then_some((paid_each * read as f64, consumed)),
            throttled: (unprocessed > 0).then(|| (paid_each * unprocessed as f64, Vec::new())),
            retry: self.resolve(kind, entries, outcomes, queue),
            failure: (read == 0).then(|| Failure::Retryable {
                is_expired: false,
                cause: "DynamoDB returned every key of the call as unprocessed".into(),
            }),
            ..CallOutcome::default()
        }
    }

    /// Counts the outcomes of a call's keys, and queues second reads. Returns the
    /// unprocessed keys.
    fn resolve(
        &mut self,
        kind: usize,
        entries: Vec<Entry<CheckedRecord>>,
        outcomes: Vec<KeyOutcome>,
        queue: &mut RetryQueue<CheckedRecord>,
    ) -> Vec<Entry<CheckedRecord>> {
        let (mut found, mut missing, mut different) = (0, 0, 0);
        let (mut unprocessed, mut second_reads) = (Vec::new(), Vec::new());
        for (entry, outcome) in entries.into_iter().zip(outcomes) {
            let Record { hash, position, .. } = entry.item.0;
            let kind = match outcome {
                KeyOutcome::Found => {
                    found += 1;
                    self.order.resolve(position, None);
                    continue;
                }
                KeyOutcome::Unprocessed => {
                    unprocessed.push(entry);
                    continue;
                }
                // An eventually consistent read may lag behind recent writes.
                KeyOutcome::Missing | KeyOutcome::Different(_) if kind == EVENTUAL => {
                    second_reads.push(entry.item);
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
                position,
                kind,
            };
            self.order.resolve(position, Some(finding));
        }
        self.checker.counters.update(|a| {
            a.found += found;
            a.missing += missing;
            a.different += different;
        });
        queue.extend(CONSISTENT, second_reads, Instant::now());
        unprocessed
    }

    /// Retries all keys of a call that failed, unless the error is permanent.
    fn retry(
        &self,
        call: FinishedCall<CheckedRecord>,
        error: CallError,
    ) -> CallOutcome<CheckedRecord> {
        let entries = call.batch.entries;
        tracing::debug!("a call of {} keys failed: {error}", entries.len());
        let mut outcome = CallOutcome::default();
        if error.class == ErrorClass::Throttled {
            self.checker.counters.update(|a| a.throttled += 1);
            outcome.throttled = Some((call.paid, error.reasons.clone()));
        }
        outcome.retry = entries;
        outcome.failure = Some(match error.class {
            ErrorClass::Permanent | ErrorClass::Invalid => {
                let table = self.checker.table_name;
                Failure::Fatal(permanent_read_error(
                    table,
                    "scripts/iam/verify.json",
                    error,
                ))
            }
            class => Failure::Retryable {
                is_expired: class == ErrorClass::Expired,
                cause: error.into(),
            },
        });
        outcome
    }

    /// Passes a finding to `on_finding`, unless that has failed before.
    fn report_finding(&mut self, finding: UnresolvedFinding) -> Result<()> {
        if self.has_failed {
            return Ok(());
        }
        let reported = (self.on_finding)(finding);
        self.has_failed = reported.is_err();
        reported
    }
}

#[cfg(test)]
mod outages;
#[cfg(test)]
mod tests;
