use super::*;
use crate::flow::capacity::Part;

fn provisioned(units: f64) -> Capacity {
    Capacity {
        on_demand: false,
        parts: vec![(Part::Table, units)],
        warm_throughput: None,
    }
}

fn on_demand(maximum: Option<f64>) -> Capacity {
    let parts = maximum.map(|m| (Part::Table, m)).into_iter().collect();
    Capacity {
        on_demand: true,
        parts,
        warm_throughput: None,
    }
}

/// Runs for `seconds` against a table with capacity `limit`, with ticks up to 3 ms
/// late.
fn drive(c: &mut RateController, now: &mut Instant, tally: &mut Tally, limit: f64, seconds: u32) {
    let (begun, mut late) = (*now, fastrand::Rng::with_seed(7));
    for n in 1..=seconds * 10 {
        let next = begun + n * TICK + Duration::from_micros(late.u64(0..3000));
        let elapsed = (next - *now).as_secs_f64();
        let offered = c.rate() * elapsed;
        let accepted = offered.min(limit * elapsed);
        tally.accepted += accepted;
        tally.throttled += offered - accepted;
        *now = next;
        c.tick(*tally, *now);
    }
}

#[test]
fn the_rate_follows_the_described_capacity() {
    let now = Instant::now();
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    assert_eq!(c.rate(), 1000.0);
    assert_eq!(c.update_capacity(provisioned(1000.0)), None);
    assert_eq!(
        c.update_capacity(provisioned(400.0)),
        Some(RateEvent::CapacityChanged {
            from: 1000.0,
            to: 400.0
        })
    );
    assert_eq!(c.rate(), 400.0);
    let c = RateController::new(provisioned(1000.0), 0.5, None, now);
    assert_eq!(c.rate(), 500.0);
    let c = RateController::new(provisioned(1000.0), 0.5, Some(100.0), now);
    assert_eq!(c.rate(), 100.0);
}

#[test]
fn throttling_lowers_the_rate_to_the_accepted_one_and_it_rises_after() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    drive(&mut c, &mut now, &mut tally, 600.0, 3);
    assert!((550.0..=620.0).contains(&c.rate()), "{}", c.rate());
    // The partition was split: the rate returns to the full capacity, 20 units per
    // second.
    drive(&mut c, &mut now, &mut tally, 2000.0, 30);
    assert_eq!(c.rate(), 1000.0);
    assert_eq!(c.discovered, None);
}

#[test]
fn the_rate_drops_within_a_second_even_if_ticks_are_late() {
    for late in [0, 1, 200, 3000, 70_000, 2_000_000].map(Duration::from_micros) {
        let mut now = Instant::now();
        let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
        let begun = now;
        let mut ticks = 0;
        while c.rate() == 1000.0 {
            ticks += 1;
            now = begun + ticks * (TICK + late);
            let elapsed = (now - begun).as_secs_f64();
            let tally = Tally {
                accepted: 600.0 * elapsed,
                throttled: 400.0 * elapsed,
            };
            c.tick(tally, now);
            assert!(now - begun < PERIOD + TICK + late, "{late:?}");
        }
        assert!((580.0..=600.0).contains(&c.rate()), "{}", c.rate());
    }
}

#[test]
fn an_occasional_throttled_item_does_not_lower_the_rate() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    for _ in 0..600 {
        tally.accepted += 99.8;
        tally.throttled += 0.2;
        now += TICK;
        assert_eq!(c.tick(tally, now), None);
    }
    assert_eq!(c.rate(), 1000.0);
}

#[test]
fn an_unchanged_rate_is_not_reported_as_lowered() {
    let mut now = Instant::now();
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    // Started with a full bucket: more than the table's capacity.
    for n in 1..=10 {
        let tally = Tally {
            accepted: f64::from(n) * 103.0,
            throttled: f64::from(n) * 2.0,
        };
        now += TICK;
        assert_eq!(c.tick(tally, now), None);
    }
    assert_eq!(c.rate(), 1000.0);
}

/// Throttles everything for one second, then records the outage.
fn fail(c: &mut RateController, now: &mut Instant, tally: &mut Tally) {
    c.remember_rate();
    for _ in 0..10 {
        tally.throttled += c.rate() * TICK.as_secs_f64();
        *now += TICK;
        c.tick(*tally, *now);
    }
    c.record_outage();
}

/// Accepts everything for `ticks`. Returns the rate after each.
fn climb(c: &mut RateController, now: &mut Instant, tally: &mut Tally, ticks: u32) -> Vec<f64> {
    let after = |_| {
        tally.accepted += c.rate() * TICK.as_secs_f64();
        *now += TICK;
        c.tick(*tally, *now);
        c.rate()
    };
    (0..ticks).map(after).collect()
}

