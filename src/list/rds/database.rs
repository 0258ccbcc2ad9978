//! NIST's RDS v3 databases → the hashes in them, without I/O but SQLite's own.
//!
//! The NSRL publishes its Reference Data Set as SQLite databases of two schemas:
//!
//! | | minimal | full |
//! |---|---|---|
//! | hashes | the table `FILE` | the table `METADATA`; `FILE` is a view |
//! | index | the primary key, which begins with `sha256` | none of a hash |
//! | case | upper | either: its view folds them |
//!
//! Only tables are read, never a view: what a view or a trigger says is a program
//! of whoever made the database, and all of that is switched off ([`Rds::open`]).
//!
//! # How each hash comes once
//!
//! Where an index is in the order of the hashes, it is walked, and equal neighbours
//! are one: neither memory nor disk grows. Elsewhere SQLite would sort row by row
//! on disk; the [`sorter`](crate::list::external_sort::sorter) does it with raw hashes, in the folder for
//! temporary files. Rows of one file stand together in the minimal schema's primary
//! key, so that SHA-1 and MD5 are read in its order and most repeats are dropped
//! before they are sorted. The view `DISTINCT_HASH` is of no use: it makes SQLite
//! keep every hash that it has given.
//!
//! Either way the order is that of the hashes, and a later run can go on in it.
//! Values that are no hashes come as lines of their own, which the parser rejects.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::printable;
use crate::base::record::Place;
use crate::list::external_sort::sorter::{Sorter, SorterOptions, disk_bytes};
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, InterruptHandle, OpenFlags, Row};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

#[cfg(test)]
mod tests;

/// The first bytes of every SQLite database. Source: SQLite, database file format.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The file's header, in bytes. Source: as [`MAGIC`].
pub const HEADER_BYTES: usize = 100;

/// Tables that hold the hashes, the one to be preferred first.
const TABLES: [&str; 2] = ["METADATA", "FILE"];

/// The columns of `VERSION` that are taken from it.
const RELEASE: [&str; 3] = ["version", "build_set", "release_date"];

/// The longest value, in bytes, that is looked at: the hex text of the longest hash
/// is far below it.
const MAX_VALUE_BYTES: i64 = 1024;

/// How much of a value that is no hash is kept, in characters.
const SHOWN_CHARACTERS: usize = 64;

/// How many different values that are no hashes are remembered, while they wait.
const REMEMBERED: usize = 65_536;

/// Tables that a message names.
const NAMED: usize = 20;

/// Which release a database holds: the one row of its table `VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `2026.03.1`
    pub version: String,
    /// `build_set`: which of the sets it is, such as `modern`.
    pub set: String,
    /// `release_date`, as it is written there.
    pub date: String,
}

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The table that is read.
    pub table: &'static str,
    /// Its columns that are named as an algorithm, with their names there.
    pub columns: Vec<(Algorithm, String)>,
    /// Which release it is, or why that is not known.
    pub release: Result<Release, String>,
}

impl Schema {
    /// The algorithm that is taken when none was told: SHA-256, where it has that.
    pub fn usual(&self) -> Option<Algorithm> {
        let has = |a: &Algorithm| self.columns.iter().any(|(of, _)| of == a);
        let usual = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5];
        usual.into_iter().find(has)
    }

    /// The column of `algorithm` in the database `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], naming those it has, when it has none.
    pub fn column(&self, name: &str, algorithm: Algorithm) -> Result<&str> {
        let mut columns = self.columns.iter();
        if let Some((_, column)) = columns.find(|(of, _)| *of == algorithm) {
            return Ok(column);
        }
        let has: Vec<&str> = self.columns.iter().map(|(_, c)| c.as_str()).collect();
        Err(Error::usage(format!(
            "the table {} of {name} has no column {algorithm}: of hashes it has {}",
            self.table,
            printable::names(&has)
        ))
        .hint("name one of them by --hash, and a table that is for such hashes"))
    }
}

/// Whether `head`, the beginning of a file, is that of an SQLite database; nothing
/// when too few bytes have come to say.
pub fn is_database(head: &[u8]) -> Option<bool> {
    match head.first_chunk::<16>() {
        Some(first) => Some(first == MAGIC),
        None if MAGIC.starts_with(head) => None,
        None => Some(false),
    }
}

