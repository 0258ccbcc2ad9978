//! Tests of `hashferry verify`: the real binary, real lists, scripted fake servers.

use std::time::Duration;

use crate::common::binary::Run;
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use serde_json::{Value, json};

const ATTRIBUTES: [&str; 6] = [
    "--type", "linux", "--source", "debian", "--desc", "packages",
];

/// The first `n` SHA-256 of Debian's packages, upper case.
fn hashes(n: usize) -> Vec<String> {
    let list = &include_bytes!("../data/debian-packages.sha256.txt.zst")[..];
    let list = String::from_utf8(zstd::decode_all(list).expect("a list")).expect("text");
    list.lines().take(n).map(|l| l.trim().to_owned()).collect()
}

fn crlf(hashes: &[String]) -> Vec<u8> {
    hashes
        .iter()
        .flat_map(|h| format!("{h}\r\n").into_bytes())
        .collect()
}

fn text(hashes: &[&String]) -> String {
    hashes.iter().map(|h| format!("{h}\n")).collect()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// A table with an item for each hash, with the attributes of [`ATTRIBUTES`].
fn filled(config: DynamoConfig, hashes: &[String]) -> FakeDynamo {
    let dynamo = FakeDynamo::start(config);
    for hash in hashes {
        dynamo.put(item(hash));
    }
    dynamo
}

fn item(hash: &str) -> Value {
    json!({"sha256": {"S": hash}, "type": {"S": "linux"}, "source": {"S": "debian"},
        "desc": {"S": "packages"}})
}

fn s3(list: impl Into<bytes::Bytes>) -> FakeS3 {
    FakeS3::start(S3Config::default().object("lists", "a/list.txt", list))
}

const URI: &str = "s3://lists/a/list.txt";

/// The arguments, without a rate limit.
fn fast(args: &[&'static str]) -> Vec<&'static str> {
    [args, &["--rate", "max"]].concat()
}

#[test]
fn every_hash_of_a_complete_table_is_found() {
    let hashes = hashes(5000);
    let (s3, dynamo) = (s3(crlf(&hashes)), filled(table(), &hashes));
    let ended = Run::verify(URI, &fast(&ATTRIBUTES))
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_verified([5000, 5000, 0, 0, 0, 0, 0, 0]);
    ended.assert_stderr(&[
        "every hash of the list is in the table",
        "compared: type, source, desc",
    ]);
    assert_eq!(ended.stdout, "");
    let report = &ended.report;
    assert_eq!(report["version"], 1);
    assert_eq!(report["command"], "verify");
    assert_eq!(report["outcome"], "complete");
    assert_eq!(report["hash"], "sha256");
    assert_eq!(report["sample"], "all");
    assert_eq!(report["requests"], 50);
    // 0.5 RCU of it are the Scan that detects the table's contents.
    assert_eq!(report["consumed_rcu"], 2500.5);
    assert_eq!(report["target_rcu_per_s"], Value::Null);
    assert_eq!(report["sources"][0]["lines"], 5000);
    assert_eq!(report["problems"], json!([]));
    let stats = dynamo.stop();
    assert_eq!((stats.gets, stats.keys_asked), (50, [5000, 0]));
    assert_eq!(stats.consumed_read_units, 2500.5);
    assert_eq!(stats.calls, 0, "nothing is written");
    let projected: Vec<_> = stats.projected.iter().map(String::as_str).collect();
    assert_eq!(projected, ["desc", "sha256", "source", "type"]);
    assert_eq!(s3.stats().get_count, 1);
}

#[test]
fn missing_and_different_hashes_are_printed_in_the_order_and_case_of_the_list() {
    let hashes = hashes(3000);
    let dynamo = filled(table(), &hashes);
    let deleted = [2999, 17, 1502];
    for i in deleted {
        dynamo.delete(hashes[i].as_bytes()).expect("was there");
    }
    let mut other = item(&hashes[40]);
    other["source"] = json!({"S": "Debian"});
    dynamo.put(other);
    let mut lacking = item(&hashes[2000]);
    lacking.as_object_mut().expect("an item").remove("desc");
    dynamo.put(lacking);
    let wrong = [17, 40, 1502, 2000, 2999].map(|i| &hashes[i]);
    let missing = [17, 1502, 2999].map(|i| &hashes[i]);

    let s3 = s3(crlf(&hashes));
    let run = |args: &[&'static str]| {
        let ended = Run::verify(URI, &fast(args)).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(5);
        ended
    };
    let ended = run(&ATTRIBUTES);
    ended.assert_verified([3000, 2995, 3, 2, 0, 0, 0, 0]);
    assert_eq!(ended.stdout, text(&wrong));
    assert_eq!(ended.report["outcome"], "mismatch");
    assert_eq!(
        ended.report["problems"],
        json!([
            {"hash": wrong[0], "what": "missing", "source": URI, "line": 18},
            {"hash": wrong[1], "what": "different", "source": URI, "line": 41,
             "attribute": "source", "found": "S \"Debian\""},
            {"hash": wrong[2], "what": "missing", "source": URI, "line": 1503},
            {"hash": wrong[3], "what": "different", "source": URI, "line": 2001, "attribute": "desc"},
            {"hash": wrong[4], "what": "missing", "source": URI, "line": 3000},
        ])
    );
    ended.assert_stderr(&[
        &format!("{} is missing: {URI}, line 18", wrong[0]),
        &format!("{} is different (source is S \"Debian\")", wrong[1]),
        &format!("{} is different (it has no desc)", wrong[3]),
    ]);

    // Only the given attributes are compared.
    let ended = run(&["--type", "linux"]);
    ended.assert_verified([3000, 2997, 3, 0, 0, 0, 0, 0]);
    assert_eq!(ended.stdout, text(&missing));
    let ended = run(&[]);
    ended.assert_verified([3000, 2997, 3, 0, 0, 0, 0, 0]);
    ended.assert_stderr(&["compared: the key only"]);
    let ended = run(&[&ATTRIBUTES[..], &["--missing-only"]].concat());
    ended.assert_verified([3000, 2995, 3, 2, 0, 0, 0, 0]);
    assert_eq!(ended.stdout, text(&missing));

    // The output has the case of the list.
    let lower = String::from_utf8(crlf(&hashes))
        .expect("text")
        .to_lowercase();
    let ended = Run::verify("-", &fast(&[]))
        .input(lower)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(5);
    assert_eq!(ended.stdout, text(&missing).to_lowercase());

    // Ten findings are logged, all are printed.
    let ended = Run::verify(URI, &fast(&["--type", "windows"]))
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(5);
    ended.assert_verified([3000, 0, 3, 2997, 0, 0, 0, 0]);
    assert_eq!(
        ended.stderr.matches(" line ").count(),
        10,
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout.lines().count(), 3000);
    assert_eq!(
        ended.report["problems"].as_array().map(Vec::len),
        Some(1000)
    );
}

#[test]
fn an_ingest_of_the_printed_hashes_repairs_the_table() {
    let hashes = hashes(4000);
    let (store, dynamo) = (s3(crlf(&hashes)), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &fast(&ATTRIBUTES))
        .s3(&store)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    for hash in hashes.iter().step_by(300) {
        dynamo.delete(hash.as_bytes()).expect("was there");
    }
    dynamo.put(json!({"sha256": {"S": hashes[1]}, "type": {"S": "linux"}}));

    let verify = || {
        let run = Run::verify(URI, &fast(&ATTRIBUTES));
        run.s3(&store).dynamo(&dynamo).run()
    };
    let ended = verify();
    ended.assert_status(5);
    ended.assert_verified([4000, 3985, 14, 1, 0, 0, 0, 0]);
    let repair = Run::ingest("-", &fast(&ATTRIBUTES))
        .input(ended.stdout)
        .dynamo(&dynamo)
        .run();
    repair.assert_status(0);
    repair.assert_line_counts([15, 15, 0, 0, 0, 0]);
    let ended = verify();
    ended.assert_status(0);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_missing_hash_counts_only_after_a_strongly_consistent_read() {
    let hashes = hashes(1000);
    let (late, missing) = (hashes[3].clone(), hashes[700].clone());
    let hidden = late.clone();
    let plan = FaultPlan::default().stale(move |item| item["sha256"]["S"] == *hidden);
    let dynamo = filled(table().plan(plan), &hashes);
    dynamo.delete(missing.as_bytes());
    let s3 = s3(crlf(&hashes));
    let run = |args: &[&'static str]| {
        let ended = Run::verify(URI, &fast(args)).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(5);
        ended.assert_verified([1000, 999, 1, 0, 0, 0, 0, 0]);
        assert_eq!(ended.stdout, format!("{missing}\n"));
        ended
    };
    let ended = run(&[]);
    assert_eq!(dynamo.stats().keys_asked, [1000, 2]);
    assert_eq!(ended.report["consumed_rcu"], 502.5);
    let ended = run(&["--consistent"]);
    assert_eq!(dynamo.stats().keys_asked, [1000, 1002]);
    assert_eq!(ended.report["consumed_rcu"], 1000.5);
}

#[test]
fn faults_of_the_service_do_not_change_the_result() {
    let hashes = hashes(3000);
    let plan = FaultPlan::default()
        .read_at(1, Fault::Garbage)
        .read_at(2, Fault::Unprocessed(40))
        .read_at(3, Fault::CutAnswer)
        .read_at(4, Fault::UnprocessedAll)
        .read_at(5, Fault::Http(502, ""))
        .read_at(
            6,
            Fault::Throttling(vec!["TableReadKeyRangeThroughputExceeded"]),
        )
        .read_at(7, Fault::DropAfter)
        .read_at(8, Fault::Throttle)
        .read_at(9, Fault::Http(503, "ServiceUnavailable"))
        .read_at(10, Fault::DropBefore)
        .read_at(11, Fault::Body(r#"{"Responses":{}}"#.to_owned()))
        .read_at(
            12,
            Fault::Body(r#"{"Responses":{"another":[]}}"#.to_owned()),
        )
        .read_at(30, Fault::UnprocessedAll)
        .read_at(31, Fault::Unprocessed(1));
    let dynamo = filled(table().plan(plan), &hashes);
    for i in [5, 1234, 2345] {
        dynamo.delete(hashes[i].as_bytes());
    }
    let ended = Run::verify(URI, &fast(&ATTRIBUTES))
        .s3(&s3(crlf(&hashes)))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(5);
    ended.assert_verified([3000, 2997, 3, 0, 0, 0, 0, 0]);
    let missing = [5, 1234, 2345].map(|i| &hashes[i]);
    assert_eq!(ended.stdout, text(&missing));
    let stats = dynamo.stop();
    assert!(stats.keys_unprocessed >= 42, "{stats:?}");
    assert_eq!(ended.number("unprocessed"), stats.keys_unprocessed);
    assert_eq!(ended.number("requests"), stats.gets);
    assert_eq!((ended.number("throttled"), stats.gets_throttled), (2, 2));
    assert!(ended.number("retries") > 0);
}

#[test]
fn every_kind_of_line_is_accounted_for() {
    let hashes = hashes(500);
    let list = format!(
        "\u{FEFF}SHA-256\r\n# a list\r\n\r\n{}{}\r\nno hash\r\n",
        String::from_utf8(crlf(&hashes)).expect("text"),
        hashes[499].to_lowercase()
    );
    let dynamo = filled(table(), &hashes);
    let run = |args: &[&'static str]| {
        let run = Run::verify("-", &fast(args)).input(list.clone());
        run.rejects().dynamo(&dynamo).run()
    };
    let ended = run(&[]);
    ended.assert_status(3);
    ended.assert_verified([505, 500, 0, 0, 1, 1, 3, 0]);
    assert_eq!(ended.report["outcome"], "rejects");
    assert_eq!(ended.rejects[0]["line"], 505);
    ended.assert_stderr(&["some lines are not hashes"]);
    // A missing hash counts more than a rejected line.
    dynamo.delete(hashes[0].as_bytes());
    let ended = run(&[]);
    ended.assert_status(5);
    ended.assert_verified([505, 499, 1, 0, 1, 1, 3, 0]);
    // Too many rejected lines end the run.
    let ended = run(&["--max-rejects", "0"]);
    ended.assert_status(1);
    ended.assert_stderr(&["too many rejected lines"]);
}

#[test]
fn a_sample_is_limited_and_repeatable_and_gives_an_upper_limit_of_errors() {
    let hashes = hashes(5000);
    let dynamo = filled(table(), &hashes);
    let s3 = s3(crlf(&hashes));
    let run = |args: &[&'static str]| Run::verify(URI, &fast(args)).s3(&s3).dynamo(&dynamo).run();
    let ended = run(&["--sample", "400"]);
    ended.assert_status(0);
    ended.assert_verified([5000, 400, 0, 0, 0, 0, 0, 4600]);
    ended.assert_stderr(&[
        "a sample of 400 sha256",
        "every hash of the sample",
        "With 95 % certainty fewer than 1 in 134",
    ]);
    assert_eq!(ended.report["sample"], 400);
    assert!(ended.report["seed"].is_u64());
    assert_eq!(dynamo.stats().keys_asked, [400, 0]);
    // A sample larger than the list has every hash.
    let ended = run(&["--sample", "1000000"]);
    ended.assert_verified([5000, 5000, 0, 0, 0, 0, 0, 0]);

    // The same seed draws the same lines.
    for hash in &hashes {
        dynamo.delete(hash.as_bytes());
    }
    let seven = run(&["--sample", "400", "--seed", "7"]);
    seven.assert_status(5);
    seven.assert_verified([5000, 0, 400, 0, 0, 0, 0, 4600]);
    assert_eq!(seven.report["seed"], 7);
    assert_eq!(
        run(&["--sample", "400", "--seed", "7"]).stdout,
        seven.stdout
    );
    assert_ne!(
        run(&["--sample", "400", "--seed", "8"]).stdout,
        seven.stdout
    );
    let drawn: Vec<_> = seven.stdout.lines().collect();
    assert_eq!(drawn.len(), 400);
    let in_order = hashes.iter().filter(|h| drawn.contains(&h.as_str()));
    assert!(in_order.eq(&drawn), "in the order of the list");
}

#[test]
fn requested_keys_follow_the_schema_of_the_table() {
    let hashes = hashes(250);
    let list = crlf(&hashes);
    for (config, args) in [
        (
            DynamoConfig::new("t", "sha256", KeyType::B),
            &["--type", "linux"][..],
        ),
        (
            DynamoConfig::new("t", "id", KeyType::S).sort("type", KeyType::S),
            &[
                "--type",
                "linux",
                "--case",
                "lower",
                "--attr",
                "release:N=2026.0",
            ],
        ),
        (
            DynamoConfig::new("t", "sha256", KeyType::S).sort("set", KeyType::N),
            &[
                "--attr",
                "set:N=7",
                "--attr",
                "tags:SS=b,a",
                "--attr",
                "gold:BOOL=true",
            ],
        ),
    ] {
        let dynamo = FakeDynamo::start(config);
        let args = [args, &["--table", "t", "--rate", "max"]].concat();
        let ended = Run::ingest("-", &args)
            .input(list.clone())
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
        let ended = Run::verify("-", &args)
            .input(list.clone())
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
        ended.assert_verified([250, 250, 0, 0, 0, 0, 0, 0]);
    }
    // The table has keys in upper case; lower case is not accepted.
    let dynamo = filled(table(), &hashes);
    let ended = Run::verify("-", &fast(&["--case", "lower"]))
        .input(list.clone())
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["lower case does not fit table sha256", "give --case upper"]);
    // The table has a sort key, and none is given.
    let dynamo = FakeDynamo::start(table().sort("type", KeyType::S));
    let ended = Run::verify("-", &fast(&[]))
        .input(list)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["give it with --type TEXT"]);
    assert_eq!(dynamo.stop().gets, 0);
}

#[test]
fn an_interrupted_s3_body_resumes_at_the_next_byte() {
    let hashes = hashes(20_000);
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(700_001))
        .get(2, S3Fault::Reset);
    let config = S3Config::default().object("lists", "a/list.txt", crlf(&hashes));
    let s3 = FakeS3::start(config.plan(plan));
    let dynamo = filled(table(), &hashes);
    let ended = Run::verify(URI, &fast(&[])).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_verified([20_000, 20_000, 0, 0, 0, 0, 0, 0]);
    ended.assert_stderr(&["broke off at byte 700001"]);
    assert_eq!(s3.stats().gets[2].range.as_deref(), Some("bytes=700001-"));

    // The object is replaced while it is read: the lines read before are still checked.
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(500_000))
        .etag_from(2, "\"new\"");
    s3.set_plan(plan);
    dynamo.delete(hashes[9].as_bytes());
    let ended = Run::verify(URI, &fast(&[])).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(1);
    ended.assert_stderr(&["ended at byte 500000", "replaced"]);
    assert_eq!((ended.number("missing"), ended.number("unchecked")), (1, 0));
    assert_eq!(ended.stdout, format!("{}\n", hashes[9]));
}

#[test]
fn the_target_rate_comes_from_the_flag_or_from_the_read_capacity() {
    let hashes = hashes(300);
    let s3 = s3(crlf(&hashes));
    let provisioned = |rcu: u64| {
        table().describe(
            "ProvisionedThroughput",
            json!({"NumberOfDecreasesToday": 0, "ReadCapacityUnits": rcu, "WriteCapacityUnits": 9}),
        )
    };
    let on_demand = |max: i64| {
        table()
            .billing(Billing::OnDemand { max: None })
            .describe("OnDemandThroughput", json!({"MaxReadRequestUnits": max}))
    };
    let warm =
        json!({"WriteUnitsPerSecond": 4000, "ReadUnitsPerSecond": 30_000, "Status": "ACTIVE"});
    let warm = table()
        .billing(Billing::OnDemand { max: None })
        .describe("WarmThroughput", warm);
    for (config, args, target) in [
        (provisioned(777), &[][..], json!(777.0)),
        (provisioned(2000), &["--rate", "50%"], json!(1000.0)),
        (provisioned(2000), &["--rate", "2500"], json!(2500.0)),
        (provisioned(5), &["--rate", "max"], Value::Null),
        (on_demand(-1), &[], json!(12_000.0)),
        (on_demand(900), &[], json!(900.0)),
        (warm, &[], json!(30_000.0)),
    ] {
        let dynamo = filled(config, &hashes);
        let ended = Run::verify(URI, args).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(0);
        assert_eq!(ended.report["target_rcu_per_s"], target, "{args:?}");
    }
}

#[test]
fn permanent_errors_have_a_hint() {
    let hashes = hashes(1000);
    let list = crlf(&hashes);
    let s3 = s3(list);
    let run = |dynamo: &FakeDynamo, args: &[&'static str]| {
        Run::verify(URI, &fast(args)).s3(&s3).dynamo(dynamo).run()
    };
    let dynamo = FakeDynamo::start(table().plan(FaultPlan::default().deny("BatchGetItem")));
    let ended = run(&dynamo, &[]);
    ended.assert_status(1);
    ended.assert_stderr(&[
        "cannot read from table sha256",
        "AccessDeniedException",
        "allow dynamodb:BatchGetItem",
        "scripts/iam/verify.json",
    ]);
    assert_eq!(ended.report["outcome"], "failed");
    assert_eq!(ended.number("unchecked"), ended.number("lines"));

    let dynamo = FakeDynamo::start(table());
    let ended = run(&dynamo, &["--table", "other"]);
    ended.assert_status(2);
    ended.assert_stderr(&["there is no table other"]);
    for (args, says) in [
        (&["--sample", "0"][..], "all or a number from 1 to 1000000"),
        (
            &["--sample", "1000001"],
            "all or a number from 1 to 1000000",
        ),
        (&["--attr", "n:N=x"], "a number of at most 38 digits"),
        (&["--rejects", "no/such/folder/x"], "no/such/folder/x"),
    ] {
        let ended = run(&dynamo, args);
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[says]);
    }
    assert_eq!(dynamo.stop().gets, 0, "no key was read");

    // The service fails for longer than --give-up-after.
    let plan = FaultPlan::default().reads_from(3, Fault::Http(500, "InternalServerError"));
    let dynamo = filled(table().plan(plan), &hashes);
    let ended = run(&dynamo, &["--give-up-after", "1s"]);
    ended.assert_status(1);
    ended.assert_stderr(&[
        "nothing could be read from table sha256 for 1 s",
        "InternalServerError",
    ]);
    assert_eq!(ended.number("found"), 200);
    assert_eq!(ended.number("unchecked"), ended.number("lines") - 200);
}

#[test]
fn a_list_without_a_hash_fails_verification() {
    let dynamo = FakeDynamo::start(table());
    let md5s: String = (0..60).map(|i| format!("{i:032x}\n")).collect();
    let comments = "# x\n".repeat(60);
    for (list, says) in [
        (md5s.as_str(), "they look like MD5 (32 hexadecimal digits)"),
        (
            &comments,
            "none of the 60 lines is a SHA-256: all of them are skipped",
        ),
        ("", "list.txt has no lines"),
    ] {
        for args in [&[][..], &["--sample", "10"]] {
            let run = Run::verify("list.txt", &fast(args)).file("list.txt", list.as_bytes());
            let ended = run.dynamo(&dynamo).run();
            ended.assert_status(1);
            ended.assert_stderr(&[says]);
            assert_eq!(ended.report["outcome"], "failed");
            assert!(!ended.stderr.contains("Verified"), "{}", ended.stderr);
        }
    }
}

#[test]
fn an_empty_pipe_is_verified() {
    let dynamo = FakeDynamo::start(table());
    let ended = Run::verify("-", &fast(&[])).input("").dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_verified([0; 8]);
    for sample in ["all", "10"] {
        let ended = Run::verify("-", &["--sample", sample])
            .input("")
            .dynamo(&dynamo)
            .run();
        ended.assert_status(0);
    }
}

#[cfg(feature = "local")]
#[test]
fn the_embedded_table_is_verified() {
    let list: Vec<u8> = (0..1000)
        .flat_map(|i| format!("{i:064X}\r\n").into_bytes())
        .collect();
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data").display().to_string();
    let args = ["--local", &data, "--type", "known", "--attr", "n:N=1.50"];
    // Only an ingest creates a local table.
    let ended = Run::verify("-", &args).input(list.clone()).run();
    ended.assert_status(2);
    ended.assert_stderr(&["there is no table sha256"]);

    let ended = Run::ingest("-", &args).input(list.clone()).run();
    ended.assert_status(0);
    let more = [&list[..], format!("{:064X}\n", 5000).as_bytes()].concat();
    let ended = Run::verify("-", &args).input(more).run();
    ended.assert_status(5);
    ended.assert_verified([1001, 1000, 1, 0, 0, 0, 0, 0]);
    assert_eq!(ended.stdout, format!("{:064X}\n", 5000));
    assert_eq!(ended.report["consumed_rcu"], 502.0);

    let args = ["--local", &data, "--type", "unknown", "--sample", "100"];
    let ended = Run::verify("-", &args).input(list).run();
    ended.assert_status(5);
    ended.assert_verified([1000, 0, 0, 100, 0, 0, 0, 900]);
}

#[test]
fn ingest_with_verify_reports_the_verification() {
    let hashes = hashes(12_000);
    let list = [crlf(&hashes), b"no hash\n".to_vec()].concat();
    let s3 = s3(list);
    let run = |dynamo: &FakeDynamo, args: &[&'static str]| {
        let args = [&ATTRIBUTES[..], &["--rate", "max"], args].concat();
        Run::ingest(URI, &args).s3(&s3).dynamo(dynamo).run()
    };
    let read_capacity = || {
        table().describe(
            "ProvisionedThroughput",
            json!({"NumberOfDecreasesToday": 0, "ReadCapacityUnits": 40_000, "WriteCapacityUnits": 9}),
        )
    };
    let dynamo = FakeDynamo::start(read_capacity());
    let ended = run(&dynamo, &["--verify", "all"]);
    ended.assert_status(3);
    ended.assert_line_counts([12_001, 12_000, 0, 1, 0, 0]);
    assert_eq!(
        ended.report["verification"],
        json!({"sample": "all", "found": 12_000, "missing": 0, "different": 0, "unchecked": 0})
    );
    assert_eq!(
        ended.stderr.matches("rejected: ").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "");
    let ended = run(&dynamo, &["--verify", "sample"]);
    ended.assert_status(3);
    assert_eq!(
        ended.report["verification"],
        json!({"sample": 10_000, "found": 10_000, "missing": 0, "different": 0, "unchecked": 2000})
    );
    let ended = run(&dynamo, &[]);
    assert_eq!(ended.report["verification"], Value::Null);

    // A service that confirms writes without storing them.
    let dynamo = FakeDynamo::start(read_capacity().plan(FaultPlan::default().at(3, Fault::Forget)));
    let ended = run(&dynamo, &["--verify", "all"]);
    ended.assert_status(5);
    ended.assert_line_counts([12_001, 12_000, 0, 1, 0, 0]);
    assert_eq!(ended.report["outcome"], "mismatch");
    assert_eq!(ended.report["verification"]["missing"], 25);
    ended.assert_stderr(&["is missing"]);

    let dynamo = FakeDynamo::start(read_capacity().plan(FaultPlan::default().deny("BatchGetItem")));
    let ended = run(&dynamo, &["--verify", "all"]);
    ended.assert_status(1);
    ended.assert_stderr(&["cannot verify the written items", "dynamodb:BatchGetItem"]);
    assert_eq!(ended.number("written"), 12_000);

    let ended = Run::ingest("-", &["--verify", "all"])
        .input("")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["standard input can be read only once"]);
}

#[cfg(unix)]
#[test]
fn a_signal_prints_the_findings_and_accounts_for_every_line() {
    use nix::sys::signal::Signal;
    let hashes = hashes(30_000);
    let s3 = s3(crlf(&hashes));
    let dynamo = filled(table(), &hashes);
    dynamo.delete(hashes[0].as_bytes());
    let started = Run::verify(URI, &["--rate", "2000"])
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    let begun = dynamo.wait_until(Duration::from_secs(60), |s| {
        // The first hash is read again after some hundred other hashes.
        s.keys_asked[0] >= 500 && s.keys_asked[1] == 1
    });
    assert!(begun.is_some(), "reading starts");
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    ended.assert_status(4);
    ended.assert_stderr(&["stopping", "Interrupted"]);
    assert_eq!(ended.report["outcome"], "interrupted");
    assert_eq!(ended.stdout, format!("{}\n", hashes[0]));
    assert!(ended.number("found") >= 400 && ended.number("unchecked") > 0);

    // While the sample is drawn, no key has been read.
    let mut started = Run::verify("-", &["--sample", "10"])
        .open_input(crlf(&hashes[..100]))
        .dynamo(&dynamo)
        .start();
    started.wait_for_stderr("verifying a sample of 10");
    started.signal(Signal::SIGTERM);
    let ended = started.wait();
    ended.assert_status(4);
    assert_eq!(ended.number("unchecked"), ended.number("lines"));
}

#[test]
fn progress_and_quiet_flags_control_the_output() {
    let hashes = hashes(2000);
    let s3 = s3(crlf(&hashes));
    let dynamo = filled(table(), &hashes);
    dynamo.delete(hashes[0].as_bytes());
    let run = |args: &[&str]| {
        let all = [
            &[
                "verify",
                URI,
                "--table",
                "sha256",
                "--rate",
                "1000",
                "--progress-interval",
                "200ms",
            ],
            args,
        ]
        .concat();
        let ended = Run::new(&all).s3(&s3).dynamo(&dynamo).run();
        assert_eq!(ended.status, 5, "{}", ended.stderr);
        assert_eq!(ended.stdout, format!("{}\n", hashes[0]));
        ended.stderr
    };
    let log = run(&[]);
    assert!(log.contains("RCU/s of 1,000"), "{log}");
    let json = run(&["--progress", "json", "--log-format", "json", "-q"]);
    let event = json
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).expect("JSON lines only"))
        .find(|e| e["event"] == "progress")
        .expect("an event");
    assert_eq!(event["bytes"], 132_000);
    assert_eq!(event["target_rcu_per_s"], 1000.0);
    assert!(event["found"].is_u64() && event["unchecked"].is_u64());
    let quiet = run(&["--progress", "none", "-q"]);
    assert!(
        quiet.contains("is missing") && !quiet.contains("Verified"),
        "{quiet}"
    );
}

