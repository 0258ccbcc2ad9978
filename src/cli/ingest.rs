//! The `hashferry ingest` command: writes hash lists to a table.

use crate::aws::config::Aws;
use crate::aws::endpoint;
use crate::base::error::{Error, ErrorKind, Result};
use crate::cli::context::{Context, LogFormat};
use crate::cli::exit_status::exit_status;
use crate::cli::flags::run::{DistinctArg, RunArgs};
use crate::cli::flags::sources::SourceArgs;
use crate::cli::report_file::ReportFile;
use crate::cli::{progress, verify};
use crate::commands::ingest::options::{Ingest, IngestBuilder};
use crate::commands::ingest::settings::{CheckpointMode, Refresh};
use crate::commands::run_options::{ReadOptions, RunOptions};
use crate::commands::verify::options::Verify;
use crate::commands::verify::options::VerifyBuilder;
use crate::dynamodb::describe_table;
use crate::dynamodb::scaling::{auto_scaling, keepalive};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::rejects::MaxRejects;
use crate::pipeline::report::{Outcome, Report};
use crate::pipeline::sample::Sample;
use crate::source::decompress::codec::DecompressOptions;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hashferry ingest s3://my-bucket/nsrl-sha256.txt --table sha256 --source NSRL --type known\n  \
    hashferry ingest list.gz --table md5 --rate 80% --report report.json\n  \
    hashferry ingest hashes.txt --table sha256 --local ./hashes --attr release:N=2026\n  \
    hashferry ingest s3://my-bucket/RDS_modern_minimal.zip --table sha256 --attr-from-version --work-dir /big\n  \
    hashferry ingest s3://my-bucket/list.txt --table sha256 --raise-to 5000 --settle\n\n\
    A put replaces the whole item: attributes that another program or list wrote to the same hash are lost, \
    source included. If several lists share a table, an item names the list that was written last. A list \
    without a single hash of the algorithm fails with exit status 1.\n\n\
    Permissions: scripts/iam/ingest.json (with --raise-to: ingest-raise.json); in addition with --settle: \
    keepalive.json, with --verify: verify.json, with --checkpoint s3://…: checkpoint.json")]
pub(super) struct IngestArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Detection of duplicates: among the latest hashes, in a sorted list (the order is checked),
    /// or in any list, by sorting it on disk first
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "in-flight",
        help_heading = "Input"
    )]
    distinct: DistinctArg,
    #[command(flatten)]
    run: RunArgs,
    /// Read written items from the table and compare them: none, a sample of 10,000, or all
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "off",
        conflicts_with = "dry_run"
    )]
    verify: VerifyArg,
}

/// A run that writes: the command's name, its lists and its flags.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) command: &'static str,
    pub(super) sources: SourceArgs,
    pub(super) distinct: Distinct,
    pub(super) refresh: Option<Refresh>,
    pub(super) run: RunArgs,
    verify: VerifyArg,
}

impl Task {
    /// The task of `hashferry refresh`.
    pub(super) fn refresh(
        sources: SourceArgs,
        distinct: Distinct,
        refresh: Refresh,
        run: RunArgs,
    ) -> Task {
        Task {
            command: "refresh",
            sources,
            distinct,
            refresh: Some(refresh),
            run,
            verify: VerifyArg::Off,
        }
    }
}

/// Items to verify after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerifyArg {
    /// None
    Off,
    /// 10,000 hashes, drawn at random
    Sample,
    /// All
    All,
}

/// Sample size of `--verify sample`. If none of the sample is missing, fewer than 1 in
/// 3,338 of all hashes are, with 95 % confidence.
const VERIFY_SAMPLE_HASHES: u64 = 10_000;

impl IngestArgs {
    /// The path of the command's minimum IAM policy.
    pub(super) fn policy(&self) -> &'static str {
        self.run.policy()
    }
}

/// Runs the command and returns its exit status.
pub(super) async fn run(context: &Context, args: IngestArgs) -> Result<u8> {
    let task = Task {
        command: "ingest",
        distinct: args.distinct.distinct(),
        sources: args.sources,
        refresh: None,
        run: args.run,
        verify: args.verify,
    };
    run_task(context, task).await
}

