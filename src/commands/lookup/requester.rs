//! Requester: sends the queries to the backend, rate-limited, until each line has its
//! answer.
//!
//! The [dispatcher](crate::flow::dispatcher) composes, pays for, sends and retries the
//! calls. The requester takes queries in, handles replies and passes answers on:
//!
//! * it requests a hash once for all lines that have it
//!   (see the [reorder buffer](crate::commands::lookup::answers));
//! * unprocessed hashes and hashes of a failed call are retried;
//! * an API that throttles gets a pause, and fewer calls in flight
//!   (see [`ApiThrottle`]);
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
use crate::base::shutdown::Stop;
use crate::commands::lookup::answers::ReorderBuffer;
use crate::commands::lookup::api_throttle::ApiThrottle;
use crate::commands::lookup::backend::{
    Backend, BackendError, BackendErrorClass, BackendReply, Reply,
};
use crate::commands::lookup::counts::LookupCounters;
use crate::commands::lookup::output::{Output, StopReason};
use crate::commands::lookup::query::Query;
use crate::commands::lookup::requester_options::RequesterOptions;
use crate::flow::backoff::Backoff;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::dispatcher::{
    CallHandler, CallOutcome, CallSender, DispatchOptions, Dispatcher, Failure, FinishedCall,
    Output as DispatchOutput, RunEnd,
};
use crate::flow::key_batch::{LINGER, find_key};
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::retry_queue::{Batch, Entry, KindOptions, RetryQueue};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::Instant;

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

/// Handler of the replies.
struct ReplyHandler<'a> {
    counters: &'a LookupCounters,
    options: &'a RequesterOptions,
    buffer: ReorderBuffer,
    /// Recent cost of a hash.
    key_cost: f64,
    /// Reaction to an API that throttles; `None` if the backend is a table.
    api: Option<ApiThrottle>,
    /// True after the first valid response of a look-up.
    has_recognised: bool,
    /// Unrecognised responses before it.
    unrecognised: u32,
}

/// Destination of the answers.
struct Answers<'o, 'a, W> {
    output: &'o mut Output<'a, W>,
    counters: &'o LookupCounters,
}

impl<O: Backend> Requester<'_, O> {
    /// Writes the answers to the queries from `fresh` to `output`, until that channel is
    /// closed and every query is answered, or until `stop`.
    pub(super) async fn run<W: AsyncWrite + Unpin>(
        &self,
        fresh: mpsc::Receiver<Vec<Query>>,
        buffer: ReorderBuffer,
        output: &mut Output<'_, W>,
        stop: &Stop,
        mut backoff: Backoff,
    ) -> RunEnd {
        let options = &self.options;
        let dispatcher = Dispatcher {
            rate_limiter: self.rate_limiter,
            stop,
            options: DispatchOptions {
                concurrency: options.concurrency,
                give_up_after: options.give_up_after,
                read_ahead: options.max_keys * 2,
                max_items: options.max_keys,
                is_eager: false,
                sends_probes: options.max_tries.is_none(),
                error_kind: ErrorKind::Read,
                action: format!("read from {}", options.target),
            },
        };
        let new_throttle = |max_tries| ApiThrottle::new(max_tries, backoff.fork());
        let mut handler = ReplyHandler {
            counters: self.counters,
            options,
            buffer,
            key_cost: options.min_key_cost,
            api: options.max_tries.map(new_throttle),
            has_recognised: false,
            unrecognised: 0,
        };
        let mut answers = Answers {
            output,
            counters: self.counters,
        };
        let queue = RetryQueue::new(&[KindOptions {
            max_items: options.max_keys,
            linger: LINGER,
        }]);
        let run = dispatcher.run(queue, self, &mut handler, fresh, &mut answers, backoff);
        run.await.end
    }
}

impl<O: Backend> CallSender<Hash> for Requester<'_, O> {
    type Response = BackendReply;

    async fn send(&self, batch: &Batch<Hash>) -> BackendReply {
        let is_retry = batch.entries.iter().any(|e| e.attempts > 0);
        self.counters.update(|c| {
            c.requests += 1;
            c.retries += u64::from(is_retry);
        });
        self.backend.look_up(&batch.entries).await
    }
}

