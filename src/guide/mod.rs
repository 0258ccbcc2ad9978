//! Guides: chapters for who works on hashferry.
//!
//! - [`architecture`]: the way of the data, the folders, what always holds

pub mod architecture;
