//! BatchGetItem: keys → a request, and the answer → items.
//!
//! An answer is read in one pass, in one of two ways: compared with what an item must
//! hold, or rendered as plain JSON. Bottom-up:
//!
//! - [`table_name`]: the table that an answer names
//! - [`value`]: an attribute's value, compared with the expected one
//! - [`ordered_json`]: JSON that is written the same way each time
//! - [`request`]: the keys of a request
//! - [`response`]: the parts that both readings of an answer share
//! - [`expected`]: items compared with their expected attributes
//! - [`plain_value`]: one value as plain JSON
//! - [`plain_json`]: whole items as plain JSON

pub(crate) mod expected;
pub(crate) mod ordered_json;
pub(crate) mod plain_json;
pub(crate) mod plain_value;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod table_name;
pub(crate) mod value;
