//! TODO

pub mod codec;
pub mod decoder;
pub mod feed;
pub mod thread;
pub mod zip;
