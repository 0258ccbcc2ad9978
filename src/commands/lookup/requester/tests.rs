//! Loop of the requester in paused time, with a scripted fake backend.

use super::*;
use crate::base::hash::Algorithm;
use crate::commands::lookup::counts::LookupCounts;
use crate::commands::lookup::query::QueryParser;
use crate::commands::lookup::status::Status;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::flow::concurrency::Concurrency;
use crate::flow::dispatcher::DRAIN_TIMEOUT;
use crate::list::lines::Line;
use serde_json::Value;
use std::sync::Mutex;
use std::time::Duration;

/// Reaction of the fake backend to a call.
#[derive(Clone)]
enum Act {
    Answer,
    /// Returns the last n hashes as unprocessed.
    Leave(usize),
    Throttle(Option<u64>),
    Fail,
    /// Replies as a server at a wrong URL does.
    Astray,
    Fatal,
    Hang,
    /// Replies after so many milliseconds.
    After(u64),
}

struct Fake<F> {
    act: F,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    started: Option<Instant>,
    /// Time and number of hashes of each call.
    made: Vec<(Duration, usize)>,
    in_flight: usize,
    max_in_flight: usize,
}

impl<F: Fn(usize) -> Act> Backend for Fake<F> {
    async fn look_up(&self, keys: &[Entry<Hash>]) -> BackendReply {
        let act = {
            let mut calls = self.calls.lock().expect("whole");
            let started = *calls.started.get_or_insert_with(Instant::now);
            calls.made.push((started.elapsed(), keys.len()));
            calls.in_flight += 1;
            calls.max_in_flight = calls.max_in_flight.max(calls.in_flight);
            (self.act)(calls.made.len())
        };
        let wait = match act {
            Act::After(ms) => ms,
            _ => 5,
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.calls.lock().expect("whole").in_flight -= 1;
        let hashes: Vec<Hash> = keys.iter().map(|e| e.item).collect();
        let unique: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(unique.len(), hashes.len(), "a hash twice in a call");
        let reply = |hash: &Hash| match hash.as_bytes()[3] % 2 {
            0 => Reply::Known {
                fields: "\"a\":1".into(),
                foreign: false,
            },
            _ => Reply::Unknown,
        };
        let replies = |hashes: &[Hash]| hashes.iter().map(|h| (*h, reply(h))).collect();
        match act {
            Act::Answer | Act::After(_) => BackendReply {
                replies: replies(&hashes),
                ..BackendReply::default()
            },
            Act::Leave(n) => {
                let (read, unprocessed) = hashes.split_at(hashes.len().saturating_sub(n));
                BackendReply {
                    replies: replies(read),
                    retry: unprocessed.to_vec(),
                    ..BackendReply::default()
                }
            }
            Act::Throttle(wait) => {
                let mut reply =
                    BackendReply::from_error(keys, BackendErrorClass::Throttled, "too many".into());
                if let Some(error) = &mut reply.error {
                    error.retry_after = wait.map(Duration::from_secs);
                }
                reply
            }
            Act::Fail => {
                BackendReply::from_error(keys, BackendErrorClass::Transient, "broken".into())
            }
            Act::Astray => BackendReply {
                replies: hashes
                    .iter()
                    .map(|h| (*h, Reply::Error("no such route".into())))
                    .collect(),
                is_unrecognised: true,
                ..BackendReply::default()
            },
            Act::Fatal => {
                let e = Error::new(ErrorKind::Read, "denied");
                BackendReply::from_error(keys, BackendErrorClass::Fatal(e), "denied".into())
            }
            Act::Hang => std::future::pending().await,
        }
    }
}

struct Setup {
    list: Vec<u32>,
    api: bool,
    concurrency: usize,
    rate: Option<f64>,
    give_up_after: Duration,
    stop_after: Option<Duration>,
    unordered: bool,
    only: Option<Status>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            list: (1..=1000).collect(),
            api: false,
            concurrency: 8,
            rate: None,
            give_up_after: Duration::from_secs(900),
            stop_after: None,
            unordered: false,
            only: None,
        }
    }
}

