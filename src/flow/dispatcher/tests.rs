//! The dispatcher in paused time, with a scripted handler.

use super::*;
use crate::base::hash::Hash;
use crate::flow::retry_queue::KindOptions;
use std::cell::RefCell;
use std::collections::HashSet;
use std::convert::Infallible;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Time of a call on the network.
const LATENCY: Duration = Duration::from_millis(5);

/// Reaction to a call.
#[derive(Debug, Clone, Copy)]
enum Act {
    Accept,
    /// Accepts all but the last n items.
    Leave(usize),
    Throttle,
    Fail,
    Expire,
    Fatal,
    Hang,
}

/// A call: its time, its items, and whether it has a retry.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    at: Duration,
    items: Vec<u8>,
    is_retry: bool,
}

struct Backend<F> {
    begun: Instant,
    act: F,
    calls: RefCell<Vec<Call>>,
}

impl<F: Fn(&Call) -> Act> CallSender<Hash> for Backend<F> {
    type Response = Act;

    async fn send(&self, batch: &Batch<Hash>) -> Act {
        let call = Call {
            at: self.begun.elapsed(),
            items: batch.entries.iter().map(|e| number(&e.item)).collect(),
            is_retry: batch.entries.iter().any(|e| e.attempts > 0),
        };
        let act = (self.act)(&call);
        self.calls.borrow_mut().push(call);
        match act {
            Act::Hang => std::future::pending().await,
            act => {
                tokio::time::sleep(LATENCY).await;
                act
            }
        }
    }
}

#[derive(Default)]
struct Handler {
    done: Vec<u8>,
    unwanted: HashSet<u8>,
    pause: Option<Instant>,
    max_calls: Option<usize>,
    /// True while no input may be received.
    is_full: bool,
}

impl CallHandler for Handler {
    type Item = Hash;
    type Input = Vec<u8>;
    type Response = Act;

    fn full_call_units(&self, _: &RetryQueue<Hash>) -> f64 {
        10.0
    }

    fn units(&self, batch: &Batch<Hash>) -> f64 {
        batch.entries.len() as f64
    }

    fn receive(&mut self, input: Vec<u8>, queue: &mut RetryQueue<Hash>, now: Instant) {
        queue.extend(0, input.into_iter().map(hash), now);
    }

    fn count(&self, input: &Vec<u8>) -> u64 {
        input.len() as u64
    }

    fn may_receive(&self, _: usize) -> bool {
        !self.is_full
    }

    const DROPS_UNWANTED: bool = true;

    fn is_wanted(&mut self, item: &Hash) -> bool {
        !self.unwanted.contains(&number(item))
    }

    fn limit_calls(&mut self, max: usize) -> usize {
        self.max_calls.unwrap_or(max)
    }

    fn paused_until(&self) -> Option<Instant> {
        self.pause
    }

    fn record_in_flight(&self, _: u64) {}

    fn handle(
        &mut self,
        call: FinishedCall<Hash>,
        act: Act,
        _: &mut RetryQueue<Hash>,
    ) -> CallOutcome<Hash> {
        let mut entries = call.batch.entries;
        let kept = match act {
            Act::Accept => entries.len(),
            Act::Leave(n) => entries.len().saturating_sub(n),
            _ => 0,
        };
        let retry = entries.split_off(kept);
        self.done.extend(entries.iter().map(|e| number(&e.item)));
        let retryable = |is_expired| Failure::Retryable {
            is_expired,
            cause: "the last response".into(),
        };
        let throttled = matches!(act, Act::Leave(_) | Act::Throttle);
        CallOutcome {
            success: (kept > 0).then_some((kept as f64, None)),
            throttled: throttled.then(|| (retry.len() as f64, Vec::new())),
            failure: match act {
                Act::Fatal => Some(Failure::Fatal(Error::new(ErrorKind::Read, "denied"))),
                Act::Expire => Some(retryable(true)),
                _ => (kept == 0).then(|| retryable(false)),
            },
            retry,
            ..CallOutcome::default()
        }
    }
}

fn hash(n: u8) -> Hash {
    Hash::from_bytes(&[n; 16]).expect("16 bytes")
}

