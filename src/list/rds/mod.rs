//! TODO

pub mod database;
pub mod local_copy;
pub mod text;
