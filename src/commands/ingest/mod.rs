//! TODO

pub mod builder;
pub mod checkpointing;
pub mod options;
pub mod ordered;
#[cfg(test)]
mod scenarios;
