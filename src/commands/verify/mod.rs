//! TODO

pub mod builder;
pub mod checker;
pub mod counts;
pub mod options;
pub mod order;
pub mod report;
