//! Groups of flags that several commands share.
//!
//! Top-down:
//!
//! - `run`: flags of every run that writes
//! - `input`: format, compression and rejected lines of the lists
//! - `speed`: rate, calls in flight, time without a success
//! - `item`: key, case and attributes of an item
//! - `format`: format of the list
//! - `paths`: rules for paths
//! - `compression`: compression of a source
//! - `sources`: the sources and manifests to read

pub(crate) mod compression;
pub(crate) mod format;
pub(crate) mod input;
pub(crate) mod item;
pub(crate) mod paths;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod speed;
