//! Writer: sends records to DynamoDB at the target rate until each item is acknowledged.
//!
//! The [dispatcher](crate::flow::dispatcher) composes, pays for, sends and retries its
//! calls. The writer handles the responses:
//!
//! * it counts written items;
//! * unprocessed items are retried, and so are all items of a call that was throttled,
//!   failed or timed out;
//! * it bisects a batch with a validation error until the invalid item is alone; that line
//!   is rejected, the others are written;
//! * a permanent error (no permission, no such table) ends the run.
//!
//! Conditional deletes are a separate kind of calls, with one item each: see
//! [`ItemTemplate::with_delete_condition`].
//!
//! A failed call may have written its items or not. A put is idempotent, so it is retried.
//! After a stop, items that are not acknowledged count as `failed`.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::{Action, Record, RejectReason};
use crate::base::shutdown::Stop;
use crate::dynamodb::batch_write::{UnprocessedItem, WriteResponse};
use crate::dynamodb::client::operation::BatchWrite;
use crate::dynamodb::delete_item::CONDITION_FAILED;
use crate::dynamodb::item::ItemTemplate;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Concurrency;
use crate::flow::dispatcher::{
    CallHandler, CallOutcome, CallSender, DispatchOptions, Dispatcher, Failure, FinishedCall,
    RunEnd,
};
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::retry_queue::{Batch, Entry, KindOptions, RetryQueue};
use crate::pipeline::progress::counts::{Counters, LineOutcome};
use crate::pipeline::progress::watermark::{RecordBatch, WatermarkTracker};
use crate::pipeline::rejects::Rejects;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Kind of calls with conditional deletes, each in a separate call.
const DELETES: usize = 0;

/// Kind of calls with a batch of other records.
const BATCHES: usize = 1;

/// Time that an incomplete batch waits for more input.
const LINGER: Duration = Duration::from_millis(200);

/// Number of consecutive invalid items, without an accepted one, after which all items
/// are assumed to be invalid.
const MAX_CONSECUTIVE_REJECTS: u32 = 25;

#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterOptions {
    /// Maximum number of calls in flight, fixed or adapted to rate and latency.
    pub concurrency: Concurrency,
    /// Maximum time without a single written item.
    pub give_up_after: Duration,
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

/// Handler of the responses.
struct WriteHandler<'a, T> {
    writer: &'a Writer<'a, T>,
    /// Invalid items since the last written item.
    consecutive_rejects: u32,
    /// The last response without unprocessed items, parsed. Responses to full batches are
    /// usually byte-identical, so most need no parsing.
    last_response: Option<(Bytes, WriteResponse)>,
}

impl<T: BatchWrite> Writer<'_, T> {
    /// Writes the records of `fresh` until the channel is closed and all are written, or
    /// until `stop`. Records that are left at the end count as failed.
    pub(crate) async fn run(
        &self,
        fresh: mpsc::Receiver<RecordBatch>,
        stop: &Stop,
        backoff: Backoff,
    ) -> RunEnd {
        let max_items = self.template.max_batch_items();
        let kind = |max_items| KindOptions {
            max_items,
            linger: LINGER,
        };
        let dispatcher = Dispatcher {
            rate_limiter: self.rate_limiter,
            stop,
            options: DispatchOptions {
                concurrency: self.options.concurrency,
                give_up_after: self.options.give_up_after,
                read_ahead: max_items,
                max_items,
                is_eager: false,
                sends_probes: true,
                error_kind: ErrorKind::Write,
                action: format!("written to table {}", self.table_name),
            },
        };
        let mut handler = WriteHandler {
            writer: self,
            consecutive_rejects: 0,
            last_response: None,
        };
        let queue = RetryQueue::new(&[kind(1), kind(max_items)]);
        let result = dispatcher
            .run(queue, self, &mut handler, fresh, &mut (), backoff)
            .await;
        self.counters
            .update(|c| c.line_counts.failed += result.unfinished);
        result.end
    }

    /// WCU of a call with `entries`.
    fn batch_wcu(&self, entries: &[Entry<Record>]) -> f64 {
        entries
            .iter()
            .map(|e| self.template.record_write_units(&e.item))
            .sum()
    }

    /// Records the outcome of acknowledged items. Returns the number of deletes and puts.
    fn record_outcomes(&self, done: &[Entry<Record>]) -> (u64, u64) {
        let mut counts = [0; 2];
        for (count, action, outcome) in [
            (0, Action::Delete, LineOutcome::Deleted),
            (1, Action::Put, LineOutcome::Written),
        ] {
            let entries = done.iter().filter(|e| e.item.action == action);
            counts[count] = entries.clone().count() as u64;
            if counts[count] > 0 {
                self.watermark
                    .record_outcome(entries.map(|e| &e.item), outcome);
            }
        }
        (counts[0], counts[1])
    }

    /// The error of a run that a permanent error ends.
    fn permanent_error(&self, error: CallError) -> Error {
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
        let table = self.table_name;
        let problem = format!("DynamoDB does not accept writes to table {table}");
        let e = Error::new(ErrorKind::Write, problem).with_source(error);
        e.with_hint(hint)
    }
}

