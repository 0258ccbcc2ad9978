//! NIST's RDS v3: SQLite databases, read as lists of hashes.
//!
//! Bottom-up:
//!
//! - [`header`]: the first bytes of an SQLite file.
//! - [`connection`]: connection to an untrusted database.
//! - [`schema`]: the table and columns that hold hashes, and the release.
//! - [`values`]: a value → a line, and values that are not hashes.
//! - [`database`]: the distinct hashes in order, by an index or by sorting.
//! - [`local_copy`]: a local copy of a database, complete or partial.
//! - [`text`]: a database as text, read on a separate thread.

pub(crate) mod connection;
pub(crate) mod database;
pub(crate) mod header;
pub(crate) mod local_copy;
pub(crate) mod schema;
pub(crate) mod text;
pub(crate) mod values;
