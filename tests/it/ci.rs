//! Tests of `scripts/ci/nsrl-refresh.sh` with file:// URLs and small databases in the RDS's
//! format: its calls of hashferry, its state after each failure, and the resumption
//! by the next run. A stand-in for hashferry records its arguments and exits with a
//! given status; the last test uses the real binary.

#[cfg(feature = "local")]
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::common::fake_s3::{FakeS3, S3Config};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ci/nsrl-refresh.sh");

/// Tools that the script needs and some systems lack.
const TOOLS: [&str; 6] = ["bash", "curl", "sha1sum", "sqlite3", "unzip", "zstd"];

/// Stand-in for hashferry: records its arguments, writes a report, adds rejected
/// lines, and exits as the file named like the command says.
const FAKE_HASHFERRY: &str = r#"#!/bin/sh
echo "$*" >>"$STUB/calls"
before=
for argument; do
  case $before in
  --report) cat "$STUB/$1.report" >"$argument" 2>/dev/null || echo "{\"command\":\"$1\"}" >"$argument" ;;
  --rejects) echo "{\"line\":1}" >>"$argument" ;;
  esac
  before=$argument
done
ends=$(cat "$STUB/$1" 2>/dev/null) || exit 0
[ "$ends" = stands ] || exit "$ends"
cat <>"$STUB/never" & never=$!
trap 'kill $never; exit 4' TERM
echo stands >&2
wait
"#;

/// Stand-in for the script's `aws` commands, on a folder: objects are files.
const FAKE_AWS: &str = r#"#!/bin/sh
place() { printf '%s/%s' "$STUB/s3" "${1#s3://}"; }
case "$1 $2" in
"s3api list-objects-v2")
  [ ! -f "$STUB/denied" ] || { echo AccessDenied >&2; exit 254; }
  keys=$(cd "$STUB/s3/$4" && find . -type f | sed 's|^\./||' | grep "^$6" | tr '\n' '\t')
  echo "${keys:-None}" ;;
"s3 cp")
  case $4:$5 in
  s3://*:-) cat "$(place "$4")" ;;
  *:s3://*) mkdir -p "$(dirname "$(place "$5")")" && cp "$4" "$(place "$5")" ;;
  esac ;;
"s3 rm") rm -f "$(place "$4")" ;;
*) echo "aws $*: not expected" >&2; exit 252 ;;
esac
"#;

const MINIMAL: &str = "\
CREATE TABLE FILE (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL, crc32 VARCHAR NOT NULL, \
file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL, package_id INTEGER NOT NULL, \
PRIMARY KEY (sha256, sha1, md5, crc32, file_name, file_size, package_id));
CREATE TABLE VERSION (version VARCHAR PRIMARY KEY, release_date TIMESTAMP NOT NULL);
CREATE VIEW DISTINCT_HASH AS SELECT DISTINCT sha256, sha1, md5, crc32 FROM FILE;
";

/// The dbhash that is published for every database here.
const DBHASH: &str = "481e5f55f6d1ed63ea0f176779efc5cc5d53e52a";

/// The hashes of the n-th file: SHA-256, SHA-1 and MD5.
fn hashes(n: u32) -> [String; 3] {
    [64, 40, 32].map(|digits| format!("{n:08X}").repeat(digits / 8))
}

fn sha256(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| hashes(n)[0].clone()).collect()
}

/// SQL that adds a file to a package.
fn insert_statements(n: u32, package: u32) -> String {
    let [sha256, sha1, md5] = hashes(n);
    format!(
        "INSERT INTO FILE VALUES('{sha256}','{sha1}','{md5}','0','it''s {n};',{n},{package});\n"
    )
}

/// SQL that removes a file from a package.
fn delete_statements(n: u32, package: u32) -> String {
    let sha256 = &hashes(n)[0];
    format!("DELETE FROM FILE WHERE sha256='{sha256}' AND package_id={package};\n")
}

fn delta_sql(statements: &[String]) -> String {
    format!("BEGIN TRANSACTION;\n{}COMMIT;\n", statements.concat())
}

