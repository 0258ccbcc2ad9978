//! The `hashferry refresh` command: writes the difference between two lists to a table.

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
    after_help = "Hashes only in the new list are put, hashes only in the old list are deleted, and hashes in both \
                  are unchanged (put again if a column of --attr-from changed). Sorted lists are read twice, in \
                  parallel, without temporary files; other lists are sorted on disk first.\n\n\
                  With --source, only items of that source are deleted, one call each; others are kept. \
                  Without --source, hashes that other lists hold too are deleted as well. A put replaces the \
                  whole item: attributes that other programs wrote are lost, with or without --source.\n\n\
                  Permissions: scripts/iam/ingest.json, with --source refresh.json (in addition with --raise-to: \
                  ingest-raise.json)\n\n\
                  Examples:\n  \
    hashferry refresh --from s3://my-bucket/nsrl/2026.06.txt.zst --to s3://my-bucket/nsrl/2026.09.txt.zst --table sha256\n  \
    hashferry refresh --from feed-1.txt --to feed-2.txt --table sha256 --source feed --type malicious\n  \
    hashferry refresh --from old.txt --to new.txt --table sha256 --no-delete --report refresh.json\n  \
    hashferry refresh --from s3://my-bucket/gold/v1/ --to s3://my-bucket/gold/v2/ --table sha256 --max-change 50%"
)]
pub(super) struct RefreshArgs {
    /// Old list, which the table was last written from; can be repeated
    #[arg(long, required = true, value_name = "OLD")]
    from: Vec<String>,
    /// New list; can be repeated
    #[arg(long, required = true, value_name = "NEW")]
    to: Vec<String>,
    /// Keep items whose hashes are no longer in the list
    #[arg(long)]
    no_delete: bool,
    /// Delete removed hashes even if the new list has rejected lines; an unreadable hash then
    /// counts as removed [default: a rejected line suspends all deletes, and the exit status is 3]
    #[arg(long, conflicts_with = "no_delete")]
    delete_despite_rejects: bool,
    /// Stop before the first write if more of the old list than this would change
    #[arg(long, value_name = "P%", value_parser = parse_percent, default_value = "20%")]
    max_change: f64,
    /// Allow a change of any size
    #[arg(long)]
    confirm: bool,
    /// Order of the lists: sorted (an error if they are not), or exact, by sorting them on disk
    /// [default: sorted if the lists are]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Input")]
    distinct: Option<RefreshDistinct>,
    /// Read only matching objects of prefixes
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    include: Vec<String>,
    /// Skip matching objects of prefixes
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    exclude: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RefreshDistinct {
    /// The lists are sorted by hash
    Sorted,
    /// Sort the lists on disk first
    Exact,
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|p: &f64| p.is_finite() && *p >= 0.0)
        .ok_or_else(|| format!("expected a percentage such as 20%, got {text:?}"))
}

impl RefreshArgs {
    /// The path of the command's minimum IAM policy.
    pub(super) fn policy(&self) -> &'static str {
        self.run.refresh_policy()
    }
}

/// Runs the command and returns its exit status.
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
    let sources = SourceArgs::without_manifests(args.to, args.include, args.exclude);
    let task = Task::refresh(sources, distinct, refresh, args.run);
    ingest::run_task(context, task).await
}
