//! Lists in every form, by the real binary: the books of real samples, what columns give
//! to items, and what cannot be read so and is refused before anything is written.

#![cfg(unix)]

mod common;

use common::binary::{Ended, Run};
use common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use common::fake_s3::{FakeS3, S3Config};
use hashferry::checkpoint::Checkpoint;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

const MD5: &str = "92e792c43c35e96fed3f9566083326fc";
const SHA1: &str = "00d1034546f530d746131ce2a28a052db21652ec";
const SHA256: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";

fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats");
    std::fs::read(folder.join(name)).expect("a sample")
}

/// A table whose name and key are these.
fn dynamo(key: &str) -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new(key, key, KeyType::S))
}

/// `text` into `dynamo`'s table of that name.
fn ingest(text: impl AsRef<[u8]>, dynamo: &FakeDynamo, table: &str, args: &[&str]) -> Ended {
    let args = [&["--table", table, "--rate", "max"], args].concat();
    Run::ingest("list", &args)
        .file("list", text.as_ref())
        .dynamo(dynamo)
        .rejects()
        .end()
}

/// The reasons for which lines were rejected, with their numbers.
fn rejected(ended: &Ended) -> Vec<(u64, String)> {
    let one = |r: &Value| {
        let reason = r["reason"].as_str().expect("a reason").to_owned();
        (r["line"].as_u64().expect("a line"), reason)
    };
    ended.rejects.iter().map(one).collect()
}

fn keys(dynamo: &FakeDynamo) -> BTreeSet<String> {
    let text = |k| String::from_utf8(k).expect("text");
    dynamo.items().into_keys().map(text).collect()
}

/// Lines, written, duplicates, rejected, skipped, failed: as Python's csv module counts
/// the tables, and as the eye does the others.
#[test]
fn the_books_of_each_sample() {
    for (name, hash, books, says) in [
        (
            "NSRL-1.5.txt",
            "sha1",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 1.x), taking column SHA-1",
        ),
        (
            "NSRL-1.5.txt",
            "md5",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 1.x), taking column MD5",
        ),
        (
            "NSRL-2.0.txt",
            "sha1",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 2.x), taking column SHA-1",
        ),
        (
            "NSRL-2.0.txt",
            "md5",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 2.x), taking column MD5",
        ),
        (
            "hashkeeper-Z00236.hsh",
            "md5",
            [400, 399, 0, 0, 1, 0],
            "a HashKeeper hash set, taking column hash",
        ),
        (
            "ilookv3.hsh",
            "md5",
            [6, 5, 0, 0, 1, 0],
            "an iLook hash set, taking column V3Hash",
        ),
        (
            "ilookv3.hsh",
            "sha1",
            [6, 5, 0, 0, 1, 0],
            "an iLook hash set, taking column HashSHA1",
        ),
        // Its SHA-256 are empty.
        (
            "ilookv3.hsh",
            "sha256",
            [6, 0, 0, 5, 1, 0],
            "an iLook hash set, taking column HashSHA256",
        ),
        (
            "bsd-hashes.txt",
            "md5",
            [5, 5, 0, 0, 0, 0],
            "the output of a program like sha256sum",
        ),
        (
            "md5deep.txt",
            "md5",
            [4, 4, 0, 0, 0, 0],
            "the output of a program like sha256sum",
        ),
        (
            "md5deep-size.txt",
            "md5",
            [4, 4, 0, 0, 0, 0],
            "the output of a program like sha256sum",
        ),
        (
            "debian.sha256sum",
            "sha256",
            [300, 300, 0, 0, 0, 0],
            "the output of a program like sha256sum",
        ),
        (
            "hashdeep.txt",
            "md5",
            [7, 3, 0, 0, 4, 0],
            "the output of hashdeep, taking column md5",
        ),
        (
            "hashdeep.txt",
            "sha256",
            [7, 3, 0, 0, 4, 0],
            "the output of hashdeep, taking column sha256",
        ),
    ] {
        let dynamo = dynamo(hash);
        let dry = ingest(sample(name), &dynamo, hash, &["--dry-run"]);
        dry.assert_status(if books[1] > 0 { 0 } else { 1 });
        dry.assert_books(books);
        dry.assert_says(&[&format!("list is {says}"), "(--format says otherwise)"]);
        assert_eq!(dynamo.stats().calls, 0, "{name}");
        let reasons = rejected(&dry).into_iter().map(|(_, reason)| reason);
        assert!(reasons.into_iter().all(|r| r == "no_hash"), "{name}");

        let ended = ingest(sample(name), &dynamo, hash, &[]);
        ended.assert_books(books);
        assert_eq!(keys(&dynamo).len() as u64, books[1], "{name}");
    }
}

