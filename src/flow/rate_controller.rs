//! Rate controller: described capacity and observed throttling → write rate.
//!
//! The controller has two inputs: the capacity from DescribeTable, read periodically,
//! and the results of the calls. It uses the described capacity while the results
//! agree. Throttling can occur below that capacity: a hot partition, an account's
//! quota, another client. Then the rate drops to the accepted rate of the last second,
//! and rises a little every second from there. The rate of an on-demand table is found
//! in the same way. It starts at the minimum of such tables and rises while nothing is
//! throttled.
//!
//! A table that throttles everything reveals nothing about its capacity. The controller
//! remembers the rate from before the first throttled call. After the first success the
//! rate climbs back to it within [`CLIMB_TIME`], unless calls are throttled again.
//!
//! Pure: time and counts are arguments, the result is a rate.

use crate::flow::capacity::Capacity;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Interval of the controller's checks.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Minimum period for measuring the accepted rate, and between two steps: DynamoDB's
/// bucket spans seconds.
const PERIOD: Duration = Duration::from_secs(1);

/// Share of throttled units that does not lower the rate. The two buckets refill at
/// different instants, so an item is occasionally throttled.
const TOLERATED_SHARE: f64 = 0.01;

/// Factor on the accepted rate when the rate is lowered.
const STEP_DOWN: f64 = 0.98;

/// Step up per second, as a share of the start rate.
const STEP_UP: f64 = 0.02;

/// Minimum utilisation of the rate for a step up.
const MIN_UTILISATION: f64 = 0.80;

/// Duration of the climb back to the rate from before the outage.
pub(crate) const CLIMB_TIME: Duration = Duration::from_secs(4);

/// Start of the climb, as a share of that rate.
const CLIMB_START: f64 = 0.125;

/// Minimum rate in WCU/s, so that calls continue.
const MIN_RATE: f64 = 1.0;

/// Totals of all calls, in capacity units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Units that succeeded.
    pub accepted: f64,
    /// Units that were unprocessed, or in throttled calls.
    pub throttled: f64,
}

/// A change of rate that the log reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateEvent {
    /// The table's capacity changed.
    CapacityChanged {
        /// WCU/s before.
        from: f64,
        /// WCU/s now.
        to: f64,
    },
    /// Calls are throttled below the table's capacity.
    Lowered {
        /// WCU/s now.
        to: f64,
    },
}

/// The rate controller of a run. See the [module](self).
#[derive(Debug)]
pub struct RateController {
    /// Share of the table's capacity to use.
    share: f64,
    /// Maximum rate, regardless of the capacity.
    max_rate: Option<f64>,
    capacity: Capacity,
    /// Rate found by experiment: always set for an on-demand table, otherwise only
    /// after throttling.
    discovered: Option<f64>,
    /// Tallies of the last [`PERIOD`], or since the last step down, oldest first.
    history: VecDeque<(Instant, Tally)>,
    last_step: Instant,
    /// `discovered` from before the present series of throttled calls.
    before_throttling: Option<f64>,
    phase: Phase,
}

/// State of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Calls succeed at least in part.
    Normal,
    /// Every call is throttled.
    Down,
    /// Recovering since the instant, at this share of the normal rate.
    Climbing(Instant, f64),
}

impl RateController {
    /// Creates a controller for a table of this `capacity`. It uses `share` of it (1 is
    /// all), and at most `max_rate` WCU/s.
    pub fn new(capacity: Capacity, share: f64, max_rate: Option<f64>, now: Instant) -> Self {
        let discovered = capacity.on_demand.then(|| capacity.start_rate());
        RateController {
            share,
            max_rate,
            capacity,
            discovered,
            history: VecDeque::from([(now, Tally::default())]),
            last_step: now,
            before_throttling: discovered,
            phase: Phase::Normal,
        }
    }

    /// The rate in WCU/s.
    pub fn rate(&self) -> f64 {
        match self.phase {
            Phase::Normal => self.normal_rate(),
            Phase::Down => MIN_RATE,
            Phase::Climbing(_, share) => (self.normal_rate() * share).max(MIN_RATE),
        }
    }

