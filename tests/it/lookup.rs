//! Tests of `hashferry lookup --table`: the real binary, scripted fake servers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::binary::{Finished, Run, SECRET, answers};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config};
use serde_json::{Value, json};

/// The first `n` SHA-256 of Debian's packages, upper case.
fn hashes(n: usize) -> Vec<String> {
    let list = &include_bytes!("../data/debian-packages.sha256.txt.zst")[..];
    let list = String::from_utf8(zstd::decode_all(list).expect("a list")).expect("text");
    list.lines().take(n).map(|l| l.trim().to_owned()).collect()
}

fn text(hashes: &[String]) -> String {
    hashes.iter().map(|h| format!("{h}\n")).collect()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// A table with every second hash.
fn every_second(config: DynamoConfig, hashes: &[String]) -> FakeDynamo {
    let dynamo = FakeDynamo::start(config);
    for hash in hashes.iter().step_by(2) {
        dynamo.put(json!({"sha256": {"S": hash}, "source": {"S": "debian"}, "n": {"N": "7"}}));
    }
    dynamo
}

/// The expected answers for a table of [`every_second`].
fn expected(hashes: &[String]) -> Vec<Value> {
    let each = hashes.iter().enumerate();
    each.map(|(i, hash)| match i % 2 {
        0 => json!({"input": hash, "hash": hash, "status": "known", "source": "debian", "n": 7}),
        _ => json!({"input": hash, "hash": hash, "status": "unknown"}),
    })
    .collect()
}

fn assert_answers(ended: &Finished, expected: &[Value]) {
    assert_same(&ended.answers(), expected);
}

/// Shows the first difference instead of both lists.
fn assert_same(got: &[Value], expected: &[Value]) {
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got, expected, "answer {i}");
    }
    assert_eq!(got.len(), expected.len());
}

const FAST: [&str; 2] = ["--rate", "max"];

#[test]
fn answers_are_complete_and_in_list_order_despite_faults_of_the_service() {
    let hashes = hashes(5000);
    let plan = FaultPlan::default()
        .read_at(1, Fault::HoldUntil(4))
        .read_at(3, Fault::Unprocessed(40))
        .read_at(5, Fault::HoldUntil(7))
        .read_at(6, Fault::Throttle)
        .read_at(8, Fault::DropBefore)
        .read_at(10, Fault::CutAnswer)
        .read_at(13, Fault::Http(500, "InternalServerError"))
        .read_at(15, Fault::UnprocessedAll)
        .read_at(20, Fault::Garbage);
    let dynamo = every_second(table().plan(plan), &hashes);
    let s3 = FakeS3::start(S3Config::default().object("lists", "a.txt", text(&hashes)));
    let ended = Run::lookup("s3://lists/a.txt", &FAST)
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes));
    ended.assert_looked_up([5000, 2500, 2500, 0, 0, 0]);
    let report = &ended.report;
    assert_eq!(report["command"], "lookup");
    assert_eq!(report["outcome"], "complete");
    assert_eq!(
        (&report["hash"], &report["table"]),
        (&json!("sha256"), &json!("sha256"))
    );
    assert_eq!(
        (ended.number("throttled"), ended.number("unprocessed")),
        (1, 140)
    );
    // 0.5 RCU of it are the Scan that detects the table's contents.
    assert_eq!(report["consumed_rcu"], 2500.5);
    ended.assert_stderr(&["every line has its answer", "eventually consistent reads"]);
    let stats = dynamo.stop();
    assert_eq!(stats.keys_asked[1], 0);
    assert_eq!(stats.calls, 0, "nothing is written");
}

