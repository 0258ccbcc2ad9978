//! Tests of `hashferry ingest`: the real binary, real lists, scripted fake servers.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::binary::{Run, SECRET};
use crate::common::fake_dynamo::{
    Billing, Chance, DynamoConfig, FakeDynamo, Fault, FaultPlan, KeyType,
};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use serde_json::{Value, json};

const ATTRIBUTES: [&str; 6] = [
    "--type", "linux", "--source", "debian", "--desc", "packages",
];

/// The SHA-256 of Debian's packages: 63,663 lines, upper case, CRLF.
fn real_list() -> Vec<u8> {
    zstd::decode_all(&include_bytes!("../data/debian-packages.sha256.txt.zst")[..]).expect("a list")
}

/// The first `n` hashes of the real list, in upper case.
fn hashes(n: usize) -> Vec<String> {
    let list = String::from_utf8(real_list()).expect("text");
    list.lines().take(n).map(|l| l.trim().to_owned()).collect()
}

fn crlf(hashes: &[String]) -> Vec<u8> {
    hashes
        .iter()
        .flat_map(|h| format!("{h}\r\n").into_bytes())
        .collect()
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

fn s3(list: impl Into<bytes::Bytes>) -> FakeS3 {
    FakeS3::start(S3Config::default().object("lists", "a/list.txt", list))
}

const URI: &str = "s3://lists/a/list.txt";

/// Keys of the table, as text.
fn keys(dynamo: &FakeDynamo) -> BTreeSet<String> {
    dynamo
        .items()
        .into_keys()
        .map(|k| String::from_utf8(k).expect("text"))
        .collect()
}

#[test]
fn the_real_list_is_written_completely() {
    let list = real_list();
    let (s3, dynamo) = (s3(list.clone()), FakeDynamo::start(table()));
    let args = [&ATTRIBUTES[..], &["--rate", "max"]].concat();
    let ended = Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_line_counts([63_663, 63_663, 0, 0, 0, 0]);
    let report = &ended.report;
    assert_eq!(report["outcome"], "complete");
    assert_eq!(report["hash"], "sha256");
    assert_eq!(report["requests"], 2547);
    assert_eq!(report["consumed_wcu"], 63_663.0);
    assert_eq!(report["target_wcu_per_s"], Value::Null);
    assert_eq!(report["sources"][0]["uri"], URI);
    assert_eq!(report["sources"][0]["bytes"], 4_201_758);
    assert_eq!(report["sources"][0]["lines"], 63_663);
    assert_eq!(report["bytes_read"], 4_201_758);
    assert!(
        report["sources"][0]["etag"]
            .as_str()
            .is_some_and(|e| !e.contains('"'))
    );

    let expected: BTreeSet<String> = hashes(usize::MAX).into_iter().collect();
    assert_eq!(keys(&dynamo), expected);
    for (key, item) in dynamo.items() {
        let key = String::from_utf8(key).expect("text");
        let whole = json!({"sha256": {"S": key}, "type": {"S": "linux"}, "source": {"S": "debian"},
            "desc": {"S": "packages"}});
        assert_eq!(item, whole);
    }
    let stats = dynamo.stop();
    assert_eq!(
        (
            stats.duplicates_in_batch,
            stats.validation_errors,
            stats.unsigned
        ),
        (0, 0, 0)
    );
    assert_eq!(s3.stats().get_count, 1, "one GetObject");
    assert!(ended.stdout.is_empty(), "stdout holds only results");
}

#[test]
fn every_line_format_gives_the_same_table() {
    let hashes = hashes(2000);
    let n = hashes.len() as u64;
    let expected: BTreeSet<String> = hashes.iter().cloned().collect();
    let lf: String = hashes.iter().map(|h| format!("{h}\n")).collect();
    let mixed: String = hashes
        .iter()
        .enumerate()
        .map(|(i, h)| format!("{h}{}", if i % 3 == 0 { "\r\n" } else { "\n" }))
        .collect();
    let doubled: String = hashes
        .iter()
        .map(|h| format!("{h}\n{}\r\n", h.to_lowercase()))
        .collect();
    let dressed = format!(
        "\u{FEFF}SHA-256\r\n# a list\r\n\r\n   \r\n{}",
        lf.replace('\n', " \t\r\n")
    );
    for (name, list, line_counts) in [
        ("CRLF", crlf(&hashes), [n, n, 0, 0, 0, 0]),
        ("LF", lf.clone().into(), [n, n, 0, 0, 0, 0]),
        ("mixed ends", mixed.into(), [n, n, 0, 0, 0, 0]),
        ("no final newline", lf.trim_end().into(), [n, n, 0, 0, 0, 0]),
        (
            "CRLF, no final newline",
            crlf(&hashes)[..2000 * 66 - 2].into(),
            [n, n, 0, 0, 0, 0],
        ),
        ("lower case", lf.to_lowercase().into(), [n, n, 0, 0, 0, 0]),
        ("doubled neighbours", doubled.into(), [2 * n, n, n, 0, 0, 0]),
        (
            "twice over",
            format!("{lf}{lf}").into(),
            [2 * n, n, n, 0, 0, 0],
        ),
        (
            "BOM, header, comment, blanks",
            dressed.into(),
            [n + 4, n, 0, 0, 4, 0],
        ),
    ] {
        // Small chunks split the lines anywhere.
        let config = S3Config::default().object("lists", "a/list.txt", list);
        let s3 = FakeS3::start(config.plan(S3Plan::default().chunk(1009)));
        let dynamo = FakeDynamo::start(table());
        let ended = Run::ingest(URI, &["--rate", "max"])
            .s3(&s3)
            .dynamo(&dynamo)
            .run();
        println!("{name}");
        ended.assert_status(0);
        ended.assert_line_counts(line_counts);
        assert_eq!(keys(&dynamo), expected, "{name}");
        let stats = dynamo.stop();
        assert_eq!(stats.duplicates_in_batch, 0, "{name}");
        assert_eq!(stats.items_offered, n, "{name}: a duplicate is not sent");
    }
}

#[test]
fn invalid_lines_are_rejected_with_reason_and_position_and_the_rest_is_written() {
    let hashes = hashes(3000);
    let mut list = Vec::new();
    let mut expected = Vec::new();
    for (i, hash) in hashes.iter().enumerate() {
        if i % 100 == 99 {
            let overlong = vec![b'A'; 200_000];
            let (text, reason): (&[u8], _) = match i / 100 % 6 {
                0 => (b"not a hash", "length"),
                1 => (&hash.as_bytes()[2..], "length"),
                2 => (
                    b"GA2118DF47BF3F04285649F0455C2FC6FE2DC7F0B237073038AA00AF41F0D5F2",
                    "hex",
                ),
                3 => (b"nul\0inside", "nul"),
                4 => (b"caf\xE9 ol\xE9", "utf8"),
                _ => (&overlong, "overlong"),
            };
            let line = list.iter().filter(|b| **b == b'\n').count() + 1;
            expected.push((line as u64, list.len() as u64, reason));
            list.extend_from_slice(text);
            list.extend_from_slice(b"\r\n");
        }
        list.extend_from_slice(format!("{hash}\r\n").as_bytes());
    }
    let (s3, dynamo) = (s3(list), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .rejects()
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(3);
    ended.assert_line_counts([3030, 3000, 0, 30, 0, 0]);
    assert_eq!(ended.report["outcome"], "rejects");
    assert_eq!(keys(&dynamo).len(), 3000);
    let got: Vec<_> = ended
        .rejects
        .iter()
        .map(|r| {
            assert_eq!(r["source"], URI);
            assert!(r["text"].as_str().is_some_and(|t| t.len() < 1000));
            (
                r["line"].as_u64().expect("a line"),
                r["byte"].as_u64().expect("a byte"),
                r["reason"].clone(),
            )
        })
        .collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(l, b, r)| (l, b, json!(r)))
        .collect();
    assert_eq!(got, expected);

    // Without a file the first ten are logged.
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    assert_eq!(
        ended.stderr.matches("rejected: ").count(),
        10,
        "{}",
        ended.stderr
    );
    ended.assert_stderr(&["line 100 (byte 6534)", "--rejects PATH"]);
}

#[test]
fn a_list_with_too_many_rejected_lines_stops_early() {
    let md5s: String = (0..5000).map(|i| format!("{i:032x}\n")).collect();
    let (s3, dynamo) = (s3(md5s), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    assert_eq!(ended.number("lines"), 1000);
    ended.assert_stderr(&[
        "too many rejected lines: 1000 of 1000",
        "md5 by its length",
        "--max-rejects",
    ]);
    let ended = Run::ingest(URI, &["--max-rejects", "100%"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_line_counts([5000, 0, 0, 5000, 0, 0]);
    ended.assert_stderr(&["none of the 5,000 lines is a SHA-256"]);
    let ended = Run::ingest(URI, &["--max-rejects", "0"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    assert_eq!(ended.number("lines"), 1);
}

#[test]
fn items_follow_the_schema_of_the_table() {
    let hashes = hashes(60);
    let list = crlf(&hashes);

    // A binary key is the raw bytes.
    let (store, dynamo) = (
        s3(list.clone()),
        FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::B)),
    );
    Run::ingest(URI, &["--rate", "max"])
        .s3(&store)
        .dynamo(&dynamo)
        .run()
        .assert_status(0);
    let got: BTreeSet<Vec<u8>> = dynamo.items().into_keys().collect();
    let raw = |h: &String| -> Vec<u8> {
        (0..32)
            .map(|i| u8::from_str_radix(&h[2 * i..2 * i + 2], 16).expect("hex"))
            .collect()
    };
    assert_eq!(got, hashes.iter().map(raw).collect());

    // A sort key from an attribute, typed attributes, text in lower case.
    let dynamo =
        FakeDynamo::start(DynamoConfig::new("t", "hash", KeyType::S).sort("type", KeyType::S));
    let args = [
        "--table",
        "t",
        "--type",
        "linux",
        "--case",
        "lower",
        "--attr",
        "release:N=2026",
        "--attr",
        "gold:BOOL=true",
    ];
    let ended = Run::ingest(URI, &args).s3(&store).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_stderr(&["sha256, by the length of its first hash"]);
    let items = dynamo.items();
    assert_eq!(items.len(), 60);
    for item in items.values() {
        let key = item["hash"]["S"].as_str().expect("text");
        assert!(hashes.contains(&key.to_uppercase()) && key == key.to_lowercase());
        assert_eq!(item["type"], json!({"S": "linux"}));
        assert_eq!(item["release"], json!({"N": "2026"}));
        assert_eq!(item["gold"], json!({"BOOL": true}));
    }

    // An invalid schema or attribute is an error with a hint.
    for (dynamo, args, says) in [
        (
            DynamoConfig::new("sha256", "sha256", KeyType::N),
            &[][..],
            "type S (the hash as hex text)",
        ),
        (
            table().sort("type", KeyType::S),
            &[],
            "give it with --type TEXT",
        ),
        (
            table().sort("set", KeyType::N),
            &["--attr", "set=7"],
            "--attr set:N=VALUE",
        ),
        (table(), &["--attr", "sha256=x"], "partition key"),
        (table(), &["--type", "a", "--attr", "type=b"], "given twice"),
    ] {
        let dynamo = FakeDynamo::start(dynamo);
        let ended = Run::ingest(URI, args).s3(&store).dynamo(&dynamo).run();
        ended.assert_status(2);
        ended.assert_stderr(&["error: ", "what to do: ", says]);
        assert_eq!(dynamo.stop().calls, 0, "nothing was written");
    }
}

#[test]
fn every_hash_is_written_despite_every_kind_of_fault() {
    let hashes = hashes(20_000);
    let chance = Chance {
        seed: 2026,
        unprocessed: 0.30,
        throttled: 0.05,
        drop_before: 0.005,
        drop_after: 0.005,
        server_error: 0.01,
    };
    let dynamo = FakeDynamo::start(table().plan(FaultPlan::default().chance(chance)));
    let s3 = s3(crlf(&hashes));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([20_000, 20_000, 0, 0, 0, 0]);
    assert_eq!(keys(&dynamo), hashes.into_iter().collect());
    let stats = dynamo.stop();
    assert!(
        stats.unprocessed > 5000 && stats.throttled > 20 && stats.dropped > 5 && stats.failed > 5
    );
    assert_eq!(stats.duplicates_in_batch, 0);
    assert_eq!(ended.number("unprocessed"), stats.unprocessed);
    assert_eq!(ended.number("throttled"), stats.throttled);
    assert_eq!(ended.number("requests"), stats.calls);
    assert_eq!(
        ended.number("written"),
        stats.items_written,
        "acknowledged, once each"
    );
}

#[test]
fn broken_responses_lose_no_item() {
    let hashes = hashes(500);
    let plan = FaultPlan::default()
        .at(1, Fault::Garbage)
        .at(2, Fault::UnknownUnprocessed)
        .at(3, Fault::CutAnswer)
        .at(4, Fault::UnprocessedAll)
        .at(5, Fault::Http(502, ""))
        .at(
            6,
            Fault::Throttling(vec!["TableWriteKeyRangeThroughputExceeded"]),
        )
        .at(7, Fault::DropAfter)
        .at(8, Fault::Http(503, "ServiceUnavailable"));
    let (s3, dynamo) = (s3(crlf(&hashes)), FakeDynamo::start(table().plan(plan)));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([500, 500, 0, 0, 0, 0]);
    assert_eq!(keys(&dynamo), hashes.into_iter().collect());
}

#[test]
fn one_invalid_item_rejects_one_line_and_not_its_batch() {
    let hashes = hashes(1000);
    let poison = hashes[412].clone();
    let plan = FaultPlan::default().reject_key(&poison);
    let (s3, dynamo) = (s3(crlf(&hashes)), FakeDynamo::start(table().plan(plan)));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .rejects()
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(3);
    ended.assert_line_counts([1000, 999, 0, 1, 0, 0]);
    assert_eq!(ended.rejects.len(), 1);
    let reject = &ended.rejects[0];
    assert_eq!(
        (&reject["line"], &reject["byte"]),
        (&json!(413), &json!(412 * 66))
    );
    assert_eq!(
        (&reject["reason"], &reject["text"]),
        (&json!("refused"), &json!(poison))
    );
    assert!(
        reject["detail"]
            .as_str()
            .is_some_and(|d| d.contains("ValidationException"))
    );
    assert_eq!(keys(&dynamo).len(), 999);
}

#[test]
fn a_permanent_error_stops_the_run_with_balanced_line_counts() {
    let s3 = s3(crlf(&hashes(5000)));
    let dynamo =
        FakeDynamo::start(table().plan(FaultPlan::default().from(20, Fault::AccessDenied)));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["AccessDeniedException", "dynamodb:BatchWriteItem"]);
    assert_eq!(ended.report["outcome"], "failed");
    assert_eq!(ended.number("written"), dynamo.stop().items_written);
    assert!(ended.number("failed") > 0);

    // Every item is invalid: the attributes do not fit.
    let dynamo = FakeDynamo::start(table().plan(FaultPlan::default().reject_items(|_| true)));
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "reports every item for table sha256 as invalid",
        "ValidationException",
        "--attr",
    ]);

    // Down for longer than --give-up-after.
    let plan = FaultPlan::default().from(3, Fault::Http(500, "InternalServerError"));
    let dynamo = FakeDynamo::start(table().plan(plan));
    let ended = Run::ingest(URI, &["--give-up-after", "1s"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "nothing could be written to table sha256 for 1 s",
        "InternalServerError",
    ]);
}

#[test]
fn an_s3_body_that_breaks_off_is_continued_from_the_next_byte() {
    let hashes = hashes(20_000);
    let list = crlf(&hashes);
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(1_000_003))
        .get(2, S3Fault::Reset)
        .get(3, S3Fault::EndAfter(7))
        .get(4, S3Fault::SlowDown);
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", list.clone())
            .plan(plan),
    );
    let dynamo = FakeDynamo::start(table());
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([20_000, 20_000, 0, 0, 0, 0]);
    ended.assert_stderr(&["broke off at byte 1000003"]);
    let gets = s3.stats().gets;
    assert!(
        gets[1..].iter().all(|g| g.if_match.is_some()),
        "pinned to the object: {gets:?}"
    );
    assert_eq!(gets[1].range.as_deref(), Some("bytes=1000003-"));

    // The object is replaced during the read.
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(500_000))
        .etag_from(2, "\"new\"");
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", list)
            .plan(plan),
    );
    let ended = Run::ingest(URI, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["ended at byte 500000", "replaced"]);
    assert!(
        ended.number("written") > 7000,
        "the lines read before are written"
    );
    assert_eq!(ended.number("failed"), 0);
}

