//! Text → records: hash lists of many formats, streamed from a source.
//!
//! Bottom-up:
//!
//! - [`lines`]: chunks of bytes → lines.
//! - [`encoding`]: UTF-16, and lines that end in NULs.
//! - [`json_arrays`]: a JSON document → one line per element of its arrays.
//! - [`matchmeta`]: paths, normalised and hashed.
//! - [`mod@format`]: the formats of lists, and the parser of their rows.
//! - [`algorithm`]: the algorithm of a list, from the options, its table or its first lines.
//! - [`shape`]: description of rejected lines, for messages.
//! - [`detect`]: the first bytes of a text → format, algorithm, case; or an error.
//! - [`external_sort`]: sorts more hashes than fit in memory.
//! - `rds`: NIST's SQLite databases as lists.
//! - [`identity`]: identity of a list, compared when a run resumes.
//! - [`open_list`], [`rewrite`]: an open list, and the conversion of its first bytes.
//! - [`zip_members`]: the members of a ZIP archive.
//! - [`rewrite_stage`]: the text of a list → UTF-8 lines.
//! - [`open`], [`reopen`]: opens a list from the start, or where an earlier run ended.
//! - [`manifest`], [`objects`], [`prefetch`]: the next list, named in a manifest, listed
//!   under a prefix, opened ahead.

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
pub(crate) mod open_list;
pub(crate) mod prefetch;
#[cfg(feature = "rds")]
pub(crate) mod rds;
pub(crate) mod reopen;
pub(crate) mod rewrite;
pub(crate) mod rewrite_stage;
pub(crate) mod shape;
pub(crate) mod zip_members;
