//! Runs with `--distinct exact` and refreshes, with the real binary: afterwards the table
//! equals the new list, nothing else was written, and the line counts balance.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{Chance, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// A hash for each number; hashes and numbers sort differently.
fn hash(n: u64) -> String {
    format!("{:016X}{n:048X}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn list(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let lines = numbers.into_iter().map(|n| hash(n) + "\n");
    lines.collect::<String>().into_bytes()
}

fn sorted(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let hashes: BTreeSet<String> = numbers.into_iter().map(hash).collect();
    let lines = hashes.into_iter().map(|h| h + "\n");
    lines.collect::<String>().into_bytes()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    fn with(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).expect("written");
        self.text(name)
    }

    fn refresh(&self, old: &str, new: &str, args: &[&str]) -> Run {
        let report = self.text("report");
        let all = [
            "refresh",
            "--from",
            old,
            "--to",
            new,
            "--table",
            "sha256",
            "--progress",
            "none",
            "--report",
            &report,
            "--rate",
            "max",
        ];
        Run::new(&[&all, args].concat())
    }

    fn report(&self) -> serde_json::Value {
        let text = std::fs::read(self.path("report")).expect("a report");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// lines, written, deleted, unchanged, duplicates, rejected, skipped, failed.
    fn assert_books(&self, expected: [u64; 8]) {
        let report = self.report();
        let names = [
            "lines",
            "written",
            "deleted",
            "unchanged",
            "duplicates",
            "rejected",
            "skipped",
            "failed",
        ];
        let got = names.map(|n| report[n].as_u64().expect(n));
        assert_eq!(got, expected, "{report}");
        let kept = report["kept"].as_u64().expect("kept");
        assert_eq!(got[0], got[1..].iter().sum::<u64>() + kept);
    }
}

/// A table with the hashes of the old list.
fn filled(numbers: impl IntoIterator<Item = u64>) -> FakeDynamo {
    let dynamo = FakeDynamo::start(table());
    for n in numbers {
        dynamo.put(json!({"sha256": {"S": hash(n)}}));
    }
    dynamo
}

fn holds(dynamo: &FakeDynamo) -> BTreeSet<String> {
    let items = dynamo.items().into_values();
    items
        .map(|i| i["sha256"]["S"].as_str().expect("a key").to_owned())
        .collect()
}

fn hashes(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<String> {
    numbers.into_iter().map(hash).collect()
}

fn assert_ended(ended: &Finished, status: i32) {
    assert_eq!(ended.status, status, "{}", ended.stderr);
}

#[test]
fn a_refresh_writes_only_the_difference_for_any_order_of_the_lists() {
    let folder = Folder::new();
    for (how, old, new, args) in [
        ("sorted", sorted(0..2000), sorted(50..2070), &[][..]),
        (
            "given as sorted",
            sorted(0..2000),
            sorted(50..2070),
            &["--distinct", "sorted"],
        ),
        ("not sorted", list(0..2000), list(50..2070), &[]),
        (
            "to be sorted",
            sorted(0..2000),
            sorted(50..2070),
            &["--distinct", "exact"],
        ),
    ] {
        let dynamo = filled(0..2000);
        let (old, new) = (folder.with("old", old), folder.with("new", new));
        let ended = folder.refresh(&old, &new, args).dynamo(&dynamo).run();
        assert_ended(&ended, 0);
        ended.assert_stderr(&["70 hashes to put and 50 to delete, 1,950 in both lists: 6.0 %"]);
        assert_eq!(holds(&dynamo), hashes(50..2070), "{how}");
        folder.assert_books([4020, 70, 50, 3900, 0, 0, 0, 0]);
        let sources = folder.report()["sources"].clone();
        let columns: Vec<_> = (0..2)
            .map(|i| {
                (
                    sources[i]["lines"].clone(),
                    sources[i]["written"].clone(),
                    sources[i]["deleted"].clone(),
                )
            })
            .collect();
        assert_eq!(columns[0], (json!(2000), json!(0), json!(50)), "{how}");
        assert_eq!(
            (&columns[1].0, &columns[1].1),
            (&json!(2020), &json!(70)),
            "{how}"
        );
        let stats = dynamo.stop();
        assert_eq!(
            (stats.items_written, stats.duplicates_in_batch),
            (120, 0),
            "{how}"
        );
    }
}

/// The reader of the other list ends early, too, which must not count as an interruption.
#[test]
fn if_one_list_is_not_in_order_both_are_sorted() {
    let folder = Folder::new();
    for (old, new) in [
        (list(0..20_000), sorted(50..20_050)),
        (sorted(0..20_000), list(50..20_050)),
    ] {
        let dynamo = filled(0..20_000);
        let (old, new) = (folder.with("old", old), folder.with("new", new));
        let ended = folder.refresh(&old, &new, &[]).dynamo(&dynamo).run();
        assert_ended(&ended, 0);
        ended.assert_stderr(&["sorting both lists on disk"]);
        folder.assert_books([40_000, 50, 50, 39_900, 0, 0, 0, 0]);
    }
}

#[test]
fn equal_lists_write_nothing_and_deletes_are_optional() {
    let folder = Folder::new();
    let (old, same) = (
        folder.with("old", sorted(0..1000)),
        folder.with("same", list(0..1000)),
    );
    let dynamo = filled(0..1000);
    for new in [&old, &same] {
        let ended = folder.refresh(&old, new, &[]).dynamo(&dynamo).run();
        assert_ended(&ended, 0);
        ended.assert_stderr(&["nothing to write: the 1,000 hashes of both lists are the same"]);
        folder.assert_books([2000, 0, 0, 2000, 0, 0, 0, 0]);
        assert_eq!(folder.report()["requests"], 0);
    }
    assert_eq!(dynamo.stats().calls, 0);
    let new = folder.with("new", list(10..1010));
    let ended = folder
        .refresh(&old, &new, &["--no-delete"])
        .dynamo(&dynamo)
        .run();
    assert_ended(&ended, 0);
    folder.assert_books([2000, 10, 0, 1990, 0, 0, 0, 0]);
    assert_eq!(holds(&dynamo), hashes(0..1010));
}

#[test]
fn a_change_above_the_maximum_is_an_error_unless_it_is_confirmed() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", list(0..1000)),
        folder.with("new", list(150..1100)),
    );
    let dynamo = filled(0..1000);
    let ended = folder.refresh(&old, &new, &[]).dynamo(&dynamo).run();
    assert_ended(&ended, 1);
    ended.assert_stderr(&[
        "25.0 % of the old list changes",
        "--max-change allows 20 %",
        "--confirm",
    ]);
    assert_eq!((dynamo.stats().calls, holds(&dynamo).len()), (0, 1000));
    assert_eq!(folder.report()["outcome"], "failed");
    // A second run fails, too: a checkpoint of the first does not confirm the change.
    let checkpoint = folder.text("checkpoint");
    let args = ["--checkpoint", &checkpoint];
    for _ in 0..2 {
        let ended = folder.refresh(&old, &new, &args).dynamo(&dynamo).run();
        assert_ended(&ended, 1);
        assert_eq!((dynamo.stats().calls, holds(&dynamo).len()), (0, 1000));
        assert!(!ended.stderr.contains("To resume"), "{}", ended.stderr);
        assert!(!folder.path("checkpoint").exists());
    }
    for args in [&["--max-change", "25%"][..], &["--confirm"]] {
        let dynamo = filled(0..1000);
        let ended = folder.refresh(&old, &new, args).dynamo(&dynamo).run();
        assert_ended(&ended, 0);
        assert_eq!(holds(&dynamo), hashes(150..1100));
    }
}

