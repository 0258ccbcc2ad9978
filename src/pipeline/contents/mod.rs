//! Inspection of a table's items before the first write or look-up.
//!
//! From the bottom up:
//!
//! - `settings`: settings of the keys, given and detected;
//! - `items`: facts from the inspected items;
//! - `case_detection`: look-ups in both cases;
//! - `inspection`: result of an inspection, and the settings derived from it;
//! - `scan`: the Scan of a few items;
//! - `rules`: rules of a table of paths.

pub(crate) mod case_detection;
pub(crate) mod inspection;
pub(crate) mod items;
pub(crate) mod rules;
pub(crate) mod scan;
pub(crate) mod settings;
