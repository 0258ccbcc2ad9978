//! TODO

pub mod codec;
pub mod decoder;
pub mod feed;
pub mod output;
pub mod thread;
pub mod zip;
