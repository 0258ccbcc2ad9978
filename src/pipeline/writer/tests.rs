//! The writer's loop in paused time, against a table that follows a script.

use super::*;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Position;
use crate::base::shutdown::Stop;
use crate::dynamodb::delete_item::CONDITION_FAILED;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::pipeline::progress::counts::{LineCounts, RunCounters};
use crate::pipeline::progress::watermark::{RecordBatch, Segment};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::mpsc;

/// Reaction of the table to the k-th call.
#[derive(Clone, Copy)]
enum Act {
    Write,
    /// Leaves the last n items unprocessed.
    Unprocessed(usize),
    Fail(ErrorClass, &'static str),
    /// Writes, but the response is lost.
    LoseResponse,
    /// Responds with this text.
    Respond(&'static str),
    Hang,
}

struct FakeTable<F> {
    act: F,
    latency: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<(Duration, usize)>,
    rows: BTreeMap<String, u32>,
    begun: Option<Instant>,
}

impl<F: Fn(usize, &[String]) -> Act + Sync> BatchWrite for FakeTable<F> {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        let request: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let puts = request["RequestItems"]["t"]
            .as_array()
            .expect("puts")
            .clone();
        let key = |p: &serde_json::Value| {
            p["PutRequest"]["Item"]["md5"]["S"]
                .as_str()
                .expect("a key")
                .to_owned()
        };
        let keys: Vec<String> = puts.iter().map(key).collect();
        let unique: std::collections::BTreeSet<_> = keys.iter().collect();
        assert!(
            unique.len() == keys.len() && keys.len() <= 25,
            "no key twice, at most 25"
        );
        let act = {
            let mut seen = self.seen.lock().expect("no panic");
            let started = *seen.begun.get_or_insert_with(Instant::now);
            seen.calls.push((started.elapsed(), keys.len()));
            (self.act)(seen.calls.len(), &keys)
        };
        tokio::time::sleep(self.latency).await;
        let write = |n: usize| {
            let mut seen = self.seen.lock().expect("no panic");
            for k in &keys[..n] {
                *seen.rows.entry(k.clone()).or_default() += 1;
            }
        };
        let failed = |meaning, message: &str| CallError {
            class: meaning,
            code: Some(message.into()),
            message: String::new(),
            reasons: vec![],
            no_credentials: false,
        };
        match act {
            Act::Write => {
                write(keys.len());
                Ok(Bytes::from_static(br#"{"UnprocessedItems":{}}"#))
            }
            Act::Unprocessed(n) => {
                let kept = keys.len() - n.min(keys.len());
                write(kept);
                let unprocessed = &puts[kept..];
                Ok(serde_json::json!({"UnprocessedItems": {"t": unprocessed}})
                    .to_string()
                    .into())
            }
            Act::LoseResponse => {
                write(keys.len());
                Err(failed(ErrorClass::Transient, "reset"))
            }
            Act::Fail(meaning, code) => Err(failed(meaning, code)),
            Act::Respond(text) => Ok(Bytes::from_static(text.as_bytes())),
            Act::Hang => std::future::pending().await,
        }
    }
}

fn hash(n: u32) -> Hash {
    let mut raw = [0; 16];
    raw[..4].copy_from_slice(&n.to_be_bytes());
    Hash::from_bytes(&raw).expect("16 bytes")
}

fn key(n: u32) -> String {
    hash(n).to_hex(Case::Upper)
}

struct Run {
    end: RunEnd,
    counts: RunCounters,
    rows: BTreeMap<String, u32>,
    calls: Vec<(Duration, usize)>,
    elapsed: Duration,
    rejected: Option<String>,
}

struct Setup {
    records: u32,
    rate: Option<f64>,
    concurrency: Concurrency,
    give_up_after: Duration,
    latency: Duration,
    stop_after: Option<Duration>,
    closed: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            records: 1000,
            rate: None,
            concurrency: Concurrency::Calls(8),
            give_up_after: Duration::from_secs(900),
            latency: Duration::from_millis(5),
            stop_after: None,
            closed: true,
        }
    }
}

impl Setup {
    async fn run(self, act: impl Fn(usize, &[String]) -> Act + Sync) -> Run {
        let schema = KeySchema {
            partition: KeyAttribute {
                name: "md5".into(),
                kind: KeyType::S,
            },
            sort: None,
            index_keys: vec![],
        };
        let template =
            ItemTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &[]).expect("fits");
        let table = FakeTable {
            act,
            latency: self.latency,
            seen: Mutex::default(),
        };
        let counters = Counters::default();
        let rejects = Rejects::new(None).expect("no file");
        let stop = Stop::new();
        let (send, receive) = mpsc::channel(4);
        let records = self.records;
        let started = Instant::now();
        let watermark = WatermarkTracker::default();
        let writer = Writer {
            table: &table,
            table_name: "t",
            template: &template,
            rate_limiter: &RateLimiter::fixed(self.rate),
            counters: &counters,
            watermark: &watermark,
            rejects: &rejects,
            options: WriterOptions {
                concurrency: self.concurrency,
                give_up_after: self.give_up_after,
            },
        };
        let feed = async {
            let all: Vec<u32> = (1..=records).collect();
            for part in all.chunks(37) {
                let record = |&n: &u32| {
                    Record::new(
                        hash(n),
                        Position {
                            source: 0,
                            line: u64::from(n),
                            byte: u64::from(n) * 33,
                        },
                    )
                };
                let part: Vec<_> = part.iter().map(record).collect();
                let n = part.len() as u64;
                counters.update(|c| c.line_counts.lines += n);
                let batch = RecordBatch {
                    segment: Segment {
                        end: part[part.len() - 1].position,
                        line_counts: LineCounts {
                            lines: n,
                            ..LineCounts::default()
                        },
                    },
                    records: part,
                };
                if send.send(batch).await.is_err() {
                    counters.update(|c| c.line_counts.failed += n);
                    return;
                }
            }
            if self.closed {
                drop(send);
            } else {
                send.closed().await;
            }
        };
        let stopper = async {
            if let Some(after) = self.stop_after {
                tokio::time::sleep(after).await;
                stop.request();
            }
        };
        let backoff = Backoff::new(fastrand::Rng::with_seed(42));
        let (end, (), ()) = tokio::join!(writer.run(receive, &stop, backoff), feed, stopper);
        let counts = counters.snapshot();
        assert!(counts.line_counts.is_balanced(), "{:?}", counts.line_counts);
        let seen = table.seen.into_inner().expect("no panic");
        // Every line before the watermark has an outcome, and after a complete run the
        // watermark is at the end.
        let mark = watermark.watermark().line_counts;
        assert!(
            mark.is_balanced() && mark.failed == 0 && mark.written <= counts.line_counts.written
        );
        assert!(
            (1..=mark.lines as u32)
                .all(|n| seen.rows.contains_key(&key(n)) || rejects.first().is_some())
        );
        if matches!(end, RunEnd::Complete) {
            assert_eq!(mark, counts.line_counts);
        }
        Run {
            end,
            counts,
            rows: seen.rows,
            calls: seen.calls,
            elapsed: started.elapsed(),
            rejected: rejects.first(),
        }
    }
}

