//! hashferry as it is run: the real binary, its scripts and its Lambda functions,
//! against servers of the tests' own that misbehave on demand.
//!
//! One program holds all of them, and a module each subject; `cargo test --test it
//! lookup::` runs one subject. They share a process and run at once, so a test changes
//! nothing that belongs to the process. Environment, folder, signals and limits are
//! those of the processes it starts; only the limit of open files may be raised.

mod common;

// What the commands do.
mod capacity;
mod contents;
mod ingest;
mod lookup;
mod lookup_api;
mod normalize;
mod plan;
mod verify;

// What a program embeds.
mod library;

// What a list is and where it lies.
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

// What befalls a run, and what it leaves behind.
mod credentials;
#[cfg(unix)]
mod hostile;
#[cfg(unix)]
mod raise;
#[cfg(unix)]
mod resume;
mod secrets;

// What else is served and shipped.
#[cfg(unix)]
mod ci;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "local")]
mod local;
#[cfg(all(unix, feature = "serve"))]
mod serve;

// The tests' own servers.
mod fakes;
