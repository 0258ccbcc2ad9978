//! Sources: from the name of a list to its bytes, one chunk after another.
//!
//! A source is an object in S3, a file, or standard input. It is read once, as one
//! version, and an error names the byte where reading ended. Bottom-up:
//!
//! - [`location`]: the location of a list: an S3 object, a path, or `-`
//! - [`version`]: the version of an object or file, to detect changes
//! - [`program`]: a stream of hashes from a program that uses this library
//! - [`errors`]: errors of opening and reading lists
//! - [`s3`]: the body of an S3 object, and the check of a response's range
//! - [`open`]: opening a list
//! - [`reopen`]: reopening an unchanged list at a byte
//! - [`read`]: reading chunks, and resuming a broken body
//! - [`sources`]: lists, prefixes and manifests as named on the command line
//! - [`listing`]: the objects under a prefix
//! - [`work_dir`]: the folder of large temporary files
//! - [`decompress`]: compressed chunks → chunks of text

pub(crate) mod decompress;
pub(crate) mod errors;
pub(crate) mod listing;
pub(crate) mod location;
pub(crate) mod open;
pub(crate) mod program;
pub(crate) mod read;
pub(crate) mod reopen;
pub(crate) mod s3;
pub(crate) mod sources;
pub(crate) mod version;
pub(crate) mod work_dir;
