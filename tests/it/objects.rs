//! Many objects as one source, with the real binary: prefixes, manifests and
//! inventories are read completely, in order and once.

use std::io::Write as _;
use std::time::Duration;

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use hashferry::bench::{Objects, Prefetch, Sources};
use hashferry::options::{DecompressOptions, Globs, ListOptions};
use hashferry::{Aws, AwsOptions, LocalEndpoints};
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(120);

const PREFIX: &str = "s3://lists/p/";

/// Keys in a page: few, so that a few objects need several pages.
const PAGE: usize = 7;

fn dynamo() -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S))
}

/// `lines` hashes, distinct for each `n`.
fn list(n: u64, lines: u64) -> Vec<u8> {
    (0..lines)
        .map(|i| format!("{:064X}\n", n * 1_000_000 + i))
        .collect::<String>()
        .into_bytes()
}

/// Objects with these keys in the bucket `lists`, with two hashes each.
fn objects(keys: &[&str]) -> S3Config {
    let config = S3Config::default().bucket("lists");
    (0..)
        .zip(keys)
        .fold(config, |config, (n, key)| {
            config.object("lists", key, list(n, 2))
        })
        .plan(S3Plan::default().page(PAGE))
}

/// `p/00` to `p/16`: three pages.
fn keys() -> Vec<String> {
    (0..17).map(|n| format!("p/{n:02}")).collect()
}