/// How long the database is, in bytes, by its own header; nothing when that does not
/// say it. Source: SQLite, database file format, 1.3.
pub fn length_by_header(head: &[u8]) -> Option<u64> {
    let head = head.first_chunk::<HEADER_BYTES>()?;
    let u32_at = |at: usize| -> u32 {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        u32::from_be_bytes(bytes)
    };
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        n if n >= 512 && n.is_power_of_two() => u64::from(n),
        _ => return None,
    };
    // Versions before 3.7.0 did not keep it up to date.
    let (pages, is_valid) = (u32_at(28), u32_at(24) == u32_at(92));
    (pages > 0 && is_valid).then(|| page * u64::from(pages))
}

/// A database that is open.
#[derive(Debug)]
pub struct Rds {
    name: String,
    connection: Connection,
    schema: Schema,
}

impl Rds {
    /// Opens the database at `path`, the source `name` or a copy of it, which nobody
    /// changes while it is open.
    ///
    /// What it was made with is not trusted: it is read as it lies, without a
    /// journal, and views, triggers and functions in its schema do not run.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], naming what it holds, when it is no RDS v3;
    /// [`ErrorKind::Read`] when SQLite cannot read it.
    pub fn open(name: &str, path: &Path) -> Result<Rds> {
        refuse_unfinished(name, path)?;
        let connection = connect(path).map_err(|e| broken(name, path, None, &e))?;
        let schema = schema(name, &connection, path)?;
        Ok(Rds {
            name: name.to_owned(),
            connection,
            schema,
        })
    }

    /// What it holds.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// By which [`hashes`](Self::hashes) is ended from another thread.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Hands each hash of `algorithm` to `sink` once, as a line of hex digits, with
    /// the thousandths of the database that are read by then; until `sink` says no.
    ///
    /// # Errors
    /// [`ErrorKind::Read`] when the database is damaged: what came before is sound.
    /// [`ErrorKind::Output`] when there is no room to sort in the folder of `sorting`.
    pub fn hashes(
        &self,
        algorithm: Algorithm,
        sorting: SorterOptions,
        sink: &mut dyn FnMut(&[u8], Part) -> bool,
    ) -> Result<()> {
        let column = self.schema.column(&self.name, algorithm)?;
        let table = self.schema.table;
        // A column's name is that of an algorithm, but may be written with quotes.
        let (select, column) = (select(table, column), quoted(column));
        let ordered = format!("{select} ORDER BY {column} COLLATE BINARY");
        if self.is_walk(&ordered)? {
            return self.walk(algorithm, &ordered, sink);
        }
        let by_file = self.schema.columns.iter().find_map(|(of, first)| {
            let by = format!("{select} ORDER BY {} COLLATE BINARY", quoted(first));
            (*of == Algorithm::Sha256).then_some(by)
        });
        let scan = match by_file {
            Some(by_file) if self.is_walk(&by_file)? => by_file,
            _ => select,
        };
        self.sort(algorithm, &scan, sorting, sink)
    }

    /// Hands on what `sql` gives, which comes in the order of the hashes.
    fn walk(
        &self,
        algorithm: Algorithm,
        sql: &str,
        sink: &mut dyn FnMut(&[u8], Part) -> bool,
    ) -> Result<()> {
        let rows = self.rows();
        let mut line = Vec::with_capacity(256);
        let mut last = Vec::with_capacity(256);
        self.each(sql, |row, n| {
            value(algorithm, row, &mut line)?;
            if n > 1 && line == last {
                return Ok(true);
            }
            std::mem::swap(&mut line, &mut last);
            Ok(sink(&last, Part { read: n, of: rows }))
        })?;
        Ok(())
    }

