//! State of the send loop: what waits, what has failed, and how the loop ends.

use crate::base::error::Error;
use crate::base::hash::Hash;
use crate::commands::lookup::answers::Desk;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Bound, Concurrency};
use crate::flow::waiting::{Entry, Keys, Waiting};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Refusals of one hash for want of capacity at an API, which are no faults of its own,
/// before it counts as a fault all the same.
const MOST_REFUSALS: u32 = 200;

/// How an [`Engine`](crate::commands::lookup::requester::Engine) goes about it.
#[derive(Debug, Clone)]
pub(super) struct EngineOptions {
    /// Calls in flight, at most.
    pub(super) concurrency: Concurrency,
    /// Hashes in a call at most.
    pub(super) most: usize,
    /// What a hash costs at least.
    pub(super) units: f64,
    /// How often a hash is asked for in vain before its answer is an error; without it,
    /// it is asked for until the run gives up.
    pub(super) tries: Option<u32>,
    /// How long to go on without an answer.
    pub(super) give_up_after: Duration,
    /// Whom it asks, for messages: `table sha256`, `https://…`.
    pub(super) whom: String,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Every line is answered.
    Complete,
    /// It was asked to stop.
    Stopped,
    /// Nobody reads the answers any more.
    Enough,
    /// It could not go on.
    Failed(Error),
}

/// What the loop knows.
pub(super) struct State {
    pub(super) desk: Desk,
    pub(crate) waiting: Waiting,
    /// What a hash cost of late.
    pub(crate) key_units: f64,
    pub(crate) backoff: Backoff,
    /// Before it, nothing is sent.
    pub(super) hold: Option<Instant>,
    /// Refusals in a row for want of capacity.
    pub(super) refusals: u32,
    /// Calls in flight, at most.
    pub(crate) bound: Bound,
    /// Fewer, since some were refused.
    pub(super) allowed: Option<f64>,
    /// Faults of hashes that had some.
    pub(super) faults: HashMap<Hash, u32>,
    /// Since when calls have failed without a hash being answered.
    pub(crate) stalled: Option<Instant>,
    /// Whether some hash was answered, and answers before it that no look-up gives.
    pub(super) answered: bool,
    pub(super) astray: u32,
    pub(crate) end: Option<Ended>,
}

impl State {
    /// Whether it may still turn out that the wrong address is asked: then what it
    /// answered is kept for a while.
    pub(super) fn may_be_astray(&self) -> bool {
        self.astray > 0 && !self.answered
    }

    /// Whether `entry` has used up its `tries`.
    pub(super) fn has_failed(&mut self, entry: &Entry, is_fault: bool, tries: u32) -> bool {
        let faults = self.faults.entry(entry.record.hash).or_default();
        *faults += u32::from(is_fault);
        *faults >= tries || entry.attempts >= MOST_REFUSALS
    }

    /// One hash alone: the first of `next` if there is one; the others of that wait on.
    pub(super) fn compose_one(&mut self, next: Option<Keys>, now: Instant) -> Option<Keys> {
        match next {
            Some(keys) => Some(self.waiting.keep_one(keys, now)),
            None => self.waiting.compose_one(now),
        }
    }

    /// Puts entries back, to be asked for after a back-off.
    pub(super) fn ask_again(&mut self, mut entries: Vec<Entry>) {
        for e in &mut entries {
            e.attempts += 1;
        }
        let attempts = entries.iter().map(|e| e.attempts).max().unwrap_or(1);
        let ready = Instant::now() + self.backoff.wait(attempts);
        for e in entries {
            self.waiting.push_again(e, ready);
        }
    }
}
