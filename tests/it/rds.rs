//! NSRL databases, read by the binary: in place and from local copies, with resumed runs,
//! and with errors for other databases.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::common::binary::{Finished, Run, Started};
use crate::common::fake_dynamo::{Billing, DynamoConfig, FakeDynamo, KeyType};
use crate::common::fake_s3::{FakeS3, S3Config, S3Fault, S3Plan};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

const URI: &str = "s3://nsrl/rds.db";

const FAST: [&str; 2] = ["--rate", "max"];

/// The minimal schema, as NIST publishes it with 2026.09.1.
const MINIMAL: &str = "
    CREATE TABLE FILE (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL,
        crc32 VARCHAR NOT NULL, file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL,
        package_id INTEGER NOT NULL, CONSTRAINT PK_FILE__FILE PRIMARY KEY
        (sha256, sha1, md5, crc32, file_name, file_size, package_id));
    CREATE TABLE VERSION (version VARCHAR UNIQUE NOT NULL, build_set VARCHAR NOT NULL,
        build_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, release_date TIMESTAMP NOT NULL,
        description VARCHAR NOT NULL, CONSTRAINT PK_VERSION__VERSION PRIMARY KEY (version));
    CREATE VIEW DISTINCT_HASH AS SELECT DISTINCT sha256, sha1, md5, crc32 FROM FILE;";

/// The hash of a number, with `digits` digits.
fn hash(n: u64, digits: usize) -> String {
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    format!("{mixed:016X}{n:0rest$X}", rest = digits - 16)
}

fn hashes(numbers: std::ops::RangeInclusive<u64>, digits: usize) -> BTreeSet<String> {
    numbers.map(|n| hash(n, digits)).collect()
}

/// Returns the file of a database that `make` fills.
fn database_file(make: impl FnOnce(&Connection)) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.db");
    let connection = Connection::open(&path).expect("opened");
    connection.execute_batch("BEGIN").expect("begun");
    make(&connection);
    connection.execute_batch("COMMIT").expect("committed");
    drop(connection);
    std::fs::read(path).expect("read")
}

/// A minimal database of a release with the files `numbers`, each in two packages.
pub(crate) fn minimal(release: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    database_file(|c| {
        c.execute_batch(MINIMAL).expect("SQL");
        let sql =
            "INSERT INTO VERSION VALUES (?1, 'modern minimal', '2026-08-30', '2026-09-01', 'x')";
        c.execute(sql, [release]).expect("inserted");
        let mut insert = c
            .prepare("INSERT INTO FILE VALUES (?1, ?2, ?3, 'C', 'f', 7, ?4)")
            .expect("prepared");
        for (n, package) in numbers.flat_map(|n| [(n, 1), (n, 2)]) {
            let row = (hash(n, 64), hash(n, 40), hash(n, 32), package);
            insert.execute(row).expect("inserted");
        }
    })
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    w.write_all(bytes).and_then(|()| w.finish()).expect("gzip")
}

/// A ZIP archive with one stored member.
pub(crate) fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    let length = (bytes.len() as u32).to_le_bytes();
    let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
    common.extend(crc.sum().to_le_bytes());
    common.extend(length);
    common.extend(length);
    common.extend([name.len() as u8, 0, 0, 0]);
    let mut out = b"PK\x03\x04".to_vec();
    out.extend(&common);
    out.extend(name.bytes());
    out.extend(bytes);
    let at = (out.len() as u32).to_le_bytes();
    out.extend(b"PK\x01\x02\x14\0");
    out.extend(&common);
    out.extend([0; 14]);
    out.extend(name.bytes());
    let size = (46 + name.len() as u32).to_le_bytes();
    out.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    out.extend(size);
    out.extend(at);
    out.extend([0; 2]);
    out
}

/// An on-demand table: the verification after an ingest is not throttled.
fn table() -> DynamoConfig {
    DynamoConfig::new("sha256", "sha256", KeyType::S).billing(Billing::OnDemand { max: None })
}

fn s3(object: impl Into<bytes::Bytes>) -> S3Config {
    S3Config::default().object("nsrl", "rds.db", object)
}

/// The table's keys, as text.
fn keys(dynamo: &FakeDynamo) -> BTreeSet<String> {
    let text = |k| String::from_utf8(k).expect("text");
    dynamo.items().into_keys().map(text).collect()
}

/// A folder for local copies.
struct Work(tempfile::TempDir);

