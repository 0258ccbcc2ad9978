//! Lists in every format, read by the binary: line counts of samples, attributes from
//! columns, and lists that cannot be read.

use crate::common::binary::{Finished, Run};
use crate::common::fake_dynamo::{DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config};
use hashferry::bench::Checkpoint;
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

/// A table with this name and partition key.
fn dynamo(key: &str) -> FakeDynamo {
    FakeDynamo::start(DynamoConfig::new(key, key, KeyType::S))
}

/// Ingests `text` into the table of that name.
fn ingest(text: impl AsRef<[u8]>, dynamo: &FakeDynamo, table: &str, args: &[&str]) -> Finished {
    let args = [&["--table", table, "--rate", "max"], args].concat();
    Run::ingest("list", &args)
        .file("list", text.as_ref())
        .dynamo(dynamo)
        .rejects()
        .run()
}

/// The rejected lines: number and reason.
fn rejected(ended: &Finished) -> Vec<(u64, String)> {
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

/// Expected counts (lines, written, duplicates, rejected, skipped, failed) were computed with
/// Python's csv module for tables, and by hand for the other samples.
#[test]
fn every_line_of_each_sample_is_counted() {
    for (name, hash, line_counts, says) in [
        (
            "NSRL-1.5.txt",
            "sha1",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 1.x), reading column SHA-1",
        ),
        (
            "NSRL-1.5.txt",
            "md5",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 1.x), reading column MD5",
        ),
        (
            "NSRL-2.0.txt",
            "sha1",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 2.x), reading column SHA-1",
        ),
        (
            "NSRL-2.0.txt",
            "md5",
            [219, 138, 80, 0, 1, 0],
            "an NSRLFile.txt (RDS 2.x), reading column MD5",
        ),
        (
            "hashkeeper-Z00236.hsh",
            "md5",
            [400, 399, 0, 0, 1, 0],
            "a HashKeeper hash set, reading column hash",
        ),
        (
            "ilookv3.hsh",
            "md5",
            [6, 5, 0, 0, 1, 0],
            "an iLook hash set, reading column V3Hash",
        ),
        (
            "ilookv3.hsh",
            "sha1",
            [6, 5, 0, 0, 1, 0],
            "an iLook hash set, reading column HashSHA1",
        ),
        // All its SHA-256 cells are empty.
        (
            "ilookv3.hsh",
            "sha256",
            [6, 0, 0, 5, 1, 0],
            "an iLook hash set, reading column HashSHA256",
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
            "the output of hashdeep, reading column md5",
        ),
        (
            "hashdeep.txt",
            "sha256",
            [7, 3, 0, 0, 4, 0],
            "the output of hashdeep, reading column sha256",
        ),
    ] {
        let dynamo = dynamo(hash);
        let dry = ingest(sample(name), &dynamo, hash, &["--dry-run"]);
        dry.assert_status(if line_counts[1] > 0 { 0 } else { 1 });
        dry.assert_line_counts(line_counts);
        dry.assert_stderr(&[&format!("list is {says}"), "(change with --format)"]);
        assert_eq!(dynamo.stats().calls, 0, "{name}");
        let reasons = rejected(&dry).into_iter().map(|(_, reason)| reason);
        assert!(reasons.into_iter().all(|r| r == "no_hash"), "{name}");

        let ended = ingest(sample(name), &dynamo, hash, &[]);
        ended.assert_line_counts(line_counts);
        assert_eq!(keys(&dynamo).len() as u64, line_counts[1], "{name}");
    }
}

#[test]
fn virusshare_and_malwarebazaar_are_plain_lists() {
    let virusshare = format!("{}{MD5}\n{}\n", "#\n".repeat(6), MD5.replace('9', "8"));
    let ended = ingest(&virusshare, &dynamo("md5"), "md5", &[]);
    ended.assert_status(0);
    ended.assert_line_counts([8, 2, 0, 0, 6, 0]);
    assert!(
        !ended.stderr.contains("--format"),
        "no message about the format: {}",
        ended.stderr
    );
    let malwarebazaar = format!(
        "################\r\n# MalwareBazaar #\r\n#\r\n# sha256_hash\r\n{SHA256}\r\n\r\n{SHA256}\r\n"
    );
    let ended = ingest(&malwarebazaar, &dynamo("sha256"), "sha256", &[]);
    ended.assert_status(0);
    ended.assert_line_counts([7, 1, 1, 0, 5, 0]);
}

