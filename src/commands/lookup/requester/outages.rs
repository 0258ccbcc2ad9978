//! Requester in paused time, with a table that throttles every call for a while.

use super::*;
use crate::base::hash::{Algorithm, Case};
use crate::commands::lookup::query::QueryParser;
use crate::commands::lookup::table_backend::TableBackend;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::flow::concurrency::Concurrency;
use crate::list::lines::Line;
use crate::pipeline::contents::case_detection::CaseDetector;
use crate::pipeline::contents::settings::{KeyCase, SettingSyntax};
use crate::pipeline::outage::{OutageTable, RateMode, outages};
use std::time::Duration;

async fn play(mode: RateMode, fault: u32) {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: vec![],
    };
    let either_case = CaseDetector::new(
        "t",
        &schema,
        Algorithm::Md5,
        KeyCase::Known(Case::Upper),
        &[],
        SettingSyntax::Flags,
    );
    let (table, rate_limiter) = (OutageTable::new(fault), mode.rate_limiter().for_reads());
    let backend = TableBackend {
        table: table.clone(),
        name: "t".into(),
        either_case: either_case.expect("fits"),
        consistent: false,
        rules: None,
    };
    let (counters, stop) = (LookupCounters::default(), Stop::new());
    let requester = Requester {
        backend: &backend,
        rate_limiter: &rate_limiter,
        counters: &counters,
        options: RequesterOptions {
            concurrency: Concurrency::Auto,
            max_keys: MAX_GET_KEYS,
            min_key_cost: 0.5,
            max_tries: None,
            give_up_after: Duration::from_secs(900),
            target: "table t".into(),
        },
    };
    let mut md5 = QueryParser::for_hashes(Algorithm::Md5).expect("a parser");
    let mut query = |n: u64| {
        let text = format!("{n:016x}{:016x}", 0);
        let line = Line {
            bytes: text.as_bytes(),
            offset: 0,
            number: 2,
            length: 32,
        };
        md5.parse(&line, "-").expect("text")
    };
    let (send, receive) = mpsc::channel(8);
    let feed = async {
        for first in (0u64..).step_by(500) {
            let queries: Vec<_> = (first..first + 500).map(&mut query).collect();
            if send.send(queries).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut output = Output::new(tokio::io::sink(), &stop);
    let backoff = Backoff::new(fastrand::Rng::with_seed(7));
    let describe = || async { Ok(mode.capacity()) };
    tokio::select! {
        ended = requester.run(receive, ReorderBuffer::new(false, None), &mut output, &stop, backoff) => {
            panic!("{ended:?}")
        }
        never = rate_limiter.follow_table(Duration::from_secs(10), describe) => match never {},
        () = feed => {}
        () = tokio::time::sleep(table.run_duration()) => {}
    }
    table.measurements().check("lookup", mode);
}

outages!(play);
