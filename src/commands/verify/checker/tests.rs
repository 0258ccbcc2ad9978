//! Loop of the checker in paused time, with a scripted fake table.

use super::*;
use crate::base::error::Error;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Position;
use crate::base::shutdown::Stop;
use crate::commands::verify::counts::VerifyCounts;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::sync::mpsc;

/// Reaction of the fake table to a call.
#[derive(Clone, Copy)]
enum Act {
    Answer,
    /// Returns the last n keys as unprocessed.
    Leave(usize),
    Fail(ErrorClass, &'static str),
    /// Responds with this body.
    Say(&'static str),
    Hang,
}

/// A recorded call: time, number of keys, consistency.
type Call = (Duration, usize, bool);

struct FakeTable<F, I> {
    act: F,
    /// The item of a number for a read; the flag is true for a strongly consistent read.
    /// `None` if the read does not find the item.
    item: I,
    /// RCU of an item for a strongly consistent read.
    units: f64,
    latency: Duration,
    calls: Mutex<(Option<Instant>, Vec<Call>)>,
}

impl<F, I> BatchGet for FakeTable<F, I>
where
    F: Fn(usize) -> Act + Sync,
    I: Fn(u32, bool) -> Option<&'static str> + Sync,
{
    async fn batch_get(&self, body: Bytes) -> Result<Bytes, CallError> {
        let request: Value = serde_json::from_slice(&body).expect("JSON");
        let table = &request["RequestItems"]["t"];
        let keys = table["Keys"].as_array().expect("keys").clone();
        let consistent = table["ConsistentRead"].as_bool().expect("a flag");
        let numbers: Vec<u32> = keys
            .iter()
            .map(|k| {
                let text = k["md5"]["S"].as_str().expect("a key");
                u32::from_str_radix(&text[..8], 16).expect("hex")
            })
            .collect();
        let unique: std::collections::BTreeSet<_> = numbers.iter().collect();
        assert!(unique.len() == keys.len() && keys.len() <= MAX_GET_KEYS);
        let act = {
            let mut calls = self.calls.lock().expect("whole");
            let started = *calls.0.get_or_insert_with(Instant::now);
            calls.1.push((started.elapsed(), keys.len(), consistent));
            (self.act)(calls.1.len())
        };
        tokio::time::sleep(self.latency).await;
        let unprocessed = match act {
            Act::Answer => 0,
            Act::Leave(n) => n.min(keys.len()),
            Act::Say(text) => return Ok(Bytes::from_static(text.as_bytes())),
            Act::Hang => std::future::pending().await,
            Act::Fail(meaning, code) => {
                return Err(CallError {
                    class: meaning,
                    code: Some(code.into()),
                    message: String::new(),
                    reasons: vec![],
                    no_credentials: false,
                });
            }
        };
        let read = keys.len() - unprocessed;
        let items: Vec<Value> = numbers[..read]
            .iter()
            .zip(&keys)
            .filter_map(|(n, key)| {
                let source = (self.item)(*n, consistent)?;
                let mut item = key.clone();
                item["source"] = json!({ "S": source });
                Some(item)
            })
            .collect();
        let each = if consistent { 1.0 } else { 0.5 } * self.units;
        let mut response = json!({"Responses": {"t": items}, "UnprocessedKeys": {},
            "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": read as f64 * each}]});
        if unprocessed > 0 {
            response["UnprocessedKeys"]["t"] = json!({ "Keys": &keys[read..] });
        }
        Ok(response.to_string().into())
    }
}

fn hash(n: u32) -> Hash {
    let mut raw = [0; 16];
    raw[..4].copy_from_slice(&n.to_be_bytes());
    Hash::from_bytes(&raw).expect("16 bytes")
}

struct Setup {
    /// The list, as numbers.
    list: Vec<u32>,
    rate: Option<f64>,
    concurrency: usize,
    consistent: bool,
    give_up_after: Duration,
    units: f64,
    stop_after: Option<Duration>,
    max_findings: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            list: (1..=1000).collect(),
            rate: None,
            concurrency: 8,
            consistent: false,
            give_up_after: Duration::from_secs(900),
            units: 1.0,
            stop_after: None,
            max_findings: usize::MAX,
        }
    }
}

