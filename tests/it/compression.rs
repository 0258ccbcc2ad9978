//! Compressed lists, with the real binary: they are decompressed completely, the valid
//! part of a damaged list is written, and runs resume.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use crate::common::binary::Run;
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use hashferry::bench::Checkpoint;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(120);

const URI: &str = "s3://lists/a/list.txt";

const FAST: [&str; 2] = ["--rate", "max"];

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

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(text).and_then(|()| w.finish()).expect("gzip")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 3).expect("zstd")
}

fn xz(text: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut w = lzma_rust2::XzWriter::new(Vec::new(), options).expect("xz");
    w.write_all(text).expect("xz");
    w.finish().expect("xz")
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut w = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    w.write_all(text).and_then(|()| w.finish()).expect("bzip2")
}

fn lz4(text: &[u8]) -> Vec<u8> {
    let mut w = lz4_flex::frame::FrameEncoder::new(Vec::new());
    w.write_all(text).expect("lz4");
    w.finish().expect("lz4")
}

/// A ZIP archive as a streaming program writes it: deflated, with the sizes after each
/// member.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in members {
        let mut w = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        let packed = w
            .write_all(text)
            .and_then(|()| w.finish())
            .expect("deflate");
        let mut crc = flate2::Crc::new();
        crc.update(text);
        let sums: Vec<u8> = [crc.sum(), packed.len() as u32, text.len() as u32]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        let fixed = [20, 0, 8, 0, 8, 0, 0, 0, 0x21, 0];
        let lengths = [name.len() as u8, 0, 0, 0];
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(fixed);
        directory.extend(&sums);
        directory.extend(lengths);
        directory.extend([0; 10]);
        directory.extend((out.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        out.extend(b"PK\x03\x04");
        out.extend(fixed);
        out.extend([0; 12]);
        out.extend(lengths);
        out.extend(name.bytes());
        out.extend(&packed);
        out.extend(b"PK\x07\x08");
        out.extend(&sums);
    }
    let count = [members.len() as u8, 0];
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}

fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S)
}

fn s3(list: impl Into<bytes::Bytes>) -> FakeS3 {
    FakeS3::start(S3Config::default().object("lists", "a/list.txt", list))
}

/// The table's keys, as text.
fn keys(dynamo: &FakeDynamo) -> BTreeSet<String> {
    let text = |k| String::from_utf8(k).expect("text");
    dynamo.items().into_keys().map(text).collect()
}

fn set(hashes: &[String]) -> BTreeSet<String> {
    hashes.iter().cloned().collect()
}

