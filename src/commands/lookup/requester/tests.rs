//! The engine's loop in paused time, with an oracle that does as it is told.

use super::*;
use crate::base::hash::Algorithm;
use crate::commands::lookup::counts::LookupCounts;
use crate::commands::lookup::query::Questions;
use crate::commands::lookup::status::Status;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::flow::concurrency::Concurrency;
use crate::list::lines::Line;
use serde_json::Value;
use std::sync::Mutex;

/// What the oracle does with the k-th call.
#[derive(Clone)]
enum Act {
    Answer,
    /// Leaves the last n hashes unread.
    Leave(usize),
    Throttle(Option<u64>),
    Fail,
    Astray,
    Fatal,
    Hang,
    /// Answers after so many milliseconds.
    After(u64),
}

struct Fake<F> {
    act: F,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    begun: Option<Instant>,
    /// When each was made, and how many hashes it had.
    made: Vec<(Duration, usize)>,
    under_way: usize,
    most_at_once: usize,
}

impl<F: Fn(usize) -> Act> Oracle for Fake<F> {
    async fn ask(&self, keys: &Keys) -> Told {
        let act = {
            let mut calls = self.calls.lock().expect("whole");
            let begun = *calls.begun.get_or_insert_with(Instant::now);
            calls.made.push((begun.elapsed(), keys.0.len()));
            calls.under_way += 1;
            calls.most_at_once = calls.most_at_once.max(calls.under_way);
            (self.act)(calls.made.len())
        };
        let wait = match act {
            Act::After(ms) => ms,
            _ => 5,
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        self.calls.lock().expect("whole").under_way -= 1;
        let hashes: Vec<Hash> = keys.0.iter().map(|e| e.record.hash).collect();
        let unique: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(unique.len(), hashes.len(), "a hash twice in a call");
        let reply = |hash: &Hash| match hash.as_bytes()[3] % 2 {
            0 => Reply::Known {
                fields: "\"a\":1".into(),
                foreign: false,
            },
            _ => Reply::Unknown,
        };
        let settled = |hashes: &[Hash]| hashes.iter().map(|h| (*h, reply(h))).collect();
        match act {
            Act::Answer | Act::After(_) => Told {
                settled: settled(&hashes),
                ..Told::default()
            },
            Act::Leave(n) => {
                let (read, left) = hashes.split_at(hashes.len().saturating_sub(n));
                Told {
                    settled: settled(read),
                    again: left.to_vec(),
                    ..Told::default()
                }
            }
            Act::Throttle(wait) => {
                let mut told = Told::trouble(keys, Kind::Throttled, "too many".into());
                if let Some(trouble) = &mut told.trouble {
                    trouble.wait = wait.map(Duration::from_secs);
                }
                told
            }
            Act::Fail => Told::trouble(keys, Kind::Passing, "broken".into()),
            Act::Astray => Told {
                settled: hashes
                    .iter()
                    .map(|h| (*h, Reply::Error("no such route".into())))
                    .collect(),
                astray: true,
                ..Told::default()
            },
            Act::Fatal => {
                let e = Error::new(ErrorKind::Read, "refused");
                Told::trouble(keys, Kind::Fatal(e), "refused".into())
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
    ended: Ended,
    counts: LookupCounts,
    /// The numbers that were answered, and how.
    answers: Vec<(u32, String)>,
    calls: Vec<(Duration, usize)>,
    at_once: usize,
    elapsed: Duration,
}

impl Run {
    fn numbers(&self) -> Vec<u32> {
        self.answers.iter().map(|(n, _)| *n).collect()
    }

    fn statuses(&self, status: &str) -> usize {
        self.answers.iter().filter(|(_, s)| s == status).count()
    }

    fn failure(&self) -> String {
        match &self.ended {
            Ended::Failed(e) => e.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

impl Setup {
    async fn run(self, act: impl Fn(usize) -> Act) -> Run {
        let oracle = Fake {
            act,
            calls: Mutex::default(),
        };
        let meters = LookupMeters::default();
        let stop = Stop::new();
        let (send, receive) = mpsc::channel(4);
        let begun = Instant::now();
        let pace = Pace::fixed(self.rate);
        let engine = Engine {
            oracle: &oracle,
            pace: &pace,
            meters: &meters,
            options: EngineOptions {
                concurrency: Concurrency::Calls(self.concurrency),
                most: if self.api { 1 } else { MAX_GET_KEYS },
                units: if self.api { 1.0 } else { 0.5 },
                tries: self.api.then_some(4),
                give_up_after: self.give_up_after,
                whom: "the oracle".into(),
            },
        };
        let mut md5 = Questions::of_hashes(Algorithm::Md5).expect("a parser");
        let feed = async {
            for part in self.list.chunks(37) {
                let questions: Vec<Question> = part
                    .iter()
                    .map(|n| {
                        let text = format!("{n:08x}{:024x}", 0);
                        let line = Line {
                            bytes: text.as_bytes(),
                            offset: 0,
                            number: 2,
                            length: 32,
                        };
                        md5.read(&line, "-").expect("text")
                    })
                    .collect();
                let lines = questions.len() as u64;
                meters.update(|c| c.books.lines += lines);
                if send.send(questions).await.is_err() {
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
        let desk = Desk::new(self.unordered, self.only);
        let backoff = Backoff::new(fastrand::Rng::with_seed(1));
        let work =
            async { tokio::join!(engine.run(receive, desk, &mut output, &stop, backoff), feed).0 };
        let ended = tokio::select! {
            ended = work => ended,
            () = stopping => unreachable!(),
        };
        let calls = oracle.calls.into_inner().expect("whole");
        let answers = String::from_utf8(out).expect("UTF-8");
        assert!(answers.is_empty() || answers.ends_with('\n'));
        Run {
            ended,
            counts: meters.read(),
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
            at_once: calls.most_at_once,
            elapsed: begun.elapsed(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_line_is_answered_in_order_whatever_the_order_of_answers() {
    for api in [false, true] {
        let setup = Setup {
            api,
            ..Setup::default()
        };
        // The earlier, the later.
        let run = setup.run(|k| Act::After(900 - (k as u64 * 97) % 800)).await;
        assert!(matches!(run.ended, Ended::Complete));
        assert_eq!(run.numbers(), (1..=1000).collect::<Vec<_>>());
        assert_eq!((run.statuses("known"), run.statuses("unknown")), (500, 500));
        assert_eq!(run.at_once, 8);
        assert_eq!(run.calls.len(), if api { 1000 } else { 10 });
        let b = run.counts.books;
        assert_eq!((b.lines, b.known, b.unknown), (1000, 500, 500));
        let consumed = if api { 0.0 } else { 500.0 };
        assert_eq!(run.counts.consumed, consumed);
    }
}

#[tokio::test(start_paused = true)]
async fn unordered_answers_come_as_they_are_known_and_only_some_are_written() {
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
    assert_eq!(run.counts.books.unknown, 500);
}

#[tokio::test(start_paused = true)]
async fn a_hash_that_comes_again_is_asked_once() {
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
async fn what_is_left_unread_throttled_or_broken_is_asked_again() {
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
    assert!(matches!(run.ended, Ended::Complete));
    assert_eq!(run.numbers(), (1..=1000).collect::<Vec<_>>());
    assert_eq!(run.counts.throttled, 1);
    assert!(run.counts.retries >= 3);
    assert_eq!(run.counts.unprocessed, 130);
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_kept() {
    let setup = Setup {
        rate: Some(10.0),
        ..Setup::default()
    };
    // 500 units at 10 a second.
    let run = setup.run(|_| Act::Answer).await;
    assert!(
        (45..=51).contains(&run.elapsed.as_secs()),
        "{:?}",
        run.elapsed
    );
}

#[tokio::test(start_paused = true)]
async fn of_a_table_a_failure_is_none_of_a_hash_and_patience_ends_the_run() {
    let setup = Setup {
        give_up_after: Duration::from_secs(60),
        ..Setup::default()
    };
    let run = setup
        .run(|k| if k <= 3 { Act::Answer } else { Act::Fail })
        .await;
    assert!(
        run.failure()
            .contains("nothing could be read from the oracle for 60 s")
    );
    assert_eq!(run.numbers(), (1..=300).collect::<Vec<_>>());
    assert!(
        (60..90).contains(&run.elapsed.as_secs()),
        "{:?}",
        run.elapsed
    );
    assert_eq!(run.statuses("error"), 0);
}

#[tokio::test(start_paused = true)]
async fn at_an_api_tries_are_bounded_and_the_run_goes_on() {
    let setup = Setup {
        api: true,
        concurrency: 1,
        list: (1..=20).collect(),
        ..Setup::default()
    };
    // Nobody answers the first hash, four times; others are asked in between.
    let run = setup
        .run(|k| if k == 1 { Act::Fail } else { Act::Answer })
        .await;
    assert_eq!((run.statuses("error"), run.answers.len()), (0, 20));
    let setup = Setup {
        api: true,
        list: (1..=20).collect(),
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Fail).await;
    assert!(matches!(run.ended, Ended::Complete));
    assert_eq!((run.statuses("error"), run.calls.len()), (20, 80));
    assert_eq!(run.numbers(), (1..=20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_api_is_left_alone_for_as_long_as_it_says() {
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
    assert_eq!(run.statuses("error"), 0);
    // Those in flight were on their way; then nothing, for 30 s.
    let gap = run
        .calls
        .windows(2)
        .map(|w| w[1].0 - w[0].0)
        .max()
        .expect("calls");
    assert!((29_900..31_000).contains(&gap.as_millis()), "{gap:?}");
    // One that wants to be left alone for longer than the patience is.
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
        run.failure().contains("asked again in 3600 s"),
        "{}",
        run.failure()
    );
    assert!(run.elapsed.as_secs() < 1);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_refuses_much_is_asked_less() {
    // It takes two calls at once and no more.
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
    assert_eq!((run.answers.len(), run.statuses("error")), (3000, 0));
    assert!(matches!(run.ended, Ended::Complete));
}

#[tokio::test(start_paused = true)]
async fn the_wrong_address_ends_the_run_and_answers_nothing() {
    for list in [5000, 30] {
        let setup = Setup {
            api: true,
            list: (1..=list).collect(),
            ..Setup::default()
        };
        let run = setup.run(|_| Act::Astray).await;
        match list {
            // Few lines have their answers.
            30 => assert_eq!(run.statuses("error"), 30),
            _ => {
                assert!(run.failure().contains("no such route"), "{}", run.failure());
                assert_eq!(run.answers.len(), 0);
                assert!(run.calls.len() < 120);
            }
        }
    }
    // One that answers now and then is not the wrong one.
    let setup = Setup {
        api: true,
        list: (1..=500).collect(),
        ..Setup::default()
    };
    let run = setup
        .run(|k| if k == 50 { Act::Answer } else { Act::Astray })
        .await;
    assert!(matches!(run.ended, Ended::Complete));
    assert_eq!((run.statuses("error"), run.answers.len()), (499, 500));
}

#[tokio::test(start_paused = true)]
async fn what_will_never_work_ends_the_run_at_once() {
    let setup = Setup {
        api: true,
        ..Setup::default()
    };
    let run = setup
        .run(|k| if k == 500 { Act::Fatal } else { Act::Answer })
        .await;
    assert_eq!(run.failure(), "refused");
    let n = run.answers.len();
    assert!((490..=500).contains(&n), "{n}");
    assert_eq!(run.numbers(), (1..=n as u32).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_stopped_writes_what_is_answered_and_waits_no_longer_than_it_must() {
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
    assert!(matches!(run.ended, Ended::Stopped));
    assert_eq!(run.numbers(), (1..=300).collect::<Vec<_>>());
    assert_eq!(run.elapsed, Duration::from_millis(500) + DRAIN);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_reads_any_more_it_ends() {
    let (near, far) = tokio::io::duplex(1000);
    drop(far);
    let oracle = Fake {
        act: |_| Act::Answer,
        calls: Mutex::default(),
    };
    let meters = LookupMeters::default();
    let stop = Stop::new();
    let (send, receive) = mpsc::channel(4);
    let mut md5 = Questions::of_hashes(Algorithm::Md5).expect("a parser");
    let line = Line {
        bytes: b"x",
        offset: 0,
        number: 2,
        length: 1,
    };
    let question = md5.read(&line, "-").expect("text");
    send.send(vec![question]).await.expect("room");
    let engine = Engine {
        oracle: &oracle,
        pace: &Pace::fixed(None),
        meters: &meters,
        options: EngineOptions {
            concurrency: Concurrency::Calls(1),
            most: 1,
            units: 1.0,
            tries: None,
            give_up_after: DRAIN,
            whom: String::new(),
        },
    };
    let mut output = Output::new(near, &stop);
    let backoff = Backoff::new(fastrand::Rng::with_seed(1));
    let desk = Desk::new(false, None);
    let ended = engine.run(receive, desk, &mut output, &stop, backoff).await;
    assert!(matches!(ended, Ended::Enough), "{ended:?}");
    assert_eq!(
        meters.read().books.invalid,
        0,
        "what is not written is not counted"
    );
}
