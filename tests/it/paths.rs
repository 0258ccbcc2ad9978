//! Tables of paths, written by the binary: each line is normalised and hashed as by
//! `hashferry normalize`, and items store the rules.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

fn dynamo(key: &str) -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new(key, key, KeyType::S))
}

fn run(command: &str, list: impl AsRef<[u8]>, dynamo: &FakeDynamo, args: &[&str]) -> Run {
    let args = [&["--paths", "--rate", "max"], args].concat();
    let run = match command {
        "verify" => Run::verify("list", &args),
        _ => Run::ingest("list", &args),
    };
    run.file("list", list.as_ref()).dynamo(dynamo)
}

fn ingest(list: impl AsRef<[u8]>, dynamo: &FakeDynamo, args: &[&str]) -> Finished {
    run("ingest", list, dynamo, args).rejects().run()
}

/// Hashes of paths by `hashferry normalize`, which has separate tests.
fn hashes(list: &str, args: &[&str]) -> BTreeMap<String, (String, String)> {
    let args = [&["normalize", "--json"], args].concat();
    let ended = Run::new(&args).input(list).run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let lines = ended.stdout.lines();
    lines
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let text = |name: &str| line[name].as_str().expect("text").to_owned();
            (text("sha256"), (text("path"), text("normalized")))
        })
        .collect()
}

/// The table's items, by their keys as text.
fn items(dynamo: &FakeDynamo) -> BTreeMap<String, Value> {
    let items = dynamo.items().into_iter();
    items
        .map(|(key, item)| (String::from_utf8(key).expect("text"), item))
        .collect()
}

#[test]
fn items_hold_the_hash_of_a_path_and_the_rules() {
    let list = "/home/alice/.bashrc\n/etc/passwd\n\nD:\\Users\\bob\\x.exe\r\n# no comment\n/home/carol/.bashrc\n";
    let dynamo = dynamo("sha256");
    let ended = ingest(list, &dynamo, &["--source", "gold"]);
    ended.assert_status(0);
    // Both .bashrc have the same normalised path.
    ended.assert_line_counts([6, 4, 1, 0, 1, 0]);
    ended.assert_stderr(&[
        "list is a list of paths, one per line, normalised by rules v2 (users: ubuntu, Administrator) and \
         hashed with SHA-256",
    ]);
    let got = items(&dynamo);
    let expected = hashes(list, &[]).into_keys().map(|hash| {
        let item = json!({"sha256": {"S": hash}, "rules": {"S": "v2"}, "source": {"S": "gold"}});
        (hash, item)
    });
    assert_eq!(got, expected.collect());

    let verified = run("verify", list, &dynamo, &[]).run();
    verified.assert_status(0);
    verified.assert_verified([6, 4, 0, 0, 1, 0, 1, 0]);
}

#[test]
fn other_rules_and_users_are_stored_and_must_match() {
    let list = "/home/alice/.bashrc\nD:\\Users\\bob\\x.exe\n/usr/bin/env\n";
    for (args, rules) in [
        (&["--rules", "v3"][..], json!({"rules": {"S": "v3"}})),
        (
            &["--unix-user", "ec2-user"],
            json!({"rules": {"S": "v2"}, "unix_user": {"S": "ec2-user"}}),
        ),
        (
            &["--rules", "v3", "--windows-user", "Admin"],
            json!({"rules": {"S": "v3"}, "windows_user": {"S": "Admin"}}),
        ),
    ] {
        let dynamo = dynamo("sha256");
        ingest(list, &dynamo, args).assert_status(0);
        let expected = hashes(list, args).into_keys().map(|hash| {
            let mut item = rules.clone();
            item["sha256"] = json!({"S": hash});
            (hash, item)
        });
        assert_eq!(items(&dynamo), expected.collect(), "{args:?}");
        run("verify", list, &dynamo, args).run().assert_status(0);
        // The table completes missing options; contradicting options are an error.
        run("verify", list, &dynamo, &[]).run().assert_status(0);
        for command in ["ingest", "verify"] {
            let other = run(command, list, &dynamo, &["--unix-user", "someone"]).run();
            other.assert_status(2);
            other.assert_stderr(&["the given rules do not fit table sha256", "give --rules v"]);
        }
    }
}

