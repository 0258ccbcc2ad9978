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

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case};
use crate::base::record::Place;
use crate::list::external_sort::sorter::{Sorter, SorterOptions, disk_bytes};
use crate::list::rds::connection::{broken, connect, refuse_unfinished};
use crate::list::rds::schema::{Schema, guarded, quoted, schema};
use crate::list::rds::values::{Others, value};
use rusqlite::{Connection, InterruptHandle, Row};
use std::path::{Path, PathBuf};

/// A database that is open.
#[derive(Debug)]
pub(crate) struct Rds {
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
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), naming what it holds, when it is no RDS v3;
    /// [`ErrorKind::Read`](crate::base::error::ErrorKind::Read) when SQLite cannot read it.
    pub(crate) fn open(name: &str, path: &Path) -> Result<Rds> {
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
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// By which [`hashes`](Self::hashes) is ended from another thread.
    pub(crate) fn interrupt_handle(&self) -> InterruptHandle {
        self.connection.get_interrupt_handle()
    }

    /// Hands each hash of `algorithm` to `sink` once, as a line of hex digits, with
    /// the thousandths of the database that are read by then; until `sink` says no.
    ///
    /// # Errors
    /// [`ErrorKind::Read`](crate::base::error::ErrorKind::Read) when the database is damaged: what came before is sound.
    /// [`ErrorKind::Output`](crate::base::error::ErrorKind::Output) when there is no room to sort in the folder of `sorting`.
    pub(crate) fn hashes(
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
pub(crate) struct Part {
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

/// The query for the values of `column`, which are not loaded when they are of absurd
/// length, and how long each is.
fn select(table: &str, column: &str) -> String {
    let (table, value, column) = (quoted(table), guarded(column), quoted(column));
    format!("SELECT {value}, octet_length({column}) FROM {table}")
}

#[cfg(test)]
mod tests;
