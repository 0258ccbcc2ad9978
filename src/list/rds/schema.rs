//! Schema of an RDS v3 database: the table and columns that hold hashes, and the release.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::printable;
use crate::list::rds::connection::read_error;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::fmt::Write as _;
use std::path::Path;

/// Tables that may hold the hashes, in order of preference.
const TABLES: [&str; 2] = ["METADATA", "FILE"];

/// The columns of `VERSION` that are read.
const RELEASE_COLUMNS: [&str; 3] = ["version", "build_set", "release_date"];

/// Maximum length of a value that is loaded, in bytes; the longest hash has 128 digits.
const MAX_VALUE_BYTES: i64 = 1024;

/// Maximum number of tables in a message.
const MAX_REPORTED_TABLES: usize = 20;

/// Release of a database: the only row of its table `VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// The version, such as `2026.03.1`.
    pub version: String,
    /// The set (column `build_set`), such as `modern`.
    pub set: String,
    /// The text in column `release_date`.
    pub date: String,
}

/// The parts of a database that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schema {
    /// The table that holds the hashes.
    pub table: &'static str,
    /// Its hash columns: algorithm, and name of the column.
    pub columns: Vec<(Algorithm, String)>,
    /// The release, or the reason why it is not known.
    pub release: Result<Release, String>,
}

impl Schema {
    /// Returns the default algorithm: SHA-256, else SHA-1, else MD5. `None` if the table has
    /// none of them.
    pub(crate) fn default_algorithm(&self) -> Option<Algorithm> {
        let has = |a: &Algorithm| self.columns.iter().any(|(column, _)| column == a);
        let preferred = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5];
        preferred.into_iter().find(has)
    }

    /// Returns the column of `algorithm` in the database `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if there is none; the
    /// message lists the hash columns.
    pub(crate) fn column(&self, name: &str, algorithm: Algorithm) -> Result<&str> {
        let mut columns = self.columns.iter();
        if let Some((_, column)) = columns.find(|(other, _)| *other == algorithm) {
            return Ok(column);
        }
        let has: Vec<&str> = self.columns.iter().map(|(_, c)| c.as_str()).collect();
        Err(Error::usage(format!(
            "the table {} of {name} has no column {algorithm}; its hash columns are {}",
            self.table,
            printable::short_names(&has)
        ))
        .with_hint("choose one of them with --hash, and a table for such hashes"))
    }
}

/// Returns the SQL expression for the values of `column`, with NULL for values of absurd
/// length.
pub(super) fn guarded_value(column: &str) -> String {
    let column = quoted(column);
    format!("CASE WHEN octet_length({column}) <= {MAX_VALUE_BYTES} THEN {column} END")
}

/// Quotes a name for SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads the schema of the database `name` at `path`.
pub(super) fn read_schema(name: &str, connection: &Connection, path: &Path) -> Result<Schema> {
    let failed = |e: rusqlite::Error| read_error(name, path, None, &e);
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
        let common = [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5];
        if !columns
            .iter()
            .any(|(algorithm, _)| common.contains(algorithm))
        {
            continue;
        }
        return Ok(Schema {
            table,
            columns,
            release: read_release(connection, &tables).map_err(failed)?,
        });
    }
    let mut held = Vec::new();
    for table in tables.iter().take(MAX_REPORTED_TABLES) {
        let mut text = printable::short_name(&table.name).into_owned();
        if TABLES.iter().any(|t| table.is(t, "table")) {
            let columns = columns(connection, &table.name).map_err(failed)?;
            let _ = write!(text, " ({})", printable::short_names(&columns));
        } else if table.kind != "table" {
            let _ = write!(text, " (a {})", printable::short_name(&table.kind));
        }
        held.push(text);
    }
    if tables.len() > MAX_REPORTED_TABLES {
        held.push(format!("{} more", tables.len() - MAX_REPORTED_TABLES));
    }
    let held = match held.is_empty() {
        true => "no tables".to_owned(),
        false => format!("the tables {}", held.join(", ")),
    };
    Err(Error::usage(format!(
        "{name} is an SQLite database with {held}; expected NSRL RDS v3: a table FILE or METADATA with a column \
         sha256, sha1 or md5"
    ))
    .with_hint("export the hashes as text, one per line (sqlite3 FILE 'SELECT …'), and ingest that"))
}

/// A table, a virtual table or a view.
struct TableOrView {
    name: String,
    kind: String,
}

impl TableOrView {
    fn is(&self, name: &str, kind: &str) -> bool {
        self.kind == kind && self.name.eq_ignore_ascii_case(name)
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<TableOrView>> {
    let mut statement = connection.prepare(
        "SELECT name, CASE WHEN type = 'table' AND rootpage = 0 THEN 'virtual table' ELSE type END \
         FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
         ORDER BY name",
    )?;
    let held = statement.query_map([], |row| {
        Ok(TableOrView {
            name: row.get(0)?,
            kind: row.get(1)?,
        })
    })?;
    held.collect()
}

/// Returns the stored columns of `table`; computed ones are excluded.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// Reads the only row of `VERSION`, or returns the reason why that is not possible.
fn read_release(
    connection: &Connection,
    tables: &[TableOrView],
) -> rusqlite::Result<Result<Release, String>> {
    if !tables.iter().any(|t| t.is("VERSION", "table")) {
        return Ok(Err("it has no table VERSION".to_owned()));
    }
    let has = columns(connection, "VERSION")?;
    let missing = (RELEASE_COLUMNS.iter()).find(|c| !has.iter().any(|h| h.eq_ignore_ascii_case(c)));
    if let Some(missing) = missing {
        return Ok(Err(format!("its table VERSION has no column {missing}")));
    }
    let mut statement = connection.prepare(&format!(
        "SELECT {} FROM VERSION LIMIT 2",
        RELEASE_COLUMNS.map(guarded_value).join(", ")
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
    let empty = RELEASE_COLUMNS
        .iter()
        .zip(values)
        .find(|(_, v)| v.is_empty());
    Ok(match empty {
        Some((column, _)) => Err(format!(
            "{column} in its table VERSION is empty, not text, or too long"
        )),
        None => Ok(release),
    })
}
