//! Scenarios: writer, rate limiter and rate controller in paused time, against a model of
//! DynamoDB's token buckets.
//!
//! Each scenario is a file in `tests/scenarios` with the behaviour of the table, the
//! expected result and the reason. Each part of the model (table, index, replica, hidden
//! limit) has a bucket, which starts with one batch. It holds one second of the part's
//! capacity, unless the scenario sets another time. This is stricter than DynamoDB, which
//! saves up to five minutes. Items that exceed the bucket are unprocessed; a call without a
//! fitting item is throttled.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::{Position, Record};
use crate::base::shutdown::Stop;
use crate::dynamodb::client::operation::BatchWrite;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::flow::backoff::Backoff;
use crate::flow::capacity::{Capacity, Part};
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_controller::RateController;
use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::progress::counts::{Counters, LineCounts};
use crate::pipeline::progress::watermark::{RecordBatch, Segment, WatermarkTracker};
use crate::pipeline::rejects::Rejects;
use crate::pipeline::writer::{Writer, WriterOptions};
use bytes::Bytes;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

mod outages;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    #[allow(dead_code)] // for readers of the file
    why: String,
    seconds: u64,
    table: TableModel,
    /// Seconds between two descriptions of the table.
    #[serde(default = "ten")]
    interval: f64,
    max_rate: Option<f64>,
    expect: Expect,
}