/// Only a run that has started to write has passed the check. The checkpoint of a run that
/// was killed earlier confirms nothing.
#[test]
fn a_run_killed_while_reading_does_not_confirm_the_change() {
    let folder = Folder::new();
    let old = folder.with("old", sorted(0..1000));
    // The first GET is at the start of the run, the second at the read of the list.
    let plan = S3Plan::default().get(2, S3Fault::StallAfter(100));
    let config = S3Config::default().object("lists", "new", sorted(150..1100));
    let (s3, dynamo) = (FakeS3::start(config.plan(plan)), filled(0..1000));
    let checkpoint = folder.text("checkpoint");
    let run = || {
        let args = ["--checkpoint", &checkpoint];
        let run = folder.refresh(&old, "s3://lists/new", &args);
        run.s3(&s3).dynamo(&dynamo)
    };
    let mut started = run().start();
    s3.wait_until(LIMIT, |s| s.gets.len() >= 2)
        .expect("it reads");
    started.kill();
    started.wait();
    assert!(folder.path("checkpoint").exists());
    s3.set_plan(S3Plan::default());
    let ended = run().run();
    assert_ended(&ended, 1);
    ended.assert_stderr(&["25.0 % of the old list changes", "--max-change allows 20 %"]);
    assert_eq!((dynamo.stats().calls, holds(&dynamo).len()), (0, 1000));
}

