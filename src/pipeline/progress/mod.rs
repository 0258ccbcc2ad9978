//! The progress of a run: its books, its low-water mark, its checkpoint.
//!
//! From the bottom up:
//!
//! - `counts`: the books, in which every line is in exactly one column;
//! - `sources`: the account of each source;
//! - `watermark`: the mark below which every line is settled;
//! - `run`: the identity of a run;
//! - `checkpoint_place`: a local file, or an object in S3;
//! - `checkpoint`: the state that a later run resumes;
//! - `checkpoint_store`: its lock and its saves;
//! - `events`: the progress of a run, told to the program that embeds it.

pub(crate) mod checkpoint;
pub(crate) mod checkpoint_place;
pub(crate) mod checkpoint_store;
pub(crate) mod counts;
pub(crate) mod events;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod watermark;
