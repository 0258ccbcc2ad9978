//! TODO

pub mod either_case;
pub mod items;
pub mod look;
pub mod scan;
