//! Databases built with the published schemas, and damaged or foreign ones.

use super::*;
use crate::base::error::ErrorKind;
use crate::list::rds::header::{HEADER_BYTES, is_database, length_by_header};
use std::collections::BTreeSet;

/// Tables of the minimal schema, as far as tests need them; NIST, 2026.09.1.
const MINIMAL: &str = "
    CREATE TABLE FILE (sha256 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, md5 VARCHAR NOT NULL,
        crc32 VARCHAR NOT NULL, file_name VARCHAR NOT NULL, file_size INTEGER NOT NULL,
        package_id INTEGER NOT NULL, CONSTRAINT PK_FILE__FILE PRIMARY KEY
        (sha256, sha1, md5, crc32, file_name, file_size, package_id));
    CREATE TABLE PKG (package_id INTEGER NOT NULL, name VARCHAR NOT NULL);
    CREATE TABLE VERSION (version VARCHAR UNIQUE NOT NULL, build_set VARCHAR NOT NULL,
        build_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, release_date TIMESTAMP NOT NULL,
        description VARCHAR NOT NULL, CONSTRAINT PK_VERSION__VERSION PRIMARY KEY (version));
    CREATE VIEW DISTINCT_HASH AS SELECT DISTINCT sha256, sha1, md5, crc32 FROM FILE;";

/// Tables of the full schema, as far as tests need them; NIST, 2021.12.2.
const FULL: &str = "
    CREATE TABLE PACKAGE_OBJECT (package_object_id INTEGER UNIQUE NOT NULL,
        package_id INTEGER NOT NULL, object_id INTEGER UNIQUE NOT NULL);
    CREATE TABLE METADATA (metadata_id NUMERIC UNIQUE NOT NULL, object_id INTEGER,
        key_hash VARCHAR NOT NULL, image_hash VARCHAR, path VARCHAR NOT NULL, file_name VARCHAR NOT NULL,
        extension VARCHAR DEFAULT '' NOT NULL, bytes INTEGER NOT NULL, crc32 VARCHAR NOT NULL,
        md5 VARCHAR NOT NULL, sha1 VARCHAR NOT NULL, sha256 VARCHAR NOT NULL,
        CONSTRAINT PK_METADATA__METADATA_ID PRIMARY KEY (metadata_id));
    CREATE TABLE VERSION (version VARCHAR UNIQUE NOT NULL, build_set VARCHAR NOT NULL,
        build_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, release_date TIMESTAMP NOT NULL,
        description VARCHAR NOT NULL);
    CREATE VIEW FILE AS SELECT UPPER(md.sha256) AS sha256, UPPER(md.sha1) AS sha1, UPPER(md.md5) AS md5,
        md.file_name, md.bytes AS file_size, po.package_id FROM METADATA AS md, PACKAGE_OBJECT AS po
        WHERE md.object_id = po.object_id;";

const RELEASED: &str =
    "INSERT INTO VERSION VALUES ('2026.09.1', 'modern minimal', '2026-08-30', '2026-09-01', 'x');";

/// The hash of a number, with `digits` digits. Hashes are not in the order of the numbers.
fn hash(n: u64, digits: usize) -> String {
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
    format!("{mixed:016X}{n:0rest$X}", rest = digits - 16)
}

/// Inserts rows of the files `1..=files`, each with `names` names.
fn minimal_rows(connection: &Connection, files: u64, names: u64) {
    let mut insert = connection
        .prepare("INSERT INTO FILE VALUES (?1, ?2, ?3, 'C', ?4, 7, ?5)")
        .expect("prepared");
    for n in 1..=files {
        for name in 0..names {
            let row = (
                hash(n, 64),
                hash(n, 40),
                hash(n, 32),
                format!("f{name}"),
                name,
            );
            insert.execute(row).expect("inserted");
        }
    }
}

struct TestDatabase {
    folder: tempfile::TempDir,
}

impl TestDatabase {
    fn new(make: impl FnOnce(&Connection)) -> TestDatabase {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(folder.path().join("RDS 50%.db")).expect("opened");
        connection.execute_batch("BEGIN").expect("begun");
        make(&connection);
        connection.execute_batch("COMMIT").expect("committed");
        TestDatabase { folder }
    }

