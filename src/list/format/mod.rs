//! TODO

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
