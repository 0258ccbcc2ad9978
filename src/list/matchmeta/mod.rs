//! MatchMeta: paths made comparable, so that a table of hashes answers for full paths.
//!
//! Bottom-up:
//!
//! - [`normalizer`]: the published rules, and the hash of a path by them.
//! - [`given`]: rules and users as a person gives them, in part.

pub(crate) mod given;
pub(crate) mod normalizer;