#[test]
fn each_format_is_ingested_and_verified() {
    let hashes = hashes(5000);
    let list = crlf(&hashes);
    let several = [gzip(&list[..1000]), gzip(b""), gzip(&list[1000..])].concat();
    for (name, packed) in [
        ("gzip", gzip(&list)),
        ("gzip", several),
        ("zstd", zstd(&list)),
        ("xz", xz(&list)),
        ("bzip2", bzip2(&list)),
        ("lz4", lz4(&list)),
        ("zip", zip(&[("folder/", b""), ("list.txt", &list)])),
    ] {
        let length = packed.len() as u64;
        let (s3, dynamo) = (s3(packed.clone()), FakeDynamo::start(table()));
        let ended = Run::ingest(URI, &FAST).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(0);
        ended.assert_line_counts([5000, 5000, 0, 0, 0, 0]);
        ended.assert_stderr(&[&format!("{URI} is {name}-compressed: decompressing it")]);
        // The compressed size, not the decompressed one.
        assert_eq!(ended.number("bytes_read"), length, "{name}");
        assert_eq!(ended.report["sources"][0]["bytes"], length, "{name}");
        assert_eq!(keys(&dynamo), set(&hashes), "{name}");

        // Through a pipe, with the format named.
        let args = ["--compression", name];
        let verified = Run::verify("-", &[&args[..], &FAST].concat())
            .input(packed)
            .dynamo(&dynamo)
            .run();
        verified.assert_status(0);
        verified.assert_verified([5000, 5000, 0, 0, 0, 0, 0, 0]);
        assert_eq!(verified.number("bytes_read"), length, "{name}");
        let gets = s3.stop().gets.len();
        assert_eq!(gets, if name == "zip" { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn a_broken_compressed_body_is_resumed_at_its_next_byte() {
    let hashes = hashes(5000);
    let packed = gzip(&crlf(&hashes));
    let plan = S3Plan::default()
        .get(1, S3Fault::EndAfter(100_000))
        .chunk(777);
    let config = S3Config::default()
        .object("lists", "a/list.txt", packed)
        .plan(plan);
    let (s3, dynamo) = (FakeS3::start(config), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &FAST).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(0);
    ended.assert_stderr(&["resuming from there"]);
    assert_eq!(keys(&dynamo), set(&hashes));
    assert_eq!(s3.stop().gets[1].range.as_deref(), Some("bytes=100000-"));
}

#[test]
fn a_truncated_list_is_written_up_to_the_named_byte() {
    let hashes = hashes(5000);
    let packed = gzip(&crlf(&hashes));
    let half = &packed[..packed.len() / 2];
    // The decompressed text of the truncated list.
    let (mut decoder, mut sound) = (flate2::read::GzDecoder::new(half), Vec::new());
    let mut byte = [0];
    while decoder.read(&mut byte).is_ok_and(|n| n == 1) {
        sound.push(byte[0]);
    }
    let whole_lines = sound.iter().filter(|b| **b == b'\n').count();
    assert!(whole_lines > 2000, "{whole_lines}");

    let (s3, dynamo) = (s3(half.to_vec()), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &FAST).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        &format!("ended at byte {} of its gzip data", half.len()),
        &format!("byte {} of its text: it is cut off", sound.len()),
        "fetch the list again",
    ]);
    assert_eq!(ended.report["outcome"], "failed");
    assert_eq!(keys(&dynamo), set(&hashes[..whole_lines]));
    assert_eq!(ended.number("written"), whole_lines as u64);
}

#[test]
fn a_damaged_list_is_written_up_to_the_damage() {
    let hashes = hashes(5000);
    let list = crlf(&hashes);
    // Complete members, then a damaged one.
    let mut last = gzip(&list[66 * 3000..]);
    let middle = last.len() / 2;
    last[middle..middle + 64].fill(0xFF);
    let packed = [gzip(&list[..66 * 3000]), last].concat();
    let (s3, dynamo) = (s3(packed), FakeDynamo::start(table()));
    let ended = Run::ingest(URI, &FAST).s3(&s3).dynamo(&dynamo).run();
    ended.assert_status(1);
    ended.assert_stderr(&["of its gzip data", "of its text: it is damaged"]);
    assert!(keys(&dynamo).is_superset(&set(&hashes[..3000])));
}

#[test]
fn lines_from_a_pipe_are_written_while_it_waits_for_more() {
    let dynamo = FakeDynamo::start(table());
    let hashes = hashes(60);
    // A complete member, and the start of the next.
    let next = gzip(&crlf(&hashes[30..]));
    let packed = [gzip(&crlf(&hashes[..30])), next[..12].to_vec()].concat();
    let started = Run::ingest("-", &FAST)
        .open_input(packed)
        .dynamo(&dynamo)
        .start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 30)
        .expect("it writes");
    started.signal(Signal::SIGINT);
    let ended = started.wait();
    ended.assert_status(4);
    ended.assert_line_counts([30, 30, 0, 0, 0, 0]);
}

#[test]
fn compression_none_reads_the_raw_bytes() {
    let dynamo = FakeDynamo::start(table());
    let s3 = s3(zstd(b"hello\n"));
    let ended = Run::ingest(URI, &["--compression", "none"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    assert_ne!(ended.status, 0);
    assert!(!ended.stderr.contains("decompressing"), "{}", ended.stderr);
    // A wrong format is damage at its first byte.
    let ended = Run::ingest(URI, &["--compression", "xz"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["byte 0 of its xz data"]);
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn compressed_data_that_is_not_a_list_is_an_error() {
    let dynamo = FakeDynamo::start(table());
    let utf32: Vec<u8> = "\u{FEFF}abc\n"
        .chars()
        .flat_map(|c| u32::from(c).to_le_bytes())
        .collect();
    for (packed, says) in [
        (gzip(&utf32), &["UTF-32", "gunzip -c", "iconv"][..]),
        (gzip(b"\x7FELF\0\0\0\n"), &["binary file"]),
        (xz(&gzip(b"x\n")), &["is itself gzip-compressed", "xz -dc"]),
        (zstd(b"HASH\r\n\xFF\0"), &["an EnCase hash set"]),
    ] {
        let s3 = s3(packed);
        let ended = Run::ingest(URI, &FAST).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(2);
        ended.assert_stderr(says);
    }
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn a_split_archive_marker_is_detected() {
    let list = crlf(&hashes(1000));
    for marker in [&b"PK00"[..], b"PK\x07\x08"] {
        let archive = [marker, &zip(&[("list.txt", &list)])].concat();
        let (s3, dynamo) = (s3(archive), FakeDynamo::start(table()));
        let ended = Run::ingest(URI, &FAST).s3(&s3).dynamo(&dynamo).run();
        ended.assert_status(0);
        ended.assert_stderr(&["zip-compressed"]);
        assert_eq!(keys(&dynamo), set(&hashes(1000)));
    }
}

#[test]
fn an_archive_with_several_members_needs_a_named_one() {
    let hashes = hashes(1000);
    let (list, other) = (crlf(&hashes), b"hello\n".repeat(20_000));
    let archive = zip(&[("readme.txt", &other), ("rds/list.txt", &list)]);
    let (s3, dynamo) = (s3(archive.clone()), FakeDynamo::start(table()));
    let run = |args: &[&str]| Run::ingest(URI, args).s3(&s3).dynamo(&dynamo).run();
    let ended = run(&[]);
    ended.assert_status(2);
    ended.assert_stderr(&["has 2 members", "readme.txt, rds/list.txt", "--member"]);
    let ended = run(&["--member", "list.txt"]);
    ended.assert_status(2);
    ended.assert_stderr(&["no member \"list.txt\"", "rds/list.txt"]);
    assert_eq!(dynamo.stats().calls, 0);

    let ended = run(&["--member", "rds/list.txt", "--rate", "max"]);
    ended.assert_status(0);
    assert_eq!(ended.number("bytes_read"), archive.len() as u64);
    assert_eq!(keys(&dynamo), set(&hashes));

    // In a pipe, the second member is detected after the first.
    let ended = Run::ingest("-", &FAST)
        .input(zip(&[("a", &list), ("b", b"")]))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["has 2 members", "a, b"]);
    ended.assert_line_counts([1000, 1000, 0, 0, 0, 0]);
    // Only archives have members.
    let ended = Run::ingest("-", &["--member", "a"])
        .input(gzip(&list))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&["--member", "is gzip"]);
}

/// `n` different hashes; every hundredth line is invalid.
fn list(n: u64) -> Vec<u8> {
    let line = |i: u64| match i % 100 {
        7 => format!("no hash {i}\n"),
        _ => format!("{i:064x}\n"),
    };
    (0..n).map(line).collect::<String>().into_bytes()
}

#[test]
fn a_stopped_run_resumes_after_its_decompressed_text() {
    let n = 20_000;
    let whole = list(n);
    let packed = [gzip(&whole[..500_000]), gzip(&whole[500_000..])].concat();
    let length = packed.len() as u64;
    let (s3, dynamo) = (s3(packed), FakeDynamo::start(table()));
    let keep = tempfile::tempdir().expect("a folder");
    let place = keep.path().join("checkpoint");
    let place_text = place.to_str().expect("text");
    let run = |args: &[&str]| {
        let args = [&["--checkpoint", place_text], args].concat();
        Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo)
    };
    let started = run(&["--rate", "4000"]).start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 5000)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    let first = started.wait();
    first.assert_status(4);
    let saved = std::fs::read(&place).expect("a checkpoint");
    let checkpoint = Checkpoint::from_text(&saved).expect("valid");
    let below = checkpoint.partial_source.as_ref().expect("a source");
    assert!(
        below.line_counts.lines > 4000 && below.bytes > length.min(200_000),
        "{below:?}"
    );

    let second = run(&["--rate", "max"]).run();
    second.assert_status(3);
    second.assert_stderr(&[
        "resuming an earlier run",
        &format!("reading again up to byte {} of its text", below.bytes),
        "nothing is written twice",
    ]);
    assert_eq!(second.number("lines"), n);
    assert_eq!(second.number("rejected"), n / 100);
    assert_eq!(second.number("written"), n - n / 100);
    assert_eq!(second.report["resumed_from"], checkpoint.line_counts.lines);
    assert_eq!(second.number("bytes_read"), length);
    assert_eq!(second.report["sources"][0]["bytes"], length);
    assert!(!place.exists(), "the run is done");
    let gets = s3.stop().gets;
    let last = gets.last().expect("some");
    assert_eq!(last.range.as_deref(), Some("bytes=0-"));
    assert!(last.if_match.is_some(), "pinned to its version");
    let stats = dynamo.stop();
    assert_eq!(stats.distinct, n - n / 100);
    // Only items that were in flight are written again.
    assert!(
        stats.items_written < n - n / 100 + 2000,
        "{}",
        stats.items_written
    );
}

#[test]
fn a_changed_member_or_object_is_not_resumed() {
    let archive = |n| zip(&[("a", &list(20_000)), ("b", &list(n))]);
    let (s3, dynamo) = (s3(archive(10)), FakeDynamo::start(table()));
    let keep = tempfile::tempdir().expect("a folder");
    let place = keep.path().join("checkpoint");
    let place = place.to_str().expect("text");
    let run = |member: &str| {
        let args = ["--checkpoint", place, "--rate", "4000", "--member", member];
        Run::ingest(URI, &args).s3(&s3).dynamo(&dynamo)
    };
    let started = run("a").start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 1000)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    started.wait().assert_status(4);
    let calls = dynamo.stats().calls;
    let ended = run("b").run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "its member was \"a\", but the option names \"b\"",
        "--restart",
    ]);
    s3.put("lists", "a/list.txt", archive(11));
    let ended = run("a").run();
    ended.assert_status(2);
    ended.assert_stderr(&["has changed since", "its ETag was"]);
    assert_eq!(dynamo.stop().calls, calls);
}

