//! NIST's RDS v3: SQLite databases as lists of hashes.
//!
//! Bottom-up:
//!
//! - [`header`]: the first bytes of an SQLite file.
//! - [`connection`]: a database, opened without trust in it.
//! - [`schema`]: the table and columns that hold hashes, and the release.
//! - [`values`]: a value as a line, and values that are no hashes.
//! - [`database`]: each hash once, in order, by an index or by sorting.
//! - [`local_copy`]: a database on this machine, fetched whole or in part.
//! - [`text`]: a database as text, from a thread of its own.

pub(crate) mod connection;
pub(crate) mod database;
pub(crate) mod header;
pub(crate) mod local_copy;
pub(crate) mod schema;
pub(crate) mod text;
pub(crate) mod values;