    /// The rate while calls succeed.
    fn normal_rate(&self) -> f64 {
        let described = self.capacity.start_rate();
        let table_rate = match (self.discovered, self.capacity.on_demand) {
            (Some(found), true) => found.min(self.capacity.max_rate().unwrap_or(f64::INFINITY)),
            (Some(found), false) => found.min(described),
            (None, _) => described,
        };
        (table_rate * self.share)
            .min(self.max_rate.unwrap_or(f64::INFINITY))
            .max(MIN_RATE)
    }

    /// The last described capacity.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// Sets the described capacity. Returns an event if the rate changes.
    pub fn update_capacity(&mut self, capacity: Capacity) -> Option<RateEvent> {
        let from = self.normal_rate();
        if capacity == self.capacity {
            return None;
        }
        let changed = capacity.max_rate() != self.capacity.max_rate()
            || capacity.on_demand != self.capacity.on_demand;
        self.capacity = capacity;
        if changed {
            // The rate was found for another capacity.
            self.discovered = self.capacity.on_demand.then(|| self.capacity.start_rate());
            self.before_throttling = self.discovered;
            self.history.clear();
        }
        let to = self.normal_rate();
        (to != from).then_some(RateEvent::CapacityChanged { from, to })
    }

    /// Remembers the current rate, at the first throttled call after a success. If an
    /// outage follows, this is the rate to restore.
    pub fn remember_rate(&mut self) {
        self.before_throttling = self.discovered;
    }

    /// Records that every call has been throttled for a while.
    pub fn record_outage(&mut self) {
        // The rates found meanwhile say nothing about the table's capacity.
        self.discovered = self.before_throttling;
        self.phase = Phase::Down;
    }

    /// Records the first success after an outage; `tally` holds the totals so far.
    pub fn record_recovery(&mut self, tally: Tally, now: Instant) {
        self.history = VecDeque::from([(now, tally)]);
        self.phase = Phase::Climbing(now, CLIMB_START);
    }

    /// Advances a climb to `now`, without further decisions.
    pub fn climb(&mut self, now: Instant) {
        let Phase::Climbing(since, _) = self.phase else {
            return;
        };
        let share = (now - since).as_secs_f64() / CLIMB_TIME.as_secs_f64();
        self.phase = Phase::Climbing(since, share.max(CLIMB_START));
        if share >= 1.0 {
            self.phase = Phase::Normal;
            self.last_step = now;
        }
    }

    /// Adjusts the rate at `now`; `tally` holds the totals so far.
    pub fn tick(&mut self, tally: Tally, now: Instant) -> Option<RateEvent> {
        self.climb(now);
        if self.phase == Phase::Down {
            return None;
        }
        // The most recent tally that is at least a period old. Ticks are late, so
        // hardly any is exactly a period old.
        while self.history.len() > 1 && now - self.history[1].0 >= PERIOD {
            self.history.pop_front();
        }
        let (then, before) = *self.history.front().unwrap_or(&(now, tally));
        self.history.push_back((now, tally));
        let elapsed = now - then;
        if elapsed < PERIOD {
            return None;
        }
        let elapsed = elapsed.as_secs_f64();
        let accepted = tally.accepted - before.accepted;
        let throttled = tally.throttled - before.throttled;
        if throttled > TOLERATED_SHARE * (accepted + throttled) {
            // Measure the lower rate from here on.
            self.history = VecDeque::from([(now, tally)]);
            self.last_step = now;
            let from = self.rate();
            let to = (accepted / elapsed * STEP_DOWN / self.share).max(MIN_RATE);
            self.discovered = Some(self.discovered.map_or(to, |f| f.min(to)));
            self.phase = Phase::Normal;
            let to = self.rate();
            // The whole rate may have succeeded, and only the excess been throttled.
            return (to < from).then_some(RateEvent::Lowered { to });
        }
        if let Some(found) = self.discovered
            && throttled == 0.0
            && self.phase == Phase::Normal
            && now - self.last_step >= PERIOD
            && accepted / elapsed >= MIN_UTILISATION * self.rate()
        {
            self.last_step = now;
            let step = (self.capacity.start_rate() * STEP_UP).max(1.0);
            self.discovered = Some(found + step);
            if !self.capacity.on_demand && found + step >= self.capacity.start_rate() {
                self.discovered = None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
