//! DynamoDB: items, the requests that carry them, and the table itself.
//!
//! A table is described once. Its keys and the attributes that items get make a template,
//! and each request is then copied together from it as bytes. Items, bottom-up:
//!
//! - [`attribute`]: typed values of attributes
//! - [`attribute_from`]: attributes from columns, as a person names them
//! - [`key_schema`]: keys of a table, and whether items fit them
//! - [`item`]: the template of a run's items
//! - [`column_attributes`]: the values that an item takes from its row
//! - [`batch_write`]: BatchWriteItem: request and answer
//! - [`delete_item`]: DeleteItem with a condition: request and answer
//! - [`batch_get`]: BatchGetItem: request and answer
//! - [`client`]: signed calls that carry these bytes
//!
//! The table, bottom-up:
//!
//! - [`table`]: keys, billing, indexes and replicas of a table
//! - [`create_table`][]: CreateTable
//! - [`describe_table`]: DescribeTable, and the table that is assumed where it is denied
//! - [`scaling`]: capacity that changes: raised, restored, scaled in
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