#[test]
fn invalid_lines_have_answers_with_their_reasons() {
    let hashes = hashes(2);
    let dynamo = every_second(table(), &hashes);
    let lower = hashes[0].to_lowercase();
    let list = format!(
        "SHA-256\n\n# comment\r\n{lower}\r\n{}  /bin/x y\nSHA256 (z) = {}\n",
        hashes[1], hashes[0]
    );
    let ended = Run::lookup("-", &FAST)
        .input(list.clone())
        .dynamo(&dynamo)
        .run();
    // None of these lines is an error of the list.
    ended.assert_status(0);
    let blank = |input: &str, reason: &str| json!({"input": input, "hash": null, "status": "invalid", "reason": reason});
    let known = |input: &str| json!({"input": input, "hash": hashes[0], "status": "known", "source": "debian", "n": 7});
    let start = [
        blank("SHA-256", "header"),
        blank("", "empty"),
        blank("# comment", "comment"),
        known(&lower),
        json!({"input": format!("{}  /bin/x y", hashes[1]), "hash": hashes[1], "status": "unknown"}),
        known(&format!("SHA256 (z) = {}", hashes[0])),
    ];
    assert_answers(&ended, &start);
    assert_eq!(ended.number("blank"), 3);
    ended.assert_looked_up([6, 2, 1, 3, 0, 0]);

    let mut bytes = list.into_bytes();
    bytes.extend(b"no hash\ncaf\xE9\na\0b\n");
    bytes.extend([b'x'; 70_000]);
    let ended = Run::lookup("-", &FAST).input(bytes).dynamo(&dynamo).run();
    ended.assert_status(3);
    let got = ended.answers();
    assert_same(&got[..6], &start);
    let rest: Vec<_> = got[6..]
        .iter()
        .map(|a| (&a["input"], &a["reason"]))
        .collect();
    assert_eq!(
        rest,
        [
            (&json!("no hash"), &json!("length")),
            (&json!("caf\u{FFFD}"), &json!("utf8")),
            (&json!("a\0b"), &json!("nul")),
            (&json!("x".repeat(256)), &json!("overlong")),
        ]
    );
    assert_eq!(ended.report["outcome"], "rejects");

    // An empty list is complete without answers.
    let ended = Run::lookup("-", &FAST).input("").dynamo(&dynamo).run();
    ended.assert_status(0);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_list_without_a_hash_is_a_failure() {
    let dynamo = FakeDynamo::start(table());
    let md5s: String = (0..60).map(|i| format!("{i:032x}\n")).collect();
    let look_up = |list: &str, args: &[&str]| {
        let run = Run::lookup("list.txt", &[&FAST[..], args].concat());
        run.file("list.txt", list.as_bytes()).dynamo(&dynamo).run()
    };
    let ended = look_up(&md5s, &[]);
    ended.assert_status(1);
    ended.assert_looked_up([60, 0, 0, 60, 0, 0]);
    assert!(ended.answers().iter().all(|a| a["status"] == "invalid"));
    assert_eq!(ended.report["outcome"], "failed");
    ended.assert_stderr(&[
        "none of the 60 lines is a SHA-256",
        "they look like MD5 (32 hexadecimal digits)",
    ]);
    let ended = look_up("\n# x\n", &[]);
    ended.assert_status(1);
    ended.assert_stderr(&["none of the 2 lines is a SHA-256: all of them are skipped"]);
    let ended = look_up("", &[]);
    ended.assert_status(1);
    ended.assert_stderr(&["list.txt has no lines"]);
    let ended = look_up("\0\n", &["--paths"]);
    ended.assert_status(1);
    ended.assert_stderr(&["none of the 1 lines is a path"]);
}

#[test]
fn a_duplicate_hash_is_requested_once() {
    let few = hashes(150);
    let many: Vec<String> = (0..6000).map(|i| few[i * 7 % 150].clone()).collect();
    let dynamo = every_second(table(), &few);
    let answer: BTreeMap<&String, Value> = few.iter().zip(expected(&few)).collect();
    let ended = Run::lookup("-", &FAST)
        .input(text(&many))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    let expected: Vec<Value> = many.iter().map(|h| answer[h].clone()).collect();
    assert_answers(&ended, &expected);
    assert_eq!(ended.number("repeated"), 5850);
    assert_eq!(dynamo.stats().keys_asked, [150, 0]);
}

#[test]
fn only_and_unordered_change_the_output_and_not_the_counts() {
    let hashes = hashes(2000);
    let dynamo = every_second(
        table().plan(FaultPlan::default().read_at(1, Fault::HoldUntil(15))),
        &hashes,
    );
    let all = expected(&hashes);
    let ended = Run::lookup("-", &["--rate", "max", "--unordered", "--consistent"])
        .input(text(&hashes))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    let by_input = |answers: Vec<Value>| -> BTreeMap<String, Value> {
        let each = answers.into_iter();
        each.map(|a| (a["input"].as_str().expect("text").to_owned(), a))
            .collect()
    };
    let got = ended.answers();
    assert_eq!(got.len(), 2000);
    assert!(got[0] != all[0], "the first call's answers are last");
    assert_eq!(by_input(got), by_input(all.clone()));
    assert_eq!(dynamo.stats().keys_asked, [0, 2000]);

    for only in ["known", "unknown"] {
        let ended = Run::lookup("-", &["--rate", "max", "--only", only])
            .input(text(&hashes))
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
        let expected: Vec<Value> = all
            .iter()
            .filter(|a| a["status"] == only)
            .cloned()
            .collect();
        assert_answers(&ended, &expected);
        ended.assert_looked_up([2000, 1000, 1000, 0, 0, 0]);
    }
}

#[test]
fn binary_keys_sort_keys_and_other_algorithms_are_looked_up() {
    let md5 = [
        "92E792C43C35E96FED3F9566083326FC",
        "00112233445566778899AABBCCDDEEFF",
    ];
    // The name of the key does not give the algorithm.
    let dynamo =
        FakeDynamo::start(DynamoConfig::new("t", "pk", KeyType::B).sort("kind", KeyType::S));
    use base64::Engine as _;
    let raw: Vec<u8> = (0..16)
        .map(|i| u8::from_str_radix(&md5[0][i * 2..i * 2 + 2], 16).expect("hex"))
        .collect();
    let key = base64::engine::general_purpose::STANDARD.encode(raw);
    dynamo.put(json!({"pk": {"B": key}, "kind": {"S": "md5"}, "x": {"L": [{"N": "1"}, {"NULL": true}, {"BOOL": false}]},
        "status": {"S": "unknown"}}));
    let list = text(&md5.map(str::to_owned));
    let ended = Run::lookup("-", &["--table", "t", "--attr", "kind=md5"])
        .input(list.clone())
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    assert_answers(
        &ended,
        &[
            json!({"input": md5[0], "hash": md5[0], "status": "known", "kind": "md5", "x": [1, null, false],
                "item.status": "unknown"}),
            json!({"input": md5[1], "hash": md5[1], "status": "unknown"}),
        ],
    );
    ended.assert_stderr(&["using md5 for table t, by the length of its keys"]);
    let ended = Run::lookup("-", &["--table", "t"])
        .input(list)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["kind"]);
    let nothing = || {
        Run::lookup("-", &["--table", "t", "--attr", "kind=x"])
            .input("nothing\nhere\n")
            .dynamo(&dynamo)
            .run()
    };
    // The algorithm comes from the table's items, or else from the list.
    nothing().assert_looked_up([2, 0, 0, 2, 0, 0]);
    dynamo.deny("Scan");
    let ended = nothing();
    ended.assert_status(2);
    ended.assert_stderr(&["have no hash", "--hash"]);
}

