//! TODO

pub mod given;
pub mod normalizer;
