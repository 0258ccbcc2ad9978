//! Model of a table with an outage, and measurements of a run against it, for the tests
//! of every loop that sends calls.
//!
//! The table's token bucket refills continuously, holds one second of capacity and starts
//! with the tokens of one batch. The table is healthy for [`BEFORE`] seconds. Then, for the
//! duration of the fault, it throttles every call or leaves all items unprocessed. After
//! that it is healthy for [`AFTER`] seconds.

use crate::aws::error::{CallError, ErrorClass};
use crate::dynamodb::client::operation::{BatchGet, BatchWrite};
use crate::flow::capacity::{Capacity, Part};
use crate::flow::rate_limiter::RateLimiter;
use crate::flow::rate_setting::RateSetting;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Seconds before the fault.
pub(crate) const BEFORE: f64 = 8.0;

/// Seconds after the fault.
pub(crate) const AFTER: f64 = 61.0;

/// Capacity of the table, in WCU/s or RCU/s.
pub(crate) const CAPACITY: f64 = 1000.0;

/// Latency of a call, in milliseconds.
const LATENCY_MS: u64 = 5;

/// Rate setting of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RateMode {
    /// Rate controller, from the provisioned capacity.
    Provisioned,
    /// Rate controller, from the observed throttling.
    OnDemand,
    /// Fixed rate, equal to the capacity.
    Fixed,
    /// No limit.
    Max,
}

impl RateMode {
    /// Rate limiter of the run.
    pub(crate) fn rate_limiter(self) -> RateLimiter {
        let rate = match self {
            RateMode::Provisioned | RateMode::OnDemand => RateSetting::Auto,
            RateMode::Fixed => RateSetting::Units(CAPACITY),
            RateMode::Max => RateSetting::Max,
        };
        rate.rate_limiter(self.capacity(), None)
    }

    /// Capacity as DescribeTable reports it.
    pub(crate) fn capacity(self) -> Capacity {
        let on_demand = self == RateMode::OnDemand;
        let parts = match on_demand {
            true => Vec::new(),
            false => vec![(Part::Table, CAPACITY)],
        };
        Capacity {
            on_demand,
            parts,
            warm_throughput: on_demand.then_some(CAPACITY),
        }
    }
}

/// A call as the table saw it.
#[derive(Debug, Clone, Copy)]
struct Call {
    /// Seconds from the start to the request and to the response.
    sent: f64,
    answered: f64,
    items: usize,
    offered: f64,
    accepted: f64,
}

/// Model of a table with an outage.
#[derive(Debug, Clone)]
pub(crate) struct OutageTable(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    fault: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: f64,
    level: f64,
    calls: Vec<Call>,
}

impl OutageTable {
    /// A table that accepts nothing for `fault` seconds.
    pub(crate) fn new(fault: u32) -> OutageTable {
        OutageTable(Arc::new(Inner {
            begun: Instant::now(),
            fault: f64::from(fault),
            state: Mutex::new(State {
                seen: 0.0,
                level: 25.0,
                calls: Vec::new(),
            }),
        }))
    }

    /// Duration of a run against it.
    pub(crate) fn run_duration(&self) -> Duration {
        Duration::from_secs_f64(BEFORE + self.0.fault + AFTER)
    }

    /// End of the fault.
    pub(crate) fn recovers_at(&self) -> Instant {
        self.0.begun + Duration::from_secs_f64(BEFORE + self.0.fault)
    }

