//! Guides: one text each, printed by `hashferry guide` and a chapter here.
//!
//! - [`chapters`]: the guides, in reading order
//! - `page`: a guide as text for a terminal, and the search for a word

pub mod chapters;
pub(crate) mod page;
