//! Reasons for which the servers do not start.

use std::io;
use std::path::{Path, PathBuf};

/// Why the servers did not start.
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
        /// What the system said.
        source: io::Error,
    },
    /// SQLite takes its path as text.
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
        /// The S3 and the DynamoDB address of the other process, when it has
        /// written them down already.
        endpoints: Option<(String, String)>,
        /// The other process and its start, as it has written them down.
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
        /// What the system said.
        source: io::Error,
    },
    /// Another program listens on the port.
    #[error("port {port} on 127.0.0.1 is taken; give another with {flag}, or 0 for any free port")]
    PortInUse {
        /// The port asked for.
        port: u16,
        /// The option that sets it.
        flag: &'static str,
    },
    /// The port could not be opened for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; give another port with {flag}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// The option that sets it.
        flag: &'static str,
        /// What the system said.
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
        /// What the database engine said.
        message: String,
    },
    /// The system would not give a thread or a runtime.
    #[error("cannot start the {server} server: {source}; the system is short of threads or files")]
    Thread {
        /// Which of the two.
        server: &'static str,
        /// What the system said.
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
