//! The token bucket: how many write capacity units may be spent now.
//!
//! [`TokenBucket`] is arithmetic on instants that the caller names; [`Limiter`]
//! puts a clock, a queue and a settable rate around it. No task runs in the
//! background and nobody polls: the bucket's level follows from the time that
//! has passed, and who must wait sleeps exactly until the level is there, or
//! until the rate is changed.
//!
//! **Debt.** A taker goes as soon as the bucket holds what it asks for, or one
//! batch of small items (25). What it takes beyond the level is owed, and those
//! behind it wait the longer. So a batch of 25 items of 400 KB, which costs
//! 10,000 units, passes a bucket of 25, and the rate holds all the same.
//!
//! **Size.** The bucket holds one batch (25 units) and what 20 ms bring. Two
//! forces pull on it. DynamoDB refills its own bucket once a second or so;
//! whoever begins with a whole second's worth in hand sends two seconds' worth
//! in the first. But a timer rings up to a millisecond late, and what flows in
//! above the brim is lost: a bucket of exactly one batch had 96 % of 1,000 units
//! a second, 69 % of 10,000 and 36 % of 40,000 (`cargo bench --bench limiter`,
//! a shared machine of two cores). With 5 ms more it had all of each; 20 ms
//! leave room for a machine that is busy. It begins with one batch, so that the
//! first second is no fuller than the others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a stretch of unused rate the bucket holds, beside one batch. See
/// the [module](self) for why.
pub const BUCKET_SECONDS: f64 = 0.020;

/// One batch of items of up to 1 KB, in write capacity units.
pub const BATCH_UNITS: f64 = 25.0;

/// A bucket of tokens that are write capacity units. Pure: time is an argument.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// Units a second.
    rate: f64,
    /// Seconds of the rate that it holds.
    seconds: f64,
    /// Units at the last `seen`; below zero is debt.
    level: f64,
    seen: Instant,
}

impl TokenBucket {
    /// A bucket that holds one batch and refills by `rate` units a second.
    pub fn new(rate: f64, now: Instant) -> Self {
        TokenBucket::holding(BUCKET_SECONDS, rate, now)
    }

    /// Such a bucket that holds what `seconds` bring.
    pub fn holding(seconds: f64, rate: f64, now: Instant) -> Self {
        TokenBucket {
            rate,
            seconds,
            level: BATCH_UNITS,
            seen: now,
        }
    }

    /// What the bucket holds when it is full, in units.
    pub fn size(&self) -> f64 {
        BATCH_UNITS + self.rate * self.seconds
    }

    /// Units a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Changes the rate from `now` on. What has flowed in stays; what is owed
    /// stays owed.
    pub fn set_rate(&mut self, rate: f64, now: Instant) {
        self.refill(now);
        self.rate = rate;
        self.level = self.level.min(self.size());
    }

    /// Takes `units` if they may go now; else says how long to wait.
    pub fn take(&mut self, units: f64, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        let needed = units.min(BATCH_UNITS);
        // A timer that rings in time must find the level there: the sums of
        // many small parts are a little off.
        if self.level + 1e-6 >= needed {
            self.level -= units;
            return Ok(());
        }
        // At a rate of next to nothing the wait has no end that a clock knows.
        let wait = ((needed - self.level) / self.rate).min(365.0 * 86_400.0);
        Err(Duration::from_secs_f64(wait))
    }

    /// Gives back `units` that were taken and not spent, or, when negative,
    /// charges units that were spent and not taken.
    pub fn give_back(&mut self, units: f64, now: Instant) {
        self.refill(now);
        self.pour(units);
    }

    /// Puts `units` in above the brim: saved before, to be spent once.
    pub fn grant(&mut self, units: f64, now: Instant) {
        self.refill(now);
        self.level += units;
    }

    /// Forgets what is owed: it was spent on what was refused.
    pub fn clear_debt(&mut self, now: Instant) {
        self.refill(now);
        self.level = self.level.max(0.0);
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.pour(elapsed * self.rate);
    }

