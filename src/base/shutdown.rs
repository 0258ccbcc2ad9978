//! Asking a run to stop: once politely, twice to be obeyed at once.

use tokio_util::sync::CancellationToken;

/// A handle that stops a run. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: CancellationToken,
    insisted: CancellationToken,
}

impl Stop {
    /// A handle that nobody has used yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// Asks the run to read no more and to let finish what is in flight. Asked
    /// again, it waits for nothing.
    pub fn request(&self) {
        if self.requested.is_cancelled() {
            self.insisted.cancel();
        }
        self.requested.cancel();
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits until it is asked.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Waits until it is asked again.
    pub async fn insisted(&self) {
        self.insisted.cancelled().await;
    }
}