impl Work {
    fn new() -> Work {
        Work(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn args(&self) -> Vec<String> {
        let folder = self.path().to_str().expect("text");
        ["--rate", "max", "--work-dir", folder]
            .map(str::to_owned)
            .into()
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path()).expect("a folder");
        files.map(|f| f.expect("an entry").path()).collect()
    }

    /// Waits until a file in the folder has at least `bytes` bytes.
    fn wait_for(&self, bytes: u64) -> PathBuf {
        let begun = Instant::now();
        loop {
            let large = |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.len() >= bytes);
            if let Some(path) = self.files().into_iter().find(large) {
                return path;
            }
            assert!(begun.elapsed() < LIMIT, "{:?}", self.files());
            std::thread::yield_now();
        }
    }
}

fn ingest(source: &str, args: &[String], dynamo: &FakeDynamo) -> Run {
    Run::ingest(source, args).dynamo(dynamo)
}

#[test]
fn a_local_file_is_read_in_place() {
    let database = minimal("2026.09.1", 1..=3000);
    let length = database.len() as u64;
    let dynamo = FakeDynamo::start(table());
    let run = Run::ingest("rds.db", &[&FAST[..], &["--verify", "all"]].concat())
        .file("rds.db", &database)
        .dynamo(&dynamo);
    let folder = run.dir();
    std::fs::set_permissions(
        folder.join("rds.db"),
        std::os::unix::fs::PermissionsExt::from_mode(0o444),
    )
    .expect("read-only");
    let started = run.start();
    let ended = started.wait();
    ended.assert_status(0);
    ended.assert_line_counts([3000, 3000, 0, 0, 0, 0]);
    assert_eq!(ended.number("bytes_read"), length);
    assert_eq!(ended.report["sources"][0]["bytes"], length);
    assert_eq!(ended.report["verification"]["found"], 3000);
    assert_eq!(keys(&dynamo), hashes(1..=3000, 64));

    let ended = Run::new(&["plan", "rds.db", "--json"])
        .file("rds.db", &database)
        .run();
    assert_eq!(ended.status, 0, "{}", ended.stderr);
    ended.assert_stderr(&["reading column sha256"]);
    let plan: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(plan["hash"], "sha256");
    assert_eq!(
        (&plan["lines"]["value"], &plan["exact"]),
        (&3000.into(), &true.into())
    );
    let routes = plan["routes"].as_array().expect("a list");
    let import = routes.iter().find(|r| r["route"] == "import").expect("one");
    assert!(
        import["limits"]
            .to_string()
            .contains("first put the list into S3"),
        "{import}"
    );
}

#[test]
fn the_partition_key_selects_the_column_and_a_missing_one_is_an_error() {
    let database = minimal("2026.09.1", 1..=2000);
    let dynamo = FakeDynamo::start(DynamoConfig::new("h", "md5", KeyType::B));
    let run = |args: &[&str]| {
        let args = [&["--table", "h"], args].concat();
        Run::ingest("rds.db", &args)
            .file("rds.db", &database)
            .dynamo(&dynamo)
    };
    let ended = run(&FAST).run();
    ended.assert_status(0);
    ended.assert_stderr(&["sorting its rows first (at most 4000)"]);
    let raw: BTreeSet<String> = dynamo
        .items()
        .into_keys()
        .map(|k| k.iter().map(|b| format!("{b:02X}")).collect())
        .collect();
    assert_eq!(raw, hashes(1..=2000, 32));
    let calls = dynamo.stats().calls;
    let ended = run(&["--hash", "sha512", "--key", "md5:B"]).run();
    ended.assert_status(2);
    ended.assert_stderr(&["FILE of rds.db has no column sha512", "sha256, sha1, md5"]);
    assert_eq!(dynamo.stop().calls, calls);
}

#[test]
fn a_remote_database_is_read_from_a_copy_that_is_removed_afterwards() {
    let database = minimal("2026.09.1", 1..=3000);
    let length = database.len();
    for (name, object) in [
        ("as it is", database.clone()),
        ("gzip", gzip(&database)),
        ("zip", zip("RDS/RDS_minimal.db", &database)),
    ] {
        let work = Work::new();
        let (server, dynamo) = (
            FakeS3::start(s3(object.clone())),
            FakeDynamo::start(table()),
        );
        let args = [work.args(), vec!["--verify".into(), "all".into()]].concat();
        let ended = ingest(URI, &args, &dynamo).s3(&server).run();
        ended.assert_status(0);
        ended.assert_line_counts([3000, 3000, 0, 0, 0, 0]);
        let folder = work.path().display();
        ended.assert_stderr(&[&format!(
            "reading it from a local copy, {length} bytes in {folder}"
        )]);
        assert_eq!(ended.report["verification"]["found"], 3000, "{name}");
        assert_eq!(ended.number("bytes_read"), object.len() as u64, "{name}");
        assert_eq!(keys(&dynamo), hashes(1..=3000, 64), "{name}");
        assert_eq!(work.files(), [] as [PathBuf; 0], "{name}");
        // The verification uses the same copy.
        assert_eq!(
            ended.stderr.matches("from a local copy").count(),
            1,
            "{}",
            ended.stderr
        );

        // A pipe cannot be read twice, and has no identity.
        let ended = ingest("-", &work.args(), &dynamo).input(object).run();
        ended.assert_status(0);
        assert_eq!(work.files(), [] as [PathBuf; 0], "{name}");
    }
}