impl CallHandler for ReplyHandler<'_> {
    type Item = Hash;
    type Input = Vec<Query>;
    type Response = BackendReply;

    fn full_call_units(&self, _: &RetryQueue<Hash>) -> f64 {
        self.key_cost * self.options.max_keys as f64
    }

    fn units(&self, batch: &Batch<Hash>) -> f64 {
        batch.entries.len() as f64 * self.key_cost
    }

    /// Adds queries to the reorder buffer, and their new hashes to the queue.
    fn receive(&mut self, queries: Vec<Query>, queue: &mut RetryQueue<Hash>, now: Instant) {
        let buffer = &mut self.buffer;
        queue.extend(0, queries.into_iter().filter_map(|q| buffer.push(q)), now);
        let coalesced = self.buffer.coalesced;
        self.counters.update(|c| c.repeated = coalesced);
    }

    fn count(&self, queries: &Vec<Query>) -> u64 {
        queries.len() as u64
    }

    fn may_receive(&self, _: usize) -> bool {
        self.buffer.has_room()
    }

    fn limit_calls(&mut self, max: usize) -> usize {
        self.api.as_mut().map_or(max, |api| api.limit_calls(max))
    }

    fn paused_until(&self) -> Option<Instant> {
        self.api.as_ref()?.paused_until()
    }

    fn record_in_flight(&self, calls: u64) {
        self.counters.update(|c| c.in_flight = calls);
    }

    fn handle(
        &mut self,
        call: FinishedCall<Hash>,
        reply: BackendReply,
        _: &mut RetryQueue<Hash>,
    ) -> CallOutcome<Hash> {
        let FinishedCall { batch, paid } = call;
        let paid_each = paid / batch.entries.len() as f64;
        let read = reply.replies.len();
        let mut outcome = CallOutcome::default();
        // Without a response, the keys to retry are not unprocessed but failed.
        let unprocessed = match reply.has_response() {
            true => reply.retry.len(),
            false => 0,
        };
        if unprocessed > 0 {
            outcome.throttled = Some((paid_each * unprocessed as f64, Vec::new()));
        }
        let consumed_rcu = self.consumed_rcu(read, reply.consumed.as_ref());
        self.counters.update(|c| {
            c.requests += reply.calls.saturating_sub(1);
            c.consumed_rcu += consumed_rcu;
            c.unprocessed += unprocessed as u64;
        });
        if read > 0 {
            self.record_success(&reply);
        }
        for (hash, answer) in reply.replies {
            if let Some(api) = &mut self.api {
                api.forget(&hash);
            }
            if reply.is_unrecognised && !self.has_recognised {
                self.unrecognised += 1;
                let error = self.unrecognised_error(&answer);
                outcome.failure = outcome.failure.or(error.map(Failure::Fatal));
            }
            self.buffer.resolve(hash, answer);
        }
        outcome.retry = self.entries_to_retry(&batch.entries, reply.retry, reply.error.as_ref());
        outcome.success = (read > 0).then_some((paid_each * read as f64, reply.consumed));
        if let Some(error) = reply.error {
            self.handle_error(paid, error, &mut outcome);
        }
        outcome
    }
}

