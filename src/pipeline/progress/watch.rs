//! Handle to a running command: its live counters and its plan.

use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::progress::events::Progress;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// Live counters of a command.
pub trait LiveCounters: Default {
    /// A snapshot of all counters.
    type Counts;

    /// Takes a snapshot.
    fn counts(&self) -> Self::Counts;
}

/// Handle to a running command with the counters `C`, whose plan has the details `D`. All
/// clones share one state.
#[derive(Debug)]
pub struct RunWatch<C, D>(Arc<State<C, D>>);

#[derive(Debug)]
struct State<C, D> {
    counters: C,
    plan: OnceLock<RunPlan<D>>,
    total_lines: OnceLock<u64>,
}

/// Plan of a run, known once the first source is open and the backend is prepared.
#[derive(Debug, Clone)]
pub struct RunPlan<D> {
    /// Total compressed bytes to read; `None` if a length is unknown.
    pub total_bytes: Option<u64>,
    /// Rate limiter with the target rate, in WCU/s or RCU/s, or in calls/s of an API.
    pub rate_limiter: Arc<RateLimiter>,
    /// Start of reading.
    pub started: Instant,
    /// Details of the command.
    pub details: D,
}

impl<C, D> Clone for RunWatch<C, D> {
    fn clone(&self) -> Self {
        RunWatch(self.0.clone())
    }
}

impl<C: Default, D> Default for RunWatch<C, D> {
    fn default() -> Self {
        RunWatch(Arc::new(State {
            counters: C::default(),
            plan: OnceLock::new(),
            total_lines: OnceLock::new(),
        }))
    }
}

impl<C: LiveCounters, D> RunWatch<C, D> {
    /// The live counters.
    pub fn counters(&self) -> &C {
        &self.0.counters
    }

    /// The plan of the run; `None` if reading has not begun.
    pub fn plan(&self) -> Option<&RunPlan<D>> {
        self.0.plan.get()
    }

    /// Progress of the run; `None` if reading has not begun.
    pub fn progress(&self) -> Option<Progress<C::Counts>> {
        let plan = self.plan()?;
        Some(Progress::new(
            plan.started.elapsed(),
            plan.total_bytes,
            plan.rate_limiter.rate(),
            self.counters().counts(),
        ))
    }

    /// Total number of lines; `None` if it is unknown. Only a run in the order of the
    /// hashes knows it, after it has read all.
    pub fn total_lines(&self) -> Option<u64> {
        self.0.total_lines.get().copied()
    }

    /// Sets the plan. A run starts once, so it is never set twice.
    pub(crate) fn set_plan(&self, plan: RunPlan<D>) {
        let _ = self.0.plan.set(plan);
    }

    /// Sets the total number of lines.
    pub(crate) fn set_total_lines(&self, lines: u64) {
        let _ = self.0.total_lines.set(lines);
    }
}
