//! Handle to a running look-up: its counters and its properties.

use crate::commands::lookup::counts::{LookupCounters, LookupCounts};
use crate::flow::rate_limiter::RateLimiter;
use crate::pipeline::progress::events::Progress;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// Handle to the live counters of a look-up.
#[derive(Debug, Clone, Default)]
pub struct LookupWatch(Arc<WatchInner>);

#[derive(Debug, Default)]
struct WatchInner {
    counters: LookupCounters,
    plan: OnceLock<LookupPlan>,
}

/// Properties of a run, known once the list is open and the backend is prepared.
#[derive(Debug, Clone)]
pub struct LookupPlan {
    /// Compressed bytes of the list. `None` if the length is unknown.
    pub total_bytes: Option<u64>,
    /// The rate limiter, with the target rate in RCU/s, or in calls/s of an API.
    pub rate_limiter: Arc<RateLimiter>,
    /// True if the backend is an API.
    pub is_api: bool,
    /// Start of reading.
    pub started: Instant,
}

impl LookupWatch {
    /// The live counters.
    pub fn counters(&self) -> &LookupCounters {
        &self.0.counters
    }

    /// Progress of the look-up. `None` if reading has not begun.
    pub fn progress(&self) -> Option<Progress<LookupCounts>> {
        let plan = self.plan()?;
        let counts = self.counters().snapshot();
        Some(Progress::new(
            plan.started.elapsed(),
            plan.total_bytes,
            plan.rate_limiter.rate(),
            counts,
        ))
    }

    /// The properties of the run. `None` if reading has not begun.
    pub fn plan(&self) -> Option<&LookupPlan> {
        self.0.plan.get()
    }

    /// Sets the properties of the run. A run starts once, so the value is never set twice.
    pub(super) fn set_plan(&self, plan: LookupPlan) {
        let _ = self.0.plan.set(plan);
    }
}
