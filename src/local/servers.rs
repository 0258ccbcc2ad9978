//! An S3 and a DynamoDB of one's own, on this machine.
//!
//! Trying a load for the first time should need no account, no network and no
//! bill. [`LocalServers`] starts two small servers on 127.0.0.1, which the rest
//! of the program then uses through the same AWS SDK clients, requests and
//! error handling as the real services: nothing is stubbed on the client side.
//!
//! Everything lives in one folder:
//!
//! | Path | What |
//! |---|---|
//! | `s3/BUCKET/KEY` | each bucket is a folder, each object a plain file in it; files may be dropped in, replaced and removed by hand |
//! | `s3-meta/` | what a plain file cannot hold: ETags, content types, checksums, unfinished uploads |
//! | `dynamodb.db` | the tables, a SQLite database |
//! | `lock` | held while a server runs; names the two addresses and the process |
//!
//! The trade-offs, plainly:
//!
//! * **Real enough to load against, no substitute for the service.** The tables
//!   report their provisioned capacity and each write reports what it consumed,
//!   but nothing is ever throttled or handed back, whatever the rate.
//! * **SQLite on disk, never in memory.** The engine gets slower with every item
//!   it holds in memory, and stays level on a file; and a table that is still
//!   there tomorrow is worth more than a little speed. Writes survive a crash of
//!   the program; the last few may be lost if the machine loses power.
//! * **No security.** Any credentials are accepted, and signatures are not
//!   checked. Only programs on this machine can connect, and no web pages.
//! * **One process at a time.** SQLite and the files would stand two, the ETags
//!   and the unfinished uploads would not, so a lock keeps the second one out and
//!   tells it where the first one listens.
//!
//! SQLite calls block the thread they run on, and the two servers should not
//! hold up the program that started them, nor each other. So each has a thread
//! and a tokio runtime of its own, and [`LocalServers::start`] and
//! [`LocalServers::stop`] are plain blocking functions that may be called from
//! anywhere, from inside another runtime too.

#[cfg(test)]
pub(super) mod tests;

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// The access key the client side signs with. It is no secret: the servers
/// accept any credentials, but an SDK client does not send a request without.
pub const ACCESS_KEY_ID: &str = "local";

/// Goes with [`ACCESS_KEY_ID`], and is no secret either.
pub const SECRET_ACCESS_KEY: &str = "local-is-no-secret";

/// The region the client side signs for; the servers answer for any.
pub const REGION: &str = "us-east-1";

/// How long requests that are still running get once a stop is asked for.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long a stopped runtime waits for a thread that is stuck in a system call.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// How long [`LocalServers::stop`] waits in all, for both servers together.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Where the servers keep their data and which ports they listen on.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The folder that holds everything; created when it is missing.
    pub dir: PathBuf,
    /// Port of the S3 server, 0 for any free one.
    pub s3_port: u16,
    /// Port of the DynamoDB server, 0 for any free one.
    pub dynamodb_port: u16,
}

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

/// The two servers, running until stopped or dropped.
#[derive(Debug)]
pub struct LocalServers {
    dir: PathBuf,
    s3: Server,
    dynamodb: Server,
    // Declared last: the lock is given back after the servers are gone.
    lock: LockFile,
}

impl LocalServers {
    /// Starts both servers and returns once both are listening.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used or is served by another process, when a
    /// port is taken, or when the database file cannot be opened. Nothing is left
    /// running then.
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

        let front = crate::local::s3::service::Front::open(&dir)?;
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