#[test]
fn duplicates_rejected_and_skipped_lines_of_both_lists_are_counted() {
    let folder = Folder::new();
    let mut old = list(0..1000);
    old.extend_from_slice(b"# a comment\nno hash\n");
    old.extend(list(5..8));
    let mut new = list(0..1001);
    new.extend_from_slice(b"\nno hash either\n");
    new.extend(list(0..2));
    let (old, new) = (folder.with("old", old), folder.with("new", new));
    let dynamo = filled(0..1000);
    let rejects = folder.text("rejects");
    let ended = folder
        .refresh(&old, &new, &["--rejects", &rejects])
        .dynamo(&dynamo)
        .run();
    assert_ended(&ended, 3);
    folder.assert_books([2010, 1, 0, 2000, 5, 2, 2, 0]);
    let text = std::fs::read_to_string(&rejects).expect("a file");
    let named: Vec<bool> = text.lines().map(|l| l.contains(&old)).collect();
    assert_eq!(named, [true, false], "{text}");
}

/// A list in which the lines of `numbers` lack their last digit.
fn damaged(list: &[u8], numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let mut text = String::from_utf8(list.to_vec()).expect("text");
    for n in numbers {
        let hash = hash(n);
        text = text.replace(&hash, &hash[..63]);
    }
    text.into_bytes()
}

#[test]
fn a_rejected_line_of_the_new_list_holds_back_all_deletes() {
    let folder = Folder::new();
    for (old, new) in [
        (sorted(0..1000), sorted(50..1020)),
        (list(0..1000), list(50..1020)),
    ] {
        let new = damaged(&new, 100..105);
        let (old, new) = (folder.with("old", old), folder.with("new", new));
        for args in [&[][..], &["--dry-run"]] {
            let dynamo = filled(0..1000);
            let ended = folder.refresh(&old, &new, args).dynamo(&dynamo).run();
            assert_ended(&ended, 3);
            ended.assert_stderr(&[
                "55 deletes are held back: 5 lines of the new list are rejected",
                "--delete-despite-rejects",
                "deletes held back",
            ]);
            folder.assert_books([1970, 20, 0, 1890, 0, 5, 0, 0]);
            let report = folder.report();
            assert_eq!(
                (&report["kept"], &report["deletes_held_back"]),
                (&json!(55), &json!(55))
            );
            assert_eq!(report["sources"][0]["kept"], 55, "of the old list");
            match args.is_empty() {
                true => assert_eq!(holds(&dynamo), hashes(0..1020)),
                false => assert_eq!(dynamo.stats().calls, 0),
            }
        }
        let dynamo = filled(0..1000);
        let ended = folder
            .refresh(&old, &new, &["--delete-despite-rejects"])
            .dynamo(&dynamo)
            .run();
        assert_ended(&ended, 3);
        folder.assert_books([1970, 20, 55, 1890, 0, 5, 0, 0]);
        assert_eq!(folder.report()["deletes_held_back"], 0);
        assert_eq!(holds(&dynamo), hashes((50..100).chain(105..1020)));
    }
    // A rejected line of the old list does not hold back deletes.
    let old = folder.with("old", damaged(&sorted(0..1000), [0]));
    let new = folder.with("new", sorted(50..1000));
    let dynamo = filled(0..1000);
    let ended = folder.refresh(&old, &new, &[]).dynamo(&dynamo).run();
    assert_ended(&ended, 3);
    folder.assert_books([1950, 0, 49, 1900, 0, 1, 0, 0]);
}

