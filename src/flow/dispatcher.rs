//! The dispatcher: the one loop that composes, pays for, sends and retries calls.
//!
//! A command gives it three parts:
//!
//! * a [`CallSender`], which sends a batch once;
//! * a [`CallHandler`], which takes new items in and handles responses;
//! * an [`Input`] of new items.
//!
//! The dispatcher owns the [retry queue](crate::flow::retry_queue) and the calls in
//! flight. It composes the next batch, waits for its units at the token bucket, sends it
//! and passes the response to the handler. Then it applies the handler's outcome:
//!
//! * it settles units that succeeded or were throttled with the rate limiter;
//! * it requeues items to retry with a back-off; a retry pays for its units again;
//! * it ends the run at a fatal error, and after a long time without a success. The number
//!   of retries is unlimited: an outage of ten minutes must not end a run of three days.
//!
//! While a table throttles every call, the dispatcher sends [probes](crate::flow::probe):
//! single items, regardless of their back-off. After the first success it ends the
//! back-off of all items.
//!
//! After a stop it sends nothing more, and calls in flight have [`DRAIN_TIMEOUT`] to end.

use crate::base::error::{Error, ErrorKind};
use crate::base::shutdown::Stop;
use crate::flow::backoff::Backoff;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::concurrency::{Concurrency, ConcurrencyLimit};
use crate::flow::probe::NextCall;
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::retry_queue::{Batch, Entry, QueueItem, RetryQueue};
use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Maximum time for calls in flight to end after the end of the run.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time with expired credentials. The credential chain renews renewable ones
/// within seconds.
const EXPIRED_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone)]
pub(crate) struct DispatchOptions {
    /// Maximum number of calls in flight, fixed or adapted to rate and latency.
    pub(crate) concurrency: Concurrency,
    /// Maximum time without a success.
    pub(crate) give_up_after: Duration,
    /// Number of ready items of one kind at which reading pauses.
    pub(crate) read_ahead: usize,
    /// Maximum number of items in a call.
    pub(crate) max_items: usize,
    /// True if calls are sent incomplete while none is in flight.
    pub(crate) is_eager: bool,
    /// True if the backend is a table, which is probed while it throttles every call.
    pub(crate) sends_probes: bool,
    /// Kind of the error after a long time without a success.
    pub(crate) error_kind: ErrorKind,
    /// The verb and target of that error: `written to table sha256`.
    pub(crate) action: String,
}

/// The loop that sends calls. See the [module](self).
#[derive(Debug)]
pub(crate) struct Dispatcher<'a> {
    /// Rate limiter of the run.
    pub(crate) rate_limiter: &'a RateLimiter,
    /// Stops the run.
    pub(crate) stop: &'a Stop,
    /// Further options.
    pub(crate) options: DispatchOptions,
}

/// Sends batches.
pub(crate) trait CallSender<T> {
    /// Response to a call, or its error.
    type Response;

    /// Sends `batch` once.
    fn send(&self, batch: &Batch<T>) -> impl Future<Output = Self::Response>;
}

/// Takes new items in, and handles responses.
pub(crate) trait CallHandler {
    /// Item of a call.
    type Item: QueueItem;
    /// Unit of the input.
    type Input;
    /// Response to a call, or its error.
    type Response;

    /// Units of a full call, as estimated now.
    fn full_call_units(&self, queue: &RetryQueue<Self::Item>) -> f64;

    /// Units of a call, as estimated now.
    fn units(&self, batch: &Batch<Self::Item>) -> f64;

    /// Adds items of the input to the queue.
    fn receive(&mut self, input: Self::Input, queue: &mut RetryQueue<Self::Item>, now: Instant);

    /// Number of items in `input`, for one that is not received any more.
    fn count(&self, input: &Self::Input) -> u64;

    /// False while reading must pause. `max_calls` is the maximum of calls in flight.
    fn may_receive(&self, max_calls: usize) -> bool;

    /// True if items may become unwanted.
    const DROPS_UNWANTED: bool = false;

    /// False if nothing waits for `item` any more, so that it need not be sent.
    fn is_wanted(&mut self, _item: &Self::Item) -> bool {
        true
    }

