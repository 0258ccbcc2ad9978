//! The embedded S3: buckets are folders, objects are plain files.
//!
//! Its files, from the bottom up:
//!
//! * [`store`]: objects as files, and the records beside them;
//! * [`listing`]: a bucket, page by page, in the order of the keys;
//! * [`conditions`]: conditional requests and byte ranges;
//! * [`chunked`]: the `aws-chunked` encoding of uploads;
//! * [`integrity`]: checksums of uploads;
//! * [`api`]: the S3 operations;
//! * [`service`]: the server.

pub(crate) mod api;
pub(crate) mod chunked;
pub(crate) mod conditions;
pub(crate) mod integrity;
pub(crate) mod listing;
pub(crate) mod service;
pub(crate) mod store;
