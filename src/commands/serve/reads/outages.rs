//! Simulations of reads during an outage of the table, in paused time.

use super::Reads;
use super::*;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::commands::serve::metrics::Metrics;
use crate::commands::serve::pending::{Found, ReadOptions};
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::pipeline::contents::case_detection::CaseDetector;
use crate::pipeline::contents::settings::{KeyCase, SettingSyntax};
use crate::pipeline::outage::{OutageTable, RateMode, outages};
use futures::future::join_all;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Concurrent requests, of 100 hashes each: more than the table's capacity.
const CLIENTS: u32 = 40;

async fn simulate(mode: RateMode, fault: u32) {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "sha256".to_owned(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: Vec::new(),
    };
    let questions = CaseDetector::new(
        "t",
        &schema,
        Algorithm::Sha256,
        KeyCase::Known(Case::Upper),
        &[],
        SettingSyntax::Flags,
    );
    let (table, rate_limiter) = (
        OutageTable::new(fault),
        Arc::new(mode.rate_limiter().for_reads()),
    );
    let options = ReadOptions {
        concurrency: crate::flow::concurrency::Concurrency::Auto,
        consistent: false,
        cache_ttl: Duration::ZERO,
        cache_entries: 0,
    };
    let (reads, asker) = Reads::new(
        table.clone(),
        questions.expect("a template"),
        rate_limiter.clone(),
        Arc::new(Metrics::default()),
        options,
        Backoff::new(fastrand::Rng::with_seed(7)),
    );
    // Start times of the requests in which a hash failed.
    let in_vain: Mutex<Vec<Instant>> = Mutex::default();
    let client = |number: u32| {
        let (reads, in_vain) = (&reads, &in_vain);
        async move {
            for n in 0u32.. {
                let asked = Instant::now();
                let hashes: Vec<Hash> = (0u32..100)
                    .map(|i| {
                        let mut raw = [0; 32];
                        raw[..4].copy_from_slice(&(n * 100 + i).to_be_bytes());
                        raw[4..8].copy_from_slice(&number.to_be_bytes());
                        Hash::from(raw)
                    })
                    .collect();
                let found = reads.get(&hashes, asked + Duration::from_secs(30)).await;
                if found.iter().any(|f| matches!(f, Found::Error(_))) {
                    in_vain.lock().expect("whole").push(asked);
                }
            }
        }
    };
    let describe = || async { Ok(mode.capacity()) };
    tokio::select! {
        never = asker.run() => match never {},
        never = rate_limiter.follow_table(Duration::from_secs(10), describe) => match never {},
        _ = join_all((0..CLIENTS).map(client)) => {}
        () = tokio::time::sleep(table.run_duration()) => {}
    }
    table.measurements().check("serve", mode);
    let in_vain = in_vain.into_inner().expect("whole");
    let again = table.recovers_at();
    let after = in_vain.iter().filter(|at| **at >= again).count();
    assert_eq!(after, 0, "requests failed though the table is healthy");
    // Requests time out after 30 s, so a shorter outage fails none. Without a rate limit,
    // most keys are throttled before the outage too.
    if fault < 25 && mode != RateMode::Max {
        assert_eq!(in_vain.len(), 0, "requests failed");
    }
}

outages!(simulate);
