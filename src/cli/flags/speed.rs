//! Flags of the speed: rate, calls in flight, time without a success.

use crate::base::human::parse_duration;
use crate::base::shutdown::Stop;
use crate::commands::run_options::RunOptions;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::pipeline::progress::events::Events;
use clap::Args;
use std::time::Duration;

/// Flags of the speed. A command that reads changes the help of `rate`.
#[derive(Debug, Clone, Args)]
pub(crate) struct SpeedArgs {
    /// Target rate in WCU/s: auto (the table's capacity), a number, a percentage of the table's
    /// capacity (80%), or max (no limit)
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    pub(crate) rate: RateSetting,
    /// Maximum of calls in flight: auto (from rate and latency) or a number
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    pub(crate) concurrency: Concurrency,
    /// Stop after this time without a single success
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_duration, help_heading = "Speed")]
    pub(crate) give_up_after: Duration,
}

impl SpeedArgs {
    /// The options of a run that `stop` can stop.
    pub(crate) fn run_options<C>(&self, stop: &Stop) -> RunOptions<C> {
        RunOptions {
            rate: self.rate,
            concurrency: self.concurrency,
            give_up_after: self.give_up_after,
            stop: stop.clone(),
            events: Events::default(),
        }
    }
}