#[test]
fn items_with_other_path_rules_cause_a_warning() {
    // Without the Scan, only found items have the table's rules.
    let dynamo = FakeDynamo::start(table().plan(FaultPlan::default().deny("Scan")));
    let ingest = |rules: &[&str]| {
        let args = [&["--paths", "--rate", "max", "--source", "gold"], rules].concat();
        let ended = Run::ingest("-", &args)
            .input("/home/a/x\n/bin/sh\n")
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
    };
    ingest(&[]);
    let lookup = |args: &[&str]| {
        let args = [&["--paths", "--rate", "max"], args].concat();
        Run::lookup("-", &args)
            .input("/home/bob/x\n/bin/sh\n\n/bin/other\n/a\0b")
            .dynamo(&dynamo)
            .run()
    };
    let ended = lookup(&[]);
    ended.assert_status(3);
    let fields = |a: &Value| {
        json!([
            a["status"],
            a["normalized"],
            a["rules"],
            a["item.rules"],
            a["source"],
            a["reason"]
        ])
    };
    let got: Vec<Value> = ended.answers().iter().map(fields).collect();
    assert_eq!(
        got,
        [
            json!(["known", "/home/ubuntu/x", "v2", "v2", "gold", null]),
            json!(["known", "/bin/sh", "v2", "v2", "gold", null]),
            json!(["invalid", null, null, null, null, "empty"]),
            json!(["unknown", "/bin/other", "v2", null, null, null]),
            json!(["invalid", null, null, null, null, "nul"]),
        ]
    );
    assert_eq!(
        (ended.number("other_rules"), &ended.report["rules"]),
        (0, &json!("v2"))
    );
    assert!(!ended.stderr.contains("other rules"), "{}", ended.stderr);

    // With other rules or users, the found items cause one warning in the log.
    for args in [&["--rules", "v3"][..], &["--unix-user", "admin"]] {
        let ended = lookup(args);
        ended.assert_status(3);
        assert_eq!(ended.number("other_rules"), 1, "{args:?}");
        ended.assert_looked_up([5, 1, 2, 2, 0, 0]);
        assert_eq!(
            ended
                .stderr
                .matches("was built with other rules: v2")
                .count(),
            1,
            "{}",
            ended.stderr
        );
        ended.assert_stderr(&["unknown answers mean nothing"]);
    }
    let ended = Run::lookup("-", &["--rules", "v3"])
        .input("x\n")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["--rules needs a list of paths", "--paths"]);
}