/// Stalls a copy after `cut` bytes, ends the run by `end` once `least` bytes are stored, and
/// runs it a second time.
fn stopped_copy(
    object: Vec<u8>,
    cut: u64,
    least: u64,
    end: impl FnOnce(Started) -> Finished,
) -> (Finished, FakeS3) {
    let work = Work::new();
    let plan = S3Plan::default().get(1, S3Fault::StallAfter(cut));
    let (server, dynamo) = (
        FakeS3::start(s3(object).plan(plan)),
        FakeDynamo::start(table()),
    );
    let started = ingest(URI, &work.args(), &dynamo).s3(&server).start();
    let part = work.wait_for(least);
    end(started);
    assert!(part.exists(), "the partial copy is kept");
    assert_eq!(dynamo.stats().calls, 0);
    let second = ingest(URI, &work.args(), &dynamo).s3(&server).run();
    second.assert_status(0);
    second.assert_line_counts([3000, 3000, 0, 0, 0, 0]);
    assert_eq!(keys(&dynamo), hashes(1..=3000, 64));
    assert_eq!(work.files(), [] as [PathBuf; 0]);
    (second, server)
}

#[test]
fn a_copy_continues_after_the_stored_bytes_of_a_killed_run() {
    let database = minimal("2026.09.1", 1..=3000);
    let cut = database.len() as u64 - 1000;
    let (second, server) = stopped_copy(database, cut, cut, |mut started| {
        started.kill();
        started.wait()
    });
    second.assert_stderr(&[&format!("{cut} of them already there")]);
    let gets = server.stop().gets;
    let from = format!("bytes={cut}-");
    let last = gets.last().expect("some");
    assert_eq!(last.range.as_deref(), Some(&from[..]));
    assert!(last.if_match.is_some(), "pinned to the same version");
}

#[test]
fn a_compressed_source_is_compared_with_the_stored_bytes() {
    let database = minimal("2026.09.1", 1..=3000);
    let object = gzip(&database);
    let cut = object.len() as u64 / 2;
    let (second, server) = stopped_copy(object, cut, 100_000, |started| {
        started.signal(Signal::SIGTERM);
        let ended = started.wait();
        ended.assert_status(4);
        ended.assert_stderr(&["keeping the copy of s3://nsrl/rds.db in"]);
        ended
    });
    second.assert_stderr(&["already there"]);
    assert!(!second.stderr.contains("rewriting it"), "{}", second.stderr);
    assert_eq!(server.stop().get_count, 2);
}

#[test]
fn a_partial_copy_of_another_source_is_rewritten() {
    let work = Work::new();
    let database = minimal("2026.09.1", 1..=3000);
    let plan = S3Plan::default().get(1, S3Fault::StallAfter(200_000));
    let config = s3(gzip(&database)).plan(plan);
    let (server, dynamo) = (FakeS3::start(config), FakeDynamo::start(table()));
    let mut started = ingest(URI, &work.args(), &dynamo).s3(&server).start();
    let part = work.wait_for(100_000);
    started.kill();
    started.wait();
    let length = std::fs::metadata(&part).expect("there").len();
    std::fs::write(&part, vec![0xEE; usize::try_from(length).expect("small")]).expect("written");
    let ended = ingest(URI, &work.args(), &dynamo).s3(&server).run();
    ended.assert_status(0);
    ended.assert_stderr(&["from byte 0 on: rewriting it"]);
    assert_eq!(keys(&dynamo), hashes(1..=3000, 64));
    // A new version of the object has a separate copy.
    server.put("nsrl", "rds.db", minimal("2026.12.1", 1..=3001));
    let ended = ingest(URI, &work.args(), &dynamo).s3(&server).run();
    ended.assert_status(0);
    assert_eq!(ended.number("lines"), 3001);
}

