//! Embedded S3 and DynamoDB on this machine, started and stopped together.
//!
//! A first test of a load should need no account, no network and no
//! bill. [`LocalServers`] starts two small servers on 127.0.0.1. The rest
//! of the program uses them with the same AWS SDK clients, requests and
//! error handling as the real services: nothing is stubbed on the client side.
//!
//! Everything lives in one folder:
//!
//! | Path | Contents |
//! |---|---|
//! | `s3/BUCKET/KEY` | each bucket is a folder, each object a plain file in it; files may be dropped in, replaced and removed by hand |
//! | `s3-meta/` | what a plain file cannot hold: ETags, content types, checksums, unfinished uploads |
//! | `dynamodb.db` | the tables, a SQLite database |
//! | `lock` | held while a server runs; names the two addresses and the process |
//!
//! Trade-offs:
//!
//! * **Good enough to test a load, no substitute for the service.** The tables
//!   report their provisioned capacity and each write reports what it consumed,
//!   but no call is ever throttled and no item unprocessed, whatever the rate.
//! * **SQLite on disk, never in memory.** The engine gets slower with every item
//!   it holds in memory, but not on a file. Tables also survive a restart, which
//!   is worth more than a little speed. Writes survive a crash of
//!   the program; the last few may be lost if the machine loses power.
//! * **No security.** Any credentials are accepted, and signatures are not
//!   checked. Only programs on this machine can connect, and no web pages.
//! * **One process at a time.** SQLite and the files would allow two, the ETags
//!   and the unfinished uploads would not. So a lock stops the second process and
//!   tells it the endpoints of the first.
//!
//! SQLite calls block their thread, and the two servers should not
//! delay the program that started them, nor each other. So each has a separate
//! thread and tokio runtime, and [`LocalServers::start`] and
//! [`LocalServers::stop`] are plain blocking functions that may be called from
//! anywhere, from inside another runtime too.

#[cfg(test)]
pub(super) mod tests;

use crate::local::error::LocalError;
use crate::local::lock::LockFile;
use crate::local::server::{STOP_DEADLINE, Server};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Data folder and ports of the servers.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Data folder; created if it is missing.
    pub dir: PathBuf,
    /// Port of the S3 server; 0 for any free port.
    pub s3_port: u16,
    /// Port of the DynamoDB server; 0 for any free port.
    pub dynamodb_port: u16,
}

/// The two running servers; stopped by [`LocalServers::stop`] or on drop.
#[derive(Debug)]
pub struct LocalServers {
    dir: PathBuf,
    s3: Server,
    dynamodb: Server,
    // Declared last, so that the lock is released after the servers are dropped.
    lock: LockFile,
}

impl LocalServers {
    /// Starts both servers and returns once both are listening.
    ///
    /// # Errors
    ///
    /// [`LocalError`] if the folder cannot be used or another process serves it, if a
    /// port is in use, or if the database file cannot be opened. No server runs
    /// then.
    pub fn start(options: LocalOptions) -> Result<LocalServers, LocalError> {
        let LocalOptions {
            dir,
            s3_port,
            dynamodb_port,
        } = options;
        // Absolute, so that a later change of the working directory is no matter
        // and no path looks like a SQLite URI.
        let dir = std::path::absolute(&dir).map_err(|source| LocalError::Folder {
            path: dir.clone(),
            source,
        })?;
        create_folder(&dir)?;
        let mut lock = LockFile::acquire(&dir)?;

        let front = crate::local::s3::service::EmbeddedS3::open(&dir)?;
        let database = crate::local::dynamodb::open(&dir)?;
        let s3 = Server::spawn("S3", s3_port, "--s3-port", move |listener, stop| {
            crate::local::s3::service::serve(listener, front, stop)
        })?;
        let dynamodb = Server::spawn(
            "DynamoDB",
            dynamodb_port,
            "--dynamodb-port",
            move |listener, stop| crate::local::dynamodb::serve(listener, database, stop),
        )?;
        lock.write(&s3.endpoint, &dynamodb.endpoint)?;
        tracing::debug!(s3 = s3.endpoint, dynamodb = dynamodb.endpoint, "listening");
        Ok(LocalServers {
            dir,
            s3,
            dynamodb,
            lock,
        })
    }

    /// Address of the S3 server, such as `http://127.0.0.1:9000`. Buckets are
    /// addressed by path, so clients need path-style addressing.
    pub fn s3_endpoint(&self) -> &str {
        &self.s3.endpoint
    }

    /// Address of the DynamoDB server, such as `http://127.0.0.1:8000`.
    pub fn dynamodb_endpoint(&self) -> &str {
        &self.dynamodb.endpoint
    }

    /// Data folder, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Stops both servers: no new connections, a moment for running requests,
    /// then the data files are closed and the folder is free for another process.
    /// Dropping the value does the same. Returns within five seconds.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for LocalServers {
    fn drop(&mut self) {
        // Cancels both before it waits, so that they stop in parallel.
        self.s3.stop.cancel();
        self.dynamodb.stop.cancel();
        let deadline = Instant::now() + STOP_DEADLINE;
        self.s3.wait(deadline);
        self.dynamodb.wait(deadline);
        self.lock.clear();
    }
}

fn create_folder(path: &Path) -> Result<(), LocalError> {
    std::fs::create_dir_all(path).map_err(|source| LocalError::Folder {
        path: path.to_owned(),
        source,
    })
}