#[test]
fn virusshare_and_malwarebazaar_are_plain_lists() {
    let virusshare = format!("{}{MD5}\n{}\n", "#\n".repeat(6), MD5.replace('9', "8"));
    let ended = ingest(&virusshare, &dynamo("md5"), "md5", &[]);
    ended.assert_status(0);
    ended.assert_books([8, 2, 0, 0, 6, 0]);
    assert!(
        !ended.stderr.contains("--format"),
        "nothing to be said: {}",
        ended.stderr
    );
    let malwarebazaar = format!(
        "################\r\n# MalwareBazaar #\r\n#\r\n# sha256_hash\r\n{SHA256}\r\n\r\n{SHA256}\r\n"
    );
    let ended = ingest(&malwarebazaar, &dynamo("sha256"), "sha256", &[]);
    ended.assert_status(0);
    ended.assert_books([7, 1, 1, 0, 5, 0]);
}

#[test]
fn the_hash_stands_where_it_is_said_to_stand() {
    let table = format!("name,before,after\nx,{MD5},{}\n", MD5.replace('9', "8"));
    for (column, hash) in [("after", MD5.replace('9', "8")), ("2", MD5.to_owned())] {
        let dynamo = dynamo("md5");
        let ended = ingest(&table, &dynamo, "md5", &["--column", column]);
        ended.assert_status(0);
        ended.assert_books([2, 1, 0, 0, 1, 0]);
        assert_eq!(
            keys(&dynamo),
            BTreeSet::from([hash.to_uppercase()]),
            "{column}"
        );
    }
    let lines = format!("{{\"file\":{{\"md5\":\"{MD5}\"}}}}\n{{\"file\":{{}}}}\n[1]\n");
    let dynamo = dynamo("md5");
    let ended = ingest(&lines, &dynamo, "md5", &["--field", "file.md5"]);
    ended.assert_status(3);
    ended.assert_books([3, 1, 0, 2, 0, 0]);
    ended.assert_says(&["JSON, an object a line, taking field file.md5"]);
    assert_eq!(
        rejected(&ended),
        [(2, "no_hash".to_owned()), (3, "json".to_owned())]
    );
}

#[test]
fn columns_give_attributes_to_items() {
    let key = MD5.to_uppercase().into_bytes();
    let nsrl = format!(
        "\"SHA-1\",\"MD5\",\"CRC32\",\"FileName\",\"FileSize\",\"ProductCode\",\"OpSystemCode\",\"SpecialCode\"\r\n\
         \"{SHA1}\",\"{MD5}\",\"C\",\"a, \"\"b\"\".txt\",503,1,\"WIN\",\"\"\r\n"
    );
    let csv = format!("size,name,md5\n503,\"a, \"\"b\"\".txt\",{MD5}\n");
    let sums = format!("503  {MD5}  a, \"b\".txt\n");
    let hashdeep = format!("%%%% HASHDEEP-1.0\n%%%% size,md5,filename\n503,{MD5},a, \"b\".txt\n");
    let lines =
        format!("{{\"MD5\":\"{MD5}\",\"f\":{{\"Name\":\"a, \\\"b\\\".txt\"}},\"Size\":503}}\n");
    for (text, name, size) in [
        (&nsrl, "filename", "FileSize"),
        (&csv, "name", "1"),
        (&sums, "name", "size"),
        (&hashdeep, "filename", "size"),
        (&lines, "f.name", "size"),
    ] {
        let dynamo = dynamo("md5");
        let (name, size) = (format!("name={name}"), format!("bytes:N={size}"));
        let args = ["--attr-from", &name, "--attr-from", &size];
        ingest(text, &dynamo, "md5", &args).assert_status(0);
        let item = dynamo.items().remove(&key).expect("the item");
        assert_eq!(item["name"], json!({"S": "a, \"b\".txt"}), "{text}");
        assert_eq!(item["bytes"], json!({"N": "503"}), "{text}");
    }
}

