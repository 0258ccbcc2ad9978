//! `hashferry refresh`: only the difference between two lists into a table.

use crate::base::error::Result;
use crate::cli::context::Context;
use crate::cli::flags::run::{DistinctArg, RunArgs};
use crate::cli::flags::sources::SourceArgs;
use crate::cli::ingest;
use crate::cli::ingest::Task;
use crate::commands::ingest::settings::Refresh;
use crate::pipeline::dedup::Distinct;
use clap::Args;

#[derive(Debug, Args)]
#[command(
    after_help = "Hashes of the new list alone are put, those of the old one alone deleted, and those of both left as \
                  they are (put again where a column given by --attr-from has changed). Lists that are sorted are \
                  read twice, side by side, without temporary files; others are sorted on disk first.\n\n\
                  With --source a delete deletes only items of that source, one call each; others are kept. \
                  Without --source the hashes that other sets hold too are deleted with the rest. A put \
                  replaces the whole item: attributes that others wrote are lost, whatever the source.\n\n\
                  Permissions: scripts/iam/ingest.json, with --source refresh.json (with --raise-to \
                  ingest-raise.json besides)\n\n\
                  Examples:\n  \
    hashferry refresh --from s3://my-bucket/nsrl/2026.06.txt.zst --to s3://my-bucket/nsrl/2026.09.txt.zst --table sha256\n  \
    hashferry refresh --from feed-1.txt --to feed-2.txt --table sha256 --source feed --type malicious\n  \
    hashferry refresh --from old.txt --to new.txt --table sha256 --no-delete --report refresh.json\n  \
    hashferry refresh --from s3://my-bucket/gold/v1/ --to s3://my-bucket/gold/v2/ --table sha256 --max-change 50%"
)]
pub(super) struct RefreshArgs {
    /// The list that the table was made or refreshed from last; may be given several times
    #[arg(long, required = true, value_name = "OLD")]
    from: Vec<String>,
    /// The new list; may be given several times
    #[arg(long, required = true, value_name = "NEW")]
    to: Vec<String>,
    /// Leave in the table what is gone from the list
    #[arg(long)]
    no_delete: bool,
    /// Delete what is gone though the new list has rejected lines. A hash that cannot be read is then
    /// taken for gone [default: one rejected line holds back all deletes, and the exit status is 3]
    #[arg(long, conflicts_with = "no_delete")]
    delete_despite_rejects: bool,
    /// Stop before anything is written when more of the old list would change than this
    #[arg(long, value_name = "P%", value_parser = percent, default_value = "20%")]
    max_change: f64,
    /// Make any change, however large
    #[arg(long)]
    confirm: bool,
    /// How the lists are taken: sorted (checked; an error when they are not), or exact, by sorting
    /// them on disk [default: sorted where they are]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Input")]
    distinct: Option<RefreshDistinct>,
    /// Of prefixes, only objects that match
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    include: Vec<String>,
    /// Of prefixes, no objects that match
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    exclude: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RefreshDistinct {
    /// They are in the order of their hashes
    Sorted,
    /// In any order: they are sorted on disk
    Exact,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|p: &f64| p.is_finite() && *p >= 0.0)
        .ok_or_else(|| format!("expected a share like 20%, got {text:?}"))
}

impl RefreshArgs {
    /// The file with the least IAM policy.
    pub(super) fn policy(&self) -> &'static str {
        self.run.policy_of_refresh()
    }
}

/// Runs the command; its exit status.
pub(super) async fn run(context: &Context, args: RefreshArgs) -> Result<u8> {
    let distinct = match args.distinct {
        None => Distinct::InFlight,
        Some(RefreshDistinct::Sorted) => DistinctArg::Sorted.distinct(),
        Some(RefreshDistinct::Exact) => DistinctArg::Exact.distinct(),
    };
    let refresh = Refresh {
        from: args.from,
        delete: !args.no_delete,
        max_change: (!args.confirm).then_some(args.max_change),
        delete_despite_rejects: args.delete_despite_rejects,
    };
    let sources = SourceArgs::of(args.to, args.include, args.exclude);
    let task = Task::refresh(sources, distinct, refresh, args.run);
    ingest::run_task(context, task).await
}
