//! Connections, and what is asked of them: that they do not last without anything
//! happening, that they are not too many, and that they end in order.
//!
//! HTTP/1.1 and HTTP/2 with prior knowledge, without TLS: what the network must not see
//! belongs behind something that has a certificate.

use crate::base::error::{Error, Result};
use crate::base::shutdown::Stop;
use crate::commands::serve::app::App;
use crate::commands::serve::request::{BODY_LIMIT, Peer};
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

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// How long a head may take to come, the idle time before it included.
const HEAD_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may be without a byte in either direction, at least.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How much longer than a request may take.
const IDLE_MARGIN: Duration = Duration::from_secs(5);

/// How long a connection may be idle where a request may take `request_limit`: no answer
/// that is still to come is cut off.
fn idle_limit(request_limit: Duration) -> Duration {
    let request = request_limit
        .saturating_add(BODY_LIMIT)
        .saturating_add(IDLE_MARGIN);
    request.max(IDLE_LIMIT)
}

/// The first bytes, by which it is told which HTTP this is, come by [`HEAD_LIMIT`].
const FIRST_BYTES: usize = 24;

/// How long what is under way may take once the server is stopped.
const DRAIN: Duration = Duration::from_secs(10);

/// How long to wait before the next connection is accepted when one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often the file of API keys is looked at.
const KEYS_INTERVAL: Duration = Duration::from_secs(1);

/// Connections at once, unless that is said.
pub(crate) const MAX_CONNECTIONS: usize = 16_384;

/// Open files that are not connections of clients: those to AWS, and the usual ones.
const OTHER_FILES: usize = 256;

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 128;

/// Opens the door at `address`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when that is not possible.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::usage(format!("cannot listen at {address}"))
            .because(e)
            .hint("give another address or port: --listen 127.0.0.1:0 takes any free one")
    })
}

/// How many connections there can be, of the `wanted`: as many as files may be open,
/// once that limit is raised as far as this process may.
pub(crate) fn connections(wanted: usize) -> usize {
    let possible = open_files().map_or(wanted, |files| files.saturating_sub(OTHER_FILES).max(16));
    if possible < wanted {
        tracing::warn!(
            "{possible} connections at once instead of {wanted}: no more files may be open (ulimit -n)"
        );
    }
    possible.min(wanted)
}

/// How many files may be open, once that limit is raised; nothing when there is none.
#[cfg(unix)]
fn open_files() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(e) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!("the limit of open files stays as it is: {e}");
    }
    let now = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(now).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

/// Serves `app` at `listener` until `stop`, then finishes what is under way, for up to ten seconds.
///
/// # Errors
/// None as yet: what fails is one connection.
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
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .max_concurrent_streams(MAX_STREAMS);
    let builder = Arc::new(builder);
    let room = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let router = app.router();
    let idle = idle_limit(app.0.request_limit);
    let mut keys = Keys::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.requested() => break,
            anyway = keys.due() => {
                app.reread_keys(anyway);
                continue;
            }
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::debug!("a connection was not accepted: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small, and whoever waits for one waits for its last byte.
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
            let _open = Open::new(&app);
            let io = TokioIo::new(Guarded::new(stream, idle));
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
        () = stop.insisted() => tracing::warn!("stopped at once: requests may be without an answer"),
        () = tokio::time::sleep(DRAIN) => {
            tracing::warn!("some connections did not end within {} s", DRAIN.as_secs());
        }
    }
    Ok(())
}

/// A connection, once there is room for one.
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

/// Counts a connection as long as it is open.
struct Open<'a>(&'a App);

impl Open<'_> {
    fn new(app: &App) -> Open<'_> {
        app.0.metrics.update(|c| {
            c.connections += 1;
            c.connections_total += 1;
        });
        Open(app)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.0.metrics.update(|c| c.connections -= 1);
    }
}

/// When to look at the file of API keys.
struct Keys {
    tick: tokio::time::Interval,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Keys {
    fn new() -> Keys {
        let mut tick = tokio::time::interval(KEYS_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Keys {
            tick,
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    /// Waits until it is to be looked at; whether it is to be read in any case.
    async fn due(&mut self) -> bool {
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

/// A stream that fails when nothing has gone through it for too long.
struct Guarded<S> {
    stream: S,
    sleep: Pin<Box<Sleep>>,
    /// Bytes that were read, up to [`FIRST_BYTES`].
    read: usize,
    /// How long nothing may go through.
    idle: Duration,
}

impl<S> Guarded<S> {
    fn new(stream: S, idle: Duration) -> Self {
        Guarded {
            stream,
            sleep: Box::pin(tokio::time::sleep(HEAD_LIMIT)),
            read: 0,
            idle,
        }
    }

    /// Bytes have gone through.
    fn moved(&mut self) {
        if self.read >= FIRST_BYTES {
            self.sleep.as_mut().reset(Instant::now() + self.idle);
        }
    }

    /// Fails when it is over, else wakes then.
    fn check(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(io::Error::new(
            io::ErrorKind::TimedOut,
            "nothing came or went for too long",
        ))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
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
                    this.moved();
                }
                Poll::Ready(done)
            }
            Poll::Pending => this.check(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_write(cx, bytes) {
            Poll::Ready(done) => {
                this.moved();
                Poll::Ready(done)
            }
            Poll::Pending => this.check(cx).map(Err),
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
                this.moved();
                Poll::Ready(done)
            }
            Poll::Pending => this.check(cx).map(Err),
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
    async fn a_connection_that_says_nothing_ends_and_one_that_trickles_its_first_bytes_too() {
        for pause in [0, 3] {
            let (mut client, server) = duplex(64);
            let mut server = Guarded::new(server, IDLE_LIMIT);
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
    async fn one_that_is_used_lasts_and_then_a_minute_more() {
        let (mut client, server) = duplex(64);
        let mut server = Guarded::new(server, IDLE_LIMIT);
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
        let limit = |s| idle_limit(Duration::from_secs(s)).as_secs();
        assert_eq!((limit(1), limit(30), limit(45)), (60, 60, 60));
        assert_eq!((limit(46), limit(90)), (61, 105));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_take_its_answer_ends() {
        let (_client, server) = duplex(64);
        let mut server = Guarded::new(server, IDLE_LIMIT);
        server.read = FIRST_BYTES;
        let e = server
            .write_all(&[0; 1000])
            .await
            .expect_err("nobody reads");
        assert_eq!(e.kind(), io::ErrorKind::TimedOut);
    }
}