#[test]
fn a_stopped_run_resumes_at_its_line_with_its_copy() {
    let n = 20_000;
    let database = minimal("2026.09.1", 1..=n);
    let work = Work::new();
    let (server, dynamo) = (
        FakeS3::start(s3(database.clone())),
        FakeDynamo::start(table()),
    );
    let place = work.path().join("checkpoint");
    let place_text = place.to_str().expect("text").to_owned();
    let run = |rate: &str| {
        let mut args = work.args();
        args[1] = rate.to_owned();
        args.extend(["--checkpoint".to_owned(), place_text.clone()]);
        ingest(URI, &args, &dynamo).s3(&server)
    };
    let started = run("4000").start();
    dynamo
        .wait_until(LIMIT, |s| s.items_written >= 5000)
        .expect("it writes");
    started.signal(Signal::SIGTERM);
    let first = started.wait();
    first.assert_status(4);
    first.assert_stderr(&["keeping the copy of", "the same command resumes with it"]);
    assert_eq!(work.files().len(), 2, "a checkpoint and a copy");
    let second = run("max").run();
    second.assert_status(0);
    second.assert_stderr(&[
        "the copy of s3://nsrl/rds.db in",
        "is complete",
        "is a database: reading again up to byte",
    ]);
    assert_eq!(second.number("written"), n);
    assert_eq!(second.number("bytes_read"), database.len() as u64);
    assert!(
        second.report["resumed_from"]
            .as_u64()
            .is_some_and(|l| l > 4000)
    );
    assert_eq!(keys(&dynamo), hashes(1..=n, 64));
    let stats = dynamo.stop();
    assert!(stats.items_written < n + 2000, "{}", stats.items_written);
    assert_eq!(work.files(), [] as [PathBuf; 0]);
}

#[test]
fn another_database_or_missing_space_is_an_error() {
    let work = Work::new();
    let dynamo = FakeDynamo::start(table());
    let other = database_file(|c| {
        c.execute_batch("CREATE TABLE a (x); CREATE TABLE b (y)")
            .expect("SQL")
    });
    // Its header claims 281 TB.
    let mut vast = minimal("2026.09.1", 1..=10);
    vast[16..18].copy_from_slice(&1_u16.to_be_bytes());
    vast[28..32].copy_from_slice(&u32::MAX.to_be_bytes());
    let missing = work.path().join("missing");
    for (object, folder, says) in [
        (
            gzip(&other),
            work.path(),
            &["with the tables a, b", "expected NSRL RDS v3"][..],
        ),
        (other, work.path(), &["with the tables a, b"]),
        (
            gzip(&vast),
            work.path(),
            &["needs 281474976645120 bytes", "--work-dir"],
        ),
        (vast, &missing, &["missing", "--work-dir"]),
    ] {
        let server = FakeS3::start(s3(object));
        let args = ["--work-dir", folder.to_str().expect("text")];
        let ended = Run::ingest(URI, &args).s3(&server).dynamo(&dynamo).run();
        ended.assert_status(2);
        ended.assert_stderr(says);
    }
    assert_eq!(work.files(), [] as [PathBuf; 0]);
    assert_eq!(dynamo.stop().calls, 0);
}

#[test]
fn hashes_before_the_damage_are_written_and_no_copy_is_kept() {
    let work = Work::new();
    let mut database = minimal("2026.09.1", 1..=20_000);
    let from = database.len() - 400_000;
    database[from..].fill(0xA5);
    let (server, dynamo) = (FakeS3::start(s3(database)), FakeDynamo::start(table()));
    let ended = ingest(URI, &work.args(), &dynamo).s3(&server).run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "reading the database s3://nsrl/rds.db ended after",
        "malformed",
    ]);
    let written = ended.number("written");
    assert!(written > 0 && written < 20_000, "{written}");
    // Every hash has two rows, and all rows that SQLite returned are written.
    let rows = ended.stderr.split("ended after ").nth(1).expect("a count");
    let rows: u64 = rows
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a number");
    assert_eq!(written, rows.div_ceil(2), "{rows}");
    assert_eq!(keys(&dynamo).len() as u64, written);
    assert_eq!(work.files(), [] as [PathBuf; 0]);

    // A database longer than its header says is damaged.
    let longer = [minimal("2026.09.1", 1..=1000), vec![0; 4096]].concat();
    let ended = ingest("-", &work.args(), &dynamo)
        .input(gzip(&longer))
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&[
        "the database - is longer than expected: it should have",
        "bytes",
    ]);
    assert_eq!(ended.number("written"), 0);

    // A database that is cut off is an error before the first write.
    let whole = minimal("2026.09.1", 1..=1000);
    let dynamo = FakeDynamo::start(table());
    let half = &whole[..whole.len() / 2];
    let ended = ingest("rds.db", &work.args(), &dynamo)
        .file("rds.db", half)
        .run();
    ended.assert_status(1);
    ended.assert_stderr(&["the database rds.db cannot be read", "malformed"]);
    let ended = ingest("-", &work.args(), &dynamo).input(half).run();
    ended.assert_status(1);
    ended.assert_stderr(&["the database - is cut off"]);
    assert_eq!(dynamo.stop().calls, 0);
    assert_eq!(work.files(), [] as [PathBuf; 0]);
}