    /// Sorts what `sql` gives, and hands it on then.
    fn sort(
        &self,
        algorithm: Algorithm,
        sql: &str,
        sorting: SorterOptions,
        sink: &mut dyn FnMut(&[u8], Part) -> bool,
    ) -> Result<()> {
        let folder = sorting.folder.clone();
        let most = self.rows().unwrap_or(0);
        // As much again while the last runs are merged.
        let disk = disk_bytes(algorithm, most, 0).saturating_mul(2);
        tracing::info!(
            "{} has no index in the order of {algorithm}: its rows, {most} at most, are sorted first, which takes \
             at most {disk} bytes in {}",
            self.name,
            folder.display()
        );
        let mut sorter = Sorter::new(algorithm, sorting);
        let mut others = Others::default();
        let mut line = Vec::with_capacity(256);
        let mut last = None;
        self.each(sql, |row, n| {
            let hash = value(algorithm, row, &mut line)?;
            if hash.is_some() && hash == last {
                return Ok(true);
            }
            let place = Place {
                source: 0,
                line: n,
                byte: 0,
            };
            match &hash {
                Some(hash) => sorter.push(hash, place, &[])?,
                None => others.push(&line, &folder)?,
            }
            last = hash;
            Ok(true)
        })?;
        let mut sorted = sorter.finish()?;
        let all = sorted.entries();
        let mut reading = sorted.read()?;
        let mut n = 0;
        while let Some(entry) = reading.next()? {
            n += 1 + entry.repeats.len() as u64;
            line.clear();
            entry.hash.write_hex(Case::Upper, &mut line);
            line.push(b'\n');
            let part = Part {
                read: n,
                of: Some(all),
            };
            if !sink(&line, part) {
                return Ok(());
            }
        }
        let part = Part {
            read: all,
            of: Some(all),
        };
        others.read(|line| sink(line, part))
    }

    /// Hands each row of `sql` to `take`, with how many there were by then, until that
    /// says no.
    fn each(
        &self,
        sql: &str,
        mut take: impl FnMut(&Row<'_>, u64) -> Result<bool, Halt>,
    ) -> Result<()> {
        let mut n = 0;
        let ended: Result<(), Halt> = (|| {
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                n += 1;
                if !take(row, n)? {
                    break;
                }
            }
            Ok(())
        })();
        match ended {
            Ok(()) => Ok(()),
            Err(Halt::Ours(e)) => Err(e),
            Err(Halt::Sqlite(e)) => Err(broken(&self.name, &self.path(), Some(n), &e)),
        }
    }

    fn path(&self) -> PathBuf {
        self.connection
            .path()
            .map(PathBuf::from)
            .unwrap_or_default()
    }

    /// Whether SQLite goes through an index or a table for `sql`, and sorts nothing.
    fn is_walk(&self, sql: &str) -> Result<bool> {
        let mut sorts = false;
        self.each(&format!("EXPLAIN QUERY PLAN {sql}"), |row, _| {
            let step: String = row.get(3)?;
            sorts |= step.contains("TEMP B-TREE");
            Ok(true)
        })?;
        Ok(!sorts)
    }

    /// How many rows the table has, at most; nothing where that is not known without
    /// counting them.
    fn rows(&self) -> Option<u64> {
        let sql = format!("SELECT max(rowid) FROM {}", quoted(self.schema.table));
        let last: Option<i64> = (self.connection)
            .query_row(&sql, [], |row| row.get(0))
            .ok()?;
        let last = u64::try_from(last?).ok()?;
        // It cannot be believed: but each row has some bytes.
        let least = self.schema.columns.iter().map(|(a, _)| a.bytes()).max();
        let length = std::fs::metadata(self.path()).ok()?.len();
        Some(last.min(length / least.unwrap_or(16).max(16) as u64))
    }
}

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Rows that are read.
    pub read: u64,
    /// Of so many, about; where that is known.
    pub of: Option<u64>,
}

/// Why the reading of rows ends early.
enum Halt {
    Sqlite(rusqlite::Error),
    Ours(Error),
}

impl From<rusqlite::Error> for Halt {
    fn from(e: rusqlite::Error) -> Halt {
        Halt::Sqlite(e)
    }
}

impl From<Error> for Halt {
    fn from(e: Error) -> Halt {
        Halt::Ours(e)
    }
}

/// Values that are no hashes, until their turn comes: behind the hashes, so that a
/// few thousand of them among millions are not taken for the whole list.
#[derive(Default)]
struct Others {
    file: Option<BufWriter<std::fs::File>>,
    seen: HashSet<Box<[u8]>>,
}

impl Others {
    fn push(&mut self, line: &[u8], folder: &Path) -> Result<()> {
        if self.seen.contains(line) {
            return Ok(());
        }
        if self.seen.len() < REMEMBERED {
            self.seen.insert(line.into());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = tempfile::tempfile_in(folder).map_err(|e| no_room(folder, e))?;
                self.file.insert(BufWriter::new(file))
            }
        };
        file.write_all(line).map_err(|e| no_room(folder, e))
    }

    fn read(self, mut sink: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Output, "cannot read a temporary file back").because(e)
        };
        let mut file = file.into_inner().map_err(|e| cannot(e.into_error()))?;
        file.rewind().map_err(cannot)?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            match file.read_until(b'\n', &mut line).map_err(cannot)? {
                0 => return Ok(()),
                _ if sink(&line) => {}
                _ => return Ok(()),
            }
        }
    }
}

