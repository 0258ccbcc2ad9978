//! Changes to the write capacity of a table around a run.
//!
//! A table can be raised for a run, and is restored afterwards, also by a later process.
//! Auto scaling may do either as well. Bottom-up:
//!
//! - [`auto_scaling`]: the scalable targets of a table
//! - [`keepalive`]: traffic without effect, so that auto scaling can scale in
//! - [`restore_note`]: the note on disk that says what to restore
//! - [`raise_plan`]: the parts of a table to raise, worked out and checked
//! - [`update_table`]: UpdateTable and RegisterScalableTarget, and the wait for their effect
//! - [`raise`]: raising a table, and restoring it

pub(crate) mod auto_scaling;
pub(crate) mod keepalive;
pub(crate) mod raise;
pub(crate) mod raise_plan;
pub(crate) mod restore_note;
pub(crate) mod update_table;
