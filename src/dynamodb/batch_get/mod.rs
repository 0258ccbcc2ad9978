//! TODO

pub mod expected;
pub mod ordered_json;
pub mod plain_json;
pub mod plain_value;
pub mod request;
pub mod response;
pub mod table_name;
pub mod value;
