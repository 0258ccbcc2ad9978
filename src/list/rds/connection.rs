//! Connection to an untrusted SQLite database.

use crate::base::error::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Opens the file read-only and disables everything in it that could run.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
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
    // 16 MiB; a negative value is in KiB. Reading along an index needs few pages at once.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Returns the file as an SQLite URI with `immutable`, so that SQLite neither locks it nor
/// creates files beside it.
fn uri(path: &Path) -> String {
    // The empty authority keeps a path that begins with `//` from being read as one.
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

/// Returns an error for a database with a journal or write-ahead log beside it: without
/// these its content would be wrong.
pub(super) fn check_finished(name: &str, path: &Path) -> Result<()> {
    for suffix in ["-wal", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        let bytes = std::fs::metadata(&beside).map_or(0, |m| m.len());
        if bytes > 0 {
            return Err(Error::usage(format!(
                "{name} is in use or was not closed: {} belongs to it",
                beside.display()
            ))
            .with_hint(format!(
                "close the program that uses it, then complete it with sqlite3: sqlite3 {} \
                 'PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE'",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Returns the error for a database that SQLite cannot read, after `rows` rows if given.
pub(super) fn read_error(name: &str, path: &Path, rows: Option<u64>, e: &rusqlite::Error) -> Error {
    let what = match rows {
        Some(rows) => format!("reading the database {name} ended after {rows} rows"),
        None => format!("the database {name} cannot be read"),
    };
    Error::new(ErrorKind::Read, what)
        .with_source(e.to_string())
        .with_hint(format!(
            "every line before it is accounted for; fetch the complete file again (NIST publishes a SHA-1 beside \
             each zip), then run this again; for details run sqlite3 {} 'PRAGMA quick_check'",
            path.display()
        ))
}
