//! A run that was stopped, failed or killed is taken up where it was left, by the
//! real binary: every line is written or named, and the books are those of the
//! whole.

use crate::common::binary::{Ended, Run};
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

/// `n` different hashes, of every hundredth line something else.
fn list(n: u64) -> Vec<u8> {
    let line = |i: u64| match i % 100 {
        7 => format!("no hash {i}\n"),
        8 => format!("# comment {i}\n"),
        9 => format!("{:064X}\r\n", i - 1000.min(i)),
        _ => format!("{i:064x}\n"),
    };
    (0..n).map(line).collect::<String>().into_bytes()
}

/// Hashes in the table once all of [`list`] is written.
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

    /// `hashferry ingest` with its checkpoint and rejected lines kept here.
    fn ingest(&self, source: &str, args: &[&str]) -> Run {
        let (checkpoint, rejects) = (self.text("checkpoint"), self.text("rejects"));
        let kept = ["--checkpoint", &checkpoint, "--rejects", &rejects];
        Run::ingest(source, &[&kept, args].concat())
    }

    fn checkpoint(&self) -> Checkpoint {
        let text = std::fs::read(self.path("checkpoint")).expect("a checkpoint");
        Checkpoint::from_text(&text).expect("whole")
    }

    /// The lines that were rejected, by number.
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

/// The books of [`list`], whole: a repeated hash is written again or a duplicate.
fn assert_whole(ended: &Ended, n: u64) {
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
fn a_run_that_was_stopped_goes_on_and_the_books_are_those_of_the_whole() {
    let (s3, dynamo, keep) = (s3(list(20_000)), FakeDynamo::start(table()), Keep::new());
    let started = keep
        .ingest(URI, &["--rate", "4000"])
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    wait(&dynamo, 5000);
    started.signal(Signal::SIGTERM);
    let first = started.end();
    first.assert_status(4);
    first.assert_says(&["To go on where this run was left:", "--checkpoint"]);
    let checkpoint = keep.checkpoint();
    let below = checkpoint.read.as_ref().expect("a source").bytes;
    assert!(checkpoint.books.lines > 4000 && checkpoint.books.lines <= first.number("lines"));
    // What was in flight has come to its end: no acknowledged line is above the mark
    // but those in the last stretch.
    assert!(first.number("written") - checkpoint.books.written < 600);

    let second = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    second.assert_status(3);
    second.assert_says(&["taking up an earlier run at line"]);
    assert_whole(&second, 20_000);
    assert_eq!(second.report["resumed_from"], checkpoint.books.lines);
    assert!(second.number("consumed_wcu") >= second.number("written"));
    assert_eq!(
        keep.rejected(),
        (0..200).map(|i| i * 100 + 8).collect::<Vec<_>>()
    );
    assert!(!keep.path("checkpoint").exists(), "the run is done");
    assert_eq!(dynamo.stop().distinct, distinct(20_000));

    let gets = s3.stop().gets;
    let last = gets.last().expect("some");
    assert_eq!(last.range.as_deref(), Some(&*format!("bytes={below}-")));
    assert!(last.if_match.is_some(), "pinned to what it was");
}

#[test]
fn a_run_that_is_killed_at_any_moment_loses_nothing() {
    let n = 40_000;
    let (s3, dynamo, keep) = (s3(list(n)), FakeDynamo::start(table()), Keep::new());
    // Answers come out of order, and one item is held back for long.
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
        kills += u64::from(started.end().status != 3);
    }
    assert!(kills >= 3, "most were killed before their end");
    let last = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    last.assert_status(3);
    assert_whole(&last, n);
    assert_eq!(
        keep.rejected(),
        (0..n / 100).map(|i| i * 100 + 8).collect::<Vec<_>>()
    );
    assert_eq!(dynamo.stop().distinct, distinct(n));
}

#[test]
fn a_kill_between_two_savings_is_taken_up_at_the_last() {
    // Two saved marks at least: the run is slower than two intervals.
    let n = 12_000;
    let (s3, dynamo, keep) = (s3(list(n)), FakeDynamo::start(table()), Keep::new());
    let mut started = keep
        .ingest(URI, &["--rate", "1000"])
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    wait(&dynamo, 9000);
    started.kill();
    started.end();
    let saved = keep.checkpoint().books.lines;
    assert!(
        saved > 1000 && saved <= 12_000,
        "{saved} lines are in the saved books"
    );
    let last = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
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
fn a_run_that_failed_goes_on_once_the_cause_is_mended() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    dynamo.set_plan(FaultPlan::default().from(60, Fault::AccessDenied));
    let first = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    first.assert_status(1);
    first.assert_says(&["To go on where this run was left:"]);
    assert_eq!(first.report["checkpoint"], keep.text("checkpoint"));
    dynamo.set_plan(FaultPlan::default());
    let second = keep
        .ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    second.assert_status(3);
    assert_whole(&second, 5000);
    assert_eq!(dynamo.stop().distinct, distinct(5000));
}