/// Encodes `text` as PowerShell 5 writes it to a file.
fn utf16(text: &str) -> Vec<u8> {
    let marked = format!("\u{FEFF}{text}");
    marked.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// For each list: its line counts, its description in the log, and the name in its first item.
#[test]
fn lists_of_other_tools_are_read_unchanged() {
    let hash = |n: u32| format!("{n:064X}");
    let (a, b, c) = (hash(1), hash(2), hash(3));
    let table = format!(
        "\r\nAlgorithm       Hash       Path\r\n---------       ----       ----\r\n\
         SHA256          {a}       C:\\a b\r\nSHA256          {b}       C:\\c\r\n\r\n"
    );
    let list = format!(
        "\r\nAlgorithm : SHA256\r\nHash      : {a}\r\nPath      : C:\\a b\r\n\r\n\
         Algorithm : SHA256\r\nHash      : {b}\r\nPath      : C:\\c\r\n\r\n"
    );
    let csv = format!("\"Hash\",\"Path\"\r\n\"{a}\",\"C:\\a b\"\r\n\"{b}\",\"C:\\c\"\r\n");
    let unmarked = utf16(&csv)[2..].to_vec();
    let big: Vec<u8> = (csv.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let certutil = format!("SHA256 hash of C:\\a b:\r\n{a}\r\nCertUtil: -hashfile done.\r\n");
    let vic = format!(
        "{{\"@odata.context\":\"x\",\"value\":[{{\"SHA256\":\"{a}\",\"Name\":\"C:\\\\a b\"}},{{\"SHA256\":\"{b}\"}},{{\"SHA256\":\"{c}\"}}]}}"
    );
    let powershell = "the output of PowerShell's Get-FileHash";
    let utf = "UTF-16 text";
    for (text, line_counts, args, says) in [
        (
            format!("Name;SHA256\n\"C:\\a b\";{a}\nx;{b}\n").into_bytes(),
            [3, 2, 0, 0, 1, 0],
            &["name"][..],
            &["a table separated by semicolons, reading column SHA256"][..],
        ),
        (
            format!("{a}:12:C:73\n{b}:*:D:73\n").into_bytes(),
            [2, 2, 0, 0, 0, 0],
            &[],
            &["ClamAV"],
        ),
        (
            table.clone().into_bytes(),
            [6, 2, 0, 0, 4, 0],
            &["path"],
            &[powershell],
        ),
        (
            utf16(&table),
            [6, 2, 0, 0, 4, 0],
            &["path"],
            &[powershell, utf],
        ),
        (
            list.clone().into_bytes(),
            [3, 2, 0, 0, 1, 0],
            &["path"],
            &[powershell],
        ),
        (
            utf16(&list),
            [3, 2, 0, 0, 1, 0],
            &["path"],
            &[powershell, utf],
        ),
        (
            utf16(&csv),
            [3, 2, 0, 0, 1, 0],
            &["path"],
            &["comma-separated", utf],
        ),
        (
            unmarked,
            [3, 2, 0, 0, 1, 0],
            &["path"],
            &["comma-separated", utf],
        ),
        (
            big,
            [3, 2, 0, 0, 1, 0],
            &["path"],
            &["comma-separated", utf],
        ),
        (
            certutil.into_bytes(),
            [2, 1, 0, 0, 1, 0],
            &["name"],
            &["certutil"],
        ),
        (
            format!("{a}  C:\\a b\0{b}  two\nlines\0").into_bytes(),
            [2, 2, 0, 0, 0, 0],
            &["name"],
            &["lines end in NULs", "sha256sum"],
        ),
        (
            format!("sha256:{a}\n0x{b}\n{c}\n").into_bytes(),
            [3, 3, 0, 0, 0, 0],
            &[],
            &[],
        ),
        (
            vic.into_bytes(),
            [3, 3, 0, 0, 0, 0],
            &["value[].Name", "--field", "value[].SHA256"],
            &["reading field value[].SHA256"],
        ),
    ] {
        let dynamo = dynamo("sha256");
        let from = args.first().map(|name| format!("name={name}"));
        let mut given: Vec<&str> = args.iter().skip(1).copied().collect();
        if let Some(from) = &from {
            given.extend(["--attr-from", from]);
        }
        let shown = String::from_utf8_lossy(&text).into_owned();
        let ended = ingest(&text, &dynamo, "sha256", &given);
        ended.assert_status(0);
        ended.assert_line_counts(line_counts);
        ended.assert_stderr(says);
        let items = dynamo.items();
        assert_eq!(items.len() as u64, line_counts[1], "{shown}");
        if from.is_some() {
            assert_eq!(items[a.as_bytes()]["name"]["S"], "C:\\a b", "{shown}");
        }
        if shown.contains("two\nlines") {
            assert_eq!(items[b.as_bytes()]["name"]["S"], "two\nlines");
        }
    }
}

#[test]
fn a_list_of_paths_may_end_in_nuls() {
    let dynamo = dynamo("sha256");
    let ended = ingest("/a\0/b\nc\0/d\0", &dynamo, "sha256", &["--paths"]);
    ended.assert_status(3);
    ended.assert_line_counts([3, 2, 0, 1, 0, 0]);
    // A line feed in a path becomes a NUL, which is invalid.
    assert_eq!(rejected(&ended), [(2, "nul".to_owned())]);
}

#[test]
fn hashes_in_base64_need_the_option_and_the_error_names_it() {
    let digest = "OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=";
    let url = digest.replace('/', "_").replace('=', "");
    for text in [
        format!("{digest}\n"),
        format!("sha256-{digest}\n"),
        format!("a/b.py,sha256={url},12\n"),
    ] {
        let dynamo = dynamo("sha256");
        let ended = ingest(&text, &dynamo, "sha256", &[]);
        ended.assert_status(2);
        ended.assert_stderr(&["base64", "--encoding base64"]);
        assert_eq!(dynamo.stats().calls, 0, "{text}");
        let ended = ingest(&text, &dynamo, "sha256", &["--encoding", "base64"]);
        ended.assert_status(0);
        ended.assert_line_counts([1, 1, 0, 0, 0, 0]);
        assert_eq!(
            keys(&dynamo),
            BTreeSet::from([SHA256.to_uppercase()]),
            "{text}"
        );
    }
}

/// Runs the `command` of a hint on `text` and returns its output.
fn piped(command: &str, text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("list"), text).expect("written");
    let ended = std::process::Command::new("sh")
        .args(["-c", command])
        .current_dir(folder.path())
        .output()
        .expect("a shell");
    String::from_utf8(ended.stdout).expect("text")
}

/// The error comes before the first write, and the command in the hint works.
#[test]
fn files_in_other_formats_are_an_error_with_a_command_that_converts_them() {
    let dynamo = dynamo("sha256");
    let zeros = "0".repeat(41);
    let misp = format!(
        "{{\"Event\":{{\"Attribute\":[{{\"type\":\"filename|sha256\",\"value\":\"a|{SHA256}\"}},{{\"type\":\"md5\",\"value\":\"{MD5}\"}}]}}}}\n"
    );
    let stix = format!(
        "{{\"type\":\"bundle\",\"objects\":[{{\"type\":\"identity\"}},{{\"type\":\"file\",\"hashes\":{{\"SHA-256\":\"{SHA256}\"}}}}]}}"
    );
    let pattern = format!(
        "{{\"type\":\"bundle\",\"objects\":[{{\"pattern\":\"[file:hashes.'SHA-256' = '{SHA256}']\"}}]}}"
    );
    let cyclone = format!(
        "{{\n \"bomFormat\": \"CycloneDX\",\n \"components\": [{{\"components\": [{{\"hashes\": [{{\"alg\": \"SHA-256\", \"content\": \"{SHA256}\"}}]}}]}}]\n}}\n"
    );
    let spdx = format!(
        "{{\"spdxVersion\":\"SPDX-2.3\",\"files\":[{{\"checksums\":[{{\"algorithm\":\"SHA256\",\"checksumValue\":\"{SHA256}\"}}]}}]}}"
    );
    for (text, says) in [
        (format!("{zeros}|md5sum\n{SHA256}|0000\n"), "The Sleuth Kit"),
        (format!("x==1.0 \\\n    --hash=sha256:{SHA256}\n"), "pip"),
        (
            format!("Package: a\nFilename: pool/a.deb\nSHA256: {SHA256}\n"),
            "Packages",
        ),
        (
            format!("Origin: x\nSuite: y\nMD5Sum:\n {MD5} 1 z\nSHA256:\n {SHA256} 1 z\n"),
            "Release",
        ),
        (
            format!(
                "SPDXVersion: SPDX-2.3\nPackageChecksum: SHA1: {SHA1}\nFileChecksum: SHA256: {SHA256}\n"
            ),
            "SPDX",
        ),
        (misp, "a MISP event"),
        (stix, "a STIX bundle"),
        (pattern, "a STIX bundle"),
        (cyclone, "CycloneDX"),
        (spdx, "an SPDX document in JSON"),
    ] {
        let ended = ingest(&text, &dynamo, "sha256", &[]);
        ended.assert_status(2);
        ended.assert_stderr(&[says]);
        let hint = ended.stderr.split_once("make a list of it: ");
        let command = hint.and_then(|(_, way)| Some(way.split_once(" | hashferry ingest")?.0));
        // The message may be wrapped.
        let command = command.expect("a command").replace("\n  ", " ");
        if command.starts_with("jq") && piped("jq --version", "").is_empty() {
            continue;
        }
        let list = piped(&command, &text);
        assert_eq!(
            list.trim().trim_start_matches("sha256:"),
            SHA256,
            "{command}"
        );
    }
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn a_json_document_of_one_line_streams_and_resumes() {
    let n = 20_000u64;
    let one = |i: u64| {
        format!("{{\"id\":{i},\"hashes\":{{\"SHA-256\":\"{i:064x}\"}},\"x\":[{{}},\"]\"]}}")
    };
    let elements: Vec<String> = (0..n).map(one).collect();
    let before = "{\"a\":[1,2],\"type\":\"bundle\",".to_owned() + &" ".repeat(70_000);
    let text = format!("{before}\"objects\":[{}]}}", elements.join(","));
    let args = [
        "--field",
        "objects[].hashes.SHA-256",
        "--attr-from",
        "id:N=id",
    ];
    let (s3, dynamo) = (
        FakeS3::start(S3Config::default().object("lists", "a", text.clone())),
        dynamo("sha256"),
    );
    let keep = tempfile::tempdir().expect("a folder");
    let place = keep.path().join("checkpoint");
    let checkpoint = ["--checkpoint", place.to_str().expect("text")];
    let run = |more: &[&str]| {
        let args = [&args[..], &checkpoint, more].concat();
        Run::ingest("s3://lists/a", &args).s3(&s3).dynamo(&dynamo)
    };
    // A stopped run resumes in the middle of the document.
    let started = run(&["--rate", "4000"]).start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 5000)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    started.wait().assert_status(4);
    let ended = run(&["--rate", "max"]).run();
    ended.assert_status(0);
    ended.assert_line_counts([n, n, 0, 0, 0, 0]);
    let items = dynamo.items();
    assert_eq!(items.len() as u64, n);
    for i in (0..n).step_by(997) {
        assert_eq!(
            items[format!("{i:064X}").as_bytes()]["id"]["N"],
            i.to_string()
        );
    }

    let ended = ingest(
        &text,
        &dynamo,
        "sha256",
        &["--field", "object[].hashes.SHA-256"],
    );
    ended.assert_status(2);
    ended.assert_stderr(&["no array at object[]", "a, type, objects"]);
    let ended = ingest(
        &text,
        &dynamo,
        "sha256",
        &["--field", "objects[].hashes.SHA256x"],
    );
    ended.assert_status(1);
    ended.assert_stderr(&["none of the 20000 elements", "objects[].hashes.SHA256x"]);
    let cut = &text[..text.len() - 2];
    let ended = ingest(cut, &dynamo, "sha256", &args);
    ended.assert_status(1);
    ended.assert_stderr(&["cut off"]);
    let ended = ingest(
        format!("{SHA256}\n"),
        &dynamo,
        "sha256",
        &["--field", "a[].b"],
    );
    ended.assert_status(2);
    ended.assert_stderr(&["is not JSON"]);
}

#[test]
fn the_hash_is_read_from_the_column_or_field_in_the_options() {
    let table = format!("name,before,after\nx,{MD5},{}\n", MD5.replace('9', "8"));
    for (column, hash) in [("after", MD5.replace('9', "8")), ("2", MD5.to_owned())] {
        let dynamo = dynamo("md5");
        let ended = ingest(&table, &dynamo, "md5", &["--column", column]);
        ended.assert_status(0);
        ended.assert_line_counts([2, 1, 0, 0, 1, 0]);
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
    ended.assert_line_counts([3, 1, 0, 2, 0, 0]);
    ended.assert_stderr(&["JSON, one object per line, reading field file.md5"]);
    assert_eq!(
        rejected(&ended),
        [(2, "no_hash".to_owned()), (3, "json".to_owned())]
    );
}

#[test]
fn items_get_attributes_from_columns() {
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
fn a_missing_column_is_an_error_before_the_first_write() {
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
    ended.assert_stderr(&["several algorithms", "md5 (md5), sha1 (sha1)", "--hash"]);
    assert_eq!(other.stats().calls, 0);
    // Of two columns for one algorithm the one with the exact name is read.
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
                "list: no column is named for sha256",
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
            &["the columns are name and size"],
        ),
        (&sums, &["--format", "hashdeep"], &["%%%%"]),
        (&sums, &["--format", "csv"], &["no column", "--column"]),
        (
            &sums,
            &["--format", "ndjson"],
            &["not one object per line", "jq -c"],
        ),
        (
            &misp,
            &[],
            &[
                "list is a MISP warning list",
                "jq -r '.list[]' list",
                "list[]",
            ],
        ),
        (
            &vic,
            &[],
            &[
                "list is a Project VIC",
                "jq -c '.value[]' list",
                "--field 'value[].MD5'",
            ],
        ),
    ] {
        let ended = ingest(text, &dynamo, "sha256", args);
        ended.assert_status(2);
        ended.assert_stderr(says);
    }
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn lines_of_another_format_than_the_option_are_rejected_with_reasons() {
    let dynamo = dynamo("sha256");
    let ended = ingest(
        sample("debian.sha256sum"),
        &dynamo,
        "sha256",
        &["--format", "lines"],
    );
    ended.assert_status(1);
    ended.assert_line_counts([300, 0, 0, 300, 0, 0]);
    assert!(
        rejected(&ended)
            .iter()
            .all(|(_, reason)| reason == "length")
    );
    // A line with fewer fields is rejected for its columns.
    let text = format!("name,sha256\nx,{SHA256}\n\"open,{SHA256}\nx\ny,{SHA256}\n");
    let ended = ingest(&text, &dynamo, "sha256", &[]);
    ended.assert_status(3);
    ended.assert_line_counts([5, 1, 1, 2, 1, 0]);
    assert_eq!(
        rejected(&ended),
        [(3, "quote".to_owned()), (4, "columns".to_owned())]
    );
}

/// A table of `n` rows. Every tenth row spans three lines, every hundredth has no hash.
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
fn a_table_resumes_in_the_middle_without_its_header() {
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
    started.wait().assert_status(4);
    let saved = Checkpoint::from_text(&std::fs::read(&place).expect("one")).expect("valid");
    let read = saved.partial_source.as_ref().expect("a source");
    assert!(
        read.lines > read.line_counts.lines && read.line_counts.lines > 4000,
        "{read:?}"
    );

    // Another column or format is another run.
    for args in [["--column", "1"], ["--format", "csv"]] {
        let ended = run(&args).run();
        ended.assert_status(2);
        ended.assert_stderr(&["belongs to another run", "--restart"]);
    }
    let ended = run(&["--rate", "max"]).run();
    ended.assert_status(3);
    ended.assert_stderr(&["resuming an earlier run", "reading column sha256"]);
    ended.assert_line_counts([n + 1, n - n / 100, 0, n / 100, 1, 0]);
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
    // Each rejected line is reported once, with its line number in the file.
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
fn objects_of_a_prefix_may_have_different_formats() {
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
            .run()
    };
    let ended = run(&[]);
    ended.assert_status(0);
    ended.assert_line_counts([7, 6, 0, 0, 1, 0]);
    ended.assert_stderr(&[
        "s3://lists/p/1 is the output of a program like sha256sum",
        "s3://lists/p/3 is a comma-separated table, reading column sha256",
        "s3://lists/p/5 is JSON, one object per line, reading field sha256",
    ]);
    assert!(
        !ended.stderr.contains("s3://lists/p/2 is"),
        "same format as the first object: {}",
        ended.stderr
    );
    assert_eq!(keys(&dynamo).len(), 6);
    let verified = Run::verify("s3://lists/p/", &["--rate", "max"])
        .s3(&s3)
        .dynamo(&dynamo)
        .run();
    verified.assert_status(0);
    verified.assert_verified([7, 6, 0, 0, 0, 0, 1, 0]);

    // A later object without the column ends the run after the earlier ones are written.
    let ended = run(&["--attr-from", "name=name"]);
    ended.assert_status(1);
    ended.assert_stderr(&["s3://lists/p/4", "no column \"name\"", "plain list"]);
    ended.assert_line_counts([5, 4, 0, 0, 1, 0]);
}

#[test]
fn a_plan_counts_rows_and_describes_the_format() {
    let ended = Run::new(&["plan", "list", "--json", "--hash", "sha1"])
        .file("list", &sample("NSRL-2.0.txt"))
        .run();
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
    ended.assert_stderr(&["an NSRLFile.txt (RDS 2.x), reading column SHA-1"]);
    // The suggested commands have the same list options.
    let ended = Run::new(&[
        "plan", "list", "--hash", "md5", "--format", "csv", "--column", "after",
    ])
    .file("list", format!("before,after\n{MD5},{MD5}\n").as_bytes())
    .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    assert!(
        ended.stdout.contains("--format csv --column after"),
        "{}",
        ended.stdout
    );
}

/// A hash with `digits` digits, unique for each `n`.
fn nth(n: u64, digits: usize) -> String {
    format!("{n:0digits$x}")
}

/// A list in the style of ThreatFox and MalwareBazaar: comments, and blanks after commas.
fn threatfox(rows: u64) -> String {
    let row = |n| {
        format!(
            "\"2026-11-01 00:00:00\", \"{n}\", \"{}\", \"sha256_hash\", \"name, with comma {n}\"\r\n",
            nth(n, 64)
        )
    };
    let comments = "################\r\n# ThreatFox    #\r\n# \"first_seen\",\"id\",\"ioc\",\"type\",\"x\"\r\n";
    format!("{comments}{}", (0..rows).map(row).collect::<String>())
}

#[test]
fn blanks_after_commas_are_dropped_from_hashes_and_attributes() {
    let dynamo = dynamo("sha256");
    let list = threatfox(65);
    let args = ["--attr-from", "name=5", "--attr-from", "id:N=2"];
    let ended = ingest(&list, &dynamo, "sha256", &args);
    ended.assert_status(0);
    ended.assert_line_counts([68, 65, 0, 0, 3, 0]);
    let items = dynamo.items();
    for n in 0..65 {
        let item = &items[nth(n, 64).to_uppercase().as_bytes()];
        assert_eq!(item["name"], json!({"S": format!("name, with comma {n}")}));
        assert_eq!(item["id"], json!({"N": n.to_string()}));
    }
    let verified = Run::verify("list", &[&["--rate", "max"][..], &args].concat())
        .file("list", list.as_bytes())
        .dynamo(&dynamo)
        .run();
    verified.assert_status(0);
    verified.assert_verified([68, 65, 0, 0, 0, 0, 3, 0]);
}

#[test]
fn a_list_of_only_headers_does_not_succeed() {
    let dynamo = dynamo("md5");
    for (rows, skipped) in [(5, 1), (100, 1)] {
        let list = format!("kind,md5_of\n{}", "kind,x\n".repeat(rows));
        let ended = ingest(&list, &dynamo, "md5", &["--column", "kind"]);
        assert!(ended.status == 1 || ended.status == 3, "{}", ended.stderr);
        ended.assert_line_counts([rows as u64 + 1, 0, 0, rows as u64, skipped, 0]);
        assert!(
            rejected(&ended)
                .iter()
                .all(|(_, reason)| reason == "header")
        );
    }
    assert!(keys(&dynamo).is_empty());
}

#[test]
fn a_column_of_another_name_is_read_only_with_the_option() {
    let rows = (0..30).map(|n| format!("file {n}.exe,{},{n}\n", nth(n, 32)));
    let rows = rows.collect::<String>();
    for name in ["imphash", "ja3", "guid", "authentihash", "pe_sha256"] {
        let dynamo = dynamo("md5");
        let list = format!("name,{name},size\n{rows}");
        let ended = ingest(&list, &dynamo, "md5", &[]);
        ended.assert_status(2);
        let columns = format!("the columns are name, {name}, size");
        ended.assert_stderr(&["no column is named for md5 hashes", &columns, "--column"]);
        assert_eq!(dynamo.stats().items_written, 0);
        let ended = ingest(&list, &dynamo, "md5", &["--column", name]);
        ended.assert_status(0);
        ended.assert_line_counts([31, 30, 0, 0, 1, 0]);
    }
    // Also if the partition key does not name the algorithm.
    let dynamo = FakeDynamo::start(DynamoConfig::new("pk", "pk", KeyType::S));
    let ended = ingest(format!("name,imphash,size\n{rows}"), &dynamo, "pk", &[]);
    ended.assert_status(2);
    ended.assert_stderr(&["the columns are name, imphash, size", "--column"]);
}

#[test]
fn rows_of_other_types_are_skipped_and_counted_by_algorithm() {
    let row = |kind: &str, value: &str| format!("\"u\",7,Payload,{kind},\"{value}\",\"\",1\n");
    let each = |n: u64| {
        [
            row("md5", &nth(n, 32)),
            row("sha1", &nth(n, 40)),
            row("filename|sha256", &format!("a|b.exe|{}", nth(n, 64))),
            row("imphash", &nth(n + 1000, 32)),
        ]
    };
    let rows = (0..20).flat_map(each).collect::<String>();
    let list = format!("uuid,event_id,category,type,value,comment,to_ids\n{rows}");
    for (hash, digits, others) in [
        ("md5", 32, json!({"sha1": 20, "sha256": 20})),
        ("sha1", 40, json!({"md5": 20, "sha256": 20})),
        ("sha256", 64, json!({"md5": 20, "sha1": 20})),
    ] {
        let dynamo = dynamo(hash);
        let ended = ingest(&list, &dynamo, hash, &[]);
        ended.assert_status(3);
        ended.assert_line_counts([81, 20, 0, 20, 41, 0]);
        assert_eq!(ended.report["other_algorithms"], others);
        assert!(
            rejected(&ended)
                .iter()
                .all(|(_, reason)| reason == "algorithm")
        );
        ended.assert_stderr(&["blank, comment, header, or of another algorithm: 20 "]);
        let written: BTreeSet<_> = (0..20).map(|n| nth(n, digits).to_uppercase()).collect();
        assert_eq!(keys(&dynamo), written, "{hash}");
        let verified = Run::verify("list", &["--table", hash, "--rate", "max"])
            .file("list", list.as_bytes())
            .dynamo(&dynamo)
            .run();
        verified.assert_status(3);
        verified.assert_verified([81, 20, 0, 0, 0, 20, 41, 0]);
        assert_eq!(verified.report["other_algorithms"], others);
        let plan = Run::new(&["plan", "list", "--json", "--hash", hash])
            .file("list", list.as_bytes())
            .run();
        let plan: Value = serde_json::from_str(&plan.stdout).expect("JSON");
        assert_eq!(plan["other_algorithms"], others);
        assert_eq!(plan["skipped"]["value"], 41);
    }
    // A list without hashes of the table's algorithm writes nothing and fails.
    let md5 = list
        .lines()
        .filter(|line| line.contains(",type,") || line.contains(",md5,"));
    let md5 = md5.map(|line| format!("{line}\n")).collect::<String>();
    let ended = ingest(&md5, &dynamo("sha256"), "sha256", &[]);
    ended.assert_status(1);
    ended.assert_line_counts([21, 0, 0, 0, 21, 0]);
    ended.assert_stderr(&["none of the 21 lines is a sha256 hash", "20 md5"]);
}

#[test]
fn a_list_that_mixes_algorithms_is_an_error_unless_others_are_skipped() {
    let each = |n: u64| [nth(n, 32), nth(n, 40), nth(n, 64)];
    for end in ["", "  a file"] {
        let lines = (0..500).flat_map(each).map(|hash| format!("{hash}{end}\n"));
        let list = lines.collect::<String>();
        let old: String = list
            .lines()
            .skip(30)
            .map(|line| format!("{line}\n"))
            .collect();
        let dynamo = dynamo("sha256");
        for command in ["ingest", "verify", "plan"] {
            let ended = Run::new(&[command, "list", "--table", "sha256"])
                .file("list", list.as_bytes())
                .dynamo(&dynamo)
                .run();
            assert_eq!(ended.status, 2, "{}", ended.stderr);
            ended.assert_stderr(&[
                "mixes algorithms line by line",
                " md5",
                "--other-algorithms skip",
            ]);
        }
        assert_eq!(dynamo.stats().items_written, 0);
        let skip = ["--other-algorithms", "skip"];
        let ended = ingest(&list, &dynamo, "sha256", &skip);
        ended.assert_status(0);
        ended.assert_line_counts([1500, 500, 0, 0, 1000, 0]);
        let others = json!({"md5": 500, "sha1": 500});
        assert_eq!(ended.report["other_algorithms"], others);
        assert_eq!(keys(&dynamo).len(), 500);
        let verified = Run::verify("list", &[&skip[..], &["--rate", "max"]].concat())
            .file("list", list.as_bytes())
            .dynamo(&dynamo)
            .run();
        verified.assert_status(0);
        verified.assert_verified([1500, 500, 0, 0, 0, 0, 1000, 0]);
        let plan = Run::new(&[
            "plan",
            "list",
            "--hash",
            "sha256",
            "--other-algorithms",
            "skip",
        ])
        .file("list", list.as_bytes())
        .run();
        assert_eq!(plan.status, 0, "{}", plan.stderr);
        assert!(plan.stdout.contains("500 sha1, 500 md5"), "{}", plan.stdout);
        assert!(
            plan.stdout.contains("--other-algorithms skip"),
            "{}",
            plan.stdout
        );
        // A refresh counts the skipped lines of both lists.
        let report = |args: &[&str]| {
            let args = [
                &[
                    "refresh", "--from", "old", "--to", "list", "--table", "sha256",
                ],
                args,
            ];
            Run::new(&[&args.concat()[..], &["--report", "report.json"]].concat())
                .file("list", list.as_bytes())
                .file("old", old.as_bytes())
                .dynamo(&dynamo)
                .run()
        };
        assert_eq!(report(&[]).status, 2);
        let refreshed = report(&skip);
        assert_eq!(refreshed.status, 0, "{}", refreshed.stderr);
        assert_eq!(
            refreshed.report["other_algorithms"],
            json!({"md5": 990, "sha1": 990})
        );
        assert_eq!(refreshed.number("written"), 10);
    }
}

#[test]
fn a_line_with_several_hashes_is_rejected_with_a_hint() {
    let line = |n: u64| {
        format!(
            "{} {} {}\n",
            nth(3 * n, 32),
            nth(3 * n + 1, 32),
            nth(3 * n + 2, 32)
        )
    };
    let own = format!("{MD5}  {MD5}\n");
    let list = (1..20).map(line).collect::<String>() + &own;
    let dynamo = dynamo("md5");
    let ended = ingest(&list, &dynamo, "md5", &[]);
    ended.assert_status(3);
    ended.assert_line_counts([20, 1, 0, 19, 0, 0]);
    assert!(
        rejected(&ended)
            .iter()
            .all(|(_, reason)| reason == "several_hashes")
    );
    let ended = Run::ingest("list", &["--table", "md5"])
        .file("list", list.as_bytes())
        .dynamo(&dynamo)
        .run();
    ended.assert_stderr(&["put one hash on each line: tr -s ' ' '\\n' < LIST"]);
}