#[test]
fn a_killed_run_resumes_after_its_last_whole_answer() {
    let hashes = hashes(3000);
    let dynamo = every_second(table(), &hashes);
    let whole = Run::lookup("list", &["--rate", "max", "--output", "answers"])
        .file("list", text(&hashes).as_bytes())
        .dynamo(&dynamo);
    let dir = whole.dir();
    let mut started = whole.start();
    started.wait_for_stderr("every line has its answer");
    let whole = std::fs::read_to_string(dir.join("answers")).expect("answers");
    started.wait().assert_status(0);
    assert_same(&answers(&whole), &expected(&hashes));

    for cut in [
        0,
        1,
        200,
        4321,
        whole.len() / 2,
        whole.len() - 1,
        whole.len(),
    ] {
        let run = Run::lookup(
            "list",
            &["--rate", "max", "--output", "answers", "--resume"],
        )
        .file("list", text(&hashes).as_bytes())
        .file("answers", &whole.as_bytes()[..cut])
        .dynamo(&dynamo);
        let before = dynamo.stats().keys_asked[0];
        let dir = run.dir();
        let mut started = run.start();
        started.wait_for_stderr("every line has its answer");
        let got = std::fs::read_to_string(dir.join("answers")).expect("answers");
        let ended = started.wait();
        ended.assert_status(0);
        assert_eq!(ended.stdout, "");
        assert_same(&answers(&got), &expected(&hashes));
        ended.assert_looked_up([3000, 1500, 1500, 0, 0, 0]);
        let answered = whole[..cut].matches('\n').count() as u64;
        assert_eq!(
            dynamo.stats().keys_asked[0] - before,
            3000 - answered,
            "cut at {cut}"
        );
        let resumed = Some(answered).filter(|n| *n > 0);
        assert_eq!(ended.report["resumed_from"], json!(resumed));
    }
}

#[cfg(unix)]
#[test]
fn a_run_killed_at_any_call_resumes() {
    let hashes = hashes(4000);
    for at in [2, 11, 29] {
        let plan = FaultPlan::default().reads_from(at, Fault::Stall);
        let dynamo = every_second(table().plan(plan), &hashes);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("answers").display().to_string();
        let args = [
            "--rate",
            "max",
            "--output",
            &path,
            "--resume",
            "--concurrency",
            "3",
        ];
        let mut started = Run::lookup("-", &args)
            .open_input(text(&hashes))
            .dynamo(&dynamo)
            .start();
        dynamo
            .wait_until(Duration::from_secs(60), |s| s.gets >= at + 2)
            .expect("calls");
        started.kill();
        assert_eq!(started.wait().status, -1);
        dynamo.set_plan(FaultPlan::default());
        let ended = Run::lookup("-", &args)
            .input(text(&hashes))
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
        let got = std::fs::read_to_string(&path).expect("answers");
        assert_same(&answers(&got), &expected(&hashes));
    }
}

