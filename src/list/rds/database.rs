//! NIST's RDS v3 databases → their distinct hashes, in order.
//!
//! The NSRL publishes its Reference Data Set as SQLite databases of two schemas:
//!
//! | | minimal | full |
//! |---|---|---|
//! | hashes | the table `FILE` | the table `METADATA`; `FILE` is a view |
//! | index | the primary key, which begins with `sha256` | no index on a hash |
//! | case | upper | both: the view folds them |
//!
//! Only tables are read, never views: views and triggers are programs of the database's
//! author, and are disabled ([`Rds::open`]).
//!
//! # Order and duplicates
//!
//! If an index has the order of the hashes, rows are read along it and equal neighbours are
//! dropped. That takes no extra memory or disk.
//!
//! Otherwise SQLite would sort complete rows on disk. The
//! [`sorter`](crate::list::external_sort::sorter) sorts raw hashes instead, in the folder for
//! temporary files. In the minimal schema's primary key the rows of one file are
//! adjacent. SHA-1 and MD5 are read in that order, so most duplicates are dropped before the
//! sort. The view `DISTINCT_HASH` does not help: SQLite would keep every hash returned.
//!
//! In both cases hashes come in order, so that a later run can resume. Values that are
//! not hashes come as separate lines, which the parser rejects.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::record::Position;
use crate::list::external_sort::sorter::{Sorter, SorterOptions, disk_bytes};
use crate::list::rds::connection::{check_finished, connect, read_error};
use crate::list::rds::schema::{Schema, guarded_value, quoted, read_schema};
use crate::list::rds::values::{InvalidValues, write_value};
use rusqlite::{Connection, InterruptHandle, Row};
use std::path::{Path, PathBuf};

/// An open database.
#[derive(Debug)]
pub(crate) struct Rds {
    name: String,
    connection: Connection,
    schema: Schema,
}

impl Rds {
    /// Opens the database at `path`, which is the source `name` or a copy of it. The file
    /// must not change while it is open.
    ///
    /// The database is not trusted: SQLite reads it without a journal, and views, triggers
    /// and functions in its schema do not run.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it is not an RDS v3
    /// database; the message lists its tables.
    /// [`ErrorKind::Read`](crate::base::error::ErrorKind::Read) if SQLite cannot read it.
    pub(crate) fn open(name: &str, path: &Path) -> Result<Rds> {
        check_finished(name, path)?;
        let connection = connect(path).map_err(|e| read_error(name, path, None, &e))?;
        let schema = read_schema(name, &connection, path)?;
        Ok(Rds {
            name: name.to_owned(),
            connection,
            schema,
        })
    }

    /// Returns the schema.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns a handle that ends [`for_each_hash`](Self::for_each_hash) from another thread.
    pub(crate) fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Passes each distinct hash of `algorithm` to `sink`, as a line of hexadecimal digits
    /// with the progress so far. Ends when `sink` returns false.
    ///
    /// # Errors
    /// [`ErrorKind::Read`](crate::base::error::ErrorKind::Read) if the database is damaged;
    /// the hashes before the damage are valid.
    /// [`ErrorKind::Output`](crate::base::error::ErrorKind::Output) if the folder of `sorting`
    /// has no space to sort.
    pub(crate) fn for_each_hash(
        &self,
        algorithm: Algorithm,
        sorting: SorterOptions,
        sink: &mut dyn FnMut(&[u8], Progress) -> bool,
    ) -> Result<()> {
        let column = self.schema.column(&self.name, algorithm)?;
        let table = self.schema.table;
        let (select, column) = (select_sql(table, column), quoted(column));
        let ordered = format!("{select} ORDER BY {column} COLLATE BINARY");
        if self.is_in_index_order(&ordered)? {
            return self.walk_index(algorithm, &ordered, sink);
        }
        let by_sha256 = self.schema.columns.iter().find_map(|(algorithm, column)| {
            let query = format!("{select} ORDER BY {} COLLATE BINARY", quoted(column));
            (*algorithm == Algorithm::Sha256).then_some(query)
        });
        let scan = match by_sha256 {
            Some(by_sha256) if self.is_in_index_order(&by_sha256)? => by_sha256,
            _ => select,
        };
        self.sort_rows(algorithm, &scan, sorting, sink)
    }