/// A ZIP archive of uncompressed members.
fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let size = u32::try_from(bytes.len()).expect("small");
        let name_length = u16::try_from(name.len()).expect("small");
        // From the version needed to the length of the extra field.
        let mut head = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        for n in [crc.sum(), size, size] {
            head.extend(n.to_le_bytes());
        }
        head.extend(name_length.to_le_bytes());
        head.extend([0; 2]);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&head);
        directory.extend([0; 10]);
        directory.extend(u32::try_from(out.len()).expect("small").to_le_bytes());
        directory.extend(name.bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&head);
        out.extend(name.bytes());
        out.extend(bytes);
    }
    let count = u16::try_from(members.len()).expect("few").to_le_bytes();
    let (at, length) = (out.len(), directory.len());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    for n in [length, at] {
        out.extend(u32::try_from(n).expect("small").to_le_bytes());
    }
    out.extend([0; 2]);
    out
}

/// Runs a tool with this input; it must succeed.
fn run_tool(name: &str, arguments: &[&str], input: &Path) -> String {
    let output = Command::new(name)
        .args(arguments)
        .stdin(fs::File::open(input).expect("an input"))
        .output()
        .expect("a tool");
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Stand-ins for NIST, AWS and the machine, in one folder.
struct TestBed {
    dir: tempfile::TempDir,
    /// Additional environment of the script.
    env: Vec<(&'static str, String)>,
    /// Published releases, with the SQL of each.
    published: Vec<(String, Vec<String>)>,
}

struct Finished {
    status: i32,
    stderr: String,
}

impl TestBed {
    /// `None` if a tool is missing, which it prints.
    fn new() -> Option<Self> {
        for tool in TOOLS {
            if let Err(e) = Command::new(tool).arg("--help").output() {
                eprintln!("SKIPPED, nothing was tested: {tool} is needed ({e})");
                return None;
            }
        }
        let world = Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
            env: Vec::new(),
            published: Vec::new(),
        };
        for folder in ["bin", "stub", "www", "stub/s3/bucket"] {
            fs::create_dir_all(world.path(folder)).expect("a folder");
        }
        world.write_program("hashferry", FAKE_HASHFERRY);
        world.write_program("aws", FAKE_AWS);
        world.write_program("date", "#!/bin/sh\necho 2026-11\n");
        world.write_program("dbhash", "#!/bin/sh\ncat \"$STUB/dbhash\"\n");
        world.write("stub/dbhash", format!("{DBHASH} database\n"));
        run_tool(
            "mkfifo",
            &[world.path("stub/never").to_str().expect("UTF-8")],
            Path::new("/dev/null"),
        );
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn write_program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.env.retain(|(n, _)| *n != name);
        self.env.push((name, value.to_owned()));
    }

    /// Sets the exit status of a command of the stand-in.
    fn set_exit(&self, command: &str, status: &str) {
        self.write(&format!("stub/{command}"), status);
    }

    /// Publishes a full database, made by SQL.
    fn publish_full(&mut self, release: &str, sql: &str) {
        let name = format!("RDS_{release}_modern_minimal");
        let script = self.path("full.sql");
        fs::write(&script, format!("{MINIMAL}{sql}")).expect("a script");
        let db = self.path("full.db");
        let _ = fs::remove_file(&db);
        run_tool("sqlite3", &["-bail", db.to_str().expect("UTF-8")], &script);
        let db = fs::read(db).expect("a database");
        self.published
            .push((release.to_owned(), vec![format!("{name}.db")]));
        self.write_archive(release, &name, vec![(format!("{name}/{name}.db"), db)]);
    }

    /// Publishes a delta to the previous release.
    fn publish_delta(&mut self, release: &str, sql: &str) {
        let name = format!("RDS_{release}_modern_minimal_delta");
        let mut parts = self.published.last().expect("a release before").1.clone();
        parts.push(format!("{name}.sql"));
        self.published.push((release.to_owned(), parts));
        let members = vec![
            // A metadata file of macOS, which must be ignored.
            (format!("{name}/._{name}.sql"), b"no SQL".to_vec()),
            (format!("{name}/{name}.sql"), sql.as_bytes().to_vec()),
        ];
        self.write_archive(release, &name, members);
    }

    fn write_archive(&self, release: &str, name: &str, mut members: Vec<(String, Vec<u8>)>) {
        let folder = format!("www/rds_{release}");
        fs::create_dir_all(self.path(&folder)).expect("a folder");
        members.push((
            format!("{name}/readme.txt"),
            b"For all who can read.\n".to_vec(),
        ));
        let file = format!("{folder}/{name}.zip");
        self.write(&file, zip(&members));
        let sum = run_tool("sha1sum", &[], &self.path(&file));
        self.write(
            &format!("{file}.sha"),
            format!("SHA1({name}.zip)= {}\n", &sum[..40]),
        );
        self.write(
            &format!("{folder}/version.txt"),
            format!("RDS Version {release}\n"),
        );
        let mut text = String::from("The following sets\r\n\r\n---- Modern ----\r\n");
        for set in ["modern", "modern_minimal", "legacy_minimal"] {
            let hash = if set == "modern_minimal" {
                DBHASH.to_owned()
            } else {
                "0".repeat(40)
            };
            let _ = write!(text, "\r\n{hash} RDS_{release}_{set}.db\r\n");
            for (i, part) in self.published.last().expect("this").1.iter().enumerate() {
                let part = part.replace("modern_minimal", set);
                let _ = write!(text, "        {}. {part}\r\n", i + 1);
            }
        }
        self.write(&format!("{folder}/dbhashes.txt"), text);
    }

    fn command(&self) -> Command {
        let mut path = OsString::from(self.path("bin"));
        if let Some(rest) = std::env::var_os("PATH") {
            path.push(":");
            path.push(rest);
        }
        let mut command = Command::new("bash");
        command
            .arg(SCRIPT)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env("STUB", self.path("stub"))
            .env("STATE", self.path("state"))
            .env("TABLE", "sha256")
            .env(
                "NSRL_BASE_URL",
                format!("file://{}", self.path("www").display()),
            )
            .env("NSRL_WORK", self.path("work"))
            .envs(self.env.iter().map(|(n, v)| (n, v)))
            .current_dir(self.dir.path());
        command
    }

    /// Runs the script to its end.
    fn run(&self) -> Finished {
        let Output { status, stderr, .. } = self.command().output().expect("bash");
        let ended = Finished {
            status: status.code().unwrap_or(-1),
            stderr: String::from_utf8(stderr).expect("UTF-8"),
        };
        // No run leaves large files, not even a failed one.
        let left: Vec<_> = fs::read_dir(self.path("work"))
            .into_iter()
            .flatten()
            .map(|e| {
                e.expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|name| name.contains(".partial"))
            .collect();
        assert_eq!(left, [""; 0], "{}", ended.stderr);
        ended
    }

    /// Arguments of hashferry's calls since the last query, without the folder.
    fn calls(&self) -> Vec<String> {
        let text = self.read("stub/calls");
        let _ = fs::remove_file(self.path("stub/calls"));
        let folder = format!("{}/", self.dir.path().display());
        text.lines().map(|l| l.replace(&folder, "")).collect()
    }

    /// The first two words of each.
    fn commands(&self) -> Vec<String> {
        let first = |call: String| call.split(' ').next().expect("a word").to_owned();
        self.calls().into_iter().map(first).collect()
    }

    /// The list of a release, as stored in the state.
    fn list(&self, release: &str) -> Vec<String> {
        let name = format!("state/RDS_{release}_modern_minimal.sha256.zst");
        let bytes = fs::read(self.path(&name)).expect("a list");
        let text = zstd::decode_all(&bytes[..]).expect("zstd");
        let text = String::from_utf8(text).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// A year: a full database in March and two deltas. The first adds 11 and 12, removes
    /// 3, and removes 4 from one of its two packages. The second adds 13 and removes 12.
    fn with_year_of_releases() -> Option<Self> {
        let mut world = Self::new()?;
        let mut full: String = (1..=10).map(|n| insert_statements(n, 1)).collect();
        full += &insert_statements(4, 2);
        // In the other case, and the same file in both.
        full += &insert_statements(0xAB, 1);
        full += &insert_statements(0xAB, 2).to_lowercase();
        full += &insert_statements(0xCD, 1).to_lowercase();
        world.publish_full("2026.03.1", &full);
        world.publish_delta(
            "2026.06.1",
            &delta_sql(&[
                insert_statements(11, 1),
                insert_statements(12, 1),
                delete_statements(3, 1),
                delete_statements(4, 1),
            ]),
        );
        world.publish_delta(
            "2026.09.1",
            &delta_sql(&[insert_statements(13, 1), delete_statements(12, 1)]),
        );
        Some(world)
    }

    /// A year, after the run for the release of June.
    fn with_june_done() -> Option<Self> {
        let mut world = Self::with_year_of_releases()?;
        world.set("NSRL_RELEASE", "2026.06.1");
        world
            .run()
            .assert_output(0, &["table sha256 holds release 2026.06.1"]);
        assert_eq!(world.commands(), ["ingest", "verify"]);
        world.set("NSRL_RELEASE", "");
        Some(world)
    }

    fn assert_state(&self, release: &str, begun: &str) {
        let line = |of: &str| {
            let mut words = of.split(' ');
            let (release, phase) = (words.next().expect("a word"), words.next());
            let phase = phase.map(|p| format!(" {p}")).unwrap_or_default();
            match release {
                "" => String::new(),
                _ => format!("{release} modern_minimal sha256 sha256{phase}\n"),
            }
        };
        assert_eq!(self.read("state/release"), line(release));
        assert_eq!(self.read("state/begun"), line(begun));
    }
}

impl Finished {
    fn assert_output(&self, status: i32, says: &[&str]) {
        assert_eq!(self.status, status, "{}", self.stderr);
        for part in says {
            assert!(
                self.stderr.contains(part),
                "expected {part:?} in:\n{}",
                self.stderr
            );
        }
    }
}

const JUNE: [u32; 11] = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const SEPTEMBER: [u32; 11] = [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13];
const BOTH_CASES: [u32; 2] = [0xAB, 0xCD];

#[test]
fn the_first_run_writes_the_newest_full_release() {
    let Some(world) = TestBed::with_year_of_releases() else {
        return;
    };
    let ended = world.run();
    ended.assert_output(
        0,
        &[
            "RDS_2026.03.1_modern_minimal.db RDS_2026.06.1_modern_minimal_delta.sql RDS_2026.09.1_modern_minimal_delta.sql",
            "13 distinct hashes",
            "table sha256 holds release 2026.09.1",
        ],
    );
    assert_eq!(
        world.list("2026.09.1"),
        sha256(SEPTEMBER.into_iter().chain(BOTH_CASES))
    );
    assert_eq!(
        world.calls(),
        [
            "ingest state/RDS_2026.09.1_modern_minimal.sha256.zst \
             --checkpoint state/RDS_2026.09.1_modern_minimal.sha256.checkpoint \
             --rejects work/reports/2026.09.1.rejects.jsonl --report work/reports/2026.09.1.ingest.json \
             --table sha256 --hash sha256 --type known --source NSRL",
            "verify state/RDS_2026.09.1_modern_minimal.sha256.zst --sample 10000 \
             --report work/reports/2026.09.1.verify.json --table sha256 --hash sha256 --type known --source NSRL",
        ]
    );
    world.assert_state("2026.09.1", "");
    for command in ["ingest", "verify"] {
        let report = world.read(&format!("state/reports/2026.09.1.{command}.json"));
        assert_eq!(report, format!("{{\"command\":\"{command}\"}}\n"));
    }
    assert!(
        !world.has("state/reports/2026.09.1.missing.txt"),
        "nothing is missing"
    );
}

#[test]
fn an_applied_release_is_not_applied_twice() {
    let Some(mut world) = TestBed::with_june_done() else {
        return;
    };
    fs::rename(world.path("www/rds_2026.09.1"), world.path("www/later")).expect("taken back");
    fs::rename(world.path("www/rds_2026.06.1"), world.path("www/older")).expect("gone");
    fs::remove_dir_all(world.path("work")).expect("another machine");
    for asked in ["", "2026.06.1"] {
        world.set("NSRL_RELEASE", asked);
        world.run().assert_output(
            0,
            &["table sha256 holds release 2026.06.1: nothing newer to apply"],
        );
        assert_eq!(world.calls(), [""; 0]);
        world.assert_state("2026.06.1", "");
        assert!(
            !world.has("work/RDS_2026.03.1_modern_minimal.zip"),
            "nothing was fetched"
        );
    }
}

#[test]
fn the_next_release_is_applied_as_a_delta() {
    let Some(mut world) = TestBed::with_june_done() else {
        return;
    };
    assert_eq!(
        world.list("2026.06.1"),
        sha256(JUNE.into_iter().chain(BOTH_CASES))
    );
    world.set("NSRL_MAX_CHANGE", "5%");
    world.set("NSRL_ITEM_FLAGS", "");
    world.set("HASHFERRY_FLAGS", "--local account --rate 50%");
    world.run().assert_output(
        0,
        &[
            "RDS_2026.03.1_modern_minimal.zip is already downloaded",
            "releases 2026.06.1 and 2026.09.1",
        ],
    );
    assert_eq!(
        world.list("2026.09.1"),
        sha256(SEPTEMBER.into_iter().chain(BOTH_CASES))
    );
    assert_eq!(
        world.calls(),
        [
            "refresh --from state/RDS_2026.06.1_modern_minimal.sha256.zst \
             --to state/RDS_2026.09.1_modern_minimal.sha256.zst \
             --checkpoint state/RDS_2026.09.1_modern_minimal.sha256.checkpoint \
             --rejects work/reports/2026.09.1.rejects.jsonl --distinct sorted --max-change 5% \
             --report work/reports/2026.09.1.refresh.json \
             --table sha256 --hash sha256 --local account --rate 50%",
            "verify state/RDS_2026.09.1_modern_minimal.sha256.zst --sample 10000 \
             --report work/reports/2026.09.1.verify.json --table sha256 --hash sha256 \
             --local account --rate 50%",
        ]
    );
    world.assert_state("2026.09.1", "");
}

#[test]
fn another_hash_type_needs_a_separate_state() {
    let Some(mut world) = TestBed::with_june_done() else {
        return;
    };
    world.set("NSRL_HASH", "md5");
    world.run().assert_output(
        2,
        &[
            "belongs to modern_minimal, sha256, table sha256",
            "a separate STATE",
        ],
    );
    assert_eq!(world.calls(), [""; 0]);
    let state = world.path("md5").display().to_string();
    world.set("STATE", &state);
    world.run().assert_output(0, &["13 distinct hashes"]);
    let bytes = fs::read(world.path("md5/RDS_2026.09.1_modern_minimal.md5.zst")).expect("a list");
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("zstd")).expect("UTF-8");
    let expected: Vec<String> = SEPTEMBER
        .into_iter()
        .chain(BOTH_CASES)
        .map(|n| hashes(n)[2].clone())
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_download_with_a_wrong_checksum_is_not_applied() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    let file = "www/rds_2026.09.1/RDS_2026.09.1_modern_minimal_delta.zip";
    let part = "work/RDS_2026.09.1_modern_minimal_delta.zip.part";
    let sound = fs::read(world.path(file)).expect("an archive");
    let mut altered = sound.clone();
    altered[70] ^= 1;
    let refused = |world: &TestBed, says: &str| {
        world.run().assert_output(1, &[says, "nothing was applied"]);
        assert_eq!(world.calls(), [""; 0]);
        world.assert_state("2026.06.1", "");
        assert!(!world.has("state/RDS_2026.09.1_modern_minimal.sha256.zst"));
        assert!(!world.has(part), "the file was removed");
    };
    for broken in [&altered[..], &sound[..sound.len() / 2], &[]] {
        world.write(file, broken);
        refused(
            &world,
            "RDS_2026.09.1_modern_minimal_delta.zip does not match its published SHA-1",
        );
    }
    world.write(file, &sound);

    // A partial download is resumed, and its checksum is still verified.
    world.write(part, &altered[..100]);
    refused(&world, "does not match its published SHA-1");
    world.write(part, &sound[..100]);
    world
        .run()
        .assert_output(0, &["table sha256 holds release 2026.09.1"]);
    assert_eq!(world.commands(), ["refresh", "verify"]);
    world.assert_state("2026.09.1", "");
}

#[test]
fn an_unpublished_archive_is_reported() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    fs::remove_file(world.path("www/rds_2026.09.1/RDS_2026.09.1_modern_minimal_delta.zip.sha"))
        .expect("a sum");
    world.run().assert_output(
        1,
        &["RDS_2026.09.1_modern_minimal_delta.zip is not published"],
    );
    assert_eq!(world.calls(), [""; 0]);
    world.assert_state("2026.06.1", "");
}

#[test]
fn a_delta_that_cannot_be_applied_changes_nothing() {
    let Some(mut world) = TestBed::with_year_of_releases() else {
        return;
    };
    let wrong = [
        (insert_statements(13, 1) + "\nno SQL;", "cannot be applied"),
        (insert_statements(1, 1), "cannot be applied"),
        (
            "BEGIN TRANSACTION;\n".to_owned() + &insert_statements(13, 1),
            "cannot be applied",
        ),
        (
            "BEGIN TRANSACTION;\n".to_owned() + &insert_statements(13, 1).replace(";',", ""),
            "cannot be applied",
        ),
        (".shell echo >escaped\n".to_owned(), "cannot be applied"),
    ];
    for (sql, says) in wrong {
        world.published.pop();
        world.publish_delta("2026.09.1", &sql);
        world
            .run()
            .assert_output(1, &["RDS_2026.09.1_modern_minimal_delta.sql", says]);
        assert_eq!(world.calls(), [""; 0], "{sql}");
        world.assert_state("", "");
        assert!(!world.has("state/RDS_2026.09.1_modern_minimal.sha256.zst"));
    }
    assert!(!world.has("escaped"));

    world.published.pop();
    world.publish_delta(
        "2026.09.1",
        &delta_sql(&[insert_statements(13, 1), delete_statements(12, 1)]),
    );
    world.write("stub/dbhash", "0".repeat(40));
    world.run().assert_output(
        1,
        &[
            "the database does not match the published dbhash: got 0000",
            DBHASH,
        ],
    );
    assert_eq!(world.calls(), [""; 0]);
    world.write("stub/dbhash", DBHASH);
    world
        .run()
        .assert_output(0, &["table sha256 holds release 2026.09.1"]);
}

#[test]
fn a_failed_run_is_resumed_with_the_same_list() {
    for status in [1, 4] {
        let Some(world) = TestBed::with_june_done() else {
            return;
        };
        world.set_exit("refresh", &status.to_string());
        world
            .run()
            .assert_output(status, &["run this again to resume"]);
        let first = world.calls();
        assert_eq!(first.len(), 1);
        world.assert_state("2026.06.1", "2026.09.1 writing");
        assert!(world.has("state/reports/2026.09.1.refresh.json"));

        // On another machine, while NIST cannot be reached for the parts.
        fs::remove_dir_all(world.path("work")).expect("another machine");
        fs::rename(world.path("www/rds_2026.03.1"), world.path("www/away")).expect("away");
        world.set_exit("refresh", "0");
        world.run().assert_output(
            0,
            &[
                "resuming release 2026.09.1",
                "the list of release 2026.09.1 is already in the state",
            ],
        );
        let again = world.calls();
        assert_eq!(again[..1], first);
        assert_eq!(again.len(), 2);
        // The first run's are still there.
        let rejects = world.read("state/reports/2026.09.1.rejects.jsonl");
        assert_eq!(rejects, "{\"line\":1}\n".repeat(2));
        world.assert_state("2026.09.1", "");
    }
}

#[test]
fn a_release_with_held_back_deletes_is_not_complete() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    world.set_exit("refresh", "3");
    world.write("stub/refresh.report", "{\n  \"deletes_held_back\": 5\n}\n");
    world
        .run()
        .assert_output(3, &["nothing was deleted", "run this again"]);
    world.assert_state("2026.06.1", "2026.09.1 writing");
    // Rejected lines, and nothing to delete.
    world.write("stub/refresh.report", "{\n  \"deletes_held_back\": 0\n}\n");
    world
        .run()
        .assert_output(3, &["resuming release 2026.09.1"]);
    world.assert_state("2026.09.1", "");
}