#[test]
fn a_file_with_answers_to_another_list_is_not_changed() {
    let hashes = hashes(50);
    let dynamo = every_second(table(), &hashes);
    let answer = |h: &String| {
        let hash = h.to_uppercase();
        format!("{{\"input\":\"{h}\",\"hash\":\"{hash}\",\"status\":\"unknown\"}}\n")
    };
    let answered: String = hashes[..10].iter().map(answer).collect();
    let other = text(&hashes[1..]);
    // Line 4 differs; the last answered line is the same.
    let mut changed = hashes.clone();
    changed.swap(3, 40);
    for (list, answers, says) in [
        (
            other.as_str(),
            answered.as_str(),
            "does not answer line 1 of the input",
        ),
        (
            &text(&changed),
            &answered,
            "does not answer line 4 of the input",
        ),
        (
            &text(&hashes[..5]),
            &answered,
            "another list: this list has 5 lines",
        ),
        (&text(&hashes), "a list\n", "not an answer of a look-up"),
    ] {
        let run = Run::lookup("list", &["--output", "answers", "--resume"])
            .file("list", list.as_bytes())
            .file("answers", answers.as_bytes())
            .dynamo(&dynamo);
        let dir = run.dir();
        let mut started = run.start();
        started.wait_for_stderr("error:");
        let left = std::fs::read_to_string(dir.join("answers")).expect("answers");
        let ended = started.wait();
        ended.assert_status(2);
        ended.assert_stderr(&[says]);
        assert_eq!(left, answers);
    }
    assert_eq!(dynamo.stats().gets, 0);

    for (args, says) in [
        (&["--output", "answers"][..], "answers exists already"),
        (
            &["--output", "list", "--overwrite"],
            "names the list itself",
        ),
        (
            &["--output", "answers", "--resume", "--only", "known"],
            "--only",
        ),
        (
            &["--output", "answers", "--resume", "--unordered"],
            "--unordered",
        ),
        (&["--resume"], "--output"),
        (&["--output", "no/where"], "no/where"),
    ] {
        let ended = Run::lookup("list", args)
            .file("list", text(&hashes).as_bytes())
            .file("answers", b"mine")
            .dynamo(&dynamo)
            .run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[says]);
    }
    let ended = Run::lookup("list", &["--output", "answers", "--overwrite"])
        .file("list", text(&hashes).as_bytes())
        .file("answers", b"mine")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
}

#[cfg(unix)]
#[test]
fn a_run_does_not_resume_a_file_written_with_only() {
    let hashes = hashes(6);
    let dynamo = every_second(table(), &hashes);
    let list = [&hashes[0], &hashes[1], &hashes[1]]
        .map(|h| format!("{h}\n"))
        .concat();
    let args = ["--only", "unknown", "--output", "answers"];
    let first = Run::lookup("list", &args)
        .file("list", list.as_bytes())
        .dynamo(&dynamo);
    let dir = first.dir();
    let mut first = first.start();
    first.wait_for_stderr("every line has its answer");
    let filtered = std::fs::read(dir.join("answers")).expect("answers");
    first.wait().assert_status(0);
    assert!(!filtered.is_empty());
    let ended = Run::lookup("list", &["--output", "answers", "--resume"])
        .file("list", list.as_bytes())
        .file("answers", &filtered)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["does not answer line 1 of the input", "--only"]);
}

#[test]
fn report_and_answers_never_overwrite_the_list() {
    let dynamo = every_second(table(), &hashes(2));
    for (args, says) in [
        (
            &["--report", "./list"][..],
            "--report names the list itself",
        ),
        (
            &["--output", "./list", "--overwrite"],
            "--output names the list itself",
        ),
        (
            &["--output", "answers", "--resume", "--report", "./answers"],
            "name the same file",
        ),
    ] {
        let args = [&["lookup", "list", "--table", "sha256"], args].concat();
        let run = Run::new(&args)
            .file("list", b"x\n")
            .file("answers", b"")
            .dynamo(&dynamo);
        let dir = run.dir();
        let mut started = run.start();
        started.wait_for_stderr("error:");
        let left = std::fs::read(dir.join("list")).expect("the list");
        let ended = started.wait();
        assert_eq!((ended.status, &left[..]), (2, &b"x\n"[..]), "{args:?}");
        ended.assert_stderr(&[says]);
    }
}

