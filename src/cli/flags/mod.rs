//! TODO

pub mod compression;
pub mod format;
pub mod item;
pub mod paths;
pub mod sources;