#[test]
fn a_list_without_a_hash_is_an_error_as_old_and_as_new_list() {
    let folder = Folder::new();
    let (good, dynamo) = (folder.with("good", list(0..100)), filled(0..100));
    let md5s: String = (0..60).map(|n| format!("{n:032x}\n")).collect();
    let wrong = folder.with("wrong", md5s);
    let (empty, comments) = (folder.with("empty", ""), folder.with("comments", "# x\n"));
    let md5 = "they look like MD5 (32 hexadecimal digits)";
    for (old, new, words) in [
        (&good, &wrong, md5),
        (&good, &empty, "has no lines"),
        (&good, &"-".to_owned(), "it has no lines"),
        (&good, &comments, "all of them are skipped"),
        (&wrong, &good, md5),
    ] {
        let ended = folder
            .refresh(old, new, &["--confirm"])
            .input("")
            .dynamo(&dynamo)
            .run();
        assert_ended(&ended, 1);
        ended.assert_stderr(&[words, "nothing was written"]);
        assert_eq!(folder.report()["outcome"], "failed");
        assert!(!ended.stderr.contains("To resume"), "{}", ended.stderr);
    }
    assert_eq!((dynamo.stats().calls, holds(&dynamo).len()), (0, 100));
}

/// A table of `numbers` in which every tenth item comes from another list.
fn of_two_sources(numbers: std::ops::Range<u64>) -> FakeDynamo {
    let dynamo = FakeDynamo::start(table());
    for n in numbers {
        let source = if n % 10 == 0 { "NSRL" } else { "feed" };
        dynamo.put(json!({"sha256": {"S": hash(n)}, "source": {"S": source}}));
    }
    dynamo
}

const FEED: [&str; 4] = ["--source", "feed", "--max-change", "50%"];

#[test]
fn with_a_source_only_items_of_that_source_are_deleted() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", list(0..1000)),
        folder.with("new", list(100..1020)),
    );
    let dynamo = of_two_sources(0..1000);
    // One item is missing already: it does not count as another source's.
    dynamo.delete(hash(1).as_bytes());
    dynamo.set_plan(
        FaultPlan::default()
            .delete_at(2, Fault::Throttle)
            .delete_at(4, Fault::DropAfter)
            .delete_at(6, Fault::Http(500, "InternalServerError")),
    );
    let ended = folder.refresh(&old, &new, &FEED).dynamo(&dynamo).run();
    assert_ended(&ended, 0);
    folder.assert_books([1920, 20, 90, 1800, 0, 0, 0, 0]);
    let report = folder.report();
    assert_eq!(
        (&report["kept"], &report["deletes_held_back"]),
        (&json!(10), &json!(0))
    );
    // Each delete is a call and consumes WCU, even if the item is kept.
    assert_eq!(report["retries"], 3);
    assert_eq!(report["throttled"], 1);
    assert_eq!(report["requests"], 1 + 100 + 3);
    assert_eq!(report["consumed_wcu"], 120.0);
    ended.assert_stderr(&["of another source in the table"]);
    let tens = (0..100).filter(|n| n % 10 == 0);
    assert_eq!(holds(&dynamo), hashes(tens.chain(100..1020)));

    // Without --source they are deleted, as the help says.
    let dynamo = of_two_sources(0..1000);
    let ended = folder.refresh(&old, &new, &[]).dynamo(&dynamo).run();
    assert_ended(&ended, 0);
    folder.assert_books([1920, 20, 100, 1800, 0, 0, 0, 0]);
    assert_eq!(holds(&dynamo), hashes(100..1020));
    let help = Run::new(&["refresh", "--help"]).run().stdout;
    let words: Vec<&str> = help.split_whitespace().collect();
    let says = "Without --source, hashes that other lists hold too are deleted";
    assert!(words.join(" ").contains(says), "{help}");
}

#[test]
fn a_denied_delete_ends_the_run_and_the_hint_names_the_policy() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", list(0..1000)),
        folder.with("new", list(100..1000)),
    );
    let dynamo = of_two_sources(0..1000);
    dynamo.set_plan(FaultPlan::default().deny("DeleteItem"));
    let ended = folder.refresh(&old, &new, &FEED).dynamo(&dynamo).run();
    assert_ended(&ended, 1);
    ended.assert_stderr(&["dynamodb:DeleteItem", "scripts/iam/refresh.json"]);
    assert_eq!(holds(&dynamo).len(), 1000);
    dynamo.set_plan(FaultPlan::default());
    let ended = folder.refresh(&old, &new, &FEED).dynamo(&dynamo).run();
    assert_ended(&ended, 0);
    folder.assert_books([1900, 0, 90, 1800, 0, 0, 0, 0]);
}

