//! Resuming a run that was stopped, failed or killed, with the real binary: every line
//! is written or reported, and the line counts are those of both runs.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Plan, SaveFault};
use hashferry::bench::Checkpoint;
use nix::sys::signal::Signal;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

const URI: &str = "s3://lists/a/list.txt";

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// A list of `n` hashes in which every hundredth line is something else.
fn list(n: u64) -> Vec<u8> {
    let line = |i: u64| match i % 100 {
        7 => format!("no hash {i}\n"),
        8 => format!("# comment {i}\n"),
        9 => format!("{:064X}\r\n", i - 1000.min(i)),
        _ => format!("{i:064x}\n"),
    };
    (0..n).map(line).collect::<String>().into_bytes()
}

/// Number of hashes in the table after all of [`list`] is written.
fn distinct(n: u64) -> u64 {
    let text = String::from_utf8(list(n)).expect("text").to_uppercase();
    let hashes = text.lines().filter(|l| l.len() == 64 && !l.contains(' '));
    hashes.collect::<std::collections::BTreeSet<_>>().len() as u64
}

fn s3(list: impl Into<bytes::Bytes>) -> FakeS3 {
    FakeS3::start(S3Config::default().object("lists", "a/list.txt", list))
}

/// A folder that outlives a run.
struct Keep(tempfile::TempDir);