/// Leaves a checkpoint behind.
fn leave(keep: &Keep, s3: &FakeS3, dynamo: &FakeDynamo, source: &[&str]) {
    // Some 1,750 hashes into the list; few calls at once, so that it is not far from there.
    dynamo.set_plan(FaultPlan::default().from(71, Fault::AccessDenied));
    let args = [&["--rate", "max", "--concurrency", "4"], &source[1..]].concat();
    let ended = keep.ingest(source[0], &args).s3(s3).dynamo(dynamo).end();
    ended.assert_status(1);
    dynamo.set_plan(FaultPlan::default());
}

#[test]
fn what_is_not_the_same_run_is_refused_with_the_way_out() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    leave(&keep, &s3, &dynamo, &[URI]);
    let calls = dynamo.stats().calls;
    let refused = |args: &[&str], words: &[&str]| {
        let ended = keep.ingest(URI, args).s3(&s3).dynamo(&dynamo).end();
        ended.assert_status(2);
        ended.assert_says(words);
        ended.assert_says(&["--restart"]);
    };
    refused(&["--type", "known"], &["of another run", "the items were"]);
    // The table shows its case, or else the checkpoint does.
    let other_case = keep
        .ingest(URI, &["--case", "lower"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    other_case.assert_status(2);
    other_case.assert_says(&["lower case does not fit table", "give --case upper"]);
    dynamo.deny("Scan");
    dynamo.deny("BatchGetItem");
    refused(&["--case", "lower"], &["of another run", "lower case"]);

    // The object was replaced: both ETags are named.
    let read = keep.checkpoint().read.expect("a source");
    let before = read.source.object.etag.expect("an ETag");
    s3.put("lists", "a/list.txt", list(5001));
    refused(&[], &["has changed since", &before]);
    s3.put("lists", "a/list.txt", list(5000));

    // The table was deleted and made anew.
    dynamo.set_describe("TableId", json!("another"));
    refused(&[], &["made anew"]);
    dynamo.set_describe("TableId", json!("2b1ff2c8-5f5e-4f7e-9d5c-0a7f3b3c1d2e"));

    let whole = std::fs::read(keep.path("checkpoint")).expect("a checkpoint");
    for damaged in [&whole[..whole.len() / 2], b"", b"{}\n"] {
        std::fs::write(keep.path("checkpoint"), damaged).expect("written");
        refused(&[], &["is damaged"]);
    }
    assert_eq!(dynamo.stats().calls, calls, "nothing was written");

    let again = keep
        .ingest(URI, &["--restart"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    again.assert_status(3);
    assert_eq!(again.report["resumed_from"], json!(null));
    assert_whole(&again, 5000);
    assert!(!keep.path("checkpoint").exists());
}

#[test]
fn a_file_goes_on_unless_it_was_touched() {
    let (s3, dynamo, keep) = (s3(""), FakeDynamo::start(table()), Keep::new());
    let file = keep.text("list.txt");
    std::fs::write(&file, list(5000)).expect("written");
    leave(&keep, &s3, &dynamo, &[&file]);
    let saved = std::fs::read(keep.path("checkpoint")).expect("a checkpoint");
    let ended = keep.ingest(&file, &[]).dynamo(&dynamo).end();
    ended.assert_status(3);
    assert_whole(&ended, 5000);

    std::fs::write(keep.path("checkpoint"), saved).expect("written");
    std::fs::write(&file, [list(5000), b"\n".to_vec()].concat()).expect("written");
    let ended = keep.ingest(&file, &[]).dynamo(&dynamo).end();
    ended.assert_status(2);
    ended.assert_says(&["has changed since", "its length was"]);
}

#[test]
fn of_several_sources_those_that_are_done_are_not_read_again() {
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
    assert_eq!(checkpoint.behind.count(), 1, "it was in the second");
    assert_eq!(checkpoint.behind.kept[0].books.lines, 1000);
    s3.set_plan(S3Plan::default());
    let before = s3.stats().gets.len();
    let ended = keep
        .ingest(sources[0], &sources[1..])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    ended.assert_status(0);
    ended.assert_books([3000, 3000, 0, 0, 0, 0]);
    let lines: Vec<u64> = (0..3)
        .map(|i| ended.report["sources"][i]["lines"].as_u64().expect("lines"))
        .collect();
    assert_eq!(lines, [1000, 1000, 1000]);
    let gets = s3.stats().gets;
    let ranges: Vec<_> = gets[before..]
        .iter()
        .map(|g| (g.key.as_str(), g.range.is_some()))
        .collect();
    // The first is opened to see that the list is one, and no further.
    assert_eq!(ranges, [("1", false), ("2", true), ("3", false)]);
    assert_eq!(dynamo.stop().distinct, 3000);
}

#[test]
fn a_run_that_was_done_but_for_its_last_word_is_done_at_once() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    leave(&keep, &s3, &dynamo, &[URI]);
    let mut checkpoint = keep.checkpoint();
    let missing = 5000 - checkpoint.books.lines;
    checkpoint.books.lines += missing;
    checkpoint.books.written += missing;
    let read = checkpoint.read.as_mut().expect("a source");
    read.books = checkpoint.books;
    read.lines = 5000;
    read.bytes = list(5000).len() as u64;
    std::fs::write(keep.path("checkpoint"), checkpoint.to_text()).expect("written");
    let calls = dynamo.stats().calls;
    let ended = keep.ingest(URI, &[]).s3(&s3).dynamo(&dynamo).end();
    ended.assert_status(3);
    assert_eq!(ended.number("lines"), 5000);
    assert_eq!(dynamo.stats().calls, calls);
    assert!(!keep.path("checkpoint").exists());
}

#[test]
fn the_usual_place_is_in_the_folder_for_state() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    dynamo.set_plan(FaultPlan::default().from(60, Fault::AccessDenied));
    let run = |args: &[&str]| {
        let run = Run::ingest(URI, args).s3(&s3).dynamo(&dynamo);
        run.env("XDG_STATE_HOME", &keep.text("state")).end()
    };
    let left = || std::fs::read_dir(keep.path("state/hashferry")).map_or(0, Iterator::count);
    run(&[]).assert_status(1);
    assert_eq!(left(), 1);
    dynamo.set_plan(FaultPlan::default());
    // Neither a dry run nor one without a checkpoint looks at it.
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
fn a_pipe_has_no_checkpoint_and_asking_for_one_is_refused() {
    let (dynamo, keep) = (FakeDynamo::start(table()), Keep::new());
    keep.ingest("-", &[])
        .input(list(100))
        .dynamo(&dynamo)
        .end()
        .assert_status(2);
    let ended = Run::ingest::<&str>("-", &[])
        .input(list(100))
        .dynamo(&dynamo)
        .end();
    ended.assert_status(3);
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_known_before_the_first_write() {
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
            .end();
        ended.assert_status(2);
        ended.assert_says(&["checkpoint"]);
    }
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn a_checkpoint_that_can_no_longer_be_saved_stops_the_run_with_its_books() {
    let (s3, dynamo, keep) = (s3(list(60_000)), FakeDynamo::start(table()), Keep::new());
    let place = keep.text("folder/checkpoint");
    let args = ["--checkpoint", &place, "--rate", "2000"];
    let started = Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo).start();
    wait(&dynamo, 500);
    std::fs::remove_dir_all(keep.path("folder")).expect("removed");
    std::fs::write(keep.path("folder"), b"in the way").expect("written");
    let ended = started.end();
    ended.assert_status(1);
    ended.assert_says(&["cannot save the checkpoint"]);
    assert_eq!(ended.number("written"), dynamo.stop().items_written);
    assert!(ended.number("failed") > 0);
}

#[test]
fn a_checkpoint_can_lie_in_s3() {
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
    assert_eq!(started.end().status, 4);
    let saved = std::fs::read(Path::new(&dir).join("s3/lists/checkpoints/one")).expect("an object");
    Checkpoint::from_text(&saved).expect("whole");
    let ended = run("max").end();
    assert_eq!(ended.status, 3, "{}", ended.stderr);
    ended.assert_says(&["taking up an earlier run", "s3://lists/checkpoints/one"]);
    assert!(!dir.join("s3/lists/checkpoints/one").exists());
}

/// Says who holds what `path` is about, as its lock file does.
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
fn a_run_that_is_started_twice_runs_once() {
    let (s3, dynamo, keep) = (s3(list(5000)), FakeDynamo::start(table()), Keep::new());
    // Retries are held too, so that the first one runs until it is killed.
    dynamo.set_plan(FaultPlan::default().from(3, Fault::HoldUntil(1_000_000)));
    let run = |args: &[&str]| keep.ingest(URI, args).s3(&s3).dynamo(&dynamo);
    let mut first = run(&["--rate", "max"]).start();
    dynamo
        .wait_until(LIMIT, |s| s.calls >= 3)
        .expect("it writes");
    let rejects = std::fs::read(keep.path("rejects")).expect("a file");
    for args in [&[][..], &["--restart"], &["--distinct", "exact"]] {
        let second = run(args).end();
        second.assert_status(2);
        second.assert_says(&[
            "another run has the checkpoint",
            &keep.text("checkpoint"),
            &holder(&keep.path("checkpoint")),
            "wait for its end, or give --checkpoint PATH",
        ]);
    }
    let now = std::fs::read(keep.path("rejects")).expect("a file");
    assert!(now.starts_with(&rejects), "it is the first one's still");
    // A dry run keeps no checkpoint, and needs no lock of it; the rejected lines are
    // another matter.
    let dry = Run::ingest(URI, &["--dry-run"]).s3(&s3).dynamo(&dynamo);
    dry.end().assert_status(3);
    let dry = run(&["--dry-run"]).end();
    dry.assert_status(2);
    dry.assert_says(&["another run has the rejected lines", &keep.text("rejects")]);
    // One without a checkpoint takes no lock, and says so.
    dynamo.set_plan(FaultPlan::default());
    let off = Run::ingest(URI, &["--checkpoint", "off"]);
    let off = off.s3(&s3).dynamo(&dynamo).end();
    off.assert_status(3);
    off.assert_says(&["no checkpoint and no lock"]);

    // A process that was killed holds no lock, though its file is still there.
    first.kill();
    first.end();
    assert!(keep.path("checkpoint.lock").exists());
    let last = run(&["--rate", "max"]).end();
    last.assert_status(3);
    assert_whole(&last, 5000);
    assert!(!keep.path("checkpoint.lock").exists());
    assert_eq!(dynamo.stop().distinct, distinct(5000));
}

#[test]
fn a_refresh_is_run_once_at_a_time_too() {
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
    let second = run().end();
    assert_eq!(second.status, 2, "{}", second.stderr);
    second.assert_says(&["another run has the checkpoint", &holder(Path::new(&place))]);
    first.kill();
    first.end();
}

#[test]
fn answers_of_a_look_up_are_written_by_one_run_at_a_time() {
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
        .expect("it has begun");
    for args in [&[][..], &["--resume"], &["--overwrite"]] {
        let second = run(args).end();
        second.assert_status(2);
        second.assert_says(&[
            "another run has the answers",
            &holder(&keep.path("answers.jsonl")),
        ]);
    }
    first.kill();
    first.end();
    let last = Run::lookup("-", &["--output", &output, "--resume"]);
    last.dynamo(&dynamo).input(line).end().assert_status(0);
    assert!(!keep.path("answers.jsonl.lock").exists());
}

/// A run whose checkpoint is an object beside its list, saved every 50 ms.
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

/// The checkpoint of another run of the same, at its beginning.
fn of_another_run(s3: &FakeS3, dynamo: &FakeDynamo) -> bytes::Bytes {
    dynamo.set_plan(FaultPlan::default().from(1, Fault::AccessDenied));
    fenced(s3, dynamo, &[]).end().assert_status(1);
    dynamo.set_plan(FaultPlan::default());
    let bytes = s3.bytes("lists", "checkpoint").expect("it is left");
    s3.delete("lists", "checkpoint");
    bytes
}

#[test]
fn each_save_in_s3_is_conditional_on_the_one_before() {
    let (s3, dynamo) = (s3(list(3000)), FakeDynamo::start(table()));
    fenced(&s3, &dynamo, &["--rate", "1000"])
        .end()
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
    assert_eq!(different.len(), later.len(), "each has the ETag of its own");
    assert_eq!(last.method, "DELETE");
    assert!(last.if_match.is_some());
}

#[test]
fn a_save_whose_response_was_lost_is_recognized_as_this_runs_own() {
    for k in [1, 2, 3] {
        for fault in [
            SaveFault::DoneThen412,
            SaveFault::DoneThenReset,
            SaveFault::Conflict,
        ] {
            let (s3, dynamo) = (s3(list(2000)), FakeDynamo::start(table()));
            s3.set_plan(S3Plan::default().save(k, fault.clone()));
            let ended = fenced(&s3, &dynamo, &["--rate", "2000"]).end();
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
fn a_run_whose_checkpoint_another_one_has_stops_in_good_order() {
    let n = 20_000;
    let (s3, dynamo) = (s3(list(n)), FakeDynamo::start(table()));
    let other = of_another_run(&s3, &dynamo);
    let before = dynamo.stats().items_written;
    s3.set_plan(S3Plan::default().save(4, SaveFault::After(other.clone())));
    let ended = fenced(&s3, &dynamo, &["--rate", "4000"]).end();
    ended.assert_status(1);
    ended.assert_says(&[
        "another run has the checkpoint s3://lists/checkpoint: process ",
        "let that run go on",
    ]);
    assert!(!ended.stderr.contains("To go on where"), "{}", ended.stderr);
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

    // The object was taken away: the run that did it is done.
    s3.delete("lists", "checkpoint");
    s3.set_plan(S3Plan::default().save(3, SaveFault::AfterDelete));
    let ended = fenced(&s3, &dynamo, &["--rate", "4000"]).end();
    ended.assert_status(1);
    ended.assert_says(&["another run has the checkpoint"]);
    assert!(s3.bytes("lists", "checkpoint").is_none());
}

#[test]
fn the_second_run_of_a_checkpoint_in_s3_has_it_and_the_first_stops() {
    let n = 20_000;
    let (s3, dynamo) = (s3(list(n)), FakeDynamo::start(table()));
    let first = fenced(&s3, &dynamo, &["--rate", "4000"]).start();
    wait(&dynamo, 2000);
    let second = fenced(&s3, &dynamo, &["--rate", "max"]).end();
    let first = first.end();
    // The second may meet a save of the first between its reading and its claim.
    match second.status {
        2 => {
            second.assert_says(&["another run has the checkpoint"]);
            first.assert_status(3);
            assert_whole(&first, n);
        }
        _ => {
            second.assert_status(3);
            assert_whole(&second, n);
            first.assert_status(1);
            first.assert_says(&["another run has the checkpoint"]);
        }
    }
    assert_eq!(dynamo.stop().distinct, distinct(n));
}

#[test]
fn a_claim_that_comes_too_late_writes_nothing() {
    let (s3, dynamo) = (s3(list(5000)), FakeDynamo::start(table()));
    let (left, other) = (of_another_run(&s3, &dynamo), of_another_run(&s3, &dynamo));
    s3.put("lists", "checkpoint", left);
    s3.set_plan(S3Plan::default().save(1, SaveFault::After(other)));
    let written = dynamo.stats().items_written;
    let ended = fenced(&s3, &dynamo, &[]).end();
    ended.assert_status(2);
    ended.assert_says(&["nothing was written", "another run has the checkpoint"]);
    assert_eq!(dynamo.stop().items_written, written);
}

#[test]
fn a_checkpoint_of_a_program_without_fences_is_resumed_and_removed() {
    let (s3, dynamo) = (s3(list(5000)), FakeDynamo::start(table()));
    let other = of_another_run(&s3, &dynamo);
    let mut checkpoint = Checkpoint::from_text(&other).expect("whole");
    assert!(checkpoint.saved_by.take().is_some_and(|by| by.sequence > 0));
    let text = checkpoint.to_text();
    assert!(!text.contains("saved_by"));
    s3.put("lists", "checkpoint", text.clone());
    let ended = fenced(&s3, &dynamo, &[]).end();
    ended.assert_status(3);
    ended.assert_says(&["taking up an earlier run"]);
    assert!(s3.bytes("lists", "checkpoint").is_none());
    // Of a run that begins again it is replaced, whatever it says.
    for left in [text, "damaged".to_owned()] {
        s3.put("lists", "checkpoint", left);
        fenced(&s3, &dynamo, &["--restart"]).end().assert_status(3);
        assert!(s3.bytes("lists", "checkpoint").is_none());
    }
}

#[test]
fn a_server_without_conditional_writes_is_said_before_the_first_write() {
    let (s3, dynamo) = (s3(list(100)), FakeDynamo::start(table()));
    s3.set_plan(S3Plan::default().save(1, SaveFault::NotImplemented));
    let ended = fenced(&s3, &dynamo, &[]).end();
    ended.assert_status(2);
    ended.assert_says(&["conditional writes", "give --checkpoint PATH"]);
    assert_eq!(dynamo.stats().calls, 0);
    // One that only knows no conditional deletes is asked without.
    s3.set_plan(S3Plan::default().save(2, SaveFault::NotImplemented));
    fenced_every("5s", &s3, &dynamo, &["--rate", "max"])
        .end()
        .assert_status(3);
    assert!(s3.bytes("lists", "checkpoint").is_none());
    let saves = s3.stop().saves;
    let deletes: Vec<_> = saves.iter().filter(|s| s.method == "DELETE").collect();
    assert_eq!(deletes.len(), 2);
    assert!(deletes[0].if_match.is_some() && deletes[1].if_match.is_none());
}
