//! Tests of the library: hashes from a program, events, a refresh, causes of errors.

use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use futures::stream;
use hashferry::options::IfExists;
use hashferry::report::RunCounters;
use hashferry::{
    Algorithm, Aws, AwsOptions, ErrorKind, Event, Hash, Ingest, IngestBuilder, LocalEndpoints,
    Lookup, Outcome, Plan, Refresh, Stop, Verify,
};
use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn dynamo() -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S))
}

async fn aws(dynamo: &FakeDynamo) -> Aws {
    let options = AwsOptions {
        local: Some(LocalEndpoints {
            folder: "a test".into(),
            s3: dynamo.endpoint(),
            dynamodb: dynamo.endpoint(),
            region: "us-east-1".into(),
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "no secret".into(),
        }),
        ..AwsOptions::default()
    };
    Aws::load(&options).await.expect("a configuration")
}

fn hash(n: u64) -> Hash {
    Hash::from_hex(format!("{n:064x}").as_bytes()).expect("a hash")
}

async fn ingest(dynamo: &FakeDynamo) -> IngestBuilder {
    Ingest::builder().aws(aws(dynamo).await).table("sha256")
}

#[tokio::test]
async fn hashes_of_an_iterator_are_written_and_accounted_for() {
    let dynamo = dynamo();
    let hashes = (0..1000).chain([3, 7]).map(hash);
    let run = ingest(&dynamo).await.hashes(hashes).build().await;
    let report = run.expect("a run").run().await.expect("a report");
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.error);
    assert_eq!(
        (
            report.lines,
            report.written,
            report.duplicates,
            report.failed
        ),
        (1002, 1000, 2, 0)
    );
    assert_eq!(report.hash.as_deref(), Some("sha256"));
    assert_eq!(report.sources[0].uri, "the program's hashes");
    assert_eq!(report.checkpoint, None, "a stream cannot be read again");
    let keys: Vec<Vec<u8>> = dynamo.items().into_keys().collect();
    let expected: Vec<Vec<u8>> = (0..1000)
        .map(|n| format!("{n:064X}").into_bytes())
        .collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn hashes_of_a_stream_before_its_error_are_written_and_the_cause_is_reported() {
    let dynamo = dynamo();
    let fails = io::Error::other("the feed is gone");
    let hashes = stream::iter((0..100).map(|n| Ok(hash(n))).chain([Err(fails)]));
    let run = ingest(&dynamo).await.hash_stream(hashes).build().await;
    let report = run.expect("a run").run().await.expect("a report");
    assert_eq!(report.outcome, Outcome::Failed);
    assert_eq!((report.lines, report.written), (100, 100));
    let error = report.error.expect("an error");
    assert!(error.contains("the feed is gone"), "{error}");
}

#[tokio::test]
async fn a_builder_without_a_source_is_an_error_and_an_empty_iterator_is_a_run() {
    let dynamo = dynamo();
    let none = ingest(&dynamo).await.build().await.expect_err("no source");
    assert_eq!(none.kind(), ErrorKind::Usage);
    let empty = ingest(&dynamo).await.algorithm(Algorithm::Sha256);
    let run = empty.hashes([]).build().await.expect("a run");
    let report = run.run().await.expect("a report");
    assert_eq!((report.outcome, report.lines), (Outcome::Complete, 0));
}

#[tokio::test]
async fn a_run_reports_its_start_its_progress_and_its_end() {
    // Throttled calls prolong the run to several intervals.
    let plan = FaultPlan::default()
        .at(2, Fault::Throttle)
        .at(3, Fault::Throttle);
    let dynamo = FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S).plan(plan));
    let events = Arc::new(Mutex::new(Vec::<Event<RunCounters>>::new()));
    let into = events.clone();
    let builder = ingest(&dynamo).await.hashes((0..500).map(hash));
    let run = builder
        .on_event(move |event| into.lock().expect("a lock").push(event))
        .event_interval(Duration::from_millis(1))
        .build()
        .await
        .expect("a run");
    let watch = run.watch();
    assert!(watch.progress().is_none(), "it has not started");
    let report = run.run().await.expect("a report");
    assert_eq!(report.written, 500);
    let events = events.lock().expect("a lock");
    assert!(
        matches!(events.first(), Some(Event::Started(_))),
        "{events:?}"
    );
    let Some(Event::Ended(last)) = events.last() else {
        panic!("the last event is not Ended: {events:?}");
    };
    assert_eq!(
        (
            last.counts.line_counts.written,
            last.counts.line_counts.lines
        ),
        (500, 500)
    );
    let between = &events[1..events.len() - 1];
    assert!(!between.is_empty());
    let written = between.iter().map(|event| match event {
        Event::Progress(now) => now.counts.line_counts.written,
        other => panic!("between start and end: {other:?}"),
    });
    assert!(written.is_sorted());
    assert_eq!(watch.progress().expect("it ran").counts, last.counts);
}

