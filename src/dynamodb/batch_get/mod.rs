//! TODO

pub mod expected;
pub mod ordered_json;
pub mod plain_json;
pub mod table_name;
pub mod value;
