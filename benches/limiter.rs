//! How large must the token bucket be? Holds a rate with buckets of several
//! sizes, by the real clock, and prints what share of the rate was had, and what
//! the fullest second took. The size in `limiter.rs` was chosen by this.
//!
//! `cargo bench --bench limiter [-- SECONDS]`: SECONDS a row, 5 by default.

use hashferry::bench::Limiter;
use hashferry::bench::TokenBucket;
use std::time::Duration;
use tokio::time::Instant;

fn main() {
    // Cargo adds a flag of its own, and none when it only tests that this runs.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let testing = !arguments.iter().any(|a| a == "--bench");
    let seconds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(5.0);
    let seconds: f64 = if testing { 0.2 } else { seconds };
    println!(
        "{:>10} {:>10} {:>8} {:>9} {:>12}",
        "units/s", "bucket ms", "units", "of rate", "fullest s"
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
    let begun = Instant::now();
    let bucket = TokenBucket::holding(ms / 1000.0, rate, begun);
    let size = bucket.size();
    let limiter = Limiter::around(bucket);
    let mut taken = Vec::new();
    loop {
        limiter.take(25.0).await;
        let at = begun.elapsed().as_secs_f64();
        if at >= seconds {
            break;
        }
        taken.push(at);
        // What a writer does with a batch: some work of its own.
        let work = Instant::now();
        while work.elapsed() < Duration::from_micros(40) {
            std::hint::spin_loop();
        }
    }
    // The most in any second, of all that begin with a batch.
    let mut fullest = 0;
    let mut end = 0;
    for (i, from) in taken.iter().enumerate() {
        while end < taken.len() && taken[end] < from + 1.0 {
            end += 1;
        }
        fullest = fullest.max(end - i);
    }
    println!(
        "{rate:>10} {ms:>10} {size:>8} {:>8.2}% {:>11.2}%",
        taken.len() as f64 * 25.0 / seconds / rate * 100.0,
        fullest as f64 * 25.0 / rate / seconds.min(1.0) * 100.0
    );
}
