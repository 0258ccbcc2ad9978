//! MatchMeta: normalised paths, so that a table of hashes can look up full paths.
//!
//! Bottom-up:
//!
//! - [`normalizer`]: the published rules, and the hash of a normalised path.
//! - [`given`]: rules and users from the options.

pub(crate) mod given;
pub(crate) mod normalizer;
