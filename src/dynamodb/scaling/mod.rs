//! TODO

pub mod auto_scaling;
pub mod keepalive;
pub mod raise;
pub mod raise_plan;
pub mod restore_note;
pub mod update_table;