fn number(hash: &Hash) -> u8 {
    hash.as_bytes()[0]
}

struct Setup {
    items: u8,
    rate: Option<f64>,
    calls_in_flight: usize,
    is_eager: bool,
    sends_probes: bool,
    stop_after: Option<Duration>,
    /// True if the second request comes one second after the first.
    is_forced: bool,
    /// True if the input stays open.
    is_open: bool,
    handler: Handler,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            items: 100,
            rate: None,
            calls_in_flight: 4,
            is_eager: false,
            sends_probes: true,
            stop_after: None,
            is_forced: false,
            is_open: false,
            handler: Handler::default(),
        }
    }
}

struct Outcome {
    result: RunResult,
    calls: Vec<Call>,
    done: Vec<u8>,
    elapsed: Duration,
}

impl Outcome {
    /// The error that ended the run.
    fn error(&self) -> String {
        match &self.result.end {
            RunEnd::Failed(e) => format!("{e:#}"),
            other => panic!("{other:?}"),
        }
    }

    fn assert_all_done(&self, items: u8) {
        assert!(
            matches!(self.result.end, RunEnd::Complete),
            "{:?}",
            self.result
        );
        assert_eq!(self.result.unfinished, 0);
        let mut done = self.done.clone();
        done.sort_unstable();
        assert_eq!(done, (0..items).collect::<Vec<_>>());
    }
}

impl Setup {
    async fn run(self, act: impl Fn(&Call) -> Act) -> Outcome {
        self.run_to(&mut (), act).await
    }