impl<T> Writer<'_, T> {
    /// The error of a run whose items are all invalid.
    fn all_invalid_error(&self, error: CallError) -> Error {
        let table = self.table_name;
        let problem = format!("DynamoDB reports every item for table {table} as invalid");
        Error::new(ErrorKind::Write, problem)
            .with_source(error)
            .with_hint(
                "check that --type, --source, --desc and --attr fit the table and its indexes, and \
                 --key the table",
            )
    }
}

impl<T: BatchWrite> CallSender<Record> for Writer<'_, T> {
    type Response = Result<Bytes, CallError>;

    async fn send(&self, batch: &Batch<Record>) -> Self::Response {
        // A request of 25 items with a few short attributes has some 6 KB.
        let mut body = Vec::with_capacity(8 * 1024);
        let is_retry = batch.is_bisected || batch.entries.iter().any(|e| e.attempts > 0);
        self.counters.update(|c| {
            c.requests += 1;
            c.retries += u64::from(is_retry);
        });
        let mut records = batch.entries.iter().map(|e| &e.item);
        match (batch.kind, records.clone().next()) {
            (DELETES, Some(record)) => {
                self.template.write_delete_request(record, &mut body);
                self.table.delete_item(Bytes::from(body)).await
            }
            _ => {
                self.template.write_request(&mut records, &mut body);
                self.table.batch_write(Bytes::from(body)).await
            }
        }
    }
}

impl<T: BatchWrite> CallHandler for WriteHandler<'_, T> {
    type Item = Record;
    type Input = RecordBatch;
    type Response = Result<Bytes, CallError>;

    fn full_call_units(&self, queue: &RetryQueue<Record>) -> f64 {
        let template = self.writer.template;
        // Single deletes are smaller calls, so more of them must be in flight.
        match queue.kind_len(DELETES) {
            0 => template.write_units() * template.max_batch_items() as f64,
            _ => template.write_units(),
        }
    }

    fn units(&self, batch: &Batch<Record>) -> f64 {
        self.writer.batch_wcu(&batch.entries)
    }

    fn receive(&mut self, mut input: RecordBatch, queue: &mut RetryQueue<Record>, now: Instant) {
        let Writer {
            watermark,
            template,
            ..
        } = self.writer;
        watermark.start_segment(input.segment, &mut input.records);
        if !template.has_conditional_deletes() {
            return queue.extend(BATCHES, input.records, now);
        }
        let is_delete = |r: &Record| r.action == Action::Delete;
        let (deletes, puts): (Vec<_>, Vec<_>) = input.records.into_iter().partition(is_delete);
        queue.extend(DELETES, deletes, now);
        queue.extend(BATCHES, puts, now);
    }

    fn count(&self, input: &RecordBatch) -> u64 {
        input.records.len() as u64
    }

    fn may_receive(&self, _: usize) -> bool {
        !self.writer.watermark.is_full()
    }

    fn handle(
        &mut self,
        call: FinishedCall<Record>,
        response: Self::Response,
        queue: &mut RetryQueue<Record>,
    ) -> CallOutcome<Record> {
        let batch = call.batch;
        if batch.kind == DELETES
            && let Err(error) = &response
            && error.code.as_deref() == Some(CONDITION_FAILED)
        {
            return self.record_kept(&batch.entries);
        }
        match response.and_then(|body| self.parse_response(&batch, body)) {
            Ok(response) => self.record_acknowledged(batch, response),
            Err(error) if error.class == ErrorClass::Invalid => self.bisect(batch, error, queue),
            Err(error) => self.retry(batch, error),
        }
    }

    fn record_in_flight(&self, calls: u64) {
        self.writer.counters.update(|c| c.in_flight = calls);
    }
}