#[tokio::test]
async fn a_refresh_writes_new_hashes_and_deletes_removed_ones() {
    let dynamo = dynamo();
    let folder = tempfile::tempdir().expect("a folder");
    let list = |name: &str, numbers: std::ops::Range<u64>| {
        let path = folder.path().join(name);
        let text: String = numbers.map(|n| format!("{n:064X}\n")).collect();
        std::fs::write(&path, text).expect("a list");
        path.display().to_string()
    };
    let (old, new) = (list("old.txt", 0..100), list("new.txt", 1..101));
    let first = ingest(&dynamo).await.source(&old).build().await;
    first.expect("a run").run().await.expect("a report");
    let refresh = Refresh::builder(&old).source(&new).delete(true);
    let refresh = refresh.table("sha256").aws(aws(&dynamo).await);
    let report = refresh.build().await.expect("a run").run().await;
    let report = report.expect("a report");
    assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.error);
    assert_eq!((report.written, report.deleted), (1, Some(1)));
    assert_eq!(dynamo.items().len(), 100);
}

#[tokio::test]
async fn verify_lookup_and_plan_run_from_a_program() {
    let dynamo = dynamo();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("list.txt").display().to_string();
    let text: String = (0..60).map(|n| format!("{n:064X}\n")).collect();
    std::fs::write(&path, text).expect("a list");
    let run = ingest(&dynamo)
        .await
        .hashes((0..50).map(hash))
        .build()
        .await;
    run.expect("a run").run().await.expect("a report");

    let ends = Arc::new(Mutex::new(Vec::new()));
    let into = ends.clone();
    let verify = Verify::builder().aws(aws(&dynamo).await).table("sha256");
    let verify = verify.source(&path).on_event(move |event| {
        if let Event::Ended(end) = event {
            into.lock()
                .expect("a lock")
                .push(end.counts.line_counts.missing);
        }
    });
    let report = verify.build().await.expect("a run").run().await;
    let report = report.expect("a report");
    assert_eq!((report.found, report.missing), (50, 10));
    assert_eq!(*ends.lock().expect("a lock"), [10]);

    let answers = folder.path().join("answers.jsonl");
    let lookup = Lookup::builder().aws(aws(&dynamo).await).table("sha256");
    let lookup = lookup.input(&path).output(&answers, IfExists::Fail);
    let report = lookup.build().await.expect("a run").run().await;
    let report = report.expect("a report");
    assert_eq!((report.known, report.unknown), (50, 10));

    let mut plan = Plan::default();
    plan.sources.push(path);
    plan.exact = true;
    let forecast = plan.run(&aws(&dynamo).await).await.expect("a forecast");
    assert_eq!(forecast.hash, "sha256");
}

#[tokio::test]
async fn a_stop_before_the_start_interrupts_a_run_and_an_error_has_its_source() {
    let dynamo = dynamo();
    let stop = Stop::new();
    stop.request();
    let builder = ingest(&dynamo).await.hashes((0..50).map(hash)).stop(stop);
    let report = builder.build().await.expect("a run").run().await;
    assert_eq!(report.expect("a report").outcome, Outcome::Interrupted);
    assert!(dynamo.items().is_empty());

    let gone = ingest(&dynamo).await.source("/nonexistent/list.txt");
    let error = gone.build().await.expect("a run").run().await;
    let error = error.expect_err("no such file");
    let cause = error.source().expect("a cause").to_string();
    assert!(!error.to_string().contains(&cause), "{error}");
    assert!(format!("{error:#}").ends_with(&cause), "{error:#}");
}