#[test]
fn a_table_without_known_hashes_causes_a_warning() {
    let hashes = hashes(12);
    let dynamo = every_second(table(), &[]);
    let ended = Run::lookup("list", &FAST)
        .file("list", text(&hashes).as_bytes())
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_stderr(&["table sha256 is empty", "not one of 12 hashes is known"]);
    let dynamo = FakeDynamo::start(DynamoConfig::new("md5", "md5", KeyType::S));
    let ended = Run::lookup("list", &["--table", "md5", "--paths"])
        .file("list", b"/a\n")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["paths are looked up by their SHA-256"]);
}

#[test]
fn a_signal_leaves_whole_answers_and_a_report() {
    use nix::sys::signal::Signal;
    let hashes = hashes(3000);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let dynamo = every_second(
            table().plan(FaultPlan::default().read_at(3, Fault::HoldUntil(1000))),
            &hashes,
        );
        // The answers fit into the pipe, so they need no reader yet.
        let mut started = Run::lookup("-", &["--rate", "max", "--concurrency", "2"])
            .open_input(text(&hashes[..500]))
            .dynamo(&dynamo)
            .start();
        dynamo
            .wait_until(Duration::from_secs(60), |s| s.gets >= 5)
            .expect("calls");
        started.signal(signal);
        // The second signal forces the stop.
        started.wait_for_stderr("press Ctrl-C again to stop now");
        started.signal(signal);
        let ended = started.wait();
        ended.assert_status(4);
        assert_eq!(ended.report["outcome"], "interrupted");
        assert_answers(&ended, &expected(&hashes[..200]));
        ended.assert_looked_up([500, 100, 100, 0, 0, 300]);
    }
}

#[test]
fn a_closed_pipe_ends_the_run_without_an_error() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let hashes = hashes(60_000);
    let dynamo = every_second(table(), &hashes[..10]);
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("list"), text(&hashes)).expect("a list");
    let mut child = Command::new(env!("CARGO_BIN_EXE_hashferry"))
        .args([
            "lookup",
            "list",
            "--table",
            "sha256",
            "--rate",
            "max",
            "--progress",
            "none",
        ])
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_ENDPOINT_URL_DYNAMODB", dynamo.endpoint())
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut first).expect("a line");
    drop(stdout);
    assert!(first.contains("\"status\":\"known\""), "{first}");
    let ended = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8(ended.stderr).expect("UTF-8");
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("error"), "{stderr}");
}

#[test]
fn denied_or_throttled_reads_end_the_run_with_a_hint_to_resume() {
    let hashes = hashes(2000);
    for (plan, says) in [
        (
            FaultPlan::default().reads_from(4, Fault::AccessDenied),
            "scripts/iam/lookup.json",
        ),
        (
            FaultPlan::default().reads_from(4, Fault::Throttle),
            "nothing could be read from table sha256 for 1 s",
        ),
    ] {
        let dynamo = every_second(table().plan(plan), &hashes);
        let args = [
            "--rate",
            "max",
            "--concurrency",
            "1",
            "--give-up-after",
            "1s",
        ];
        let ended = Run::lookup("-", &args)
            .input(text(&hashes))
            .dynamo(&dynamo)
            .run();
        ended.assert_status(1);
        ended.assert_stderr(&[says, "--resume to resume after the last answer"]);
        assert_answers(&ended, &expected(&hashes[..300]));
        assert_eq!(ended.number("error"), 0);
        assert!(ended.report["failure"].is_string());
    }
    // A missing table, and a table that the caller may not describe.
    let dynamo = FakeDynamo::start(table());
    let ended = Run::lookup("-", &["--table", "other"])
        .input("x\n")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    let dynamo = every_second(
        table().plan(FaultPlan::default().deny("DescribeTable")),
        &hashes[..10],
    );
    let ended = Run::lookup("-", &[] as &[&str])
        .input(text(&hashes[..10]))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    assert_answers(&ended, &expected(&hashes[..10]));
}

