//! The command line: flags as they are typed, and a call of the library for each command.
//!
//! Top-down:
//!
//! - `command_line`: the commands and their flags, and the `main` of the binary
//! - `demo`, `refresh`, `ingest`, `verify`, `lookup`, `plan`, `capacity`, `normalize`,
//!   `serve`, `local`: one file a command; `demo` and `refresh` stand on others of them
//! - `progress`: progress of a run, as a bar, as log lines or as JSON
//! - `logging`: log lines on stderr
//! - `exit_status`: the exit status of a run, given its report
//! - `context`: flags of every command, terminal, stop and connection
//! - `embedded_servers`: the servers of `--local`
//! - `signals`: SIGINT and SIGTERM as requests to stop
//! - `report_file`: the file of `--report`
//! - `terminal`: text that is safe on a terminal
//! - `environment`: variables that are set and empty
//! - `flags`: groups of flags that several commands share

pub mod capacity;
pub mod command_line;
pub mod context;
#[cfg(feature = "local")]
pub mod demo;
#[cfg(feature = "local")]
pub mod embedded_servers;
pub mod environment;
pub mod exit_status;
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
pub mod signals;
pub mod terminal;
pub mod verify;