struct Run {
    end: Result<bool>,
    counts: VerifyCounts,
    /// Line and kind of each finding, in the order of the output.
    findings: Vec<(u64, String)>,
    calls: Vec<Call>,
    elapsed: Duration,
}

impl Run {
    fn outcomes(&self) -> [u64; 4] {
        let b = self.counts.line_counts;
        [b.found, b.missing, b.different, b.unchecked]
    }

    fn keys(&self, consistent: bool) -> usize {
        let calls = self.calls.iter().filter(|c| c.2 == consistent);
        calls.map(|c| c.1).sum()
    }
}

fn all(_: u32, _: bool) -> Option<&'static str> {
    Some("NSRL")
}

impl Setup {
    async fn run(
        self,
        act: impl Fn(usize) -> Act + Sync,
        item: impl Fn(u32, bool) -> Option<&'static str> + Sync,
    ) -> Run {
        let schema = KeySchema {
            partition: KeyAttribute {
                name: "md5".into(),
                kind: KeyType::S,
            },
            sort: None,
            index_keys: vec![],
        };
        let attributes = ["source=NSRL".parse().expect("one")];
        let template =
            GetTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &attributes).expect("fits");
        let table = FakeTable {
            act,
            item,
            units: self.units,
            latency: Duration::from_millis(5),
            calls: Mutex::default(),
        };
        let counters = VerifyCounters::default();
        let stop = Stop::new();
        let (send, receive) = mpsc::channel(4);
        let started = Instant::now();
        let checker = Checker {
            table: &table,
            table_name: "t",
            template: &template,
            rate_limiter: &RateLimiter::fixed(self.rate),
            counters: &counters,
            options: CheckerOptions {
                concurrency: crate::flow::concurrency::Concurrency::Calls(self.concurrency),
                consistent: self.consistent,
                give_up_after: self.give_up_after,
            },
        };
        let feed = async {
            let mut line = 0;
            for part in self.list.chunks(37) {
                let records = part.iter().map(|n| {
                    line += 1;
                    Record::new(
                        hash(*n),
                        Position {
                            source: 0,
                            line,
                            byte: 0,
                        },
                    )
                });
                let records: Vec<_> = records.collect();
                let n = records.len() as u64;
                counters.reader.update(|c| c.line_counts.lines += n);
                if send.send(records.into()).await.is_err() {
                    counters.reader.update(|c| c.line_counts.failed += n);
                    return;
                }
            }
            drop(send);
        };
        let mut findings = Vec::new();
        let on_finding = |f: UnresolvedFinding| {
            if findings.len() == self.max_findings {
                return Err(Error::new(ErrorKind::Output, "the pipe is broken"));
            }
            findings.push((f.position.line, f.kind.to_string()));
            Ok(())
        };
        let stopping = async {
            if let Some(after) = self.stop_after {
                tokio::time::sleep(after).await;
                stop.request();
            }
        };
        let backoff = Backoff::new(fastrand::Rng::with_seed(1));
        let work = checker.run(receive, on_finding, &stop, backoff);
        let (end, (), ()) = tokio::join!(work, feed, stopping);
        let counts = counters.snapshot();
        assert!(counts.line_counts.is_balanced(), "{counts:?}");
        Run {
            end,
            counts,
            findings,
            calls: table.calls.into_inner().expect("whole").1,
            elapsed: started.elapsed(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn present_hashes_are_found_by_full_calls_at_half_price() {
    let run = Setup::default().run(|_| Act::Answer, all).await;
    assert!(matches!(run.end, Ok(true)));
    assert_eq!(run.outcomes(), [1000, 0, 0, 0]);
    assert_eq!(run.calls.iter().map(|c| c.1).collect::<Vec<_>>(), [100; 10]);
    assert_eq!(run.keys(true), 0);
    assert_eq!(run.counts.reads.consumed_rcu, 500.0);
    assert_eq!(run.counts.reads.retries, 0);

    let setup = Setup {
        consistent: true,
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Answer, all).await;
    assert_eq!(run.outcomes(), [1000, 0, 0, 0]);
    assert_eq!((run.keys(false), run.keys(true)), (0, 1000));
    assert_eq!(run.counts.reads.consumed_rcu, 1000.0);
}

#[tokio::test(start_paused = true)]
async fn findings_are_read_twice_and_reported_in_the_order_of_the_list() {
    let item = |n: u32, consistent: bool| match n {
        // Stale results of an eventually consistent read.
        n if n % 10 == 3 && !consistent => None,
        n if n % 10 == 4 && !consistent => Some("old"),
        n if n % 100 == 7 => None,
        n if n % 100 == 8 => Some("nsrl"),
        _ => Some("NSRL"),
    };
    // Descending, so that the order of keys differs from the order of the list.
    let list: Vec<u32> = (1..=1000).rev().collect();
    for act in [
        |_: usize| Act::Answer,
        |k: usize| match k % 3 {
            0 => Act::Leave(60),
            1 => Act::Fail(ErrorClass::Transient, "reset"),
            _ => Act::Answer,
        },
    ] {
        let setup = Setup {
            list: list.clone(),
            ..Setup::default()
        };
        let run = setup.run(act, item).await;
        assert!(matches!(run.end, Ok(true)));
        assert_eq!(run.outcomes(), [980, 10, 10, 0]);
        let expected: Vec<(u64, String)> = (0..1000)
            .filter_map(|i| {
                let what = match 1000 - i {
                    n if n % 100 == 7 => "missing",
                    n if n % 100 == 8 => "different (source is S \"nsrl\")",
                    _ => return None,
                };
                Some((i + 1, what.to_owned()))
            })
            .collect();
        assert_eq!(run.findings, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn unprocessed_keys_and_throttled_calls_are_retried_and_paid_again() {
    let act = |k| match k {
        1 => Act::Fail(
            ErrorClass::Throttled,
            "ProvisionedThroughputExceededException",
        ),
        2 => Act::Leave(100),
        3 => Act::Leave(30),
        4 => Act::Say("<html>"),
        5 => Act::Say(r#"{"Responses":{"t":[{"md5":{"S":"FFFFFFFF"}}]}}"#),
        _ => Act::Answer,
    };
    let setup = Setup {
        rate: Some(100.0),
        ..Setup::default()
    };
    let run = setup.run(act, all).await;
    assert_eq!(run.outcomes(), [1000, 0, 0, 0]);
    let asked = run.counts.reads;
    assert_eq!((asked.throttled, asked.unprocessed), (1, 130));
    assert!(asked.retries >= 4, "{asked:?}");
    let sent: usize = run.calls.iter().map(|c| c.1).sum();
    assert_eq!(sent, 1430);
    // 715 RCU at 100 RCU/s; the bucket starts with 25, and the last call leaves as soon as
    // 25 of its RCU are available.
    let seconds = run.elapsed.as_secs_f64();
    assert!((6.4..=7.0).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_response_is_retried_and_makes_no_key_missing() {
    let responses = [
        r#"{"Responses":{}}"#,
        r#"{"Responses":{},"UnprocessedKeys":{}}"#,
        r#"{"Responses":{"another":[]}}"#,
        r#"{"Responses":{"t":[],"another":[]}}"#,
        r#"{"Responses":{"t":[],"t":[]}}"#,
        r#"{"Responses":{"t":[]},"Responses":{"t":[]}}"#,
        r#"{"Responses":{},"UnprocessedKeys":{"t":{"Keys":[{"md5":{"S":"00000001000000000000000000000000"}}]}}}"#,
        r#"{"Responses":{"t":[]},"UnprocessedKeys":{"another":{"Keys":[]}}}"#,
        // A key twice as unprocessed; an item twice; a key both read and unprocessed.
        r#"{"Responses":{"t":[]},"UnprocessedKeys":{"t":{"Keys":[{"md5":{"S":"00000001000000000000000000000000"}},
            {"md5":{"S":"00000001000000000000000000000000"}}]}}}"#,
        r#"{"Responses":{"t":[{"md5":{"S":"00000001000000000000000000000000"},"source":{"S":"NSRL"}},
            {"md5":{"S":"00000001000000000000000000000000"},"source":{"S":"NSRL"}}]}}"#,
        r#"{"Responses":{"t":[{"md5":{"S":"00000001000000000000000000000000"},"source":{"S":"NSRL"}}]},
            "UnprocessedKeys":{"t":{"Keys":[{"md5":{"S":"00000001000000000000000000000000"}}]}}}"#,
    ];
    for consistent in [false, true] {
        let setup = Setup {
            list: (1..=100).collect(),
            consistent,
            ..Setup::default()
        };
        let act = |k: usize| {
            responses
                .get(k - 1)
                .map_or(Act::Answer, |body| Act::Say(body))
        };
        let run = setup.run(act, all).await;
        assert_eq!(run.outcomes(), [100, 0, 0, 0]);
        assert_eq!(run.calls.len(), responses.len() + 1);
        assert!(run.findings.is_empty(), "{:?}", run.findings);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_with_items_larger_than_estimated() {
    // 12 KB each: three times the minimum cost of a key.
    let setup = Setup {
        rate: Some(100.0),
        units: 3.0,
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Answer, all).await;
    assert_eq!(run.counts.reads.consumed_rcu, 1500.0);
    let seconds = run.elapsed.as_secs_f64();
    assert!((13.0..=15.0).contains(&seconds), "{seconds}");
    // The second call knows the cost of an item.
    let gaps = run.calls.windows(2).map(|w| w[1].0 - w[0].0);
    let longest = gaps.max().expect("calls");
    assert!(longest <= Duration::from_millis(2600), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_hash_has_an_outcome_for_each_line() {
    let mut list: Vec<u32> = (1..=150).collect();
    list.extend(1..=150);
    let setup = Setup {
        list,
        ..Setup::default()
    };
    let run = setup
        .run(
            |k| if k == 1 { Act::Leave(50) } else { Act::Answer },
            |n, _| (n != 5).then_some("NSRL"),
        )
        .await;
    assert_eq!(run.outcomes(), [298, 2, 0, 0]);
    let missing = || "missing".to_owned();
    assert_eq!(run.findings, [(5, missing()), (155, missing())]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_never_read_delays_a_limited_number_of_records() {
    let setup = Setup {
        list: (0..200_000).collect(),
        stop_after: Some(Duration::from_secs(3600)),
        ..Setup::default()
    };
    // The first call hangs; the others have responses.
    let run = setup
        .run(|k| if k == 1 { Act::Hang } else { Act::Answer }, all)
        .await;
    assert!(matches!(run.end, Ok(false)));
    let [found, missing, different, unchecked] = run.outcomes();
    assert_eq!((missing, different), (0, 0));
    let limit = MAX_PENDING_SLOTS as u64 * 100;
    assert!(found > limit / 2 && found < limit * 2, "{found}");
    assert_eq!(found + unchecked, run.counts.line_counts.lines);
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_calls_in_flight_and_counts_the_rest_as_unchecked() {
    let setup = Setup {
        rate: Some(100.0),
        stop_after: Some(Duration::from_secs(2)),
        ..Setup::default()
    };
    let run = setup
        .run(|_| Act::Answer, |n, _| (n != 20).then_some("NSRL"))
        .await;
    assert!(matches!(run.end, Ok(false)));
    let [found, missing, _, unchecked] = run.outcomes();
    assert!(found >= 300 && unchecked > 0, "{:?}", run.outcomes());
    assert_eq!(run.findings.len() as u64, missing);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_the_run_with_a_hint() {
    let denied = |_| Act::Fail(ErrorClass::Permanent, "AccessDeniedException");
    let run = Setup::default().run(denied, all).await;
    let error = run.end.expect_err("denied");
    let hint = error.hint().expect("a hint");
    assert!(hint.contains("dynamodb:BatchGetItem") && hint.contains("scripts/iam/verify.json"));
    assert_eq!(run.counts.line_counts.found, 0);

    let setup = Setup {
        give_up_after: Duration::from_secs(60),
        ..Setup::default()
    };
    let run = setup
        .run(
            |_| Act::Fail(ErrorClass::Transient, "InternalServerError"),
            all,
        )
        .await;
    let error = run.end.expect_err("given up").to_string();
    assert!(
        error.contains("nothing could be read") && error.contains("60 s"),
        "{error}"
    );
    assert!(run.elapsed >= Duration::from_secs(60));

    let setup = Setup {
        max_findings: 3,
        ..Setup::default()
    };
    let run = setup.run(|_| Act::Answer, |_, _| None).await;
    assert!(run.end.expect_err("the pipe").to_string().contains("pipe"));
    assert_eq!(run.findings.len(), 3);
}
