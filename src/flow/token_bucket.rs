//! Token bucket: the capacity units that may be spent now.
//!
//! [`TokenBucket`] is arithmetic on instants that the caller passes. [`SharedBucket`] adds a
//! clock, a queue and a settable rate. There is no background task and no polling. The
//! level follows from the elapsed time, and a waiter sleeps until the level suffices or
//! the rate changes.
//!
//! **Debt.** A caller proceeds as soon as the bucket holds its units, or one batch of
//! small items (25). Units beyond the level are owed, and later callers wait longer. So
//! a batch of 25 items of 400 KB, which costs 10,000 units, passes a bucket of 25, and
//! the rate still holds.
//!
//! **Size.** The bucket holds one batch (25 units) and the rate of 20 ms. Two facts
//! conflict. DynamoDB refills its bucket about once a second, so a client that starts
//! with a full second in hand sends two seconds' worth in the first. But a timer fires
//! up to a millisecond late, and units above the size are lost. A bucket of exactly one
//! batch sustained 96 % of 1,000 units/s, 69 % of 10,000 and 36 % of 40,000 (`cargo
//! bench --bench limiter`, a shared machine of two cores). With 5 ms more it sustained
//! all of each; 20 ms leave room for a busy machine. The bucket starts with one batch,
//! so that the first second is no fuller than the others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Unused time that the bucket holds, in seconds, besides one batch. See the
/// [module](self) for the reason.
pub(crate) const BUCKET_SECONDS: f64 = 0.020;

/// Cost of a batch of 25 items of up to 1 KB, in WCU.
pub(crate) const BATCH_UNITS: f64 = 25.0;

/// A token bucket of capacity units. Pure: time is an argument.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// Units per second.
    rate: f64,
    /// Unused seconds of the rate that it holds.
    burst_seconds: f64,
    /// Units at `last_refill`; negative for debt.
    level: f64,
    last_refill: Instant,
}

impl TokenBucket {
    /// Creates a bucket that holds one batch and refills by `rate` units per second.
    pub fn new(rate: f64, now: Instant) -> Self {
        TokenBucket::with_burst_seconds(BUCKET_SECONDS, rate, now)
    }

    /// As [`new`](Self::new), with `seconds` instead of the default 20 ms.
    pub fn with_burst_seconds(burst_seconds: f64, rate: f64, now: Instant) -> Self {
        TokenBucket {
            rate,
            burst_seconds,
            level: BATCH_UNITS,
            last_refill: now,
        }
    }

    /// The size of the bucket, in units.
    pub fn size(&self) -> f64 {
        BATCH_UNITS + self.rate * self.burst_seconds
    }

    /// Units per second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Changes the rate from `now` on. Level and debt stay.
    pub fn set_rate(&mut self, rate: f64, now: Instant) {
        self.refill(now);
        self.rate = rate;
        self.level = self.level.min(self.size());
    }

    /// Takes `units` if they may be spent now.
    ///
    /// # Errors
    /// The time to wait until they may be spent.
    pub fn take(&mut self, units: f64, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        let needed = units.min(BATCH_UNITS);
        // A timer that fires on time must find the level sufficient, despite rounding
        // errors.
        if self.level + 1e-6 >= needed {
            self.level -= units;
            return Ok(());
        }
        // At a tiny rate the wait would exceed the clock's range.
        let wait = ((needed - self.level) / self.rate).min(365.0 * 86_400.0);
        Err(Duration::from_secs_f64(wait))
    }

    /// Refunds `units` that were taken and not consumed. A negative number charges
    /// units that were consumed and not taken.
    pub fn refund(&mut self, units: f64, now: Instant) {
        self.refill(now);
        self.add(units);
    }

    /// Adds `units` above the size: saved capacity, to be spent once.
    pub fn grant(&mut self, units: f64, now: Instant) {
        self.refill(now);
        self.level += units;
    }

    /// Cancels the debt: it was spent on throttled calls.
    pub fn clear_debt(&mut self, now: Instant) {
        self.refill(now);
        self.level = self.level.max(0.0);
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now
            .saturating_duration_since(self.last_refill)
            .as_secs_f64();
        self.last_refill = now;
        self.add(elapsed * self.rate);
    }

    /// Adds units up to the size. A level above it stays.
    fn add(&mut self, units: f64) {
        let limit = self.size().max(self.level);
        self.level = (self.level + units).min(limit);
    }
}

/// A [`TokenBucket`] with a clock and a queue. Shared by reference; callers are served in
/// order of arrival.
#[derive(Debug)]
pub struct SharedBucket {
    /// `None` if there is no limit.
    bucket: Mutex<Option<TokenBucket>>,
    queue: tokio::sync::Mutex<()>,
    changed: Notify,
}

impl SharedBucket {
    /// Creates a bucket that refills by `rate` capacity units per second.
    pub fn new(rate: f64) -> Self {
        SharedBucket::from_option(Some(TokenBucket::new(rate, Instant::now())))
    }

    /// Shares `bucket`.
    pub fn from_bucket(bucket: TokenBucket) -> Self {
        SharedBucket::from_option(Some(bucket))
    }

    /// Creates a bucket without a limit.
    pub fn unlimited() -> Self {
        SharedBucket::from_option(None)
    }

    fn from_option(bucket: Option<TokenBucket>) -> Self {
        SharedBucket {
            bucket: Mutex::new(bucket),
            queue: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// The rate in capacity units per second; `None` if there is no limit.
    pub fn rate(&self) -> Option<f64> {
        self.bucket().as_ref().map(TokenBucket::rate)
    }

    /// Changes the rate, at once also for waiting callers. `None` removes the limit.
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

    /// Waits until `units` may be spent, and takes them. A future that is dropped while
    /// it waits takes nothing.
    pub async fn take(&self, units: f64) {
        let _turn = match self.queue.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.queue.lock().await,
        };
        // Usually the level suffices, without registering for changes.
        if self.try_take(units).is_ok() {
            return;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on, no change of the rate is missed.
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

    /// Refunds units; see [`TokenBucket::refund`].
    pub fn refund(&self, units: f64) {
        if let Some(bucket) = self.bucket().as_mut() {
            bucket.refund(units, Instant::now());
        }
    }

    /// Adds units above the size; see [`TokenBucket::grant`].
    pub fn grant(&self, units: f64) {
        if let Some(bucket) = self.bucket().as_mut() {
            bucket.grant(units, Instant::now());
        }
    }

    /// Cancels the debt, at once also for waiting callers; see
    /// [`TokenBucket::clear_debt`].
    pub fn clear_debt(&self) {
        if let Some(bucket) = self.bucket().as_mut() {
            bucket.clear_debt(Instant::now());
        }
        self.changed.notify_waiters();
    }

    /// Takes `units` if they may be spent now. For a single caller with a separate clock.
    ///
    /// # Errors
    /// The time to wait until they may be spent.
    pub fn try_take(&self, units: f64) -> Result<(), Duration> {
        match self.bucket().as_mut() {
            Some(bucket) => bucket.take(units, Instant::now()),
            None => Ok(()),
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Option<TokenBucket>> {
        // No holder of this lock panics half-way.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
