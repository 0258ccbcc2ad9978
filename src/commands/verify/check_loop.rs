//! Loop of the checker: compose a batch of keys, pay for it, send it, handle its answer.

use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::shutdown::Stop;
use crate::commands::verify::checker::{Batch, Checker, End, LEAST_UNITS, OPEN_SLOTS, State};
use crate::commands::verify::finding::Finding;
use crate::commands::verify::order::Order;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::Bound;
use crate::flow::waiting::Waiting;
use crate::pipeline::progress::watermark::HandOver;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long calls in flight may take to finish once the run is stopped.
const DRAIN: Duration = Duration::from_secs(10);

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
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
}
