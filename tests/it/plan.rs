//! Tests of `hashferry plan`: its forecast, and that it writes nothing.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, FaultPlan, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config};
use serde_json::{Value, json};

const URI: &str = "s3://lists/a/list.txt";

/// The SHA-256 of Debian's packages: 63,663 lines, upper case, CRLF.
fn real_list() -> Vec<u8> {
    zstd::decode_all(&include_bytes!("../data/debian-packages.sha256.txt.zst")[..]).expect("a list")
}

fn s3(list: impl Into<bytes::Bytes>) -> FakeS3 {
    FakeS3::start(S3Config::default().object("lists", "a/list.txt", list))
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

/// `hashferry plan SOURCE --json ARGS…`
fn plan(source: &str, args: &[&str]) -> Run {
    Run::new(&[&["plan", source, "--json"], args].concat())
}

fn read(ended: &Finished) -> Value {
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    ended.assert_stderr(&[]);
    serde_json::from_str(&ended.stdout).expect("one JSON object and nothing else")
}

fn exactly(n: u64) -> Value {
    json!({"value": n, "low": n, "high": n})
}

fn route<'a>(plan: &'a Value, way: &str) -> &'a Value {
    let routes = plan["routes"].as_array().expect("a list");
    let found = routes.iter().find(|r| r["route"] == way);
    found.unwrap_or_else(|| panic!("no {way} in {plan}"))
}

#[test]
fn the_exact_forecast_of_the_real_list_equals_the_report_of_the_run() {
    let (s3, dynamo) = (s3(real_list()), FakeDynamo::start(table()));
    let attributes = ["--type", "known", "--source", "Debian", "--table", "sha256"];
    let args = [&["--exact"], &attributes[..]].concat();
    let forecast = read(&plan(URI, &args).s3(&s3).dynamo(&dynamo).run());
    assert_eq!(dynamo.stats().calls, 0, "nothing was written");
    assert!(dynamo.items().is_empty());

    let args = [&attributes[..], &["--rate", "max"]].concat();
    let ended = Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    let report = &ended.report;
    assert_eq!(forecast["exact"], true);
    assert_eq!(forecast["lines"], exactly(ended.number("lines")));
    assert_eq!(forecast["hashes"], exactly(ended.number("written")));
    assert_eq!(
        forecast["write_units"],
        exactly(ended.number("consumed_wcu"))
    );
    assert_eq!(ended.number("consumed_wcu"), 63_663);
    let usd = &route(&forecast, "on_demand")["usd"];
    assert_eq!(usd["value"], report["estimated_cost_usd"]);
    assert_eq!(usd["value"], 0.0398);
    assert_eq!(forecast["sources"][0]["bytes"], 4_201_758);
    assert_eq!(forecast["sources"][0]["bytes_read"], 4_201_758);
    assert_eq!(forecast["hash"], report["hash"]);
}

#[test]
fn the_real_list_is_estimated_from_a_sample() {
    let s3 = s3(real_list());
    let got = read(&plan(URI, &[]).s3(&s3).run());
    assert_eq!(got["exact"], false);
    assert_eq!(got["sources"][0]["bytes_read"], 2 * 1024 * 1024);
    // Every line has 66 bytes, so the estimate is exact.
    assert_eq!(got["lines"], exactly(63_663));
    assert_eq!(got["write_units"], exactly(63_663));
    let notes = got["notes"].to_string();
    assert!(
        notes.contains("95 %") && notes.contains("no interval"),
        "{notes}"
    );
}

