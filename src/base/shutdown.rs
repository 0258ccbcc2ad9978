//! Requests to stop a run: the first is graceful, the second forces it.

use tokio_util::sync::CancellationToken;

/// A handle that stops a run. Cheap to clone; all clones share one state.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: CancellationToken,
    forced: CancellationToken,
}

impl Stop {
    /// Creates a handle without a request.
    pub fn new() -> Self {
        Stop::default()
    }

    /// Requests a graceful stop: the run reads no further and finishes the calls in
    /// flight. A second request forces the stop: the run waits for nothing.
    pub fn request(&self) {
        if self.requested.is_cancelled() {
            self.forced.cancel();
        }
        self.requested.cancel();
    }

    /// True if a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits for the first request.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Waits until the stop is forced.
    pub async fn forced(&self) {
        self.forced.cancelled().await;
    }
}
