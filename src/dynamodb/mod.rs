//! TODO

pub mod attribute;
pub mod attribute_from;
pub mod batch_get;
pub mod batch_write;
pub mod client;
pub mod column_attributes;
pub mod delete_item;
pub mod item;
pub mod prices;
pub mod scaling;
pub mod table;
