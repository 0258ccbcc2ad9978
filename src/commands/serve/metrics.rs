//! Counters of the server, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Upper bounds of the latency histogram, in seconds.
const BUCKET_SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

/// The counters. Shared by reference.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Counts>);

/// Counts since the start of the server.
#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    requests: BTreeMap<(String, u16), u64>,
    latencies: BTreeMap<String, Latencies>,
    /// Looked-up hashes and paths, by status.
    pub(super) answers: BTreeMap<&'static str, u64>,
    pub(super) cache_hits: u64,
    pub(super) cache_misses: u64,
    /// Hashes whose read was already pending.
    pub(super) coalesced: u64,
    /// BatchGetItem calls, and keys in them.
    pub(super) calls: u64,
    pub(super) keys: u64,
    /// Throttled calls, unprocessed keys, and calls that failed for another reason.
    pub(super) throttled: u64,
    pub(super) unprocessed: u64,
    pub(super) failed: u64,
    pub(super) read_units: f64,
    /// Current numbers: calls in flight, pending hashes, requests, connections.
    pub(super) calls_in_flight: u64,
    pub(super) pending: u64,
    pub(super) requests_in_flight: u64,
    pub(super) connections: u64,
    pub(super) connections_total: u64,
    /// Time of the last successful call, and whether the last call failed.
    pub(super) last_success: Option<Instant>,
    pub(super) is_failing: bool,
}

#[derive(Debug, Default, Clone)]
struct Latencies {
    /// Requests by [`BUCKET_SECONDS`], not cumulative.
    buckets: [u64; BUCKET_SECONDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    pub(super) fn update(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts());
    }

    /// A copy of the counts.
    pub(super) fn snapshot(&self) -> Counts {
        self.counts().clone()
    }

