//! TODO

pub mod capacity;
pub mod command_line;
#[cfg(feature = "local")]
pub mod demo;
pub mod environment;
pub mod flags;
pub mod ingest;
#[cfg(feature = "local")]
pub mod local;
pub mod logging;
pub mod lookup;
pub mod normalize;
pub mod plan;
pub mod progress;
pub mod refresh;
pub mod report_file;
#[cfg(feature = "serve")]
pub mod serve;
pub mod terminal;
pub mod verify;
