//! The reading half on any bytes, however they are cut.

use super::*;
use crate::aws::config::{Aws, AwsOptions, LocalEndpoints};
use crate::dynamodb::column_attributes::Columns;
use crate::list::objects::Objects;
use crate::pipeline::progress::counts::Counts;
use crate::source::decompress::codec::Unpack;
use crate::source::sources::Sources;
use proptest::prelude::*;

/// A connection that is never used.
async fn nowhere() -> Aws {
    let local = LocalEndpoints {
        home: String::new(),
        s3: "http://127.0.0.1:9".into(),
        dynamodb: "http://127.0.0.1:9".into(),
        region: "us-east-1".into(),
        access_key_id: "a".into(),
        secret_access_key: "b".into(),
    };
    let options = AwsOptions {
        local: Some(local),
        ..AwsOptions::default()
    };
    Aws::load(&options).await.expect("a configuration")
}

/// Reads `chunks` as what is left of a source of which `below` is behind.
async fn read(aws: &Aws, chunks: &[&[u8]], below: Below) -> (Vec<HandOver>, Counts) {
    let (meters, stop) = (Meters::default(), Stop::new());
    let rejects = Rejects::new(None).expect("no file");
    let accounts = Accounts::default();
    let (records, mut handed) = mpsc::channel(HAND_OVERS);
    let reader = Reader {
        algorithm: Algorithm::Md5,
        distinct: Distinct::InFlight,
        columns: &Columns::default(),
        max_rejects: MaxRejects::Count(u64::MAX),
        meters: &meters,
        rejects: &rejects,
        accounts: &accounts,
        records,
    };
    let first = Beginning {
        opened: Opened::of_chunks(aws, chunks).await,
        number: 0,
        below,
        here: Books::default(),
        lines: below.lines,
        rejected: 0,
    };
    let objects = Objects::new(&Sources::default(), aws);
    let mut rest = Ahead::new(objects, aws, &Unpack::default(), &Default::default());
    let take = async {
        let mut all = Vec::new();
        while let Some(one) = handed.recv().await {
            all.push(one);
        }
        all
    };
    let (ended, all) = tokio::join!(reader.run(first, &mut rest, &stop), take);
    assert!(ended.expect("read"), "to the end");
    (all, meters.read())
}

/// Cuts `text` at these places.
fn cut<'a>(text: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|i| i.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places.windows(2).map(|w| &text[w[0]..w[1]]).collect()
}

/// Lines of every kind, many of them hashes.
fn lists() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        6 => "[0-9a-fA-F]{32}\r?\n".prop_map(String::into_bytes),
        1 => "(#.{0,9}|md5|)\r?\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => "[0-9a-f]{30,34}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(line, 0..60).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn stretches_are_gapless_and_a_run_can_be_taken_up_at_the_end_of_each(
        text in lists(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let aws = nowhere().await;
            let (all, counts) = read(&aws, &cut(&text, &at), Below::default()).await;
            let lines = text.iter().filter(|b| **b == b'\n').count() as u64
                + u64::from(text.last().is_some_and(|b| *b != b'\n'));
            prop_assert_eq!(counts.books.lines, lines);
            prop_assert_eq!(counts.bytes_read, text.len() as u64);

            let records = |all: &[HandOver]| -> Vec<Record> {
                all.iter().flat_map(|h| h.records.iter().cloned()).collect()
            };
            let (mut line, mut open) = (0, 0);
            for handed in &all {
                let Stretch { end, books } = handed.stretch;
                prop_assert_eq!(end.line, line + books.lines);
                prop_assert!(handed.records.iter().all(|r| line < r.place.line && r.place.line <= end.line));
                let settled = books.duplicates + books.rejected + books.skipped;
                prop_assert_eq!(books.lines, settled + handed.records.len() as u64);
                line = end.line;
                open += handed.records.len() as u64;
            }
            prop_assert_eq!(line, lines);
            let end = all.last().map(|h| h.stretch.end.byte);
            prop_assert_eq!(end, Some(text.len() as u64));
            let settled = counts.books.duplicates + counts.books.rejected + counts.books.skipped;
            prop_assert_eq!(lines, settled + open);

            // However it is cut, the same comes out.
            let (whole, same) = read(&aws, &[&text], Below::default()).await;
            prop_assert_eq!(records(&whole), records(&all));
            prop_assert_eq!(same.books, counts.books);

            for (n, handed) in all.iter().enumerate() {
                let Place { line, byte, .. } = handed.stretch.end;
                let below = Below { lines: line, bytes: byte };
                let (rest, _) = read(&aws, &[&text[byte as usize..]], below).await;
                // A hash from below the end may come again: it is not known any more.
                let (rest, known) = (records(&rest), records(&all[..=n]));
                let new: Vec<Record> = rest.into_iter()
                    .filter(|r| !known.iter().any(|k| k.hash == r.hash))
                    .collect();
                prop_assert_eq!(new, records(&all[n + 1..]));
            }
            Ok(())
        })?;
    }
}
