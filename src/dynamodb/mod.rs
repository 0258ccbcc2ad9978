//! DynamoDB: items, the requests that carry them, and the table itself.
//!
//! A run describes its table once. The keys and the attributes of all items make a template.
//! Each request is copied from the template as bytes. Items, bottom-up:
//!
//! - [`attribute`]: typed values of attributes
//! - [`attribute_from`]: attributes from columns, as named on the command line
//! - [`key_schema`]: keys of a table, and the check that items fit them
//! - [`item`]: the template of a run's items
//! - [`column_attributes`]: attribute values taken from the row of an item
//! - [`batch_write`]: BatchWriteItem: request and response
//! - [`delete_item`]: DeleteItem with a condition: request and response
//! - [`batch_get`]: BatchGetItem: request and response
//! - [`client`]: signed calls that carry these bytes
//!
//! The table, bottom-up:
//!
//! - [`table`]: keys, billing, indexes and replicas of a table
//! - [`create_table`][]: CreateTable
//! - [`describe_table`]: DescribeTable, and the assumptions if it is denied
//! - [`scaling`]: capacity changes: raise, restore, scale in
//! - [`prices`]: prices of DynamoDB

pub(crate) mod attribute;
pub(crate) mod attribute_from;
pub(crate) mod batch_get;
pub(crate) mod batch_write;
pub(crate) mod client;
pub(crate) mod column_attributes;
pub(crate) mod create_table;
pub(crate) mod delete_item;
pub(crate) mod describe_table;
pub(crate) mod item;
pub(crate) mod key_schema;
pub(crate) mod prices;
pub(crate) mod scaling;
pub(crate) mod table;