#[test]
fn after_an_outage_the_rate_is_restored_in_four_seconds() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    drive(&mut c, &mut now, &mut tally, 2000.0, 5);
    fail(&mut c, &mut now, &mut tally);
    for _ in 0..600 {
        tally.throttled += 1.0;
        now += TICK;
        assert_eq!(c.tick(tally, now), None, "no event each second");
        assert_eq!(c.rate(), MIN_RATE);
    }
    tally.accepted += 1.0;
    c.record_recovery(tally, now);
    assert_eq!(c.rate(), 125.0);
    let rates = climb(&mut c, &mut now, &mut tally, 40);
    let at = |ticks: usize| rates[ticks - 1];
    assert_eq!((at(5), at(6), at(10)), (125.0, 150.0, 250.0));
    assert_eq!((at(20), at(30), at(39)), (500.0, 750.0, 975.0));
    assert_eq!(
        (at(40), c.discovered, c.phase),
        (1000.0, None, Phase::Normal)
    );
}

#[test]
fn after_an_outage_the_rate_from_before_it_is_restored() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    for on_demand in [on_demand(None), provisioned(5000.0)] {
        let mut c = RateController::new(on_demand, 1.0, None, now);
        drive(&mut c, &mut now, &mut tally, 3000.0, 20);
        let before = c.rate();
        assert!((2900.0..3100.0).contains(&before), "{before}");
        fail(&mut c, &mut now, &mut tally);
        c.record_recovery(tally, now);
        let rates = climb(&mut c, &mut now, &mut tally, 40);
        assert_eq!((rates[19], rates[39]), (before / 2.0, before));
        let later = climb(&mut c, &mut now, &mut tally, 10);
        assert!(later[9] > before, "and up from there");
    }
}

#[test]
fn throttling_during_a_climb_keeps_the_accepted_rate() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    fail(&mut c, &mut now, &mut tally);
    c.record_recovery(tally, now);
    drive(&mut c, &mut now, &mut tally, 300.0, 3);
    assert!((200.0..=320.0).contains(&c.rate()), "{}", c.rate());
    assert_eq!(c.phase, Phase::Normal);
    // An outage restores the rate from before it.
    let before = c.rate();
    fail(&mut c, &mut now, &mut tally);
    c.record_recovery(tally, now);
    assert_eq!(climb(&mut c, &mut now, &mut tally, 40)[39], before);
}

#[test]
fn repeated_outages_restore_the_rate_from_before_the_first() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    for _ in 0..3 {
        fail(&mut c, &mut now, &mut tally);
        tally.accepted += 1.0;
        c.record_recovery(tally, now);
        climb(&mut c, &mut now, &mut tally, 8);
    }
    assert_eq!(climb(&mut c, &mut now, &mut tally, 32)[31], 1000.0);
}

#[test]
fn a_climb_follows_a_changed_capacity() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(provisioned(1000.0), 1.0, None, now);
    fail(&mut c, &mut now, &mut tally);
    let event = c.update_capacity(provisioned(400.0));
    let (from, to) = (1000.0, 400.0);
    assert_eq!(event, Some(RateEvent::CapacityChanged { from, to }));
    assert_eq!(c.rate(), MIN_RATE, "every call is still throttled");
    c.record_recovery(tally, now);
    assert_eq!(climb(&mut c, &mut now, &mut tally, 20)[19], 200.0);
    c.update_capacity(provisioned(800.0));
    assert_eq!(c.rate(), 400.0);
    assert_eq!(climb(&mut c, &mut now, &mut tally, 20)[19], 800.0);
}

#[test]
fn on_demand_finds_an_unknown_limit() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(on_demand(None), 1.0, None, now);
    assert_eq!(c.rate(), 4000.0);
    drive(&mut c, &mut now, &mut tally, 3000.0, 60);
    let offered = tally.accepted + tally.throttled;
    assert!(tally.accepted > 0.9 * 3000.0 * 60.0, "{tally:?}");
    assert!(tally.throttled < 0.02 * offered, "{tally:?}");
}

#[test]
fn on_demand_rises_with_use_up_to_its_maximum() {
    let (mut now, mut tally) = (Instant::now(), Tally::default());
    let mut c = RateController::new(on_demand(None), 1.0, None, now);
    drive(&mut c, &mut now, &mut tally, 1e9, 60);
    assert!(c.rate() > 8000.0, "{}", c.rate());
    let mut c = RateController::new(on_demand(Some(5000.0)), 1.0, None, now);
    let mut tally = Tally::default();
    drive(&mut c, &mut now, &mut tally, 1e9, 60);
    assert_eq!(c.rate(), 5000.0);
    // A slowly read list does not raise the rate.
    let mut c = RateController::new(on_demand(None), 1.0, None, now);
    let mut tally = Tally::default();
    for _ in 0..600 {
        tally.accepted += 10.0;
        now += TICK;
        c.tick(tally, now);
    }
    assert_eq!(c.rate(), 4000.0);
}
