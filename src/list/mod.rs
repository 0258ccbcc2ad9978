//! Text → records: hash lists of many formats, as they come from a source.
//!
//! Bottom-up:
//!
//! - [`lines`]: chunks of bytes → lines.
//! - [`encoding`]: UTF-16, and lines that end in NULs.
//! - [`json_arrays`]: a JSON document → a line an element of its arrays.
//! - [`matchmeta`]: paths, made comparable and hashed.
//! - [`mod@format`]: the formats of lists, and the parser of their rows.
//! - [`algorithm`]: the algorithm of a list: as told, as its table says, or as it shows.
//! - [`shape`]: the look of rejected lines, for a message.
//! - [`detect`]: the first bytes of a text → format, algorithm, case; or a refusal.
//! - [`external_sort`]: more hashes than fit in memory, in order.
//! - `rds`: NIST's SQLite databases as lists.
//! - [`identity`]: a list, recognised by a later run.
//! - [`opened`], [`rewrite`]: an open list, and its first bytes rewritten as lines.
//! - [`zip_members`]: the members of a ZIP archive.
//! - [`rewriting`]: the text of a list → UTF-8 in lines.
//! - [`open`], [`reopen`]: opening a list: from its beginning, or where an earlier run ended.
//! - [`manifest`], [`objects`], [`prefetch`]: the next list: named in a file, found under a
//!   prefix, opened ahead.

pub(crate) mod algorithm;
pub(crate) mod detect;
pub(crate) mod encoding;
pub(crate) mod external_sort;
pub(crate) mod format;
pub(crate) mod identity;
pub(crate) mod json_arrays;
pub(crate) mod lines;
pub(crate) mod manifest;
pub(crate) mod matchmeta;
pub(crate) mod objects;
pub(crate) mod open;
pub(crate) mod opened;
pub(crate) mod prefetch;
#[cfg(feature = "rds")]
pub(crate) mod rds;
pub(crate) mod reopen;
pub(crate) mod rewrite;
pub(crate) mod rewriting;
pub(crate) mod shape;
pub(crate) mod zip_members;
