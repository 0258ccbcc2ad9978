//! Rate limiter of a run: the token bucket and the control of its rate.
//!
//! The writer takes units from a [`RateLimiter`] and reports results to it. With a fixed
//! rate, that is all. If the rate depends on the table, [`RateLimiter::follow_table`] runs
//! beside the writer. It describes the table periodically, and at once after throttling.
//! It passes the results to the [controller](crate::flow::rate_controller), and sets the
//! bucket's rate accordingly.
//!
//! While the table throttles every call, a probe of one item or key starts every half
//! second. Before each call, the sending loops ask for its size.

use crate::base::error::Result;
use crate::base::human::format_number;
use crate::flow::capacity::{Capacity, ConsumedCapacity, throttling_hint};
use crate::flow::probe::{NextCall, PROBE_INTERVAL, Probe};
use crate::flow::rate_controller::{RateController, RateEvent, TICK, Tally};
use crate::flow::token_bucket::SharedBucket;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Interval of DescribeTable without throttling.
pub(crate) const CAPACITY_INTERVAL: Duration = Duration::from_secs(10);

/// Minimum time between DescribeTable calls caused by throttling. A scheduled call does
/// not count: throttling after it is new information.
const MIN_BETWEEN_DESCRIBES: Duration = Duration::from_millis(500);

/// Timeout of one DescribeTable call.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Minimum time between two equal warnings.
const MIN_BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// The rate limiter of a run. See the [module](self).
#[derive(Debug)]
pub struct RateLimiter {
    bucket: SharedBucket,
    state: Mutex<State>,
    /// True if calls have been throttled since the last success. While false,
    /// [`next_call`](RateLimiter::next_call) needs no lock.
    is_throttled: AtomicBool,
    /// Operation in messages: `write` or `read`.
    operation: &'static str,
}

#[derive(Debug)]
struct State {
    controller: Option<RateController>,
    tally: Tally,
    /// Last throttling reason from DynamoDB, with its resource.
    reason: Option<(String, String)>,
    probe: Probe,
    /// Time of the last warning that every call is throttled.
    warned: Option<Instant>,
}

impl State {
    /// Starts probing if it is due.
    fn probe_if_due(&mut self, now: Instant) {
        if self.probe.start_if_due(now)
            && let Some(controller) = &mut self.controller
        {
            controller.record_outage();
        }
    }

    /// Records a success and clears `refused`. Returns the number of probes if it ends
    /// an outage.
    fn end_throttling(&mut self, refused: &AtomicBool) -> Option<u32> {
        if !refused.load(Ordering::Relaxed) {
            return None;
        }
        refused.store(false, Ordering::Relaxed);
        let probes = self.probe.record_success()?;
        if let Some(controller) = &mut self.controller {
            controller.record_recovery(self.tally, Instant::now());
        }
        Some(probes)
    }
}

impl RateLimiter {
    /// Creates a limiter with a fixed rate in WCU/s; `None` for no limit.
    pub fn fixed(rate: Option<f64>) -> Self {
        RateLimiter::new(
            rate.map_or_else(SharedBucket::unlimited, SharedBucket::new),
            None,
        )
    }

    /// Creates a limiter whose rate `controller` sets.
    pub fn with_controller(controller: RateController) -> Self {
        RateLimiter::new(SharedBucket::new(controller.rate()), Some(controller))
    }

    fn new(bucket: SharedBucket, controller: Option<RateController>) -> Self {
        let inner = State {
            controller,
            tally: Tally::default(),
            reason: None,
            probe: Probe::default(),
            warned: None,
        };
        RateLimiter {
            bucket,
            state: Mutex::new(inner),
            is_throttled: AtomicBool::new(false),
            operation: "write",
        }
    }

    /// Changes the units to RCU.
    #[must_use]
    pub fn for_reads(mut self) -> Self {
        self.operation = "read";
        self
    }

    /// Grants a burst of `seconds` at the start: capacity that an idle table has saved.
    pub fn grant_burst(&self, seconds: f64) {
        if let Some(rate) = self.rate() {
            self.bucket.grant(rate * seconds);
        }
    }

    /// The rate in WCU/s; `None` for no limit.
    pub fn rate(&self) -> Option<f64> {
        self.bucket.rate()
    }

    /// The size and time of the next call, at `now`.
    pub(crate) fn next_call(&self, now: Instant) -> NextCall {
        if !self.is_throttled.load(Ordering::Relaxed) {
            return NextCall::Full(None);
        }
        let mut inner = self.state();
        inner.probe_if_due(now);
        inner.probe.next_call()
    }

    /// Waits until the call may start, and takes its `units`. A probe starts at once
    /// and takes none.
    pub(crate) async fn take(&self, turn: NextCall, units: f64) {
        match turn {
            NextCall::Full(_) => self.bucket.take(units).await,
            NextCall::Probe(_) => self.record_probe(),
        }
    }