    /// Accepts as many of `items` as the bucket covers, at a cost of `each`; returns their
    /// number. If none is accepted, every second call is an error.
    async fn accept(&self, items: usize, each: f64) -> Result<usize, CallError> {
        let sent = self.0.begun.elapsed().as_secs_f64();
        tokio::time::sleep(Duration::from_millis(LATENCY_MS)).await;
        let now = self.0.begun.elapsed().as_secs_f64();
        let mut s = self.0.state.lock().expect("no panic");
        s.level = (s.level + (now - s.seen) * CAPACITY).min(CAPACITY);
        s.seen = now;
        let healthy = !(BEFORE..BEFORE + self.0.fault).contains(&now);
        let kept = match healthy {
            true => ((s.level / each) as usize).min(items),
            false => 0,
        };
        s.level -= kept as f64 * each;
        s.calls.push(Call {
            sent,
            answered: now,
            items,
            offered: items as f64 * each,
            accepted: kept as f64 * each,
        });
        match kept {
            0 if s.calls.len().is_multiple_of(2) => Err(CallError {
                class: ErrorClass::Throttled,
                code: Some("ThrottlingException".into()),
                message: String::new(),
                reasons: vec![("TableWriteProvisionedThroughputExceeded".into(), "t".into())],
                no_credentials: false,
            }),
            kept => Ok(kept),
        }
    }

    /// Measurements of the run.
    pub(crate) fn measurements(&self) -> Measurements {
        let calls = std::mem::take(&mut self.0.state.lock().expect("no panic").calls);
        let end = BEFORE + self.0.fault;
        let sum = |from: f64, to: f64, of: fn(&Call) -> f64| -> f64 {
            let within = calls
                .iter()
                .filter(|c| c.answered > from && c.answered <= to);
            within.map(of).sum()
        };
        let accepted = |from, to| sum(from, to, |c| c.accepted);
        let after: Vec<f64> = calls
            .iter()
            .filter(|c| c.accepted > 0.0 && c.answered >= end)
            .map(|c| c.answered)
            .collect();
        let first = after.first().copied().unwrap_or(f64::INFINITY);
        // One batch less within a second is tolerated.
        let reached = |share: f64| {
            let min = share * CAPACITY - 25.0;
            let at = after.iter().find(|at| accepted(**at - 1.0, **at) >= min);
            at.map_or(f64::INFINITY, |at| at - first)
        };
        let down: Vec<&Call> = calls
            .iter()
            .filter(|c| c.answered >= BEFORE && c.sent < first)
            .collect();
        let gaps = down.windows(2).map(|pair| pair[1].sent - pair[0].sent);
        let probes = down.iter().filter(|c| c.sent > BEFORE + 1.2);
        let (from, to) = (end + 10.0, end + 60.0);
        let offered = sum(from, to, |c| c.offered);
        Measurements {
            first: first - end,
            half: reached(0.5),
            all: reached(1.0),
            share: accepted(from, to) / (CAPACITY * (to - from)),
            throttled_share: (offered - accepted(from, to)) / offered,
            longest_gap: gaps.fold(0.0, f64::max),
            probes: probes.clone().count(),
            largest_probe: probes.map(|c| c.items).max().unwrap_or(0),
            fault: self.0.fault,
        }
    }
}

impl BatchWrite for OutageTable {
    async fn batch_write(&self, body: Bytes) -> Result<Bytes, CallError> {
        let text = std::str::from_utf8(&body).expect("UTF-8");
        let count = text.matches("{\"PutRequest\":").count();
        let kept = self.accept(count, 1.0).await?;
        let unprocessed = match count - kept {
            0 => json!({}),
            _ => {
                let request: Value = serde_json::from_str(text).expect("JSON");
                let puts = request["RequestItems"]["t"].as_array().expect("puts");
                json!({ "t": puts[kept..] })
            }
        };
        let consumed = json!({"TableName": "t", "CapacityUnits": kept as f64});
        let response = json!({"UnprocessedItems": unprocessed, "ConsumedCapacity": [consumed]});
        Ok(response.to_string().into())
    }
}

