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

pub(crate) mod either_case;
pub(crate) mod items;
pub(crate) mod look;
pub(crate) mod rules;
pub(crate) mod scan;
pub(crate) mod settings;