#[test]
fn what_a_list_has_not_is_refused_before_anything_is_written() {
    let table = format!("md5,sha1\n{MD5},{SHA1}\n");
    let bare = format!("{MD5},{MD5}\n");
    let misp = format!("{{\n  \"name\": \"a\",\n  \"list\": [\n    \"{MD5}\"\n  ]\n}}\n");
    let vic = format!(
        "{{\"value\":[{}]}}\n",
        format!("{{\"MD5\":\"{MD5}\"}},").repeat(4000)
    );
    let sums = format!("{MD5}  x\n");
    let other = FakeDynamo::start(DynamoConfig::new("pk", "pk", KeyType::S));
    let ended = ingest(&table, &other, "pk", &[]);
    ended.assert_status(2);
    ended.assert_says(&["several algorithms", "md5 (md5), sha1 (sha1)", "--hash"]);
    assert_eq!(other.stats().calls, 0);
    // Two columns for one algorithm are no question of --hash: the one that is named just
    // so is meant.
    let two = format!("file_md5,md5\n{},{MD5}\n", MD5.replace('9', "8"));
    ingest(&two, &other, "pk", &[]).assert_status(0);
    assert_eq!(keys(&other), BTreeSet::from([MD5.to_uppercase()]));
    other.stop();

    let dynamo = dynamo("sha256");
    for (text, args, says) in [
        (
            &table,
            &[][..],
            &[
                "list: no column is named as one of sha256",
                "md5, sha1",
                "--column",
            ][..],
        ),
        (
            &table,
            &["--hash", "md5", "--key", "sha256", "--column", "nope"],
            &["no column \"nope\"", "md5, sha1"],
        ),
        (
            &table,
            &["--hash", "md5", "--key", "sha256", "--attr-from", "n=name"],
            &["no column \"name\"", "md5, sha1"],
        ),
        (
            &bare,
            &["--hash", "md5", "--key", "sha256"],
            &["several columns may hold md5 hashes: 1, 2", "--column"],
        ),
        (
            &sums,
            &["--hash", "md5", "--key", "sha256", "--attr-from", "n=path2"],
            &["there are name and size"],
        ),
        (&sums, &["--format", "hashdeep"], &["%%%%"]),
        (&sums, &["--format", "csv"], &["no column", "--column"]),
        (
            &sums,
            &["--format", "ndjson"],
            &["not an object a line", "jq -c"],
        ),
        (&misp, &[], &["list is JSON", "jq -c '.[]' list", ".list[]"]),
        (&vic, &[], &["list is JSON", "jq -c '.[]' list", ".value[]"]),
    ] {
        let ended = ingest(text, &dynamo, "sha256", args);
        ended.assert_status(2);
        ended.assert_says(says);
    }
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn a_list_in_another_form_than_is_said_is_rejected_by_name() {
    let dynamo = dynamo("sha256");
    let ended = ingest(
        sample("debian.sha256sum"),
        &dynamo,
        "sha256",
        &["--format", "lines"],
    );
    ended.assert_status(1);
    ended.assert_books([300, 0, 0, 300, 0, 0]);
    assert!(
        rejected(&ended)
            .iter()
            .all(|(_, reason)| reason == "length")
    );
    // A hash by itself is a row of one column.
    let text = format!("name,sha256\nx,{SHA256}\n\"open,{SHA256}\nx\ny,{SHA256}\n");
    let ended = ingest(&text, &dynamo, "sha256", &[]);
    ended.assert_status(3);
    ended.assert_books([5, 1, 1, 2, 1, 0]);
    assert_eq!(
        rejected(&ended),
        [(3, "quote".to_owned()), (4, "columns".to_owned())]
    );
}

/// A table of `n` rows, every tenth of which is three lines, of every hundredth no hash.
fn table(n: u64) -> Vec<u8> {
    let row = |i: u64| match i % 100 {
        7 => format!("{i},\"\",x\n"),
        k if k % 10 == 3 => format!("{i},{i:064x},\"a\r\n\"\"b\"\"\n{i}\"\n"),
        _ => format!("{i},{i:064x},name {i}\n"),
    };
    let rows = (0..n).map(row).collect::<String>();
    format!("id,sha256,name\n{rows}").into_bytes()
}

#[test]
fn a_table_is_taken_up_in_the_middle_where_no_header_stands() {
    let n = 20_000;
    let s3 = FakeS3::start(S3Config::default().object("lists", "a", table(n)));
    let dynamo = dynamo("sha256");
    let keep = tempfile::tempdir().expect("a folder");
    let place = keep.path().join("checkpoint");
    let (checkpoint, rejects) = (
        place.to_str().expect("text"),
        keep.path()
            .join("rejects")
            .to_str()
            .expect("text")
            .to_owned(),
    );
    let run = |args: &[&str]| {
        let kept = ["--checkpoint", checkpoint, "--rejects", &rejects];
        let from = ["--attr-from", "name=name"];
        let args = [&kept[..], &from, args].concat();
        Run::ingest("s3://lists/a", &args).s3(&s3).dynamo(&dynamo)
    };
    let started = run(&["--rate", "4000"]).start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 5000)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    started.end().assert_status(4);
    let saved = Checkpoint::from_text(&std::fs::read(&place).expect("one")).expect("whole");
    let read = saved.read.as_ref().expect("a source");
    assert!(
        read.lines > read.books.lines && read.books.lines > 4000,
        "{read:?}"
    );

    // Another column, or another form, is another run.
    for args in [["--column", "1"], ["--format", "csv"]] {
        let ended = run(&args).end();
        ended.assert_status(2);
        ended.assert_says(&["is of another run", "--restart"]);
    }
    let ended = run(&["--rate", "max"]).end();
    ended.assert_status(3);
    ended.assert_says(&["taking up an earlier run", "taking column sha256"]);
    ended.assert_books([n + 1, n - n / 100, 0, n / 100, 1, 0]);
    let items = dynamo.items();
    assert_eq!(items.len() as u64, n - n / 100);
    for i in (0..n).filter(|i| i % 100 != 7) {
        let name = match i % 10 {
            3 => format!("a\n\"b\"\n{i}"),
            _ => format!("name {i}"),
        };
        let item = &items[format!("{i:064X}").as_bytes()];
        assert_eq!(item["name"]["S"], name, "{i}");
    }
    // Each is named once, by the line that a person finds it at.
    let text = String::from_utf8(table(n)).expect("text");
    let lines = text.lines().zip(1u64..);
    let expected: Vec<u64> = (lines.filter(|(line, _)| line.ends_with(",\"\",x")))
        .map(|(_, number)| number)
        .collect();
    let named = std::fs::read_to_string(&rejects).expect("a file");
    let number = |l: &str| serde_json::from_str::<Value>(l).expect("JSON")["line"].as_u64();
    let named: Vec<u64> = named.lines().filter_map(number).collect();
    assert_eq!(named, expected);
}