#[test]
fn an_unfinished_release_is_completed_before_a_newer_one() {
    let Some(mut world) = TestBed::with_year_of_releases() else {
        return;
    };
    world.set("NSRL_RELEASE", "2026.06.1");
    world.set_exit("ingest", "1");
    world.run().assert_output(1, &["first time"]);
    world.assert_state("", "2026.06.1 writing");
    world.set_exit("ingest", "0");
    world.set("NSRL_RELEASE", "");
    world.calls();
    world.run().assert_output(
        0,
        &[
            "resuming release 2026.06.1",
            "table sha256 holds release 2026.09.1",
        ],
    );
    let calls = world.calls();
    let starts = [
        "ingest state/RDS_2026.06.1_",
        "verify state/RDS_2026.06.1_",
        "refresh --from state/RDS_2026.06.1_modern_minimal.sha256.zst --to state/RDS_2026.09.1_",
        "verify state/RDS_2026.09.1_",
    ];
    assert_eq!(calls.len(), starts.len(), "{calls:?}");
    for (call, start) in calls.iter().zip(starts) {
        assert!(call.starts_with(start), "{call}");
    }
    world.assert_state("2026.09.1", "");
}

#[test]
fn a_too_large_change_needs_confirmation() {
    let Some(mut world) = TestBed::with_june_done() else {
        return;
    };
    world.set_exit("refresh", "1");
    world.run().assert_output(
        1,
        &["if it stopped because more than 20% changes and that is right, with NSRL_CONFIRM=1"],
    );
    assert!(!world.calls()[0].contains("--confirm"));
    world.set_exit("refresh", "0");
    world.set("NSRL_CONFIRM", "true");
    world.run().assert_output(0, &[]);
    assert!(world.calls()[0].contains(" --max-change 20% --confirm "));
    world.assert_state("2026.09.1", "");
}