    fn from_sql(sql: &str) -> TestDatabase {
        TestDatabase::new(|c| c.execute_batch(sql).expect("SQL"))
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("RDS 50%.db")
    }

    fn open(&self) -> Result<Rds> {
        Rds::open("rds.db", &self.path())
    }

    fn read(&self, algorithm: Algorithm) -> (Vec<String>, Vec<Progress>) {
        let (mut lines, mut parts) = (Vec::new(), Vec::new());
        let rds = self.open().expect("opened");
        rds.for_each_hash(algorithm, self.sorting(), &mut |line, part| {
            let line = std::str::from_utf8(line).expect("text");
            lines.push(line.strip_suffix('\n').expect("a line").to_owned());
            parts.push(part);
            true
        })
        .expect("read");
        (lines, parts)
    }

    /// Options with little memory, so that most entries are written to disk.
    fn sorting(&self) -> SorterOptions {
        SorterOptions {
            buffer_bytes: 4096,
            folder: self.folder.path().to_owned(),
            fan_in: 3,
        }
    }

    fn open_error(&self) -> String {
        let error = self.open().expect_err("not opened");
        assert_eq!(error.exit_status(), 2, "{error}");
        error.to_string()
    }
}

fn sorted(files: u64, digits: usize) -> Vec<String> {
    let all: BTreeSet<String> = (1..=files).map(|n| hash(n, digits)).collect();
    all.into_iter().collect()
}

#[test]
fn distinct_hashes_of_the_minimal_schema_come_in_order() {
    let database = TestDatabase::new(|c| {
        c.execute_batch(&format!("{MINIMAL}{RELEASED}"))
            .expect("SQL");
        minimal_rows(c, 500, 3);
    });
    for (algorithm, digits) in [
        (Algorithm::Sha256, 64),
        (Algorithm::Sha1, 40),
        (Algorithm::Md5, 32),
    ] {
        let (lines, parts) = database.read(algorithm);
        assert_eq!(lines, sorted(500, digits), "{algorithm}");
        assert!(parts.is_sorted_by_key(|p| p.rows_read), "{algorithm}");
        // A second reading is identical, so that a run can resume.
        assert_eq!(database.read(algorithm).0, lines);
    }
    // Reading along an index counts all rows; sorting counts rows without adjacent
    // duplicates.
    let last = |a| database.read(a).1.last().copied();
    let along_index = Progress {
        rows_read: 1498,
        total_rows: Some(1500),
    };
    assert_eq!(last(Algorithm::Sha256), Some(along_index));
    let sorted_rows = Progress {
        rows_read: 500,
        total_rows: Some(500),
    };
    assert_eq!(last(Algorithm::Md5), Some(sorted_rows));

    let rds = database.open().expect("opened");
    let schema = rds.schema();
    assert_eq!(schema.table, "FILE");
    assert_eq!(schema.default_algorithm(), Some(Algorithm::Sha256));
    let release = schema.release.clone().expect("one");
    assert_eq!(release.version, "2026.09.1");
    assert_eq!(release.set, "modern minimal");
    assert_eq!(release.date, "2026-09-01");
    // No other file remains in the folder.
    drop(rds);
    let beside = std::fs::read_dir(database.folder.path())
        .expect("a folder")
        .count();
    assert_eq!(beside, 1);
}

#[test]
fn sha256_of_the_minimal_schema_is_read_along_the_index_and_the_view_sorts() {
    let database = TestDatabase::from_sql(MINIMAL);
    let rds = database.open().expect("opened");
    let is_ordered = |sql: &str| rds.is_in_index_order(sql).expect("a plan");
    let select = |column| select_sql("FILE", column);
    let by = "ORDER BY sha256 COLLATE BINARY";
    assert!(is_ordered(&format!("{} {by}", select("sha256"))));
    // Duplicates of SHA-1 are adjacent in the order of SHA-256.
    assert!(is_ordered(&format!("{} {by}", select("sha1"))));
    assert!(!is_ordered(&format!("{} ORDER BY sha1", select("sha1"))));
    let trusting = Connection::open(database.path()).expect("opened");
    let plan: String = trusting
        .prepare("EXPLAIN QUERY PLAN SELECT DISTINCT sha256 FROM DISTINCT_HASH")
        .and_then(|mut s| {
            let steps = s.query_map([], |row| row.get::<_, String>(3))?;
            steps.collect::<rusqlite::Result<Vec<_>>>()
        })
        .expect("a plan")
        .join("\n");
    assert!(plan.contains("TEMP B-TREE"), "{plan}");
}