/// Runs `task`, writes its report and returns the exit status.
pub(super) async fn run_task(context: &Context, task: Task) -> Result<u8> {
    let args = &task.run;
    // An unwritable report must fail the run before the first write.
    let mut report_file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let started = Timestamp::now();
    let (command, table) = (task.command, args.table.clone());
    let settle = args.settle.then_some(args.settle_interval);
    let (connection, ended) = match context.connect().await {
        Ok(connection) => {
            let ended = ingest(context, task, &connection.aws).await;
            (Some(connection), ended)
        }
        Err(e) => (None, Err(e)),
    };
    let report = match &ended {
        Ok(report) => report.clone(),
        Err(error) => {
            let mut report = Report::new(command, &table, started);
            report.finish(Outcome::Failed, Some(error));
            report
        }
    };
    let reported = match &mut report_file {
        Some(file) => file.write(&report.to_json(), &report.describe_counts()),
        None => Ok(()),
    };
    if let (Some(connection), Some(interval), true) = (&connection, settle, report.requests > 0) {
        let aws = connection.aws.with_policy("scripts/iam/keepalive.json");
        scale_in(context, &aws, &table, interval).await;
    }
    if let Some(connection) = connection {
        connection.close();
    }
    exit_status(context, ended.map(|report| report.exit), reported)
}

/// Scales the table in to its auto scaling minimum. The ingest is complete, so a failure
/// is logged and does not change the exit status.
async fn scale_in(context: &Context, aws: &Aws, table: &str, interval: Duration) {
    let command = format!("hashferry keepalive --table {table} --until-min");
    if context.stop.is_requested() {
        tracing::warn!("the table was not scaled in to its minimum; run: {command}");
        return;
    }
    tracing::info!(
        "scaling the table in to its minimum; interrupting this does not affect the ingest"
    );
    match keepalive::run_until_minimum(aws, table, interval, &context.stop).await {
        Ok(Some(min)) => tracing::info!("table {table} is at its minimum of {min} WCU/s"),
        Ok(None) => {
            tracing::warn!("the table is not at its minimum yet; to continue, run: {command}")
        }
        Err(e) => tracing::warn!(
            "cannot scale the table in: {e:#}; {}",
            e.hint().unwrap_or(&command)
        ),
    }
}

/// Builds the options of a run from its flags.
fn builder(
    context: &Context,
    aws: &Aws,
    sources: SourceArgs,
    args: RunArgs,
) -> Result<IngestBuilder> {
    let mut builder = IngestBuilder::with_options(
        args.input.read_options(&sources)?,
        args.item.table_options(aws, &args.table),
        args.speed.run_options(&context.stop),
    )
    .burst(args.burst)
    .capacity_interval(args.capacity_interval)
    .dry_run(args.dry_run);
    if let Some(units) = args.max_rate {
        builder = builder.max_rate(units);
    }
    if let Some(units) = args.replica_capacity {
        builder = builder.replica_capacity(units);
    }
    builder = builder
        .restart(args.restart)
        .save_interval(args.checkpoint_interval)
        .checkpoint(match args.checkpoint {
            None => CheckpointMode::Default,
            Some(off) if off == "off" => CheckpointMode::Off,
            Some(place) => CheckpointMode::At(place),
        });
    if let Some(units) = args.raise_to {
        builder = builder.raise_to(units);
    }
    if let Some(path) = args.raise_note {
        builder = builder.raise_note(path);
    }
    Ok(builder)
}

pub(super) async fn ingest(context: &Context, task: Task, aws: &Aws) -> Result<Report> {
    let unpack = task.run.input.decompress.decompress_options();
    let again = build_verification(context, aws, &task, &unpack).await?;
    let Task {
        sources,
        distinct,
        refresh,
        run: args,
        ..
    } = task;
    if args.settle {
        let aws = aws.with_policy("scripts/iam/keepalive.json");
        let table = describe_table::describe_table(&aws, &args.table, None).await?;
        if let Err(e) = auto_scaling::describe_scale_in(&aws, &table).await {
            tracing::warn!("--settle will have no effect: {e:#}");
        }
    }
    let builder = builder(context, aws, sources, args)?.unpack(unpack);
    let mut builder = builder.distinct(distinct);
    if let Some(refresh) = refresh {
        builder = builder.refresh(refresh);
    }
    let ingest = builder.build().await?;
    let mut report = run_with_progress(context, ingest).await?;
    if !context.common.quiet {
        context.print(report.summary().trim_end());
    }
    if let (Some(again), Outcome::Complete | Outcome::Rejects) = (again, report.outcome) {
        verify_after(context, again, &mut report).await;
    }
    if let Some(error) = &report.error {
        let mut failure = Error::new(ErrorKind::Write, error.clone());
        if let Some(hint) = &report.hint {
            failure = failure.with_hint(hint.clone());
        }
        context.print_error(&failure);
    }
    if report.checkpoint.is_some() {
        let command = resume_command(std::env::args());
        if context.common.log_format == LogFormat::Json {
            tracing::info!(command, "to resume this run");
        } else {
            context.print(&format!("To resume this run:\n  {command}"));
        }
    }
    Ok(report)
}

