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
pub(crate) const BUCKET_SECONDS: f64 = 0.020;

/// One batch of items of up to 1 KB, in write capacity units.
pub(crate) const BATCH_UNITS: f64 = 25.0;

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
mod tests;