fn no_room(folder: &Path, e: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Output,
        format!("cannot write a temporary file to {}", folder.display()),
    )
    .because(e)
    .hint("name a folder with more room by --work-dir DIR")
}

/// The query for the values of `column`, which are not loaded when they are of absurd
/// length, and how long each is.
fn select(table: &str, column: &str) -> String {
    let (table, value, column) = (quoted(table), guarded(column), quoted(column));
    format!("SELECT {value}, octet_length({column}) FROM {table}")
}

/// The values of `column`, for SQL; NULL in the place of what is of absurd length.
fn guarded(column: &str) -> String {
    let column = quoted(column);
    format!("CASE WHEN octet_length({column}) <= {MAX_VALUE_BYTES} THEN {column} END")
}

/// A name, for SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes the line that stands for a value: a hash of `algorithm`, which is returned,
/// or a line that is none, whatever the value is.
fn value(
    algorithm: Algorithm,
    row: &Row<'_>,
    line: &mut Vec<u8>,
) -> Result<Option<Hash>, rusqlite::Error> {
    line.clear();
    let hash = match row.get_ref(0)? {
        ValueRef::Text(text) if text.len() == algorithm.bytes() * 2 => Hash::from_hex(text),
        _ => None,
    };
    match (&hash, row.get_ref(0)?) {
        (Some(hash), _) => hash.write_hex(Case::Upper, line),
        (None, ValueRef::Text(text)) => quote(text, line),
        (None, ValueRef::Blob(bytes)) => {
            line.extend_from_slice(b"X'");
            for byte in bytes.iter().take(SHOWN_CHARACTERS) {
                let _ = write!(line, "{byte:02X}");
            }
            line.push(b'\'');
        }
        (None, ValueRef::Integer(n)) => {
            let _ = write!(line, "\"{n}\"");
        }
        (None, ValueRef::Real(n)) => {
            let _ = write!(line, "\"{n}\"");
        }
        (None, ValueRef::Null) => match row.get_ref(1)? {
            ValueRef::Integer(bytes) => {
                let _ = write!(line, "\"a value of {bytes} bytes\"");
            }
            _ => line.extend_from_slice(b"NULL"),
        },
    }
    line.push(b'\n');
    Ok(hash)
}

/// Appends `text` in quotes and on one line: an empty one, too, is a line then.
fn quote(text: &[u8], line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARACTERS) {
        let _ = match c {
            '"' => shown.write_str("'"),
            c if c.is_control() => write!(shown, "{}", c.escape_default()),
            c => shown.write_char(c),
        };
    }
    let more = match text.chars().nth(SHOWN_CHARACTERS) {
        Some(_) => "…",
        None => "",
    };
    let _ = write!(line, "\"{shown}{more}\"");
}

/// Opens the file and switches off what it could do.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path), flags)?;
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    // In KiB; an index that is walked needs few pages at once.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The file as SQLite's URI; `immutable`, so that it is not locked and no file is
/// made beside it.
fn uri(path: &Path) -> String {
    // An empty authority, so that a path may begin as one does.
    let mut uri = String::from(if cfg!(unix) { "file://" } else { "file:" });
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri + "?mode=ro&immutable=1"
}

/// Refuses a database of which a part still lies in another file: read as it lies, it
/// would not be what it is.
fn refuse_unfinished(name: &str, path: &Path) -> Result<()> {
    for suffix in ["-wal", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        let bytes = std::fs::metadata(&beside).map_or(0, |m| m.len());
        if bytes > 0 {
            return Err(Error::usage(format!(
                "{name} is in use, or was not closed: what is in {} belongs to it",
                beside.display()
            ))
            .hint(format!(
                "close the program that has it open, then let sqlite3 finish it: sqlite3 {} \
                 'PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE'",
                path.display()
            )));
        }
    }
    Ok(())
}

