//! Hostile names and texts in lists, objects and responses, with the real binary. Their
//! control characters reach neither a terminal nor the log, and they cannot forge a line.

use crate::common::binary::{Finished, Run};
use crate::common::fake_api::{ApiFault, FakeApi};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config};
use crate::common::wire::Answer;
use serde_json::json;

/// Control characters that set the title, clear the screen, set a colour, reverse text
/// and hide it.
const LINE: &str = "\x1b]0;x\x07\x1b[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{7f}\u{85}x";

/// Control characters, and forged log lines.
const FORGED: &str =
    "\x1b[2J\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{7f}\r\nerror: forged\n WARN forged";

fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// Asserts that `text` has no control character and no forged line.
#[track_caller]
fn assert_harmless(text: &str) {
    for line in text.split('\n') {
        assert!(line.chars().all(is_harmless), "{line:?}");
        assert!(!line.starts_with("error: forged"), "{text}");
        assert!(!line.trim_start().starts_with("WARN forged"), "{text}");
    }
}

/// Asserts that the run failed and named the hostile text with its characters escaped.
#[track_caller]
fn assert_named(ended: &Finished, status: i32) {
    assert_harmless(&ended.stderr);
    assert_harmless(&ended.stdout);
    ended.assert_status(status);
    ended.assert_stderr(&["\\u{202e}", "\\u{2066}", "\\u{9b}31m"]);
}

fn dynamo() -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new("sha256", "sha256", KeyType::S))
}

