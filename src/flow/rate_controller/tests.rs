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
