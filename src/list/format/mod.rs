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

pub mod cell;
pub mod certutil;
pub mod clamav;
pub mod delimited;
pub mod description;
pub mod digest;
pub mod document;
pub mod encoded;
pub mod first_hash;
pub mod foreign;
pub mod hashdeep;
pub mod headers;
pub mod json;
pub mod kind;
pub mod layout;
pub mod mix;
pub mod paths;
pub mod plain;
pub mod powershell;
pub mod quoting;
pub mod row_parser;
pub mod rows;
pub mod sniff;
pub mod sums;
pub mod types;
