//! The formats of lists: detection by the first lines, and a streaming parser of each.
//!
//! Bottom-up:
//!
//! - [`plain`]: a hash a line; [`paths`]: a path a line.
//! - [`kind`]: the formats, and the options by which a person chooses among them.
//! - [`digest`], [`cell`]: the text of a hash, and what stands in a column.
//! - [`sums`], [`hashdeep`], [`clamav`], [`powershell`], [`certutil`]: outputs of tools.
//! - [`mix`]: hashes of several algorithms in one list.
//! - [`quoting`], [`types`], [`delimited`], [`headers`]: tables, the column that names
//!   algorithms, headers that come again.
//! - [`document`], [`json`]: fields of JSON objects, and documents of arrays.
//! - [`layout`]: format and columns of one list, as a checkpoint keeps them.
//! - [`encoded`]: lists in base64.
//! - [`sniff`]: the first lines → a layout.
//! - [`first_hash`]: the first lines → an algorithm.
//! - [`foreign`]: files of hashes that are none of these, for a message.
//! - [`description`]: a layout in words.
//! - [`row_parser`]: the one entry to all parsers; [`rows`]: lines → rows that may span some.

pub(crate) mod cell;
pub(crate) mod certutil;
pub(crate) mod clamav;
pub(crate) mod delimited;
pub(crate) mod description;
pub(crate) mod digest;
pub(crate) mod document;
pub(crate) mod encoded;
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