#[test]
fn progress_events_have_the_target_rate() {
    let hashes = hashes(1500);
    let config = table().billing(Billing::OnDemand { max: None });
    let dynamo = every_second(config, &hashes);
    let ended = Run::new(&[
        "lookup",
        "-",
        "--table",
        "sha256",
        "--rate",
        "1000",
        "--progress",
        "json",
        "--progress-interval",
        "100ms",
    ])
    .input(text(&hashes))
    .dynamo(&dynamo)
    .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let event = ended
        .stderr
        .lines()
        .find(|l| l.contains("\"event\":\"progress\""))
        .expect("an event");
    let event: Value = serde_json::from_str(event).expect("JSON");
    assert_eq!(event["target_rcu_per_s"], 1000.0);
    assert!(
        event["known"].is_u64() && event["unknown"].is_u64(),
        "{event}"
    );
}

#[test]
fn the_embedded_table_is_looked_up() {
    let hashes = hashes(300);
    let folder = tempfile::tempdir().expect("a folder");
    let local = folder.path().display().to_string();
    Run::ingest("-", &["--local", &local, "--rate", "max", "--type", "t"])
        .input(text(&hashes[..200]))
        .run()
        .assert_status(0);
    let ended = Run::lookup("-", &["--local", &local])
        .input(text(&hashes))
        .run();
    ended.assert_status(0);
    ended.assert_looked_up([300, 200, 100, 0, 0, 0]);
    assert_eq!(ended.answers()[0]["type"], "t");
}

#[test]
fn an_invalid_response_is_retried_and_makes_no_hash_unknown() {
    let hashes = hashes(30);
    let item = |h: &str| json!({"sha256": {"S": h}, "source": {"S": "NSRL"}});
    let stranger = json!({"Responses": {"another": [item(&hashes[0])]}}).to_string();
    let twice = json!({"Responses": {"sha256": [item(&hashes[0]), item(&hashes[0])]}}).to_string();
    let arn = "arn:aws:dynamodb:us-east-1:111122223333:table/another";
    let plan = FaultPlan::default()
        .read_at(1, Fault::Body(r#"{"Responses":{}}"#.to_owned()))
        .read_at(2, Fault::Body(stranger))
        .read_at(3, Fault::Body(twice))
        .read_at(4, Fault::Body(json!({"Responses": {arn: []}}).to_string()))
        .read_at(
            5,
            Fault::Body(r#"{"Responses":{"sha256":[],"sha256":[]}}"#.to_owned()),
        );
    let dynamo = FakeDynamo::start(table().plan(plan));
    for h in hashes.iter().step_by(2) {
        dynamo.put(item(h));
    }
    let list: String = hashes.iter().map(|h| format!("{h}\n")).collect();
    let ended = Run::lookup::<&str>("-", &[])
        .input(list)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_looked_up([30, 15, 15, 0, 0, 0]);
    assert_eq!(ended.number("retries"), 5);
}

#[test]
fn the_output_does_not_depend_on_the_order_of_attributes() {
    let h = hashes(1).remove(0);
    let look_up = |attributes: [&str; 3]| {
        let key = format!(r#""sha256":{{"S":"{h}"}}"#);
        let body = format!(
            r#"{{"Responses":{{"sha256":[{{{},{key}}}]}}}}"#,
            attributes.join(",")
        );
        let plan = FaultPlan::default().read_at(1, Fault::Body(body));
        let dynamo = FakeDynamo::start(table().plan(plan));
        let ended = Run::lookup::<&str>("-", &[])
            .input(format!("{h}\n"))
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
        ended.stdout
    };
    let one = look_up([
        r#""type":{"S":"linux"}"#,
        r#""m":{"M":{"b":{"SS":["y","x"]},"a":{"NS":["10","9"]}}}"#,
        r#""status":{"S":"q"}"#,
    ]);
    let other = look_up([
        r#""status":{"S":"q"}"#,
        r#""type":{"S":"linux"}"#,
        r#""m":{"M":{"a":{"NS":["9","10"]},"b":{"SS":["x","y"]}}}"#,
    ]);
    assert_eq!(one, other);
    let fields = r#""item.status":"q","m":{"a":[9,10],"b":["x","y"]},"type":"linux"}"#;
    assert!(one.trim_end().ends_with(fields), "{one}");
}