#[test]
fn the_table_of_the_full_schema_is_read_and_case_is_folded() {
    let database = TestDatabase::new(|c| {
        c.execute_batch(FULL).expect("SQL");
        let mut insert = c
            .prepare(
                "INSERT INTO METADATA VALUES (?1, ?2, 'k', NULL, 'p', 'f', 'e', 7, 'c', ?3, ?4, ?5)",
            )
            .expect("prepared");
        for (id, n) in (0..900).map(|id| (id, id % 300 + 1)) {
            let case = |h: String| match id % 2 {
                0 => h.to_lowercase(),
                _ => h,
            };
            let row = (
                id,
                id,
                case(hash(n, 32)),
                case(hash(n, 40)),
                case(hash(n, 64)),
            );
            insert.execute(row).expect("inserted");
        }
    });
    let rds = database.open().expect("opened");
    assert_eq!(rds.schema().table, "METADATA");
    let why = rds.schema().release.clone().expect_err("no row");
    assert!(why.contains("no row"), "{why}");
    for (algorithm, digits) in [(Algorithm::Sha256, 64), (Algorithm::Md5, 32)] {
        assert_eq!(
            database.read(algorithm).0,
            sorted(300, digits),
            "{algorithm}"
        );
    }
}

#[test]
fn databases_with_other_columns_are_read() {
    // A key of six columns without crc32, an index on SHA-1, no VERSION.
    let database = TestDatabase::from_sql(
        "CREATE TABLE FILE (sha256 VARCHAR, sha1 VARCHAR, md5 VARCHAR, file_name VARCHAR,
            file_size INTEGER, package_id INTEGER,
            PRIMARY KEY (sha256, sha1, md5, file_name, file_size, package_id));
         CREATE INDEX by_sha1 ON FILE (sha1);
         INSERT INTO FILE VALUES ('aa', 'bb', 'cc', 'f', 1, 1), ('aa', 'bb', 'cc', 'g', 1, 1);",
    );
    let rds = database.open().expect("opened");
    let release = rds.schema().release.clone();
    assert_eq!(release, Err("it has no table VERSION".to_owned()));
    let sql = format!(
        "{} ORDER BY sha1 COLLATE BINARY",
        select_sql("FILE", "sha1")
    );
    assert!(rds.is_in_index_order(&sql).expect("a plan"));

    // No SHA-256, names in another case, without a rowid.
    let database = TestDatabase::from_sql(
        "CREATE TABLE file (\"SHA1\" TEXT PRIMARY KEY, MD5 TEXT) WITHOUT ROWID;
         CREATE TABLE VERSION (version TEXT, build_set TEXT, release_date TEXT);
         INSERT INTO VERSION VALUES ('1', 'a', 'b'), ('2', 'a', 'b');",
    );
    let rds = database.open().expect("opened");
    assert_eq!(rds.schema().default_algorithm(), Some(Algorithm::Sha1));
    let several = rds.schema().release.clone().expect_err("two");
    assert!(several.contains("several rows"), "{several}");
    let error = rds
        .schema()
        .column("rds.db", Algorithm::Sha256)
        .expect_err("none");
    assert_eq!(error.exit_status(), 2);
    let message = format!("{error:#}");
    assert!(
        message.contains("no column sha256") && message.contains("SHA1, MD5"),
        "{message}"
    );
    assert_eq!(database.read(Algorithm::Md5), (vec![], vec![]));
}

