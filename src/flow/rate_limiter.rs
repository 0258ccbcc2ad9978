//! The pace of a run: the token bucket, and who sets its rate while it runs.
//!
//! A [`Pace`] is what the writer pays at and reports to. At a fixed rate that is
//! all of it. When the table decides, [`Pace::follow`] runs beside the writer: it
//! has the table described every so often, and at once after a refusal, gives
//! what it learns to the [controller](crate::flow::rate_controller), and turns the bucket's
//! rate accordingly.
//!
//! While the table accepts nothing, whatever the rate, a probe of one item or key
//! leaves every half a second. The loops that send ask before each call how large it
//! may be.

use crate::base::error::Result;
use crate::base::human::thousands;
use crate::flow::capacity::{Capacity, Consumed, advice};
use crate::flow::probe::{INTERVAL, Probe, Turn};
use crate::flow::rate_controller::{Controller, Event, TICK, Tally};
use crate::flow::token_bucket::Limiter;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the table is described when nothing happens.
pub(crate) const CAPACITY_INTERVAL: Duration = Duration::from_secs(10);

/// The least time between two descriptions that refusals led to: DescribeTable is
/// for now and then. One that was due anyway holds up none of them, since a
/// refusal after it is news.
const LEAST_BETWEEN: Duration = Duration::from_millis(500);

/// How long one description may take before it is given up for this time.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// The least time between two warnings that say the same.
const LEAST_BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// See the [module](self).
#[derive(Debug)]
pub struct Pace {
    limiter: Limiter,
    inner: Mutex<Inner>,
    /// Whether calls have been refused since one was accepted. While none has, it
    /// takes no lock to say how large the next call may be.
    refused: AtomicBool,
    /// What the units are, for messages.
    of: &'static str,
}

#[derive(Debug)]
struct Inner {
    controller: Option<Controller>,
    tally: Tally,
    /// The last reason for throttling that DynamoDB gave, and its resource.
    reason: Option<(String, String)>,
    probe: Probe,
    /// When it was last said that nothing is accepted.
    warned: Option<Instant>,
}

impl Inner {
    /// Begins to probe when it is time.
    fn look(&mut self, now: Instant) {
        if self.probe.begins(now)
            && let Some(controller) = &mut self.controller
        {
            controller.nothing_accepted();
        }
    }

    /// Something was accepted. Says how many probes that took, where it took some;
    /// `refused` is no more so.
    fn accept(&mut self, refused: &AtomicBool) -> Option<u32> {
        if !refused.load(Ordering::Relaxed) {
            return None;
        }
        refused.store(false, Ordering::Relaxed);
        let probes = self.probe.accepted()?;
        if let Some(controller) = &mut self.controller {
            controller.accepted_again(self.tally, Instant::now());
        }
        Some(probes)
    }
}

impl Pace {
    /// A fixed rate in write capacity units a second; nothing is no limit.
    pub fn fixed(rate: Option<f64>) -> Self {
        Pace::with(rate.map_or_else(Limiter::unlimited, Limiter::new), None)
    }

    /// The rate that `controller` says.
    pub fn controlled(controller: Controller) -> Self {
        Pace::with(Limiter::new(controller.rate()), Some(controller))
    }

    fn with(limiter: Limiter, controller: Option<Controller>) -> Self {
        let inner = Inner {
            controller,
            tally: Tally::default(),
            reason: None,
            probe: Probe::default(),
            warned: None,
        };
        Pace {
            limiter,
            inner: Mutex::new(inner),
            refused: AtomicBool::new(false),
            of: "write",
        }
    }

    /// The same for reads: all units are read capacity units.
    #[must_use]
    pub fn of_reads(mut self) -> Self {
        self.of = "read";
        self
    }

    /// Lets what a table has saved in up to `seconds` without writes be spent at
    /// the beginning.
    pub fn grant(&self, seconds: f64) {
        if let Some(rate) = self.rate() {
            self.limiter.grant(rate * seconds);
        }
    }

    /// The rate in write capacity units a second; nothing when there is none.
    pub fn rate(&self) -> Option<f64> {
        self.limiter.rate()
    }

    /// What the next call may be at `now`.
    pub(crate) fn turn(&self, now: Instant) -> Turn {
        if !self.refused.load(Ordering::Relaxed) {
            return Turn::Full(None);
        }
        let mut inner = self.inner();
        inner.look(now);
        inner.probe.turn()
    }

    /// Waits until the call of `turn`, which costs `units`, may leave, and takes them;
    /// a probe that is due leaves at once and costs nothing.
    pub(crate) async fn take(&self, turn: Turn, units: f64) {
        match turn {
            Turn::Full(_) => self.limiter.take(units).await,
            Turn::Probe(_) => self.probed(),
        }
    }

