//! The embedded S3: buckets are folders, objects are plain files.
//!
//! Its files, from the bottom up:
//!
//! * [`object`]: an object, its version and the record beside it;
//! * [`store_errors`]: errors of the store, as S3 clients see them;
//! * [`store`]: objects as files, and the records beside them;
//! * [`store_uploads`]: unfinished uploads in parts;
//! * [`listing`]: a bucket, page by page, in the order of the keys;
//! * [`conditions`]: conditional requests and byte ranges;
//! * [`chunked`]: the `aws-chunked` encoding of uploads;
//! * [`integrity`]: checksums of uploads;
//! * [`operations`]: what the S3 operations stand on;
//! * [`buckets`], [`object_reads`], [`object_writes`], [`list_objects`],
//!   [`multipart`]: the operations, by subject;
//! * [`api`]: the operations by their names in the protocol;
//! * [`service`]: the server.

pub mod api;
pub mod buckets;
pub mod chunked;
pub mod conditions;
pub mod integrity;
pub mod list_objects;
pub mod listing;
pub mod multipart;
pub mod object;
pub mod object_reads;
pub mod object_writes;
pub mod operations;
pub mod service;
pub mod store;
pub mod store_errors;
pub mod store_uploads;