#[test]
fn each_kind_of_bad_input_has_its_message_and_hint() {
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", crlf(&hashes(30)))
            .object("lists", "7z", &b"7z\xBC\xAF\x27\x1C\0\x04"[..])
            .object(
                "lists",
                "elf",
                [&b"\x7FELF\x02\x01\x01\0"[..], &[0; 5000]].concat(),
            )
            .object("lists", "utf32", vec![0xFF, 0xFE, 0, 0, b'a', 0, 0, 0]),
    );
    let dynamo = FakeDynamo::start(table());
    let run = |source: &str, args: &[&str]| Run::ingest(source, args).s3(&s3).dynamo(&dynamo);
    for (run, says) in [
        (run("s3://nowhere/a", &[]), &["no such bucket"][..]),
        (
            run("s3://lists/nothing", &[]),
            &["no such object", "case-sensitive"],
        ),
        (
            run(URI, &["--table", "other"]),
            &["no table other", "us-east-1", "--region"],
        ),
        (run("s3://lists", &[]), &["names no object"]),
        (
            run("s3://lists/none/", &[]),
            &["found no object under s3://lists/none/", "case-sensitive"],
        ),
        (
            run("s3://lists/a", &[]),
            &["no such object", "a prefix must end in /"],
        ),
        (run("gs://lists/a", &[]), &["expected s3://bucket/key"]),
        (run("missing.txt", &[]), &["missing.txt", "No such file"]),
        (run(".", &[]), &["is a directory"]),
        (run("s3://lists/7z", &[]), &["a 7z archive", "extract"]),
        (
            run("s3://lists/elf", &[]),
            &["binary file", "one hash per line"],
        ),
        (run("s3://lists/utf32", &[]), &["UTF-32", "iconv"]),
        (run(URI, &["--rate", "0"]), &["--rate", "above 0"]),
        (run(URI, &["--rate", "-5"]), &["--rate", "above 0"]),
        (run(URI, &["--rate", "abc"]), &["--rate", "auto, max"]),
        (run(URI, &["--concurrency", "0"]), &["1 to 1024"]),
        (run(URI, &["--hash", "sha257"]), &["sha256, sha1, md5"]),
        (
            run(URI, &["--attr", "n:N=x"]),
            &["a number of at most 38 digits"],
        ),
        (
            run(URI, &["--rejects", "no/such/folder/x"]),
            &["no/such/folder/x"],
        ),
        (
            run(URI, &["--endpoint-url", "nonsense"]),
            &["--endpoint-url", "http://127.0.0.1:8000"],
        ),
        (
            run(URI, &[]).env("AWS_ENDPOINT_URL_DYNAMODB", "nonsense"),
            &["AWS_ENDPOINT_URL_DYNAMODB"],
        ),
        (
            run(URI, &[])
                .without_env("AWS_ACCESS_KEY_ID")
                .without_env("AWS_SECRET_ACCESS_KEY"),
            &["no AWS credentials", "AWS_PROFILE", "--local DIR"],
        ),
        (
            run(URI, &[]).without_env("AWS_REGION"),
            &["no AWS region", "--region"],
        ),
        (
            run("-", &[]).input("hello\nworld\n").env("X", "pk"),
            &["rejected"],
        ),
    ] {
        let ended = run.run();
        ended.assert_stderr(says);
        if says == ["rejected"] {
            ended.assert_status(1);
            continue;
        }
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&["error: "]);
    }
    assert_eq!(dynamo.stats().calls, 0, "nothing was written");

    let ended = Run::new(&[
        "ingest",
        URI,
        "--table",
        "sha256",
        "--report",
        "no/such/folder/r",
    ])
    .s3(&s3)
    .dynamo(&dynamo)
    .run();
    assert_eq!(ended.status, 2);
    ended.assert_stderr(&["cannot write the report to no/such/folder/r"]);

    // A bucket in another region.
    let plan = S3Plan::default().gets_from(1, S3Fault::Redirect("eu-central-1"));
    let far = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", "x")
            .plan(plan),
    );
    let ended = Run::ingest(URI, &[] as &[&str])
        .s3(&far)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["region eu-central-1", "--region eu-central-1"]);

    // No server at the endpoint.
    let gone = FakeS3::start(S3Config::default());
    let endpoint = gone.endpoint();
    gone.stop();
    let ended = run(URI, &[]).env("AWS_ENDPOINT_URL_S3", &endpoint).run();
    ended.assert_status(1);
    ended.assert_stderr(&["cannot be reached", "nothing was written"]);
}

