//! Progress of a run: line counts, watermark, checkpoint.
//!
//! From the bottom up:
//!
//! - `counts`: line counts, which put every line into exactly one category;
//! - `sources`: progress of each source;
//! - `watermark`: the position before which every line is accounted for;
//! - `run`: the identity of a run;
//! - `checkpoint_location`: location of a checkpoint, a local file or an S3 object;
//! - `checkpoint`: the state that a later run resumes;
//! - `checkpoint_store`: its lock and its saves;
//! - `events`: progress events for the program that embeds the run;
//! - `watch`: the handle to a running command.

pub(crate) mod checkpoint;
pub(crate) mod checkpoint_location;
pub(crate) mod checkpoint_store;
pub(crate) mod counts;
pub(crate) mod events;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod watch;
pub(crate) mod watermark;
