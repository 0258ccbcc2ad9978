//! Connections of the server: their timeouts, their maximum number, and the shutdown.
//!
//! HTTP/1.1, and HTTP/2 with prior knowledge, both without TLS. A proxy with TLS must be in
//! front of a server on an untrusted network.

use crate::base::error::{Error, Result};
use crate::base::shutdown::Stop;
use crate::commands::serve::app::App;
use crate::commands::serve::request::{BODY_TIMEOUT, Peer};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tower_service::Service as _;

/// Maximum size of a request head: 16 KiB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Timeout for receiving a head, including the idle time before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum idle timeout of a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Difference between the idle timeout and the maximum time of a request.
const IDLE_MARGIN: Duration = Duration::from_secs(5);

/// Idle timeout for requests of up to `request_limit`, long enough not to cut off a
/// pending response.
fn idle_timeout(request_limit: Duration) -> Duration {
    let request = request_limit
        .saturating_add(BODY_TIMEOUT)
        .saturating_add(IDLE_MARGIN);
    request.max(IDLE_TIMEOUT)
}

/// Bytes needed to detect the HTTP version, which must arrive within [`HEAD_TIMEOUT`].
const FIRST_BYTES: usize = 24;

/// Maximum time for requests in flight after a shutdown request.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time between two checks of the file of API keys.
const KEY_RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// Default maximum number of open connections.
pub(crate) const MAX_CONNECTIONS: usize = 16_384;

/// Open files reserved for purposes other than client connections, such as calls to AWS.
const RESERVED_FILES: usize = 256;

/// Maximum number of concurrent requests on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// Listens on `address`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the address cannot be used.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::usage(format!("cannot listen at {address}"))
            .with_source(e)
            .with_hint("give another address or port; --listen 127.0.0.1:0 uses any free port")
    })
}

/// Raises the limit of open files and returns the possible number of connections, at most
/// `wanted`.
pub(crate) fn connection_limit(wanted: usize) -> usize {
    let possible = raise_open_file_limit()
        .map_or(wanted, |files| files.saturating_sub(RESERVED_FILES).max(16));
    if possible < wanted {
        tracing::warn!(
            "at most {possible} connections instead of {wanted}, because of the limit of open files (ulimit -n)"
        );
    }
    possible.min(wanted)
}

/// Raises the limit of open files to its maximum and returns it; `None` if there is no limit.
#[cfg(unix)]
fn raise_open_file_limit() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(e) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!("cannot raise the limit of open files: {e}");
    }
    let now = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(now).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn raise_open_file_limit() -> Option<usize> {
    None
}

/// Serves `app` on `listener` until `stop`, then finishes requests in flight for up to ten seconds.
///
/// # Errors
/// None at present: a failure affects only its connection.
pub(crate) async fn serve(
    app: &App,
    listener: TcpListener,
    max_connections: usize,
    stop: &Stop,
) -> Result<()> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .max_concurrent_streams(MAX_STREAMS);
    let builder = Arc::new(builder);
    let room = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let router = app.router();
    let idle = idle_timeout(app.0.request_timeout);
    let mut keys = KeyReloads::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.requested() => break,
            anyway = keys.next() => {
                app.reload_keys(anyway);
                continue;
            }
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::debug!("cannot accept a connection: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Responses are small, so delaying the last packet would only add latency.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let mut router = router.clone();
            async move { router.call(request).await }
        });
        let (builder, watcher, app) = (builder.clone(), graceful.watcher(), app.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let _open = ConnectionGuard::new(&app);
            let io = TokioIo::new(TimedStream::new(stream, idle));
            let connection = builder.serve_connection(io, service).into_owned();
            if let Err(e) = watcher.watch(connection).await {
                tracing::debug!(peer = %peer.ip(), "a connection ended early: {e}");
            }
        });
    }
    drop(listener);
    tokio::select! {
        biased;
        () = graceful.shutdown() => {}
        () = stop.forced() => tracing::warn!("stopped now: some requests may have no response"),
        () = tokio::time::sleep(DRAIN_TIMEOUT) => {
            tracing::warn!("some connections did not end within {} s", DRAIN_TIMEOUT.as_secs());
        }
    }
    Ok(())
}

/// Accepts a connection once their number is below the maximum.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room
        .clone()
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

/// Counts a connection while it is open.
struct ConnectionGuard<'a>(&'a App);