#[test]
fn a_value_that_is_not_a_hash_becomes_one_rejected_line() {
    let sql = |keyed: &str| {
        format!(
            "CREATE TABLE FILE (n INTEGER, sha256 TEXT{keyed}, sha1 TEXT, md5 ANY);
             INSERT INTO FILE VALUES (1, NULL, '{one}', NULL), (2, '', '', ''), (3, 'ab' || char(10) || 'cd', '', 4),
                (4, '{lower}', '', x'00FF'), (5, '{long}', '{one}', 1.5), (6, NULL, '#x', ''),
                (7, '{lower}', '', '');
             INSERT INTO FILE VALUES (8, hex(zeroblob(100000)), '', '');",
            one = hash(1, 40),
            lower = hash(2, 64).to_lowercase(),
            long = "é".repeat(100),
        )
    };
    let long = format!("\"{}…\"", "é".repeat(64));
    let huge = "\"a value of 200000 bytes\"";
    // Along an index: in the order of the index.
    let database = TestDatabase::from_sql(&(sql("") + "CREATE INDEX i ON FILE (sha256)"));
    let (lines, _) = database.read(Algorithm::Sha256);
    let hash_2 = hash(2, 64);
    let expected = ["NULL", "\"\"", huge, &hash_2, "\"ab\\ncd\"", &long];
    assert_eq!(
        BTreeSet::from_iter(lines.iter().map(String::as_str)),
        expected.into()
    );
    assert_eq!(lines.len(), expected.len());
    // Sorted: after the hashes.
    let database = TestDatabase::from_sql(&sql(""));
    let (lines, _) = database.read(Algorithm::Sha256);
    assert_eq!(lines, [&hash_2, "NULL", "\"\"", "\"ab\\ncd\"", &long, huge]);
    let (lines, _) = database.read(Algorithm::Sha1);
    assert_eq!(lines, [&hash(1, 40), "\"\"", "\"#x\""]);
    let (lines, _) = database.read(Algorithm::Md5);
    assert_eq!(lines, ["NULL", "\"\"", "\"4\"", "X'00FF'", "\"1.5\""]);
    // The parser rejects all of them.
    let mut framer = crate::list::lines::Framer::new();
    let text = lines.join("\n") + "\n";
    let parser = crate::list::format::plain::LineParser::new(Algorithm::Md5);
    let mut read = framer.push(text.as_bytes());
    let mut rejected = 0;
    while let Some(line) = read.next() {
        let parsed = parser.parse(&line);
        assert!(
            matches!(parsed, crate::list::format::plain::Parsed::Rejected(_)),
            "{parsed:?}"
        );
        rejected += 1;
    }
    assert_eq!(rejected, 5);
}

#[test]
fn another_database_is_an_error_that_lists_its_tables() {
    let message =
        TestDatabase::from_sql("CREATE TABLE a (x); CREATE TABLE b (sha256 TEXT)").open_error();
    assert!(
        message.contains("an SQLite database with the tables a, b;"),
        "{message}"
    );
    assert!(message.contains("expected NSRL RDS v3"), "{message}");
    let message = TestDatabase::from_sql("CREATE TABLE FILE (name, size)").open_error();
    assert!(message.contains("FILE (name, size)"), "{message}");
    let message = TestDatabase::from_sql("").open_error();
    assert!(message.contains("no tables"), "{message}");
    let many: String = (0..30)
        .map(|n| format!("CREATE TABLE t{n:02} (x);"))
        .collect();
    let message = TestDatabase::from_sql(&many).open_error();
    assert!(
        message.contains("t19, 10 more") && !message.contains("t20"),
        "{message}"
    );
}

#[test]
fn views_virtual_tables_and_computed_columns_are_not_read() {
    // A view, a virtual table, and a computed column instead of a stored one.
    let message = TestDatabase::from_sql(
        "CREATE VIEW FILE AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)
            SELECT printf('%064d', x) AS sha256 FROM c",
    )
    .open_error();
    assert!(message.contains("FILE (a view)"), "{message}");
    let message =
        TestDatabase::from_sql("CREATE VIRTUAL TABLE FILE USING fts5(sha256)").open_error();
    assert!(message.contains("FILE (a virtual table)"), "{message}");
    let message =
        TestDatabase::from_sql("CREATE TABLE FILE (a, sha256 TEXT AS (hex(zeroblob(32))))")
            .open_error();
    assert!(message.contains("FILE (a)"), "{message}");
    // A false row number does not inflate the estimate of rows.
    let database = TestDatabase::from_sql(
        "CREATE TABLE FILE (id INTEGER PRIMARY KEY, sha256 TEXT, sha1 TEXT);
         INSERT INTO FILE VALUES (9223372036854775807, 'x', 'y')",
    );
    let rows = database.open().expect("opened").max_rows();
    assert!(rows.is_some_and(|n| n < 1000), "{rows:?}");
    // An index with another collation does not have the order of the hashes.
    let database = TestDatabase::from_sql(
        "CREATE TABLE FILE (sha256 TEXT COLLATE NOCASE PRIMARY KEY, sha1 TEXT, md5 TEXT) WITHOUT ROWID",
    );
    let rds = database.open().expect("opened");
    let sql = format!(
        "{} ORDER BY sha256 COLLATE BINARY",
        select_sql("FILE", "sha256")
    );
    assert!(!rds.is_in_index_order(&sql).expect("a plan"));
}