#[test]
fn a_killed_refresh_of_one_source_resumes_with_its_line_counts() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", list(0..6000)),
        folder.with("new", list(2000..6000)),
    );
    let dynamo = of_two_sources(0..6000);
    let checkpoint = folder.text("checkpoint");
    let keep = ["--checkpoint", &checkpoint, "--checkpoint-interval", "10ms"];
    let slow = [&keep[..], &FEED, &["--concurrency", "1"]].concat();
    let mut started = folder.refresh(&old, &new, &slow).dynamo(&dynamo).start();
    dynamo
        .wait_until(LIMIT, |s| s.distinct < 5500)
        .expect("it deletes");
    started.kill();
    started.wait();
    let ended = folder
        .refresh(&old, &new, &[&keep[..], &FEED].concat())
        .dynamo(&dynamo)
        .run();
    assert_ended(&ended, 0);
    ended.assert_stderr(&["resuming an earlier run"]);
    folder.assert_books([10_000, 0, 1800, 8000, 0, 0, 0, 0]);
    assert_eq!(folder.report()["kept"], 200);
    assert_eq!(folder.report()["sources"][0]["kept"], 200);
}

#[cfg(feature = "local")]
#[test]
fn the_embedded_table_keeps_items_of_another_source_too() {
    let folder = Folder::new();
    let local = folder.text("data");
    let (old, new) = (
        folder.with("old", list(0..100)),
        folder.with("new", list(20..100)),
    );
    let shared = folder.with("shared", list(0..5));
    for (list, source) in [(&old, "feed"), (&shared, "NSRL")] {
        let args = ["--local", &local, "--source", source];
        Run::ingest(list, &args).run().assert_status(0);
    }
    let args = [&FEED[..], &["--local", &local]].concat();
    let ended = folder.refresh(&old, &new, &args).run();
    assert_ended(&ended, 0);
    folder.assert_books([180, 0, 15, 160, 0, 0, 0, 0]);
    assert_eq!(folder.report()["kept"], 5);
    let left = ["--local", &local, "--source", "NSRL"];
    Run::verify(&shared, &left).run().assert_status(0);
}

#[test]
fn a_stopped_or_killed_refresh_resumes_and_writes_the_rest() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", list(0..20_000)),
        folder.with("new", list(3000..23_000)),
    );
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let dynamo = filled(0..20_000);
        let checkpoint = folder.text("checkpoint");
        let args = [
            "--checkpoint",
            &checkpoint,
            "--checkpoint-interval",
            "10ms",
            "--confirm",
        ];
        let slow = [&args[..], &["--rate", "2000"]].concat();
        let report = folder.text("report");
        let mut all = vec![
            "refresh",
            "--from",
            &old,
            "--to",
            &new,
            "--table",
            "sha256",
            "--progress",
            "none",
            "--report",
            &report,
        ];
        all.extend(&slow);
        let started = Run::new(&all).dynamo(&dynamo).start();
        dynamo
            .wait_until(LIMIT, |s| s.items_written >= 2000)
            .expect("it writes");
        started.signal(signal);
        let first = started.wait();
        if signal == Signal::SIGTERM {
            assert_ended(&first, 4);
            first.assert_stderr(&["To resume this run:"]);
        }
        assert!(folder.path("checkpoint").exists(), "{}", first.stderr);
        let before = dynamo.stats().items_written;
        // Without --confirm: the first run has passed the check.
        let ended = folder.refresh(&old, &new, &args[..4]).dynamo(&dynamo).run();
        assert_ended(&ended, 0);
        ended.assert_stderr(&["resuming an earlier run", "nothing is written twice"]);
        folder.assert_books([40_000, 3000, 3000, 34_000, 0, 0, 0, 0]);
        assert_eq!(holds(&dynamo), hashes(3000..23_000));
        let written = dynamo.stop().items_written - before;
        assert!(written < 5000, "{written} of 6,000 items after {before}");
        assert!(!folder.path("checkpoint").exists());
    }
}

#[test]
fn a_refresh_under_faults_loses_no_put_and_no_delete() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", list(0..4000)),
        folder.with("new", list(400..4400)),
    );
    let dynamo = filled(0..4000);
    let chance = Chance {
        unprocessed: 0.2,
        ..Chance::default()
    };
    dynamo.set_plan(
        FaultPlan::default()
            .chance(chance)
            .at(2, Fault::Throttle)
            .at(4, Fault::DropAfter),
    );
    let ended = folder.refresh(&old, &new, &[]).dynamo(&dynamo).run();
    assert_ended(&ended, 0);
    assert_eq!(holds(&dynamo), hashes(400..4400));
    folder.assert_books([8000, 400, 400, 7200, 0, 0, 0, 0]);
}