#[test]
fn sources_may_have_different_compression() {
    let hashes = hashes(3000);
    let part = |i: usize| crlf(&hashes[i * 1000..(i + 1) * 1000]);
    let config = S3Config::default()
        .object("lists", "1", part(0))
        .object("lists", "2", zstd(&part(1)))
        .object("lists", "3", bzip2(&part(2)));
    let (s3, dynamo) = (FakeS3::start(config), FakeDynamo::start(table()));
    let args = ["s3://lists/2", "s3://lists/3", "--rate", "max"];
    let ended = Run::ingest("s3://lists/1", &args)
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    ended.assert_status(0);
    assert_eq!(keys(&dynamo), set(&hashes));
}

#[test]
fn a_plan_estimates_the_decompressed_text() {
    let hashes = hashes(5000);
    let s3 = s3(gzip(&crlf(&hashes)));
    let ended = Run::new(&["plan", URI, "--json"]).s3(&s3).run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    let plan: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(
        plan["lines"],
        json!({"value": 5000, "low": 5000, "high": 5000})
    );
    assert_eq!(plan["exact"], true);
    assert_eq!(plan["sources"][0]["bytes"], 5000 * 66);
    let routes = plan["routes"].as_array().expect("a list");
    let import = routes.iter().find(|r| r["route"] == "import").expect("one");
    assert!(
        import["limits"]
            .to_string()
            .contains("first put the list into S3"),
        "{import}"
    );
}