impl BatchGet for OutageTable {
    /// Finds every key.
    async fn batch_get(&self, body: Bytes) -> Result<Bytes, CallError> {
        let text = std::str::from_utf8(&body).expect("UTF-8");
        let consistent = text.contains("\"ConsistentRead\":true");
        let each = if consistent { 1.0 } else { 0.5 };
        let (_, keys) = text.split_once("\"Keys\":[").expect("keys");
        let (keys, _) = keys.split_once(']').expect("an end");
        let count = keys.matches("\"S\":").count();
        let kept = self.accept(count, each).await?;
        let units = kept as f64 * each;
        if kept == count {
            let answer = format!(
                "{{\"Responses\":{{\"t\":[{keys}]}},\"UnprocessedKeys\":{{}},\
                 \"ConsumedCapacity\":[{{\"TableName\":\"t\",\"CapacityUnits\":{units}}}]}}"
            );
            return Ok(answer.into());
        }
        let keys: Vec<Value> = serde_json::from_str(&format!("[{keys}]")).expect("JSON");
        let (read, left) = keys.split_at(kept);
        let consumed = json!({"TableName": "t", "CapacityUnits": units});
        let answer = json!({"Responses": {"t": read}, "UnprocessedKeys": {"t": {"Keys": left}},
            "ConsumedCapacity": [consumed]});
        Ok(answer.to_string().into())
    }
}

/// Measurements of a run.
#[derive(Debug)]
pub(crate) struct Measurements {
    /// Seconds from the end of the fault to the first accepted item.
    pub(crate) first: f64,
    /// Seconds from then until half of the capacity was used over one second.
    pub(crate) half: f64,
    /// Seconds from then until all of the capacity was used over one second.
    pub(crate) all: f64,
    /// Share of the capacity used from second 10 to 60 after the fault.
    pub(crate) share: f64,
    /// Share of the offered capacity units that were throttled in that time.
    pub(crate) throttled_share: f64,
    /// Longest time without a call from the start of the fault to the first accepted item.
    pub(crate) longest_gap: f64,
    /// Calls in that time, after its first 1.2 s.
    pub(crate) probes: usize,
    /// Items of the largest of these calls.
    pub(crate) largest_probe: usize,
    fault: f64,
}

impl Measurements {
    /// Prints the measurements and asserts the limits of every loop that sends calls.
    /// Without a rate limit, most calls are throttled before the fault, too.
    pub(crate) fn check(&self, name: &str, mode: RateMode) {
        println!(
            "{name} {mode:?} {} s: first {:.2} s, half {:.2} s, all {:.2} s, share {:.2} %, \
             throttled {:.2} %, longest gap {:.2} s, {} probes of at most {}",
            self.fault,
            self.first,
            self.half,
            self.all,
            self.share * 100.0,
            self.throttled_share * 100.0,
            self.longest_gap,
            self.probes,
            self.largest_probe
        );
        assert!(
            self.longest_gap <= 1.01,
            "{name}: a probe a second: {self:?}"
        );
        assert_eq!(self.largest_probe, 1, "{name}: {self:?}");
        assert!(self.probes as f64 <= 2.0 * self.fault, "{name}: {self:?}");
        assert!(self.first <= 1.01, "{name}: {self:?}");
        assert!(self.half <= 3.0, "{name}: {self:?}");
        assert!(self.all <= 10.0, "{name}: {self:?}");
        if mode != RateMode::Max {
            assert!(self.share >= 0.95, "{name}: {self:?}");
            assert!(self.throttled_share <= 0.01, "{name}: {self:?}");
        }
    }
}

/// The scenarios. `$play` is an async function of a mode and the duration of the fault in
/// seconds.
macro_rules! outages {
    ($play:ident) => {
        outages! { $play:
            provisioned_4 Provisioned 4, provisioned_20 Provisioned 20,
            provisioned_60 Provisioned 60, on_demand_4 OnDemand 4,
            on_demand_20 OnDemand 20, on_demand_60 OnDemand 60,
            fixed_20 Fixed 20, max_20 Max 20,
        }
    };
    ($play:ident: $($name:ident $mode:ident $seconds:literal),* $(,)?) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            $play($crate::pipeline::outage::RateMode::$mode, $seconds).await;
        }
    )*};
}
pub(crate) use outages;
