//! TODO

pub mod checkpoint;
pub mod checkpoint_place;
pub mod checkpoint_store;
pub mod counts;
pub mod sources;
pub mod watermark;
