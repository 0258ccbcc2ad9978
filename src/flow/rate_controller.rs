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

/// How long the rate takes back to what it was before nothing was accepted.
pub const CLIMB: Duration = Duration::from_secs(4);

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
mod tests {
    use super::*;
    use crate::flow::capacity::Part;

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

    /// Refuses everything for a second, and says so.
    fn fail(c: &mut Controller, now: &mut Instant, tally: &mut Tally) {
        c.remember();
        for _ in 0..10 {
            tally.refused += c.rate() * TICK.as_secs_f64();
            *now += TICK;
            c.tick(*tally, *now);
        }
        c.nothing_accepted();
    }

    /// Takes everything for so many ticks: the rate after each.
    fn climb(c: &mut Controller, now: &mut Instant, tally: &mut Tally, ticks: u32) -> Vec<f64> {
        let after = |_| {
            tally.accepted += c.rate() * TICK.as_secs_f64();
            *now += TICK;
            c.tick(*tally, *now);
            c.rate()
        };
        (0..ticks).map(after).collect()
    }

    #[test]
    fn after_nothing_was_accepted_the_rate_is_back_in_four_seconds() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        drive(&mut c, &mut now, &mut tally, 2000.0, 5);
        fail(&mut c, &mut now, &mut tally);
        for _ in 0..600 {
            tally.refused += 1.0;
            now += TICK;
            assert_eq!(c.tick(tally, now), None, "it is not told each second");
            assert_eq!(c.rate(), LEAST);
        }
        tally.accepted += 1.0;
        c.accepted_again(tally, now);
        assert_eq!(c.rate(), 125.0);
        let rates = climb(&mut c, &mut now, &mut tally, 40);
        let at = |ticks: usize| rates[ticks - 1];
        assert_eq!((at(5), at(6), at(10)), (125.0, 150.0, 250.0));
        assert_eq!((at(20), at(30), at(39)), (500.0, 750.0, 975.0));
        assert_eq!((at(40), c.found, c.phase), (1000.0, None, Phase::Usual));
    }

    #[test]
    fn what_was_found_before_is_gone_back_to_and_not_what_refusals_led_to() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        for on_demand in [on_demand(None), provisioned(5000.0)] {
            let mut c = Controller::new(on_demand, 1.0, None, now);
            drive(&mut c, &mut now, &mut tally, 3000.0, 20);
            let before = c.rate();
            assert!((2900.0..3100.0).contains(&before), "{before}");
            fail(&mut c, &mut now, &mut tally);
            c.accepted_again(tally, now);
            let rates = climb(&mut c, &mut now, &mut tally, 40);
            assert_eq!((rates[19], rates[39]), (before / 2.0, before));
            let later = climb(&mut c, &mut now, &mut tally, 10);
            assert!(later[9] > before, "and up from there");
        }
    }

    #[test]
    fn refused_again_on_its_way_up_it_stays_with_what_is_taken() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        fail(&mut c, &mut now, &mut tally);
        c.accepted_again(tally, now);
        drive(&mut c, &mut now, &mut tally, 300.0, 3);
        assert!((200.0..=320.0).contains(&c.rate()), "{}", c.rate());
        assert_eq!(c.phase, Phase::Usual);
        // Nothing at all is another matter: back to what was before.
        let before = c.rate();
        fail(&mut c, &mut now, &mut tally);
        c.accepted_again(tally, now);
        assert_eq!(climb(&mut c, &mut now, &mut tally, 40)[39], before);
    }

    #[test]
    fn nothing_accepted_twice_in_a_row_leads_back_to_the_rate_before_the_first() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        for _ in 0..3 {
            fail(&mut c, &mut now, &mut tally);
            tally.accepted += 1.0;
            c.accepted_again(tally, now);
            climb(&mut c, &mut now, &mut tally, 8);
        }
        assert_eq!(climb(&mut c, &mut now, &mut tally, 32)[31], 1000.0);
    }

    #[test]
    fn another_capacity_is_climbed_to_whenever_it_is_told() {
        let (mut now, mut tally) = (Instant::now(), Tally::default());
        let mut c = Controller::new(provisioned(1000.0), 1.0, None, now);
        fail(&mut c, &mut now, &mut tally);
        let told = c.described(provisioned(400.0));
        let (from, to) = (1000.0, 400.0);
        assert_eq!(told, Some(Event::Followed { from, to }));
        assert_eq!(c.rate(), LEAST, "nothing is accepted all the same");
        c.accepted_again(tally, now);
        assert_eq!(climb(&mut c, &mut now, &mut tally, 20)[19], 200.0);
        c.described(provisioned(800.0));
        assert_eq!(c.rate(), 400.0);
        assert_eq!(climb(&mut c, &mut now, &mut tally, 20)[19], 800.0);
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
