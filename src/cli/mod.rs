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

pub(crate) mod capacity;
pub(crate) mod command_line;
pub(crate) mod context;
#[cfg(feature = "local")]
pub(crate) mod demo;
#[cfg(feature = "local")]
pub(crate) mod embedded_servers;
pub(crate) mod environment;
pub(crate) mod exit_status;
pub(crate) mod flags;
pub(crate) mod ingest;
#[cfg(feature = "local")]
pub(crate) mod local;
pub(crate) mod logging;
pub(crate) mod lookup;
pub(crate) mod normalize;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod refresh;
pub(crate) mod report_file;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod signals;
pub(crate) mod terminal;
pub(crate) mod verify;