#[test]
fn items_get_the_release_as_attributes() {
    let dynamo = FakeDynamo::start(table());
    let flag = "--attr-from-version";
    let run = |args: &[&str]| {
        Run::ingest("a.db", &[args, &FAST, &[flag]].concat())
            .file("a.db", &minimal("2026.09.1", 1..=30))
            .file("b.db", &minimal("2026.09.1", 20..=50))
            .file("c.db", &minimal("2026.12.1", 1..=30))
            .file(
                "d.db",
                &database_file(|c| {
                    c.execute_batch("CREATE TABLE FILE (sha256 TEXT)")
                        .expect("SQL");
                }),
            )
            .file("e.txt", format!("{}\n", hash(1, 64)).as_bytes())
            .dynamo(&dynamo)
    };
    let ended = run(&["b.db"]).run();
    ended.assert_status(0);
    assert_eq!(keys(&dynamo), hashes(1..=50, 64));
    for item in dynamo.items().into_values() {
        assert_eq!(item["version"]["S"], "2026.09.1");
        assert_eq!(item["set"]["S"], "modern minimal");
        assert_eq!(item["release_date"]["S"], "2026-09-01");
    }
    let verified = Run::verify("c.db", &[&FAST[..], &[flag]].concat())
        .file("c.db", &minimal("2026.12.1", 1..=30))
        .dynamo(&dynamo)
        .run();
    verified.assert_status(5);
    assert_eq!(verified.number("different"), 30);

    let calls = dynamo.stats().calls;
    for (args, says) in [
        (
            &["c.db"][..],
            &[
                "version=2026.09.1",
                "that of c.db is version=2026.12.1",
                "ingest each in a separate run",
            ][..],
        ),
        (&["--attr", "set=x"], &["the attribute set is given twice"]),
        (&["d.db"], &["d.db: it has no table VERSION"]),
        (&["e.txt"], &["e.txt: it is not an NSRL database"]),
        (&["s3://nsrl/all/"], &["s3://nsrl/all/ may hold several"]),
    ] {
        let ended = run(args).run();
        ended.assert_status(2);
        ended.assert_stderr(says);
    }
    assert_eq!(dynamo.stop().calls, calls);
}

#[test]
fn a_table_is_refreshed_from_one_release_to_the_next() {
    let (old, new) = (
        minimal("2026.06.1", 1..=2000),
        minimal("2026.09.1", 51..=2070),
    );
    let work = Work::new();
    let s3 = FakeS3::start(s3(zip("RDS.db", &new)));
    for uri in ["new.db", URI] {
        let dynamo = FakeDynamo::start(table());
        for n in 1..=2000 {
            dynamo.put(serde_json::json!({"sha256": {"S": hash(n, 64)}}));
        }
        let args = [
            "refresh",
            "--from",
            "old.db",
            "--to",
            uri,
            "--table",
            "sha256",
            "--progress",
            "none",
        ];
        let args = [args.map(str::to_owned).to_vec(), work.args()].concat();
        let ended = Run::new(&args)
            .file("old.db", &old)
            .file("new.db", &new)
            .s3(&s3)
            .dynamo(&dynamo)
            .run();
        assert_eq!(ended.status, 0, "{}", ended.stderr);
        ended.assert_stderr(&["70 hashes to put and 50 to delete, 1,950 in both lists"]);
        assert_eq!(keys(&dynamo), hashes(51..=2070, 64), "{uri}");
        assert_eq!(dynamo.stop().items_written, 120);
        assert_eq!(work.files(), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_column_of_a_database_is_an_error_that_lists_its_attributes() {
    let dynamo = FakeDynamo::start(table());
    let ended = Run::ingest("rds.db", &["--attr-from", "name=file_name"])
        .file("rds.db", &minimal("2026.09.1", 1..=3))
        .dynamo(&dynamo)
        .run();
    ended.assert_status(2);
    ended.assert_stderr(&[
        "is an NSRL database: only its hashes are read",
        "no column \"file_name\"",
        "--attr-from-version for the attributes that it has: version, set, release_date",
    ]);
    assert_eq!(dynamo.stop().items_written, 0);
}
