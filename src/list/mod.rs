//! Text → records: hash lists of many formats, as they come from a source.
//!
//! Bottom-up:
//!
//! - [`lines`]: chunks of bytes → lines.
//! - [`encoding`]: UTF-16, and lines that end in NULs.
//! - [`json_arrays`]: a JSON document → a line an element of its arrays.
//! - [`matchmeta`]: paths, made comparable and hashed.
//! - [`mod@format`]: the formats of lists, and the parser of their rows.
//! - [`shape`]: the look of rejected lines, for a message.
//! - [`detect`]: the first bytes of a text → format, algorithm, case; or a refusal.
//! - [`external_sort`]: more hashes than fit in memory, in order.
//! - `rds`: NIST's SQLite databases as lists.
//! - [`identity`]: a list, recognised by a later run.
//! - [`open`]: a list, opened and looked at.
//! - [`rewriting`]: its text → UTF-8 in lines.
//! - [`manifest`], [`objects`], [`prefetch`]: the next list: named in a file, found under a
//!   prefix, opened ahead.

pub mod algorithm;
pub mod detect;
pub mod encoding;
pub mod external_sort;
pub mod format;
pub mod identity;
pub mod json_arrays;
pub mod lines;
pub mod manifest;
pub mod matchmeta;
pub mod objects;
pub mod open;
pub mod opened;
pub mod prefetch;
#[cfg(feature = "rds")]
pub mod rds;
pub mod reopen;
pub mod rewrite;
pub mod rewriting;
pub mod shape;
pub mod zip_members;
