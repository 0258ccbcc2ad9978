//! Flags of every run that writes: table, input, speed, checkpoint, report.

use crate::base::error::Result;
use crate::base::human::duration;
use crate::cli::flags::compression::UnpackArgs;
use crate::cli::flags::format::FormArgs;
use crate::cli::flags::item::ItemArgs;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::rejects::MaxRejects;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// What is given to every run that writes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The table to write to
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) item: ItemArgs,
    #[command(flatten)]
    pub(crate) form: FormArgs,
    #[command(flatten)]
    pub(crate) unpack: UnpackArgs,
    /// Keep rejected lines here, as JSON lines [default: show the first ten]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub(crate) rejects: Option<PathBuf>,
    /// Stop when more lines than this are rejected: a number, or a share judged from 1,000 lines on
    #[arg(
        long,
        value_name = "N|P%",
        default_value = "10%",
        help_heading = "Input"
    )]
    pub(crate) max_rejects: MaxRejects,
    /// Write capacity units a second: auto (the table's capacity), a number, a share of the
    /// table's (80%), or max (no limit)
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    pub(crate) rate: Rate,
    /// The most that auto or a share may come to, in write capacity units a second
    #[arg(long, value_name = "N", value_parser = units, allow_hyphen_values = true, help_heading = "Speed")]
    pub(crate) max_rate: Option<f64>,
    /// Spend up to S seconds of the capacity that the table has saved (it keeps 300 at most)
    #[arg(long, value_name = "S", default_value_t = 0.0, value_parser = burst, help_heading = "Speed")]
    pub(crate) burst: f64,
    /// How often to look at the table's capacity, with auto or a share
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Speed")]
    pub(crate) capacity_interval: Duration,
    /// Write capacity units a second of each replica of a global table, instead of asking its region
    #[arg(long, value_name = "N", value_parser = units, allow_hyphen_values = true, help_heading = "Speed")]
    pub(crate) replica_capacity: Option<f64>,
    /// Raise the table (and the indexes that the items feed) to N provisioned write capacity units a
    /// second before the first write, and bring it back at the end, whatever that is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Speed")]
    pub(crate) raise_to: Option<u64>,
    /// Where to leave the note by which capacity --restore brings the table back if this process is
    /// killed [default: in the user's folder for state]
    #[arg(
        long,
        value_name = "PATH",
        requires = "raise_to",
        help_heading = "Speed"
    )]
    pub(crate) raise_note: Option<PathBuf>,
    /// At the end, go on with traffic that changes no data until auto scaling has brought the table
    /// down to its minimum
    #[arg(long, help_heading = "Speed")]
    pub(crate) settle: bool,
    /// Time between two rounds of that traffic
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Speed")]
    pub(crate) settle_interval: Duration,
    /// Calls in flight at most: auto (as the rate and the latency need) or a number
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    pub(crate) concurrency: Concurrency,
    /// Give up when not one item could be written for this long
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration, help_heading = "Speed")]
    pub(crate) give_up_after: Duration,
    /// Where to keep the checkpoint, by which the same command takes a run up that did not come to its
    /// end: a path, s3://bucket/key, or off [default: a file in the user's folder for state]. One run
    /// at a time has it
    #[arg(long, value_name = "PATH|off", help_heading = "Output")]
    pub(crate) checkpoint: Option<String>,
    /// Begin again, whatever checkpoint there is
    #[arg(long)]
    pub(crate) restart: bool,
    /// Time between two savings of the checkpoint, at most 5s
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = save_interval, help_heading = "Output")]
    pub(crate) checkpoint_interval: Duration,
    /// Write the report here, as JSON
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub(crate) report: Option<PathBuf>,
    /// Do everything but the writes
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How repeats are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DistinctArg {
    /// Among the last 65,536 taken
    InFlight,
    /// In a list that is in the order of its hashes
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

/// Reads write capacity units a second.
pub(crate) fn units(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(Rate::Units(units)) => Ok(units),
        _ => Err(format!(
            "expected write capacity units a second above 0, got {text:?}"
        )),
    }
}

pub(crate) fn save_interval(text: &str) -> Result<Duration, String> {
    let most = Duration::from_secs(5);
    let interval = duration(text)?;
    match interval <= most {
        true => Ok(interval),
        false => Err(format!(
            "expected 5s at most, got {text:?}: what is not saved is written again"
        )),
    }
}

pub(crate) fn burst(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|s| (0.0..=crate::commands::ingest::options::MAX_BURST_SECONDS).contains(s))
        .ok_or_else(|| format!("expected seconds from 0 to 300, got {text:?}"))
}

impl RunArgs {
    /// The same of a refresh, whose deletes are calls of their own with --source.
    pub(crate) fn policy_of_refresh(&self) -> &'static str {
        match self.item.has_source() && self.raise_to.is_none() {
            true => "scripts/iam/refresh.json",
            false => self.policy(),
        }
    }

    /// The file with the least IAM policy.
    pub(crate) fn policy(&self) -> &'static str {
        match self.raise_to.is_some() {
            true => "scripts/iam/ingest-raise.json",
            false => "scripts/iam/ingest.json",
        }
    }
}
