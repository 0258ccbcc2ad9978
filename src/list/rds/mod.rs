//! TODO

pub mod connection;
pub mod database;
pub mod header;
pub mod local_copy;
pub mod schema;
pub mod text;
pub mod values;
