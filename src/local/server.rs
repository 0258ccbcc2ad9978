//! One server on a separate thread and runtime.

use crate::local::error::LocalError;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// Time that a stopped runtime waits for a thread that is stuck in a system call.
const RUNTIME_SHUTDOWN: Duration = Duration::from_secs(1);

/// Maximum time of [`LocalServers::stop`](crate::local::servers::LocalServers::stop), for both servers together.
pub(super) const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A running server with its thread and runtime.
#[derive(Debug)]
pub(super) struct Server {
    name: &'static str,
    pub(super) endpoint: String,
    pub(super) stop: CancellationToken,
    /// Disconnected when the thread ends.
    ended: mpsc::Receiver<()>,
    waited: bool,
}

impl Server {
    /// Starts a thread that opens the port and then runs `serve` until its token
    /// is cancelled. Returns when the port is open.
    pub(super) fn spawn<S, F>(
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
                        // The caller is gone, so there is no reason to serve.
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

    pub(super) fn wait(&mut self, deadline: Instant) {
        if std::mem::replace(&mut self.waited, true) {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(left) {
            tracing::warn!(
                "the local {} server is slow to stop; it keeps running in the background",
                self.name
            );
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Also runs when the other server failed to start.
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
    // Allows the port of a server that has just stopped. On
    // Windows the option has another meaning and is not needed.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let listener = socket.listen(1024)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