#[test]
fn help_has_examples_and_the_policy_file() {
    let ended = Run::new(&["verify", "--help"]).run();
    assert_eq!(ended.status, 0);
    for part in [
        "Examples:",
        "scripts/iam/verify.json",
        "--sample",
        "--missing-only",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert_eq!(Run::new(&["verify"]).run().status, 2);
}

#[test]
fn a_table_is_verified_without_permission_to_describe_it() {
    let list: String = (0..300).map(|i| format!("{i:064X}\n")).collect();
    let dynamo = FakeDynamo::start(
        DynamoConfig::new("sha256", "sha256", KeyType::S)
            .plan(FaultPlan::default().deny("DescribeTable")),
    );
    Run::ingest::<&str>("-", &[])
        .input(list.clone())
        .dynamo(&dynamo)
        .run()
        .assert_status(0);
    dynamo
        .delete(format!("{:064X}", 7).as_bytes())
        .expect("there");
    let ended = Run::new(&["verify", "-", "--table", "sha256"])
        .input(list)
        .dynamo(&dynamo)
        .run();
    assert_eq!(ended.status, 5, "{}", ended.stderr);
    assert_eq!(ended.stdout, format!("{:064X}\n", 7));
    ended.assert_stderr(&["dynamodb:DescribeTable", "scripts/iam/verify.json"]);
}
