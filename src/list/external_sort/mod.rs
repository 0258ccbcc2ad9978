//! TODO

pub mod sorter;