impl ConnectionGuard<'_> {
    fn new(app: &App) -> ConnectionGuard<'_> {
        app.0.metrics.update(|c| {
            c.connections += 1;
            c.connections_total += 1;
        });
        ConnectionGuard(app)
    }
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.0.0.metrics.update(|c| c.connections -= 1);
    }
}

/// Triggers for checking the file of API keys: a timer and SIGHUP.
struct KeyReloads {
    tick: tokio::time::Interval,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl KeyReloads {
    fn new() -> KeyReloads {
        let mut tick = tokio::time::interval(KEY_RELOAD_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        KeyReloads {
            tick,
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    /// Waits for the next check. Returns true if the file must be reloaded even if unchanged.
    async fn next(&mut self) -> bool {
        #[cfg(unix)]
        if let Some(hangup) = &mut self.hangup {
            return tokio::select! {
                Some(()) = hangup.recv() => true,
                _ = self.tick.tick() => false,
            };
        }
        self.tick.tick().await;
        false
    }
}

/// A stream with an idle timeout.
struct TimedStream<S> {
    stream: S,
    sleep: Pin<Box<Sleep>>,
    /// Bytes that were read, up to [`FIRST_BYTES`].
    read: usize,
    idle: Duration,
}

impl<S> TimedStream<S> {
    fn new(stream: S, idle: Duration) -> Self {
        TimedStream {
            stream,
            sleep: Box::pin(tokio::time::sleep(HEAD_TIMEOUT)),
            read: 0,
            idle,
        }
    }

    /// Restarts the idle timeout after a transfer.
    fn record_activity(&mut self) {
        if self.read >= FIRST_BYTES {
            self.sleep.as_mut().reset(Instant::now() + self.idle);
        }
    }

    /// Returns an error once the timeout is over, else schedules a wake-up.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            "the connection was idle for too long",
        ))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(done) => {
                let more = buffer.filled().len() - before;
                this.read = this.read.saturating_add(more);
                if more > 0 {
                    this.record_activity();
                }
                Poll::Ready(done)
            }
            Poll::Pending => this.poll_timeout(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(done) => {
                this.record_activity();
                Poll::Ready(done)
            }
            Poll::Pending => this.poll_timeout(cx).map(Err),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write_vectored(cx, bytes) {
            Poll::Ready(done) => {
                this.record_activity();
                Poll::Ready(done)
            }
            Poll::Pending => this.poll_timeout(cx).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_and_one_that_trickles_its_first_bytes_time_out() {
        for pause in [0, 3] {
            let (mut client, server) = duplex(64);
            let mut server = TimedStream::new(server, IDLE_TIMEOUT);
            let begun = Instant::now();
            tokio::spawn(async move {
                if pause > 0 {
                    while client.write_all(b"P").await.is_ok() {
                        tokio::time::sleep(Duration::from_secs(pause)).await;
                    }
                }
                std::future::pending::<()>().await;
            });
            let mut all = Vec::new();
            let e = server.read_to_end(&mut all).await.expect_err("too slow");
            assert_eq!(e.kind(), io::ErrorKind::TimedOut);
            assert_eq!(begun.elapsed().as_secs(), 10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_connection_ends_a_minute_after_its_last_transfer() {
        let (mut client, server) = duplex(64);
        let mut server = TimedStream::new(server, IDLE_TIMEOUT);
        let begun = Instant::now();
        tokio::spawn(async move {
            for _ in 0..4 {
                client.write_all(&[b'x'; FIRST_BYTES]).await.expect("open");
                tokio::time::sleep(Duration::from_secs(50)).await;
            }
            std::future::pending::<()>().await;
        });
        let mut all = Vec::new();
        let e = server.read_to_end(&mut all).await.expect_err("idle");
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            (begun.elapsed().as_secs(), all.len()),
            (210, 4 * FIRST_BYTES)
        );
    }

    #[test]
    fn a_connection_lasts_longer_than_any_request() {
        let limit = |s| idle_timeout(Duration::from_secs(s)).as_secs();
        assert_eq!((limit(1), limit(30), limit(45)), (60, 60, 60));
        assert_eq!((limit(46), limit(90)), (61, 105));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_read_its_response_times_out() {
        let (_client, server) = duplex(64);
        let mut server = TimedStream::new(server, IDLE_TIMEOUT);
        server.read = FIRST_BYTES;
        let e = server
            .write_all(&[0; 1000])
            .await
            .expect_err("nobody reads");
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
    }
}
