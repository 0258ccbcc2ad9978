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
//! Pure: it is told the time and the counts, and answers with a rate.

use crate::capacity::Capacity;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How often the controller looks at what came of the calls.
pub const TICK: Duration = Duration::from_millis(100);

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
        }
    }

    /// The rate, in write units a second.
    pub fn rate(&self) -> f64 {
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
        let from = self.rate();
        if capacity == self.capacity {
            return None;
        }
        let changed = capacity.ceiling() != self.capacity.ceiling()
            || capacity.on_demand != self.capacity.on_demand;
        self.capacity = capacity;
        if changed {
            // What was found out was found out about another capacity.
            self.found = self.capacity.on_demand.then(|| self.capacity.start());
            self.past.clear();
        }
        let to = self.rate();
        (to != from).then_some(Event::Followed { from, to })
    }

    /// Time has passed: `tally` is what came of all calls so far.
    pub fn tick(&mut self, tally: Tally, now: Instant) -> Option<Event> {
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
            let to = self.rate();
            // All of the rate may have been accepted, and refused what came on top.
            return (to < from).then_some(Event::Lowered { to });
        }
        if let Some(found) = self.found
            && refused == 0.0
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
mod tests {
    use super::*;
    use crate::capacity::Part;

    fn provisioned(units: f64) -> Capacity {
        Capacity {
            on_demand: false,
            parts: vec![(Part::Table, units)],
            warm: None,
        }
    }

    fn on_demand(maximum: Option<f64>) -> Capacity {
        let parts = maximum.map(|m| (Part::Table, m)).into_iter().collect();
        Capacity {
            on_demand: true,
            parts,
            warm: None,
        }
    }

    /// Runs `seconds` against a resource that takes `limit` units a second, with
    /// ticks that are up to 3 ms late.
    fn drive(c: &mut Controller, now: &mut Instant, tally: &mut Tally, limit: f64, seconds: u32) {
        let (begun, mut late) = (*now, fastrand::Rng::with_seed(7));
        for n in 1..=seconds * 10 {
            let next = begun + n * TICK + Duration::from_micros(late.u64(0..3000));
            let elapsed = (next - *now).as_secs_f64();
            let offered = c.rate() * elapsed;
            let accepted = offered.min(limit * elapsed);
            tally.accepted += accepted;
            tally.refused += offered - accepted;
            *now = next;
            c.tick(*tally, *now);
        }
    }

    #[test]
    fn it_takes_what_the_table_says_and_follows_it() {
        let now = Instant::now();
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        assert_eq!(c.rate(), 1000.0);
        assert_eq!(c.described(provisioned(1000.0)), None);
        assert_eq!(
            c.described(provisioned(400.0)),
            Some(Event::Followed {
                from: 1000.0,
                to: 400.0
            })
        );
        assert_eq!(c.rate(), 400.0);
        let c = Controller::new(provisioned(1000.0), 0.5, None, now);
        assert_eq!(c.rate(), 500.0);
        let c = Controller::new(provisioned(1000.0), 0.5, Some(100.0), now);
        assert_eq!(c.rate(), 100.0);
    }

    #[test]
    fn refused_within_its_rate_it_goes_down_to_what_is_taken_and_up_again() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        drive(&mut c, &mut now, &mut tally, 600.0, 3);
        assert!((550.0..=620.0).contains(&c.rate()), "{}", c.rate());
        // The partition was split: back to all of it, 20 units a second.
        drive(&mut c, &mut now, &mut tally, 2000.0, 30);
        assert_eq!(c.rate(), 1000.0);
        assert_eq!(c.found, None);
    }

    #[test]
    fn it_goes_down_within_a_second_however_late_the_ticks_are() {
        for late in [0, 1, 200, 3000, 70_000, 2_000_000].map(Duration::from_micros) {
            let mut now = Instant::now();
            let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
            let begun = now;
            let mut ticks = 0;
            while c.rate() == 1000.0 {
                ticks += 1;
                now = begun + ticks * (TICK + late);
                let elapsed = (now - begun).as_secs_f64();
                let tally = Tally {
                    accepted: 600.0 * elapsed,
                    refused: 400.0 * elapsed,
                };
                c.tick(tally, now);
                assert!(now - begun < PERIOD + TICK + late, "{late:?}");
            }
            assert!((580.0..=600.0).contains(&c.rate()), "{}", c.rate());
        }
    }

    #[test]
    fn an_item_now_and_then_is_no_reason_to_go_down() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        for _ in 0..600 {
            tally.accepted += 99.8;
            tally.refused += 0.2;
            now += TICK;
            assert_eq!(c.tick(tally, now), None);
        }
        assert_eq!(c.rate(), 1000.0);
    }

    #[test]
    fn a_rate_that_stays_is_not_called_lowered() {
        let mut now = Instant::now();
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        // Begun with what the bucket held: more than the table takes.
        for n in 1..=10 {
            let tally = Tally {
                accepted: f64::from(n) * 103.0,
                refused: f64::from(n) * 2.0,
            };
            now += TICK;
            assert_eq!(c.tick(tally, now), None);
        }
        assert_eq!(c.rate(), 1000.0);
    }

    #[test]
    fn on_demand_finds_a_limit_that_nobody_told() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(on_demand(None), 1.0, None, now);
        assert_eq!(c.rate(), 4000.0);
        drive(&mut c, &mut now, &mut tally, 3000.0, 60);
        let offered = tally.accepted + tally.refused;
        assert!(tally.accepted > 0.9 * 3000.0 * 60.0, "{tally:?}");
        assert!(tally.refused < 0.02 * offered, "{tally:?}");
    }

    #[test]
    fn on_demand_goes_up_while_it_is_used_and_never_above_its_maximum() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(on_demand(None), 1.0, None, now);
        drive(&mut c, &mut now, &mut tally, 1e9, 60);
        assert!(c.rate() > 8000.0, "{}", c.rate());
        let mut c = Controller::new(on_demand(Some(5000.0)), 1.0, None, now);
        let mut tally = Tally::default();
        drive(&mut c, &mut now, &mut tally, 1e9, 60);
        assert_eq!(c.rate(), 5000.0);
        // A list that is read slowly is no reason to go up.
        let mut c = Controller::new(on_demand(None), 1.0, None, now);
        let mut tally = Tally::default();
        for _ in 0..600 {
            tally.accepted += 10.0;
            now += TICK;
            c.tick(tally, now);
        }
        assert_eq!(c.rate(), 4000.0);
    }
}
