//! Loop of the writer: compose a batch, wait for tokens, send it, handle the response.

use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::shutdown::Stop;
use crate::dynamodb::client::operation::BatchWrite;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::ConcurrencyLimit;
use crate::flow::retry_queue::{Batch, RetryQueue};
use crate::pipeline::progress::counts::LineOutcome;
use crate::pipeline::progress::watermark::RecordBatch;
use crate::pipeline::writer::{RunEnd, Writer, WriterState};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Timeout for calls in flight after the end of the run.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that an incomplete batch waits for more input.
const LINGER: Duration = Duration::from_millis(200);

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl<T: BatchWrite> Writer<'_, T> {
    /// Writes the records of `fresh` until the channel is closed and all are written, or
    /// until `stop`. Records that are left at the end count as failed.
    pub(crate) async fn run(
        &self,
        mut fresh: mpsc::Receiver<RecordBatch>,
        stop: &Stop,
        backoff: Backoff,
    ) -> RunEnd {
        let batch_items = self.template.max_batch_items();
        let batch_units = self.template.write_units() * batch_items as f64;
        let mut s = WriterState {
            queue: match self.template.has_conditional_deletes() {
                true => RetryQueue::new(batch_items).with_single_deletes(),
                false => RetryQueue::new(batch_items),
            },
            backoff,
            stalled_since: None,
            consecutive_rejects: 0,
            last_response: None,
            concurrency_limit: ConcurrencyLimit::new(self.options.concurrency),
            run_end: None,
        };
        let mut in_flight = FuturesUnordered::new();
        let mut in_flight_records = 0u64;
        let mut next: Option<Batch> = None;
        let mut open = true;
        let mut linger: Option<Instant> = None;
        let mut drain: Option<Instant> = None;
        // Created once: a new future per iteration would register a new waiter.
        let requested = stop.requested();
        tokio::pin!(requested);

        loop {
            let now = Instant::now();
            // Single deletes are smaller calls, so more of them must be in flight.
            let call_units = match s.queue.single_deletes() {
                0 => batch_units,
                _ => self.template.write_units(),
            };
            let concurrency = s
                .concurrency_limit
                .calls(self.rate_limiter.rate(), call_units);
            // Pause reading while retries alone can fill every call.
            let retry_limit = concurrency * batch_items * 2;
            let turn = self.rate_limiter.next_call(now);
            if s.run_end.is_none() {
                if turn.is_probe() {
                    next = s.queue.compose_one(next, now);
                } else if next.is_none() && in_flight.len() < concurrency {
                    let flush = !open || linger.is_some_and(|at| at <= now);
                    next = s.queue.compose(now, flush);
                    let duplicates = s.queue.take_duplicates();
                    if !duplicates.is_empty() {
                        let count = duplicates.len() as u64;
                        self.counters.update(|c| c.line_counts.duplicates += count);
                        self.watermark
                            .record_outcome(&duplicates, LineOutcome::Duplicate);
                    }
                    if next.is_some() {
                        linger = None;
                    } else if open && linger.is_none() && !s.queue.is_empty() {
                        linger = Some(now + LINGER);
                    }
                }
                if !open && next.is_none() && s.queue.is_empty() && in_flight.is_empty() {
                    s.run_end = Some(RunEnd::Complete);
                }
            }
            if s.run_end.is_some() {
                if in_flight.is_empty() || drain.is_some_and(|at| at <= now) {
                    break;
                }
                if drain.is_none() {
                    drain = Some(now + DRAIN_TIMEOUT);
                    open = false;
                    fresh.close();
                }
            }
            let running = s.run_end.is_none();
            let room = in_flight.len() < concurrency && turn.is_due(now);
            let may_send = running && next.is_some() && room;
            let may_read = running
                && open
                && s.queue.fresh() < batch_items
                && s.queue.retries() < retry_limit
                && !self.watermark.is_full();
            let units = next.as_ref().map_or(0.0, |b| self.batch_wcu(&b.entries));
            // Next iteration if no other event comes.
            let wake = match drain {
                Some(at) => Some(at),
                None if next.is_some() => turn.next_check(now),
                None => [s.queue.next_ready(), linger, turn.next_check(now)]
                    .into_iter()
                    .flatten()
                    .filter(|at| *at > now)
                    .min(),
            };

            tokio::select! {
                biased;
                () = &mut requested, if running => s.run_end = Some(RunEnd::Stopped),
                () = stop.forced(), if !running => drain = Some(now),
                Some((batch, started, response)) = in_flight.next(), if !in_flight.is_empty() => {
                    let batch: Batch = batch;
                    in_flight_records -= batch.entries.len() as u64;
                    self.counters.update(|c| c.in_flight = in_flight.len() as u64);
                    self.handle_response(&mut s, batch, started, response);
                }
                () = self.rate_limiter.take(turn, units), if may_send => {
                    if let Some(batch) = next.take() {
                        in_flight_records += batch.entries.len() as u64;
                        in_flight.push(self.send(batch));
                        let calls = in_flight.len() as u64;
                        self.counters.update(|c| c.in_flight = calls);
                    }
                }
                received = fresh.recv(), if may_read => match received {
                    Some(mut input) => {
                        self.watermark.start_segment(input.segment, &mut input.records);
                        s.queue.push_fresh(input.records);
                    }
                    None => open = false,
                },
                () = sleep_until(wake), if wake.is_some() => {}
                else => {
                    // Unreachable: the loop must always leave a branch enabled.
                    let e = Error::new(ErrorKind::Internal, "the writer has nothing to wait for");
                    s.run_end = Some(RunEnd::Failed(e));
                }
            }
        }

        let mut left = s.queue.len() as u64 + in_flight_records;
        left += next.map_or(0, |b| b.entries.len() as u64);
        fresh.close();
        while let Some(input) = fresh.recv().await {
            left += input.records.len() as u64;
        }
        self.counters.update(|c| {
            c.line_counts.failed += left;
            c.in_flight = 0;
        });
        s.run_end.unwrap_or(RunEnd::Complete)
    }

    /// Sends a batch once. Returns it with the start time and the response.
    async fn send(&self, batch: Batch) -> (Batch, Instant, Result<Bytes, CallError>) {
        // A request of 25 items with a few short attributes has some 6 KB.
        let mut body = Vec::with_capacity(8 * 1024);
        let single_delete = self.is_single_delete(&batch);
        match (single_delete, batch.entries.first()) {
            (true, Some(entry)) => self.template.write_delete_request(&entry.record, &mut body),
            _ => (self.template).write_request(batch.entries.iter().map(|e| &e.record), &mut body),
        }
        let is_retry = batch.is_bisected || batch.entries.iter().any(|e| e.attempts > 0);
        self.counters.update(|c| {
            c.requests += 1;
            c.retries += u64::from(is_retry);
        });
        let started = Instant::now();
        let body = Bytes::from(body);
        let response = match single_delete {
            true => self.table.delete_item(body).await,
            false => self.table.batch_write(body).await,
        };
        (batch, started, response)
    }
}