    /// Nothing goes in above the brim; what is there already stays.
    fn pour(&mut self, units: f64) {
        let brim = self.size().max(self.level);
        self.level = (self.level + units).min(brim);
    }
}

/// A [`TokenBucket`] to wait at. Shared by reference; the order of arrival is
/// the order of service.
#[derive(Debug)]
pub struct Limiter {
    /// Nothing: no limit.
    bucket: Mutex<Option<TokenBucket>>,
    queue: tokio::sync::Mutex<()>,
    changed: Notify,
}

impl Limiter {
    /// A limiter of `rate` write capacity units a second.
    pub fn new(rate: f64) -> Self {
        Limiter::with_bucket(Some(TokenBucket::new(rate, Instant::now())))
    }

    /// A limiter around `bucket`.
    pub fn around(bucket: TokenBucket) -> Self {
        Limiter::with_bucket(Some(bucket))
    }

    /// A limiter that lets everything pass.
    pub fn unlimited() -> Self {
        Limiter::with_bucket(None)
    }

    fn with_bucket(bucket: Option<TokenBucket>) -> Self {
        Limiter {
            bucket: Mutex::new(bucket),
            queue: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// The rate in write capacity units a second; nothing when there is none.
    pub fn rate(&self) -> Option<f64> {
        self.bucket().as_ref().map(TokenBucket::rate)
    }

    /// Changes the rate, at once also for those who wait. Nothing lifts it.
    pub fn set_rate(&self, rate: Option<f64>) {
        let now = Instant::now();
        let mut bucket = self.bucket();
        match (bucket.as_mut(), rate) {
            (Some(b), Some(rate)) => b.set_rate(rate, now),
            (None, Some(rate)) => *bucket = Some(TokenBucket::new(rate, now)),
            (_, None) => *bucket = None,
        }
        drop(bucket);
        self.changed.notify_waiters();
    }

    /// Waits until `units` may be spent, and takes them. One that is dropped
    /// while it waits has taken nothing.
    pub async fn take(&self, units: f64) {
        let _turn = match self.queue.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.queue.lock().await,
        };
        // Mostly there is enough, and nothing to be told of.
        if self.try_take(units).is_ok() {
            return;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change of rate is not missed.
            changed.as_mut().enable();
            let Err(wait) = self.try_take(units) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = changed => {}
            }
        }
    }

    /// Gives back units that were taken and not spent; see
    /// [`TokenBucket::give_back`].
    pub fn give_back(&self, units: f64) {
        if let Some(bucket) = self.bucket().as_mut() {
            bucket.give_back(units, Instant::now());
        }
    }

    /// Puts units in above the brim; see [`TokenBucket::grant`].
    pub fn grant(&self, units: f64) {
        if let Some(bucket) = self.bucket().as_mut() {
            bucket.grant(units, Instant::now());
        }
    }

    /// Forgets what is owed, at once also for those who wait; see
    /// [`TokenBucket::clear_debt`].
    pub fn clear_debt(&self) {
        if let Some(bucket) = self.bucket().as_mut() {
            bucket.clear_debt(Instant::now());
        }
        self.changed.notify_waiters();
    }

