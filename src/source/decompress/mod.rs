//! Decompression: compressed chunks of a list → chunks of its text.
//!
//! The decoders block, so they run on a separate thread. Memory is limited to the
//! window of the format and one chunk on either side. Bottom-up:
//!
//! - [`codec`]: the compression of a list: the option, and detection
//! - [`feed`]: compressed chunks as a reader that counts
//! - [`output`]: chunks of text, and the faults that end them
//! - [`zip`]: one member of a ZIP archive
//! - [`decoder`]: the decoder of each format
//! - [`thread`]: the decompression thread

pub(crate) mod codec;
pub(crate) mod decoder;
pub(crate) mod feed;
pub(crate) mod output;
pub(crate) mod thread;
pub(crate) mod zip;