    async fn run_to(
        mut self,
        output: &mut impl Output<Handler>,
        act: impl Fn(&Call) -> Act,
    ) -> Outcome {
        let (rate_limiter, stop) = (RateLimiter::fixed(self.rate), Stop::new());
        let dispatcher = Dispatcher {
            rate_limiter: &rate_limiter,
            stop: &stop,
            options: DispatchOptions {
                concurrency: Concurrency::Calls(self.calls_in_flight),
                give_up_after: 300 * SECOND,
                read_ahead: 10,
                max_items: 10,
                is_eager: self.is_eager,
                sends_probes: self.sends_probes,
                error_kind: ErrorKind::Read,
                action: "read from table t".to_owned(),
            },
        };
        let queue = RetryQueue::new(&[KindOptions {
            max_items: 10,
            linger: 200 * MS,
        }]);
        let (send, receive) = mpsc::channel(100);
        for first in (0..self.items).step_by(10) {
            let part = (first..self.items.min(first.saturating_add(10))).collect();
            send.send(part).await.expect("room");
        }
        let _open = self.is_open.then_some(send);
        let backend = Backend {
            begun: Instant::now(),
            act,
            calls: RefCell::default(),
        };
        let stopping = async {
            let Some(after) = self.stop_after else {
                return std::future::pending().await;
            };
            tokio::time::sleep(after).await;
            stop.request();
            if self.is_forced {
                tokio::time::sleep(SECOND).await;
                stop.request();
            }
            std::future::pending::<Infallible>().await
        };
        let backoff = Backoff::new(fastrand::Rng::with_seed(1));
        let run = dispatcher.run(queue, &backend, &mut self.handler, receive, output, backoff);
        let result = tokio::select! {
            result = run => result,
            never = stopping => match never {},
        };
        Outcome {
            result,
            elapsed: backend.begun.elapsed(),
            calls: backend.calls.into_inner(),
            done: self.handler.done,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn full_calls_start_at_exactly_the_rate() {
    let setup = Setup {
        rate: Some(20.0),
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Accept).await;
    run.assert_all_done(100);
    assert!(run.calls.iter().all(|c| c.items.len() == 10));
    // The bucket begins with 25 units.
    let times: Vec<_> = run.calls.iter().map(|c| c.at.as_millis()).collect();
    assert_eq!(times[..3], [0, 0, 250]);
    assert_eq!(times[3..], [750, 1250, 1750, 2250, 2750, 3250, 3750]);
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_the_calls_in_flight_are_the_limit() {
    let run = Setup::default().run(|_| Act::Accept).await;
    run.assert_all_done(100);
    let starts = |round: u32| run.calls.iter().filter(|c| c.at == round * LATENCY).count();
    assert_eq!([starts(0), starts(1), starts(2)], [4, 4, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_lowers_the_calls_in_flight_and_pauses_them() {
    let setup = Setup {
        handler: Handler {
            max_calls: Some(1),
            pause: Some(Instant::now() + 3 * SECOND),
            ..Handler::default()
        },
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Accept).await;
    run.assert_all_done(100);
    let times: Vec<_> = run.calls.iter().map(|c| c.at).collect();
    let expected: Vec<_> = (0..10).map(|n| 3 * SECOND + n * LATENCY).collect();
    assert_eq!(times, expected);
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_call_lingers_unless_it_is_eager() {
    for (is_eager, wait) in [(false, 200 * MS), (true, Duration::ZERO)] {
        let setup = Setup {
            items: 3,
            is_eager,
            is_open: true,
            stop_after: Some(SECOND),
            ..Setup::default()
        };
        let run = setup.run(|_| Act::Accept).await;
        assert_eq!(run.calls.len(), 1);
        assert_eq!((run.calls[0].at, run.calls[0].items.len()), (wait, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn items_to_retry_join_new_ones_and_pay_again() {
    let setup = Setup {
        rate: Some(100.0),
        calls_in_flight: 1,
        ..Setup::default()
    };
    let run = setup.run(|call| match call.is_retry {
        false => Act::Leave(2),
        true => Act::Accept,
    });
    let run = run.await;
    run.assert_all_done(100);
    let sent: usize = run.calls.iter().map(|c| c.items.len()).sum();
    let retried = sent - 100;
    assert!(retried > 0 && run.calls.iter().any(|c| c.is_retry && c.items.len() == 10));
    // The bucket begins with 25 units; all others are waited for.
    let last = run.calls.last().expect("calls").at.as_millis();
    assert!(last >= (sent - 25) as u128 * 10, "{last} ms, {sent} units");
}

#[tokio::test(start_paused = true)]
async fn a_fatal_failure_ends_the_run_at_once() {
    let run = Setup::default().run(|_| Act::Fatal).await;
    assert_eq!((run.error().as_str(), run.elapsed), ("denied", LATENCY));
    assert_eq!((run.calls.len(), run.result.unfinished), (4, 100));
}

#[tokio::test(start_paused = true)]
async fn a_long_time_without_a_success_ends_the_run() {
    for (act, limit, hint) in [
        (Act::Fail, 300 * SECOND, "run this again once it responds"),
        (
            Act::Throttle,
            300 * SECOND,
            "run this again once it responds",
        ),
        (Act::Expire, 120 * SECOND, "renew the credentials"),
    ] {
        let run = Setup::default().run(move |_| act).await;
        let seconds = limit.as_secs();
        let problem = format!("nothing could be read from table t for {seconds} s");
        assert!(run.error().starts_with(&problem), "{}", run.error());
        let RunEnd::Failed(e) = &run.result.end else {
            panic!("{:?}", run.result);
        };
        assert!(e.hint().is_some_and(|h| h.starts_with(hint)), "{e:?}");
        // The last failure may come one back-off and the calls in flight later.
        assert!(
            (limit..limit + 25 * SECOND).contains(&run.elapsed),
            "{:?}",
            run.elapsed
        );
        assert_eq!(run.result.unfinished, 100);
    }
}

#[tokio::test(start_paused = true)]
async fn one_success_restarts_the_time_without_one() {
    let setup = Setup {
        sends_probes: false,
        ..Setup::default()
    };
    let run = setup
        .run(|call| match call.at.as_secs() % 250 {
            0..240 => Act::Fail,
            _ => Act::Accept,
        })
        .await;
    run.assert_all_done(100);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_throttles_every_call_is_probed_until_it_recovers() {
    let setup = Setup {
        rate: Some(1000.0),
        is_open: true,
        stop_after: Some(62 * SECOND),
        ..Setup::default()
    };
    let run = setup
        .run(|call| match call.at.as_secs() {
            1..60 => Act::Throttle,
            0 if call.at > Duration::ZERO => Act::Throttle,
            0 => Act::Leave(9),
            _ => Act::Accept,
        })
        .await;
    let probes: Vec<_> = run
        .calls
        .iter()
        .filter(|c| c.at > 2 * SECOND && c.at < 60 * SECOND)
        .collect();
    assert!(probes.iter().all(|c| c.items.len() == 1), "{probes:?}");
    let gaps = probes.windows(2).map(|pair| pair[1].at - pair[0].at);
    assert!(
        gaps.clone().all(|gap| gap == 500 * MS),
        "{:?}",
        gaps.collect::<Vec<_>>()
    );
    // The first success ends every back-off.
    let after: usize = run
        .calls
        .iter()
        .filter(|c| c.at > 60 * SECOND && c.at < 61 * SECOND)
        .map(|c| c.items.len())
        .sum();
    assert!(after >= 90, "{after}");
    let mut done = run.done.clone();
    done.sort_unstable();
    assert_eq!(done, (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_calls_in_flight_end_and_none_is_sent() {
    let setup = Setup {
        stop_after: Some(2 * MS),
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Accept).await;
    assert!(matches!(run.result.end, RunEnd::Stopped));
    assert_eq!((run.calls.len(), run.done.len()), (4, 40));
    assert_eq!((run.result.unfinished, run.elapsed), (60, LATENCY));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_ten_seconds_and_a_forced_one_not_at_all() {
    for (is_forced, wait) in [(false, DRAIN_TIMEOUT), (true, SECOND)] {
        let setup = Setup {
            stop_after: Some(SECOND),
            is_forced,
            ..Setup::default()
        };
        let run = setup.run(|_| Act::Hang).await;
        assert!(matches!(run.result.end, RunEnd::Stopped));
        assert_eq!((run.elapsed, run.result.unfinished), (SECOND + wait, 100));
    }
}

#[tokio::test(start_paused = true)]
async fn unwanted_items_are_not_sent_and_take_no_units() {
    let setup = Setup {
        rate: Some(10.0),
        handler: Handler {
            unwanted: (30..90).collect(),
            ..Handler::default()
        },
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Accept).await;
    assert!(matches!(run.result.end, RunEnd::Complete));
    let sent: Vec<_> = run.calls.iter().flat_map(|c| c.items.clone()).collect();
    assert_eq!(sent, (0..30).chain(90..100).collect::<Vec<_>>());
    let times: Vec<_> = run.calls.iter().map(|c| c.at.as_millis()).collect();
    assert_eq!(times, [0, 0, 500, 1500]);
}

#[tokio::test(start_paused = true)]
async fn input_that_may_not_be_received_is_counted_at_the_end() {
    let setup = Setup {
        stop_after: Some(SECOND),
        handler: Handler {
            is_full: true,
            ..Handler::default()
        },
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Accept).await;
    assert_eq!((run.calls.len(), run.result.unfinished), (0, 100));
}

/// Writes slowly, and fails at a number of items.
struct SlowOutput {
    taken: usize,
    fails_at: usize,
}

impl Output<Handler> for SlowOutput {
    fn fill(&mut self, handler: &mut Handler, _: bool) -> bool {
        let is_new = handler.done.len() > self.taken;
        self.taken = handler.done.len();
        is_new
    }

    async fn write(&mut self) -> Result<(), RunEnd> {
        tokio::time::sleep(20 * MS).await;
        match self.taken >= self.fails_at {
            true => Err(RunEnd::OutputClosed),
            false => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn responses_are_handled_while_the_output_is_slow() {
    let mut output = SlowOutput {
        taken: 0,
        fails_at: usize::MAX,
    };
    let run = Setup::default().run_to(&mut output, |_| Act::Accept).await;
    run.assert_all_done(100);
    assert_eq!(output.taken, 100, "the last results are written");
}

#[tokio::test(start_paused = true)]
async fn a_closed_output_ends_the_run() {
    let mut output = SlowOutput {
        taken: 0,
        fails_at: 40,
    };
    let run = Setup::default().run_to(&mut output, |_| Act::Accept).await;
    assert!(matches!(run.result.end, RunEnd::OutputClosed));
    assert!(run.done.len() < 100);
}
