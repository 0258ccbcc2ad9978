//! Events of a run for the program that embeds it: start, progress, end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Default time between two [`Event::Progress`] events.
pub const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// Progress of a run, with the counters `C` of its command.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress<C> {
    /// Time since reading began.
    pub elapsed: Duration,
    /// Total bytes to read; `None` if the length of a source is unknown.
    pub bytes: Option<u64>,
    /// Current target rate, in WCU/s or RCU/s (calls/s for an API); `None` if there is no
    /// limit.
    pub units_per_s: Option<f64>,
    /// Counters so far.
    pub counts: C,
}

impl<C> Progress<C> {
    pub(crate) fn new(
        elapsed: Duration,
        bytes: Option<u64>,
        units_per_s: Option<f64>,
        counts: C,
    ) -> Progress<C> {
        Progress {
            elapsed,
            bytes,
            units_per_s,
            counts,
        }
    }
}

/// An event of a run. The first is `Started`, the last is `Ended`. A run that fails
/// before it starts has none.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<C> {
    /// The list is open, the table is described, the rate is known.
    Started(Progress<C>),
    /// Progress so far, once each interval.
    Progress(Progress<C>),
    /// Final counters. The report follows.
    Ended(Progress<C>),
}

/// Callback for the events of a run, and its interval.
#[derive(Clone)]
pub(crate) struct Events<C> {
    callback: Option<Arc<dyn Fn(Event<C>) + Send + Sync>>,
    interval: Duration,
}

impl<C> Default for Events<C> {
    fn default() -> Events<C> {
        Events {
            callback: None,
            interval: EVENT_INTERVAL,
        }
    }
}

impl<C> fmt::Debug for Events<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

impl<C> Events<C> {
    pub(crate) fn set_callback(&mut self, tell: impl Fn(Event<C>) + Send + Sync + 'static) {
        self.callback = Some(Arc::new(tell));
    }

    /// Sets the time between two events: at least 1 ms.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval.max(Duration::from_millis(1));
    }

    /// Drives `run` to its end and reports `progress` to the callback. `progress` returns
    /// `None` before the run has started.
    pub(crate) async fn drive<T>(
        &self,
        progress: impl Fn() -> Option<Progress<C>>,
        run: impl Future<Output = T>,
    ) -> T {
        let Some(tell) = &self.callback else {
            return run.await;
        };
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut run = std::pin::pin!(run);
        let mut started = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut run => break ended,
                _ = ticks.tick() => {}
            }
            if let Some(now) = progress() {
                tell(match started {
                    true => Event::Progress(now),
                    false => Event::Started(now),
                });
                started = true;
            }
        };
        if let Some(now) = progress() {
            if !started && let Some(first) = progress() {
                tell(Event::Started(first));
            }
            tell(Event::Ended(now));
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::Mutex;

    /// Events of a run that counts up every 400 ms and starts at the first count.
    async fn events(counts: u64) -> Vec<Event<u64>> {
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut events = Events::default();
        let into = received.clone();
        events.set_callback(move |event| into.lock().expect("a lock").push(event));
        let count = Cell::new(0);
        let run = async {
            for _ in 0..counts {
                tokio::time::sleep(Duration::from_millis(400)).await;
                count.set(count.get() + 1);
            }
        };
        let progress = || {
            let begun = count.get() > 0;
            begun.then(|| Progress::new(Duration::ZERO, None, None, count.get()))
        };
        events.drive(progress, run).await;
        let received = received.lock().expect("a lock");
        received.clone()
    }

    fn at(count: u64) -> Progress<u64> {
        Progress::new(Duration::ZERO, None, None, count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_reports_its_start_its_progress_each_second_and_its_end() {
        let expected = [
            Event::Started(at(2)),
            Event::Progress(at(5)),
            Event::Ended(at(6)),
        ];
        assert_eq!(events(6).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_run_reports_start_and_end_and_one_that_never_started_nothing() {
        assert_eq!(
            events(1).await,
            [Event::Started(at(1)), Event::Ended(at(1))]
        );
        assert_eq!(events(0).await, [], "it never started");
    }
}
