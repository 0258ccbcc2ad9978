//! Start errors of the embedded servers.

use std::io;
use std::path::{Path, PathBuf};

/// Start error of the embedded servers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// A folder could not be created or read.
    #[error(
        "cannot use the folder {}: {source}; choose a folder you may write to",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The path is not valid UTF-8, which SQLite needs.
    #[error(
        "the path {} is not valid UTF-8, which SQLite needs; choose another folder",
        path.display()
    )]
    PathNotUtf8 {
        /// The folder.
        path: PathBuf,
    },
    /// Another process serves this folder.
    #[error("{}", in_use_message(dir, endpoints.as_ref(), holder.as_deref()))]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// S3 and DynamoDB endpoints of the other process; `None` if it has
        /// not written them yet.
        endpoints: Option<(String, String)>,
        /// Process id and start time of the other process, from the lock file.
        holder: Option<String>,
    },
    /// The lock file could not be opened, locked or written.
    #[error(
        "cannot lock {}: {source}; choose a folder on a local disk that you may write to",
        path.display()
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// Another program listens on the port.
    #[error("port {port} on 127.0.0.1 is taken; give another with {flag}, or 0 for any free port")]
    PortInUse {
        /// Requested port.
        port: u16,
        /// The option that sets it.
        flag: &'static str,
    },
    /// Opening the port failed for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; give another port with {flag}")]
    Listen {
        /// Requested port.
        port: u16,
        /// The option that sets it.
        flag: &'static str,
        /// Error of the system.
        source: io::Error,
    },
    /// The tables could not be opened.
    #[error(
        "cannot open the tables in {}: {message}; \
         move the file away to start with none, or choose another folder",
        path.display()
    )]
    Database {
        /// The SQLite file.
        path: PathBuf,
        /// Message of the database engine.
        message: String,
    },
    /// The system could not start a thread or a runtime.
    #[error("cannot start the {server} server: {source}; the system is short of threads or files")]
    Thread {
        /// Name of the server.
        server: &'static str,
        /// Error of the system.
        source: io::Error,
    },
}

fn in_use_message(
    dir: &Path,
    endpoints: Option<&(String, String)>,
    holder: Option<&str>,
) -> String {
    let who = holder.map(|h| format!(" ({h})")).unwrap_or_default();
    let dir = dir.display();
    match endpoints {
        Some((s3, dynamodb)) => format!(
            "another hashferry{who} serves {dir} at {s3} (S3) and {dynamodb} (DynamoDB): \
             use --endpoint-url or AWS_ENDPOINT_URL_S3={s3} AWS_ENDPOINT_URL_DYNAMODB={dynamodb}, \
             or choose another folder"
        ),
        None => format!(
            "another hashferry{who} serves {dir} and has not said where yet: \
             try again in a moment, or choose another folder"
        ),
    }
}
