//! The controller: what the table is said to take, and what it does take → a
//! rate.
//!
//! Two things are known: what DescribeTable says, read again now and then, and
//! what came of the calls. The controller trusts the first as long as the second
//! agrees. When writes are refused although the rate is within what the table
//! says (a hot partition, an account's limit, somebody else writing), it goes
//! down to what was accepted in the last second, and from there up again a
//! little every second. The rate of an on-demand table, which says nothing of
//! use, is found in the same way: it begins with what such a table always takes
//! and goes up while nothing is refused.
//!
//! A table that accepts nothing says nothing of its capacity. The rate from before
//! the first refusal is remembered, and once something is accepted, the rate
//! climbs back to it within [`CLIMB`], unless calls are refused again.
//!
//! Pure: it is told the time and the counts, and answers with a rate.

use crate::flow::capacity::Capacity;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How often the controller looks at what came of the calls.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Over how long acceptance is measured, at least, and the least time between two
/// steps: DynamoDB's own bucket is one of seconds.
const PERIOD: Duration = Duration::from_secs(1);

/// The share of refused units that is no reason to go down: the two buckets are
/// filled at different instants, and now and then an item falls in between.
const TOLERATED: f64 = 0.01;

/// How far below the accepted rate a step down goes.
const BACK_OFF: f64 = 0.98;

/// A step up, in shares of the rate at the beginning, once a second.
const STEP_UP: f64 = 0.02;

/// How much of the rate must have been used for a step up to make sense.
const IN_USE: f64 = 0.80;

/// How long the rate takes back to what it was before nothing was accepted.
pub(crate) const CLIMB: Duration = Duration::from_secs(4);

/// Where the climb begins, as a share of that rate.
const CLIMB_FROM: f64 = 0.125;

/// The lowest rate, in write units a second: something must be tried.
const LEAST: f64 = 1.0;

/// What came of the calls since the beginning, in write units.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Tally {
    /// Written.
    pub accepted: f64,
    /// Handed back, or of calls that were throttled.
    pub refused: f64,
}

/// What the person should be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// The table's capacity is another now.
    Followed {
        /// Write units a second, before and now.
        from: f64,
        /// Write units a second now.
        to: f64,
    },
    /// Writes are refused though the rate is within what the table says.
    Lowered {
        /// Write units a second now.
        to: f64,
    },
}

/// See the [module](self).
#[derive(Debug)]
pub struct Controller {
    /// Share of what the table takes.
    share: f64,
    /// The most that may be taken, whatever the table says.
    max_rate: Option<f64>,
    capacity: Capacity,
    /// What has been found out by trying: always so for an on-demand table,
    /// else only after refusals.
    found: Option<f64>,
    /// The tallies of the last [`PERIOD`], or since the last step down, the oldest
    /// first.
    past: VecDeque<(Instant, Tally)>,
    raised: Instant,
    /// What had been found out before the first of the refusals that are in a row now.
    remembered: Option<f64>,
    phase: Phase,
}

/// How the table takes what it is offered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// In full or in part.
    Usual,
    /// Not at all.
    Down,
    /// Again, since an instant; the rate is this share of the usual one.
    Climbing(Instant, f64),
}

impl Controller {
    /// A controller for a table of this `capacity`: to take `share` (1 is all)
    /// of it, and never more than `max_rate` write units a second.
    pub fn new(capacity: Capacity, share: f64, max_rate: Option<f64>, now: Instant) -> Self {
        let found = capacity.on_demand.then(|| capacity.start());
        Controller {
            share,
            max_rate,
            capacity,
            found,
            past: VecDeque::from([(now, Tally::default())]),
            raised: now,
            remembered: found,
            phase: Phase::Usual,
        }
    }

    /// The rate, in write units a second.
    pub fn rate(&self) -> f64 {
        match self.phase {
            Phase::Usual => self.usual(),
            Phase::Down => LEAST,
            Phase::Climbing(_, share) => (self.usual() * share).max(LEAST),
        }
    }

