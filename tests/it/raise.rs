//! Tests of `ingest --raise-to`, `ingest --settle` and `capacity --restore`, with the
//! real binary: after any end of a run, the table has its previous capacity or a note.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_scaling::{FakeScaling, Target};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn table(wcu: u64) -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S).billing(Billing::Provisioned { wcu })
}

fn with_index(config: DynamoConfig, wcu: u64) -> DynamoConfig {
    config.describe(
        "GlobalSecondaryIndexes",
        json!([{"IndexName": "by-source", "IndexStatus": "ACTIVE",
            "KeySchema": [{"AttributeName": "source", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": wcu}}]),
    )
}

/// `hashferry ingest` of 100 hashes, raised to 1,000.
fn raised(dynamo: &FakeDynamo, args: &[&str]) -> Run {
    let args = [&["--raise-to", "1000", "--raise-note", "note.json"], args].concat();
    Run::ingest("-", &args).input(list(100)).dynamo(dynamo)
}

fn list(n: usize) -> Vec<u8> {
    (0..n)
        .map(|i| format!("{i:064X}\n"))
        .collect::<String>()
        .into_bytes()
}

fn restore(dynamo: &FakeDynamo, note: &Path) -> Finished {
    let note = note.to_str().expect("text");
    Run::new(&["capacity", "--table", "sha256", "--restore", note])
        .dynamo(dynamo)
        .run()
}

/// Describes the table until its last update is complete.
fn settle(dynamo: &FakeDynamo) {
    for _ in 0..2 {
        Run::new(&["capacity", "--table", "sha256"])
            .dynamo(dynamo)
            .run();
    }
}

fn units(updates: &[(&str, u64)]) -> BTreeMap<String, u64> {
    updates
        .iter()
        .map(|(part, units)| ((*part).to_owned(), *units))
        .collect()
}

#[test]
fn the_table_and_a_written_index_are_raised_and_restored() {
    let dynamo = FakeDynamo::start(with_index(table(5), 7));
    let run = raised(&dynamo, &["--source", "NSRL"]);
    let dir = run.dir();
    let started = run.start();
    let ended = started.wait();
    ended.assert_status(0);
    ended.assert_line_counts([100, 100, 0, 0, 0, 0]);
    assert_eq!(
        ended.report["raised"],
        json!([{"index": null, "from_wcu": 5, "to_wcu": 1000, "restored": true},
            {"index": "by-source", "from_wcu": 7, "to_wcu": 1000, "restored": true}])
    );
    assert_eq!(
        ended.report["target_wcu_per_s"], 1000.0,
        "the rate is that of the raised table"
    );
    ended.assert_stderr(&[
        "from 5 to 1,000 WCU/s",
        "--restore",
        "from 1,000 to 5",
        "26 more decreases today",
    ]);
    // The last update completes only after further descriptions.
    settle(&dynamo);
    let stats = dynamo.stop();
    assert_eq!(
        stats.updates,
        [
            units(&[("sha256", 1000), ("by-source", 1000)]),
            units(&[("sha256", 5), ("by-source", 7)])
        ]
    );
    assert!(!dir.join("note.json").exists());
}

#[test]
fn an_index_that_is_not_written_is_not_raised() {
    let dynamo = FakeDynamo::start(with_index(table(5), 7));
    raised(&dynamo, &[]).run().assert_status(0);
    assert_eq!(dynamo.stop().updates[0], units(&[("sha256", 1000)]));
}

#[test]
fn after_a_failure_the_table_is_restored() {
    let plan = FaultPlan::default().from(2, Fault::AccessDenied);
    let dynamo = FakeDynamo::start(table(5).plan(plan));
    let ended = raised(&dynamo, &[]).run();
    ended.assert_status(1);
    ended.assert_stderr(&["dynamodb:BatchWriteItem"]);
    assert_eq!(ended.report["raised"][0]["restored"], true);
    settle(&dynamo);
    assert_eq!(dynamo.write_units(), Some(5));
}

#[test]
fn after_a_signal_the_table_is_restored() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dynamo = FakeDynamo::start(table(5));
        // Standard input stays open, so the run continues until it is stopped.
        let args = ["--raise-to", "1000", "--raise-note", "note.json"];
        let started = Run::ingest("-", &args)
            .open_input([list(100), b"\n".to_vec()].concat())
            .dynamo(&dynamo)
            .start();
        dynamo
            .wait_until(LIMIT, |s| s.items_written == 100)
            .expect("written");
        started.signal(signal);
        let ended = started.wait();
        ended.assert_status(4);
        assert_eq!(ended.report["raised"][0]["restored"], true);
        settle(&dynamo);
        assert_eq!(dynamo.write_units(), Some(5));
    }
}

#[test]
fn a_killed_run_leaves_a_note_that_restores_the_table() {
    let dynamo = FakeDynamo::start(with_index(table(5), 7));
    let keep = tempfile::tempdir().expect("a folder");
    let note = keep.path().join("note.json");
    let path = note.to_str().expect("text");
    let args = [
        "--raise-to",
        "1000",
        "--raise-note",
        path,
        "--source",
        "NSRL",
    ];
    let mut started = Run::ingest("-", &args)
        .open_input([list(100), b"\n".to_vec()].concat())
        .dynamo(&dynamo)
        .start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written == 100)
        .expect("written");

    // While the run is in progress, its note is locked.
    let busy = restore(&dynamo, &note);
    assert_eq!(busy.status, 2);
    busy.assert_stderr(&["running ingest"]);
    let busy = Run::ingest("-", &args).input(list(1)).dynamo(&dynamo).run();
    assert_eq!(busy.status, 2);
    busy.assert_stderr(&["running ingest"]);

    started.kill();
    started.wait();
    assert_eq!(dynamo.write_units(), Some(1000));
    assert!(note.exists());

    let other = restore(
        &FakeDynamo::start(DynamoConfig::new("sha1", "sha1", KeyType::S)),
        &note,
    );
    assert_eq!(other.status, 2);

    let ended = restore(&dynamo, &note);
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("The capacity of table"),
        "{}",
        ended.stdout
    );
    assert!(!note.exists());
    settle(&dynamo);
    assert_eq!(
        dynamo.stats().updates.last(),
        Some(&units(&[("sha256", 5), ("by-source", 7)]))
    );

    let again = restore(&dynamo, &note);
    assert_eq!(again.status, 2);
    again.assert_stderr(&["cannot read the restore note"]);
}

#[test]
fn a_run_after_a_killed_one_restores_the_capacity_from_before_both() {
    let dynamo = FakeDynamo::start(table(1000));
    let note = json!({"version": 1, "table": "sha256", "arn": "arn:aws:dynamodb:us-east-1:123456789012:table/sha256",
        "raised_at": "2026-11-24T10:00:00Z",
        "parts": [{"index": null, "write_units": 5, "raised_to": 1000, "minimum": null}]});
    let ended = raised(&dynamo, &[])
        .file("note.json", note.to_string().as_bytes())
        .run();
    ended.assert_status(0);
    ended.assert_stderr(&["a run that was killed left the table raised"]);
    settle(&dynamo);
    assert_eq!(dynamo.write_units(), Some(5));
}

fn target(min: u64, max: u64) -> Target {
    Target {
        resource: "table/sha256".into(),
        min,
        max,
        target_percent: Some(70.0),
        suspended: false,
    }
}

/// A table under auto scaling: raising the minimum raises the table.
fn scaled(dynamo: FakeDynamo, target: Target) -> (Arc<FakeDynamo>, FakeScaling) {
    let dynamo = Arc::new(dynamo);
    let acting = Arc::clone(&dynamo);
    let scaling = FakeScaling::start_with(vec![target], move |t| {
        if acting.write_units().is_some_and(|now| now < t.min) {
            acting.set_billing(Billing::Provisioned { wcu: t.min });
        }
    });
    (dynamo, scaling)
}

const SCALING: &str = "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING";

#[test]
fn under_auto_scaling_its_minimum_is_raised_and_restored() {
    let (dynamo, scaling) = scaled(FakeDynamo::start(table(5)), target(5, 2000));
    let ended = raised(&dynamo, &[]).env(SCALING, &scaling.endpoint()).run();
    ended.assert_status(0);
    ended.assert_stderr(&["through the minimum of its auto scaling"]);
    assert_eq!(ended.report["target_wcu_per_s"], 1000.0);
    settle(&dynamo);
    assert_eq!(
        (scaling.targets()[0].min, scaling.targets()[0].max),
        (5, 2000)
    );
    // The run lowers the table itself: auto scaling does not scale in an unused table.
    assert_eq!(dynamo.stats().updates, [units(&[("sha256", 5)])]);
}

#[test]
fn an_impossible_raise_is_an_error_before_any_change() {
    let refused = |dynamo: &FakeDynamo, scaling: Option<&FakeScaling>, words: &[&str]| {
        let mut run = raised(dynamo, &[]);
        if let Some(scaling) = scaling {
            run = run.env(SCALING, &scaling.endpoint());
        }
        let dir = run.dir();
        let ended = run.run();
        ended.assert_status(2);
        ended.assert_stderr(words);
        let stats = dynamo.stats();
        assert_eq!((stats.updates.len(), stats.calls), (0, 0));
        assert!(!dir.join("note.json").exists());
    };
    let on_demand =
        DynamoConfig::new("sha256", "sha256", KeyType::S).billing(Billing::OnDemand { max: None });
    refused(&FakeDynamo::start(on_demand), None, &["is on-demand"]);
    let (dynamo, scaling) = scaled(FakeDynamo::start(table(5)), target(5, 999));
    refused(&dynamo, Some(&scaling), &["maximum of 999", "at most 999"]);
    let denied = table(5).plan(FaultPlan::default().deny("UpdateTable"));
    refused(
        &FakeDynamo::start(denied),
        None,
        &["dynamodb:UpdateTable", "scripts/iam/ingest-raise.json"],
    );
    let lowered = table(5).describe(
        "ProvisionedThroughput",
        json!({"ReadCapacityUnits": 5, "WriteCapacityUnits": 5, "NumberOfDecreasesToday": 27}),
    );
    refused(
        &FakeDynamo::start(lowered),
        None,
        &["lowered 27 times today"],
    );

    // Without a note, a killed run could not be cleaned up.
    let dynamo = FakeDynamo::start(table(5));
    let args = ["--raise-to", "1000", "--raise-note", "list.txt/note.json"];
    let ended = Run::ingest("-", &args)
        .file("list.txt", b"")
        .input(list(1))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["--raise-note"]);
    assert_eq!(dynamo.stats().updates.len(), 0);
}

