//! TODO

pub mod decompress;
pub mod errors;
pub mod listing;
pub mod location;
pub mod open;
pub mod read;
pub mod reopen;
pub mod s3;
pub mod sources;
pub mod work_dir;
