//! Size of the token bucket: holds a rate with buckets of several sizes, in real
//! time. Prints the share of the rate that was reached and the units of the
//! busiest second. The size in `limiter.rs` comes from this bench.
//!
//! `cargo bench --bench limiter [-- SECONDS]`: SECONDS per row, 5 by default.

use hashferry::bench::SharedBucket;
use hashferry::bench::TokenBucket;
use std::time::Duration;
use tokio::time::Instant;

fn main() {
    // `cargo bench` adds --bench; `cargo test` adds nothing.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let testing = !arguments.iter().any(|a| a == "--bench");
    let seconds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(5.0);
    let seconds: f64 = if testing { 0.2 } else { seconds };
    println!(
        "{:>10} {:>10} {:>8} {:>9} {:>12}",
        "WCU/s", "bucket ms", "WCU", "of rate", "busiest s"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    for rate in [1000.0, 10_000.0, 40_000.0] {
        for ms in [0.0, 5.0, 20.0, 100.0, 1000.0] {
            runtime.block_on(row(rate, ms, seconds));
        }
    }
}

async fn row(rate: f64, ms: f64, seconds: f64) {
    let started = Instant::now();
    let bucket = TokenBucket::with_burst_seconds(ms / 1000.0, rate, started);
    let size = bucket.size();
    let limiter = SharedBucket::from_bucket(bucket);
    let mut calls = Vec::new();
    loop {
        limiter.take(25.0).await;
        let at = started.elapsed().as_secs_f64();
        if at >= seconds {
            break;
        }
        calls.push(at);
        // Stands for the writer's work on a batch.
        let work = Instant::now();
        while work.elapsed() < Duration::from_micros(40) {
            std::hint::spin_loop();
        }
    }
    // The maximum over all one-second windows that begin with a batch.
    let mut busiest = 0;
    let mut end = 0;
    for (i, from) in calls.iter().enumerate() {
        while end < calls.len() && calls[end] < from + 1.0 {
            end += 1;
        }
        busiest = busiest.max(end - i);
    }
    println!(
        "{rate:>10} {ms:>10} {size:>8} {:>8.2}% {:>11.2}%",
        calls.len() as f64 * 25.0 / seconds / rate * 100.0,
        busiest as f64 * 25.0 / rate / seconds.min(1.0) * 100.0
    );
}