    /// Records a probe. The second one warns, because the first has failed.
    fn record_probe(&self) {
        let now = Instant::now();
        let mut inner = self.state();
        let inner = &mut *inner;
        if inner.probe.record_sent(now) < 2
            || inner
                .warned
                .is_some_and(|at| now - at < MIN_BETWEEN_WARNINGS)
        {
            return;
        }
        inner.warned = Some(now);
        let (operation, every) = (self.operation, PROBE_INTERVAL.as_secs_f64());
        let (why, then) = match &inner.reason {
            Some((reason, resource)) => (
                format!(" ({reason}, {resource})"),
                format!("; {}", throttling_hint(reason)),
            ),
            None => Default::default(),
        };
        tracing::warn!(
            "DynamoDB throttles every {operation}{why}: sending one item every {every} s; after the first success \
             the rate returns to its previous value{then}"
        );
    }

    /// Refunds `units` of a call that were not consumed.
    pub fn refund(&self, units: f64) {
        self.bucket.refund(units);
    }

    /// Records items that succeeded. `paid` units are already taken, and the
    /// difference to the consumed capacity is settled. Returns true if this ends an
    /// outage, so that no retry needs its back-off.
    pub fn record_success(&self, paid: f64, consumed: Option<&ConsumedCapacity>) -> bool {
        let mut inner = self.state();
        let cost = match (&inner.controller, consumed) {
            (Some(controller), Some(consumed)) => controller.capacity().charge(consumed),
            (None, Some(consumed)) => consumed.table.unwrap_or(consumed.total),
            (_, None) => paid,
        };
        inner.tally.accepted += cost;
        let probes = inner.end_throttling(&self.is_throttled);
        let rate = probes.and_then(|_| Some(inner.controller.as_ref()?.rate()));
        drop(inner);
        if cost != paid {
            self.bucket.refund(paid - cost);
        }
        let Some(probes) = probes else {
            return false;
        };
        if rate.is_some() {
            self.bucket.set_rate(rate);
        }
        // The units of throttled calls must not delay the next ones.
        self.bucket.clear_debt();
        if probes > 1 {
            tracing::info!("DynamoDB accepts {}s again", self.operation);
        }
        true
    }

    /// Records throttled items of `units`, before the success of other items in the
    /// same call is [recorded](RateLimiter::record_success). `reasons` holds DynamoDB's reasons, if
    /// any. Their units are not refunded.
    pub fn record_throttled(&self, units: f64, reasons: &[(String, String)]) {
        let mut inner = self.state();
        inner.tally.throttled += units;
        if inner.probe.record_throttled(Instant::now()) {
            self.is_throttled.store(true, Ordering::Relaxed);
            if let Some(controller) = &mut inner.controller {
                controller.remember_rate();
            }
        }
        if let Some(reason) = reasons.first() {
            inner.reason = Some(reason.clone());
        }
    }

