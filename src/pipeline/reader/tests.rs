//! The reader on random bytes, in chunks of random lengths.

use super::*;
use crate::aws::config::{Aws, AwsOptions, LocalEndpoints};
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::list::objects::Objects;
use crate::pipeline::progress::counts::RunCounters;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::sources::Sources;
use proptest::prelude::*;

/// A connection that is never used.
async fn nowhere() -> Aws {
    let local = LocalEndpoints {
        folder: String::new(),
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

/// Reads `chunks` as the rest of a source from the offset `below` on.
async fn read(aws: &Aws, chunks: &[&[u8]], below: Offset) -> (Vec<RecordBatch>, RunCounters) {
    let (counters, stop) = (Counters::default(), Stop::new());
    let rejects = Rejects::new(None).expect("no file");
    let sources = SourceTracker::default();
    let (records, mut receiver) = mpsc::channel(CHANNEL_CAPACITY);
    let reader = Reader {
        algorithm: Algorithm::Md5,
        distinct: Distinct::InFlight,
        columns: &ColumnAttributes::default(),
        max_rejects: MaxRejects::Count(u64::MAX),
        counters: &counters,
        rejects: &rejects,
        sources: &sources,
        records,
    };
    let first = StartPosition {
        list: OpenList::from_chunks(aws, chunks).await,
        source: 0,
        offset: below,
        source_line_counts: LineCounts::default(),
        total_lines: below.lines,
        total_rejected: 0,
    };
    let objects = Objects::new(&Sources::default(), aws);
    let mut rest = Prefetch::new(
        objects,
        aws,
        &DecompressOptions::default(),
        &Default::default(),
    );
    let receive = async {
        let mut all = Vec::new();
        while let Some(one) = receiver.recv().await {
            all.push(one);
        }
        all
    };
    let (ended, all) = tokio::join!(reader.run(first, &mut rest, &stop), receive);
    assert!(ended.expect("read"), "to the end");
    (all, counters.snapshot())
}

/// Cuts `text` at these indices.
fn cut<'a>(text: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut indices: Vec<usize> = at.iter().map(|i| i.index(text.len() + 1)).collect();
    indices.extend([0, text.len()]);
    indices.sort_unstable();
    indices.windows(2).map(|w| &text[w[0]..w[1]]).collect()
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
    fn segments_have_no_gaps_and_a_run_can_resume_at_the_end_of_each(
        text in lists(),
        at in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let aws = nowhere().await;
            let (all, counts) = read(&aws, &cut(&text, &at), Offset::default()).await;
            let lines = text.iter().filter(|b| **b == b'\n').count() as u64
                + u64::from(text.last().is_some_and(|b| *b != b'\n'));
            prop_assert_eq!(counts.line_counts.lines, lines);
            prop_assert_eq!(counts.bytes_read, text.len() as u64);

            let records = |all: &[RecordBatch]| -> Vec<Record> {
                all.iter().flat_map(|h| h.records.iter().cloned()).collect()
            };
            let (mut line, mut open) = (0, 0);
            for batch in &all {
                let Segment { end, line_counts } = batch.segment;
                prop_assert_eq!(end.line, line + line_counts.lines);
                prop_assert!(batch.records.iter().all(|r| line < r.position.line && r.position.line <= end.line));
                let settled = line_counts.duplicates + line_counts.rejected + line_counts.skipped;
                prop_assert_eq!(line_counts.lines, settled + batch.records.len() as u64);
                line = end.line;
                open += batch.records.len() as u64;
            }
            prop_assert_eq!(line, lines);
            let end = all.last().map(|h| h.segment.end.byte);
            prop_assert_eq!(end, Some(text.len() as u64));
            let settled = counts.line_counts.duplicates + counts.line_counts.rejected + counts.line_counts.skipped;
            prop_assert_eq!(lines, settled + open);

            // The result does not depend on the chunks.
            let (whole, same) = read(&aws, &[&text], Offset::default()).await;
            prop_assert_eq!(records(&whole), records(&all));
            prop_assert_eq!(same.line_counts, counts.line_counts);

            for (n, batch) in all.iter().enumerate() {
                let Position { line, byte, .. } = batch.segment.end;
                let below = Offset { lines: line, bytes: byte };
                let (rest, _) = read(&aws, &[&text[byte as usize..]], below).await;
                // A resumed reader does not know earlier hashes, so duplicates may reappear.
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
