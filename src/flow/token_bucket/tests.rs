use super::*;
use std::sync::Arc;

const MS: Duration = Duration::from_millis(1);

#[test]
fn refill_is_fractional() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(10.0, t0);
    assert_eq!(b.take(25.0, t0), Ok(()));
    assert_eq!(b.take(1.0, t0), Err(100 * MS));
    assert_eq!(
        b.take(1.0, t0 + 50 * MS),
        Err(50 * MS),
        "half a unit is there"
    );
    assert_eq!(b.take(1.0, t0 + 100 * MS), Ok(()));
    assert_eq!(b.take(0.5, t0 + 100 * MS), Err(50 * MS));
}

#[test]
fn the_bucket_never_holds_more_than_its_size() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(10_000.0, t0);
    assert_eq!(b.size(), 225.0);
    let later = t0 + Duration::from_secs(3600);
    assert_eq!(b.take(225.0, later), Ok(()));
    assert!(b.take(1.0, later).is_err());
}

#[test]
fn a_batch_larger_than_the_bucket_passes_and_is_owed() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(100.0, t0);
    assert_eq!(b.take(10_000.0, t0), Ok(()), "proceeds at once");
    assert_eq!(
        b.take(25.0, t0),
        Err(Duration::from_secs(100)),
        "9,975 owed, 25 needed"
    );
    assert_eq!(b.take(25.0, t0 + Duration::from_secs(100)), Ok(()));
}

#[test]
fn a_new_rate_applies_from_its_instant() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(100.0, t0);
    assert_eq!(b.take(25.0, t0), Ok(()));
    b.set_rate(10.0, t0 + 100 * MS);
    assert_eq!(
        b.take(20.0, t0 + 100 * MS),
        Err(Duration::from_secs(1)),
        "10 came at the old rate"
    );
    b.set_rate(1000.0, t0 + 600 * MS);
    assert_eq!(
        b.take(20.0, t0 + 600 * MS),
        Err(5 * MS),
        "5 more at the middle one"
    );
}

#[test]
fn refunds_can_be_spent_and_charges_are_owed() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(100.0, t0);
    assert_eq!(b.take(25.0, t0), Ok(()));
    b.refund(10.0, t0);
    assert_eq!(b.take(10.0, t0), Ok(()));
    b.refund(-50.0, t0);
    assert_eq!(b.take(25.0, t0), Err(750 * MS));
    b.refund(1e9, t0);
    assert!(
        b.take(25.0, t0).is_ok() && b.take(25.0, t0).is_err(),
        "never above the size"
    );
}

#[test]
fn clearing_debt_keeps_a_positive_level() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(100.0, t0);
    assert_eq!(b.take(10_000.0, t0), Ok(()));
    b.clear_debt(t0 + MS);
    assert_eq!(b.take(25.0, t0 + MS), Err(250 * MS), "9,975 were owed");
    b.refund(20.0, t0 + MS);
    b.clear_debt(t0 + MS);
    assert_eq!(b.take(25.0, t0 + MS), Err(50 * MS));
}

#[test]
fn a_granted_burst_is_spent_once() {
    let t0 = Instant::now();
    let mut b = TokenBucket::new(100.0, t0);
    b.grant(1000.0, t0);
    let later = t0 + Duration::from_secs(60);
    for _ in 0..41 {
        assert_eq!(
            b.take(25.0, later),
            Ok(()),
            "1,025 at once, and nothing on top in a minute"
        );
    }
    assert_eq!(b.take(25.0, later), Err(250 * MS));
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_exact_to_the_millisecond() {
    // 401 batches of 25: the first from the full bucket, 400 at 1,000 a second.
    let limiter = SharedBucket::new(1000.0);
    let begun = Instant::now();
    for _ in 0..401 {
        limiter.take(25.0).await;
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn millisecond_timers_sustain_high_rates() {
    // A batch every 0.625 ms; a sleep rings at whole milliseconds.
    let limiter = SharedBucket::new(40_000.0);
    let begun = Instant::now();
    for _ in 0..1 + 16_000 {
        limiter.take(25.0).await;
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn callers_are_served_in_order_of_arrival() {
    let limiter = Arc::new(SharedBucket::new(25.0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..20)
        .map(|i| {
            let (limiter, order) = (limiter.clone(), order.clone());
            // Small callers do not overtake the large ones before them.
            let units = if i % 2 == 0 { 25.0 } else { 1.0 };
            tokio::spawn(async move {
                limiter.take(units).await;
                order.lock().expect("no panic").push(i);
            })
        })
        .collect();
    for t in tasks {
        t.await.expect("ends");
    }
    assert_eq!(
        *order.lock().expect("no panic"),
        (0..20).collect::<Vec<_>>()
    );
    // 260 units, 25 of them at once, at 25 a second.
    assert_eq!(begun.elapsed(), Duration::from_millis(9_400));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_rate_wakes_waiting_callers() {
    let limiter = Arc::new(SharedBucket::new(1.0));
    limiter.take(25.0).await;
    let begun = Instant::now();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take(25.0).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    limiter.set_rate(Some(10.0));
    waiting.await.expect("ends");
    assert_eq!(
        begun.elapsed(),
        Duration::from_secs(7),
        "5 units in 5 s, 20 in 2 s"
    );
    limiter.set_rate(None);
    for _ in 0..1000 {
        limiter.take(25.0).await;
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn clearing_debt_shortens_the_wait() {
    let limiter = Arc::new(SharedBucket::new(100.0));
    limiter.take(10_000.0).await;
    let begun = Instant::now();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.take(25.0).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    limiter.clear_debt();
    waiting.await.expect("ends");
    assert_eq!(begun.elapsed(), 1250 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_takes_nothing() {
    let limiter = SharedBucket::new(25.0);
    limiter.take(25.0).await;
    let begun = Instant::now();
    let timed_out = tokio::time::timeout(500 * MS, limiter.take(25.0)).await;
    assert!(timed_out.is_err());
    limiter.take(25.0).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(1));
}
