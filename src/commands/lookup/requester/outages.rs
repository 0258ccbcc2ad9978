//! The engine in paused time against a table that accepts nothing for a while.

use super::*;
use crate::base::hash::{Algorithm, Case};
use crate::commands::lookup::query::Questions;
use crate::commands::lookup::table_backend::TableOracle;
use crate::dynamodb::batch_get::request::MAX_GET_KEYS;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::flow::concurrency::Concurrency;
use crate::list::lines::Line;
use crate::pipeline::contents::either_case::EitherCase;
use crate::pipeline::contents::settings::{KeyCase, Settings};
use crate::pipeline::outage::{Mode, Table, outages};

async fn play(mode: Mode, fault: u32) {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: vec![],
    };
    let questions = EitherCase::new(
        "t",
        &schema,
        Algorithm::Md5,
        KeyCase::Known(Case::Upper),
        &[],
        Settings::Flags,
    );
    let (table, pace) = (Table::new(fault), mode.pace().of_reads());
    let oracle = TableOracle {
        table: table.clone(),
        name: "t".into(),
        questions: questions.expect("fits"),
        consistent: false,
        rules: None,
    };
    let (meters, stop) = (LookupMeters::default(), Stop::new());
    let engine = Engine {
        oracle: &oracle,
        pace: &pace,
        meters: &meters,
        options: EngineOptions {
            concurrency: Concurrency::Auto,
            most: MAX_GET_KEYS,
            units: 0.5,
            tries: None,
            give_up_after: Duration::from_secs(900),
            whom: "table t".into(),
        },
    };
    let mut md5 = Questions::of_hashes(Algorithm::Md5).expect("a parser");
    let mut question = |n: u64| {
        let text = format!("{n:016x}{:016x}", 0);
        let line = Line {
            bytes: text.as_bytes(),
            offset: 0,
            number: 2,
            length: 32,
        };
        md5.read(&line, "-").expect("text")
    };
    let (send, receive) = mpsc::channel(8);
    let feed = async {
        for first in (0u64..).step_by(500) {
            let questions: Vec<_> = (first..first + 500).map(&mut question).collect();
            if send.send(questions).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut output = Output::new(tokio::io::sink(), &stop);
    let backoff = Backoff::new(fastrand::Rng::with_seed(7));
    let describe = || async { Ok(mode.capacity()) };
    tokio::select! {
        ended = engine.run(receive, Desk::new(false, None), &mut output, &stop, backoff) => {
            panic!("{ended:?}")
        }
        never = pace.follow(Duration::from_secs(10), describe) => match never {},
        () = feed => {}
        () = tokio::time::sleep(table.lasts()) => {}
    }
    table.figures().check("lookup", mode);
}

outages!(play);