impl Keep {
    fn new() -> Self {
        Keep(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// `hashferry ingest` with its checkpoint and rejected lines in this folder.
    fn ingest(&self, source: &str, args: &[&str]) -> Run {
        let (checkpoint, rejects) = (self.text("checkpoint"), self.text("rejects"));
        let kept = ["--checkpoint", &checkpoint, "--rejects", &rejects];
        Run::ingest(source, &[&kept, args].concat())
    }

    fn checkpoint(&self) -> Checkpoint {
        let text = std::fs::read(self.path("checkpoint")).expect("a checkpoint");
        Checkpoint::from_text(&text).expect("valid")
    }

    /// Numbers of the rejected lines.
    fn rejected(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(self.path("rejects")).expect("a file");
        let number = |l: &str| {
            serde_json::from_str::<serde_json::Value>(l).expect("a JSON line")["line"].as_u64()
        };
        text.lines().map(|l| number(l).expect("a number")).collect()
    }
}

fn wait(dynamo: &FakeDynamo, written: u64) {
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= written)
        .expect("it writes");
}

/// Asserts the line counts of all of [`list`]. A hash that occurs twice is written again or
/// a duplicate.
fn assert_whole(ended: &Finished, n: u64) {
    let [rejected, skipped] = [7, 8].map(|k| (0..n).filter(|i| i % 100 == k).count() as u64);
    assert_eq!(ended.number("lines"), n, "{}", ended.stderr);
    assert_eq!(
        (ended.number("rejected"), ended.number("skipped")),
        (rejected, skipped)
    );
    assert_eq!(
        ended.number("written") + ended.number("duplicates"),
        n - rejected - skipped
    );
    assert_eq!(ended.number("failed"), 0);
    assert_eq!(ended.report["sources"][0]["lines"], n);
}

#[test]
fn a_stopped_run_resumes_and_its_report_counts_both_runs() {
    let (s3, dynamo, keep) = (s3(list(20_000)), FakeDynamo::start(table()), Keep::new());
    let started = keep
        .ingest(URI, &["--rate", "4000"])
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    wait(&dynamo, 5000);
    started.signal(Signal::SIGTERM);
    let first = started.wait();
    first.assert_status(4);
    first.assert_stderr(&["To resume this run:", "--checkpoint"]);
    let checkpoint = keep.checkpoint();
    let below = checkpoint.partial_source.as_ref().expect("a source").bytes;
    assert!(
        checkpoint.line_counts.lines > 4000
            && checkpoint.line_counts.lines <= first.number("lines")
    );
    // All calls in flight have finished: only lines of the last segment are acknowledged
    // after the watermark.
    assert!(first.number("written") - checkpoint.line_counts.written < 600);

    let second = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    second.assert_status(3);
    second.assert_stderr(&["resuming an earlier run at line"]);
    assert_whole(&second, 20_000);
    assert_eq!(second.report["resumed_from"], checkpoint.line_counts.lines);
    assert!(second.number("consumed_wcu") >= second.number("written"));
    assert_eq!(
        keep.rejected(),
        (0..200).map(|i| i * 100 + 8).collect::<Vec<_>>()
    );
    assert!(!keep.path("checkpoint").exists(), "the run is complete");
    assert_eq!(dynamo.stop().distinct, distinct(20_000));

    let gets = s3.stop().gets;
    let last = gets.last().expect("some");
    assert_eq!(last.range.as_deref(), Some(&*format!("bytes={below}-")));
    assert!(last.if_match.is_some(), "pinned to the same version");
}

#[test]
fn a_run_that_is_killed_at_any_moment_loses_no_line() {
    let n = 40_000;
    let (s3, dynamo, keep) = (s3(list(n)), FakeDynamo::start(table()), Keep::new());
    // Responses come out of order, and one item stays unprocessed for long.
    let held = (1..400).fold(FaultPlan::default(), |plan, k| match k % 40 {
        3 => plan.at(k, Fault::Unprocessed(7)),
        11 => plan.at(k, Fault::DropAfter),
        19 => plan.at(k, Fault::HoldUntil(k + 30)),
        _ => plan,
    });
    dynamo.set_plan(held);
    let mut kills = 0;
    for written in [1, 3000, 9000, 17_000, 24_000, 31_000] {
        let mut started = keep
            .ingest(URI, &["--rate", "max"])
            .s3(&s3)
            .dynamo(&dynamo)
            .start();
        let killed = dynamo
            .wait_until(LIMIT, |s| s.items_written >= written)
            .is_some();
        assert!(killed);
        started.kill();
        kills += u64::from(started.wait().status != 3);
    }
    assert!(kills >= 3, "most were killed before their end");
    let last = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    last.assert_status(3);
    assert_whole(&last, n);
    assert_eq!(
        keep.rejected(),
        (0..n / 100).map(|i| i * 100 + 8).collect::<Vec<_>>()
    );
    assert_eq!(dynamo.stop().distinct, distinct(n));
}

#[test]
fn a_run_killed_between_two_saves_resumes_at_the_last_one() {
    // The run is slower than two intervals, so at least two watermarks are saved.
    let n = 12_000;
    let (s3, dynamo, keep) = (s3(list(n)), FakeDynamo::start(table()), Keep::new());
    let mut started = keep
        .ingest(URI, &["--rate", "1000"])
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    wait(&dynamo, 9000);
    started.kill();
    started.wait();
    let saved = keep.checkpoint().line_counts.lines;
    assert!(
        saved > 1000 && saved <= 12_000,
        "{saved} lines are in the saved counts"
    );
    let last = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    last.assert_status(3);
    assert_whole(&last, n);
    assert_eq!(last.report["resumed_from"], saved);
    assert_eq!(
        keep.rejected(),
        (0..n / 100).map(|i| i * 100 + 8).collect::<Vec<_>>()
    );
    assert_eq!(dynamo.stop().distinct, distinct(n));
}

#[test]
fn a_failed_run_resumes_after_the_cause_is_fixed() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    dynamo.set_plan(FaultPlan::default().from(60, Fault::AccessDenied));
    let first = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    first.assert_status(1);
    first.assert_stderr(&["To resume this run:"]);
    assert_eq!(first.report["checkpoint"], keep.text("checkpoint"));
    dynamo.set_plan(FaultPlan::default());
    let second = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    second.assert_status(3);
    assert_whole(&second, 5000);
    assert_eq!(dynamo.stop().distinct, distinct(5000));
}