    /// Follows the table's capacity permanently; `describe` reads it.
    pub async fn follow_table<F>(&self, interval: Duration, describe: impl Fn() -> F) -> Infallible
    where
        F: Future<Output = Result<Capacity>>,
    {
        if self.state().controller.is_none() {
            return std::future::pending().await;
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut described = Instant::now();
        let mut last_forced: Option<Instant> = None;
        let mut known_throttled = 0.0;
        let mut warned: Option<Instant> = None;
        loop {
            // Waiting for the next tick instead would turn 1 s into 1.1 s.
            let due = described + interval.max(TICK);
            tokio::select! {
                _ = tick.tick() => {}
                () = tokio::time::sleep_until(due) => {}
            }
            let throttled = self.state().tally.throttled;
            let now = Instant::now();
            let is_forced = throttled > known_throttled
                && last_forced.is_none_or(|at| now - at >= MIN_BETWEEN_DESCRIBES);
            if is_forced || now >= due {
                known_throttled = throttled;
                described = now;
                if is_forced {
                    last_forced = Some(now);
                }
                let description = tokio::time::timeout(DESCRIBE_TIMEOUT, describe());
                match self.climb_during(description).await {
                    Ok(Ok(capacity)) => {
                        let event = self.update_rate(|c| c.update_capacity(capacity));
                        if let Some(RateEvent::CapacityChanged { from, to }) = event {
                            let (from, to) = (format_number(from), format_number(to));
                            tracing::info!(
                                "the table's capacity changed from {from} to {to} {}",
                                self.unit()
                            );
                        }
                    }
                    Ok(Err(e)) => tracing::debug!("cannot describe the table: {e:#}"),
                    Err(_) => tracing::debug!("describing the table timed out"),
                }
            }
            // Read again: calls may have succeeded during DescribeTable.
            let tally = self.state().tally;
            let event = self.update_rate(|c| c.tick(tally, Instant::now()));
            if let Some(RateEvent::Lowered { to }) = event
                && warned.is_none_or(|at| at.elapsed() >= MIN_BETWEEN_WARNINGS)
            {
                warned = Some(Instant::now());
                self.warn_throttled(to);
            }
        }
    }

    /// Waits for `description`, and advances a climb meanwhile.
    async fn climb_during<T>(&self, description: impl Future<Output = T>) -> T {
        tokio::pin!(description);
        loop {
            tokio::select! {
                biased;
                result = &mut description => return result,
                () = tokio::time::sleep(TICK) => {
                    self.update_rate(|c| {
                        c.climb(Instant::now());
                        None
                    });
                }
            }
        }
    }

    /// Lets the controller decide, then sets the rate.
    fn update_rate(
        &self,
        decide: impl FnOnce(&mut RateController) -> Option<RateEvent>,
    ) -> Option<RateEvent> {
        let mut inner = self.state();
        inner.probe_if_due(Instant::now());
        let controller = inner.controller.as_mut()?;
        let event = decide(controller);
        let rate = controller.rate();
        drop(inner);
        if self.bucket.rate() != Some(rate) {
            self.bucket.set_rate(Some(rate));
        }
        event
    }

    fn warn_throttled(&self, to: f64) {
        let inner = self.state();
        let to = format_number(to);
        match &inner.reason {
            Some((reason, resource)) => tracing::warn!(
                "throttled below the table's capacity ({reason}, {resource}): continuing at {to} {}; {}",
                self.unit(),
                throttling_hint(reason)
            ),
            None => tracing::warn!(
                "throttled below the table's capacity: continuing at {to} {} (another client, or a hot \
                 partition)",
                self.unit()
            ),
        }
    }

    /// The unit of the rate, for messages.
    fn unit(&self) -> &'static str {
        match self.operation {
            "read" => "RCU/s",
            _ => "WCU/s",
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::capacity::Part;

    const MS: Duration = Duration::from_millis(1);

    fn limiter() -> RateLimiter {
        RateLimiter::with_controller(RateController::new(capacity(), 1.0, None, Instant::now()))
    }

    fn capacity() -> Capacity {
        Capacity {
            on_demand: false,
            parts: vec![(Part::Table, 1000.0)],
            warm_throughput: None,
        }
    }

    /// Follows a table for `seconds`, with DescribeTable taking 130 ms and throttling
    /// at the given milliseconds. Returns the times of DescribeTable in milliseconds.
    async fn description_times(seconds: u64, throttled_at: &[u64]) -> Vec<u128> {
        let limiter = limiter();
        let begun = Instant::now();
        let descriptions = Mutex::new(Vec::new());
        let describe = || async {
            let at = begun.elapsed().as_millis();
            descriptions.lock().expect("no panic").push(at);
            tokio::time::sleep(Duration::from_millis(130)).await;
            Ok(capacity())
        };
        let throttle = async {
            for at in throttled_at {
                tokio::time::sleep_until(begun + Duration::from_millis(*at)).await;
                limiter.record_throttled(1.0, &[]);
            }
            std::future::pending().await
        };
        tokio::select! {
            // The end comes first, so that a DescribeTable call due at that instant
            // does not count.
            biased;
            () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
            never = limiter.follow_table(Duration::from_secs(1), describe) => match never {},
            () = throttle => {}
        }
        descriptions.into_inner().expect("no panic")
    }

    #[tokio::test(start_paused = true)]
    async fn a_climb_continues_while_describe_table_hangs() {
        let limiter = limiter();
        let begun = Instant::now();
        let at = |ms: u64| tokio::time::sleep_until(begun + Duration::from_millis(ms));
        let steps = async {
            limiter.record_throttled(25.0, &[]);
            at(999).await;
            assert_eq!(
                limiter.next_call(Instant::now()),
                NextCall::Full(Some(begun + 1000 * MS))
            );
            at(1000).await;
            assert_eq!(
                limiter.next_call(Instant::now()),
                NextCall::Probe(begun + 1000 * MS)
            );
            limiter.take(limiter.next_call(Instant::now()), 1.0).await;
            assert_eq!(
                limiter.next_call(Instant::now()),
                NextCall::Probe(begun + 1500 * MS)
            );
            at(1150).await;
            assert_eq!(limiter.rate(), Some(1.0));
            assert!(limiter.record_success(1.0, None));
            assert_eq!(limiter.next_call(Instant::now()), NextCall::Full(None));
            assert_eq!(limiter.rate(), Some(125.0));
            assert!(!limiter.record_success(1.0, None), "once");
            at(3250).await;
            let rate = limiter.rate().expect("a rate");
            assert!((475.0..=525.0).contains(&rate), "{rate}");
            at(5300).await;
            assert_eq!(limiter.rate(), Some(1000.0));
        };
        tokio::select! {
            () = steps => {}
            never = limiter.follow_table(Duration::from_secs(1), std::future::pending) => match never {},
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_described_exactly_when_due() {
        assert_eq!(
            description_times(6, &[]).await,
            [1000, 2000, 3000, 4000, 5000]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_after_a_description_leads_to_another_at_once() {
        // Throttled until 1.7 s. Then the next call is due one second after the last.
        let throttled_at: Vec<u64> = (1150..1700).step_by(10).collect();
        let descriptions = description_times(3, &throttled_at).await;
        let &[due, first, second, last] = &descriptions[..] else {
            panic!("{descriptions:?}");
        };
        assert_eq!((due, last), (1000, second + 1000), "{descriptions:?}");
        assert!((1150..=1250).contains(&first), "{descriptions:?}");
        assert!((500..=600).contains(&(second - first)), "{descriptions:?}");
    }
}
