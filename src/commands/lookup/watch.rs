//! Watch on a look-up that is under way: its counters and its plan.

use crate::commands::lookup::counts::{LookupCounts, LookupMeters};
use crate::flow::rate_limiter::Pace;
use crate::pipeline::progress::events::Progress;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// What a look-up that is under way can be asked.
#[derive(Debug, Clone, Default)]
pub struct LookupWatch(Arc<WatchInner>);

#[derive(Debug, Default)]
struct WatchInner {
    meters: LookupMeters,
    plan: OnceLock<LookupPlan>,
}

/// What is known once the list is open and the table has answered.
#[derive(Debug, Clone)]
pub struct LookupPlan {
    /// Bytes to read in all, where that is known.
    pub bytes: Option<u64>,
    /// The pace, which knows the rate aimed at now: in read units, or in calls of an API.
    pub pace: Arc<Pace>,
    /// Whether it is an API that is asked.
    pub is_api: bool,
    /// When reading began.
    pub begun: Instant,
}

impl LookupWatch {
    /// The counters.
    pub fn meters(&self) -> &LookupMeters {
        &self.0.meters
    }

    /// How far the look-up is; `None` before it has begun.
    pub fn progress(&self) -> Option<Progress<LookupCounts>> {
        let plan = self.plan()?;
        let counts = self.meters().read();
        Some(Progress::new(
            plan.begun.elapsed(),
            plan.bytes,
            plan.pace.rate(),
            counts,
        ))
    }

    /// The plan, once there is one.
    pub fn plan(&self) -> Option<&LookupPlan> {
        self.0.plan.get()
    }

    /// Sets the plan. Once: a run happens once.
    pub(super) fn set_plan(&self, plan: LookupPlan) {
        let _ = self.0.plan.set(plan);
    }
}