/// Leaves a checkpoint behind.
fn leave(keep: &Keep, s3: &FakeS3, dynamo: &FakeDynamo, source: &[&str]) {
    // Stops some 1,750 hashes into the list; few calls at once keep it near there.
    dynamo.set_plan(FaultPlan::default().from(71, Fault::AccessDenied));
    let args = [&["--rate", "max", "--concurrency", "4"], &source[1..]].concat();
    let ended = keep.ingest(source[0], &args).s3(s3).dynamo(dynamo).run();
    ended.assert_status(1);
    dynamo.set_plan(FaultPlan::default());
}

#[test]
fn resuming_with_different_options_or_sources_is_an_error_with_a_hint() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    leave(&keep, &s3, &dynamo, &[URI]);
    let calls = dynamo.stats().calls;
    let assert_usage_error = |args: &[&str], words: &[&str]| {
        let ended = keep.ingest(URI, args).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(2);
        ended.assert_stderr(words);
        ended.assert_stderr(&["--restart"]);
    };
    assert_usage_error(
        &["--type", "known"],
        &["belongs to another run", "the items were"],
    );
    // The table shows the case; without reads, the checkpoint does.
    let other_case = keep
        .ingest(URI, &["--case", "lower"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    other_case.assert_status(2);
    other_case.assert_stderr(&["lower case does not fit table", "give --case upper"]);
    dynamo.deny("Scan");
    dynamo.deny("BatchGetItem");
    assert_usage_error(
        &["--case", "lower"],
        &["belongs to another run", "lower case"],
    );

    // The object was replaced: the message has both ETags.
    let read = keep.checkpoint().partial_source.expect("a source");
    let before = read.source.object.etag.expect("an ETag");
    s3.put("lists", "a/list.txt", list(5001));
    assert_usage_error(&[], &["has changed since", &before]);
    s3.put("lists", "a/list.txt", list(5000));

    // The table was deleted and created again.
    dynamo.set_describe("TableId", json!("another"));
    assert_usage_error(&[], &["created again"]);
    dynamo.set_describe("TableId", json!("2b1ff2c8-5f5e-4f7e-9d5c-0a7f3b3c1d2e"));

    let whole = std::fs::read(keep.path("checkpoint")).expect("a checkpoint");
    for damaged in [&whole[..whole.len() / 2], b"", b"{}\n"] {
        std::fs::write(keep.path("checkpoint"), damaged).expect("written");
        assert_usage_error(&[], &["is damaged"]);
    }
    assert_eq!(dynamo.stats().calls, calls, "nothing was written");

    let restarted = keep
        .ingest(URI, &["--restart"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    restarted.assert_status(3);
    assert_eq!(restarted.report["resumed_from"], json!(null));
    assert_whole(&restarted, 5000);
    assert!(!keep.path("checkpoint").exists());
}

#[test]
fn a_changed_file_is_an_error_on_resume() {
    let (s3, dynamo, keep) = (s3(""), FakeDynamo::start(table()), Keep::new());
    let file = keep.text("list.txt");
    std::fs::write(&file, list(5000)).expect("written");
    leave(&keep, &s3, &dynamo, &[&file]);
    let saved = std::fs::read(keep.path("checkpoint")).expect("a checkpoint");
    let ended = keep.ingest(&file, &[]).dynamo(&dynamo).run();
    ended.assert_status(3);
    assert_whole(&ended, 5000);

    std::fs::write(keep.path("checkpoint"), saved).expect("written");
    std::fs::write(&file, [list(5000), b"\n".to_vec()].concat()).expect("written");
    let ended = keep.ingest(&file, &[]).dynamo(&dynamo).run();
    ended.assert_status(2);
    ended.assert_stderr(&["has changed since", "its length was"]);
}

#[test]
fn finished_sources_are_not_read_again_on_resume() {
    let config = ["1", "2", "3"]
        .iter()
        .fold(S3Config::default(), |config, k| {
            config.object("lists", k, {
                let from: u64 = k.parse().expect("a number");
                (0..1000)
                    .map(|i| format!("{:064X}\n", from * 1000 + i))
                    .collect::<String>()
                    .into_bytes()
            })
        });
    let (s3, dynamo, keep) = (
        FakeS3::start(config),
        FakeDynamo::start(table()),
        Keep::new(),
    );
    let sources = ["s3://lists/1", "s3://lists/2", "s3://lists/3"];
    leave(&keep, &s3, &dynamo, &sources);
    let checkpoint = keep.checkpoint();
    assert_eq!(checkpoint.finished.count(), 1, "it was in the second");
    assert_eq!(checkpoint.finished.listed[0].line_counts.lines, 1000);
    s3.set_plan(S3Plan::default());
    let before = s3.stats().gets.len();
    let ended = keep
        .ingest(sources[0], &sources[1..])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([3000, 3000, 0, 0, 0, 0]);
    let lines: Vec<u64> = (0..3)
        .map(|i| ended.report["sources"][i]["lines"].as_u64().expect("lines"))
        .collect();
    assert_eq!(lines, [1000, 1000, 1000]);
    let gets = s3.stats().gets;
    let ranges: Vec<_> = gets[before..]
        .iter()
        .map(|g| (g.key.as_str(), g.range.is_some()))
        .collect();
    // The first source is opened to check its format, but not read.
    assert_eq!(ranges, [("1", false), ("2", true), ("3", false)]);
    assert_eq!(dynamo.stop().distinct, 3000);
}

#[test]
fn resuming_a_run_that_had_written_everything_completes_at_once() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    leave(&keep, &s3, &dynamo, &[URI]);
    let mut checkpoint = keep.checkpoint();
    let missing = 5000 - checkpoint.line_counts.lines;
    checkpoint.line_counts.lines += missing;
    checkpoint.line_counts.written += missing;
    let read = checkpoint.partial_source.as_mut().expect("a source");
    read.line_counts = checkpoint.line_counts;
    read.lines = 5000;
    read.bytes = list(5000).len() as u64;
    std::fs::write(keep.path("checkpoint"), checkpoint.to_text()).expect("written");
    let calls = dynamo.stats().calls;
    let ended = keep.ingest(URI, &[]).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(3);
    assert_eq!(ended.number("lines"), 5000);
    assert_eq!(dynamo.stats().calls, calls);
    assert!(!keep.path("checkpoint").exists());
}

#[test]
fn the_default_checkpoint_is_in_the_state_folder() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    dynamo.set_plan(FaultPlan::default().from(60, Fault::AccessDenied));
    let run = |args: &[&str]| {
        let run = Run::ingest(URI, args).s3(&s3).dynamo(&dynamo);
        run.env("XDG_STATE_HOME", &keep.text("state")).run()
    };
    let left = || std::fs::read_dir(keep.path("state/hashferry")).map_or(0, Iterator::count);
    run(&[]).assert_status(1);
    assert_eq!(left(), 1);
    dynamo.set_plan(FaultPlan::default());
    // A dry run and a run without a checkpoint ignore it.
    run(&["--dry-run"]).assert_status(3);
    let off = run(&["--checkpoint", "off"]);
    off.assert_status(3);
    assert_eq!(off.report["resumed_from"], json!(null));
    assert_eq!(left(), 1);
    let taken_up = run(&[]);
    taken_up.assert_status(3);
    assert!(
        taken_up.report["resumed_from"]
            .as_u64()
            .is_some_and(|n| n > 0)
    );
    assert_whole(&taken_up, 5000);
    assert_eq!(left(), 0);
}

#[test]
fn a_pipe_has_no_checkpoint_and_giving_one_is_an_error() {
    let (dynamo, keep) = (FakeDynamo::start(table()), Keep::new());
    keep.ingest("-", &[])
        .input(list(100))
        .dynamo(&dynamo)
        .run()
        .assert_status(2);
    let ended = Run::ingest::<&str>("-", &[])
        .input(list(100))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(3);
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_an_error_before_the_first_write() {
    let (s3, dynamo, keep) = (s3(list(100)), FakeDynamo::start(table()), Keep::new());
    std::fs::write(keep.path("file"), b"").expect("written");
    for place in [
        keep.text("file/checkpoint"),
        "-".to_owned(),
        "s3://lists/".to_owned(),
    ] {
        let ended = Run::ingest(URI, &["--checkpoint", &place])
            .s3(&s3)
            .dynamo(&dynamo)
            .run();
        ended.assert_status(2);
        ended.assert_stderr(&["checkpoint"]);
    }
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn a_checkpoint_that_can_no_longer_be_saved_stops_the_run() {
    let (s3, dynamo, keep) = (s3(list(60_000)), FakeDynamo::start(table()), Keep::new());
    let place = keep.text("folder/checkpoint");
    let args = ["--checkpoint", &place, "--rate", "2000"];
    let started = Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo).start();
    wait(&dynamo, 500);
    std::fs::remove_dir_all(keep.path("folder")).expect("removed");
    std::fs::write(keep.path("folder"), b"in the way").expect("written");
    let ended = started.wait();
    ended.assert_status(1);
    ended.assert_stderr(&["cannot save the checkpoint"]);
    assert_eq!(ended.number("written"), dynamo.stop().items_written);
    assert!(ended.number("failed") > 0);
}

#[test]
fn a_checkpoint_can_be_an_object_in_s3() {
    let keep = Keep::new();
    let dir = keep.path("local");
    std::fs::create_dir_all(dir.join("s3/lists")).expect("a folder");
    std::fs::write(dir.join("s3/lists/list.txt"), list(30_000)).expect("written");
    let run = |rate: &str| {
        let place = [
            "--checkpoint",
            "s3://lists/checkpoints/one",
            "--local",
            dir.to_str().expect("text"),
        ];
        let shown = ["--progress", "json", "--progress-interval", "50ms"];
        let args = [
            "ingest",
            "s3://lists/list.txt",
            "--table",
            "sha256",
            "--rate",
            rate,
        ];
        Run::new(&[&args[..], &place, &shown].concat())
    };
    let mut started = run("4000").start();
    started.wait_for_stderr("\"lines\":");
    started.signal(Signal::SIGTERM);
    assert_eq!(started.wait().status, 4);
    let saved = std::fs::read(Path::new(&dir).join("s3/lists/checkpoints/one")).expect("an object");
    Checkpoint::from_text(&saved).expect("valid");
    let ended = run("max").run();
    assert_eq!(ended.status, 3, "{}", ended.stderr);
    ended.assert_stderr(&["resuming an earlier run", "s3://lists/checkpoints/one"]);
    assert!(!dir.join("s3/lists/checkpoints/one").exists());
}

/// Holder of `path`, from its lock file.
fn holder(path: &Path) -> String {
    let text = std::fs::read_to_string(format!("{}.lock", path.display())).expect("a lock");
    let holder: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let part = |name: &str| holder[name].to_string().replace('"', "");
    format!(
        "process {} on {} since {}",
        part("process"),
        part("host"),
        part("started")
    )
}

#[test]
fn a_run_started_twice_runs_once() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    // Retries are held too, so the first run lasts until it is killed.
    dynamo.set_plan(FaultPlan::default().from(3, Fault::HoldUntil(1_000_000)));
    let run = |args: &[&str]| keep.ingest(URI, args).s3(&s3).dynamo(&dynamo);
    let mut first = run(&["--rate", "max"]).start();
    dynamo
        .wait_until(LIMIT, |s| s.calls >= 3)
        .expect("it writes");
    let rejects = std::fs::read(keep.path("rejects")).expect("a file");
    for args in [&[][..], &["--restart"], &["--distinct", "exact"]] {
        let second = run(args).run();
        second.assert_status(2);
        second.assert_stderr(&[
            "another run has the checkpoint",
            &keep.text("checkpoint"),
            &holder(&keep.path("checkpoint")),
            "wait until it ends, or give --checkpoint PATH",
        ]);
    }
    let now = std::fs::read(keep.path("rejects")).expect("a file");
    assert!(now.starts_with(&rejects), "it is the first one's still");
    // A dry run has no checkpoint and does not lock it, but it locks the rejected lines.
    let dry = Run::ingest(URI, &["--dry-run"]).s3(&s3).dynamo(&dynamo);
    dry.run().assert_status(3);
    let dry = run(&["--dry-run"]).run();
    dry.assert_status(2);
    dry.assert_stderr(&["another run has the rejected lines", &keep.text("rejects")]);
    // A run without a checkpoint takes no lock, and logs that.
    dynamo.set_plan(FaultPlan::default());
    let off = Run::ingest(URI, &["--checkpoint", "off"]);
    let off = off.s3(&s3).dynamo(&dynamo).run();
    off.assert_status(3);
    off.assert_stderr(&["no checkpoint and no lock"]);

    // A killed process holds no lock, though the lock file still exists.
    first.kill();
    first.wait();
    assert!(keep.path("checkpoint.lock").exists());
    let last = run(&["--rate", "max"]).run();
    last.assert_status(3);
    assert_whole(&last, 5000);
    assert!(!keep.path("checkpoint.lock").exists());
    assert_eq!(dynamo.stop().distinct, distinct(5000));
}

#[test]
fn a_refresh_started_twice_runs_once() {
    let (dynamo, keep) = (FakeDynamo::start(table()), Keep::new());
    let (old, new) = (keep.text("old.txt"), keep.text("new.txt"));
    std::fs::write(&old, list(10)).expect("written");
    std::fs::write(&new, list(1000)).expect("written");
    let place = keep.text("checkpoint");
    dynamo.set_plan(FaultPlan::default().at(1, Fault::HoldUntil(1_000_000)));
    let run = || {
        let args = [
            "refresh",
            "--from",
            &old,
            "--to",
            &new,
            "--table",
            "sha256",
            "--confirm",
        ];
        Run::new(&[&args[..], &["--checkpoint", &place]].concat()).dynamo(&dynamo)
    };
    let mut first = run().start();
    dynamo
        .wait_until(LIMIT, |s| s.calls >= 1)
        .expect("it writes");
    let second = run().run();
    assert_eq!(second.status, 2, "{}", second.stderr);
    second.assert_stderr(&["another run has the checkpoint", &holder(Path::new(&place))]);
    first.kill();
    first.wait();
}

#[test]
fn one_lookup_at_a_time_writes_an_output_file() {
    let (dynamo, keep) = (FakeDynamo::start(table()), Keep::new());
    let output = keep.text("answers.jsonl");
    let line = format!("{:064x}\n", 1);
    let run = |args: &[&str]| {
        let run = Run::lookup("-", &[&["--output", &output], args].concat());
        run.dynamo(&dynamo).open_input(line.clone())
    };
    let mut first = run(&[]).start();
    dynamo
        .wait_until(LIMIT, |_| keep.path("answers.jsonl").exists())
        .expect("it has started");
    for args in [&[][..], &["--resume"], &["--overwrite"]] {
        let second = run(args).run();
        second.assert_status(2);
        second.assert_stderr(&[
            "another run has the answers",
            &holder(&keep.path("answers.jsonl")),
        ]);
    }
    first.kill();
    first.wait();
    let last = Run::lookup("-", &["--output", &output, "--resume"]);
    last.dynamo(&dynamo).input(line).run().assert_status(0);
    assert!(!keep.path("answers.jsonl.lock").exists());
}

/// A run with its checkpoint in the bucket of its list, saved every 50 ms.
fn fenced(s3: &FakeS3, dynamo: &FakeDynamo, args: &[&str]) -> Run {
    fenced_every("50ms", s3, dynamo, args)
}

fn fenced_every(interval: &str, s3: &FakeS3, dynamo: &FakeDynamo, args: &[&str]) -> Run {
    let place = ["--checkpoint", "s3://lists/checkpoint"];
    let every = ["--checkpoint-interval", interval];
    Run::ingest(URI, &[&place, &every, args].concat())
        .s3(s3)
        .dynamo(dynamo)
}

/// Initial checkpoint of another run with the same identity.
fn of_another_run(s3: &FakeS3, dynamo: &FakeDynamo) -> bytes::Bytes {
    dynamo.set_plan(FaultPlan::default().from(1, Fault::AccessDenied));
    fenced(s3, dynamo, &[]).run().assert_status(1);
    dynamo.set_plan(FaultPlan::default());
    let bytes = s3.bytes("lists", "checkpoint").expect("it is left");
    s3.delete("lists", "checkpoint");
    bytes
}

#[test]
fn each_save_in_s3_is_conditional_on_the_previous_one() {
    let (s3, dynamo) = (s3(list(3000)), FakeDynamo::start(table()));
    fenced(&s3, &dynamo, &["--rate", "1000"])
        .run()
        .assert_status(3);
    let saves = s3.stop().saves;
    let (last, puts) = saves.split_last().expect("some");
    assert!(puts.len() > 2, "{saves:?}");
    assert!(
        saves.iter().all(|s| matches!(s.status, 200 | 204)),
        "{saves:?}"
    );
    assert_eq!(puts[0].if_none_match.as_deref(), Some("*"));
    let later: Vec<_> = puts[1..].iter().map(|p| p.if_match.as_ref()).collect();
    assert!(later.iter().all(Option::is_some), "{saves:?}");
    let different: std::collections::BTreeSet<_> = later.iter().collect();
    assert_eq!(different.len(), later.len(), "each has a different ETag");
    assert_eq!(last.method, "DELETE");
    assert!(last.if_match.is_some());
}

#[test]
fn a_run_recognises_its_own_save_after_a_lost_response() {
    for k in [1, 2, 3] {
        for fault in [
            SaveFault::DoneThen412,
            SaveFault::DoneThenReset,
            SaveFault::Conflict,
        ] {
            let (s3, dynamo) = (s3(list(2000)), FakeDynamo::start(table()));
            s3.set_plan(S3Plan::default().save(k, fault.clone()));
            let ended = fenced(&s3, &dynamo, &["--rate", "2000"]).run();
            ended.assert_status(3);
            assert_whole(&ended, 2000);
            assert!(s3.bytes("lists", "checkpoint").is_none());
            let saves = s3.stop().saves;
            let status = saves[k as usize - 1].status;
            assert!(matches!(status, 0 | 409 | 412), "{fault:?}: {saves:?}");
        }
    }
}

#[test]
fn a_run_stops_if_another_run_has_taken_over_its_checkpoint() {
    let n = 20_000;
    let (s3, dynamo) = (s3(list(n)), FakeDynamo::start(table()));
    let other = of_another_run(&s3, &dynamo);
    let before = dynamo.stats().items_written;
    s3.set_plan(S3Plan::default().save(4, SaveFault::After(other.clone())));
    let ended = fenced(&s3, &dynamo, &["--rate", "4000"]).run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "another run has the checkpoint s3://lists/checkpoint: process ",
        "let that run finish",
    ]);
    assert!(!ended.stderr.contains("To resume"), "{}", ended.stderr);
    assert_eq!(
        ended.number("written"),
        dynamo.stats().items_written - before
    );
    assert!(ended.number("failed") > 0);
    assert_eq!(
        s3.bytes("lists", "checkpoint"),
        Some(other),
        "it is the other run's"
    );

    // The object was removed: the other run has completed.
    s3.delete("lists", "checkpoint");
    s3.set_plan(S3Plan::default().save(3, SaveFault::AfterDelete));
    let ended = fenced(&s3, &dynamo, &["--rate", "4000"]).run();
    ended.assert_status(1);
    ended.assert_stderr(&["another run has the checkpoint"]);
    assert!(s3.bytes("lists", "checkpoint").is_none());
}