    /// Judges the response to a call.
    fn handle(
        &mut self,
        call: FinishedCall<Self::Item>,
        response: Self::Response,
        queue: &mut RetryQueue<Self::Item>,
    ) -> CallOutcome<Self::Item>;

    /// Records the number of calls in flight.
    fn record_in_flight(&self, calls: u64);

    /// Lowers the maximum of calls in flight, `max`.
    fn limit_calls(&mut self, max: usize) -> usize {
        max
    }

    /// Time before which no call may be sent; `None` if there is none.
    fn paused_until(&self) -> Option<Instant> {
        None
    }
}

/// Source of new items. A channel is one.
pub(crate) trait Input {
    /// Unit of the input.
    type Batch;

    /// The next unit; `None` at the end. Loses nothing if the future is dropped.
    fn recv(&mut self) -> impl Future<Output = Option<Self::Batch>>;

    /// Ends the input after the units that it holds already.
    fn close(&mut self);
}

impl<T> Input for mpsc::Receiver<T> {
    type Batch = T;

    async fn recv(&mut self) -> Option<T> {
        mpsc::Receiver::recv(self).await
    }

    fn close(&mut self) {
        mpsc::Receiver::close(self);
    }
}

/// Destination of results that a handler collects. `()` is one for handlers without any.
pub(crate) trait Output<H> {
    /// Takes results that are ready. True if there is something to write. `is_idle` means
    /// that no call can change the results any more.
    fn fill(&mut self, handler: &mut H, is_idle: bool) -> bool;

    /// Writes what was taken.
    ///
    /// # Errors
    /// The end of the run, if the output cannot be written.
    fn write(&mut self) -> impl Future<Output = Result<(), RunEnd>>;
}

impl<H> Output<H> for () {
    fn fill(&mut self, _: &mut H, _: bool) -> bool {
        false
    }

    async fn write(&mut self) -> Result<(), RunEnd> {
        Ok(())
    }
}

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct FinishedCall<T> {
    /// Its items.
    pub(crate) batch: Batch<T>,
    /// Units taken from the token bucket.
    pub(crate) paid: f64,
}

/// What a handler makes of a response.
#[derive(Debug)]
pub(crate) struct CallOutcome<T> {
    /// Units paid for items that succeeded, and consumed capacity if the response has it;
    /// `None` if no item succeeded.
    pub(crate) success: Option<(f64, Option<ConsumedCapacity>)>,
    /// Units paid for items that were throttled, and DynamoDB's reasons, each with its
    /// resource; `None` if no item was.
    pub(crate) throttled: Option<(f64, Vec<(String, String)>)>,
    /// Units paid but not consumed.
    pub(crate) refund: f64,
    /// Items to retry, in a call of the same kind.
    pub(crate) retry: Vec<Entry<T>>,
    /// Failure of the call; `None` if an item succeeded, or if the call need not count.
    pub(crate) failure: Option<Failure>,
}

impl<T> Default for CallOutcome<T> {
    fn default() -> Self {
        CallOutcome {
            success: None,
            throttled: None,
            refund: 0.0,
            retry: Vec::new(),
            failure: None,
        }
    }
}

/// Failure of a whole call.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A retry may succeed.
    Retryable {
        /// True if the credentials are expired.
        is_expired: bool,
        /// The error of the call.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The run ends.
    Fatal(Error),
}

#[derive(Debug)]
pub(crate) enum RunEnd {
    /// Every item has an outcome.
    Complete,
    /// A stop was requested.
    Stopped,
    /// The reader of the output closed the pipe.
    OutputClosed,
    /// An error ended the run.
    Failed(Error),
}

#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) end: RunEnd,
    /// Items without an outcome.
    pub(crate) unfinished: u64,
}

/// State of a run.
struct Run<'a, H: CallHandler> {
    dispatcher: &'a Dispatcher<'a>,
    handler: &'a mut H,
    queue: RetryQueue<H::Item>,
    backoff: Backoff,
    concurrency_limit: ConcurrencyLimit,
    /// The next call.
    next: Option<Batch<H::Item>>,
    in_flight_items: u64,
    /// Time of the first failure since the last success.
    stalled_since: Option<Instant>,
    /// True while the input may have more.
    is_open: bool,
    end: Option<RunEnd>,
    /// Time at which calls in flight are given up.
    drain: Option<Instant>,
}