#[test]
fn an_estimate_has_the_true_value_in_its_interval() {
    // Comments of any length, duplicates, garbage.
    let mut random = fastrand::Rng::with_seed(2026);
    let mut list = String::new();
    for i in 0..120_000u32 {
        let hash = format!("{:064x}", u128::from(i) * 0x9E37_79B9_7F4A_7C15);
        match random.u32(0..20) {
            0 => list += &format!("# {}\n", "x".repeat(random.usize(0..150))),
            1 => list += &format!("{hash}\n{hash}\n"),
            2 => list += "garbage\n",
            _ => list += &format!("{hash}\r\n"),
        }
    }
    let s3 = s3(list);
    let truth = read(&plan(URI, &["--exact"]).s3(&s3).run());
    let estimate = read(&plan(URI, &[]).s3(&s3).run());
    assert_eq!(estimate["exact"], false);
    for column in [
        "lines",
        "hashes",
        "duplicates",
        "rejected",
        "skipped",
        "write_units",
    ] {
        let true_value = truth[column]["value"].as_u64().expect("a number");
        let [low, value, high] =
            ["low", "value", "high"].map(|end| estimate[column][end].as_u64().expect("a number"));
        assert_eq!(truth[column], exactly(true_value));
        assert!(
            low < value && value < high,
            "{column}: {}",
            estimate[column]
        );
        assert!(
            (low..=high).contains(&true_value),
            "{column}: {true_value} in {}",
            estimate[column]
        );
        // The interval is narrow: at most a fifth of the value, even of the rarest lines.
        assert!((high - low) * 5 < value, "{column}: {}", estimate[column]);
    }
    let usd = &route(&estimate, "on_demand")["usd"];
    assert!(usd["low"].as_f64() < usd["high"].as_f64(), "{usd}");
}

#[test]
fn standard_input_is_read_to_its_end() {
    let list = String::from_utf8(real_list()).expect("text");
    let twice = format!("sha256\n{}{}not a hash\n", list, &list[..66 * 100]);
    let got = read(&plan("-", &[]).input(twice).run());
    assert_eq!(got["exact"], true);
    assert_eq!(got["lines"], exactly(63_663 + 102));
    // The window has 65,536 hashes, so the hundred duplicates are still in it.
    assert_eq!(got["hashes"], exactly(63_663));
    assert_eq!(got["duplicates"], exactly(100));
    assert_eq!(
        (&got["rejected"], &got["skipped"]),
        (&exactly(1), &exactly(1))
    );
}

#[test]
fn several_sources_count_as_one_list() {
    let list = real_list();
    let run = plan("one.txt", &["two.txt"])
        .file("one.txt", &list[..66 * 300])
        .file("two.txt", &list[66 * 200..]);
    let got = read(&run.run());
    assert_eq!(got["lines"], exactly(63_763));
    assert_eq!(
        got["duplicates"]["value"].as_u64().map(|n| n >= 100),
        Some(true)
    );
    assert_eq!(got["sources"][0]["whole"], true);
    assert_eq!(got["sources"][1]["whole"], false);
}

#[test]
fn an_import_uses_the_object_that_a_manifest_or_a_prefix_names() {
    let mut list = real_list()[..66 * 300].to_ascii_uppercase();
    list.retain(|b| *b != b'\r');
    let s3 = s3(list);
    let (bucket, key) = URI
        .strip_prefix("s3://")
        .and_then(|u| u.split_once('/'))
        .expect("a URI");
    let prefix = format!(
        "s3://{bucket}/{}/",
        key.split_once('/').expect("a folder").0
    );
    for run in [
        plan(&prefix, &[]),
        Run::new(&["plan", "--json", "--manifest", "manifest"]).file("manifest", URI.as_bytes()),
    ] {
        let got = read(&run.s3(&s3).run());
        let command = &route(&got, "import")["commands"][0];
        let command = command.as_str().expect("a command");
        assert!(
            command.contains(&format!("\"S3KeyPrefix\":\"{key}\"")),
            "{command}"
        );
    }
}

