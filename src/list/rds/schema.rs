//! The schema of an RDS v3 database: the table and columns that hold hashes, and the release.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::printable;
use crate::list::rds::connection::broken;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::fmt::Write as _;
use std::path::Path;

/// Tables that hold the hashes, the one to be preferred first.
const TABLES: [&str; 2] = ["METADATA", "FILE"];

/// The columns of `VERSION` that are taken from it.
const RELEASE: [&str; 3] = ["version", "build_set", "release_date"];

/// The longest value, in bytes, that is looked at: the hex text of the longest hash
/// is far below it.
const MAX_VALUE_BYTES: i64 = 1024;

/// Tables that a message names.
const NAMED: usize = 20;

/// Which release a database holds: the one row of its table `VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// `2026.03.1`
    pub version: String,
    /// `build_set`: which of the sets it is, such as `modern`.
    pub set: String,
    /// `release_date`, as it is written there.
    pub date: String,
}

/// What a database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema {
    /// The table that is read.
    pub table: &'static str,
    /// Its columns that are named as an algorithm, with their names there.
    pub columns: Vec<(Algorithm, String)>,
    /// Which release it is, or why that is not known.
    pub release: Result<Release, String>,
}

impl Schema {
    /// The algorithm that is taken when none was told: SHA-256, where it has that.
    pub(crate) fn usual(&self) -> Option<Algorithm> {
        let has = |a: &Algorithm| self.columns.iter().any(|(of, _)| of == a);
        let usual = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5];
        usual.into_iter().find(has)
    }

    /// The column of `algorithm` in the database `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), naming those it has, when it has none.
    pub(crate) fn column(&self, name: &str, algorithm: Algorithm) -> Result<&str> {
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

/// The values of `column`, for SQL; NULL in the place of what is of absurd length.
pub(super) fn guarded(column: &str) -> String {
    let column = quoted(column);
    format!("CASE WHEN octet_length({column}) <= {MAX_VALUE_BYTES} THEN {column} END")
}

/// A name, for SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the database holds that is read here.
pub(super) fn schema(name: &str, connection: &Connection, path: &Path) -> Result<Schema> {
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