#[test]
fn a_table_that_cannot_be_lowered_is_reported_as_still_raised() {
    let dynamo = FakeDynamo::start(table(5));
    dynamo.set_decreases_left(0);
    let keep = tempfile::tempdir().expect("a folder");
    let note = keep.path().join("note.json");
    let args = [
        "--raise-to",
        "1000",
        "--raise-note",
        note.to_str().expect("text"),
    ];
    let ended = Run::ingest("-", &args)
        .input(list(100))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "still raised, and charged",
        "LimitExceededException",
        "--restore",
    ]);
    ended.assert_line_counts([100, 100, 0, 0, 0, 0]);
    assert_eq!(ended.report["raised"][0]["restored"], false);

    dynamo.set_decreases_left(1);
    assert_eq!(restore(&dynamo, &note).status, 0);
}

#[test]
fn a_table_with_enough_capacity_is_not_changed() {
    let dynamo = FakeDynamo::start(table(1000));
    let ended = raised(&dynamo, &[]).run();
    ended.assert_status(0);
    ended.assert_stderr(&["nothing to raise"]);
    assert_eq!(ended.report.get("raised"), None);
    let ended = Run::ingest("-", &["--raise-to", "2000", "--dry-run"])
        .input(list(1))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    assert_eq!(dynamo.stop().updates.len(), 0);
}

