//! The formats of lists: detection by the first lines, and a streaming parser for each.
//!
//! Bottom-up:
//!
//! - [`plain`]: one hash per line; [`paths`]: one path per line.
//! - [`kind`]: the formats, and the options for reading a list.
//! - [`digest`], [`cell`]: the text of a hash, and the cell of a hash column.
//! - [`sums`], [`hashdeep`], [`clamav`], [`powershell`], [`certutil`]: output of tools.
//! - [`mix`]: hashes of several algorithms in one list.
//! - [`quoting`], [`types`], [`delimited`], [`headers`]: tables, the column that names
//!   algorithms, repeated headers.
//! - [`document`], [`json`]: JSON documents with arrays, and fields of JSON objects.
//! - [`layout`]: format and columns of one list, stored in checkpoints.
//! - [`base64_list`]: lists in base64.
//! - [`sniff`]: the first lines → a layout.
//! - [`first_hash`]: the first lines → an algorithm.
//! - [`foreign`]: files with hashes in other formats, for error messages.
//! - [`description`]: a layout → its description.
//! - [`row_parser`]: one parser type for all formats; [`rows`]: lines → rows.

pub(crate) mod base64_list;
pub(crate) mod cell;
pub(crate) mod certutil;
pub(crate) mod clamav;
pub(crate) mod delimited;
pub(crate) mod description;
pub(crate) mod digest;
pub(crate) mod document;
pub(crate) mod first_hash;
pub(crate) mod foreign;
pub(crate) mod hashdeep;
pub(crate) mod headers;
pub(crate) mod json;
pub(crate) mod kind;
pub(crate) mod layout;
pub(crate) mod mix;
pub(crate) mod paths;
pub(crate) mod plain;
pub(crate) mod powershell;
pub(crate) mod quoting;
pub(crate) mod row_parser;
pub(crate) mod rows;
pub(crate) mod sniff;
pub(crate) mod sums;
pub(crate) mod types;