/// What the database holds that is read here.
fn schema(name: &str, connection: &Connection, path: &Path) -> Result<Schema> {
    let failed = |e: rusqlite::Error| broken(name, path, None, &e);
    let tables = tables(connection).map_err(failed)?;
    for table in TABLES {
        if !tables.iter().any(|t| t.is(table, "table")) {
            continue;
        }
        let columns: Vec<(Algorithm, String)> = columns(connection, table)
            .map_err(failed)?
            .into_iter()
            .filter_map(|column| Some((Algorithm::from_name(&column)?, column)))
            .collect();
        let usual = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5];
        if !columns.iter().any(|(of, _)| usual.contains(of)) {
            continue;
        }
        return Ok(Schema {
            table,
            columns,
            release: release(connection, &tables).map_err(failed)?,
        });
    }
    let mut held = Vec::new();
    for table in tables.iter().take(NAMED) {
        let mut said = printable::name(&table.name).into_owned();
        if TABLES.iter().any(|t| table.is(t, "table")) {
            let columns = columns(connection, &table.name).map_err(failed)?;
            let _ = write!(said, " ({})", printable::names(&columns));
        } else if table.kind != "table" {
            let _ = write!(said, " (a {})", printable::name(&table.kind));
        }
        held.push(said);
    }
    if tables.len() > NAMED {
        held.push(format!("{} more", tables.len() - NAMED));
    }
    let held = match held.is_empty() {
        true => "no tables".to_owned(),
        false => format!("the tables {}", held.join(", ")),
    };
    Err(Error::usage(format!(
        "{name} is an SQLite database with {held}; expected NSRL RDS v3: a table FILE or METADATA with a column \
         sha256, sha1 or md5"
    ))
    .hint("write the hashes out as text, one a line (sqlite3 FILE 'SELECT …'), and ingest that"))
}

/// A table or what takes the place of one.
struct Held {
    name: String,
    kind: String,
}

impl Held {
    fn is(&self, name: &str, kind: &str) -> bool {
        self.kind == kind && self.name.eq_ignore_ascii_case(name)
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<Held>> {
    let mut statement = connection.prepare(
        "SELECT name, CASE WHEN type = 'table' AND rootpage = 0 THEN 'virtual table' ELSE type END \
         FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY name",
    )?;
    let held = statement.query_map([], |row| {
        Ok(Held {
            name: row.get(0)?,
            kind: row.get(1)?,
        })
    })?;
    held.collect()
}

/// The columns of `table` that hold values; one that is computed does not.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// The one row of `VERSION`, or why there is none to take.
fn release(connection: &Connection, tables: &[Held]) -> rusqlite::Result<Result<Release, String>> {
    if !tables.iter().any(|t| t.is("VERSION", "table")) {
        return Ok(Err("it has no table VERSION".to_owned()));
    }
    let has = columns(connection, "VERSION")?;
    let missing = (RELEASE.iter()).find(|c| !has.iter().any(|h| h.eq_ignore_ascii_case(c)));
    if let Some(missing) = missing {
        return Ok(Err(format!("its table VERSION has no column {missing}")));
    }
    let mut statement = connection.prepare(&format!(
        "SELECT {} FROM VERSION LIMIT 2",
        RELEASE.map(guarded).join(", ")
    ))?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else {
        return Ok(Err("its table VERSION has no row".to_owned()));
    };
    let text = |n: usize| -> rusqlite::Result<String> {
        Ok(match row.get_ref(n)? {
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        })
    };
    let release = Release {
        version: text(0)?,
        set: text(1)?,
        date: text(2)?,
    };
    if rows.next()?.is_some() {
        return Ok(Err("its table VERSION has several rows".to_owned()));
    }
    let values = [&release.version, &release.set, &release.date];
    let empty = RELEASE.iter().zip(values).find(|(_, v)| v.is_empty());
    Ok(match empty {
        Some((column, _)) => Err(format!(
            "{column} in its table VERSION is no text, or a very long one"
        )),
        None => Ok(release),
    })
}

/// What SQLite says of a database that it cannot read (any further than `rows`).
fn broken(name: &str, path: &Path, rows: Option<u64>, e: &rusqlite::Error) -> Error {
    let what = match rows {
        Some(rows) => format!("reading the database {name} ended after {rows} rows"),
        None => format!("the database {name} cannot be read"),
    };
    Error::new(ErrorKind::Read, what)
        .because(e.to_string())
        .hint(format!(
            "what was sound before is written or in the books; fetch it again, whole (each zip has its SHA-1 \
             beside it), then run this again; sqlite3 {} 'PRAGMA quick_check' says more",
            path.display()
        ))
}