#[test]
fn a_second_run_takes_over_a_checkpoint_in_s3_and_the_first_stops() {
    let n = 20_000;
    let (s3, dynamo) = (s3(list(n)), FakeDynamo::start(table()));
    let first = fenced(&s3, &dynamo, &["--rate", "4000"]).start();
    wait(&dynamo, 2000);
    let second = fenced(&s3, &dynamo, &["--rate", "max"]).run();
    let first = first.wait();
    // The first run may save between the read and the claim of the second.
    match second.status {
        2 => {
            second.assert_stderr(&["another run has the checkpoint"]);
            first.assert_status(3);
            assert_whole(&first, n);
        }
        _ => {
            second.assert_status(3);
            assert_whole(&second, n);
            first.assert_status(1);
            first.assert_stderr(&["another run has the checkpoint"]);
        }
    }
    assert_eq!(dynamo.stop().distinct, distinct(n));
}

#[test]
fn a_run_whose_claim_fails_writes_nothing() {
    let (s3, dynamo) = (s3(list(5000)), FakeDynamo::start(table()));
    let (left, other) = (of_another_run(&s3, &dynamo), of_another_run(&s3, &dynamo));
    s3.put("lists", "checkpoint", left);
    s3.set_plan(S3Plan::default().save(1, SaveFault::After(other)));
    let written = dynamo.stats().items_written;
    let ended = fenced(&s3, &dynamo, &[]).run();
    ended.assert_status(2);
    ended.assert_stderr(&["nothing was written", "another run has the checkpoint"]);
    assert_eq!(dynamo.stop().items_written, written);
}