/// What the loop may do now.
struct Step {
    turn: NextCall,
    may_send: bool,
    may_receive: bool,
    units: f64,
    /// Time of the next step if no other event comes.
    wake: Option<Instant>,
}

/// A call that has ended, the time at which it was sent, and its response.
type Ended<T, R> = (FinishedCall<T>, Instant, R);

impl Dispatcher<'_> {
    /// Runs until `input` is closed and every item has an outcome, until a stop, or until
    /// a failure that ends the run. `queue` knows the kinds of calls.
    pub(crate) async fn run<H, S, I, O>(
        &self,
        queue: RetryQueue<H::Item>,
        sender: &S,
        handler: &mut H,
        mut input: I,
        output: &mut O,
        backoff: Backoff,
    ) -> RunResult
    where
        H: CallHandler,
        S: CallSender<H::Item, Response = H::Response>,
        I: Input<Batch = H::Input>,
        O: Output<H>,
    {
        let mut run = Run {
            dispatcher: self,
            handler,
            queue,
            backoff,
            concurrency_limit: ConcurrencyLimit::new(self.options.concurrency),
            next: None,
            in_flight_items: 0,
            stalled_since: None,
            is_open: true,
            end: None,
            drain: None,
        };
        let mut in_flight = FuturesUnordered::new();
        // Created once: a new future per iteration would register a new waiter.
        let requested = self.stop.requested();
        tokio::pin!(requested);
        while let Some(step) = run.next_step(in_flight.len(), &mut input) {
            let is_running = run.end.is_none();
            tokio::select! {
                biased;
                () = &mut requested, if is_running => run.end = Some(RunEnd::Stopped),
                () = self.stop.forced(), if !is_running => run.drain = Some(Instant::now()),
                Some(ended) = in_flight.next(), if !in_flight.is_empty() => {
                    run.apply(ended);
                    // Every call that has ended, before the next write.
                    while let Some(Some(ended)) = in_flight.next().now_or_never() {
                        run.apply(ended);
                    }
                    run.handler.record_in_flight(in_flight.len() as u64);
                }
                () = self.rate_limiter.take(step.turn, step.units), if step.may_send => {
                    if let Some((batch, paid)) = run.take_next(&step) {
                        in_flight.push(send(sender, batch, paid));
                        run.handler.record_in_flight(in_flight.len() as u64);
                    }
                }
                received = input.recv(), if step.may_receive => match received {
                    Some(items) => run.handler.receive(items, &mut run.queue, Instant::now()),
                    None => run.is_open = false,
                },
                () = sleep_until(step.wake), if step.wake.is_some() => {}
                else => {
                    // Unreachable: the loop must always leave a branch enabled.
                    let e = Error::new(ErrorKind::Internal, "the dispatcher waits for nothing");
                    run.end = Some(RunEnd::Failed(e));
                }
            }
            let is_idle = run.is_idle() && in_flight.is_empty();
            run.write(output, &mut in_flight, is_idle).await;
        }
        let is_complete = matches!(run.end, Some(RunEnd::Complete));
        run.write(output, &mut in_flight, is_complete).await;
        drop(in_flight);
        run.finish(&mut input).await
    }
}

