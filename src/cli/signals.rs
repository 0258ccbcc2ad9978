//! SIGINT and SIGTERM as requests to stop.

use crate::base::shutdown::Stop;

/// Turns SIGINT and SIGTERM into requests to stop, from now on.
pub(super) fn watch_signals(stop: Stop) {
    // Registered before anything is opened: one that comes early counts too.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            let what = "signals cannot be caught: interrupting ends the program at once";
            return tracing::warn!("{what} ({e})");
        }
    };
    tokio::spawn(async move {
        for count in 1.. {
            signals.next().await;
            match count {
                1 => tracing::warn!(
                    "stopping: what is in flight may finish; once more stops at once"
                ),
                2 => tracing::warn!("stopping at once"),
                // Whatever hangs, the person has the last word.
                _ => std::process::exit(4),
            }
            stop.request();
        }
    });
}

#[cfg(unix)]
pub(super) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
