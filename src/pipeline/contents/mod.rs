//! The contents of a table, before the first write or question.
//!
//! From the bottom up:
//!
//! - `settings`: settings about the keys, as given and as found;
//! - `items`: the items of a look;
//! - `either_case`: questions in both cases;
//! - `look`: a look, and the settings taken from it;
//! - `scan`: the Scan of a few items;
//! - `rules`: the rules of a table of paths.

pub mod either_case;
pub mod items;
pub mod look;
pub mod rules;
pub mod scan;
pub mod settings;
