//! The checker in paused time against a table that accepts nothing for a while.

use super::*;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Place;
use crate::base::shutdown::Stop;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::pipeline::outage::{Mode, Table, outages};
use tokio::sync::mpsc;

async fn play(mode: Mode, fault: u32) {
    let schema = KeySchema {
        partition: KeyAttribute {
            name: "md5".into(),
            kind: KeyType::S,
        },
        sort: None,
        index_keys: vec![],
    };
    let template = AskTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &[]).expect("fits");
    let (table, pace) = (Table::new(fault), mode.pace().of_reads());
    let (meters, stop) = (VerifyMeters::default(), Stop::new());
    let checker = Checker {
        table: &table,
        table_name: "t",
        template: &template,
        pace: &pace,
        meters: &meters,
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
                    Place {
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
        never = pace.follow(Duration::from_secs(10), describe) => match never {},
        () = feed => {}
        () = tokio::time::sleep(table.lasts()) => {}
    }
    table.figures().check("verify", mode);
    let counts = meters.read();
    assert_eq!((counts.books.missing, counts.books.different), (0, 0));
}

outages!(play);