    /// Passes the rows of `sql`, which are in the order of the hashes, to `sink`.
    fn walk_index(
        &self,
        algorithm: Algorithm,
        sql: &str,
        sink: &mut dyn FnMut(&[u8], Progress) -> bool,
    ) -> Result<()> {
        let rows = self.max_rows();
        let mut line = Vec::with_capacity(256);
        let mut last = Vec::with_capacity(256);
        self.for_each_row(sql, |row, n| {
            write_value(algorithm, row, &mut line)?;
            if n > 1 && line == last {
                return Ok(true);
            }
            std::mem::swap(&mut line, &mut last);
            Ok(sink(
                &last,
                Progress {
                    rows_read: n,
                    total_rows: rows,
                },
            ))
        })?;
        Ok(())
    }

    /// Sorts the rows of `sql`, then passes them to `sink`.
    fn sort_rows(
        &self,
        algorithm: Algorithm,
        sql: &str,
        sorting: SorterOptions,
        sink: &mut dyn FnMut(&[u8], Progress) -> bool,
    ) -> Result<()> {
        let folder = sorting.folder.clone();
        let rows = self.max_rows().unwrap_or(0);
        // Doubled for the last merge.
        let disk = disk_bytes(algorithm, rows, 0).saturating_mul(2);
        tracing::info!(
            "{} has no index in the order of {algorithm}: sorting its rows first (at most {rows}), with at most \
             {disk} bytes in {}",
            self.name,
            folder.display()
        );
        let mut sorter = Sorter::new(algorithm, sorting);
        let mut others = InvalidValues::default();
        let mut line = Vec::with_capacity(256);
        let mut last = None;
        self.for_each_row(sql, |row, n| {
            let hash = write_value(algorithm, row, &mut line)?;
            if hash.is_some() && hash == last {
                return Ok(true);
            }
            let place = Position {
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
            n += 1 + entry.duplicates.len() as u64;
            line.clear();
            entry.hash.write_hex(Case::Upper, &mut line);
            line.push(b'\n');
            let part = Progress {
                rows_read: n,
                total_rows: Some(all),
            };
            if !sink(&line, part) {
                return Ok(());
            }
        }
        let part = Progress {
            rows_read: all,
            total_rows: Some(all),
        };
        others.read(|line| sink(line, part))
    }

    /// Passes each row of `sql` to `take`, with the number of rows so far. Ends when `take`
    /// returns false.
    fn for_each_row(
        &self,
        sql: &str,
        mut take: impl FnMut(&Row<'_>, u64) -> Result<bool, RowError>,
    ) -> Result<()> {
        let mut n = 0;
        let ended: Result<(), RowError> = (|| {
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
            Err(RowError::Own(e)) => Err(e),
            Err(RowError::Sqlite(e)) => Err(read_error(&self.name, &self.path(), Some(n), &e)),
        }
    }

    fn path(&self) -> PathBuf {
        self.connection
            .path()
            .map(PathBuf::from)
            .unwrap_or_default()
    }

    /// True if SQLite runs `sql` without sorting.
    fn is_in_index_order(&self, sql: &str) -> Result<bool> {
        let mut sorts = false;
        self.for_each_row(&format!("EXPLAIN QUERY PLAN {sql}"), |row, _| {
            let step: String = row.get(3)?;
            sorts |= step.contains("TEMP B-TREE");
            Ok(true)
        })?;
        Ok(!sorts)
    }

    /// Returns an upper limit of the table's rows. `None` if only counting would tell.
    fn max_rows(&self) -> Option<u64> {
        let sql = format!("SELECT max(rowid) FROM {}", quoted(self.schema.table));
        let last: Option<i64> = (self.connection)
            .query_row(&sql, [], |row| row.get(0))
            .ok()?;
        let last = u64::try_from(last?).ok()?;
        // The row number may be false, but each row takes the bytes of a hash.
        let row_bytes = self.schema.columns.iter().map(|(a, _)| a.bytes()).max();
        let length = std::fs::metadata(self.path()).ok()?.len();
        Some(last.min(length / row_bytes.unwrap_or(16).max(16) as u64))
    }
}

/// Progress of reading a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Rows read so far.
    pub rows_read: u64,
    /// Estimated total of rows. `None` if unknown.
    pub total_rows: Option<u64>,
}

/// Error while reading rows.
enum RowError {
    Sqlite(rusqlite::Error),
    Own(Error),
}

impl From<rusqlite::Error> for RowError {
    fn from(e: rusqlite::Error) -> RowError {
        RowError::Sqlite(e)
    }
}

impl From<Error> for RowError {
    fn from(e: Error) -> RowError {
        RowError::Own(e)
    }
}

/// Returns the query for the values of `column` and their lengths; values of absurd length
/// are not loaded.
fn select_sql(table: &str, column: &str) -> String {
    let (table, value, column) = (quoted(table), guarded_value(column), quoted(column));
    format!("SELECT {value}, octet_length({column}) FROM {table}")
}

#[cfg(test)]
mod tests;
