//! Handle to a running look-up.

use crate::commands::lookup::counts::LookupCounters;
use crate::pipeline::progress::watch::RunWatch;

/// Handle to a running look-up, for its counters, plan and progress.
pub type LookupWatch = RunWatch<LookupCounters, LookupDetails>;

/// Details of the plan of a look-up.
#[derive(Debug, Clone)]
pub struct LookupDetails {
    /// True if the backend is an API.
    pub is_api: bool,
}