impl<H: CallHandler> Run<'_, H> {
    /// Composes the next call, and decides what may happen. `None` at the end of the run.
    fn next_step(&mut self, calls: usize, input: &mut impl Input) -> Option<Step> {
        let now = Instant::now();
        let options = &self.dispatcher.options;
        let rate_limiter = self.dispatcher.rate_limiter;
        let call_units = self.handler.full_call_units(&self.queue);
        let max_calls = self
            .concurrency_limit
            .calls(rate_limiter.rate(), call_units);
        let has_room = calls < self.handler.limit_calls(max_calls);
        let turn = match options.sends_probes {
            true => rate_limiter.next_call(now),
            false => NextCall::Full(None),
        };
        if self.end.is_none() {
            if turn.is_probe() {
                self.next = self.compose_one(now);
            } else if self.next.is_none() && has_room {
                let flush = !self.is_open || (options.is_eager && calls == 0);
                self.next = self.compose(now, flush);
            }
            if !self.is_open && calls == 0 && self.is_idle() {
                self.end = Some(RunEnd::Complete);
            }
        }
        if self.end.is_some() {
            if calls == 0 || self.drain.is_some_and(|at| at <= now) {
                return None;
            }
            if self.drain.is_none() {
                self.drain = Some(now + DRAIN_TIMEOUT);
                self.is_open = false;
                input.close();
            }
        }
        let is_running = self.end.is_none();
        let paused_until = self.handler.paused_until().filter(|at| *at > now);
        let retry_limit = max_calls * options.max_items * 2;
        Some(Step {
            turn,
            may_send: is_running
                && self.next.is_some()
                && has_room
                && paused_until.is_none()
                && turn.is_due(now),
            // Pause reading while retries alone can fill every call.
            may_receive: is_running
                && self.is_open
                && self.queue.max_ready() < options.read_ahead
                && self.queue.retries() < retry_limit
                && self.handler.may_receive(max_calls),
            units: self.next.as_ref().map_or(0.0, |b| self.handler.units(b)),
            wake: self.wake(now, has_room, turn, paused_until),
        })
    }

    /// The next batch, without unwanted items.
    fn compose(&mut self, now: Instant, flush: bool) -> Option<Batch<H::Item>> {
        loop {
            let batch = self.queue.compose(now, flush)?;
            if let Some(batch) = self.without_unwanted(batch) {
                return Some(batch);
            }
        }
    }

    /// A batch of one item as a probe.
    fn compose_one(&mut self, now: Instant) -> Option<Batch<H::Item>> {
        loop {
            let batch = self.queue.compose_one(self.next.take(), now)?;
            if let Some(batch) = self.without_unwanted(batch) {
                return Some(batch);
            }
        }
    }

    /// The wanted items of a batch; `None` if there are none.
    fn without_unwanted(&mut self, mut batch: Batch<H::Item>) -> Option<Batch<H::Item>> {
        if H::DROPS_UNWANTED {
            batch.entries.retain(|e| self.handler.is_wanted(&e.item));
        }
        (!batch.entries.is_empty()).then_some(batch)
    }

    /// Time of the next step if no other event comes.
    fn wake(
        &self,
        now: Instant,
        has_room: bool,
        turn: NextCall,
        paused_until: Option<Instant>,
    ) -> Option<Instant> {
        if self.drain.is_some() {
            return self.drain;
        }
        let composed = match self.next {
            None if has_room => self.queue.next_ready(),
            Some(_) if has_room => paused_until,
            _ => None,
        };
        let each = [composed, turn.next_check(now)].into_iter().flatten();
        each.filter(|at| *at > now).min()
    }

    /// True if no item waits for a call.
    fn is_idle(&self) -> bool {
        self.next.is_none() && self.queue.is_empty()
    }

    /// Takes the next call out, to send it. Returns the units paid for it. Units of items
    /// that became unwanted at the token bucket are refunded; a probe took none.
    fn take_next(&mut self, step: &Step) -> Option<(Batch<H::Item>, f64)> {
        let batch = self.next.take()?;
        let batch = self.without_unwanted(batch);
        let paid = batch.as_ref().map_or(0.0, |b| self.handler.units(b));
        if paid < step.units && !step.turn.is_probe() {
            self.dispatcher.rate_limiter.refund(step.units - paid);
        }
        let batch = batch?;
        self.queue.record_sent(batch.kind);
        self.in_flight_items += batch.entries.len() as u64;
        Some((batch, paid))
    }

    /// Applies the handler's outcome on a call that has ended.
    fn apply(&mut self, (call, sent_at, response): Ended<H::Item, H::Response>) {
        let kind = call.batch.kind;
        self.queue.record_ended(kind);
        self.in_flight_items -= call.batch.entries.len() as u64;
        let outcome = self.handler.handle(call, response, &mut self.queue);
        let rate_limiter = self.dispatcher.rate_limiter;
        // Throttling first: the rate limiter must see the success last.
        if let Some((units, reasons)) = &outcome.throttled {
            rate_limiter.record_throttled(*units, reasons);
        }
        if outcome.refund > 0.0 {
            rate_limiter.refund(outcome.refund);
        }
        if let Some((paid, consumed)) = &outcome.success {
            let now = Instant::now();
            self.concurrency_limit.observe(sent_at, now);
            self.stalled_since = None;
            let ends_outage = rate_limiter.record_success(*paid, consumed.as_ref());
            if ends_outage && self.dispatcher.options.sends_probes {
                self.queue.release_delayed(now);
            }
        }
        self.requeue(kind, outcome.retry);
        if let Some(failure) = outcome.failure {
            self.handle_failure(failure);
        }
    }

    /// Requeues entries with a back-off.
    fn requeue(&mut self, kind: usize, mut entries: Vec<Entry<H::Item>>) {
        for e in &mut entries {
            e.attempts = e.attempts.saturating_add(1);
        }
        let Some(attempts) = entries.iter().map(|e| e.attempts).max() else {
            return;
        };
        let ready = Instant::now() + self.backoff.wait(attempts);
        for e in entries {
            self.queue.push_retry(kind, e, ready);
        }
    }

    /// Ends the run if a failure is fatal, or if there was no success for too long.
    fn handle_failure(&mut self, failure: Failure) {
        if self.end.is_some() {
            return;
        }
        let options = &self.dispatcher.options;
        let (is_expired, cause) = match failure {
            Failure::Fatal(e) => {
                self.end = Some(RunEnd::Failed(e));
                return;
            }
            Failure::Retryable { is_expired, cause } => (is_expired, cause),
        };
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        let (timeout, hint) = match is_expired {
            true => (
                options.give_up_after.min(EXPIRED_TIMEOUT),
                "renew the credentials, then run this again",
            ),
            false => (
                options.give_up_after,
                "run this again once it responds; --give-up-after sets how long to retry",
            ),
        };
        if since.elapsed() >= timeout {
            let (action, seconds) = (&options.action, timeout.as_secs());
            let problem = format!("nothing could be {action} for {seconds} s; the last error");
            let e = Error::new(options.error_kind, problem).with_source(cause);
            self.end = Some(RunEnd::Failed(e.with_hint(hint)));
        }
    }

    /// Writes all results that are ready. Their reader may be slow, so the calls in flight
    /// go on meanwhile.
    async fn write<O: Output<H>>(
        &mut self,
        output: &mut O,
        in_flight: &mut FuturesUnordered<impl Future<Output = Ended<H::Item, H::Response>>>,
        is_idle: bool,
    ) {
        while output.fill(self.handler, is_idle) {
            let mut write = std::pin::pin!(output.write());
            let written = loop {
                tokio::select! {
                    biased;
                    written = &mut write => break written,
                    Some(ended) = in_flight.next(), if !in_flight.is_empty() => self.apply(ended),
                }
            };
            // The first end counts. A failed write takes precedence: it loses results.
            if let Err(end) = written {
                self.end = Some(match (end, self.end.take()) {
                    (RunEnd::Failed(e), _) => RunEnd::Failed(e),
                    (_, Some(first)) => first,
                    (end, None) => end,
                });
                return;
            }
        }
    }

    /// Counts the items without an outcome.
    async fn finish<I: Input<Batch = H::Input>>(mut self, input: &mut I) -> RunResult {
        let next = self.next.take().map_or(0, |b| b.entries.len() as u64);
        let mut unfinished = self.queue.len() as u64 + self.in_flight_items + next;
        input.close();
        while let Some(items) = input.recv().await {
            unfinished += self.handler.count(&items);
        }
        self.handler.record_in_flight(0);
        RunResult {
            end: self.end.unwrap_or(RunEnd::Complete),
            unfinished,
        }
    }
}

/// Sends a call once, for which `paid` units were taken.
async fn send<T, S: CallSender<T>>(
    sender: &S,
    batch: Batch<T>,
    paid: f64,
) -> Ended<T, S::Response> {
    let sent_at = Instant::now();
    let response = sender.send(&batch).await;
    (FinishedCall { batch, paid }, sent_at, response)
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests;