#[test]
fn rejected_lines_are_reported_and_do_not_stop_the_release() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    world.set_exit("refresh", "3");
    world
        .run()
        .assert_output(3, &["table sha256 holds release 2026.09.1"]);
    world.assert_state("2026.09.1", "");
}

#[test]
fn a_usage_error_starts_no_release() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    world.set_exit("refresh", "2");
    world.run().assert_output(2, &["nothing was written"]);
    world.assert_state("2026.06.1", "");
}

#[test]
fn only_a_verified_release_counts_as_applied() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    // The verification failed: the written items stay.
    world.set_exit("verify", "1");
    world
        .run()
        .assert_output(1, &["the table is written, but not verified"]);
    assert_eq!(world.commands(), ["refresh", "verify"]);
    world.assert_state("2026.06.1", "2026.09.1 written");
    // Items are missing: the next run writes them again.
    world.set_exit("verify", "5");
    world.run().assert_output(
        5,
        &[
            "not all of the sample is in the table",
            "| hashferry ingest -",
        ],
    );
    assert_eq!(world.commands(), ["verify"]);
    world.assert_state("2026.06.1", "2026.09.1 writing");
    world.set_exit("verify", "3");
    world.run().assert_output(3, &[]);
    assert_eq!(world.commands(), ["refresh", "verify"]);
    world.assert_state("2026.09.1", "");
}