#[test]
fn an_empty_object_is_an_error_and_an_empty_pipe_is_not() {
    let (s3, dynamo) = (s3(""), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_line_counts([0; 6]);
    ended.assert_stderr(&["is empty", "s3://lists/a/list.txt has no lines"]);
    assert_eq!(ended.report["outcome"], "failed");
    assert!(!ended.stderr.contains("To resume"), "{}", ended.stderr);

    // `verify` without a missing hash pipes nothing.
    let ended = Run::ingest("-", &[] as &[&str])
        .input("")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([0; 6]);
    ended.assert_stderr(&["standard input has no lines: there is nothing to do"]);
    let ended = Run::ingest("-", &["empty"])
        .file("empty", b"")
        .input("")
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["-, empty have no lines"]);
}

/// Below a thousand lines the percentage limit of rejected lines does not apply.
#[test]
fn a_list_without_a_hash_is_an_error_that_describes_its_lines() {
    let md5s: String = (0..60).map(|i| format!("{i:032x}\n")).collect();
    let named: String = (0..60).map(|i| format!("{i:032x}  /bin/{i}\n")).collect();
    let dynamo = FakeDynamo::start(table());
    let none = "none of the 60 lines is a SHA-256";
    let md5 = "they look like MD5 (32 hexadecimal digits)";
    for (list, args, rejected, says) in [
        (&md5s, &[][..], 60, &[none, md5, "--hash md5"][..]),
        (&md5s, &["--dry-run"], 60, &[none, md5]),
        (&md5s, &["--distinct", "exact"], 60, &[none, md5]),
        (
            &named,
            &["--format", "lines"],
            60,
            &[none, "blanks and a file name"],
        ),
        (
            &"# x\n".repeat(60),
            &[],
            0,
            &[none, "all of them are skipped"],
        ),
        (
            &"hello\n".repeat(60),
            &[],
            60,
            &[none, "the first: ", "\"hello\""],
        ),
    ] {
        let s3 = s3(list.clone());
        let args = [&["--rate", "max"], args].concat();
        let ended = Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(1);
        ended.assert_line_counts([60, 0, 0, rejected, 60 - rejected, 0]);
        ended.assert_stderr(says);
        let how = match args.contains(&"--dry-run") {
            true => "Failed (dry run: nothing was sent).",
            false => "Failed: nothing was written.",
        };
        ended.assert_stderr(&[how]);
        assert_eq!(ended.report["outcome"], "failed", "{args:?}");
        let error = ended.report["error"].as_str().unwrap_or_default();
        assert!(error.contains(none), "{error}");
        assert!(!ended.stderr.contains("To resume"), "{}", ended.stderr);
    }
    assert_eq!(dynamo.stop().calls, 0, "nothing was written");

    // A single hash among them is enough.
    let dynamo = FakeDynamo::start(table());
    let s3 = s3(format!("{}{}\n", "hello\n".repeat(60), hashes(1)[0]));
    let ended = Run::ingest(URI, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(3);
    ended.assert_line_counts([61, 1, 0, 60, 0, 0]);
}

#[test]
fn a_table_whose_key_names_another_algorithm_is_an_error_unless_the_key_is_given() {
    let md5s: String = (0..60).map(|i| format!("{i:032x}\n")).collect();
    let (s3, dynamo) = (s3(md5s), FakeDynamo::start(table()));
    let with = |command: &str, args: &[&str]| {
        let base = [
            command, URI, "--table", "sha256", "--hash", "md5", "--rate", "max",
        ];
        let args = [&base[..if command == "plan" { 6 } else { 8 }], args].concat();
        Run::new(&args).s3(&s3).dynamo(&dynamo).run()
    };
    for command in ["ingest", "verify", "lookup", "plan"] {
        let ended = with(command, &[]);
        assert_eq!(ended.status, 2, "{command}: {}", ended.stderr);
        ended.assert_stderr(&[
            "md5 does not fit table sha256",
            "its partition key is named sha256",
            "--key sha256",
        ]);
    }
    assert_eq!(dynamo.stats().calls, 0);
    for (command, status) in [("ingest", 0), ("verify", 0), ("lookup", 0), ("plan", 0)] {
        let ended = with(command, &["--key", "sha256"]);
        assert_eq!(ended.status, status, "{command}: {}", ended.stderr);
    }
    assert_eq!(dynamo.stop().distinct, 60);
}

/// Limits every file to zero bytes, as on a full disk.
#[cfg(unix)]
#[test]
fn a_report_that_cannot_be_written_leaves_the_old_one_and_logs_the_counts() {
    let (s3, dynamo) = (s3(crlf(&hashes(60))), FakeDynamo::start(table()));
    let script = format!(
        "trap '' XFSZ; ulimit -f 0; exec '{}' ingest {URI} --table sha256 --checkpoint off \
         --report report.json -q --rate max",
        env!("CARGO_BIN_EXE_hashferry")
    );
    let run = Run::with_binary("/bin/sh", &["-c", &script])
        .file("report.json", b"{\"lines\": 7}")
        .s3(&s3)
        .dynamo(&dynamo);
    let ended = run.run();
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    assert_eq!(ended.report, json!({"lines": 7}), "the old one");
    ended.assert_stderr(&[
        "cannot write the report to report.json",
        "of 60 lines 60 are written to table sha256",
        "previous report is unchanged",
    ]);
    assert_eq!(dynamo.stop().distinct, 60);
}

#[test]
fn denied_credentials_are_reported_but_never_shown() {
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", crlf(&hashes(30)))
            .secret("other"),
    );
    let dynamo = FakeDynamo::start(table().secret("other"));
    let ended = Run::ingest(URI, &["-vv"]).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(2);
    ended.assert_stderr(&["credentials"]);
    assert!(!ended.stderr.contains(SECRET) && !ended.report.to_string().contains(SECRET));

    // With the right secret, every request has a valid signature.
    let s3 = FakeS3::start(
        S3Config::default()
            .object("lists", "a/list.txt", crlf(&hashes(500)))
            .secret(SECRET),
    );
    let dynamo = FakeDynamo::start(table().secret(SECRET));
    let ended = Run::ingest(URI, &["-vv"])
        .env("AWS_SESSION_TOKEN", "SESSIONTOKEN")
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([500, 500, 0, 0, 0, 0]);
    assert_eq!(dynamo.stop().unsigned, 0);
    for secret in [SECRET, "SESSIONTOKEN"] {
        assert!(!ended.stderr.contains(secret) && !ended.report.to_string().contains(secret));
    }
}