fn seventeen_objects() -> S3Config {
    let keys = keys();
    objects(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The report's sources.
fn uris(ended: &Finished) -> Vec<&str> {
    let sources = ended.report["sources"].as_array().expect("sources");
    sources
        .iter()
        .map(|s| s["uri"].as_str().expect("a URI"))
        .collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(text).and_then(|()| w.finish()).expect("gzip")
}

#[test]
fn objects_under_a_prefix_are_read_once_in_key_order() {
    // S3 orders keys by their bytes. The last three keys are not under the prefix.
    let keys = [
        "p/0/deep/er.txt",
        "p/0a",
        "p/10",
        "p/9",
        "p/Z",
        "p/a\rb",
        "p/a b+c%20d&e",
        "p/a/",
        "p/ä",
        "p/日本",
        "p",
        "pq/x",
        "q/p/x",
    ];
    let s3 = FakeS3::start(
        objects(&keys)
            .object("lists", "p/", "")
            .object("lists", "p/Z/", ""),
    );
    let dynamo = dynamo();
    let ended = Run::ingest(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([20, 20, 0, 0, 0, 0]);
    let expected: Vec<_> = keys[..10]
        .iter()
        .map(|k| format!("s3://lists/{k}"))
        .collect();
    assert_eq!(uris(&ended), expected);
    assert_eq!(dynamo.stop().distinct, 20);

    let stats = s3.stop();
    // Twelve keys, including those of folders, make two pages.
    assert_eq!(stats.list_count, 2);
    assert!(stats.lists.iter().all(|l| l.prefix == "p/"));
    assert_eq!(stats.lists[0].token, None);
    assert!(
        stats.lists[1].token.is_some(),
        "the second page has a token"
    );
    assert_eq!(stats.get_count, 10, "empty objects are not read");
}

#[test]
fn a_whole_bucket_is_a_prefix() {
    let (s3, dynamo) = (FakeS3::start(seventeen_objects()), dynamo());
    let ended = Run::ingest("s3://lists/", &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([34, 34, 0, 0, 0, 0]);
    let stats = s3.stop();
    assert_eq!(stats.lists.len(), 3);
    assert!(stats.lists.iter().all(|l| l.prefix.is_empty()));
}

#[tokio::test]
async fn the_remaining_bytes_are_known_from_the_last_page_on() {
    // The last object but one is too large for prefetching.
    let large = 1024 * 1024 + 65;
    let config = seventeen_objects().object("lists", "p/15", list(99, large / 65 + 1));
    let s3 = FakeS3::start(config);
    let local = LocalEndpoints {
        folder: "a test".into(),
        s3: s3.endpoint(),
        dynamodb: s3.endpoint(),
        region: "us-east-1".into(),
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "no secret".into(),
    };
    let options = AwsOptions {
        local: Some(local),
        ..AwsOptions::default()
    };
    let aws = Aws::load(&options).await.expect("a configuration");
    let exclude = ["07".to_owned()];
    let globs = Globs::new(&[], &exclude).expect("patterns");
    let sources = Sources::parse(&[PREFIX.to_owned()], &[], globs).expect("a prefix");
    // Eight objects are prefetched: at the seventh, the fourteenth is open, which is on
    // the last page.
    for (page, known_from) in [(100, 0), (PAGE, 6)] {
        s3.set_plan(S3Plan::default().page(page));
        let objects = Objects::new(&sources, &aws);
        let mut ahead = Prefetch::new(
            objects,
            &aws,
            &DecompressOptions::default(),
            &ListOptions::default(),
        );
        let mut reported = Vec::new();
        let mut lengths = Vec::new();
        while let Some(opened) = ahead.next().await.expect("it opens") {
            lengths.push(opened.length().expect("known"));
            reported.push(ahead.remaining_bytes());
        }
        assert_eq!(lengths.len(), 16, "one is excluded");
        for (n, reported) in reported.into_iter().enumerate() {
            let to_come = lengths[n + 1..].iter().sum::<u64>();
            assert_eq!(reported, (n >= known_from).then_some(to_come), "after {n}");
        }
    }
}

#[test]
fn failed_and_incomplete_pages_are_retried() {
    let (s3, dynamo) = (FakeS3::start(seventeen_objects()), dynamo());
    // Each page is invalid at first; the retry succeeds.
    let plan = S3Plan::default()
        .page(PAGE)
        .list(1, S3Fault::KeyLost)
        .list(3, S3Fault::TokenLost)
        .list(5, S3Fault::SlowDown);
    s3.set_plan(plan);
    let ended = Run::ingest(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([34, 34, 0, 0, 0, 0]);
    ended.assert_stderr(&[
        "listing s3://lists/p/ failed",
        "its KeyCount differs from its number of keys",
        "its continuation token is missing",
    ]);
    assert_eq!(uris(&ended).len(), 17);
    let tokens: Vec<_> = s3.stop().lists.into_iter().map(|l| l.token).collect();
    assert_eq!(tokens.len(), 6);
    for pair in tokens.chunks(2) {
        assert_eq!(pair[0], pair[1], "the same page");
    }
}

#[test]
fn a_page_that_keeps_failing_ends_the_run_after_the_pages_before() {
    let (s3, dynamo) = (FakeS3::start(seventeen_objects()), dynamo());
    let broken = (2..20).fold(S3Plan::default().page(PAGE), |plan, k| {
        plan.list(k, S3Fault::TokenLost)
    });
    s3.set_plan(broken);
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let checkpoint = checkpoint.to_str().expect("text");
    let run = || {
        Run::ingest(PREFIX, &["--checkpoint", checkpoint])
            .s3(&s3)
            .dynamo(&dynamo)
            .run()
    };
    let ended = run();
    ended.assert_status(1);
    ended.assert_line_counts([14, 14, 0, 0, 0, 0]);
    ended.assert_stderr(&["cannot list s3://lists/p/", "run this again"]);
    s3.set_plan(S3Plan::default().page(PAGE));
    let ended = run();
    ended.assert_status(0);
    ended.assert_line_counts([34, 34, 0, 0, 0, 0]);
    assert_eq!(dynamo.stop().distinct, 34);
}

#[test]
fn listing_errors_name_the_reason_and_a_fix() {
    let (s3, dynamo) = (FakeS3::start(seventeen_objects()), dynamo());
    let commands: [(&[&str], &str); 3] = [
        (&["ingest", PREFIX, "--table", "sha256"], "ingest.json"),
        (&["verify", PREFIX, "--table", "sha256"], "verify.json"),
        (&["plan", PREFIX], "plan.json"),
    ];
    for (args, policy) in commands {
        s3.set_plan(S3Plan::default().list(1, S3Fault::AccessDenied));
        let ended = Run::new(args).s3(&s3).dynamo(&dynamo).run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[
            "cannot list s3://lists/p/",
            "s3:ListBucket",
            &format!("scripts/iam/{policy}"),
        ]);
    }
    s3.set_plan(S3Plan::default().list(1, S3Fault::Redirect("eu-west-1")));
    let ended = Run::ingest(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["in region eu-west-1", "--region eu-west-1"]);

    s3.set_plan(S3Plan::default());
    let nothing: [(&str, &[&str], &[&str]); 5] = [
        (
            "s3://nowhere/p/",
            &[],
            &["s3://nowhere/p/", "no such bucket"],
        ),
        ("s3://lists/P/", &[], &["no object under s3://lists/P/"]),
        (
            PREFIX,
            &["--include", "*.txt"],
            &["match no object of s3://lists/p/"],
        ),
        ("list.txt", &["--include", "*"], &["give a prefix"]),
        (
            PREFIX,
            &["--exclude", "[a"],
            &["--exclude [a", "not a valid pattern"],
        ),
    ];
    for (source, args, says) in nothing {
        let ended = Run::ingest(source, args).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(2);
        ended.assert_stderr(says);
    }
    assert_eq!(dynamo.stop().calls, 0, "nothing was written");

    // An empty prefix beside another source is a warning.
    let dynamo = self::dynamo();
    let ended = Run::ingest(PREFIX, &["s3://lists/P/"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_stderr(&["no object under s3://lists/P/; skipping it"]);
}

#[test]
fn patterns_select_objects_and_exclude_takes_precedence() {
    let keys = [
        "p/2025/a.txt",
        "p/2025/b.csv",
        "p/2026/a.txt",
        "p/2026/old/c.txt",
        "p/README",
    ];
    let (s3, dynamo) = (FakeS3::start(objects(&keys)), dynamo());
    let patterns = [
        "--include",
        "*.txt",
        "--include",
        "README",
        "--exclude",
        "2026/old/*",
    ];
    let ended = Run::ingest(PREFIX, &patterns).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    assert_eq!(
        uris(&ended),
        [
            "s3://lists/p/2025/a.txt",
            "s3://lists/p/2026/a.txt",
            "s3://lists/p/README"
        ]
    );
    // The other objects are not in the table.
    let verified = Run::verify(PREFIX, &patterns).s3(&s3).dynamo(&dynamo).run();
    verified.assert_status(0);
    let all = Run::verify(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    all.assert_status(5);
    assert_eq!(all.number("missing"), 4);
    assert_eq!(s3.stop().get_count, 3 + 3 + 5);
}

#[test]
fn a_manifest_names_objects_and_files() {
    let manifest = "\u{FEFF}# what there is\n\n  s3://lists/p/03  \r\nlocal.txt\ns3://lists/p/01";
    let s3 = FakeS3::start(seventeen_objects().object("lists", "m.gz", gzip(manifest.as_bytes())));
    let dynamo = dynamo();
    let expected = ["s3://lists/p/03", "local.txt", "s3://lists/p/01"];
    let run = |source: &str, args: &[&str]| {
        Run::ingest(source, args)
            .s3(&s3)
            .dynamo(&dynamo)
            .file("m.txt", manifest.as_bytes())
            .file("local.txt", &list(99, 3))
    };
    // As a file, as a compressed object, and through a pipe.
    let file = run("--manifest=m.txt", &[]).run();
    let object = run("--manifest=s3://lists/m.gz", &[]).run();
    let pipe = run("--manifest=-", &[]).input(manifest).run();
    for ended in [file, object, pipe] {
        ended.assert_status(0);
        ended.assert_line_counts([7, 7, 0, 0, 0, 0]);
        assert_eq!(uris(&ended), expected);
    }
    let ended = run("--manifest=m.txt", &["--exclude", "p/*", "s3://lists/p/09"]).run();
    ended.assert_status(0);
    assert_eq!(
        uris(&ended),
        ["s3://lists/p/09", "local.txt"],
        "sources come first, and patterns do not choose among them"
    );
    let plan = Run::new(&["plan", "--manifest", "m.txt", "--json"])
        .s3(&s3)
        .file("m.txt", manifest.as_bytes())
        .file("local.txt", &list(99, 3))
        .run();
    assert_eq!(plan.status, 0, "{}", plan.stderr);
    assert!(
        plan.stdout.contains("\"s3://lists/p/03\""),
        "{}",
        plan.stdout
    );
}

#[test]
fn an_invalid_manifest_is_an_error_with_its_line() {
    let (s3, dynamo) = (FakeS3::start(seventeen_objects()), dynamo());
    let run = |manifest: &[u8], args: &[&str]| {
        Run::ingest("--manifest=m", args)
            .s3(&s3)
            .dynamo(&dynamo)
            .file("m", manifest)
            .run()
    };
    let orc = br#"{"destinationBucket":"arn:aws:s3:::inv","fileFormat":"ORC","fileSchema":"x","files":[]}"#;
    let no_key = br#"{"destinationBucket":"arn:aws:s3:::inv","fileFormat":"CSV","fileSchema":"Bucket, Size","files":[]}"#;
    let none = br#"{"destinationBucket":"arn:aws:s3:::inv","fileFormat":"CSV","fileSchema":"Bucket, Key","files":[]}"#;
    let cases: [(&[u8], &[&str]); 8] = [
        (
            b"s3://lists/p/01\ns3://lists/p/\n",
            &["m, line 2", "s3://lists/p/"],
        ),
        (b"\n-\n", &["m, line 2"]),
        (
            b"https://lists/p\n",
            &["m, line 1", "one s3://bucket/key or path per line"],
        ),
        (b"# nothing\n", &["the manifest m names no object"]),
        (
            b"{\"files\": 7}",
            &["m is not a manifest", "not of an S3 inventory"],
        ),
        (orc, &["files are ORC", "expected CSV"]),
        (no_key, &["fileSchema has no Bucket and Key"]),
        (none, &["the manifest m names no object"]),
    ];
    for (manifest, says) in cases {
        let ended = run(manifest, &[]);
        ended.assert_status(2);
        ended.assert_stderr(says);
    }
    for (names, says) in [
        (
            &["ingest", "--manifest", "s3://lists/p/", "--table", "t"][..],
            "one file or object",
        ),
        (
            &["ingest", "-", "--manifest", "-", "--table", "t"],
            "named twice",
        ),
        (&["ingest", "--table", "t"], "<SOURCE>"),
        (
            &["ingest", "--manifest", "missing", "--table", "t"],
            "missing",
        ),
    ] {
        let ended = Run::new(names).s3(&s3).dynamo(&dynamo).run();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_stderr(&[says]);
    }
    assert_eq!(dynamo.stop().calls, 0, "nothing was written");

    // After the first write the exit status is 1, not 2.
    let dynamo = self::dynamo();
    let ended = Run::ingest("s3://lists/p/00", &["--manifest", "m"])
        .s3(&s3)
        .dynamo(&dynamo)
        .file("m", b"-\n")
        .run();
    ended.assert_status(1);
    ended.assert_line_counts([2, 2, 0, 0, 0, 0]);
    ended.assert_stderr(&["m, line 1"]);
}

#[test]
fn an_inventory_lists_the_latest_versions_in_all_its_files() {
    let keys = [
        "p/a b.txt",
        "p/c+d.txt",
        "p/e\u{e9}.txt",
        "p/old.txt",
        "p/gone.txt",
    ];
    let first = "\"lists\",\"p/a+b.txt\",\"v1\",\"true\",\"false\",\"130\",\"x\"\n\
                 \"lists\",\"p/old.txt\",\"v1\",\"false\",\"false\",\"130\",\"x\"\n\
                 \"lists\",\"p/\",\"v1\",\"true\",\"false\",\"0\",\"x\"\n";
    let second = "\"lists\",\"p/gone.txt\",\"v2\",\"true\",\"true\",\"\",\"\"\n\
                  \"lists\",\"p/c%2Bd.txt\",\"v1\",\"true\",\"false\",\"130\",\"x\"\r\n\
                  \"lists\",\"p/e%C3%A9.txt\",\"v1\",\"true\",\"false\",\"130\",\"x\"";
    let manifest = r#"{"sourceBucket":"lists","destinationBucket":"arn:aws:s3:::inventories",
        "version":"2016-11-30","creationTimestamp":"1794700800000","fileFormat":"CSV",
        "fileSchema":"Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag",
        "files":[{"key":"data/1.csv.gz","size":1,"MD5checksum":"0"},
                 {"key":"data/2.csv.gz","size":1,"MD5checksum":"0"}]}"#;
    let config = objects(&keys)
        .object("inventories", "2026/manifest.json", manifest)
        .object("inventories", "data/1.csv.gz", gzip(first.as_bytes()))
        .object("inventories", "data/2.csv.gz", gzip(second.as_bytes()));
    let (s3, dynamo) = (FakeS3::start(config), dynamo());
    let run = || {
        Run::ingest(
            "--manifest=s3://inventories/2026/manifest.json",
            &[] as &[&str],
        )
        .s3(&s3)
        .dynamo(&dynamo)
        .run()
    };
    let ended = run();
    ended.assert_status(0);
    ended.assert_line_counts([6, 6, 0, 0, 0, 0]);
    assert_eq!(
        uris(&ended),
        [
            "s3://lists/p/a b.txt",
            "s3://lists/p/c+d.txt",
            "s3://lists/p/e\u{e9}.txt"
        ]
    );
    assert_eq!(
        s3.stats().list_count,
        0,
        "an inventory is read in place of listing"
    );

    // A row that does not match the manifest, and a missing file.
    s3.put("inventories", "data/2.csv.gz", gzip(b"\"lists\"\n"));
    let ended = run();
    assert_ne!(ended.status, 0);
    ended.assert_stderr(&[
        "s3://inventories/data/2.csv.gz, line 1",
        "the columns named in its manifest.json",
    ]);
    s3.delete("inventories", "data/1.csv.gz");
    let ended = run();
    ended.assert_status(2);
    ended.assert_stderr(&["s3://inventories/data/1.csv.gz", "no such object"]);
}

#[test]
fn a_run_resumes_although_the_inventory_is_older_than_its_objects() {
    let row = |n: u64, tag: &str| format!("\"lists\",\"p/{n}\"{tag}\n");
    for (schema, tag) in [
        ("Bucket, Key", ""),
        ("Bucket, Key, Size, ETag", ",\"7\",\"of-yesterday\""),
    ] {
        let manifest = format!(
            r#"{{"destinationBucket":"arn:aws:s3:::lists","fileFormat":"CSV","fileSchema":"{schema}","files":[{{"key":"1.csv"}}]}}"#
        );
        let rows: String = (0..3).map(|n| row(n, tag)).collect();
        let config = (0..2).fold(S3Config::default(), |c, n| {
            c.object("lists", &format!("p/{n}"), list(n, 10))
        });
        let config = config
            .object("lists", "manifest.json", manifest)
            .object("lists", "1.csv", rows);
        let (s3, dynamo) = (FakeS3::start(config), dynamo());
        let folder = tempfile::tempdir().expect("a folder");
        let checkpoint = folder.path().join("checkpoint");
        let checkpoint = checkpoint.to_str().expect("text");
        let run = || {
            let manifest = "--manifest=s3://lists/manifest.json";
            Run::ingest(manifest, &["--checkpoint", checkpoint])
                .s3(&s3)
                .dynamo(&dynamo)
                .run()
        };
        let first = run();
        first.assert_status(1);
        first.assert_stderr(&["s3://lists/p/2"]);
        s3.put("lists", "p/2", list(2, 10));
        let last = run();
        last.assert_status(0);
        last.assert_line_counts([30, 30, 0, 0, 0, 0]);
        assert_eq!(dynamo.stop().distinct, 30, "{schema}");
    }
}

#[test]
fn a_manifest_from_a_pipe_cannot_be_resumed() {
    let (s3, dynamo) = (FakeS3::start(objects(&["p/00"])), dynamo());
    let run = |args: &[&str]| {
        Run::ingest("--manifest=-", args)
            .s3(&s3)
            .dynamo(&dynamo)
            .input("s3://lists/p/00\n")
            .run()
    };
    let ended = run(&["--checkpoint", "checkpoint"]);
    ended.assert_status(2);
    ended.assert_stderr(&["a source that can be read again: a pipe cannot"]);
    run(&[]).assert_status(0);
}

#[test]
fn a_run_resumes_among_its_objects_only_if_they_are_unchanged() {
    const LINES: u64 = 200;
    let key = |n: u64| format!("p/{n:02}");
    let fresh = || {
        let config = S3Config::default().plan(S3Plan::default().page(PAGE));
        (0..20).fold(config, |c, n| c.object("lists", &key(n), list(n, LINES)))
    };
    let (s3, dynamo) = (FakeS3::start(fresh()), dynamo());
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let checkpoint = checkpoint.to_str().expect("text");
    let run = |rate: &str| {
        Run::ingest(PREFIX, &["--checkpoint", checkpoint, "--rate", rate])
            .s3(&s3)
            .dynamo(&dynamo)
    };
    let started = run("1000").start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 4 * LINES)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    let first = started.wait();
    first.assert_status(4);
    assert!(first.number("lines") < 20 * LINES, "it was not at its end");

    let calls = dynamo.stats().calls;
    let assert_not_resumed = |says: &[&str]| {
        let ended = run("max").run();
        ended.assert_status(2);
        ended.assert_stderr(says);
    };
    let name = |n: u64| format!("s3://lists/{}", key(n));
    s3.delete("lists", &key(1));
    assert_not_resumed(&[&name(1), &name(2), "the sources have changed"]);
    s3.put("lists", &key(1), list(77, LINES));
    assert_not_resumed(&[&name(1), "has changed since", "ETag"]);
    s3.put("lists", &key(1), list(1, LINES));
    s3.put("lists", "p/00a", list(78, LINES));
    assert_not_resumed(&["s3://lists/p/00a", "the sources have changed"]);
    s3.delete("lists", "p/00a");
    assert_eq!(dynamo.stats().calls, calls, "nothing was written");

    // Objects after the checkpoint may change.
    s3.put("lists", "p/21", list(21, LINES));
    let last = run("max").run();
    last.assert_status(0);
    last.assert_stderr(&["resuming an earlier run"]);
    last.assert_line_counts([21 * LINES, 21 * LINES, 0, 0, 0, 0]);
    assert_eq!(uris(&last).last(), Some(&"s3://lists/p/21"));
    assert_eq!(dynamo.stop().distinct, 21 * LINES);
}

#[test]
fn a_prefix_of_the_embedded_s3_is_listed() {
    let run = Run::ingest(PREFIX, &["--local", "data"]);
    let folder = run.dir().join("data/s3/lists/p/deep");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (n, name) in (0..).zip(["b.txt", "deep/a.txt", "deep.txt", "a.txt"]) {
        let path = run.dir().join("data/s3/lists/p").join(name);
        std::fs::write(path, list(n, 2)).expect("a list");
    }
    let ended = run.run();
    ended.assert_status(0);
    ended.assert_line_counts([8, 8, 0, 0, 0, 0]);
    assert_eq!(
        uris(&ended),
        ["a.txt", "b.txt", "deep.txt", "deep/a.txt"].map(|k| format!("{PREFIX}{k}"))
    );
}

#[test]
fn help_names_prefixes_and_manifests_as_sources() {
    for command in ["ingest", "verify", "plan"] {
        let ended = Run::new(&[command, "--help"]).run();
        assert_eq!(ended.status, 0);
        for word in [
            "s3://bucket/prefix/",
            "--manifest",
            "--include",
            "--exclude",
        ] {
            assert!(ended.stdout.contains(word), "{command}: {word}");
        }
    }
}

/// 1,200 small objects. Number 700 is a truncated gzip file.
fn objects_with_one_broken() -> (S3Config, Vec<u8>) {
    let whole = gzip(&list(700, 40));
    let config = (0..1200).fold(S3Config::default(), |config, n| {
        let object = match n {
            700 => whole[..whole.len() / 2].to_vec(),
            n => list(n, 40),
        };
        config.object("lists", &format!("many/{n:04}"), object)
    });
    (config, whole)
}

#[test]
fn a_run_stops_at_a_broken_object_and_resumes_after_it_is_fixed() {
    let (config, whole) = objects_with_one_broken();
    let (s3, dynamo) = (FakeS3::start(config), dynamo());
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let checkpoint = checkpoint.to_str().expect("text");
    let run = || {
        let args = ["--checkpoint", checkpoint, "--rate", "max"];
        Run::ingest("s3://lists/many/", &args)
            .s3(&s3)
            .dynamo(&dynamo)
    };
    let first = run().run();
    first.assert_status(1);
    first.assert_stderr(&["s3://lists/many/0700", "cut off", "Failed"]);
    // Every object before it is written, and its valid part.
    let written = first.number("written");
    assert!((28_000..28_040).contains(&written), "{written}");
    assert_eq!(first.number("failed"), 0);
    let sources = first.report["sources"].as_array().expect("a list").len();
    assert_eq!(sources, 701);
    // While it stays broken, the run stops there again.
    let again = run().run();
    again.assert_status(1);
    again.assert_stderr(&["resuming an earlier run", "s3://lists/many/0700"]);

    s3.put("lists", "many/0700", whole);
    let before = s3.stats().gets.len();
    let last = run().run();
    last.assert_status(0);
    last.assert_stderr(&["resuming an earlier run at the start of s3://lists/many/0700"]);
    last.assert_line_counts([48_000, 48_000, 0, 0, 0, 0]);
    let report = last.report["sources"].as_array().expect("a list").clone();
    assert_eq!(report.len(), 1200);
    assert!(
        report
            .iter()
            .all(|s| s["lines"] == 40 && s["written"] == 40)
    );
    // The first object is opened to detect its format; the others before the checkpoint
    // are not.
    let gets = s3.stats().gets;
    let is_skipped = |key: &str| key < "many/0700" && key > "many/0008";
    assert!(!gets[before..].iter().any(|g| is_skipped(&g.key)));
    assert_eq!(dynamo.stop().distinct, 48_000);
}

/// md5sums files as in packages: some are empty, one has only comments.
fn md5sums(keys: u64) -> S3Config {
    let object = |n: u64| match n {
        0 | 5 | 6 => String::new(),
        1 | 9 => "# nothing to be checked\n\n".to_owned(),
        n => format!("{n:032x}  usr/share/doc/{n}\n"),
    };
    (0..keys).fold(S3Config::default(), |config, n| {
        config.object("lists", &format!("p/{n:02}"), object(n))
    })
}

#[test]
fn objects_without_rows_do_not_determine_columns_or_algorithm() {
    let s3 = FakeS3::start(md5sums(17));
    let args = ["--attr-from", "name=name", "--rate", "max", "--table", "t"];
    // The key's name does not tell the algorithm: the first object with rows does.
    let dynamo = FakeDynamo::start(DynamoConfig::new("t", "pk", KeyType::S));
    let ended = Run::ingest(PREFIX, &args).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_line_counts([16, 12, 0, 0, 4, 0]);
    ended.assert_stderr(&["reading the list as md5"]);
    assert_eq!(uris(&ended).len(), 17);
    let items = dynamo.items();
    let item = &items[format!("{:032X}", 12).as_bytes()];
    assert_eq!(item["name"], serde_json::json!({"S": "usr/share/doc/12"}));
    let verified = Run::verify(PREFIX, &args).s3(&s3).dynamo(&dynamo).run();
    verified.assert_status(0);
    verified.assert_verified([16, 12, 0, 0, 0, 0, 4, 0]);
    // A missing column in the first object with rows is an error before any write.
    let ended = Run::ingest(PREFIX, &["--attr-from", "n=nope", "--table", "t"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "s3://lists/p/02: ",
        "no column \"nope\"",
        "the columns are name and size",
    ]);
    // So is an ambiguous algorithm.
    let table = S3Config::default().object("lists", "p/0", "").object(
        "lists",
        "p/1",
        format!("md5,sha1\n{:032x},{:040x}\n", 1, 1),
    );
    let s3 = FakeS3::start(table);
    let dynamo = FakeDynamo::start(DynamoConfig::new("t", "pk", KeyType::S));
    let ended = Run::ingest(PREFIX, &["--table", "t"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "s3://lists/p/1 has hash columns of several algorithms",
        "--hash",
    ]);
}

#[test]
fn a_run_resumes_at_and_after_objects_without_rows() {
    let comments = "# nothing\n".repeat(5000);
    let rows = |from: u64| {
        let row = |n: u64| format!("{n:032x}  file {n}\n");
        (from..from + 3000).map(row).collect::<String>()
    };
    let config = S3Config::default()
        .object("lists", "p/0", comments.clone())
        .object("lists", "p/1", rows(0))
        .object("lists", "p/2", "")
        .object("lists", "p/3", comments)
        .object("lists", "p/4", rows(3000));
    let s3 = FakeS3::start(config);
    let dynamo = FakeDynamo::start(DynamoConfig::new("t", "pk", KeyType::S));
    let folder = tempfile::tempdir().expect("a folder");
    let checkpoint = folder.path().join("checkpoint");
    let checkpoint = checkpoint.to_str().expect("text");
    let run = |rate: &str| {
        let args = ["--attr-from", "name=name", "--table", "t", "--rate", rate];
        Run::ingest(PREFIX, &[&args[..], &["--checkpoint", checkpoint]].concat())
            .s3(&s3)
            .dynamo(&dynamo)
    };
    for written in [1000, 3500] {
        let started = run("2000").start();
        dynamo
            .wait_until(LIMIT, |s| s.items_written >= written)
            .expect("it writes");
        started.signal(Signal::SIGTERM);
        started.wait().assert_status(4);
    }
    let ended = run("max").run();
    ended.assert_status(0);
    ended.assert_line_counts([16_000, 6000, 0, 0, 10_000, 0]);
    assert_eq!(dynamo.stop().distinct, 6000);
}

#[test]
fn each_table_under_a_prefix_has_its_own_header() {
    let config = (0..40u64).fold(S3Config::default(), |config, n| {
        let rows = match n % 3 {
            0 => String::new(),
            _ => format!("\"x, {n}\", {n:064x}\n"),
        };
        config.object(
            "lists",
            &format!("p/{n:02}"),
            format!("name, sha256\n{rows}"),
        )
    });
    let (s3, dynamo) = (FakeS3::start(config), dynamo());
    let ended = Run::ingest(PREFIX, &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    ended.assert_line_counts([66, 26, 0, 0, 40, 0]);
}
