//! TODO

pub mod attribute;
pub mod attribute_from;
pub mod batch_get;
pub mod batch_write;
pub mod client;
pub mod column_attributes;
pub mod create_table;
pub mod delete_item;
pub mod describe_table;
pub mod item;
pub mod key_schema;
pub mod prices;
pub mod scaling;
pub mod table;
