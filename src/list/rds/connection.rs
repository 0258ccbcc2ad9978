//! The connection to an SQLite database that nobody is trusted to have made.

use crate::base::error::{Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Opens the file and switches off what it could do.
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
pub(super) fn refuse_unfinished(name: &str, path: &Path) -> Result<()> {
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

/// What SQLite says of a database that it cannot read (any further than `rows`).
pub(super) fn broken(name: &str, path: &Path, rows: Option<u64>, e: &rusqlite::Error) -> Error {
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