#[test]
fn items_can_hold_the_original_and_the_normalised_path() {
    let list = "\u{FEFF}/home/\u{E9}lo\u{EF}se/a \"b\"\n/home/x\ty\r\n";
    let dynamo = dynamo("sha256");
    let columns = ["--attr-from", "path=path", "--attr-from", "as=normalized"];
    ingest(list, &dynamo, &columns).assert_status(0);
    let got: Vec<(String, String)> = (items(&dynamo).into_values())
        .map(|item| {
            let text = |name: &str| item[name]["S"].as_str().expect("text").to_owned();
            (text("path"), text("as"))
        })
        .collect();
    let expected: Vec<_> = hashes(list, &[]).into_values().collect();
    assert_eq!(got, expected);
    assert!(got.contains(&("/home/x\ty".into(), "/home/ubuntu".into())));
    let ended = ingest(list, &dynamo, &["--attr-from", "x=inode"]);
    ended.assert_status(2);
    ended.assert_stderr(&[
        "no column \"inode\"",
        "the columns of a list of paths are path and normalized",
    ]);
}

#[test]
fn invalid_paths_are_rejected_with_their_reason() {
    let mut list = b"/a\n/\xFF\n/\xED\xA0\x80\n/a\0b\n".to_vec();
    list.extend(std::iter::repeat_n(b'x', 65_537));
    let dynamo = dynamo("sha256");
    let ended = ingest(list, &dynamo, &["--max-rejects", "10"]);
    ended.assert_status(3);
    ended.assert_line_counts([5, 1, 0, 4, 0, 0]);
    let reason = |r: &Value| r["reason"].as_str().expect("a reason").to_owned();
    let reasons: Vec<String> = ended.rejects.iter().map(reason).collect();
    assert_eq!(reasons, ["utf8", "utf8", "nul", "overlong"]);
}

#[test]
fn options_that_contradict_paths_are_an_error_before_the_first_write() {
    let dynamo = dynamo("md5");
    let assert_error = |args: &[&str], says: &[&str]| {
        let ended = ingest("/a\n", &dynamo, args);
        assert_eq!(ended.status, 2, "{args:?}: {}", ended.stderr);
        ended.assert_stderr(says);
    };
    assert_error(&["--table", "md5"], &["hashed with SHA-256", "says md5"]);
    let other_key = ["--table", "md5", "--hash", "sha256"];
    assert_error(&other_key, &["its partition key is named md5"]);
    let rules = [&other_key[..], &["--key", "md5", "--attr", "rules=v1"]].concat();
    assert_error(&rules, &["the attribute rules is given twice"]);
    assert_error(&["--format", "csv"], &["cannot be used with"]);
    assert_error(&["--unix-user", "a/b"], &["one component of a path"]);
    assert_error(&["--rules", "v4"], &["expected v2 or v3"]);
    assert_eq!(dynamo.stats().calls, 0);

    for flag in [
        ["--rules", "v2"],
        ["--unix-user", "x"],
        ["--windows-user", "x"],
    ] {
        let args = [&["--table", "md5"], &flag[..]].concat();
        let ended = Run::ingest("list", &args).file("list", b"x").run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[flag[0], "needs lists of paths", "give --paths"]);
    }
}

#[test]
fn a_run_resumes_only_with_the_same_rules() {
    let n = 20_000;
    let list: String = (0..n).map(|i| format!("/home/u/{i}\n")).collect();
    let dynamo = dynamo("sha256");
    let keep = tempfile::tempdir().expect("a folder");
    let path = keep.path().join("list");
    std::fs::write(&path, &list).expect("a file");
    let (path, checkpoint) = (
        path.to_str().expect("text"),
        keep.path().join("checkpoint").display().to_string(),
    );
    let run_with = |args: &[&str]| {
        let args = [&["--paths", "--checkpoint", &checkpoint], args].concat();
        Run::ingest(path, &args).dynamo(&dynamo)
    };
    let started = run_with(&["--rate", "4000"]).start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 5000)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    started.wait().assert_status(4);
    for args in [["--rules", "v3"], ["--unix-user", "admin"]] {
        let ended = run_with(&args).run();
        ended.assert_status(2);
        ended.assert_stderr(&["the given rules do not fit table sha256", "give --rules v2"]);
    }
    let ended = run_with(&["--rate", "max"]).run();
    ended.assert_status(0);
    ended.assert_line_counts([n, n, 0, 0, 0, 0]);
    let expected: Vec<String> = hashes(&list, &[]).into_keys().collect();
    assert_eq!(items(&dynamo).into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn a_plan_counts_paths_and_suggests_commands_for_paths() {
    let list: String = (0..2_000).map(|i| format!("/home/u/{i}\n")).collect();
    let args = [
        "plan",
        "list",
        "--paths",
        "--unix-user",
        "ec2-user",
        "--exact",
    ];
    let ended = Run::new(&args).file("list", list.as_bytes()).run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let output = &ended.stdout;
    assert!(output.contains("2,000"), "{output}");
    assert!(output.contains("--paths --unix-user ec2-user"), "{output}");
}
