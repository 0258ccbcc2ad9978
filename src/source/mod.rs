//! TODO

pub mod decompress;
pub mod listing;
pub mod open;
pub mod reopen;
pub mod sources;
pub mod version;
pub mod work_dir;