#[test]
fn time_and_cost_follow_the_table() {
    let s3 = s3(real_list());
    let provisioned = table()
        .billing(Billing::Provisioned { wcu: 500 })
        .describe(
            "GlobalSecondaryIndexes",
            json!([
                {"IndexName": "by-source", "KeySchema": [{"AttributeName": "source", "KeyType": "HASH"}]},
                {"IndexName": "by-other", "KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}]},
            ]),
        );
    let dynamo = FakeDynamo::start(provisioned);
    let args = ["--table", "sha256", "--source", "Debian", "--at", "1000"];
    let got = read(&plan(URI, &args).s3(&s3).dynamo(&dynamo).run());
    assert_eq!(
        got["indexes"],
        json!({"count": 1, "source": "DescribeTable"})
    );
    assert_eq!(got["write_units"], exactly(2 * 63_663));
    let routes = got["routes"].as_array().expect("a list");
    let ways: Vec<_> = routes
        .iter()
        .map(|r| (&r["route"], &r["write_units_per_s"]))
        .collect();
    assert_eq!(
        ways,
        [
            (&json!("provisioned"), &json!(500.0)),
            (&json!("provisioned"), &json!(1000.0)),
            (&json!("on_demand"), &json!(4000.0)),
            (&json!("import"), &Value::Null),
        ]
    );
    assert_eq!(routes[0]["seconds"]["value"], 127.326);
    assert_eq!(routes[0]["usd"]["value"], 0.65, "two times 500 for an hour");
    assert_eq!(routes[1]["usd"]["value"], 1.3);
    assert_eq!(routes[2]["usd"]["value"], 0.0796);

    let args = ["--table", "sha256", "--replicas", "3", "--indexes", "2"];
    let prices = [
        "--price-write-units",
        "1",
        "--price-capacity-hour",
        "0.001",
        "--price-import-gb",
        "7",
    ];
    let got = read(
        &plan(URI, &[&args[..], &prices].concat())
            .s3(&s3)
            .dynamo(&dynamo)
            .run(),
    );
    assert_eq!(got["write_units"], exactly(9 * 63_663));
    assert_eq!(route(&got, "on_demand")["usd"]["value"], 0.573);
    assert_eq!(route(&got, "provisioned")["usd"]["value"], 4.5);
    assert_eq!(got["prices"]["import_gb"]["source"], "--price-import-gb");

    let small = FakeDynamo::start(table().billing(Billing::OnDemand { max: Some(100) }));
    let got = read(
        &plan(URI, &["--table", "sha256"])
            .s3(&s3)
            .dynamo(&small)
            .run(),
    );
    assert_eq!(route(&got, "on_demand")["write_units_per_s"], 100.0);
    assert_eq!((dynamo.stats().calls, small.stats().calls), (0, 0));
}

#[test]
fn the_text_has_the_routes_the_commands_and_the_sources_of_numbers() {
    let list: String = (0..500).map(|i| format!("{i:064X}\n")).collect();
    let s3 = s3(list);
    let ended = Run::new(&["plan", URI]).s3(&s3).run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    for part in [
        "counted in full",
        "70 bytes and 1 WCU each (DynamoDB's size formula)",
        "Cheapest: import, a new table, <0.0001 USD",
        // A list of keys only is a valid CSV file.
        r#"'{"S3Bucket":"lists","S3KeyPrefix":"a/list.txt"}' --input-format CSV"#,
        "Cheapest without an import: on-demand, 0.0003 USD in 0.1 s",
        "--billing-mode PAY_PER_REQUEST",
        "hashferry ingest s3://lists/a/list.txt --table sha256\n",
        "Fastest: on-demand",
        "0.625 USD a million write units on demand (us-east-1: AWS price list of August 2026)",
        "into a new table only",
    ] {
        assert!(
            ended.stdout.contains(part),
            "expected {part:?} in:\n{}",
            ended.stdout
        );
    }
}

#[test]
fn errors_have_a_cause() {
    let garbage: String = (0..2000).map(|i| format!("{i:032x}\n")).collect();
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", real_list())
            .object("lists", "most", format!("{garbage}{:064x}\n", 1))
            .object("lists", "md5", garbage),
    );
    let dynamo = FakeDynamo::start(table());
    for (source, args, says) in [
        (URI, &["--table", "other"][..], "there is no table other"),
        ("s3://lists/nothing", &[], "no such object"),
        ("missing.txt", &[], "No such file"),
        (
            URI,
            &["--table", "sha256", "--attr", "sha256=x"],
            "partition key",
        ),
        (URI, &["--at", "0"], "above 0"),
        (URI, &["--replicas", "0"], "--replicas"),
        (URI, &["--price-import-gb", "-1"], "a price in USD"),
    ] {
        let ended = plan(source, args).s3(&s3).dynamo(&dynamo).run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&["error: ", says]);
        assert!(ended.stdout.is_empty(), "stdout has only results");
    }
    assert_eq!(Run::new(&["plan"]).run().status, 2);
    assert!(
        Run::new(&["plan", "--help"])
            .run()
            .stdout
            .contains("Examples:")
    );

    // An ingest would stop at this list.
    let got = read(&plan("s3://lists/most", &["--hash", "sha256"]).s3(&s3).run());
    assert_eq!(got["rejected"], exactly(2000));
    assert!(got["notes"].to_string().contains("--max-rejects"));

    // A list without a hash of the algorithm.
    let ended = plan("s3://lists/md5", &["--hash", "sha256"]).s3(&s3).run();
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    assert!(ended.stdout.is_empty(), "stdout has only results");
    ended.assert_stderr(&[
        "none of the 2,000 lines is a SHA-256",
        "they look like MD5 (32 hexadecimal digits)",
    ]);
    assert_eq!(dynamo.stop().calls, 0, "nothing was written");
}

