//! Writer: sends batches to DynamoDB at the target rate until each item is acknowledged.
//!
//! One loop owns the queue and all calls in flight. It composes the next batch, waits until
//! the token bucket covers its cost, sends it, and handles the response:
//!
//! * it counts written items;
//! * it requeues unprocessed items with a back-off, as well as all items of a call that was
//!   throttled, failed or timed out; a retry takes tokens again;
//! * it bisects a batch with a validation error until the invalid item is alone; that line
//!   is rejected, the others are written;
//! * it stops the run at a permanent error (no permission, no such table).
//!
//! Conditional deletes are single calls in the same loop: see
//! [`ItemTemplate::with_delete_condition`].
//!
//! A failed call may have written its items or not. A put is idempotent, so the writer
//! retries it. The number of retries is unlimited; only the time without any progress is
//! limited ([`WriterOptions::give_up_after`]). An outage of DynamoDB of ten minutes must
//! not end an import of three days.
//!
//! While no item is accepted, the writer sends a call with one item every half second,
//! regardless of the back-off of that item.
//!
//! After a stop, the writer sends nothing more. Calls in flight have `DRAIN_TIMEOUT` to
//! finish; items that are not acknowledged then count as `failed`.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::{Action, Record, RejectReason};
use crate::dynamodb::batch_write::{UnprocessedItem, WriteResponse};
use crate::dynamodb::client::operation::BatchWrite;
use crate::dynamodb::delete_item::CONDITION_FAILED;
use crate::dynamodb::item::ItemTemplate;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Concurrency, ConcurrencyLimit};
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::retry_queue::{Batch, Entry, RetryQueue};
use crate::pipeline::progress::counts::{Counters, LineOutcome};
use crate::pipeline::progress::watermark::WatermarkTracker;
use crate::pipeline::rejects::Rejects;
use bytes::Bytes;

use std::time::Duration;
use tokio::time::Instant;

/// Maximum time with expired credentials. The credential chain renews renewable ones
/// within seconds.
const EXPIRED_TIMEOUT: Duration = Duration::from_secs(120);

/// Number of consecutive invalid items, without an accepted one, after which all items
/// are assumed to be invalid.
const MAX_CONSECUTIVE_REJECTS: u32 = 25;

/// Options of a [`Writer`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterOptions {
    /// Maximum number of calls in flight, fixed or adapted to rate and latency.
    pub concurrency: Concurrency,
    /// Maximum time without a single written item.
    pub give_up_after: Duration,
}

/// End of the writer.
#[derive(Debug)]
pub(crate) enum RunEnd {
    /// Every record has an outcome.
    Complete,
    /// A stop was requested.
    Stopped,
    /// An error ended the run.
    Failed(Error),
}

/// Writer of records to one table. See the [module](self).
#[derive(Debug)]
pub(crate) struct Writer<'a, T> {
    /// The table.
    pub table: &'a T,
    /// Name of the table, for messages.
    pub table_name: &'a str,
    /// Template of the items.
    pub template: &'a ItemTemplate,
    /// Rate limiter of the run.
    pub rate_limiter: &'a RateLimiter,
    /// Counters of the run.
    pub counters: &'a Counters,
    /// Watermark of the run.
    pub watermark: &'a WatermarkTracker,
    /// Destination of rejected lines.
    pub rejects: &'a Rejects,
    /// Concurrency and time limit.
    pub options: WriterOptions,
}

/// State of the loop.
pub(super) struct WriterState {
    pub(super) queue: RetryQueue,
    pub(crate) backoff: Backoff,
    /// Start of the time without a written item; `None` if the last call wrote one.
    pub(crate) stalled_since: Option<Instant>,
    /// Invalid items since the last written item.
    pub(super) consecutive_rejects: u32,
    /// The last response without unprocessed items, parsed. Responses to full batches are
    /// usually byte-identical, so most need no parsing.
    pub(super) last_response: Option<(Bytes, WriteResponse)>,
    /// Limit of calls in flight.
    pub(crate) concurrency_limit: ConcurrencyLimit,
    pub(crate) run_end: Option<RunEnd>,
}

