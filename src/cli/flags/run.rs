//! Flags shared by `ingest` and `refresh`: table, input, speed, checkpoint, report.

use crate::base::error::Result;
use crate::base::human::parse_duration;
use crate::cli::flags::input::InputArgs;
use crate::cli::flags::item::ItemArgs;
use crate::cli::flags::speed::SpeedArgs;
use crate::flow::rate_setting::RateSetting;
use crate::pipeline::dedup::Distinct;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Flags of a run that writes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The table to write to
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) item: ItemArgs,
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) speed: SpeedArgs,
    /// Maximum of auto or of a percentage, in WCU/s
    #[arg(long, value_name = "N", value_parser = parse_wcu, allow_hyphen_values = true, help_heading = "Speed")]
    pub(crate) max_rate: Option<f64>,
    /// Spend up to S seconds of the table's burst capacity (DynamoDB saves at most 300)
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = parse_burst, help_heading = "Speed")]
    pub(crate) burst: f64,
    /// Time between two checks of the table's capacity, with auto or a percentage
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "Speed")]
    pub(crate) capacity_interval: Duration,
    /// WCU/s of each replica of a global table, instead of reading it in the replica's region
    #[arg(long, value_name = "N", value_parser = parse_wcu, allow_hyphen_values = true, help_heading = "Speed")]
    pub(crate) replica_capacity: Option<f64>,
    /// Raise the table (and the indexes that the items are in) to N provisioned WCU/s before the
    /// first write, and restore it at the end of the run, even if the run fails
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Speed")]
    pub(crate) raise_to: Option<u64>,
    /// File of the restore note, which capacity --restore needs if this process is killed
    /// [default: in the user's state directory]
    #[arg(
        long,
        value_name = "PATH",
        requires = "raise_to",
        help_heading = "Speed"
    )]
    pub(crate) raise_note: Option<PathBuf>,
    /// After the run, send traffic that changes no data until auto scaling has scaled the table in
    /// to its minimum
    #[arg(long, help_heading = "Speed")]
    pub(crate) settle: bool,
    /// Time between two rounds of the traffic of --settle
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, help_heading = "Speed")]
    pub(crate) settle_interval: Duration,
    /// Checkpoint, from which the same command resumes an unfinished run: a path, s3://bucket/key, or
    /// off [default: a file in the user's state directory]. Only one run at a time can use it
    #[arg(long, value_name = "PATH|off", help_heading = "Output")]
    pub(crate) checkpoint: Option<String>,
    /// Start from the beginning and ignore any checkpoint
    #[arg(long)]
    pub(crate) restart: bool,
    /// Time between two saves of the checkpoint, at most 5s
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = parse_save_interval, help_heading = "Output")]
    pub(crate) checkpoint_interval: Duration,
    /// File for the report, as JSON
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    /// Do everything except the writes
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Method to detect duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DistinctArg {
    /// Among the latest 65,536 hashes
    InFlight,
    /// In a list that is sorted by hash
    Sorted,
    /// In any list, by sorting it on disk
    Exact,
}

impl DistinctArg {
    pub(crate) fn distinct(self) -> Distinct {
        match self {
            DistinctArg::InFlight => Distinct::InFlight,
            DistinctArg::Sorted => Distinct::Sorted,
            DistinctArg::Exact => Distinct::Exact,
        }
    }
}

/// Parses a rate in WCU/s.
pub(crate) fn parse_wcu(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(RateSetting::Units(units)) => Ok(units),
        _ => Err(format!("expected a number of WCU/s above 0, got {text:?}")),
    }
}

pub(crate) fn parse_save_interval(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(5);
    let interval = parse_duration(text)?;
    match interval <= most {
        true => Ok(interval),
        false => Err(format!(
            "expected at most 5s, got {text:?}: lines after the last save are written again on resume"
        )),
    }
}

pub(crate) fn parse_burst(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.0..=crate::commands::ingest::options::MAX_BURST_SECONDS).contains(s))
        .ok_or_else(|| format!("expected seconds from 0 to 300, got {text:?}"))
}

impl RunArgs {
    /// The path of the minimum IAM policy of a refresh, which needs DeleteItem with `--source`.
    pub(crate) fn refresh_policy(&self) -> &'static str {
        match self.item.has_source() && self.raise_to.is_none() {
            true => "scripts/iam/refresh.json",
            false => self.policy(),
        }
    }

    /// The path of the minimum IAM policy.
    pub(crate) fn policy(&self) -> &'static str {
        match self.raise_to.is_some() {
            true => "scripts/iam/ingest-raise.json",
            false => "scripts/iam/ingest.json",
        }
    }
}