#[test]
fn an_empty_list_is_a_failure_and_an_empty_pipe_costs_nothing() {
    let ended = plan(URI, &[]).s3(&s3("")).run();
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    ended.assert_stderr(&["s3://lists/a/list.txt has no lines"]);
    let got = read(&plan("-", &[]).input("").run());
    assert_eq!(got["lines"], exactly(0));
    assert_eq!(route(&got, "on_demand")["usd"]["value"], 0.0);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_plan() {
    let mut started = plan("-", &[]).open_input("").start();
    started.wait_for_stderr("reading standard input");
    started.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = started.wait();
    assert_eq!(ended.status, 4, "{}", ended.stderr);
    assert!(ended.stdout.is_empty());
}

#[cfg(feature = "local")]
#[test]
fn a_plan_does_not_create_a_local_table() {
    let run = plan(
        "list.txt",
        &["--local", "data", "--table", "known", "--exact"],
    )
    .file("list.txt", &real_list()[..6600]);
    let ended = run.run();
    let got = read(&ended);
    assert_eq!(got["hashes"], exactly(100));
    assert!(!ended.stderr.contains("created table"), "{}", ended.stderr);
    let commands = route(&got, "on_demand")["commands"].to_string();
    assert!(
        commands.contains("--table known --local data"),
        "{commands}"
    );
}

#[test]
fn a_local_list_needs_no_aws_settings() {
    let ended = Run::new(&["plan", "list.txt"])
        .file("list.txt", format!("{:064x}\n", 7).as_bytes())
        .without_env("AWS_REGION")
        .without_env("AWS_ACCESS_KEY_ID")
        .without_env("AWS_SECRET_ACCESS_KEY")
        .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("1 WCU in total"), "{}", ended.stdout);
}

#[test]
fn a_table_without_permission_to_describe_is_planned_as_a_new_one() {
    let denied = DynamoConfig::new("sha256", "sha256", KeyType::S)
        .plan(FaultPlan::default().deny("DescribeTable"));
    let dynamo = FakeDynamo::start(denied);
    let list: String = (0..300).map(|i| format!("{i:064X}\n")).collect();
    let ended = Run::new(&["plan", "-", "--table", "sha256"])
        .input(list)
        .dynamo(&dynamo)
        .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    ended.assert_stderr(&[
        "dynamodb:DescribeTable",
        "scripts/iam/plan.json",
        "planning for a new table",
    ]);
    assert!(ended.stdout.contains("create-table"), "{}", ended.stdout);
}
