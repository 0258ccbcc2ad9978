//! Many objects as one source, by the real binary: what is under a prefix or in a
//! manifest is read, all of it, in order, once; and what is none says so.

use std::io::Write as _;
use std::time::Duration;

use crate::common::binary::{Ended, Run};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use hashferry::bench::{Ahead, Objects, Sources};
use hashferry::options::{Form, Globs, Unpack};
use hashferry::{Aws, AwsOptions, LocalEndpoints};
use nix::sys::signal::Signal;

const LIMIT: Duration = Duration::from_secs(120);

const PREFIX: &str = "s3://lists/p/";

/// Keys in a page: few, so that a few objects make several.
const PAGE: usize = 7;

fn dynamo() -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S))
}

/// `lines` hashes that no other `n` has.
fn list(n: u64, lines: u64) -> Vec<u8> {
    (0..lines)
        .map(|i| format!("{:064X}\n", n * 1_000_000 + i))
        .collect::<String>()
        .into_bytes()
}

/// Objects of these keys in the bucket `lists`, of two hashes each.
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

fn seventeen() -> S3Config {
    let keys = keys();
    objects(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The report's sources.
fn uris(ended: &Ended) -> Vec<&str> {
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
fn every_object_under_a_prefix_is_read_once_in_the_order_of_the_keys() {
    // S3's order is that of the bytes; of these, the last three are not under it.
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
        .end();
    ended.assert_status(0);
    ended.assert_books([20, 20, 0, 0, 0, 0]);
    let expected: Vec<_> = keys[..10]
        .iter()
        .map(|k| format!("s3://lists/{k}"))
        .collect();
    assert_eq!(uris(&ended), expected);
    assert_eq!(dynamo.stop().distinct, 20);

    let stats = s3.stop();
    // Twelve keys, the folders' own included, are two pages.
    assert_eq!(stats.list_count, 2);
    assert!(stats.lists.iter().all(|l| l.prefix == "p/"));
    assert_eq!(stats.lists[0].token, None);
    assert!(stats.lists[1].token.is_some(), "the second goes on");
    assert_eq!(stats.get_count, 10, "what is empty is not read");
}

#[test]
fn the_whole_bucket_is_a_prefix_too() {
    let (s3, dynamo) = (FakeS3::start(seventeen()), dynamo());
    let ended = Run::ingest("s3://lists/", &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    ended.assert_status(0);
    ended.assert_books([34, 34, 0, 0, 0, 0]);
    let stats = s3.stop();
    assert_eq!(stats.lists.len(), 3);
    assert!(stats.lists.iter().all(|l| l.prefix.is_empty()));
}

#[tokio::test]
async fn what_is_still_to_come_is_known_from_the_last_page_on() {
    // The last but one is too large to be opened ahead.
    let large = 1024 * 1024 + 65;
    let config = seventeen().object("lists", "p/15", list(99, large / 65 + 1));
    let s3 = FakeS3::start(config);
    let local = LocalEndpoints {
        home: "a test".into(),
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
    let sources = Sources::read(&[PREFIX.to_owned()], &[], globs).expect("a prefix");
    // Eight are opened ahead: with the seventh, the fourteenth, the first of the last page.
    for (page, known_from) in [(100, 0), (PAGE, 6)] {
        s3.set_plan(S3Plan::default().page(page));
        let objects = Objects::new(&sources, &aws);
        let mut ahead = Ahead::new(objects, &aws, &Unpack::default(), &Form::default());
        let mut said = Vec::new();
        let mut lengths = Vec::new();
        while let Some(opened) = ahead.next().await.expect("it opens") {
            lengths.push(opened.length().expect("known"));
            said.push(ahead.bytes_to_come());
        }
        assert_eq!(lengths.len(), 16, "one is excluded");
        for (n, said) in said.into_iter().enumerate() {
            let to_come = lengths[n + 1..].iter().sum::<u64>();
            assert_eq!(said, (n >= known_from).then_some(to_come), "after {n}");
        }
    }
}

#[test]
fn a_page_that_fails_or_is_not_whole_is_asked_for_again() {
    let (s3, dynamo) = (FakeS3::start(seventeen()), dynamo());
    // Each page first comes wrong; the call after that is as it should be.
    let plan = S3Plan::default()
        .page(PAGE)
        .list(1, S3Fault::KeyLost)
        .list(3, S3Fault::TokenLost)
        .list(5, S3Fault::SlowDown);
    s3.set_plan(plan);
    let ended = Run::ingest(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    ended.assert_status(0);
    ended.assert_books([34, 34, 0, 0, 0, 0]);
    ended.assert_says(&[
        "listing s3://lists/p/ broke off",
        "another number of keys than it counts",
        "where the next page begins",
    ]);
    assert_eq!(uris(&ended).len(), 17);
    let tokens: Vec<_> = s3.stop().lists.into_iter().map(|l| l.token).collect();
    assert_eq!(tokens.len(), 6);
    for again in tokens.chunks(2) {
        assert_eq!(again[0], again[1], "the same page");
    }
}

#[test]
fn a_page_that_never_comes_ends_the_run_with_what_is_before_it_written() {
    let (s3, dynamo) = (FakeS3::start(seventeen()), dynamo());
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
            .end()
    };
    let ended = run();
    ended.assert_status(1);
    ended.assert_books([14, 14, 0, 0, 0, 0]);
    ended.assert_says(&["cannot list s3://lists/p/", "run this again"]);
    s3.set_plan(S3Plan::default().page(PAGE));
    let ended = run();
    ended.assert_status(0);
    ended.assert_books([34, 34, 0, 0, 0, 0]);
    assert_eq!(dynamo.stop().distinct, 34);
}

#[test]
fn what_cannot_be_listed_says_why_and_what_to_do() {
    let (s3, dynamo) = (FakeS3::start(seventeen()), dynamo());
    let commands: [(&[&str], &str); 3] = [
        (&["ingest", PREFIX, "--table", "sha256"], "ingest.json"),
        (&["verify", PREFIX, "--table", "sha256"], "verify.json"),
        (&["plan", PREFIX], "plan.json"),
    ];
    for (args, policy) in commands {
        s3.set_plan(S3Plan::default().list(1, S3Fault::AccessDenied));
        let ended = Run::new(args).s3(&s3).dynamo(&dynamo).end();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_says(&[
            "cannot list s3://lists/p/",
            "s3:ListBucket",
            &format!("scripts/iam/{policy}"),
        ]);
    }
    s3.set_plan(S3Plan::default().list(1, S3Fault::Redirect("eu-west-1")));
    let ended = Run::ingest(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    ended.assert_status(2);
    ended.assert_says(&["in region eu-west-1", "--region eu-west-1"]);

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
            &["leave no object of s3://lists/p/"],
        ),
        ("list.txt", &["--include", "*"], &["name a prefix"]),
        (
            PREFIX,
            &["--exclude", "[a"],
            &["--exclude [a", "no pattern"],
        ),
    ];
    for (source, args, says) in nothing {
        let ended = Run::ingest(source, args).s3(&s3).dynamo(&dynamo).end();
        ended.assert_status(2);
        ended.assert_says(says);
    }
    assert_eq!(dynamo.stop().calls, 0, "nothing was written");

    // What is empty beside what is not is no mistake, but it is said.
    let dynamo = self::dynamo();
    let ended = Run::ingest(PREFIX, &["s3://lists/P/"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    ended.assert_status(0);
    ended.assert_says(&["no object under s3://lists/P/: nothing is read there"]);
}

#[test]
fn patterns_choose_what_is_read_and_exclude_wins() {
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
    let ended = Run::ingest(PREFIX, &patterns).s3(&s3).dynamo(&dynamo).end();
    ended.assert_status(0);
    assert_eq!(
        uris(&ended),
        [
            "s3://lists/p/2025/a.txt",
            "s3://lists/p/2026/a.txt",
            "s3://lists/p/README"
        ]
    );
    // What was not chosen is not in the table either.
    let verified = Run::verify(PREFIX, &patterns).s3(&s3).dynamo(&dynamo).end();
    verified.assert_status(0);
    let all = Run::verify(PREFIX, &[] as &[&str])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    all.assert_status(5);
    assert_eq!(all.number("missing"), 4);
    assert_eq!(s3.stop().get_count, 3 + 3 + 5);
}

#[test]
fn a_manifest_names_objects_and_files() {
    let manifest = "\u{FEFF}# what there is\n\n  s3://lists/p/03  \r\nlocal.txt\ns3://lists/p/01";
    let s3 = FakeS3::start(seventeen().object("lists", "m.gz", gzip(manifest.as_bytes())));
    let dynamo = dynamo();
    let expected = ["s3://lists/p/03", "local.txt", "s3://lists/p/01"];
    let run = |source: &str, args: &[&str]| {
        Run::ingest(source, args)
            .s3(&s3)
            .dynamo(&dynamo)
            .file("m.txt", manifest.as_bytes())
            .file("local.txt", &list(99, 3))
    };
    // As a file, as an object that is compressed, and through a pipe.
    let file = run("--manifest=m.txt", &[]).end();
    let object = run("--manifest=s3://lists/m.gz", &[]).end();
    let pipe = run("--manifest=-", &[]).input(manifest).end();
    for ended in [file, object, pipe] {
        ended.assert_status(0);
        ended.assert_books([7, 7, 0, 0, 0, 0]);
        assert_eq!(uris(&ended), expected);
    }
    let ended = run("--manifest=m.txt", &["--exclude", "p/*", "s3://lists/p/09"]).end();
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
        .end();
    assert_eq!(plan.status, 0, "{}", plan.stderr);
    assert!(
        plan.stdout.contains("\"s3://lists/p/03\""),
        "{}",
        plan.stdout
    );
}

#[test]
fn a_manifest_that_is_none_says_where() {
    let (s3, dynamo) = (FakeS3::start(seventeen()), dynamo());
    let run = |manifest: &[u8], args: &[&str]| {
        Run::ingest("--manifest=m", args)
            .s3(&s3)
            .dynamo(&dynamo)
            .file("m", manifest)
            .end()
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
            &["m, line 1", "one s3://bucket/key or path a line"],
        ),
        (b"# nothing\n", &["the manifest m names no object"]),
        (
            b"{\"files\": 7}",
            &["m is no manifest", "not of an S3 inventory"],
        ),
        (orc, &["files are ORC", "made as CSV"]),
        (no_key, &["fileSchema has no Bucket and Key"]),
        (none, &["the manifest m names no object"]),
    ];
    for (manifest, says) in cases {
        let ended = run(manifest, &[]);
        ended.assert_status(2);
        ended.assert_says(says);
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
        let ended = Run::new(names).s3(&s3).dynamo(&dynamo).end();
        assert_eq!(ended.status, 2, "{}", ended.stderr);
        ended.assert_says(&[says]);
    }
    assert_eq!(dynamo.stop().calls, 0, "nothing was written");

    // Once something is written, it is no wrong usage any more.
    let dynamo = self::dynamo();
    let ended = Run::ingest("s3://lists/p/00", &["--manifest", "m"])
        .s3(&s3)
        .dynamo(&dynamo)
        .file("m", b"-\n")
        .end();
    ended.assert_status(1);
    ended.assert_books([2, 2, 0, 0, 0, 0]);
    ended.assert_says(&["m, line 1"]);
}

#[test]
fn an_inventory_names_the_latest_versions_in_all_its_files() {
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
        .end()
    };
    let ended = run();
    ended.assert_status(0);
    ended.assert_books([6, 6, 0, 0, 0, 0]);
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

    // A row that is not as the manifest says, and a file of it that is not there.
    s3.put("inventories", "data/2.csv.gz", gzip(b"\"lists\"\n"));
    let ended = run();
    assert_ne!(ended.status, 0);
    ended.assert_says(&[
        "s3://inventories/data/2.csv.gz, line 1",
        "the columns that its manifest.json names",
    ]);
    s3.delete("inventories", "data/1.csv.gz");
    let ended = run();
    ended.assert_status(2);
    ended.assert_says(&["s3://inventories/data/1.csv.gz", "no such object"]);
}

#[test]
fn a_run_is_taken_up_though_its_inventory_is_older_than_its_objects() {
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
                .end()
        };
        let first = run();
        first.assert_status(1);
        first.assert_says(&["s3://lists/p/2"]);
        s3.put("lists", "p/2", list(2, 10));
        let last = run();
        last.assert_status(0);
        last.assert_books([30, 30, 0, 0, 0, 0]);
        assert_eq!(dynamo.stop().distinct, 30, "{schema}");
    }
}

#[test]
fn a_manifest_from_a_pipe_cannot_be_read_again() {
    let (s3, dynamo) = (FakeS3::start(objects(&["p/00"])), dynamo());
    let run = |args: &[&str]| {
        Run::ingest("--manifest=-", args)
            .s3(&s3)
            .dynamo(&dynamo)
            .input("s3://lists/p/00\n")
            .end()
    };
    let ended = run(&["--checkpoint", "checkpoint"]);
    ended.assert_status(2);
    ended.assert_says(&["comes through a pipe cannot be read again"]);
    run(&[]).assert_status(0);
}

#[test]
fn a_run_is_taken_up_among_its_objects_and_only_if_they_are_the_same() {
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
    let first = started.end();
    first.assert_status(4);
    assert!(first.number("lines") < 20 * LINES, "it was not at its end");

    let calls = dynamo.stats().calls;
    let refused = |says: &[&str]| {
        let ended = run("max").end();
        ended.assert_status(2);
        ended.assert_says(says);
    };
    let name = |n: u64| format!("s3://lists/{}", key(n));
    s3.delete("lists", &key(1));
    refused(&[&name(1), &name(2), "the sources have changed"]);
    s3.put("lists", &key(1), list(77, LINES));
    refused(&[&name(1), "has changed since", "ETag"]);
    s3.put("lists", &key(1), list(1, LINES));
    s3.put("lists", "p/00a", list(78, LINES));
    refused(&["s3://lists/p/00a", "the sources have changed"]);
    s3.delete("lists", "p/00a");
    assert_eq!(dynamo.stats().calls, calls, "nothing was written");

    // What is still to come may change: it was not read.
    s3.put("lists", "p/21", list(21, LINES));
    let last = run("max").end();
    last.assert_status(0);
    last.assert_says(&["taking up an earlier run"]);
    last.assert_books([21 * LINES, 21 * LINES, 0, 0, 0, 0]);
    assert_eq!(uris(&last).last(), Some(&"s3://lists/p/21"));
    assert_eq!(dynamo.stop().distinct, 21 * LINES);
}

#[test]
fn a_prefix_of_the_embedded_s3_is_listed_too() {
    let run = Run::ingest(PREFIX, &["--local", "data"]);
    let folder = run.dir().join("data/s3/lists/p/deep");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (n, name) in (0..).zip(["b.txt", "deep/a.txt", "deep.txt", "a.txt"]) {
        let path = run.dir().join("data/s3/lists/p").join(name);
        std::fs::write(path, list(n, 2)).expect("a list");
    }
    let ended = run.end();
    ended.assert_status(0);
    ended.assert_books([8, 8, 0, 0, 0, 0]);
    assert_eq!(
        uris(&ended),
        ["a.txt", "b.txt", "deep.txt", "deep/a.txt"].map(|k| format!("{PREFIX}{k}"))
    );
}

#[test]
fn help_says_that_a_prefix_is_a_source() {
    for command in ["ingest", "verify", "plan"] {
        let ended = Run::new(&[command, "--help"]).end();
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

/// 1,200 small objects, of which the 700th is a gzip that is cut off.
fn with_one_broken() -> (S3Config, Vec<u8>) {
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
fn one_broken_object_among_1200_is_named_and_once_mended_the_run_goes_on_with_it() {
    let (config, whole) = with_one_broken();
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
    let first = run().end();
    first.assert_status(1);
    first.assert_says(&["s3://lists/many/0700", "cut off", "Failed"]);
    // Everything before it is written, and what of it was sound.
    let written = first.number("written");
    assert!((28_000..28_040).contains(&written), "{written}");
    assert_eq!(first.number("failed"), 0);
    let sources = first.report["sources"].as_array().expect("a list").len();
    assert_eq!(sources, 701);
    // Unmended, it stops there again.
    let again = run().end();
    again.assert_status(1);
    again.assert_says(&["taking up an earlier run", "s3://lists/many/0700"]);

    s3.put("lists", "many/0700", whole);
    let before = s3.stats().gets.len();
    let last = run().end();
    last.assert_status(0);
    last.assert_says(&["taking up an earlier run at the beginning of s3://lists/many/0700"]);
    last.assert_books([48_000, 48_000, 0, 0, 0, 0]);
    let report = last.report["sources"].as_array().expect("a list").clone();
    assert_eq!(report.len(), 1200);
    assert!(
        report
            .iter()
            .all(|s| s["lines"] == 40 && s["written"] == 40)
    );
    // The first is opened to see what it is; of the others behind, none.
    let gets = s3.stats().gets;
    let behind = |key: &str| key < "many/0700" && key > "many/0008";
    assert!(!gets[before..].iter().any(|g| behind(&g.key)));
    assert_eq!(dynamo.stop().distinct, 48_000);
}

/// md5sums files as packages have them: some are empty, one has only comments.
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
fn an_object_without_rows_lacks_no_column_and_shows_nothing_of_the_lists() {
    let s3 = FakeS3::start(md5sums(17));
    let args = ["--attr-from", "name=name", "--rate", "max", "--table", "t"];
    // No key names the algorithm: the first object with rows does.
    let dynamo = FakeDynamo::start(DynamoConfig::new("t", "pk", KeyType::S));
    let ended = Run::ingest(PREFIX, &args).s3(&s3).dynamo(&dynamo).end();
    ended.assert_status(0);
    ended.assert_books([16, 12, 0, 0, 4, 0]);
    ended.assert_says(&["taking the list for md5"]);
    assert_eq!(uris(&ended).len(), 17);
    let items = dynamo.items();
    let item = &items[format!("{:032X}", 12).as_bytes()];
    assert_eq!(item["name"], serde_json::json!({"S": "usr/share/doc/12"}));
    let verified = Run::verify(PREFIX, &args).s3(&s3).dynamo(&dynamo).end();
    verified.assert_status(0);
    verified.assert_verified([16, 12, 0, 0, 0, 0, 4, 0]);
    // What the first one with rows lacks is known before anything is written.
    let ended = Run::ingest(PREFIX, &["--attr-from", "n=nope", "--table", "t"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    ended.assert_status(2);
    ended.assert_says(&[
        "s3://lists/p/02: ",
        "no column \"nope\"",
        "there are name and size",
    ]);
    // And so is which of several algorithms is meant.
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
        .end();
    ended.assert_status(2);
    ended.assert_says(&["s3://lists/p/1 has hashes of several algorithms", "--hash"]);
}

#[test]
fn a_run_goes_on_at_and_behind_objects_without_rows() {
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
        started.end().assert_status(4);
    }
    let ended = run("max").end();
    ended.assert_status(0);
    ended.assert_books([16_000, 6000, 0, 0, 10_000, 0]);
    assert_eq!(dynamo.stop().distinct, 6000);
}

#[test]
fn tables_of_a_prefix_have_their_headers_each() {
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
        .end();
    ended.assert_status(0);
    ended.assert_books([66, 26, 0, 0, 40, 0]);
}