#[test]
fn an_item_with_a_changed_row_attribute_is_put() {
    let folder = Folder::new();
    let row = |n: u64, size: u64| format!("{},{size}\n", hash(n));
    let table = |size: &dyn Fn(u64) -> u64| (0..1000).map(|n| row(n, size(n))).collect::<String>();
    let old = folder.with("old", format!("sha256,size\n{}", table(&|n| n)));
    let new = folder.with(
        "new",
        format!("sha256,size\n{}", table(&|n| if n < 3 { 7 } else { n })),
    );
    let dynamo = filled([]);
    let args = ["--attr-from", "size:N=size"];
    let ended = folder.refresh(&old, &new, &args).dynamo(&dynamo).run();
    assert_ended(&ended, 0);
    folder.assert_books([2002, 3, 0, 1997, 0, 0, 2, 0]);
    let sizes: BTreeSet<String> = dynamo
        .items()
        .into_values()
        .map(|i| i["size"]["N"].to_string())
        .collect();
    assert_eq!(sizes, BTreeSet::from(["\"7\"".to_owned()]));
}

#[test]
fn a_refresh_reads_prefixes() {
    let folder = Folder::new();
    let part = |from: u64| list(from..from + 100);
    let s3 = (0..5).fold(FakeS3Config::default(), |config, n| {
        config
            .object("lists", &format!("v1/{n}.txt"), part(n * 100))
            .object("lists", &format!("v2/{n}.txt"), part(n * 100 + 10))
    });
    let (s3, dynamo) = (FakeS3::start(s3), filled(0..500));
    let ended = folder
        .refresh("s3://lists/v1/", "s3://lists/v2/", &[])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    assert_ended(&ended, 0);
    assert_eq!(holds(&dynamo), hashes(10..510));
    assert_eq!(
        folder.report()["sources"].as_array().map(Vec::len),
        Some(10)
    );
}

type FakeS3Config = S3Config;

#[test]
fn patterns_select_objects_of_both_lists() {
    let folder = Folder::new();
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "v1/a.txt", list(0..100))
            .object("lists", "v1/other", list(100..200))
            .object("lists", "v2/a.txt", list(5..105))
            .object("lists", "v2/other", list(300..400)),
    );
    let new = folder.with("new", list(5..105));
    for to in ["s3://lists/v2/", &new] {
        let dynamo = filled(0..200);
        let ended = folder
            .refresh("s3://lists/v1/", to, &["--include", "*.txt"])
            .s3(&s3)
            .dynamo(&dynamo)
            .run();
        assert_ended(&ended, 0);
        assert_eq!(holds(&dynamo), hashes(5..200), "{to}");
        folder.assert_books([200, 5, 5, 190, 0, 0, 0, 0]);
    }
    let dynamo = filled([]);
    let ended = folder
        .refresh(&new, &new, &["--include", "*.txt"])
        .dynamo(&dynamo)
        .run();
    assert_ended(&ended, 2);
}

#[test]
fn progress_counts_deleted_and_unchanged_lines() {
    let folder = Folder::new();
    let (old, new) = (
        folder.with("old", sorted(0..4000)),
        folder.with("new", sorted(400..4400)),
    );
    let dynamo = filled(0..4000);
    let ended = Run::new(&[
        "refresh",
        "--from",
        &old,
        "--to",
        &new,
        "--table",
        "sha256",
        "--rate",
        "400",
        "--progress",
        "json",
        "--progress-interval",
        "100ms",
        "--checkpoint",
        "off",
    ])
    .dynamo(&dynamo)
    .run();
    assert_ended(&ended, 0);
    let mut events = ended
        .stderr
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok());
    let last: serde_json::Value = events.next_back().expect("an event");
    assert_eq!(
        (&last["unchanged"], &last["bytes"]),
        (&json!(7200), &json!(null))
    );
    assert!(last["deleted"].as_u64() > Some(0), "{last}");
}

