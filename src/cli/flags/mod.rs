//! Groups of flags that several commands share.
//!
//! Top-down:
//!
//! - `run`: flags of every run that writes
//! - `item`: key, case and attributes of an item
//! - `format`: format of the list
//! - `paths`: rules for paths
//! - `compression`: compression of a source
//! - `sources`: the sources and manifests to read

pub mod compression;
pub mod format;
pub mod item;
pub mod paths;
pub mod run;
pub mod sources;
