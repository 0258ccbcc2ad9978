//! End-to-end tests: the real binary, its scripts and its Lambda functions against fake
//! servers that fail on demand.
//!
//! One program holds all tests, with a module for each subject; `cargo test --test it
//! lookup::` runs one subject. The tests run concurrently in one process, so a test
//! must not change process-wide state. Environment, folder, signals and limits apply to
//! the processes that it starts. The limit of open files may be raised.

mod common;

// Commands.
mod capacity;
mod contents;
mod ingest;
mod lookup;
mod lookup_api;
mod normalize;
mod plan;
mod verify;

// The library.
mod library;

// Lists and sources.
#[cfg(unix)]
mod compression;
#[cfg(unix)]
mod formats;
#[cfg(unix)]
mod objects;
#[cfg(unix)]
mod paths;
#[cfg(all(unix, feature = "rds"))]
mod rds;
#[cfg(unix)]
mod refresh;
mod source;

// Failures of a run, and its files.
mod credentials;
#[cfg(unix)]
mod hostile;
#[cfg(unix)]
mod raise;
#[cfg(unix)]
mod resume;
mod secrets;

// Servers and distribution.
#[cfg(unix)]
mod ci;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "local")]
mod local;
#[cfg(all(unix, feature = "serve"))]
mod serve;

// The commands in the guides.
#[cfg(all(unix, feature = "local", feature = "rds", feature = "serve"))]
mod guide;

// The fake servers.
mod fakes;