/// Sorted lists are read twice. The old list is a file, so all GETs are for the new one: at
/// the start of the run, at the first read, and at the second.
#[test]
fn a_list_that_changes_between_two_reads_is_an_error_and_deletes_nothing() {
    let folder = Folder::new();
    let old = folder.with("old", sorted(0..20_000));
    let text = sorted(100..20_100);
    let half = text.len() as u64 / 2;
    for (what, plan) in [
        ("replaced", S3Plan::default().etag_from(3, "\"other\"")),
        (
            "broken off",
            S3Plan::default()
                .get(3, S3Fault::EndAfter(half))
                .gets_from(4, S3Fault::AccessDenied),
        ),
    ] {
        let s3 = FakeS3::start(
            S3Config::default()
                .object("lists", "new", text.clone())
                .plan(plan),
        );
        let dynamo = filled(0..20_000);
        let ended = folder
            .refresh(&old, "s3://lists/new", &["--checkpoint", "off"])
            .s3(&s3)
            .dynamo(&dynamo)
            .run();
        assert_ended(&ended, 1);
        let lost: Vec<String> = hashes(100..20_000)
            .difference(&holds(&dynamo))
            .cloned()
            .collect();
        assert_eq!(lost.len(), 0, "{what}: {}", ended.stderr);
        if what == "replaced" {
            ended.assert_stderr(&[
                "between its first and its second read",
                "ETag",
                "completely written",
            ]);
            assert_eq!(dynamo.stats().calls, 0);
        }
    }
}

#[test]
fn an_exact_run_writes_each_hash_once() {
    // 500 hashes six times, further apart than any window.
    let rows = |n: u64| (0..6).flat_map(move |_| 0..n);
    let folder = Folder::new();
    let unsorted = folder.with("unsorted", list(rows(70_000)));
    let dynamo = FakeDynamo::start(table());
    let work = folder.text("work");
    std::fs::create_dir(&work).expect("a folder");
    let exact = ["--distinct", "exact", "--work-dir", &work, "--rate", "max"];
    let ended = Run::ingest(&unsorted, &exact).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_line_counts([420_000, 70_000, 350_000, 0, 0, 0]);
    ended.assert_stderr(&[&format!("sorting in {work}"), "on disk"]);
    assert_eq!(dynamo.stop().items_written, 70_000);
    assert_eq!(std::fs::read_dir(&work).expect("there").count(), 0);

    let mut text: Vec<String> = rows(2000).map(hash).collect();
    text.sort();
    let sorted = folder.with("sorted", text.join("\n"));
    let dynamo = FakeDynamo::start(table());
    let ended = Run::ingest(&sorted, &["--distinct", "sorted", "--rate", "max"])
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([12_000, 2000, 10_000, 0, 0, 0]);
    assert_eq!(dynamo.stop().items_written, 2000);
}

#[test]
fn an_unsorted_list_is_an_error_with_its_line_and_earlier_lines_are_written() {
    let folder = Folder::new();
    let mut text = sorted(0..1000);
    text.extend(list([0]));
    let (file, dynamo) = (folder.with("list", text), FakeDynamo::start(table()));
    let ended = Run::ingest(&file, &["--distinct", "sorted", "--rate", "max"])
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["not sorted", "line 1001 (byte 65000)", "--distinct exact"]);
    ended.assert_line_counts([1001, 1000, 0, 0, 0, 1]);
    assert_eq!(dynamo.stop().distinct, 1000);
}

#[test]
fn a_killed_exact_run_resumes_at_its_position_in_hash_order() {
    let folder = Folder::new();
    let file = folder.with("list", list((0..30_000).chain(0..30_000)));
    let dynamo = FakeDynamo::start(table());
    let checkpoint = folder.text("checkpoint");
    let args = [
        "--distinct",
        "exact",
        "--checkpoint",
        &checkpoint,
        "--checkpoint-interval",
        "10ms",
    ];
    let slow = [&args[..], &["--rate", "4000"]].concat();
    let mut started = Run::ingest(&file, &slow).dynamo(&dynamo).start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 5000)
        .expect("it writes");
    started.kill();
    started.wait();
    let before = dynamo.stats().items_written;
    let fast = [&args[..], &["--rate", "max"]].concat();
    let ended = Run::ingest(&file, &fast).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_line_counts([60_000, 30_000, 30_000, 0, 0, 0]);
    let stats = dynamo.stop();
    assert_eq!(stats.distinct, 30_000);
    assert!(
        stats.items_written - before < 28_000,
        "it resumes where it was"
    );

    // Another method of finding duplicates is another run.
    let left = FakeDynamo::start(table());
    left.set_plan(FaultPlan::default().from(60, Fault::AccessDenied));
    Run::ingest(&file, &args)
        .dynamo(&left)
        .run()
        .assert_status(1);
    left.set_plan(FaultPlan::default());
    let ended = Run::ingest(&file, &args[2..]).dynamo(&left).run();
    ended.assert_status(2);
    ended.assert_stderr(&["another run", "exact"]);
}

