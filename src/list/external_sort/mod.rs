//! TODO

pub mod merge;
pub mod run;
pub mod sorter;