impl Run {
    fn assert_all_written(&self, records: u32) {
        assert!(matches!(self.end, RunEnd::Complete), "{:?}", self.end);
        assert_eq!(self.counts.line_counts.written, u64::from(records));
        assert_eq!(self.rows.len(), records as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_written_once_in_full_batches() {
    let run = Setup::default().run(|_, _| Act::Write).await;
    run.assert_all_written(1000);
    assert!(run.rows.values().all(|n| *n == 1));
    assert_eq!(run.counts.requests, 40);
    assert_eq!(run.counts.retries, 0);
    assert_eq!(run.counts.consumed_wcu, 1000.0);
    // 40 calls of 5 ms, 8 at a time.
    assert_eq!(run.elapsed, Duration::from_millis(25));
}

#[tokio::test(start_paused = true)]
async fn the_write_rate_equals_the_target_exactly() {
    let setup = Setup {
        records: 10_025,
        rate: Some(1000.0),
        ..Setup::default()
    };
    let run = setup.run(|_, _| Act::Write).await;
    run.assert_all_written(10_025);
    // The bucket's 25 at once, 10,000 at 1,000 a second, and the last call's 5 ms.
    assert_eq!(run.elapsed, Duration::from_millis(10_005));
}

#[tokio::test(start_paused = true)]
async fn automatic_concurrency_keeps_the_rate_at_any_latency() {
    // With a rate: 10,000 a second, and the last call's time.
    // Without: 32 calls, twice, until the latency is known; at 5 ms then 40, at 50 ms 256.
    for (rate, latency, records, elapsed) in [
        (Some(10_000.0), 5, 100_025, 10_005),
        (Some(10_000.0), 50, 100_025, 10_050),
        (None, 5, 2 * 32 * 25 + 99 * 40 * 25, 505),
        (None, 50, 2 * 32 * 25 + 9 * 256 * 25, 550),
    ] {
        let setup = Setup {
            records,
            rate,
            concurrency: Concurrency::Auto,
            latency: Duration::from_millis(latency),
            ..Setup::default()
        };
        let run = setup.run(|_, _| Act::Write).await;
        run.assert_all_written(records);
        assert_eq!(run.elapsed, Duration::from_millis(elapsed), "{latency} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_response_does_not_stall_the_others() {
    let setup = Setup {
        stop_after: Some(Duration::from_secs(1)),
        ..Setup::default()
    };
    let run = setup
        .run(|k, _| if k == 1 { Act::Hang } else { Act::Write })
        .await;
    assert!(matches!(run.end, RunEnd::Stopped), "{:?}", run.end);
    assert_eq!(run.counts.line_counts.written, 975);
    assert_eq!(run.counts.line_counts.failed, 25);
    // The other 39 calls, seven at a time.
    let last = run.calls.last().expect("calls").0;
    assert_eq!(last, Duration::from_millis(25));
}

#[tokio::test(start_paused = true)]
async fn unprocessed_items_are_retried_in_full_batches_and_pay_for_tokens() {
    let setup = Setup {
        rate: Some(1000.0),
        ..Setup::default()
    };
    // The first 20 calls leave 5 items unprocessed each.
    let run = setup
        .run(|k, _| {
            if k <= 20 {
                Act::Unprocessed(5)
            } else {
                Act::Write
            }
        })
        .await;
    run.assert_all_written(1000);
    assert!(run.rows.values().all(|n| *n == 1));
    assert_eq!(run.counts.unprocessed, 100);
    // 1,100 items were sent: 44 full batches, and the remainder at the end.
    let sent: usize = run.calls.iter().map(|(_, n)| n).sum();
    assert_eq!(sent, 1100);
    assert!(run.counts.requests <= 46, "{} calls", run.counts.requests);
    assert!(
        run.elapsed >= Duration::from_millis(1075),
        "retries are not free: {:?}",
        run.elapsed
    );
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_retried() {
    let throttle = Act::Fail(
        ErrorClass::Throttled,
        "ProvisionedThroughputExceededException",
    );
    let run = Setup::default()
        .run(|k, _| if k % 3 == 0 { throttle } else { Act::Write })
        .await;
    run.assert_all_written(1000);
    assert!(run.counts.throttled > 0);
    assert_eq!(run.counts.requests, run.calls.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn lost_and_invalid_responses_lose_no_item() {
    let run = Setup::default()
        .run(|k, _| match k % 5 {
            1 => Act::LoseResponse,
            2 => Act::Respond("<html>"),
            3 => Act::Respond(
                r#"{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"md5":{"S":"00"}}}}]}}"#,
            ),
            _ => Act::Write,
        })
        .await;
    run.assert_all_written(1000);
}

#[tokio::test(start_paused = true)]
async fn one_invalid_item_is_rejected_and_the_other_24_are_written() {
    let bad = key(300);
    let run = Setup::default()
        .run(|_, keys| {
            if keys.contains(&bad) {
                Act::Fail(ErrorClass::Invalid, "ValidationException")
            } else {
                Act::Write
            }
        })
        .await;
    assert!(matches!(run.end, RunEnd::Complete));
    assert_eq!(
        (
            run.counts.line_counts.written,
            run.counts.line_counts.rejected
        ),
        (999, 1)
    );
    assert!(!run.rows.contains_key(&bad));
    let message = run.rejected.expect("named");
    assert!(
        message.contains("line 300 (byte 9900)") && message.contains("finds invalid"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_items_are_all_invalid_stops() {
    let run = Setup::default()
        .run(|_, _| Act::Fail(ErrorClass::Invalid, "ValidationException"))
        .await;
    let RunEnd::Failed(error) = run.end else {
        panic!("{:?}", run.end)
    };
    assert!(
        format!("{error:#}").contains("reports every item for table t as invalid"),
        "{error}"
    );
    assert_eq!(run.counts.line_counts.written, 0);
    assert!(run.counts.line_counts.rejected >= 25 && run.counts.line_counts.rejected < 100);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_stops_the_run_at_once() {
    let denied = Act::Fail(ErrorClass::Permanent, "AccessDeniedException");
    let run = Setup::default()
        .run(|k, _| if k == 5 { denied } else { Act::Write })
        .await;
    let RunEnd::Failed(error) = run.end else {
        panic!("{:?}", run.end)
    };
    assert!(
        format!("{error:#}").contains("AccessDeniedException"),
        "{error}"
    );
    assert!(
        error
            .hint()
            .is_some_and(|h| h.contains("dynamodb:BatchWriteItem"))
    );
    // The other calls in flight have finished.
    assert!(run.calls.len() <= 12, "{} calls", run.calls.len());
    assert_eq!(run.counts.line_counts.written, run.rows.len() as u64);
    assert!(run.counts.line_counts.failed > 0);
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_retried_up_to_the_time_limit() {
    let started = Instant::now();
    // Down for ten minutes.
    let run = Setup::default()
        .run(|_, _| {
            let is_down = started.elapsed() < Duration::from_secs(600);
            if is_down {
                Act::Fail(ErrorClass::Transient, "InternalServerError")
            } else {
                Act::Write
            }
        })
        .await;
    run.assert_all_written(1000);

    let setup = Setup {
        give_up_after: Duration::from_secs(60),
        ..Setup::default()
    };
    let run = setup
        .run(|_, _| Act::Fail(ErrorClass::Transient, "InternalServerError"))
        .await;
    let RunEnd::Failed(error) = run.end else {
        panic!("{:?}", run.end)
    };
    assert!(format!("{error:#}").contains("for 60 s"), "{error}");
    assert!(run.elapsed >= Duration::from_secs(60) && run.elapsed < Duration::from_secs(90));
    assert_eq!(run.counts.line_counts.failed, run.counts.line_counts.lines);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_never_processes_an_item_ends_the_run() {
    let setup = Setup {
        give_up_after: Duration::from_secs(60),
        ..Setup::default()
    };
    let run = setup.run(|_, _| Act::Unprocessed(25)).await;
    assert!(matches!(run.end, RunEnd::Failed(_)), "{:?}", run.end);
    assert_eq!(run.counts.line_counts.written, 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_stop_calls_in_flight_finish_and_no_more_are_sent() {
    let setup = Setup {
        records: 10_000,
        latency: Duration::from_secs(1),
        stop_after: Some(Duration::from_millis(1500)),
        ..Setup::default()
    };
    let run = setup.run(|_, _| Act::Write).await;
    assert!(matches!(run.end, RunEnd::Stopped), "{:?}", run.end);
    assert_eq!(run.elapsed, Duration::from_secs(2));
    assert_eq!(run.counts.line_counts.written, 16 * 25);
    assert_eq!(run.rows.len(), 16 * 25);
    assert!(run.counts.line_counts.failed > 0);
}

#[tokio::test(start_paused = true)]
async fn slow_input_is_written_without_waiting_for_a_full_batch() {
    let setup = Setup {
        records: 3,
        closed: false,
        stop_after: Some(Duration::from_secs(5)),
        ..Setup::default()
    };
    let run = setup.run(|_, _| Act::Write).await;
    assert_eq!(run.rows.len(), 3);
    assert_eq!(run.calls.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// For any responses, each line is in one category, and only acknowledged lines are
    /// before the watermark: [`Setup::run`] asserts both.
    #[test]
    fn line_counts_balance_for_any_responses(
        acts in prop::collection::vec(0u8..9, 1..40),
        stop_after in proptest::option::of(0u64..200),
        concurrency in 1usize..12,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let run = runtime.block_on(async {
            let setup = Setup {
                records: 400,
                concurrency: Concurrency::Calls(concurrency),
                give_up_after: Duration::from_secs(60),
                stop_after: stop_after.map(Duration::from_millis),
                ..Setup::default()
            };
            setup.run(|k, _| match acts.get(k - 1) {
                Some(0) => Act::Unprocessed(7),
                Some(1) => Act::Unprocessed(25),
                Some(2) => Act::LoseResponse,
                Some(3) => Act::Fail(ErrorClass::Throttled, "ThrottlingException"),
                Some(4) => Act::Fail(ErrorClass::Transient, "InternalServerError"),
                Some(5) => Act::Fail(ErrorClass::Invalid, "ValidationException"),
                Some(6) => Act::Respond("{\"UnprocessedItems\":{\"t\":[{\"PutRequest\":{\"Item\":{}}}]}}"),
                Some(7) => Act::Respond("[1e999"),
                _ => Act::Write,
            })
            .await
        });
        prop_assert!(run.counts.line_counts.lines <= 400);
        prop_assert!(run.rows.len() as u64 >= run.counts.line_counts.written);
    }
}

/// A table in which every third item has another source.
#[derive(Default)]
struct OfTwoSources {
    calls: Mutex<Vec<(Duration, String)>>,
    begun: std::sync::OnceLock<Instant>,
}

impl BatchWrite for OfTwoSources {
    async fn batch_write(&self, _: Bytes) -> Result<Bytes, CallError> {
        Err(CallError::unrecognised_response("a delete came in a batch"))
    }

    async fn delete_item(&self, body: Bytes) -> Result<Bytes, CallError> {
        let request: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let key = request["Key"]["md5"]["S"]
            .as_str()
            .expect("a key")
            .to_owned();
        let started = *self.begun.get_or_init(Instant::now);
        let mut calls = self.calls.lock().expect("no panic");
        let is_retry = calls.iter().any(|(_, k)| *k == key);
        calls.push((started.elapsed(), key.clone()));
        let fail = |meaning, code: &str| CallError {
            class: meaning,
            code: Some(code.into()),
            message: String::new(),
            reasons: vec![],
            no_credentials: false,
        };
        let n = u32::from_str_radix(&key[..8], 16).expect("hex");
        match n {
            7 if !is_retry => Err(fail(ErrorClass::Throttled, "ThrottlingException")),
            n if n % 3 == 0 => Err(fail(ErrorClass::Permanent, CONDITION_FAILED)),
            _ => Ok(Bytes::from_static(b"{}")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn conditional_deletes_are_single_calls_and_kept_items_are_counted() {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: vec![],
    };
    let owner = crate::dynamodb::attribute::Attribute {
        name: "source".into(),
        value: crate::dynamodb::attribute::Value::S("feed".into()),
    };
    let template = ItemTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &[])
        .expect("fits")
        .with_delete_condition("t", &schema, &owner);
    let table = OfTwoSources::default();
    let (counters, watermark) = (Counters::default(), WatermarkTracker::default());
    let rejects = Rejects::new(None).expect("no file");
    let writer = Writer {
        table: &table,
        table_name: "t",
        template: &template,
        rate_limiter: &RateLimiter::fixed(Some(50.0)),
        counters: &counters,
        watermark: &watermark,
        rejects: &rejects,
        options: WriterOptions {
            concurrency: Concurrency::Auto,
            give_up_after: Duration::from_secs(900),
        },
    };
    let (send, receive) = mpsc::channel(4);
    let record = |n: u32| Record {
        action: Action::Delete,
        ..Record::new(
            hash(n),
            Position {
                source: 0,
                line: u64::from(n),
                byte: 0,
            },
        )
    };
    let records: Vec<Record> = (1..=150).map(record).collect();
    let line_counts = LineCounts {
        lines: 150,
        ..LineCounts::default()
    };
    counters.update(|c| c.line_counts = line_counts);
    let segment = Segment {
        end: records[149].position,
        line_counts,
    };
    send.try_send(RecordBatch { segment, records })
        .expect("room");
    drop(send);
    let backoff = Backoff::new(fastrand::Rng::with_seed(42));
    let end = writer.run(receive, &Stop::new(), backoff).await;
    assert!(matches!(end, RunEnd::Complete), "{end:?}");
    let counts = counters.snapshot();
    let LineCounts { deleted, kept, .. } = counts.line_counts;
    assert_eq!(
        (deleted, kept, counts.line_counts.is_balanced()),
        (100, 50, true)
    );
    assert_eq!(watermark.watermark().line_counts, counts.line_counts);
    assert_eq!(
        (counts.requests, counts.retries, counts.throttled),
        (151, 1, 1)
    );
    assert_eq!(counts.consumed_wcu, 150.0);
    let calls = table.calls.into_inner().expect("no panic");
    // 151 calls at 50 a second; the first calls use the tokens in the bucket.
    let elapsed = calls.last().expect("calls").0.as_secs_f64();
    assert!((2.0..=3.1).contains(&elapsed), "{elapsed} s");
}