#[test]
fn the_target_rate_follows_the_table_the_rate_flag_and_max_rate() {
    let s3 = s3(crlf(&hashes(30)));
    let provisioned = |wcu| table().billing(Billing::Provisioned { wcu });
    let on_demand = |max| table().billing(Billing::OnDemand { max });
    for (config, args, target) in [
        (provisioned(777), &[][..], json!(777.0)),
        (provisioned(1000), &["--rate", "50%"], json!(500.0)),
        (provisioned(1000), &["--max-rate", "300"], json!(300.0)),
        (provisioned(1000), &["--rate", "2500"], json!(2500.0)),
        (provisioned(1000), &["--rate", "max"], Value::Null),
        (on_demand(None), &[], json!(4000.0)),
        (on_demand(Some(900)), &[], json!(900.0)),
    ] {
        let dynamo = FakeDynamo::start(config);
        let ended = Run::ingest(URI, args).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(0);
        assert_eq!(ended.report["target_wcu_per_s"], target, "{args:?}");
    }
}

#[test]
fn an_index_or_replica_with_less_capacity_sets_the_rate() {
    let s3 = s3(crlf(&hashes(30)));
    let index = json!([{"IndexName": "by-source", "IndexStatus": "ACTIVE",
        "KeySchema": [{"AttributeName": "source", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 300}}]);
    let replicas = json!([{"RegionName": "us-east-1"}, {"RegionName": "eu-west-1"}]);
    let thousand = || table().billing(Billing::Provisioned { wcu: 1000 });
    let indexed = || thousand().describe("GlobalSecondaryIndexes", index.clone());
    let global = || thousand().describe("Replicas", replicas.clone());
    let warm =
        json!({"WriteUnitsPerSecond": 9000, "ReadUnitsPerSecond": 12000, "Status": "ACTIVE"});
    let warm = table()
        .billing(Billing::OnDemand { max: None })
        .describe("WarmThroughput", warm);
    for (config, args, target) in [
        (indexed(), &["--source", "x"][..], 300.0),
        (indexed(), &["--type", "x"], 1000.0),
        (indexed(), &["--source", "x", "--rate", "50%"], 150.0),
        (global(), &[], 1000.0),
        (global(), &["--replica-capacity", "200"], 200.0),
        (warm, &[], 9000.0),
    ] {
        let dynamo = FakeDynamo::start(config);
        let ended = Run::ingest(URI, args).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(0);
        assert_eq!(ended.report["target_wcu_per_s"], target, "{args:?}");
    }
}

#[test]
fn the_rate_follows_a_table_whose_capacity_is_changed() {
    for (from, to) in [(2000, 500), (500, 4000)] {
        let s3 = s3(crlf(&hashes(3000)));
        let dynamo = FakeDynamo::start(table().billing(Billing::Provisioned { wcu: from }));
        let started = Run::ingest(URI, &["--capacity-interval", "100ms"])
            .s3(&s3)
            .dynamo(&dynamo)
            .start();
        let begun = dynamo.wait_until(Duration::from_secs(60), |s| s.items_written >= 200);
        assert!(begun.is_some(), "writing begins");
        dynamo.set_billing(Billing::Provisioned { wcu: to });
        let ended = started.wait();
        ended.assert_status(0);
        ended.assert_line_counts([3000, 3000, 0, 0, 0, 0]);
        assert_eq!(ended.report["target_wcu_per_s"], to as f64);
        ended.assert_stderr(&["the table's capacity changed from"]);
    }
}

#[test]
fn a_dry_run_counts_every_line_and_sends_nothing() {
    let list = [crlf(&hashes(1000)), b"garbage\n".to_vec()].concat();
    let (s3, dynamo) = (s3(list), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &["--dry-run"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(3);
    ended.assert_line_counts([1001, 1000, 0, 1, 0, 0]);
    assert_eq!(ended.report["dry_run"], true);
    assert_eq!(ended.number("requests"), 0);
    ended.assert_stderr(&[
        "nothing was sent",
        "would be written",
        "a real run would consume 1,000 WCU",
    ]);
    assert!(
        !ended.stderr.contains("acknowledged by"),
        "{}",
        ended.stderr
    );
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn several_files_and_standard_input_are_sources_of_one_run() {
    let hashes = hashes(900);
    let dynamo = FakeDynamo::start(table());
    let run = Run::ingest("one.txt", &["two.txt", "-", "--rate", "max"])
        .file("one.txt", &crlf(&hashes[..300]))
        .file("two.txt", &crlf(&hashes[200..600]))
        .input(crlf(&hashes[600..]))
        .dynamo(&dynamo);
    let ended = run.run();
    ended.assert_status(0);
    ended.assert_line_counts([1000, 900, 100, 0, 0, 0]);
    let sources = ended.report["sources"].as_array().expect("a list");
    let lines: Vec<_> = sources.iter().map(|s| s["lines"].as_u64()).collect();
    assert_eq!(lines, [Some(300), Some(400), Some(300)]);
    assert_eq!(keys(&dynamo).len(), 900);
}

#[test]
fn a_missing_later_source_fails_the_run_after_the_first_was_written() {
    let dynamo = FakeDynamo::start(table());
    let run = Run::ingest("one.txt", &["missing.txt"]).file("one.txt", &crlf(&hashes(300)));
    let ended = run.dynamo(&dynamo).run();
    ended.assert_status(1);
    ended.assert_line_counts([300, 300, 0, 0, 0, 0]);
    ended.assert_stderr(&["missing.txt"]);
}

#[cfg(unix)]
#[test]
fn after_a_signal_calls_in_flight_finish_and_the_line_counts_balance() {
    use nix::sys::signal::Signal;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let s3 = s3(crlf(&hashes(30_000)));
        let dynamo = FakeDynamo::start(table().latency(Duration::from_millis(20)));
        let started = Run::ingest(URI, &["--rate", "2000"])
            .s3(&s3)
            .dynamo(&dynamo)
            .start();
        let begun = dynamo.wait_until(Duration::from_secs(60), |s| s.items_written >= 500);
        assert!(begun.is_some(), "writing begins");
        started.signal(signal);
        let ended = started.wait();
        ended.assert_status(4);
        ended.assert_stderr(&["stopping"]);
        assert_eq!(ended.report["outcome"], "interrupted");
        let stats = dynamo.stop();
        assert_eq!(
            ended.number("written"),
            stats.items_written,
            "acknowledged items are counted"
        );
        assert!(ended.number("written") < 30_000 && ended.number("failed") > 0);
    }
}

#[cfg(unix)]
#[test]
fn a_run_stopped_before_the_end_of_its_input_is_interrupted() {
    use nix::sys::signal::Signal;
    let dynamo = FakeDynamo::start(table());
    // All lines so far are written, and the pipe is open.
    let started = Run::ingest("-", &[] as &[&str])
        .open_input(crlf(&hashes(30)))
        .dynamo(&dynamo)
        .start();
    assert!(
        dynamo
            .wait_until(Duration::from_secs(60), |s| s.items_written >= 30)
            .is_some()
    );
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    ended.assert_status(4);
    ended.assert_line_counts([30, 30, 0, 0, 0, 0]);

    // No byte was read yet, and the table was not described.
    let mut started = Run::ingest("-", &[] as &[&str])
        .open_input("")
        .dynamo(&dynamo)
        .start();
    started.wait_for_stderr("reading standard input");
    started.signal(Signal::SIGTERM);
    let ended = started.wait();
    ended.assert_status(4);
    ended.assert_line_counts([0; 6]);
}

#[cfg(unix)]
#[test]
fn a_second_signal_stops_at_once() {
    use nix::sys::signal::Signal;
    let s3 = s3(crlf(&hashes(1000)));
    let dynamo = FakeDynamo::start(table().plan(FaultPlan::default().from(2, Fault::Stall)));
    // The second call is sent after the response to the first is counted.
    let started = Run::ingest(URI, &["--concurrency", "1"])
        .s3(&s3)
        .dynamo(&dynamo)
        .start();
    assert!(
        dynamo
            .wait_until(Duration::from_secs(60), |s| s.calls >= 2)
            .is_some()
    );
    started.signal(Signal::SIGTERM);
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    ended.assert_status(4);
    assert_eq!(ended.number("written"), 25);
    assert_eq!(ended.number("failed"), ended.number("lines") - 25);
}

#[test]
fn progress_goes_to_stderr_in_the_requested_format() {
    let s3 = s3(crlf(&hashes(2000)));
    let dynamo = FakeDynamo::start(table());
    let run = |args: &[&str]| {
        let all = [
            &[
                "ingest",
                URI,
                "--table",
                "sha256",
                "--rate",
                "2000",
                "--progress-interval",
                "200ms",
            ],
            args,
        ]
        .concat();
        let ended = Run::new(&all).s3(&s3).dynamo(&dynamo).run();
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "stdout holds only results");
        ended.stderr
    };
    let log = run(&[]);
    assert!(
        log.contains("WCU/s of 2,000") && log.contains("Done: every line is accounted for"),
        "{log}"
    );
    assert!(!log.contains('\x1b'), "no colours in a pipe: {log}");

    let json = run(&["--progress", "json", "--log-format", "json", "-q"]);
    let events: Vec<Value> = json
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON lines only"))
        .collect();
    let event = events
        .iter()
        .find(|e| e["event"] == "progress")
        .expect("an event");
    assert_eq!(event["bytes"], 132_000);
    assert_eq!(event["target_wcu_per_s"], 2000.0);

    assert_eq!(run(&["--progress", "none", "-q"]), "", "quiet is quiet");
}

#[test]
fn help_has_examples() {
    for args in [
        &["--help"][..],
        &["ingest", "--help"],
        &["local", "--help"],
        &["demo", "--help"],
    ] {
        let ended = Run::new(args).run();
        assert_eq!(ended.status, 0);
        assert!(
            ended.stdout.contains("Examples:"),
            "{args:?}: {}",
            ended.stdout
        );
    }
    assert_eq!(Run::new(&["ingest"]).run().status, 2);
    assert_eq!(Run::new(&["nonsense"]).run().status, 2);
}