    /// A probe leaves. The second says that the first was in vain.
    fn probed(&self) {
        let now = Instant::now();
        let mut inner = self.inner();
        let inner = &mut *inner;
        if inner.probe.sent(now) < 2
            || inner
                .warned
                .is_some_and(|at| now - at < LEAST_BETWEEN_WARNINGS)
        {
            return;
        }
        inner.warned = Some(now);
        let (of, every) = (self.of, INTERVAL.as_secs_f64());
        let (why, then) = match &inner.reason {
            Some((reason, resource)) => (
                format!(" ({reason}, {resource})"),
                format!("; {}", advice(reason)),
            ),
            None => Default::default(),
        };
        tracing::warn!(
            "DynamoDB accepts no {of} at the moment{why}: it is tried with one item every {every} s, and the \
             rate of before is back soon after one is accepted{then}"
        );
    }

    /// Gives back `units` that were taken for a call and not spent.
    pub fn give_back(&self, units: f64) {
        self.limiter.give_back(units);
    }

    /// Items were written, for which `paid` units had been taken: what they
    /// really consumed is settled. Says whether they end a time in which nothing was
    /// accepted: then nothing needs to wait for its back-off.
    pub fn accepted(&self, paid: f64, consumed: Option<&Consumed>) -> bool {
        let mut inner = self.inner();
        let cost = match (&inner.controller, consumed) {
            (Some(controller), Some(consumed)) => controller.capacity().charge(consumed),
            (None, Some(consumed)) => consumed.table.unwrap_or(consumed.total),
            (_, None) => paid,
        };
        inner.tally.accepted += cost;
        let probes = inner.accept(&self.refused);
        let rate = probes.and_then(|_| Some(inner.controller.as_ref()?.rate()));
        drop(inner);
        if cost != paid {
            self.limiter.give_back(paid - cost);
        }
        let Some(probes) = probes else {
            return false;
        };
        if rate.is_some() {
            self.limiter.set_rate(rate);
        }
        // What was paid for calls that were refused holds up none from now on.
        self.limiter.clear_debt();
        if probes > 1 {
            tracing::info!("DynamoDB accepts {}s again", self.of);
        }
        true
    }

    /// Items of `units` were refused: told before what else of their call was
    /// [accepted](Pace::accepted). For `reasons` where DynamoDB said why.
    /// What was paid for them is gone.
    pub fn refused(&self, units: f64, reasons: &[(String, String)]) {
        let mut inner = self.inner();
        inner.tally.refused += units;
        if inner.probe.refused(Instant::now()) {
            self.refused.store(true, Ordering::Relaxed);
            if let Some(controller) = &mut inner.controller {
                controller.remember();
            }
        }
        if let Some(reason) = reasons.first() {
            inner.reason = Some(reason.clone());
        }
    }

