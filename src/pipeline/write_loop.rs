//! Loop of the writer: compose a batch, pay for it, send it, handle its answer.

use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::shutdown::Stop;
use crate::dynamodb::client::operation::BatchWrite;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Bound;
use crate::flow::retry_queue::{Batch, Queue};
use crate::pipeline::progress::counts::Settled;
use crate::pipeline::progress::watermark::HandOver;
use crate::pipeline::writer::{End, State, Writer};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long calls in flight may take to finish once the run is stopped.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// How long a batch that is not full waits for more input.
const LINGER: Duration = Duration::from_millis(200);

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl<T: BatchWrite> Writer<'_, T> {
    /// Writes what comes from `fresh` until that is closed and all of it is
    /// written, or until `stop`. Counts as it goes; at the end, what is left is
    /// counted as failed.
    pub(crate) async fn run(
        &self,
        mut fresh: mpsc::Receiver<HandOver>,
        stop: &Stop,
        backoff: Backoff,
    ) -> End {
        let batch_items = self.template.batch_items();
        let batch_units = self.template.write_units() * batch_items as f64;
        let mut s = State {
            queue: match self.template.deletes_alone() {
                true => Queue::new(batch_items).deletes_alone(),
                false => Queue::new(batch_items),
            },
            backoff,
            stalled: None,
            refused: 0,
            last: None,
            bound: Bound::new(self.options.concurrency),
            end: None,
        };
        let mut in_flight = FuturesUnordered::new();
        let mut in_flight_records = 0u64;
        let mut next: Option<Batch> = None;
        let mut open = true;
        let mut linger: Option<Instant> = None;
        let mut drain: Option<Instant> = None;
        // Made once: to wait for it anew each time would be to queue up anew.
        let requested = stop.requested();
        tokio::pin!(requested);

        loop {
            let now = Instant::now();
            // Many small calls need as many more in flight.
            let call_units = match s.queue.alone() {
                0 => batch_units,
                _ => self.template.write_units(),
            };
            let concurrency = s.bound.calls(self.pace.rate(), call_units);
            // Enough to fill every call from retries alone; reading pauses beyond.
            let again_limit = concurrency * batch_items * 2;
            let turn = self.pace.turn(now);
            if s.end.is_none() {
                if turn.is_probe() {
                    next = s.queue.compose_one(next, now);
                } else if next.is_none() && in_flight.len() < concurrency {
                    let flush = !open || linger.is_some_and(|at| at <= now);
                    next = s.queue.compose(now, flush);
                    let duplicates = s.queue.take_duplicates();
                    if !duplicates.is_empty() {
                        let count = duplicates.len() as u64;
                        self.meters.update(|c| c.books.duplicates += count);
                        self.water.settle(&duplicates, Settled::Duplicate);
                    }
                    if next.is_some() {
                        linger = None;
                    } else if open && linger.is_none() && !s.queue.is_empty() {
                        linger = Some(now + LINGER);
                    }
                }
                if !open && next.is_none() && s.queue.is_empty() && in_flight.is_empty() {
                    s.end = Some(End::Complete);
                }
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
            let room = in_flight.len() < concurrency && turn.is_due(now);
            let may_send = running && next.is_some() && room;
            let may_read = running
                && open
                && s.queue.fresh() < batch_items
                && s.queue.again() < again_limit
                && !self.water.is_full();
            let units = next.as_ref().map_or(0.0, |b| self.units(&b.entries));
            // When to look again though nothing happens.
            let wake = match drain {
                Some(at) => Some(at),
                None if next.is_some() => turn.wake(now),
                None => [s.queue.next_ready(), linger, turn.wake(now)]
                    .into_iter()
                    .flatten()
                    .filter(|at| *at > now)
                    .min(),
            };

            tokio::select! {
                biased;
                () = &mut requested, if running => s.end = Some(End::Stopped),
                () = stop.insisted(), if !running => drain = Some(now),
                Some((batch, begun, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                    let batch: Batch = batch;
                    in_flight_records -= batch.entries.len() as u64;
                    self.meters.update(|c| c.in_flight = in_flight.len() as u64);
                    self.look_at(&mut s, batch, begun, answer);
                }
                () = self.pace.take(turn, units), if may_send => {
                    if let Some(batch) = next.take() {
                        in_flight_records += batch.entries.len() as u64;
                        in_flight.push(self.send(batch));
                        let again = in_flight.len() as u64;
                        self.meters.update(|c| c.in_flight = again);
                    }
                }
                more = fresh.recv(), if may_read => match more {
                    Some(mut handed) => {
                        self.water.open(handed.stretch, &mut handed.records);
                        s.queue.push_fresh(handed.records);
                    }
                    None => open = false,
                },
                () = sleep_until(wake), if wake.is_some() => {}
                else => {
                    // Every branch is closed: the loop above must not let that be.
                    let e = Error::new(ErrorKind::Internal, "the writer has nothing to wait for");
                    s.end = Some(End::Failed(e));
                }
            }
        }

        let mut left = s.queue.len() as u64 + in_flight_records;
        left += next.map_or(0, |b| b.entries.len() as u64);
        fresh.close();
        while let Some(handed) = fresh.recv().await {
            left += handed.records.len() as u64;
        }
        self.meters.update(|c| {
            c.books.failed += left;
            c.in_flight = 0;
        });
        s.end.unwrap_or(End::Complete)
    }

    /// Sends a batch once; says when that began.
    async fn send(&self, batch: Batch) -> (Batch, Instant, Result<Bytes, CallError>) {
        // A request of 25 items of a few short attributes has some 6 KB.
        let mut body = Vec::with_capacity(8 * 1024);
        let alone = self.is_alone(&batch);
        match (alone, batch.entries.first()) {
            (true, Some(entry)) => self.template.delete_request(&entry.record, &mut body),
            _ => (self.template).write_request(batch.entries.iter().map(|e| &e.record), &mut body),
        }
        let again = batch.suspect || batch.entries.iter().any(|e| e.attempts > 0);
        self.meters.update(|c| {
            c.requests += 1;
            c.retries += u64::from(again);
        });
        let begun = Instant::now();
        let body = Bytes::from(body);
        let answer = match alone {
            true => self.table.delete_item(body).await,
            false => self.table.batch_write(body).await,
        };
        (batch, begun, answer)
    }
}
