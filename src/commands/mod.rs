//! TODO

pub mod ingest;
pub mod item_options;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod lookup;
pub mod plan;
#[cfg(feature = "serve")]
pub mod serve;
pub mod verify;