    /// Follows the table, for ever: `describe` says what it can take.
    pub async fn follow<F>(&self, interval: Duration, describe: impl Fn() -> F) -> Infallible
    where
        F: Future<Output = Result<Capacity>>,
    {
        if self.inner().controller.is_none() {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut described = Instant::now();
        let mut hurried: Option<Instant> = None;
        let mut refused = 0.0;
        let mut warned: Option<Instant> = None;
        loop {
            // Not at the tick after it: that would make a second 1.1.
            let due = described + interval.max(TICK);
            tokio::select! {
                _ = tick.tick() => {}
                () = tokio::time::sleep_until(due) => {}
            }
            let seen = self.inner().tally.refused;
            let now = Instant::now();
            let hurry = seen > refused && hurried.is_none_or(|at| now - at >= LEAST_BETWEEN);
            if hurry || now >= due {
                refused = seen;
                described = now;
                if hurry {
                    hurried = Some(now);
                }
                let look = tokio::time::timeout(DESCRIBE_LIMIT, describe());
                match self.climbing(look).await {
                    Ok(Ok(capacity)) => {
                        let event = self.steer(|c| c.described(capacity));
                        if let Some(Event::Followed { from, to }) = event {
                            let (from, to) = (thousands(from), thousands(to));
                            tracing::info!(
                                "the table's capacity changed: from {from} to {to} {} units/s",
                                self.of
                            );
                        }
                    }
                    Ok(Err(e)) => tracing::debug!("the table cannot be described: {e:#}"),
                    Err(_) => tracing::debug!("the table is not described in time"),
                }
            }
            // Not what was known before the look: something may have been accepted since.
            let tally = self.inner().tally;
            let event = self.steer(|c| c.tick(tally, Instant::now()));
            if let Some(Event::Lowered { to }) = event
                && warned.is_none_or(|at| at.elapsed() >= LEAST_BETWEEN_WARNINGS)
            {
                warned = Some(Instant::now());
                self.warn(to);
            }
        }
    }

    /// Waits for `look`, and holds up no climb of the rate meanwhile.
    async fn climbing<T>(&self, look: impl Future<Output = T>) -> T {
        tokio::pin!(look);
        loop {
            tokio::select! {
                biased;
                seen = &mut look => return seen,
                () = tokio::time::sleep(TICK) => {
                    self.steer(|c| {
                        c.climb(Instant::now());
                        None
                    });
                }
            }
        }
    }

    /// Lets the controller decide, and sets the rate.
    fn steer(&self, decide: impl FnOnce(&mut Controller) -> Option<Event>) -> Option<Event> {
        let mut inner = self.inner();
        inner.look(Instant::now());
        let controller = inner.controller.as_mut()?;
        let event = decide(controller);
        let rate = controller.rate();
        drop(inner);
        if self.limiter.rate() != Some(rate) {
            self.limiter.set_rate(Some(rate));
        }
        event
    }

    fn warn(&self, to: f64) {
        let inner = self.inner();
        let to = thousands(to);
        match &inner.reason {
            Some((reason, resource)) => tracing::warn!(
                "DynamoDB takes less than the table says ({reason}, {resource}): going on at {to} {} \
                 units/s; {}",
                self.of,
                advice(reason)
            ),
            None => tracing::warn!(
                "DynamoDB takes less than the table says: going on at {to} {of} units/s; something else \
                 may {of} too, or one of the table's partitions is the limit",
                of = self.of
            ),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::capacity::Part;

    const MS: Duration = Duration::from_millis(1);

    fn pace() -> Pace {
        Pace::controlled(Controller::new(capacity(), 1.0, None, Instant::now()))
    }

    fn capacity() -> Capacity {
        Capacity {
            on_demand: false,
            parts: vec![(Part::Table, 1000.0)],
            warm: None,
        }
    }

    /// Follows for so many seconds, a description taking 130 ms, while something
    /// is refused at each of these milliseconds: when the table was described, in
    /// milliseconds.
    async fn looks(seconds: u64, refusals: &[u64]) -> Vec<u128> {
        let pace = pace();
        let begun = Instant::now();
        let looks = Mutex::new(Vec::new());
        let describe = || async {
            let at = begun.elapsed().as_millis();
            looks.lock().expect("whole").push(at);
            tokio::time::sleep(Duration::from_millis(130)).await;
            Ok(capacity())
        };
        let refuse = async {
            for at in refusals {
                tokio::time::sleep_until(begun + Duration::from_millis(*at)).await;
                pace.refused(1.0, &[]);
            }
            std::future::pending().await
        };
        tokio::select! {
            // The end first: a look that is due at that very moment is none of these.
            biased;
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            never = pace.follow(Duration::from_secs(1), describe) => match never {},
            () = refuse => {}
        }
        looks.into_inner().expect("whole")
    }

    #[tokio::test(start_paused = true)]
    async fn a_description_that_hangs_holds_up_no_climb() {
        let pace = pace();
        let begun = Instant::now();
        let at = |ms: u64| tokio::time::sleep_until(begun + Duration::from_millis(ms));
        let steps = async {
            pace.refused(25.0, &[]);
            at(999).await;
            assert_eq!(
                pace.turn(Instant::now()),
                Turn::Full(Some(begun + 1000 * MS))
            );
            at(1000).await;
            assert_eq!(pace.turn(Instant::now()), Turn::Probe(begun + 1000 * MS));
            pace.take(pace.turn(Instant::now()), 1.0).await;
            assert_eq!(pace.turn(Instant::now()), Turn::Probe(begun + 1500 * MS));
            at(1150).await;
            assert_eq!(pace.rate(), Some(1.0));
            assert!(pace.accepted(1.0, None));
            assert_eq!(pace.turn(Instant::now()), Turn::Full(None));
            assert_eq!(pace.rate(), Some(125.0));
            assert!(!pace.accepted(1.0, None), "once");
            at(3250).await;
            let rate = pace.rate().expect("a rate");
            assert!((475.0..=525.0).contains(&rate), "{rate}");
            at(5300).await;
            assert_eq!(pace.rate(), Some(1000.0));
        };
        tokio::select! {
            () = steps => {}
            never = pace.follow(Duration::from_secs(1), std::future::pending) => match never {},
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_described_when_that_is_due_and_not_at_the_tick_after() {
        assert_eq!(looks(6, &[]).await, [1000, 2000, 3000, 4000, 5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_just_after_a_look_leads_to_another_at_once() {
        // Refused until 1.7 s. Then the next is due a second after the last.
        let refusals: Vec<u64> = (1150..1700).step_by(10).collect();
        let looks = looks(3, &refusals).await;
        let &[due, first, second, last] = &looks[..] else {
            panic!("{looks:?}");
        };
        assert_eq!((due, last), (1000, second + 1000), "{looks:?}");
        assert!((1150..=1250).contains(&first), "{looks:?}");
        assert!((500..=600).contains(&(second - first)), "{looks:?}");
    }
}
