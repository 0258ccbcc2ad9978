//! Decompression: compressed chunks of a list → chunks of its text.
//!
//! The decoders block, so they run on a thread. Memory is bounded by the window of the
//! format, and by one chunk on either side. Bottom-up:
//!
//! - [`codec`]: the compression of a list: as told, or by its first bytes
//! - [`feed`]: compressed chunks as a reader that counts
//! - [`output`]: chunks of text, and the faults that end them
//! - [`zip`]: one member of a ZIP archive
//! - [`decoder`]: the decoder of each format
//! - [`thread`]: the thread that decodes beside the run

pub(crate) mod codec;
pub(crate) mod decoder;
pub(crate) mod feed;
pub(crate) mod output;
pub(crate) mod thread;
pub(crate) mod zip;