struct Run {
    ended: RunEnd,
    counts: LookupCounts,
    /// Number and status of each answer.
    answers: Vec<(u32, String)>,
    calls: Vec<(Duration, usize)>,
    max_in_flight: usize,
    elapsed: Duration,
}

impl Run {
    fn numbers(&self) -> Vec<u32> {
        self.answers.iter().map(|(n, _)| *n).collect()
    }

    fn count(&self, status: &str) -> usize {
        self.answers.iter().filter(|(_, s)| s == status).count()
    }

    fn failure(&self) -> String {
        match &self.ended {
            RunEnd::Failed(e) => e.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

impl Setup {
    async fn run(self, act: impl Fn(usize) -> Act) -> Run {
        let backend = Fake {
            act,
            calls: Mutex::default(),
        };
        let counters = LookupCounters::default();
        let stop = Stop::new();
        let (send, receive) = mpsc::channel(4);
        let started = Instant::now();
        let rate_limiter = RateLimiter::fixed(self.rate);
        let requester = Requester {
            backend: &backend,
            rate_limiter: &rate_limiter,
            counters: &counters,
            options: RequesterOptions {
                concurrency: Concurrency::Calls(self.concurrency),
                max_keys: if self.api { 1 } else { MAX_GET_KEYS },
                min_key_cost: if self.api { 1.0 } else { 0.5 },
                max_tries: self.api.then_some(4),
                give_up_after: self.give_up_after,
                target: "the backend".into(),
            },
        };
        let mut md5 = QueryParser::for_hashes(Algorithm::Md5).expect("a parser");
        let feed = async {
            for part in self.list.chunks(37) {
                let queries: Vec<Query> = part
                    .iter()
                    .map(|n| {
                        let text = format!("{n:08x}{:024x}", 0);
                        let line = Line {
                            bytes: text.as_bytes(),
                            offset: 0,
                            number: 2,
                            length: 32,
                        };
                        md5.parse(&line, "-").expect("text")
                    })
                    .collect();
                let lines = queries.len() as u64;
                counters.update(|c| c.line_counts.lines += lines);
                if send.send(queries).await.is_err() {
                    break;
                }
            }
            drop(send);
        };
        let stopping = async {
            match self.stop_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            stop.request();
            std::future::pending::<()>().await;
        };
        let mut out = Vec::new();
        let mut output = Output::new(&mut out, &stop);
        let buffer = ReorderBuffer::new(self.unordered, self.only);
        let backoff = Backoff::new(fastrand::Rng::with_seed(1));
        let work = async {
            let run = requester.run(receive, buffer, &mut output, &stop, backoff);
            tokio::join!(run, feed).0
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = stopping => unreachable!(),
        };
        let calls = backend.calls.into_inner().expect("whole");
        let answers = String::from_utf8(out).expect("UTF-8");
        assert!(answers.is_empty() || answers.ends_with('\n'));
        Run {
            ended,
            counts: counters.snapshot(),
            answers: answers
                .lines()
                .map(|line| {
                    let json: Value = serde_json::from_str(line).expect("JSON");
                    let input = json["input"].as_str().expect("text");
                    let n = u32::from_str_radix(&input[..8], 16).expect("hex");
                    (n, json["status"].as_str().expect("text").to_owned())
                })
                .collect(),
            calls: calls.made,
            max_in_flight: calls.max_in_flight,
            elapsed: started.elapsed(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_in_list_order_for_any_order_of_replies() {
    for api in [false, true] {
        let setup = Setup {
            api,
            ..Setup::default()
        };
        // Earlier calls finish later.
        let run = setup.run(|k| Act::After(900 - (k as u64 * 97) % 800)).await;
        assert!(matches!(run.ended, RunEnd::Complete));
        assert_eq!(run.numbers(), (1..=1000).collect::<Vec<_>>());
        assert_eq!((run.count("known"), run.count("unknown")), (500, 500));
        assert_eq!(run.max_in_flight, 8);
        assert_eq!(run.calls.len(), if api { 1000 } else { 10 });
        let b = run.counts.line_counts;
        assert_eq!((b.lines, b.known, b.unknown), (1000, 500, 500));
        let consumed = if api { 0.0 } else { 500.0 };
        assert_eq!(run.counts.consumed_rcu, consumed);
    }
}

#[tokio::test(start_paused = true)]
async fn unordered_answers_do_not_wait_and_only_filters_by_status() {
    let setup = Setup {
        unordered: true,
        ..Setup::default()
    };
    let run = setup
        .run(|k| Act::After(if k == 1 { 60_000 } else { 5 }))
        .await;
    let mut numbers = run.numbers();
    assert_eq!(numbers[900..], (1..=100).collect::<Vec<_>>());
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());

    let setup = Setup {
        only: Some(Status::Known),
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Answer).await;
    assert_eq!(
        run.numbers(),
        (1..=1000).filter(|n| n % 2 == 0).collect::<Vec<_>>()
    );
    assert_eq!(run.counts.line_counts.unknown, 500);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_hash_is_requested_once() {
    let setup = Setup {
        list: (0..30_000).map(|n| n % 250).collect(),
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Answer).await;
    assert_eq!(run.answers.len(), 30_000);
    assert_eq!(run.calls.iter().map(|c| c.1).sum::<usize>(), 250);
    assert_eq!(run.counts.repeated, 29_750);
}

#[tokio::test(start_paused = true)]
async fn unprocessed_throttled_and_failed_hashes_are_retried() {
    let setup = Setup::default();
    let run = setup
        .run(|k| match k {
            2 => Act::Leave(30),
            3 => Act::Leave(1000),
            4 => Act::Throttle(None),
            5 => Act::Fail,
            _ => Act::Answer,
        })
        .await;
    assert!(matches!(run.ended, RunEnd::Complete));
    assert_eq!(run.numbers(), (1..=1000).collect::<Vec<_>>());
    assert_eq!(run.counts.throttled, 1);
    assert!(run.counts.retries >= 3);
    assert_eq!(run.counts.unprocessed, 130);
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_table_end_the_run_without_error_answers() {
    let setup = Setup {
        give_up_after: Duration::from_secs(60),
        ..Setup::default()
    };
    let run = setup
        .run(|k| if k <= 3 { Act::Answer } else { Act::Fail })
        .await;
    assert!(
        run.failure()
            .contains("nothing could be read from the backend for 60 s")
    );
    assert_eq!(run.numbers(), (1..=300).collect::<Vec<_>>());
    assert!(
        (60..90).contains(&run.elapsed.as_secs()),
        "{:?}",
        run.elapsed
    );
    assert_eq!(run.count("error"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hash_without_tries_left_is_an_error_and_the_run_continues() {
    let setup = Setup {
        api: true,
        concurrency: 1,
        list: (1..=20).collect(),
        ..Setup::default()
    };
    // The first call fails; its hash succeeds when it is retried.
    let run = setup
        .run(|k| if k == 1 { Act::Fail } else { Act::Answer })
        .await;
    assert_eq!((run.count("error"), run.answers.len()), (0, 20));
    let setup = Setup {
        api: true,
        list: (1..=20).collect(),
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Fail).await;
    assert!(matches!(run.ended, RunEnd::Complete));
    assert_eq!((run.count("error"), run.calls.len()), (20, 80));
    assert_eq!(run.numbers(), (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn no_call_is_sent_before_retry_after_has_passed() {
    let setup = Setup {
        api: true,
        ..Setup::default()
    };
    let run = setup
        .run(|k| {
            if k == 20 {
                Act::Throttle(Some(30))
            } else {
                Act::Answer
            }
        })
        .await;
    assert_eq!(run.answers.len(), 1000);
    assert_eq!(run.count("error"), 0);
    // After the calls in flight, nothing is sent for 30 s.
    let gap = run
        .calls
        .windows(2)
        .map(|w| w[1].0 - w[0].0)
        .max()
        .expect("calls");
    assert!((29_900..31_000).contains(&gap.as_millis()), "{gap:?}");
    // A longer wait than --give-up-after ends the run.
    let setup = Setup {
        api: true,
        ..Setup::default()
    };
    let run = setup
        .run(|k| {
            if k == 20 {
                Act::Throttle(Some(3600))
            } else {
                Act::Answer
            }
        })
        .await;
    assert!(
        run.failure().contains("asks for a retry in 3600 s"),
        "{}",
        run.failure()
    );
    assert!(run.elapsed.as_secs() < 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_completes_at_an_api_that_throttles_every_third_call() {
    let setup = Setup {
        api: true,
        concurrency: 64,
        list: (1..=3000).collect(),
        ..Setup::default()
    };
    let run = setup
        .run(|k| {
            if k % 3 == 0 {
                Act::Throttle(None)
            } else {
                Act::Answer
            }
        })
        .await;
    assert_eq!((run.answers.len(), run.count("error")), (3000, 0));
    assert!(matches!(run.ended, RunEnd::Complete));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_url_ends_the_run_without_answers() {
    for list in [5000, 30] {
        let setup = Setup {
            api: true,
            list: (1..=list).collect(),
            ..Setup::default()
        };
        let run = setup.run(|_| Act::Astray).await;
        match list {
            // Below the limit of unrecognised responses every line has its answer.
            30 => assert_eq!(run.count("error"), 30),
            _ => {
                assert!(run.failure().contains("no such route"), "{}", run.failure());
                assert_eq!(run.answers.len(), 0);
                assert!(run.calls.len() < 120);
            }
        }
    }
    // One valid response proves the URL right.
    let setup = Setup {
        api: true,
        list: (1..=500).collect(),
        ..Setup::default()
    };
    let run = setup
        .run(|k| if k == 50 { Act::Answer } else { Act::Astray })
        .await;
    assert!(matches!(run.ended, RunEnd::Complete));
    assert_eq!((run.count("error"), run.answers.len()), (499, 500));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_the_run_at_once() {
    let setup = Setup {
        api: true,
        ..Setup::default()
    };
    let run = setup
        .run(|k| if k == 500 { Act::Fatal } else { Act::Answer })
        .await;
    assert_eq!(run.failure(), "denied");
    let n = run.answers.len();
    assert!((490..=500).contains(&n), "{n}");
    assert_eq!(run.numbers(), (1..=n as u32).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_ready_answers_and_waits_at_most_the_drain_time() {
    let setup = Setup {
        stop_after: Some(Duration::from_millis(500)),
        concurrency: 2,
        ..Setup::default()
    };
    let run = setup
        .run(|k| match k {
            4 => Act::Hang,
            _ => Act::After(100),
        })
        .await;
    assert!(matches!(run.ended, RunEnd::Stopped));
    assert_eq!(run.numbers(), (1..=300).collect::<Vec<_>>());
    assert_eq!(run.elapsed, Duration::from_millis(500) + DRAIN_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_closed_pipe_ends_the_run() {
    let (near, far) = tokio::io::duplex(1000);
    drop(far);
    let backend = Fake {
        act: |_| Act::Answer,
        calls: Mutex::default(),
    };
    let counters = LookupCounters::default();
    let stop = Stop::new();
    let (send, receive) = mpsc::channel(4);
    let mut md5 = QueryParser::for_hashes(Algorithm::Md5).expect("a parser");
    let line = Line {
        bytes: b"x",
        offset: 0,
        number: 2,
        length: 1,
    };
    let query = md5.parse(&line, "-").expect("text");
    send.send(vec![query]).await.expect("room");
    let requester = Requester {
        backend: &backend,
        rate_limiter: &RateLimiter::fixed(None),
        counters: &counters,
        options: RequesterOptions {
            concurrency: Concurrency::Calls(1),
            max_keys: 1,
            min_key_cost: 1.0,
            max_tries: None,
            give_up_after: DRAIN_TIMEOUT,
            target: String::new(),
        },
    };
    let mut output = Output::new(near, &stop);
    let backoff = Backoff::new(fastrand::Rng::with_seed(1));
    let buffer = ReorderBuffer::new(false, None);
    let ended = requester
        .run(receive, buffer, &mut output, &stop, backoff)
        .await;
    assert!(matches!(ended, RunEnd::OutputClosed), "{ended:?}");
    assert_eq!(
        counters.snapshot().line_counts.invalid,
        0,
        "answers that are not written are not counted"
    );
}
