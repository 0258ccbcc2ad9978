//! SIGINT and SIGTERM as shutdown requests.

use crate::base::shutdown::Stop;

/// Turns SIGINT and SIGTERM into shutdown requests. The first asks for a graceful stop, the
/// second forces it, the third exits the process.
pub(super) fn watch_signals(stop: Stop) {
    // Registered before anything is opened, so that an early signal counts too.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            let what = "cannot catch signals; interrupting ends the program at once";
            return tracing::warn!("{what} ({e})");
        }
    };
    tokio::spawn(async move {
        for count in 1.. {
            signals.next().await;
            match count {
                1 => tracing::warn!(
                    "stopping: finishing calls in flight; press Ctrl-C again to stop now"
                ),
                2 => tracing::warn!("stopping now"),
                // The user can end the process even if the shutdown hangs.
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