impl<T: BatchWrite> WriteHandler<'_, T> {
    /// Parses the response to `batch`. Unprocessed items that were not in the batch are an
    /// error.
    fn parse_response(
        &mut self,
        batch: &Batch<Record>,
        body: Bytes,
    ) -> Result<WriteResponse, CallError> {
        let template = self.writer.template;
        if batch.kind == DELETES {
            let response = template.parse_delete_response(&body);
            return response.map_err(CallError::unrecognised_response);
        }
        if let Some((_, response)) = self
            .last_response
            .as_ref()
            .filter(|(last, _)| *last == body)
        {
            return Ok(response.clone());
        }
        let response = template
            .parse_write_response(&body)
            .map_err(CallError::unrecognised_response)?;
        if response.unprocessed.is_empty() {
            self.last_response = Some((body, response.clone()));
        }
        let is_in_batch = |u: &UnprocessedItem| batch.entries.iter().any(|e| u.matches(&e.item));
        match response.unprocessed.iter().all(is_in_batch) {
            false => Err(CallError::unrecognised_response(
                "an unprocessed item was not in the batch",
            )),
            true => Ok(response),
        }
    }

    /// Counts the acknowledged items of `batch`, and retries the unprocessed ones.
    fn record_acknowledged(
        &mut self,
        batch: Batch<Record>,
        response: WriteResponse,
    ) -> CallOutcome<Record> {
        let writer = self.writer;
        let items = response.unprocessed;
        let is_unprocessed = |e: &Entry<Record>| items.iter().any(|u| u.matches(&e.item));
        let (unprocessed, done): (Vec<_>, Vec<_>) = match items.is_empty() {
            true => (Vec::new(), batch.entries),
            false => batch.entries.into_iter().partition(is_unprocessed),
        };
        let (deleted, written) = writer.record_outcomes(&done);
        let by_formula = writer.batch_wcu(&done);
        writer.counters.update(|c| {
            c.line_counts.written += written;
            c.line_counts.deleted += deleted;
            c.unprocessed += unprocessed.len() as u64;
            c.consumed_wcu += response.consumed.as_ref().map_or(by_formula, |c| c.total);
        });
        if !done.is_empty() {
            self.consecutive_rejects = 0;
        }
        let failure = done.is_empty().then(|| Failure::Retryable {
            is_expired: false,
            cause: "DynamoDB left every item of the batch unprocessed".into(),
        });
        CallOutcome {
            success: (!done.is_empty()).then_some((by_formula, response.consumed)),
            throttled: (!unprocessed.is_empty())
                .then(|| (writer.batch_wcu(&unprocessed), Vec::new())),
            retry: unprocessed,
            failure,
            ..CallOutcome::default()
        }
    }

    /// Counts deletes whose items have another source. A failed condition consumes WCU.
    fn record_kept(&mut self, entries: &[Entry<Record>]) -> CallOutcome<Record> {
        let writer = self.writer;
        writer
            .watermark
            .record_outcome(entries.iter().map(|e| &e.item), LineOutcome::Kept);
        let units = writer.batch_wcu(entries);
        writer.counters.update(|c| {
            c.line_counts.kept += entries.len() as u64;
            c.consumed_wcu += units;
        });
        self.consecutive_rejects = 0;
        CallOutcome {
            success: Some((units, None)),
            ..CallOutcome::default()
        }
    }

    /// Retries all items of a call that failed, unless the error is permanent.
    fn retry(&self, batch: Batch<Record>, error: CallError) -> CallOutcome<Record> {
        let writer = self.writer;
        tracing::debug!("a call of {} items failed: {error}", batch.entries.len());
        let mut outcome = CallOutcome::default();
        if error.class == ErrorClass::Throttled {
            writer.counters.update(|c| c.throttled += 1);
            outcome.throttled = Some((writer.batch_wcu(&batch.entries), error.reasons.clone()));
        }
        outcome.retry = batch.entries;
        outcome.failure = Some(match error.class {
            ErrorClass::Permanent => Failure::Fatal(writer.permanent_error(error)),
            class => Failure::Retryable {
                is_expired: class == ErrorClass::Expired,
                cause: error.into(),
            },
        });
        outcome
    }

    /// Bisects a batch with a validation error, or rejects its only item.
    fn bisect(
        &mut self,
        batch: Batch<Record>,
        error: CallError,
        queue: &mut RetryQueue<Record>,
    ) -> CallOutcome<Record> {
        let mut outcome = CallOutcome::default();
        let Some(entry) = queue.bisect(batch) else {
            return outcome;
        };
        let writer = self.writer;
        let Record { hash, position, .. } = &entry.item;
        writer.counters.update(|c| c.line_counts.rejected += 1);
        self.consecutive_rejects += 1;
        let added = writer.rejects.add(
            *position,
            &writer.watermark.sources().name(position.source),
            RejectReason::InvalidItem,
            hash.to_hex(crate::base::hash::Case::Upper).as_bytes(),
            Some(&error.to_string()),
        );
        outcome.failure = match added {
            Err(e) => Some(Failure::Fatal(e)),
            Ok(()) => {
                let watermark = writer.watermark;
                watermark.record_outcome([&entry.item], LineOutcome::Rejected);
                (self.consecutive_rejects >= MAX_CONSECUTIVE_REJECTS)
                    .then(|| Failure::Fatal(writer.all_invalid_error(error)))
            }
        };
        outcome
    }
}

#[cfg(test)]
mod tests;