#[test]
fn a_damaged_or_incomplete_database_is_an_error() {
    let database = TestDatabase::new(|c| {
        c.execute_batch(MINIMAL).expect("SQL");
        minimal_rows(c, 2000, 1);
    });
    let whole = std::fs::read(database.path()).expect("read");
    assert_eq!(length_by_header(&whole), Some(whole.len() as u64));

    // Cut off: an error when it is opened.
    std::fs::write(database.path(), &whole[..whole.len() / 2]).expect("written");
    let error = database.open().expect_err("malformed");
    assert_eq!((error.kind(), error.exit_status()), (ErrorKind::Read, 1));
    let message = format!("{error:#}");
    assert!(
        message.contains("rds.db cannot be read") && message.contains("malformed"),
        "{message}"
    );

    // Pages of the index overwritten: an error when they are reached.
    let mut damaged = whole.clone();
    let from = damaged.len() / 2;
    damaged[from..].fill(0xA5);
    std::fs::write(database.path(), &damaged).expect("written");
    let rds = database.open().expect("its first page is sound");
    let mut n = 0_u64;
    let error = rds
        .for_each_hash(Algorithm::Sha256, database.sorting(), &mut |_, _| {
            n += 1;
            true
        })
        .expect_err("malformed");
    assert_eq!(error.kind(), ErrorKind::Read);
    let message = format!("{error:#}");
    assert!(
        message.contains(&format!("ended after {n} rows")),
        "{message}"
    );
    assert!(n < 2000, "{n}");

    // A write-ahead log beside it belongs to it.
    std::fs::write(database.path(), &whole).expect("written");
    std::fs::write(database.folder.path().join("RDS 50%.db-wal"), b"x").expect("written");
    assert!(database.open_error().contains("-wal belongs to it"));
}

#[test]
fn reading_ends_when_the_sink_returns_false_or_on_interrupt() {
    let database = TestDatabase::new(|c| {
        c.execute_batch(MINIMAL).expect("SQL");
        minimal_rows(c, 100, 1);
    });
    let rds = database.open().expect("opened");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha1] {
        let mut received = 0;
        let ended = rds.for_each_hash(algorithm, database.sorting(), &mut |_, _| {
            received += 1;
            received < 10
        });
        assert!(ended.is_ok() && received == 10, "{received}");
    }
    let handle = rds.interrupt_handle();
    let ended = rds.for_each_hash(Algorithm::Sha256, database.sorting(), &mut |_, _| {
        handle.interrupt();
        true
    });
    let error = ended.expect_err("interrupted");
    assert!(format!("{error:#}").contains("interrupted"));
}

#[test]
fn the_header_identifies_a_database_and_its_length() {
    assert_eq!(is_database(b"SQLite f"), None);
    assert_eq!(is_database(b"SQLite format 3\0x"), Some(true));
    assert_eq!(is_database(b"SQLite format 3\nx"), Some(false));
    assert_eq!(is_database(b"SHA"), Some(false));
    let mut head = [0; HEADER_BYTES];
    assert_eq!(length_by_header(&head), None);
    head[16..18].copy_from_slice(&1_u16.to_be_bytes());
    head[28..32].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(length_by_header(&head), Some(65_536 * u64::from(u32::MAX)));
    // Written by an SQLite version that does not update the number of pages.
    head[92..96].copy_from_slice(&7_u32.to_be_bytes());
    assert_eq!(length_by_header(&head), None);
    assert_eq!(length_by_header(&head[..99]), None);
}