fn ten() -> f64 {
    10.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableModel {
    /// Provisioned WCU, each with its start in seconds.
    #[serde(default)]
    steps: Vec<(f64, f64)>,
    /// Auto scaling by target tracking, from the first step's capacity.
    scaling: Option<Scaling>,
    #[serde(default)]
    on_demand: bool,
    /// Warm throughput in WCU/s.
    warm: Option<f64>,
    /// Provisioned WCU of an index that contains every item.
    index: Option<f64>,
    /// Provisioned WCU of the replica.
    replica: Option<f64>,
    /// Actual limit in WCU that no description reports, each with its start in seconds.
    #[serde(default)]
    hidden: Vec<(f64, f64)>,
    /// Seconds of capacity that each part saves; at least one batch.
    #[serde(default = "one")]
    saves: f64,
    /// Latency of a call, in milliseconds.
    #[serde(default = "five")]
    latency_ms: u64,
}

fn one() -> f64 {
    1.0
}

fn five() -> u64 {
    5
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Scaling {
    max: f64,
    /// Target utilisation.
    target: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    /// Accepted WCU, as a share of the total capacity of the narrowest part.
    utilisation_at_least: f64,
    /// Throttled WCU, as a share of those offered.
    refused_at_most: f64,
    /// Minimum and maximum of the final rate.
    rate_at_the_end: (f64, f64),
}

/// Model of a table.
struct Model {
    table: TableModel,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    seen: Instant,
    /// Capacity as set by auto scaling.
    scaled: f64,
    /// Number of the current minute, and WCU accepted in it. `high` counts consecutive
    /// minutes above the target.
    minute: (u64, f64),
    high: u32,
    /// Bucket levels of table, index, replica and hidden limit.
    levels: [f64; 4],
    available: f64,
    accepted: f64,
    offered: f64,
}

fn at(steps: &[(f64, f64)], t: f64) -> Option<f64> {
    steps
        .iter()
        .rev()
        .find(|(from, _)| *from <= t)
        .map(|(_, units)| *units)
}

impl Model {
    fn new(table: TableModel) -> Self {
        let started = Instant::now();
        let scaled = at(&table.steps, 0.0).unwrap_or(0.0);
        let state = State {
            seen: started,
            scaled,
            minute: (0, 0.0),
            high: 0,
            levels: [25.0; 4],
            available: 0.0,
            accepted: 0.0,
            offered: 0.0,
        };
        Model {
            table,
            begun: started,
            state: Mutex::new(state),
        }
    }

    fn provisioned(&self, s: &State, t: f64) -> Option<f64> {
        if self.table.scaling.is_some() {
            Some(s.scaled)
        } else {
            at(&self.table.steps, t)
        }
    }

    /// Capacities of table, index, replica and hidden limit.
    fn capacities(&self, s: &State, t: f64) -> [f64; 4] {
        let or_none = |c: Option<f64>| c.unwrap_or(f64::INFINITY);
        [
            or_none(self.provisioned(s, t)),
            or_none(self.table.index),
            or_none(self.table.replica),
            or_none(at(&self.table.hidden, t)),
        ]
    }

    /// Advances to the current time: fills the buckets and applies auto scaling.
    fn pass(&self, s: &mut State) {
        let now = Instant::now();
        // Small steps, so that no change of the capacity is missed.
        while s.seen < now {
            let next = (s.seen + Duration::from_millis(10)).min(now);
            let t = (s.seen - self.begun).as_secs_f64();
            let dt = (next - s.seen).as_secs_f64();
            let capacities = self.capacities(s, t);
            for (level, capacity) in s.levels.iter_mut().zip(capacities) {
                let max = (capacity * self.table.saves).max(25.0);
                *level = (*level + capacity * dt).min(max);
            }
            s.available += capacities.into_iter().fold(f64::INFINITY, f64::min) * dt;
            s.seen = next;
            self.scale(s, t);
        }
    }

    fn scale(&self, s: &mut State, t: f64) {
        let Some(scaling) = self.table.scaling else {
            return;
        };
        let minute = (t / 60.0) as u64;
        if minute == s.minute.0 {
            return;
        }
        let used = s.minute.1 / 60.0;
        s.minute = (minute, 0.0);
        s.high = if used > s.scaled * scaling.target {
            s.high + 1
        } else {
            0
        };
        // Scale out after two consecutive minutes.
        if s.high >= 2 {
            s.scaled = (used / scaling.target).clamp(s.scaled, scaling.max);
            s.high = 0;
        }
    }

    fn describe(&self) -> Capacity {
        let mut s = self.state.lock().expect("whole");
        self.pass(&mut s);
        let t = (Instant::now() - self.begun).as_secs_f64();
        let mut parts = Vec::new();
        parts.extend(self.provisioned(&s, t).map(|u| (Part::Table, u)));
        parts.extend(self.table.index.map(|u| (Part::Index("i".into()), u)));
        parts.extend(self.table.replica.map(|u| (Part::Replica("eu".into()), u)));
        Capacity {
            on_demand: self.table.on_demand,
            parts,
            warm_throughput: self.table.warm,
        }
    }
}

impl BatchWrite for Model {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        tokio::time::sleep(Duration::from_millis(self.table.latency_ms)).await;
        let request: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let puts = request["RequestItems"]["t"].as_array().expect("puts");
        let n = puts.len();
        let mut s = self.state.lock().expect("whole");
        self.pass(&mut s);
        let fits = s.levels.into_iter().fold(f64::INFINITY, f64::min).max(0.0);
        let kept = (fits as usize).min(n);
        let units = kept as f64;
        s.levels.iter_mut().for_each(|l| *l -= units);
        s.offered += n as f64;
        s.accepted += units;
        s.minute.1 += units;
        if kept == 0 {
            return Err(CallError {
                class: ErrorClass::Throttled,
                code: Some("ThrottlingException".into()),
                message: String::new(),
                reasons: vec![("TableWriteKeyRangeThroughputExceeded".into(), "arn".into())],
                no_credentials: false,
            });
        }
        let mut consumed = serde_json::json!({"TableName": "t", "CapacityUnits": units,
            "Table": {"CapacityUnits": units}});
        if self.table.index.is_some() {
            consumed["CapacityUnits"] = (2.0 * units).into();
            consumed["GlobalSecondaryIndexes"] = serde_json::json!({"i": {"CapacityUnits": units}});
        }
        let unprocessed = match &puts[kept..] {
            [] => serde_json::json!({}),
            items => serde_json::json!({"t": items}),
        };
        let response =
            serde_json::json!({"UnprocessedItems": unprocessed, "ConsumedCapacity": [consumed]});
        Ok(response.to_string().into())
    }
}

async fn play(name: &str) {
    let path = format!("{}/tests/scenarios/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a scenario");
    let Scenario {
        seconds,
        table,
        interval,
        max_rate,
        expect,
        ..
    } = serde_json::from_str(&text).expect("a scenario");
    let model = Model::new(table);
    let rate_limiter = RateLimiter::with_controller(RateController::new(
        model.describe(),
        1.0,
        max_rate,
        Instant::now(),
    ));
    let describe = || async { Ok(model.describe()) };
    let follow = rate_limiter.follow_table(Duration::from_secs_f64(interval), describe);
    write(&model, &rate_limiter, follow, Duration::from_secs(seconds)).await;
    let mut s = model.state.lock().expect("whole");
    model.pass(&mut s);
    let utilisation = s.accepted / s.available;
    let throttled = (s.offered - s.accepted) / s.offered;
    let rate = rate_limiter.rate().expect("a rate");
    println!(
        "{name}: {:.2} % of the available capacity, {:.3} % throttled, final rate {rate:.0} WCU/s",
        utilisation * 100.0,
        throttled * 100.0
    );
    assert!(
        utilisation >= expect.utilisation_at_least,
        "{name}: utilisation {utilisation}"
    );
    assert!(
        throttled <= expect.refused_at_most,
        "{name}: throttled {throttled}"
    );
    let (min, max) = expect.rate_at_the_end;
    assert!((min..=max).contains(&rate), "{name}: rate {rate}");
}

/// Writes to `table` for `duration` at the rate of `rate_limiter`, which `follow` updates.
async fn write<T: BatchWrite>(
    table: &T,
    rate_limiter: &RateLimiter,
    follow: impl Future<Output = Infallible>,
    duration: Duration,
) {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: vec![],
    };
    let template = ItemTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &[]).expect("fits");
    let (counters, stop) = (Counters::default(), Stop::new());
    let rejects = Rejects::new(None).expect("no file");
    let watermark = WatermarkTracker::default();
    let writer = Writer {
        table,
        table_name: "t",
        template: &template,
        rate_limiter,
        counters: &counters,
        watermark: &watermark,
        rejects: &rejects,
        options: WriterOptions {
            concurrency: Concurrency::Auto,
            give_up_after: Duration::from_secs(900),
        },
    };
    let (send, receive) = mpsc::channel(8);
    let feed = async {
        let mut n = 0u64;
        while send.send(record_batch(n)).await.is_ok() {
            n += 500;
        }
        std::future::pending().await
    };
    let backoff = Backoff::new(fastrand::Rng::with_seed(7));
    let stopper = async {
        tokio::time::sleep(duration).await;
        stop.request();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = writer.run(receive, &stop, backoff) => {}
        never = follow => match never {},
        () = feed => {}
        () = stopper => {}
    }
}

/// A batch of 500 records from number `n` on.
fn record_batch(n: u64) -> RecordBatch {
    let place = |line| Position {
        source: 0,
        line,
        byte: 0,
    };
    let record = |i: u64| {
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&i.to_be_bytes());
        Record::new(Hash::from_bytes(&raw).expect("16 bytes"), place(i))
    };
    let line_counts = LineCounts {
        lines: 500,
        ..LineCounts::default()
    };
    RecordBatch {
        segment: Segment {
            end: place(n + 499),
            line_counts,
        },
        records: (n..n + 500).map(record).collect(),
    }
}

macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            play(stringify!($name)).await;
        }
    )*};
}

scenarios! {
    steady,
    steps,
    steps_after_a_look,
    auto_scaling,
    raised_far_away,
    on_demand_hidden_limit,
    on_demand_ramp,
    hot_partition,
    narrow_index,
    narrow_replica,
    ceiling,
}