impl<T: BatchWrite> Writer<'_, T> {
    /// True if a batch is a single conditional delete.
    pub(super) fn is_single_delete(&self, batch: &Batch) -> bool {
        let is_delete = |e: &Entry| e.record.action == Action::Delete;
        self.template.has_conditional_deletes() && batch.entries.first().is_some_and(is_delete)
    }

    /// Handles the response to `batch`.
    pub(super) fn handle_response(
        &self,
        s: &mut WriterState,
        batch: Batch,
        started: Instant,
        response: Result<Bytes, CallError>,
    ) {
        let single_delete = self.is_single_delete(&batch);
        if single_delete
            && let Err(error) = &response
            && error.code.as_deref() == Some(CONDITION_FAILED)
        {
            return self.record_kept(s, &batch.entries, started);
        }
        let response =
            response.and_then(|body| self.parse_response(s, &batch, single_delete, body));
        let error = match response {
            Ok(response) => match self.record_acknowledged(s, batch, started, response) {
                Some(error) => error,
                None => return,
            },
            Err(error) => {
                match error.class {
                    ErrorClass::Invalid => return self.bisect(s, batch, &error),
                    ErrorClass::Throttled => {
                        self.rate_limiter
                            .record_throttled(self.batch_wcu(&batch.entries), &error.reasons);
                        self.counters.update(|c| c.throttled += 1);
                    }
                    ErrorClass::Transient | ErrorClass::Expired | ErrorClass::Permanent => {}
                }
                tracing::debug!("a call of {} items failed: {error}", batch.entries.len());
                self.requeue(s, batch.entries);
                error
            }
        };
        self.handle_failure(s, &error);
    }

    /// Parses the response to `batch`. Unprocessed items that were not in the batch are an
    /// error.
    fn parse_response(
        &self,
        s: &mut WriterState,
        batch: &Batch,
        single_delete: bool,
        body: Bytes,
    ) -> Result<WriteResponse, CallError> {
        if single_delete {
            let response = self.template.parse_delete_response(&body);
            return response.map_err(CallError::unrecognised_response);
        }
        if let Some((_, response)) = s.last_response.as_ref().filter(|(last, _)| *last == body) {
            return Ok(response.clone());
        }
        let response = self
            .template
            .parse_write_response(&body)
            .map_err(CallError::unrecognised_response)?;
        if response.unprocessed.is_empty() {
            s.last_response = Some((body, response.clone()));
        }
        let is_in_batch = |r: &UnprocessedItem| batch.entries.iter().any(|e| r.matches(&e.record));
        match response.unprocessed.iter().find(|r| !is_in_batch(r)) {
            Some(_) => Err(CallError::unrecognised_response(
                "an unprocessed item was not in the batch",
            )),
            None => Ok(response),
        }
    }

    /// Counts the acknowledged items of `batch` and requeues the unprocessed ones. Returns
    /// an error if no item was acknowledged.
    fn record_acknowledged(
        &self,
        s: &mut WriterState,
        batch: Batch,
        started: Instant,
        response: WriteResponse,
    ) -> Option<CallError> {
        let items = response.unprocessed;
        let is_unprocessed = |e: &Entry| items.iter().any(|r| r.matches(&e.record));
        let (unprocessed, done): (Vec<Entry>, Vec<Entry>) = match items.is_empty() {
            true => (Vec::new(), batch.entries),
            false => batch.entries.into_iter().partition(is_unprocessed),
        };
        let (deleted, written) = self.record_outcomes(&done);
        let by_formula = self.batch_wcu(&done);
        // Report throttling before success: some items were accepted, so the table is not
        // down.
        if !unprocessed.is_empty() {
            self.rate_limiter
                .record_throttled(self.batch_wcu(&unprocessed), &[]);
        }
        if !done.is_empty()
            && self
                .rate_limiter
                .record_success(by_formula, response.consumed.as_ref())
        {
            s.queue.release_delayed(Instant::now());
        }
        self.counters.update(|c| {
            c.line_counts.written += written;
            c.line_counts.deleted += deleted;
            c.unprocessed += unprocessed.len() as u64;
            c.consumed_wcu += response.consumed.as_ref().map_or(by_formula, |c| c.total);
        });
        if !done.is_empty() {
            s.concurrency_limit.observe(started, Instant::now());
            s.stalled_since = None;
            s.consecutive_rejects = 0;
        }
        if unprocessed.is_empty() {
            return None;
        }
        self.requeue(s, unprocessed);
        done.is_empty().then(|| CallError {
            class: ErrorClass::Throttled,
            code: None,
            message: "DynamoDB left every item of the batch unprocessed".into(),
            reasons: Vec::new(),
            no_credentials: false,
        })
    }

    /// WCU of a call with `entries`.
    pub(super) fn batch_wcu(&self, entries: &[Entry]) -> f64 {
        entries
            .iter()
            .map(|e| self.template.record_write_units(&e.record))
            .sum()
    }

    /// Records the outcome of acknowledged items. Returns the number of deletes and puts.
    fn record_outcomes(&self, done: &[Entry]) -> (u64, u64) {
        let mut counts = [0; 2];
        for (count, action, outcome) in [
            (0, Action::Delete, LineOutcome::Deleted),
            (1, Action::Put, LineOutcome::Written),
        ] {
            let entries = done.iter().filter(|e| e.record.action == action);
            counts[count] = entries.clone().count() as u64;
            if counts[count] > 0 {
                self.watermark
                    .record_outcome(entries.map(|e| &e.record), outcome);
            }
        }
        (counts[0], counts[1])
    }

    /// Counts deletes whose items have another source. A failed condition consumes WCU.
    fn record_kept(&self, s: &mut WriterState, entries: &[Entry], started: Instant) {
        self.watermark
            .record_outcome(entries.iter().map(|e| &e.record), LineOutcome::Kept);
        let units = self.batch_wcu(entries);
        self.rate_limiter.record_success(units, None);
        self.counters.update(|c| {
            c.line_counts.kept += entries.len() as u64;
            c.consumed_wcu += units;
        });
        s.concurrency_limit.observe(started, Instant::now());
        s.stalled_since = None;
        s.consecutive_rejects = 0;
    }

    /// Requeues entries with a back-off.
    fn requeue(&self, s: &mut WriterState, mut entries: Vec<Entry>) {
        for e in &mut entries {
            e.attempts += 1;
        }
        let attempts = entries.iter().map(|e| e.attempts).max().unwrap_or(1);
        let ready = Instant::now() + s.backoff.wait(attempts);
        for e in entries {
            s.queue.push_retry(e, ready);
        }
    }

    /// Handles a call that wrote nothing: ends the run if the error is permanent or lasts
    /// too long.
    fn handle_failure(&self, s: &mut WriterState, error: &CallError) {
        if s.run_end.is_some() {
            return;
        }
        let table = self.table_name;
        if error.class == ErrorClass::Permanent {
            let e = Error::new(
                ErrorKind::Write,
                format!("DynamoDB does not accept writes to table {table}"),
            )
            .with_source(error.clone());
            let hint = match error.code.as_deref() {
                Some("AccessDeniedException") if error.message.contains("dynamodb:DeleteItem") => {
                    "the credentials need dynamodb:DeleteItem on this table (see \
                     scripts/iam/refresh.json); then run this again"
                }
                Some("AccessDeniedException") => {
                    "the credentials need dynamodb:BatchWriteItem on this table (see \
                     scripts/iam/ingest.json); then run this again"
                }
                Some("ResourceNotFoundException") => {
                    "the table is gone, or not ready; once it is ACTIVE, run this again"
                }
                _ => "correct the cause, then run this again",
            };
            s.run_end = Some(RunEnd::Failed(e.with_hint(hint)));
            return;
        }
        let since = *s.stalled_since.get_or_insert_with(Instant::now);
        let patience = match error.class {
            ErrorClass::Expired => self.options.give_up_after.min(EXPIRED_TIMEOUT),
            _ => self.options.give_up_after,
        };
        if since.elapsed() >= patience {
            let seconds = patience.as_secs();
            let e = Error::new(
                ErrorKind::Write,
                format!(
                    "nothing could be written to table {table} for {seconds} s; the last response"
                ),
            )
            .with_source(error.clone());
            let hint = match error.class {
                ErrorClass::Expired => "renew the credentials, then run this again",
                _ => {
                    "run this again when DynamoDB responds; --give-up-after sets how long to retry"
                }
            };
            s.run_end = Some(RunEnd::Failed(e.with_hint(hint)));
        }
    }

    /// Bisects a batch with a validation error, or rejects its only item.
    fn bisect(&self, s: &mut WriterState, batch: Batch, error: &CallError) {
        let Some(entry) = s.queue.bisect(batch) else {
            return;
        };
        let Record {
            hash,
            position: place,
            ..
        } = &entry.record;
        self.counters.update(|c| c.line_counts.rejected += 1);
        s.consecutive_rejects += 1;
        let text = hash.to_hex(crate::base::hash::Case::Upper);
        let added = self.rejects.add(
            *place,
            &self.watermark.sources().name(place.source),
            RejectReason::InvalidItem,
            text.as_bytes(),
            Some(&error.to_string()),
        );
        if added.is_ok() {
            self.watermark
                .record_outcome([&entry.record], LineOutcome::Rejected);
        }
        if s.run_end.is_some() {
            return;
        }
        if let Err(e) = added {
            s.run_end = Some(RunEnd::Failed(e));
        } else if s.consecutive_rejects >= MAX_CONSECUTIVE_REJECTS {
            let e = Error::new(
                ErrorKind::Write,
                format!("DynamoDB reports every item for table {} as invalid", self.table_name),
            )
            .with_source(error.clone())
            .with_hint("check that --type, --source, --desc and --attr fit the table and its indexes, and --key the table");
            s.run_end = Some(RunEnd::Failed(e));
        }
    }
}

#[cfg(test)]
mod tests;