    /// The rate while something is accepted.
    fn usual(&self) -> f64 {
        let said = self.capacity.start();
        let of_table = match (self.found, self.capacity.on_demand) {
            (Some(found), true) => found.min(self.capacity.ceiling().unwrap_or(f64::INFINITY)),
            (Some(found), false) => found.min(said),
            (None, _) => said,
        };
        (of_table * self.share)
            .min(self.max_rate.unwrap_or(f64::INFINITY))
            .max(LEAST)
    }

    /// What the table was last said to take.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// The table was described anew.
    pub fn described(&mut self, capacity: Capacity) -> Option<Event> {
        let from = self.usual();
        if capacity == self.capacity {
            return None;
        }
        let changed = capacity.ceiling() != self.capacity.ceiling()
            || capacity.on_demand != self.capacity.on_demand;
        self.capacity = capacity;
        if changed {
            // What was found out was found out about another capacity.
            self.found = self.capacity.on_demand.then(|| self.capacity.start());
            self.remembered = self.found;
            self.past.clear();
        }
        let to = self.usual();
        (to != from).then_some(Event::Followed { from, to })
    }

    /// A call is refused for the first time since one was accepted: should nothing
    /// more be accepted, this is the rate to go back to.
    pub fn remember(&mut self) {
        self.remembered = self.found;
    }

    /// Nothing has been accepted for a while.
    pub fn nothing_accepted(&mut self) {
        // What was found out since then says nothing of the table's capacity.
        self.found = self.remembered;
        self.phase = Phase::Down;
    }

    /// Something is accepted again: `tally` is what came of all calls so far.
    pub fn accepted_again(&mut self, tally: Tally, now: Instant) {
        self.past = VecDeque::from([(now, tally)]);
        self.phase = Phase::Climbing(now, CLIMB_FROM);
    }

    /// Time has passed: a climb goes on, and nothing else is decided.
    pub fn climb(&mut self, now: Instant) {
        let Phase::Climbing(since, _) = self.phase else {
            return;
        };
        let share = (now - since).as_secs_f64() / CLIMB.as_secs_f64();
        self.phase = Phase::Climbing(since, share.max(CLIMB_FROM));
        if share >= 1.0 {
            self.phase = Phase::Usual;
            self.raised = now;
        }
    }

    /// Time has passed: `tally` is what came of all calls so far.
    pub fn tick(&mut self, tally: Tally, now: Instant) -> Option<Event> {
        self.climb(now);
        if self.phase == Phase::Down {
            return None;
        }
        // The youngest that is a period old, for a tick is always a little late:
        // hardly any is a period old to the millisecond.
        while self.past.len() > 1 && now - self.past[1].0 >= PERIOD {
            self.past.pop_front();
        }
        let (then, before) = *self.past.front().unwrap_or(&(now, tally));
        self.past.push_back((now, tally));
        let elapsed = now - then;
        if elapsed < PERIOD {
            return None;
        }
        let elapsed = elapsed.as_secs_f64();
        let accepted = tally.accepted - before.accepted;
        let refused = tally.refused - before.refused;
        if refused > TOLERATED * (accepted + refused) {
            // What comes of the lower rate is to be judged by itself.
            self.past = VecDeque::from([(now, tally)]);
            self.raised = now;
            let from = self.rate();
            let to = (accepted / elapsed * BACK_OFF / self.share).max(LEAST);
            self.found = Some(self.found.map_or(to, |f| f.min(to)));
            self.phase = Phase::Usual;
            let to = self.rate();
            // All of the rate may have been accepted, and refused what came on top.
            return (to < from).then_some(Event::Lowered { to });
        }
        if let Some(found) = self.found
            && refused == 0.0
            && self.phase == Phase::Usual
            && now - self.raised >= PERIOD
            && accepted / elapsed >= IN_USE * self.rate()
        {
            self.raised = now;
            let step = (self.capacity.start() * STEP_UP).max(1.0);
            self.found = Some(found + step);
            if !self.capacity.on_demand && found + step >= self.capacity.start() {
                self.found = None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
