//! Handle to a run in progress: live counters and plan.

use crate::base::hash::Algorithm;
use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::progress::counts::{Counters, RunCounters};
use crate::pipeline::progress::events::Progress;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// Handle to a run in progress, for its counters, plan and progress.
#[derive(Debug, Clone, Default)]
pub struct Watch(pub(super) Arc<WatchInner>);

#[derive(Debug, Default)]
pub(super) struct WatchInner {
    counters: Counters,
    pub(super) plan: OnceLock<IngestPlan>,
    pub(super) total_lines: OnceLock<u64>,
}

/// Plan of a run, known after the first source is open and the table is described.
#[derive(Debug, Clone)]
pub struct IngestPlan {
    /// Hash algorithm.
    pub algorithm: Algorithm,
    /// Total bytes to read; `None` if unknown.
    pub total_bytes: Option<u64>,
    /// Rate limiter, which has the current target rate.
    pub rate_limiter: Arc<RateLimiter>,
    /// Start time of writing.
    pub started: Instant,
    /// Counters of the resumed run; zero for a new run.
    pub resumed_counters: RunCounters,
    /// True for a refresh, which counts more outcomes.
    pub is_refresh: bool,
}

impl Watch {
    /// Live counters.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The plan; `None` before it is known.
    pub fn plan(&self) -> Option<&IngestPlan> {
        self.0.plan.get()
    }

    /// Progress of the run; `None` before it has started.
    pub fn progress(&self) -> Option<Progress<RunCounters>> {
        let plan = self.plan()?;
        let counts = self.counters().snapshot();
        Some(Progress::new(
            plan.started.elapsed(),
            plan.total_bytes,
            plan.rate_limiter.rate(),
            counts,
        ))
    }

    /// Total number of lines; `None` while an ordered run still reads, and for other runs.
    pub fn total_lines(&self) -> Option<u64> {
        self.0.total_lines.get().copied()
    }
}
