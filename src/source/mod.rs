//! Sources: from the name of a list to its bytes, one chunk after another.
//!
//! A source is an object in S3, a file, or standard input. It is read once, as one
//! version, and an error names the byte where it ended. Bottom-up:
//!
//! - [`location`]: the place of a list: an S3 object, a path, or `-`
//! - [`version`]: the version of an object or file, by which a change shows
//! - [`program`]: a stream of hashes that a program hands over
//! - [`errors`]: errors of a list that cannot be opened or read
//! - [`s3`]: the body of an S3 object, and the range of an answer
//! - [`open`]: opening a list
//! - [`reopen`]: opening a list again at a byte, if it is unchanged
//! - [`read`]: reading chunks, and resuming a body that breaks off
//! - [`sources`]: lists, prefixes and manifests as a person names them
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