    /// Takes `units` if they may be spent now; else says how long to wait.
    /// For a caller that is alone and has its own clock.
    pub fn try_take(&self, units: f64) -> Result<(), Duration> {
        match self.bucket().as_mut() {
            Some(bucket) => bucket.take(units, Instant::now()),
            None => Ok(()),
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Option<TokenBucket>> {
        // Nothing that holds this lock can panic half-way.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
    fn it_never_holds_more_than_its_size() {
        let t0 = Instant::now();
        let mut b = TokenBucket::new(10_000.0, t0);
        assert_eq!(b.size(), 225.0);
        let later = t0 + Duration::from_secs(3600);
        assert_eq!(b.take(225.0, later), Ok(()));
        assert!(b.take(1.0, later).is_err());
    }

    #[test]
    fn a_batch_larger_than_the_bucket_goes_and_is_owed() {
        let t0 = Instant::now();
        let mut b = TokenBucket::new(100.0, t0);
        assert_eq!(b.take(10_000.0, t0), Ok(()), "goes at once");
        assert_eq!(
            b.take(25.0, t0),
            Err(Duration::from_secs(100)),
            "9,975 owed, 25 wanted"
        );
        assert_eq!(b.take(25.0, t0 + Duration::from_secs(100)), Ok(()));
    }

    #[test]
    fn a_new_rate_counts_from_its_instant_on() {
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
    fn what_is_given_back_can_be_spent_and_what_is_charged_is_owed() {
        let t0 = Instant::now();
        let mut b = TokenBucket::new(100.0, t0);
        assert_eq!(b.take(25.0, t0), Ok(()));
        b.give_back(10.0, t0);
        assert_eq!(b.take(10.0, t0), Ok(()));
        b.give_back(-50.0, t0);
        assert_eq!(b.take(25.0, t0), Err(750 * MS));
        b.give_back(1e9, t0);
        assert!(
            b.take(25.0, t0).is_ok() && b.take(25.0, t0).is_err(),
            "never above the brim"
        );
    }

    #[test]
    fn debt_is_forgotten_and_what_is_there_stays() {
        let t0 = Instant::now();
        let mut b = TokenBucket::new(100.0, t0);
        assert_eq!(b.take(10_000.0, t0), Ok(()));
        b.clear_debt(t0 + MS);
        assert_eq!(b.take(25.0, t0 + MS), Err(250 * MS), "9,975 were owed");
        b.give_back(20.0, t0 + MS);
        b.clear_debt(t0 + MS);
        assert_eq!(b.take(25.0, t0 + MS), Err(50 * MS));
    }

    #[test]
    fn what_was_saved_is_spent_once() {
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
    async fn the_rate_holds_to_the_millisecond() {
        // 401 batches of 25: the first from the full bucket, 400 at 1,000 a second.
        let limiter = Limiter::new(1000.0);
        let begun = Instant::now();
        for _ in 0..401 {
            limiter.take(25.0).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn timers_of_a_millisecond_lose_nothing_at_high_rates() {
        // A batch every 0.625 ms; a sleep rings at whole milliseconds.
        let limiter = Limiter::new(40_000.0);
        let begun = Instant::now();
        for _ in 0..1 + 16_000 {
            limiter.take(25.0).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn the_order_of_arrival_is_the_order_of_service() {
        let limiter = Arc::new(Limiter::new(25.0));
        let order = Arc::new(Mutex::new(Vec::new()));
        let begun = Instant::now();
        let tasks: Vec<_> = (0..20)
            .map(|i| {
                let (limiter, order) = (limiter.clone(), order.clone());
                // The large ones are not overtaken by the small ones behind them.
                let units = if i % 2 == 0 { 25.0 } else { 1.0 };
                tokio::spawn(async move {
                    limiter.take(units).await;
                    order.lock().expect("whole").push(i);
                })
            })
            .collect();
        for t in tasks {
            t.await.expect("ends");
        }
        assert_eq!(*order.lock().expect("whole"), (0..20).collect::<Vec<_>>());
        // 260 units, 25 of them at once, at 25 a second.
        assert_eq!(begun.elapsed(), Duration::from_millis(9_400));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_rate_wakes_who_waits() {
        let limiter = Arc::new(Limiter::new(1.0));
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
    async fn who_waits_for_debt_that_is_forgotten_waits_no_longer_for_it() {
        let limiter = Arc::new(Limiter::new(100.0));
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
    async fn one_that_stops_waiting_has_taken_nothing() {
        let limiter = Limiter::new(25.0);
        limiter.take(25.0).await;
        let begun = Instant::now();
        let given_up = tokio::time::timeout(500 * MS, limiter.take(25.0)).await;
        assert!(given_up.is_err());
        limiter.take(25.0).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }
}
