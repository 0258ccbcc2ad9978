//! Requester: sends the queries to the backend, rate-limited, with many calls in flight,
//! until each line has its answer.
//!
//! One loop owns the queue and the calls in flight:
//!
//! * it requests a hash once for all lines that have it
//!   (see the [reorder buffer](crate::commands::lookup::answers));
//! * unprocessed hashes and hashes of a failed call return to the queue with a back-off;
//! * an API that throttles gets no call during the back-off, and fewer calls in flight
//!   after it;
//! * if [tries](RequesterOptions::max_tries) are limited, a hash without tries left is answered
//!   with an error, and the run continues;
//! * a permanent error ends the run, and so does a long time without a reply.
//!
//! Every call takes its estimated cost from the token bucket. The estimate follows the
//! recent calls; the response's consumed capacity corrects it.
//!
//! The loop waits for its writes, so a slow reader of the answers slows it down.

use crate::base::error::{Error, ErrorKind};
use crate::base::hash::Hash;
use crate::base::record::{Position, Record};
use crate::base::shutdown::Stop;
use crate::commands::lookup::answers::ReorderBuffer;
use crate::commands::lookup::backend::{
    Backend, BackendError, BackendErrorClass, BackendReply, Reply,
};
use crate::commands::lookup::counts::LookupCounters;
use crate::commands::lookup::output::{Output, StopReason};
use crate::commands::lookup::query::Query;
use crate::commands::lookup::request_state::{RequesterOptions, RequesterState, RunEnd};
use crate::flow::backoff::Backoff;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::concurrency::ConcurrencyLimit;
use crate::flow::key_queue::{KeyBatch, KeyQueue};
use crate::flow::probe::NextCall;
use crate::flow::rate_limiter::RateLimiter;
use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Maximum time for calls in flight to finish after the end of the run.
const DRAIN: Duration = Duration::from_secs(10);

/// Maximum time with expired credentials.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(120);

/// Unrecognised responses, before any valid one, after which the URL is assumed wrong.
const MAX_UNRECOGNISED: u32 = 100;

/// Sends queries to a backend. See the [module](self).
#[derive(Debug)]
pub(super) struct Requester<'a, O> {
    pub(super) backend: &'a O,
    pub(super) rate_limiter: &'a RateLimiter,
    pub(super) counters: &'a LookupCounters,
    pub(super) options: RequesterOptions,
}