/// The command line that resumes this run: `args` without `--restart`, and without
/// credentials in endpoint URLs.
fn resume_command(args: impl Iterator<Item = String>) -> String {
    const ENDPOINT: &str = "--endpoint-url";
    let mut before = String::new();
    let shown = args.map(|arg| {
        let url = match arg.strip_prefix(ENDPOINT).and_then(|a| a.strip_prefix('=')) {
            Some(url) => endpoint::without_secrets(url).map(|url| format!("{ENDPOINT}={url}")),
            None if before == ENDPOINT => endpoint::without_secrets(&arg),
            None => None,
        };
        before = arg;
        url.unwrap_or_else(|| before.clone())
    });
    let args: Vec<String> = shown.filter(|a| a != "--restart").collect();
    let words = args.iter().map(String::as_str);
    // Quoting fails only on NUL, which no argument can contain.
    shlex::try_join(words).unwrap_or_else(|_| args.join(" "))
}

/// The verification to run after the ingest; `None` without `--verify`.
///
/// # Errors
/// A usage error if the list is standard input.
async fn build_verification(
    context: &Context,
    aws: &Aws,
    task: &Task,
    unpack: &DecompressOptions,
) -> Result<Option<Verify>> {
    let (args, sources) = (&task.run, &task.sources);
    let sample = match task.verify {
        VerifyArg::Off => return Ok(None),
        VerifyArg::Sample => Sample::Some(VERIFY_SAMPLE_HASHES),
        VerifyArg::All => Sample::All,
    };
    if sources.has_stdin() {
        return Err(Error::usage(
            "--verify reads the list a second time, but standard input can be read only once",
        )
        .with_hint("put the list into a file or into S3, or remove --verify"));
    }
    let read = ReadOptions {
        unpack: unpack.clone(),
        rejects: None,
        max_rejects: MaxRejects::default(),
        ..args.input.read_options(sources)?
    };
    let verify_aws = aws.with_policy("scripts/iam/verify.json");
    let table = args.item.table_options(&verify_aws, &args.table);
    let run = RunOptions {
        stop: context.stop.clone(),
        ..RunOptions::default()
    };
    let builder = VerifyBuilder::with_options(read, table, run)
        .sample(sample)
        .rejects_known(true);
    // Both runs read the same local copies, which must outlive the first.
    unpack.work_dir.expect_another_run();
    builder.build().await.map(Some)
}

/// Verifies the written items and adds the result to the report.
async fn verify_after(context: &Context, again: Verify, report: &mut Report) {
    let verified = match verify::run_with_progress(context, again, |_| Ok(())).await {
        Ok(verified) => verified,
        Err(e) => {
            let e = Error::new(ErrorKind::Read, "cannot verify the written items").with_source(e);
            return report.finish(Outcome::Failed, Some(&e));
        }
    };
    if !context.common.quiet {
        context.print(verified.summary().trim_end());
    }
    report.verification = Some(verified.verification());
    match verified.outcome {
        Outcome::Complete | Outcome::Rejects => {}
        Outcome::Mismatch | Outcome::Interrupted => report.finish(verified.outcome, None),
        Outcome::Failed => {
            let error = verified.error.unwrap_or_default();
            let what = format!("cannot verify the written items: {error}");
            let mut e = Error::new(ErrorKind::Read, what);
            if let Some(hint) = verified.hint {
                e = e.with_hint(hint);
            }
            report.finish(Outcome::Failed, Some(&e));
        }
    }
}

/// Runs `ingest` and shows its progress.
pub(super) async fn run_with_progress(context: &Context, ingest: Ingest) -> Result<Report> {
    let watch = ingest.watch();
    tokio::select! {
        biased;
        ended = ingest.run() => ended,
        never = progress::show(context, &watch) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resume_command_can_be_pasted_into_a_shell() {
        let args = [
            "hashferry",
            "ingest",
            "my list.txt",
            "--restart",
            "--desc",
            "it's",
        ];
        assert_eq!(
            resume_command(args.into_iter().map(str::to_owned)),
            "hashferry ingest 'my list.txt' --desc \"it's\""
        );
        for (args, shown) in [
            (
                "h --endpoint-url http://u:p@h:1/?s x",
                "h --endpoint-url http://h:1/ x",
            ),
            (
                "h --endpoint-url=http://u:p@h x",
                "h '--endpoint-url=http://h' x",
            ),
            ("h http://u@h x", "h http://u@h x"),
        ] {
            assert_eq!(resume_command(args.split(' ').map(str::to_owned)), shown);
        }
    }
}