#[test]
fn invalid_options_of_a_refresh_are_errors_before_any_call() {
    let folder = Folder::new();
    let (old, dynamo) = (folder.with("old", list(0..10)), filled([]));
    let rows = folder.with("rows", format!("sha1,name\n{:040X},x\n", 7));
    let nowhere = folder.text("nowhere");
    for (from, args, words) in [
        (&nowhere, &[][..], "cannot read"),
        (&rows, &[], "sha256"),
        (&old, &["--work-dir", &nowhere], "--work-dir DIR"),
        (&old, &["--max-change", "x"], "expected a percentage"),
    ] {
        let ended = folder.refresh(from, &old, args).dynamo(&dynamo).run();
        assert_ended(&ended, 2);
        ended.assert_stderr(&[words]);
        assert!(!ended.stderr.contains("To resume"), "{}", ended.stderr);
    }
    assert_eq!(dynamo.stop().calls, 0);
}

/// A resumed run reads everything again first. An error then must not lose the position of
/// the earlier run.
#[test]
fn a_resumed_run_that_fails_while_sorting_keeps_the_checkpoint() {
    let folder = Folder::new();
    let text = list(0..5000);
    let half = text.len() as u64 / 2;
    let s3 = FakeS3::start(S3Config::default().object("lists", "new", text));
    let dynamo = FakeDynamo::start(table());
    let checkpoint = folder.text("checkpoint");
    let args = ["--distinct", "exact", "--checkpoint", &checkpoint];
    let run = || {
        Run::ingest("s3://lists/new", &args)
            .s3(&s3)
            .dynamo(&dynamo)
            .run()
    };
    dynamo.set_plan(FaultPlan::default().from(60, Fault::AccessDenied));
    run().assert_status(1);
    dynamo.set_plan(FaultPlan::default());
    let saved = std::fs::read(folder.path("checkpoint")).expect("a checkpoint");
    s3.set_plan(
        S3Plan::default()
            .get(1, S3Fault::EndAfter(half))
            .gets_from(2, S3Fault::AccessDenied),
    );
    let ended = run();
    ended.assert_status(1);
    ended.assert_stderr(&["To resume this run"]);
    let left = std::fs::read(folder.path("checkpoint")).expect("a checkpoint");
    assert!(saved == left, "{}", String::from_utf8_lossy(&left));
    s3.set_plan(S3Plan::default());
    let ended = run();
    ended.assert_status(0);
    ended.assert_line_counts([5000, 5000, 0, 0, 0, 0]);
    assert_eq!(dynamo.stop().distinct, 5000);
}

#[test]
fn a_list_that_changes_while_a_refresh_resumes_is_not_written() {
    let folder = Folder::new();
    let old = folder.with("old", sorted(0..10_000));
    let config = S3Config::default().object("lists", "new", sorted(1000..11_000));
    let (s3, dynamo) = (FakeS3::start(config), filled(0..10_000));
    let checkpoint = folder.text("checkpoint");
    let run = || {
        let args = ["--checkpoint", &checkpoint];
        let run = folder.refresh(&old, "s3://lists/new", &args);
        run.s3(&s3).dynamo(&dynamo).run()
    };
    dynamo.set_plan(FaultPlan::default().from(50, Fault::AccessDenied));
    assert_ended(&run(), 1);
    dynamo.set_plan(FaultPlan::default());
    let calls = dynamo.stats().calls;
    // The first GET is the check of the list.
    s3.set_plan(S3Plan::default().etag_from(2, "\"other\""));
    let ended = run();
    assert_ended(&ended, 1);
    ended.assert_stderr(&["a list has changed since the run that is to be resumed"]);
    assert_eq!(dynamo.stats().calls, calls);
    s3.set_plan(S3Plan::default());
    assert_ended(&run(), 0);
    assert_eq!(holds(&dynamo), hashes(1000..11_000));
}
