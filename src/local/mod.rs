//! TODO

pub mod dynamodb;
pub mod front;
pub mod s3;
pub mod servers;