    /// The folder that holds everything, as an absolute path.
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
        // Both at once, then wait for both.
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

/// The locked file in the folder. The system gives the lock back when the file
/// is closed, also when the process dies.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    fn acquire(dir: &Path) -> Result<LockFile, LocalError> {
        let path = dir.join("lock");
        let failed = |source| LocalError::Lock {
            path: path.clone(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // A process that died left its addresses behind.
                file.set_len(0).map_err(failed)?;
                let mut lock = LockFile { path, file };
                lock.write("", "")?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                // Not readable on Windows while it is locked: then without addresses.
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                Err(LocalError::InUse {
                    dir: dir.to_owned(),
                    endpoints: read.ok().and_then(|_| parse_endpoints(&text)),
                    holder: text.lines().nth(2).map(str::to_owned),
                })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Writes down the addresses and this process. A later text is never shorter.
    fn write(&mut self, s3: &str, dynamodb: &str) -> Result<(), LocalError> {
        let (process, now) = (std::process::id(), jiff::Timestamp::now());
        self.file
            .rewind()
            .and_then(|()| {
                self.file.write_all(
                    format!("{s3}\n{dynamodb}\nprocess {process} since {now:.0}\n").as_bytes(),
                )
            })
            .map_err(|source| LocalError::Lock {
                path: self.path.clone(),
                source,
            })
    }

    fn clear(&mut self) {
        // Nobody reads the addresses of a file that is not locked; this only
        // spares a person who opens it the doubt.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(path = %self.path.display(), %error, "cannot empty the lock file");
        }
    }
}

fn parse_endpoints(text: &str) -> Option<(String, String)> {
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(s3), Some(dynamodb)) if !s3.is_empty() && !dynamodb.is_empty() => {
            Some((s3.to_owned(), dynamodb.to_owned()))
        }
        _ => None,
    }
}

/// One server on its own thread and runtime.
#[derive(Debug)]
struct Server {
    name: &'static str,
    endpoint: String,
    stop: CancellationToken,
    /// Its sender goes away when the thread ends.
    ended: mpsc::Receiver<()>,
    waited: bool,
}

impl Server {
    /// Starts a thread that opens the port and then runs `serve` until its token
    /// is cancelled. Returns when the port is open.
    fn spawn<S, F>(
        name: &'static str,
        port: u16,
        flag: &'static str,
        serve: S,
    ) -> Result<Server, LocalError>
    where
        S: FnOnce(TcpListener, CancellationToken) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let stop = CancellationToken::new();
        let (opened, address) = mpsc::sync_channel(1);
        let (alive, ended) = mpsc::sync_channel::<()>(1);
        let token = stop.clone();
        let failed = move |source| LocalError::Thread {
            server: name,
            source,
        };
        let body = move || {
            let _alive = alive;
            let runtime = match build_runtime(name) {
                Ok(runtime) => runtime,
                Err(source) => {
                    let _ = opened.send(Err(failed(source)));
                    return;
                }
            };
            runtime.block_on(async {
                match listen(port) {
                    Ok((listener, address)) => {
                        // Nobody left to hear it: not worth serving.
                        if opened.send(Ok(address)).is_ok() {
                            serve(listener, token).await;
                        }
                    }
                    Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                        let _ = opened.send(Err(LocalError::PortInUse { port, flag }));
                    }
                    Err(source) => {
                        let _ = opened.send(Err(LocalError::Listen { port, flag, source }));
                    }
                }
            });
            runtime.shutdown_timeout(RUNTIME_SHUTDOWN);
        };
        std::thread::Builder::new()
            .name(format!("local {name}"))
            .spawn(body)
            .map_err(failed)?;
        let address: SocketAddr = address
            .recv()
            .unwrap_or_else(|_| Err(failed(io::Error::other("its thread ended at once"))))?;
        Ok(Server {
            name,
            endpoint: format!("http://{address}"),
            stop,
            ended,
            waited: false,
        })
    }

    fn wait(&mut self, deadline: Instant) {
        if std::mem::replace(&mut self.waited, true) {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(left) {
            tracing::warn!(
                "the local {} server is slow to stop; left behind",
                self.name
            );
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also reached when the other server failed to start.
        self.stop.cancel();
        self.wait(Instant::now() + STOP_DEADLINE);
    }
}

fn build_runtime(name: &str) -> io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(format!("local {name} worker"))
        .enable_all()
        .build()
}

/// Opens a port on 127.0.0.1. The connections accepted from it inherit
/// TCP_NODELAY, which matters to the DynamoDB server: it sets none itself.
pub(super) fn listen(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    // A port of a server that was stopped a moment ago may be taken again. On
    // Windows the option means something else, and is not needed.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let listener = socket.listen(1024)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
