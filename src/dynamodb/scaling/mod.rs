//! TODO

pub mod auto_scaling;
pub mod keepalive;
pub mod raise;
pub mod restore_note;