#[test]
fn a_checkpoint_without_a_holder_is_resumed_and_removed() {
    let (s3, dynamo) = (s3(list(5000)), FakeDynamo::start(table()));
    let other = of_another_run(&s3, &dynamo);
    let mut checkpoint = Checkpoint::from_text(&other).expect("valid");
    assert!(checkpoint.saved_by.take().is_some_and(|by| by.sequence > 0));
    let text = checkpoint.to_text();
    assert!(!text.contains("saved_by"));
    s3.put("lists", "checkpoint", text.clone());
    let ended = fenced(&s3, &dynamo, &[]).run();
    ended.assert_status(3);
    ended.assert_stderr(&["resuming an earlier run"]);
    assert!(s3.bytes("lists", "checkpoint").is_none());
    // With --restart even a damaged checkpoint is replaced.
    for left in [text, "damaged".to_owned()] {
        s3.put("lists", "checkpoint", left);
        fenced(&s3, &dynamo, &["--restart"]).run().assert_status(3);
        assert!(s3.bytes("lists", "checkpoint").is_none());
    }
}

#[test]
fn a_server_without_conditional_writes_is_an_error_before_the_first_write() {
    let (s3, dynamo) = (s3(list(100)), FakeDynamo::start(table()));
    s3.set_plan(S3Plan::default().save(1, SaveFault::NotImplemented));
    let ended = fenced(&s3, &dynamo, &[]).run();
    ended.assert_status(2);
    ended.assert_stderr(&["conditional writes", "give --checkpoint PATH"]);
    assert_eq!(dynamo.stats().calls, 0);
    // A server without conditional deletes gets an unconditional one.
    s3.set_plan(S3Plan::default().save(2, SaveFault::NotImplemented));
    fenced_every("5s", &s3, &dynamo, &["--rate", "max"])
        .run()
        .assert_status(3);
    assert!(s3.bytes("lists", "checkpoint").is_none());
    let saves = s3.stop().saves;
    let deletes: Vec<_> = saves.iter().filter(|s| s.method == "DELETE").collect();
    assert_eq!(deletes.len(), 2);
    assert!(deletes[0].if_match.is_some() && deletes[1].if_match.is_none());
}
