//! Events of a run, for a program that embeds it: when it starts, how far it is, its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Time between two [`Event::Progress`]es where nobody sets another.
pub const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// How far a run is, with counts of its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress<C> {
    /// Time since reading began.
    pub elapsed: Duration,
    /// Bytes to read in all; `None` if a source does not say its length.
    pub bytes: Option<u64>,
    /// Capacity units a second that the run aims at now (calls a second, of an API);
    /// `None` without a limit.
    pub units_per_s: Option<f64>,
    /// The counts so far.
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

/// An event of a run. The first one is `Started` and the last one `Ended`; a run that
/// cannot begin has none.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Event<C> {
    /// The list is open, the table has answered, the rate is known.
    Started(Progress<C>),
    /// So far. One each interval.
    Progress(Progress<C>),
    /// All counts. The report follows.
    Ended(Progress<C>),
}

/// The callback that receives the events of a run, and how often.
#[derive(Clone)]
pub(crate) struct Events<C> {
    tell: Option<Arc<dyn Fn(Event<C>) + Send + Sync>>,
    interval: Duration,
}

impl<C> Default for Events<C> {
    fn default() -> Events<C> {
        Events {
            tell: None,
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
    /// Sets the callback.
    pub(crate) fn tell(&mut self, tell: impl Fn(Event<C>) + Send + Sync + 'static) {
        self.tell = Some(Arc::new(tell));
    }

    /// Sets the time between two events; at least a millisecond.
    pub(crate) fn every(&mut self, interval: Duration) {
        self.interval = interval.max(Duration::from_millis(1));
    }

    /// Drives `run` to its end and tells of it what `progress` says: `None` before it has
    /// begun.
    pub(crate) async fn during<T>(
        &self,
        progress: impl Fn() -> Option<Progress<C>>,
        run: impl Future<Output = T>,
    ) -> T {
        let Some(tell) = &self.tell else {
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

    /// The events of a run that counts up each 400 ms and begins at the first count.
    async fn events(counts: u64) -> Vec<Event<u64>> {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut events = Events::default();
        let into = told.clone();
        events.tell(move |event| into.lock().expect("a lock").push(event));
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
        events.during(progress, run).await;
        let told = told.lock().expect("a lock");
        told.clone()
    }

    fn at(count: u64) -> Progress<u64> {
        Progress::new(Duration::ZERO, None, None, count)
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_a_start_the_progress_each_second_and_an_end() {
        let expected = [
            Event::Started(at(2)),
            Event::Progress(at(5)),
            Event::Ended(at(6)),
        ];
        assert_eq!(events(6).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_run_has_a_start_and_an_end_too() {
        assert_eq!(
            events(1).await,
            [Event::Started(at(1)), Event::Ended(at(1))]
        );
        assert_eq!(events(0).await, [], "it never began");
    }
}
