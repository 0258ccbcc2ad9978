//! Checker in paused time, with a table that throttles every call for a while.

use super::*;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Position;
use crate::base::shutdown::Stop;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::pipeline::outage::{OutageTable, RateMode, outages};
use tokio::sync::mpsc;

async fn play(mode: RateMode, fault: u32) {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: vec![],
    };
    let template = GetTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &[]).expect("fits");
    let (table, rate_limiter) = (OutageTable::new(fault), mode.rate_limiter().for_reads());
    let (counters, stop) = (VerifyCounters::default(), Stop::new());
    let checker = Checker {
        table: &table,
        table_name: "t",
        template: &template,
        rate_limiter: &rate_limiter,
        counters: &counters,
        options: CheckerOptions {
            concurrency: Concurrency::Auto,
            consistent: false,
            give_up_after: Duration::from_secs(900),
        },
    };
    let (send, receive) = mpsc::channel(8);
    let feed = async {
        for first in (0u64..).step_by(500) {
            let record = |line: u64| {
                let mut raw = [0; 16];
                raw[..8].copy_from_slice(&line.to_be_bytes());
                let hash = Hash::from_bytes(&raw).expect("16 bytes");
                Record::new(
                    hash,
                    Position {
                        source: 0,
                        line,
                        byte: 0,
                    },
                )
            };
            let records: Vec<_> = (first..first + 500).map(record).collect();
            if send.send(records.into()).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let describe = || async { Ok(mode.capacity()) };
    let backoff = Backoff::new(fastrand::Rng::with_seed(7));
    tokio::select! {
        ended = checker.run(receive, |_| Ok(()), &stop, backoff) => panic!("{ended:?}"),
        never = rate_limiter.follow_table(Duration::from_secs(10), describe) => match never {},
        () = feed => {}
        () = tokio::time::sleep(table.run_duration()) => {}
    }
    table.measurements().check("verify", mode);
    let counts = counters.snapshot();
    assert_eq!(
        (counts.line_counts.missing, counts.line_counts.different),
        (0, 0)
    );
}

outages!(play);