#[test]
fn each_object_of_a_prefix_has_its_own_form() {
    let hash = |i: u64| format!("{i:064x}");
    let config = S3Config::default()
        .object("lists", "p/1", format!("{}  a\n{}  b\n", hash(1), hash(2)))
        .object("lists", "p/2", format!("{}  c\n", hash(3)))
        .object("lists", "p/3", format!("name,sha256\nd,{}\n", hash(4)))
        .object("lists", "p/4", format!("{}\n", hash(5)))
        .object("lists", "p/5", format!("{{\"sha256\":\"{}\"}}\n", hash(6)));
    let (s3, dynamo) = (FakeS3::start(config), dynamo("sha256"));
    let run = |args: &[&str]| {
        let args = [&["--rate", "max"], args].concat();
        Run::ingest("s3://lists/p/", &args)
            .s3(&s3)
            .dynamo(&dynamo)
            .end()
    };
    let ended = run(&[]);
    ended.assert_status(0);
    ended.assert_books([7, 6, 0, 0, 1, 0]);
    ended.assert_says(&[
        "s3://lists/p/1 is the output of a program like sha256sum",
        "s3://lists/p/3 is a comma-separated table, taking column sha256",
        "s3://lists/p/5 is JSON, an object a line, taking field sha256",
    ]);
    assert!(
        !ended.stderr.contains("s3://lists/p/2 is"),
        "alike: {}",
        ended.stderr
    );
    assert_eq!(keys(&dynamo).len(), 6);
    let verified = Run::verify("s3://lists/p/", &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .end();
    verified.assert_status(0);
    verified.assert_verified([7, 6, 0, 0, 0, 0, 1, 0]);

    // What a later one lacks ends the run; what was read before is written.
    let ended = run(&["--attr-from", "name=name"]);
    ended.assert_status(1);
    ended.assert_says(&["s3://lists/p/4", "no column \"name\"", "plain list"]);
    ended.assert_books([5, 4, 0, 0, 1, 0]);
}

#[test]
fn a_plan_reads_rows_and_says_their_form() {
    let ended = Run::new(&["plan", "list", "--json", "--hash", "sha1"])
        .file("list", &sample("NSRL-2.0.txt"))
        .end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let plan: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    for (field, value) in [
        ("lines", 219),
        ("hashes", 138),
        ("duplicates", 80),
        ("skipped", 1),
    ] {
        assert_eq!(plan[field]["value"], value, "{field}");
    }
    ended.assert_says(&["an NSRLFile.txt (RDS 2.x), taking column SHA-1"]);
    // The commands that it proposes read the list in the same way.
    let ended = Run::new(&[
        "plan", "list", "--hash", "md5", "--format", "csv", "--column", "after",
    ])
    .file("list", format!("before,after\n{MD5},{MD5}\n").as_bytes())
    .end();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("--format csv --column after"),
        "{}",
        ended.stdout
    );
}
