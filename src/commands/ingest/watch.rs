//! Handle to a running ingest or refresh.

use crate::base::hash::Algorithm;
use crate::pipeline::progress::counts::{Counters, RunCounters};
use crate::pipeline::progress::watch::RunWatch;

/// Handle to a running ingest or refresh, for its counters, plan and progress.
pub type Watch = RunWatch<Counters, IngestDetails>;

/// Details of the plan of an ingest.
#[derive(Debug, Clone)]
pub struct IngestDetails {
    /// Hash algorithm.
    pub algorithm: Algorithm,
    /// Counters of the resumed run; zero for a new run.
    pub resumed_counters: RunCounters,
    /// True for a refresh, which counts more outcomes.
    pub is_refresh: bool,
}
