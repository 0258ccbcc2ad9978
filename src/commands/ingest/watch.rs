//! Watch on a run that is under way: its counters and its plan.

use crate::base::hash::Algorithm;
use crate::flow::rate_limiter::Pace;
use crate::pipeline::progress::counts::{Counts, Meters};
use crate::pipeline::progress::events::Progress;
use std::sync::{Arc, OnceLock};
use tokio::time::Instant;

/// What a run that is under way can be asked.
#[derive(Debug, Clone, Default)]
pub struct Watch(pub(super) Arc<WatchInner>);

#[derive(Debug, Default)]
pub(super) struct WatchInner {
    meters: Meters,
    pub(super) plan: OnceLock<Plan>,
    pub(super) lines: OnceLock<u64>,
}

/// What is known once the first source is open and the table has answered.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// Bytes to read in all, where that is known.
    pub bytes: Option<u64>,
    /// The pace, which knows the rate aimed at now.
    pub pace: Arc<Pace>,
    /// When writing began.
    pub begun: Instant,
    /// What an earlier run had counted, which this one has taken up.
    pub earlier: Counts,
    /// Whether it is a refresh, whose books have two more columns.
    pub is_refresh: bool,
}

impl Watch {
    /// The counters.
    pub fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// The plan, once there is one.
    pub fn plan(&self) -> Option<&Plan> {
        self.0.plan.get()
    }

    /// How far the run is; `None` before it has begun.
    pub fn progress(&self) -> Option<Progress<Counts>> {
        let plan = self.plan()?;
        let counts = self.meters().read();
        Some(Progress::new(
            plan.begun.elapsed(),
            plan.bytes,
            plan.pace.rate(),
            counts,
        ))
    }

    /// All lines there are, once everything is read and only writing is left.
    pub fn lines(&self) -> Option<u64> {
        self.0.lines.get().copied()
    }
}
