//! BatchGetItem: keys → request, and response → items.
//!
//! A response is parsed once. Its items are either compared with expected attributes,
//! or rendered as plain JSON. Bottom-up:
//!
//! - [`table_name`]: the table that a response names
//! - [`value`]: an attribute's value, compared with the expected one
//! - [`ordered_json`]: JSON in one form only
//! - [`request`]: the keys of a request
//! - [`response`]: the parsed response: items, unprocessed keys, consumed capacity
//! - [`expected`]: items compared with their expected attributes
//! - [`plain_value`]: one value as plain JSON
//! - [`plain_json`]: whole items as plain JSON
//! - [`read_error`]: the error of a run that cannot read its table

pub(crate) mod expected;
pub(crate) mod ordered_json;
pub(crate) mod plain_json;
pub(crate) mod plain_value;
pub(crate) mod read_error;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod table_name;
pub(crate) mod value;