/// A ZIP archive of stored members with these names, each with one hash.
fn zip(names: &[&str]) -> Vec<u8> {
    let text = format!("{:064X}\n", 1);
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    let sizes = [crc.sum(), text.len() as u32, text.len() as u32];
    let sizes: Vec<u8> = sizes.iter().flat_map(|n| n.to_le_bytes()).collect();
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for name in names {
        let at = out.len() as u32;
        // Bit 11 of the flags: names are UTF-8.
        let fixed = [20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
        let lengths = [name.len() as u8, 0, 0, 0];
        out.extend(b"PK\x03\x04");
        out.extend(fixed);
        out.extend(&sizes);
        out.extend(lengths);
        out.extend(name.bytes());
        out.extend(text.bytes());
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(fixed);
        directory.extend(&sizes);
        directory.extend(lengths);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.bytes());
    }
    let (at, count) = (out.len() as u32, names.len() as u8);
    let size = directory.len() as u32;
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, 0, count, 0]);
    out.extend(size.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

#[test]
fn names_of_archive_members_are_escaped() {
    let names = [&format!("a{LINE}"), &format!("b{FORGED}")];
    let ended = Run::ingest("list.zip", &[] as &[&str])
        .dynamo(&dynamo())
        .file("list.zip", &zip(&names.map(String::as_str)))
        .run();
    assert_harmless(&ended.stderr);
    ended.assert_status(2);
    ended.assert_stderr(&["has 2 members", "\\u{202e}"]);
}

#[test]
fn names_of_columns_and_fields_are_escaped_and_truncated() {
    let hash = format!("{:064X}", 1);
    let csv = format!("md5,\"{LINE}\",size\n{:032X},x,1\n", 1);
    let fields = json!({ FORGED: hash, "name": LINE }).to_string() + "\n";
    for (name, list) in [("list.csv", csv), ("list.jsonl", fields)] {
        let ended = Run::ingest(name, &["--hash", "sha256"])
            .dynamo(&dynamo())
            .file(name, list.as_bytes())
            .run();
        assert_named(&ended, 2);
    }
    // A name of 60,000 characters is truncated.
    let fields = json!({ "x".repeat(60_000): hash }).to_string() + "\n";
    let ended = Run::ingest("list.jsonl", &[] as &[&str])
        .dynamo(&dynamo())
        .file("list.jsonl", fields.as_bytes())
        .run();
    ended.assert_status(2);
    assert!(ended.stderr.len() < 2_000, "{}", ended.stderr.len());
}

#[test]
fn a_hashdeep_header_is_escaped() {
    let list = format!(
        "%%%% HASHDEEP-1.0\n%%%% size,{LINE},filename\n1,{:064X},x\n",
        1
    );
    let ended = Run::ingest("list.txt", &[] as &[&str])
        .dynamo(&dynamo())
        .file("list.txt", list.as_bytes())
        .run();
    assert_harmless(&ended.stderr);
    assert_ne!(ended.status, 0);
}

#[cfg(feature = "rds")]
#[test]
fn names_of_database_tables_are_escaped() {
    let run = Run::ingest("rds.db", &[] as &[&str]).dynamo(&dynamo());
    let database = rusqlite::Connection::open(run.dir().join("rds.db")).expect("a database");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    database
        .execute_batch(&format!(
            "CREATE TABLE {} (a); CREATE TABLE FILE ({} TEXT);",
            quoted(FORGED),
            quoted(FORGED)
        ))
        .expect("tables");
    drop(database);
    assert_named(&run.run(), 2);
}

#[test]
fn object_keys_and_manifest_lines_are_escaped() {
    let dynamo = dynamo();
    // The line feed is the only C0 character in S3's XML.
    let key = "p/\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{7f}\nerror: forged";
    let s3 = FakeS3::start(S3Config::default().bucket("lists").object(
        "lists",
        key,
        b"no hash\n".to_vec(),
    ));
    let ended = Run::ingest("s3://lists/p/", &["--hash", "sha256"])
        .dynamo(&dynamo)
        .s3(&s3)
        .run();
    assert_harmless(&ended.stderr);
    ended.assert_stderr(&["\\u{202e}"]);

    let ended = Run::new(&["ingest", "--manifest", "list.txt", "--table", "sha256"])
        .dynamo(&dynamo)
        .s3(&s3)
        .file("list.txt", format!("ftp://{LINE}\n").as_bytes())
        .run();
    assert_harmless(&ended.stderr);
    assert_ne!(ended.status, 0);
}

#[test]
fn rejected_lines_are_escaped() {
    let list = format!("{:064X}\n{LINE}\n", 1);
    let ended = Run::ingest("list.txt", &["--hash", "sha256"])
        .dynamo(&dynamo())
        .file("list.txt", list.as_bytes())
        .run();
    ended.assert_status(3);
    assert_harmless(&ended.stderr);
    ended.assert_stderr(&["rejected: list.txt, line 2"]);
}

#[test]
fn checkpoints_profiles_and_environment_variables_are_escaped() {
    let list = format!("{:064X}\n", 1);
    for checkpoint in [
        format!("{FORGED}\n"),
        format!("{}\n{FORGED}\n", json!({ "version": FORGED, FORGED: 1 })),
    ] {
        let ended = Run::ingest("list.txt", &["--checkpoint", "c.json"])
            .dynamo(&dynamo())
            .file("list.txt", list.as_bytes())
            .file("c.json", checkpoint.as_bytes())
            .run();
        ended.assert_status(2);
        assert_harmless(&ended.stderr);
    }
    let config = format!("[profile x]\nsource_profile = {LINE}\nrole_arn = {LINE}\n");
    let ended = Run::ingest("list.txt", &["--profile", "x"])
        .env("AWS_CONFIG_FILE", "config")
        .file("list.txt", list.as_bytes())
        .file("config", config.as_bytes())
        .run();
    assert_ne!(ended.status, 0);
    assert_harmless(&ended.stderr);
    let ended = Run::ingest("list.txt", &[] as &[&str])
        .env("AWS_ENDPOINT_URL", &format!("http://{LINE}"))
        .file("list.txt", list.as_bytes())
        .run();
    assert_ne!(ended.status, 0);
    assert_harmless(&ended.stderr);
}

#[test]
fn api_responses_are_escaped() {
    let hash = format!("{:064X}", 1);
    // Probes have number 0 and the normal response.
    let api = FakeApi::start_with([], None, |number, _| {
        let body = json!({ "message": FORGED }).to_string();
        (number > 0).then(|| ApiFault::Answer(Answer::new(400, body)))
    });
    let ended = Run::lookup("list.txt", &["--api", &api.url("sha256")])
        .file("list.txt", hash.as_bytes())
        .run();
    assert_harmless(&ended.stderr);
    // The answer is still one line of JSON.
    assert_eq!(ended.answers().len(), 1);
    assert_eq!(ended.answers()[0]["status"], "error");
}

#[test]
fn a_log_in_json_is_json_line_by_line() {
    let list = json!({ FORGED: format!("{:064X}", 1) }).to_string() + "\n";
    let ended = Run::ingest("list.jsonl", &["--log-format", "json"])
        .dynamo(&dynamo())
        .file("list.jsonl", list.as_bytes())
        .run();
    ended.assert_status(2);
    for line in ended.stderr.lines() {
        assert!(line.starts_with('{'), "{line}");
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    assert_harmless(&ended.stderr);
}