impl<O: Backend> Requester<'_, O> {
    /// Writes the answers to the queries from `fresh` to `output`, until that channel is
    /// closed and every query is answered, or until `stop`.
    pub(super) async fn run<W: AsyncWrite + Unpin>(
        &self,
        mut fresh: mpsc::Receiver<Vec<Query>>,
        buffer: ReorderBuffer,
        output: &mut Output<'_, W>,
        stop: &Stop,
        backoff: Backoff,
    ) -> RunEnd {
        let max_keys = self.options.max_keys;
        let mut s = RequesterState {
            buffer,
            queue: KeyQueue::new(max_keys),
            key_cost: self.options.min_key_cost,
            backoff,
            paused_until: None,
            throttled_in_a_row: 0,
            concurrency_limit: ConcurrencyLimit::new(self.options.concurrency),
            reduced_limit: None,
            failed_tries: HashMap::new(),
            stalled_since: None,
            has_recognised: false,
            unrecognised: 0,
            run_end: None,
        };
        let mut in_flight = FuturesUnordered::new();
        let mut next: Option<KeyBatch> = None;
        let mut open = true;
        let mut drain: Option<Instant> = None;

        loop {
            let now = Instant::now();
            let call_cost = s.key_cost * max_keys as f64;
            let concurrency = s
                .concurrency_limit
                .calls(self.rate_limiter.rate(), call_cost);
            s.reduced_limit = s.reduced_limit.filter(|limit| *limit < concurrency as f64);
            let limit = s
                .reduced_limit
                .map_or(concurrency, |limit| (limit as usize).max(1));
            // Pause reading while retries alone can fill every call.
            let retry_limit = concurrency * max_keys * 2;
            let turn = self.next_turn(now);
            if s.run_end.is_none() && turn.is_probe() {
                next = s.compose_one(next, now);
            } else if s.run_end.is_none() && next.is_none() {
                next = s.queue.compose(now, !open);
            }
            let idle = next.is_none() && in_flight.is_empty();
            if s.run_end.is_none() && !open && idle && s.queue.is_empty() {
                break;
            }
            if s.run_end.is_some() {
                if in_flight.is_empty() || drain.is_some_and(|at| at <= now) {
                    break;
                }
                if drain.is_none() {
                    drain = Some(now + DRAIN);
                    open = false;
                    fresh.close();
                }
            }
            let running = s.run_end.is_none();
            let paused_until = s.paused_until.filter(|at| *at > now);
            let room = in_flight.len() < limit;
            let is_due = paused_until.is_none() && turn.is_due(now);
            let may_send = running && next.is_some() && room && is_due;
            let may_read = running
                && open
                && s.queue.ready() < max_keys * 2
                && s.queue.retries() < retry_limit
                && s.buffer.has_room();
            let cost = next.as_ref().map_or(0.0, |k| k.0.len() as f64 * s.key_cost);
            // The next deadline, if no other branch is ready before.
            let wake = match (drain, &next) {
                (Some(at), _) => Some(at),
                (None, Some(_)) => paused_until.filter(|_| room).or(turn.next_check(now)),
                (None, None) => s
                    .queue
                    .next_ready()
                    .into_iter()
                    .chain(turn.next_check(now))
                    .min(),
            };

            tokio::select! {
                biased;
                () = stop.requested(), if running => s.run_end = Some(RunEnd::Stopped),
                () = stop.forced(), if !running => drain = Some(now),
                Some(finished) = in_flight.next(), if !in_flight.is_empty() => {
                    let mut finished: Option<(KeyBatch, f64, Instant, BackendReply)> = Some(finished);
                    // Handle every finished call before the next write.
                    while let Some((keys, paid, sent_at, reply)) = finished {
                        self.handle_response(&mut s, keys, paid, sent_at, reply);
                        finished = in_flight.next().now_or_never().flatten();
                    }
                    let count = in_flight.len() as u64;
                    self.counters.update(|c| c.in_flight = count);
                }
                () = self.rate_limiter.take(turn, cost), if may_send => {
                    if let Some(keys) = next.take() {
                        in_flight.push(self.send(keys, cost));
                        let count = in_flight.len() as u64;
                        self.counters.update(|c| c.in_flight = count);
                    }
                }
                received = fresh.recv(), if may_read => match received {
                    Some(queries) => self.queue_queries(&mut s, queries, now),
                    None => open = false,
                },
                () = sleep_until(wake), if wake.is_some() => {}
                else => {
                    // Unreachable unless the conditions above are wrong.
                    let problem = "the look-up has nothing to wait for";
                    s.run_end = Some(RunEnd::Failed(Error::new(ErrorKind::Internal, problem)));
                }
            }
            // Delay the answers of a possibly wrong URL while a call can still prove it right.
            let idle = next.is_none() && in_flight.is_empty() && s.queue.is_empty();
            if !s.may_be_wrong_url() || !s.buffer.has_room() || idle {
                self.write(&mut s, output, &mut in_flight).await;
            }
        }
        fresh.close();
        // After a complete run these are the final answers, recognised or not.
        if s.run_end.is_none() || !s.may_be_wrong_url() {
            self.write(&mut s, output, &mut in_flight).await;
        }
        self.counters.update(|c| c.in_flight = 0);
        s.run_end.unwrap_or(RunEnd::Complete)
    }

    /// Permission for the next call. An API sets its own times for retries.
    fn next_turn(&self, now: Instant) -> NextCall {
        match self.options.max_tries {
            None => self.rate_limiter.next_call(now),
            Some(_) => NextCall::Full(None),
        }
    }

    /// Adds queries to the reorder buffer, and their new hashes to the queue.
    fn queue_queries(&self, s: &mut RequesterState, queries: Vec<Query>, now: Instant) {
        // Unused: the reorder buffer numbers the lines.
        let place = Position {
            source: 0,
            line: 0,
            byte: 0,
        };
        for query in queries {
            if let Some(hash) = s.buffer.push(query) {
                s.queue.push(Record::new(hash, place), now);
            }
        }
        let coalesced = s.buffer.coalesced;
        self.counters.update(|c| c.repeated = coalesced);
    }

    /// Writes all answers that are ready. Their reader may be slow, so the calls
    /// `in_flight` continue, and their replies are handled meanwhile.
    async fn write<W: AsyncWrite + Unpin>(
        &self,
        s: &mut RequesterState,
        output: &mut Output<'_, W>,
        in_flight: &mut FuturesUnordered<
            impl Future<Output = (KeyBatch, f64, Instant, BackendReply)>,
        >,
    ) {
        loop {
            output.fill(&mut s.buffer);
            if output.is_empty() {
                return;
            }
            let mut write = std::pin::pin!(output.write(self.counters));
            let written = loop {
                tokio::select! {
                    biased;
                    written = &mut write => break written,
                    Some((keys, paid, sent_at, reply)) = in_flight.next(), if !in_flight.is_empty() => {
                        self.handle_response(s, keys, paid, sent_at, reply);
                    }
                }
            };
            let reason = match written {
                Ok(()) => continue,
                Err(reason) => reason,
            };
            // The first end counts. A failed write takes precedence, because it loses answers.
            s.run_end = Some(match (reason, s.run_end.take()) {
                (StopReason::Failed(e), _) => RunEnd::Failed(e),
                (_, Some(end)) => end,
                (StopReason::OutputClosed, None) => RunEnd::OutputClosed,
                (StopReason::Stopped, None) => RunEnd::Stopped,
            });
            return;
        }
    }

    /// Sends a call once, for which `paid` was taken from the token bucket.
    async fn send(&self, keys: KeyBatch, paid: f64) -> (KeyBatch, f64, Instant, BackendReply) {
        let is_retry = keys.0.iter().any(|e| e.attempts > 0);
        self.counters.update(|c| {
            c.requests += 1;
            c.retries += u64::from(is_retry);
        });
        let sent_at = Instant::now();
        let reply = self.backend.look_up(&keys).await;
        (keys, paid, sent_at, reply)
    }

    /// Handles the reply to a call with `keys`.
    fn handle_response(
        &self,
        s: &mut RequesterState,
        keys: KeyBatch,
        paid: f64,
        sent_at: Instant,
        reply: BackendReply,
    ) {
        let BackendReply {
            replies,
            retry,
            error,
            consumed,
            calls,
            is_unrecognised,
        } = reply;
        let paid_each = paid / keys.0.len() as f64;
        let read = replies.len();
        let has_response = match &error {
            None => true,
            Some(e) => matches!(e.class, BackendErrorClass::Unprocessed),
        };
        // Without a response, the keys to retry are not unprocessed but failed.
        let unprocessed = if has_response { retry.len() } else { 0 };
        // Throttling first: the rate limiter must see the success last.
        if unprocessed > 0 {
            self.rate_limiter
                .record_throttled(paid_each * unprocessed as f64, &[]);
        }
        if read > 0 {
            s.concurrency_limit.observe(sent_at, Instant::now());
            self.record_success(s, read, paid_each * read as f64, consumed.as_ref());
            if !is_unrecognised {
                s.has_recognised = true;
            }
        }
        let cost = self.consumed_rcu(read, consumed.as_ref());
        self.counters.update(|c| {
            c.requests += calls.saturating_sub(1);
            c.consumed_rcu += cost;
            c.unprocessed += unprocessed as u64;
        });
        for (hash, reply) in replies {
            s.failed_tries.remove(&hash);
            if is_unrecognised && !s.has_recognised {
                s.unrecognised += 1;
                self.check_unrecognised(s, &reply);
            }
            s.buffer.resolve(hash, reply);
        }
        self.requeue_or_fail(s, &keys, retry, error.as_ref());
        if let Some(error) = error {
            self.handle_failure(s, paid, error);
        }
    }

    /// Records replies to `read` hashes, for which `paid` was taken from the token bucket.
    fn record_success(
        &self,
        s: &mut RequesterState,
        read: usize,
        paid: f64,
        consumed: Option<&ConsumedCapacity>,
    ) {
        s.stalled_since = None;
        s.throttled_in_a_row = 0;
        // One more call in flight for each full round of replies, up to the usual limit.
        s.reduced_limit = s.reduced_limit.map(|limit| limit + 1.0 / limit);
        if self.rate_limiter.record_success(paid, consumed) && self.options.max_tries.is_none() {
            s.queue.release_delayed(Instant::now());
        }
        if let Some(consumed) = consumed {
            s.key_cost = (consumed.total / read as f64).max(self.options.min_key_cost);
        }
    }

    /// Consumed RCU of a call with `read` replies.
    fn consumed_rcu(&self, read: usize, consumed: Option<&ConsumedCapacity>) -> f64 {
        match (consumed, self.options.max_tries) {
            (Some(consumed), _) => consumed.total,
            (None, None) => read as f64 * self.options.min_key_cost,
            // An API consumes no read capacity.
            (None, Some(_)) => 0.0,
        }
    }

    /// Returns the hashes to `retry` to the queue. A hash without tries left is answered with
    /// an error.
    fn requeue_or_fail(
        &self,
        s: &mut RequesterState,
        keys: &KeyBatch,
        retry: Vec<Hash>,
        error: Option<&BackendError>,
    ) {
        let (is_failure, message) = match error {
            None => (false, ""),
            Some(e) => (
                matches!(
                    e.class,
                    BackendErrorClass::Transient | BackendErrorClass::Expired
                ),
                e.message.as_str(),
            ),
        };
        let mut entries = Vec::with_capacity(retry.len());
        for hash in retry {
            let Some(at) = keys.find(&hash) else { continue };
            let entry = keys.0[at].clone();
            match self.options.max_tries {
                Some(max_tries) if s.is_out_of_tries(&entry, is_failure, max_tries) => {
                    let message = format!("{message} (tried {} times)", entry.attempts + 1);
                    s.failed_tries.remove(&hash);
                    s.buffer.resolve(hash, Reply::Error(message.into()));
                }
                _ => entries.push(entry),
            }
        }
        s.requeue(entries);
    }

    /// Ends the run after too many unrecognised responses; `reply` is the last of them.
    fn check_unrecognised(&self, s: &mut RequesterState, reply: &Reply) {
        if s.unrecognised < MAX_UNRECOGNISED || s.run_end.is_some() {
            return;
        }
        let last = match reply {
            Reply::Error(message) => message,
            _ => "",
        };
        let problem = format!(
            "{} gave no valid response to the first {MAX_UNRECOGNISED} hashes; the last response: {last}",
            self.options.target
        );
        let hint =
            "check the URL (the hash is appended to it), and that the list has the API's algorithm";
        s.run_end = Some(RunEnd::Failed(
            Error::new(ErrorKind::Read, problem).with_hint(hint),
        ));
    }

    /// Decides whether and when the run continues after a call without any reply.
    fn handle_failure(&self, s: &mut RequesterState, paid: f64, error: BackendError) {
        let BackendError {
            class,
            message,
            retry_after,
            reasons,
        } = error;
        tracing::debug!("a call failed: {message}");
        let target = &self.options.target;
        let now = Instant::now();
        let throttled = matches!(class, BackendErrorClass::Throttled);
        if throttled {
            self.rate_limiter.record_throttled(paid, &reasons);
            self.counters.update(|c| c.throttled += 1);
            // Calls in flight were sent before the throttling was known: count it once.
            if self.options.max_tries.is_some() && s.paused_until.is_none_or(|at| at <= now) {
                s.throttled_in_a_row += 1;
                let usual = s.concurrency_limit.calls(
                    self.rate_limiter.rate(),
                    s.key_cost * self.options.max_keys as f64,
                );
                s.reduced_limit = Some((s.reduced_limit.unwrap_or(usual as f64) / 2.0).max(1.0));
                s.paused_until = Some(now + s.backoff.wait(s.throttled_in_a_row + 2));
            }
        }
        if let Some(at) = retry_after.and_then(|wait| now.checked_add(wait)) {
            s.paused_until = s.paused_until.max(Some(at));
        }
        if s.run_end.is_some() {
            return;
        }
        let patience = match class {
            BackendErrorClass::Fatal(e) => {
                s.run_end = Some(RunEnd::Failed(e));
                return;
            }
            BackendErrorClass::Expired => self.options.give_up_after.min(EXPIRED_PATIENCE),
            _ => self.options.give_up_after,
        };
        if retry_after.is_some_and(|wait| wait > patience) {
            let seconds = retry_after.unwrap_or_default().as_secs();
            let problem = format!("{target} asks for a retry in {seconds} s; its response");
            let e = Error::new(ErrorKind::Read, problem).with_source(message);
            s.run_end = Some(RunEnd::Failed(e.with_hint(
                "run this again then, or give a longer time with --give-up-after",
            )));
            return;
        }
        let since = *s.stalled_since.get_or_insert(now);
        if since.elapsed() >= patience {
            let seconds = patience.as_secs();
            let problem =
                format!("nothing could be read from {target} for {seconds} s; the last error");
            let hint = match class {
                BackendErrorClass::Expired => "renew the credentials, then run this again",
                _ => "run this again once it responds, or give a longer time with --give-up-after",
            };
            let e = Error::new(ErrorKind::Read, problem)
                .with_source(message)
                .with_hint(hint);
            s.run_end = Some(RunEnd::Failed(e));
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