impl ReplyHandler<'_> {
    /// True while the URL may still turn out to be wrong. The answers are delayed then.
    fn may_be_wrong_url(&self) -> bool {
        self.unrecognised > 0 && !self.has_recognised
    }

    /// Records a call with at least one reply.
    fn record_success(&mut self, reply: &BackendReply) {
        if let Some(api) = &mut self.api {
            api.record_success();
        }
        if let Some(consumed) = &reply.consumed {
            let read = reply.replies.len() as f64;
            self.key_cost = (consumed.total / read).max(self.options.min_key_cost);
        }
        self.has_recognised |= !reply.is_unrecognised;
    }

    /// Consumed RCU of a call with `read` replies.
    fn consumed_rcu(&self, read: usize, consumed: Option<&ConsumedCapacity>) -> f64 {
        match (consumed, &self.api) {
            (Some(consumed), _) => consumed.total,
            (None, None) => read as f64 * self.options.min_key_cost,
            // An API consumes no read capacity.
            (None, Some(_)) => 0.0,
        }
    }

    /// The entries of `keys` to `retry`. A hash without tries left is answered with an
    /// error.
    fn entries_to_retry(
        &mut self,
        keys: &[Entry<Hash>],
        retry: Vec<Hash>,
        error: Option<&BackendError>,
    ) -> Vec<Entry<Hash>> {
        let (is_failure, message) = match error {
            None => (false, ""),
            Some(e) => (e.class.is_failure(), e.message.as_str()),
        };
        let mut entries = Vec::with_capacity(retry.len());
        for hash in retry {
            let Some(at) = find_key(keys, &hash) else {
                continue;
            };
            let entry = keys[at].clone();
            let is_out = |api: &mut ApiThrottle| api.is_out_of_tries(&entry, is_failure);
            if self.api.as_mut().is_some_and(is_out) {
                let message = format!("{message} (tried {} times)", entry.attempts + 1);
                self.buffer.resolve(hash, Reply::Error(message.into()));
            } else {
                entries.push(entry);
            }
        }
        entries
    }

    /// The error after too many unrecognised responses, of which `reply` is the last.
    fn unrecognised_error(&self, reply: &Reply) -> Option<Error> {
        if self.unrecognised < MAX_UNRECOGNISED {
            return None;
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
        Some(Error::new(ErrorKind::Read, problem).with_hint(hint))
    }

    /// Judges the error of a call without any reply, for which `paid` was taken.
    fn handle_error(&mut self, paid: f64, error: BackendError, outcome: &mut CallOutcome<Hash>) {
        let BackendError {
            class,
            message,
            retry_after,
            reasons,
        } = error;
        tracing::debug!("a call failed: {message}");
        let now = Instant::now();
        if matches!(class, BackendErrorClass::Throttled) {
            self.counters.update(|c| c.throttled += 1);
            outcome.throttled = Some((paid, reasons));
            if let Some(api) = &mut self.api {
                api.record_throttled(now);
            }
        }
        if let (Some(api), Some(wait)) = (&mut self.api, retry_after) {
            api.pause(now, wait);
        }
        let failure = match class {
            BackendErrorClass::Fatal(e) => Failure::Fatal(e),
            _ if retry_after.is_some_and(|wait| wait > self.options.give_up_after) => {
                let seconds = retry_after.unwrap_or_default().as_secs();
                let target = &self.options.target;
                let problem = format!("{target} asks for a retry in {seconds} s; its response");
                let e = Error::new(ErrorKind::Read, problem).with_source(message);
                Failure::Fatal(
                    e.with_hint("run this again then, or give a longer time with --give-up-after"),
                )
            }
            class => Failure::Retryable {
                is_expired: matches!(class, BackendErrorClass::Expired),
                cause: message.into(),
            },
        };
        outcome.failure.get_or_insert(failure);
    }
}

impl<W: AsyncWrite + Unpin> DispatchOutput<ReplyHandler<'_>> for Answers<'_, '_, W> {
    fn fill(&mut self, handler: &mut ReplyHandler<'_>, is_idle: bool) -> bool {
        // Delay the answers of a possibly wrong URL while a call can still prove it right.
        if !is_idle && handler.may_be_wrong_url() && handler.buffer.has_room() {
            return false;
        }
        self.output.fill(&mut handler.buffer);
        !self.output.is_empty()
    }

    async fn write(&mut self) -> Result<(), RunEnd> {
        let written = self.output.write(self.counters).await;
        written.map_err(|reason| match reason {
            StopReason::Failed(e) => RunEnd::Failed(e),
            StopReason::OutputClosed => RunEnd::OutputClosed,
            StopReason::Stopped => RunEnd::Stopped,
        })
    }
}

#[cfg(test)]
mod outages;
#[cfg(test)]
mod tests;
