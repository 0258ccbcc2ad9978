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
//! - `checkpoint_store`: its lock and its saves.

pub mod checkpoint;
pub mod checkpoint_place;
pub mod checkpoint_store;
pub mod counts;
pub mod run;
pub mod sources;
pub mod watermark;