    /// Records a response to `route` with `status` after `took`.
    pub(super) fn record_request(&self, route: &str, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        self.update(|c| {
            *(c.requests.entry((route.to_owned(), status)).or_default()) += 1;
            let latencies = c.latencies.entry(route.to_owned()).or_default();
            latencies.count += 1;
            latencies.sum += seconds;
            if let Some(at) = BUCKET_SECONDS.iter().position(|bound| seconds <= *bound) {
                latencies.buckets[at] += 1;
            }
        });
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics in Prometheus' text format; `rate` is the target rate in RCU/s.
    pub(super) fn to_prometheus(&self, rate: Option<f64>) -> String {
        let c = self.snapshot();
        let mut out = String::with_capacity(8 * 1024);
        let mut say = |name: &str, kind: &str, help: &str, values: &[(String, f64)]| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "# HELP hashferry_{name} {help}");
            let _ = writeln!(out, "# TYPE hashferry_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(out, "hashferry_{name}{labels} {value}");
            }
        };
        let one = |n: u64| [(String::new(), n as f64)];
        let version = env!("CARGO_PKG_VERSION");
        say(
            "build_info",
            "gauge",
            "Always 1; the version of hashferry is a label.",
            &[(format!("{{version=\"{version}\"}}"), 1.0)],
        );
        let requests = c.requests.iter();
        let requests: Vec<_> = requests
            .map(|((route, status), n)| {
                (
                    format!("{{route=\"{}\",status=\"{status}\"}}", escape_label(route)),
                    *n as f64,
                )
            })
            .collect();
        say(
            "http_requests_total",
            "counter",
            "Requests answered, by route and status.",
            &requests,
        );
        let answers = c.answers.iter();
        let answers: Vec<_> = answers
            .map(|(status, n)| (format!("{{status=\"{status}\"}}"), *n as f64))
            .collect();
        say(
            "lookups_total",
            "counter",
            "Looked-up hashes and paths, by status.",
            &answers,
        );
        let counter = "counter";
        for (name, kind, help, n) in [
            (
                "cache_hits_total",
                counter,
                "Hashes answered from the cache.",
                c.cache_hits,
            ),
            (
                "cache_misses_total",
                counter,
                "Hashes that were not in the cache.",
                c.cache_misses,
            ),
            (
                "cache_joined_total",
                counter,
                "Cache misses whose read was already pending.",
                c.coalesced,
            ),
            (
                "batch_get_item_calls_total",
                counter,
                "BatchGetItem calls.",
                c.calls,
            ),
            (
                "batch_get_item_keys_total",
                counter,
                "Keys in BatchGetItem calls.",
                c.keys,
            ),
            (
                "batch_get_item_throttled_total",
                counter,
                "Throttled BatchGetItem calls.",
                c.throttled,
            ),
            (
                "batch_get_item_failed_total",
                counter,
                "BatchGetItem calls that failed for another reason.",
                c.failed,
            ),
            (
                "batch_get_item_unprocessed_keys_total",
                counter,
                "Unprocessed keys of BatchGetItem calls.",
                c.unprocessed,
            ),
            (
                "batch_get_item_in_flight",
                "gauge",
                "BatchGetItem calls in flight.",
                c.calls_in_flight,
            ),
            ("hashes_waiting", "gauge", "Pending hashes.", c.pending),
            (
                "http_requests_in_flight",
                "gauge",
                "Requests in flight.",
                c.requests_in_flight,
            ),
            ("connections", "gauge", "Open connections.", c.connections),
            (
                "connections_total",
                counter,
                "Connections accepted.",
                c.connections_total,
            ),
        ] {
            say(name, kind, help, &one(n));
        }
        say(
            "read_units_total",
            counter,
            "Read capacity units consumed.",
            &[(String::new(), c.read_units)],
        );
        if let Some(rate) = rate {
            say(
                "read_units_per_second_aimed_at",
                "gauge",
                "Target rate in read capacity units a second.",
                &[(String::new(), rate)],
            );
        }
        let name = "http_request_duration_seconds";
        let _ = writeln!(out, "# HELP hashferry_{name} Response time, by route.");
        let _ = writeln!(out, "# TYPE hashferry_{name} histogram");
        for (route, latencies) in &c.latencies {
            let route = escape_label(route);
            let mut below = 0;
            for (bound, n) in BUCKET_SECONDS.iter().zip(latencies.buckets) {
                below += n;
                let _ = writeln!(
                    out,
                    "hashferry_{name}_bucket{{route=\"{route}\",le=\"{bound}\"}} {below}"
                );
            }
            let Latencies { count, sum, .. } = latencies;
            let _ = writeln!(
                out,
                "hashferry_{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}\n\
                 hashferry_{name}_sum{{route=\"{route}\"}} {sum}\n\
                 hashferry_{name}_count{{route=\"{route}\"}} {count}"
            );
        }
        out
    }
}

fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_has_one_type_and_buckets_are_cumulative() {
        let metrics = Metrics::default();
        for (ms, status) in [(0, 200), (2, 404), (700, 200), (31_000, 503)] {
            metrics.record_request("/sha256/{hash}", status, Duration::from_millis(ms));
        }
        metrics.update(|c| {
            c.answers.insert("known", 7);
            c.read_units = 1.5;
        });
        let text = metrics.to_prometheus(Some(300.0));
        for line in [
            "hashferry_http_requests_total{route=\"/sha256/{hash}\",status=\"200\"} 2",
            "hashferry_lookups_total{status=\"known\"} 7",
            "hashferry_read_units_total 1.5",
            "hashferry_read_units_per_second_aimed_at 300",
            "hashferry_http_request_duration_seconds_bucket{route=\"/sha256/{hash}\",le=\"0.001\"} 1",
            "hashferry_http_request_duration_seconds_bucket{route=\"/sha256/{hash}\",le=\"0.5\"} 2",
            "hashferry_http_request_duration_seconds_bucket{route=\"/sha256/{hash}\",le=\"30\"} 3",
            "hashferry_http_request_duration_seconds_bucket{route=\"/sha256/{hash}\",le=\"+Inf\"} 4",
            "hashferry_http_request_duration_seconds_count{route=\"/sha256/{hash}\"} 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in:\n{text}");
        }
        let mut types: Vec<_> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let all = types.len();
        types.dedup();
        assert_eq!(types.len(), all);
    }
}