#[test]
fn an_import_settles_until_auto_scaling_has_lowered_the_table() {
    let dynamo: Arc<OnceLock<FakeDynamo>> = Arc::default();
    let scaling = FakeScaling::start(vec![target(25, 2000)]);
    let dynamo = dynamo.get_or_init(|| FakeDynamo::start(table(2000)));
    let started = Run::ingest("-", &["--settle", "--settle-interval", "10ms"])
        .input(list(100))
        .dynamo(dynamo)
        .env(SCALING, &scaling.endpoint())
        .start();
    // The units of the import, and of some rounds after it.
    dynamo
        .wait_until(LIMIT, |s| s.consumed_units >= 103)
        .expect("three rounds");
    dynamo.set_billing(Billing::Provisioned { wcu: 25 });
    let ended = started.wait();
    ended.assert_status(0);
    ended.assert_line_counts([100, 100, 0, 0, 0, 0]);
    ended.assert_stderr(&["is at its minimum"]);

    // Without auto scaling, a warning comes at the start and the run does not wait.
    let ended = Run::ingest("-", &["--settle"])
        .input(list(100))
        .dynamo(dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_stderr(&["--settle will have no effect", "no auto scaling"]);
}

#[test]
fn a_table_is_written_without_permission_to_describe_it() {
    let denied = || FaultPlan::default().deny("DescribeTable");
    let dynamo = FakeDynamo::start(table(1000).plan(denied()));
    let ended = Run::ingest::<&str>("-", &[])
        .input(list(100))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([100, 100, 0, 0, 0, 0]);
    ended.assert_stderr(&[
        "dynamodb:DescribeTable",
        "scripts/iam/ingest.json",
        "assumed to be sha256 (S",
    ]);

    let binary = DynamoConfig::new("known", "hash", KeyType::B).plan(denied());
    let dynamo = FakeDynamo::start(binary);
    let args = ["--table", "known", "--key", "hash:B", "--rate", "1000"];
    let ended = Run::ingest("-", &args)
        .input(list(100))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([100, 100, 0, 0, 0, 0]);
    assert_eq!(ended.report["target_wcu_per_s"], Value::from(1000.0));

    // The inspection detects a wrong assumption; without it, the first write does.
    let ended = Run::ingest("-", &["--table", "known"])
        .input(list(100))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["the partition key of table known is not sha256", "--key"]);
    dynamo.deny("Scan");
    let ended = Run::ingest("-", &["--table", "known"])
        .input(list(100))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["every item for table", "as invalid", "--key"]);
}
