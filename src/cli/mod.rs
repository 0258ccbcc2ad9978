//! The command line: parses flags and calls the library for each command.
//!
//! Top-down:
//!
//! - `command_line`: the commands and their flags, and the `main` of the binary
//! - `demo`, `refresh`, `ingest`, `verify`, `lookup`, `plan`, `capacity`, `normalize`,
//!   `serve`, `local`, `guide`: one file per command; `demo` and `refresh` reuse others
//! - `progress`: progress of a run, as a bar, as log lines or as JSON
//! - `logging`: log lines on stderr
//! - `exit_status`: the exit status of a run, given its report
//! - `context`: flags of every command, terminal, shutdown and connection
//! - `embedded_servers`: the servers of `--local`
//! - `signals`: SIGINT and SIGTERM as shutdown requests
//! - `report_file`: the file of `--report`
//! - `terminal`: output that is safe on a terminal
//! - `environment`: empty environment variables, treated as unset
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
pub(crate) mod guide;
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
