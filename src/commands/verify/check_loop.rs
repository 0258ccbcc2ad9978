//! Loop of the checker: compose a batch of keys, pay for it, send it, handle the response.

use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::shutdown::Stop;
use crate::commands::verify::checker::{
    Checker, CheckerState, MAX_PENDING_SLOTS, MIN_KEY_RCU, ReadBatch, StopReason,
};
use crate::commands::verify::finding::UnresolvedFinding;
use crate::commands::verify::order::FindingOrder;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::ConcurrencyLimit;
use crate::flow::key_queue::KeyQueue;
use crate::pipeline::progress::watermark::RecordBatch;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Maximum time for calls in flight to finish after a stop.
const DRAIN: Duration = Duration::from_secs(10);

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl<T: BatchGet> Checker<'_, T> {
    /// Checks all records from `fresh` until that channel is closed and every record has
    /// an outcome, or until `stop`. Returns true in the first case. Passes findings to
    /// `on_finding` in the order of the list, and counts remaining records as unchecked.
    ///
    /// # Errors
    /// If the table cannot be read, or if `on_finding` fails.
    pub(super) async fn run(
        &self,
        mut fresh: mpsc::Receiver<RecordBatch>,
        mut on_finding: impl FnMut(UnresolvedFinding) -> Result<()>,
        stop: &Stop,
        backoff: Backoff,
    ) -> Result<bool> {
        let first = usize::from(self.options.consistent);
        let mut s = CheckerState {
            queues: [KeyQueue::new(MAX_GET_KEYS), KeyQueue::new(MAX_GET_KEYS)],
            in_flight: [0; 2],
            keys_in_flight: 0,
            key_rcu: MIN_KEY_RCU,
            order: FindingOrder::default(),
            backoff,
            stalled_since: None,
            concurrency_limit: ConcurrencyLimit::new(self.options.concurrency),
            stop_reason: None,
        };
        let mut in_flight = FuturesUnordered::new();
        let mut next: Option<ReadBatch> = None;
        let mut open = true;
        let mut drain: Option<Instant> = None;

        loop {
            let now = Instant::now();
            let call_units = s.key_rcu[first] * MAX_GET_KEYS as f64;
            let concurrency = s
                .concurrency_limit
                .calls(self.rate_limiter.rate(), call_units);
            let open_slots = MAX_PENDING_SLOTS.max(concurrency * 4);
            // Pause reading while retries alone can fill every call.
            let retry_limit = concurrency * MAX_GET_KEYS * 2;
            let turn = self.rate_limiter.next_call(now);
            if s.stop_reason.is_none() && turn.is_probe() {
                next = s.compose_one(next, now);
            } else if s.stop_reason.is_none() && next.is_none() && in_flight.len() < concurrency {
                next = s.compose(now, open);
            }
            let empty = s.queues.iter().all(KeyQueue::is_empty) && next.is_none();
            if s.stop_reason.is_none() && !open && empty && in_flight.is_empty() {
                break;
            }
            if s.stop_reason.is_some() {
                if in_flight.is_empty() || drain.is_some_and(|at| at <= now) {
                    break;
                }
                if drain.is_none() {
                    drain = Some(now + DRAIN);
                    open = false;
                    fresh.close();
                }
            }
            let running = s.stop_reason.is_none();
            let room = in_flight.len() < concurrency;
            let may_send = running && next.is_some() && room && turn.is_due(now);
            let retries: usize = s.queues.iter().map(KeyQueue::retries).sum();
            let may_read = running
                && open
                && s.queues[first].ready() < MAX_GET_KEYS
                && s.order.len() < open_slots
                && retries < retry_limit;
            let cost = next.as_ref().map_or(0.0, |b| s.batch_rcu(b));
            // The next deadline, if no other branch is ready before.
            let wake = match drain {
                Some(at) => Some(at),
                None if next.is_some() || !room => turn.next_check(now),
                None => {
                    let waiting = s.queues.iter().filter_map(KeyQueue::next_ready);
                    waiting.chain(turn.next_check(now)).min()
                }
            };

            tokio::select! {
                biased;
                () = stop.requested(), if running => s.stop_reason = Some(StopReason::Stopped),
                () = stop.forced(), if !running => drain = Some(now),
                Some((batch, paid, sent_at, response)) = in_flight.next(), if !in_flight.is_empty() => {
                    let batch: ReadBatch = batch;
                    s.in_flight[usize::from(batch.consistent)] -= 1;
                    s.keys_in_flight -= batch.keys.0.len() as u64;
                    self.counters.update(|a| a.in_flight = in_flight.len() as u64);
                    self.handle_response(&mut s, batch, paid, sent_at, response);
                    for finding in s.order.take_ready() {
                        s.report_finding(finding, &mut on_finding);
                    }
                }
                () = self.rate_limiter.take(turn, cost), if may_send => {
                    if let Some(batch) = next.take() {
                        s.in_flight[usize::from(batch.consistent)] += 1;
                        s.keys_in_flight += batch.keys.0.len() as u64;
                        in_flight.push(self.send(batch, cost));
                        let count = in_flight.len() as u64;
                        self.counters.update(|a| a.in_flight = count);
                    }
                }
                received = fresh.recv(), if may_read => match received {
                    Some(batch) => for record in batch.records {
                        s.order.push(record.position);
                        s.queues[first].push(record, now);
                    },
                    None => open = false,
                },
                () = sleep_until(wake), if wake.is_some() => {}
                else => {
                    // Unreachable unless the conditions above are wrong.
                    let problem = "the checker has nothing to wait for";
                    s.stop_reason = Some(StopReason::Failed(Error::new(ErrorKind::Internal, problem)));
                }
            }
        }

        for finding in s.order.take_rest() {
            s.report_finding(finding, &mut on_finding);
        }
        let mut left = s.queues.iter().map(|w| w.len() as u64).sum::<u64>() + s.keys_in_flight;
        left += next.map_or(0, |b| b.keys.0.len() as u64);
        fresh.close();
        while let Some(batch) = fresh.recv().await {
            left += batch.records.len() as u64;
        }
        self.counters.update(|a| {
            a.unchecked += left;
            a.in_flight = 0;
        });
        match s.stop_reason {
            None => Ok(true),
            Some(StopReason::Stopped) => Ok(false),
            Some(StopReason::Failed(e)) => Err(e),
        }
    }

    /// Sends a batch once, for which `paid` RCU were taken from the token bucket. Also
    /// returns the time of sending.
    async fn send(
        &self,
        batch: ReadBatch,
        paid: f64,
    ) -> (ReadBatch, f64, Instant, Result<Bytes, CallError>) {
        // A request with 100 SHA-256 keys has about 9 KB.
        let mut body = Vec::with_capacity(12 * 1024);
        let keys = &batch.keys.0;
        let records = keys.iter().map(|e| &e.record);
        self.template
            .write_request(records, batch.consistent, &mut body);
        let is_retry = keys.iter().any(|e| e.attempts > 0);
        self.counters.update(|a| {
            a.requests += 1;
            a.retries += u64::from(is_retry);
        });
        let sent_at = Instant::now();
        let response = self.table.batch_get(Bytes::from(body)).await;
        (batch, paid, sent_at, response)
    }
}