#[test]
fn a_signal_is_forwarded_to_hashferry_and_the_script_waits() {
    let Some(world) = TestBed::with_june_done() else {
        return;
    };
    world.set_exit("refresh", "stands");
    let mut child = world
        .command()
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let (mut said, mut line) = (String::new(), String::new());
    while line != "stands\n" {
        line.clear();
        assert_ne!(
            stderr.read_line(&mut line).expect("UTF-8"),
            0,
            "it ended: {said}"
        );
        said += &line;
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    stderr.read_to_string(&mut said).expect("UTF-8");
    let status = child.wait().expect("it ends").code().unwrap_or(-1);
    Finished {
        status,
        stderr: said,
    }
    .assert_output(4, &["interrupted: run this again"]);
    world.assert_state("2026.06.1", "2026.09.1 writing");
}

#[test]
fn the_state_may_be_in_s3() {
    let Some(mut world) = TestBed::with_year_of_releases() else {
        return;
    };
    world.set("STATE", "s3://bucket/nsrl/modern/");
    world.set("NSRL_RELEASE", "2026.06.1");
    world.run().assert_output(0, &[]);
    world.set("NSRL_RELEASE", "");
    world.set_exit("verify", "1");
    world.run().assert_output(1, &[]);
    world.set_exit("verify", "0");
    world
        .run()
        .assert_output(0, &["resuming release 2026.09.1"]);
    let calls = world.calls();
    assert_eq!(calls.len(), 5, "{calls:?}");
    assert!(
        calls[2].starts_with(
            "refresh --from s3://bucket/nsrl/modern/RDS_2026.06.1_modern_minimal.sha256.zst \
             --to s3://bucket/nsrl/modern/RDS_2026.09.1_modern_minimal.sha256.zst \
             --checkpoint s3://bucket/nsrl/modern/RDS_2026.09.1_modern_minimal.sha256.checkpoint "
        ),
        "{}",
        calls[2]
    );
    let state = "stub/s3/bucket/nsrl/modern";
    assert_eq!(
        world.read(&format!("{state}/release")),
        "2026.09.1 modern_minimal sha256 sha256\n"
    );
    assert!(!world.has(&format!("{state}/begun")));
    assert!(world.has(&format!("{state}/reports/2026.09.1.verify.json")));

    // A state that cannot be listed is not an empty one.
    world.write("stub/denied", "");
    world.run().assert_output(
        1,
        &["cannot list s3://bucket/nsrl/modern/", "s3:ListBucket"],
    );
    assert_eq!(world.calls(), [""; 0]);
}

#[test]
fn a_failed_state_read_is_not_an_empty_state() {
    let Some(mut world) = TestBed::with_june_done() else {
        return;
    };
    world.set("NSRL_BASE_URL", "ftp://127.0.0.1/RDS");
    world.run().assert_output(
        1,
        &["cannot fetch ftp://127.0.0.1/RDS/rds_2026.09.3/version.txt"],
    );
    assert_eq!(world.calls(), [""; 0]);
    // An empty state: no file, or the 403 that S3 sends for a missing object without
    // the permission to list the bucket.
    let s3 = FakeS3::start(S3Config::default().bucket("rds"));
    let (empty, state) = (world.path("none"), world.path("new").display().to_string());
    fs::create_dir(&empty).expect("a folder");
    world.set("STATE", &state);
    for url in [
        format!("file://{}", empty.display()),
        format!("{}/rds", s3.endpoint()),
    ] {
        world.set("NSRL_BASE_URL", &url);
        world
            .run()
            .assert_output(1, &["no release of the last 8 quarters is published"]);
    }
    s3.stop();
}

#[test]
fn configuration_errors_are_reported_before_any_work() {
    let Some(mut world) = TestBed::with_year_of_releases() else {
        return;
    };
    for (name, value, says) in [
        ("STATE", "", "STATE is not set"),
        (
            "STATE",
            "s3://bucket/no-slash",
            "expected s3://bucket/prefix/",
        ),
        ("TABLE", "", "TABLE is not set"),
        ("TABLE", "a table", "expected a name of a table"),
        ("NSRL_SET", "modern", "modern_minimal"),
        ("NSRL_HASH", "crc32", "expected sha256, sha1 or md5"),
        ("NSRL_RELEASE", "2026.9", "expected YYYY.MM.P"),
        ("NSRL_BASE_URL", "www", "expected a URL"),
    ] {
        let before = world.env.clone();
        world.set(name, value);
        world.run().assert_output(2, &[says]);
        assert!(!world.has("work"), "{name}");
        world.env = before;
    }
    assert_eq!(world.calls(), [""; 0]);
}

/// Uses the real hashferry with an embedded table, and checks the table's items.
#[cfg(feature = "local")]
#[test]
fn the_real_hashferry_applies_the_releases() {
    let Some(mut world) = TestBed::new() else {
        return;
    };
    let full: String = (1..=100).map(|n| insert_statements(n, 1)).collect();
    world.publish_full("2026.03.1", &full);
    world.publish_delta(
        "2026.06.1",
        &delta_sql(&[
            insert_statements(101, 1),
            insert_statements(102, 1),
            delete_statements(7, 1),
        ]),
    );
    fs::remove_file(world.path("bin/hashferry")).expect("the stand-in");
    let real = env!("CARGO_BIN_EXE_hashferry");
    std::os::unix::fs::symlink(real, world.path("bin/hashferry")).expect("a link");
    world.set("HASHFERRY_FLAGS", "--local account --progress none");
    world.set("NSRL_RELEASE", "2026.03.1");

    // The hashes of the first `n` files that the table has.
    let known = |world: &TestBed, n: u32| -> BTreeSet<String> {
        let all = sha256(1..=n);
        world.write("all.txt", all.join("\n"));
        let output = Command::new(real)
            .args([
                "verify", "all.txt", "--table", "sha256", "--type", "known", "--source", "NSRL",
            ])
            .args(["--local", "account", "--progress", "none"])
            .current_dir(world.dir.path())
            .output()
            .expect("the binary");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let missing: BTreeSet<&str> = stdout.lines().collect();
        all.into_iter()
            .filter(|h| !missing.contains(h.as_str()))
            .collect()
    };
    let set = |numbers: &mut dyn Iterator<Item = u32>| -> BTreeSet<String> {
        sha256(numbers).into_iter().collect()
    };

    world.run().assert_output(
        0,
        &[
            "100 distinct hashes",
            "table sha256 holds release 2026.03.1",
        ],
    );
    assert_eq!(known(&world, 110), set(&mut (1..=100)));
    world.run().assert_output(0, &["nothing newer to apply"]);

    let refresh = Command::new(real)
        .args(["refresh", "--help"])
        .output()
        .expect("the binary");
    if !refresh.status.success() {
        eprintln!("SKIPPED, the difference was not tested: this hashferry has no refresh");
        return;
    }
    world.set("NSRL_RELEASE", "");
    world
        .run()
        .assert_output(0, &["table sha256 holds release 2026.06.1"]);
    assert_eq!(known(&world, 110), set(&mut (1..=102).filter(|n| *n != 7)));
    assert!(!world.has("state/RDS_2026.06.1_modern_minimal.sha256.checkpoint"));
    world.assert_state("2026.06.1", "");
}
