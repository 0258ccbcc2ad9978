//! TODO

pub mod contents;
pub mod dedup;
pub mod diff;
pub mod fitting;
#[cfg(test)]
pub(crate) mod outage;
pub mod progress;
pub mod reader;
pub mod rejects;
pub mod report;
pub mod sample;
pub mod useful;
pub mod window;
pub mod writer;
