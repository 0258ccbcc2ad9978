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
//! * [`operations`]: common parts of the S3 operations;
//! * [`buckets`], [`object_reads`], [`object_writes`], [`list_objects`],
//!   [`multipart`]: the operations, by subject;
//! * [`api`]: the operations by their names in the protocol;
//! * [`service`]: the server.

pub(crate) mod api;
pub(crate) mod buckets;
pub(crate) mod chunked;
pub(crate) mod conditions;
pub(crate) mod integrity;
pub(crate) mod list_objects;
pub(crate) mod listing;
pub(crate) mod multipart;
pub(crate) mod object;
pub(crate) mod object_reads;
pub(crate) mod object_writes;
pub(crate) mod operations;
pub(crate) mod service;
pub(crate) mod store;
pub(crate) mod store_errors;
pub(crate) mod store_uploads;
