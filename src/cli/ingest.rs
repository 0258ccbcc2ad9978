//! `hashferry ingest`: a list into a table.

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
use crate::commands::ingest::settings::{Keep, Refresh};
use crate::commands::verify::options::Verify;
use crate::dynamodb::describe_table;
use crate::dynamodb::scaling::{auto_scaling, keepalive};
use crate::pipeline::dedup::Distinct;
use crate::pipeline::report::{Outcome, Report};
use crate::pipeline::sample::Sample;
use crate::source::decompress::codec::Unpack;
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
    A put replaces the whole item: attributes that others wrote to the same hash are lost, and so is the \
    source of another list. Of one table for several lists, the last that is written names its hashes. A list \
    without one hash of the kind is a failure, exit status 1.\n\n\
    Permissions: scripts/iam/ingest.json (with --raise-to ingest-raise.json), and besides: with --settle \
    keepalive.json, with --verify verify.json, with --checkpoint s3://… checkpoint.json")]
pub(super) struct IngestArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// How repeated hashes are found: among the last ones taken, in a list that is sorted (which is
    /// checked), or in any list by sorting it on disk first
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
    /// Read back what was written, and compare: nothing, a sample of 10,000, or all of it
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "off",
        conflicts_with = "dry_run"
    )]
    verify: VerifyArg,
}

/// A run that writes, whatever command it is.
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
    /// A refresh.
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

/// What is verified after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerifyArg {
    /// Nothing
    Off,
    /// 10,000 hashes, drawn at random
    Sample,
    /// Everything
    All,
}

/// Hashes that `--verify sample` draws: when none of them is missing, fewer than
/// 1 in 3,338 of all are, with 95 % certainty.
const VERIFY_SAMPLE: u64 = 10_000;

impl IngestArgs {
    /// The file with the least IAM policy.
    pub(super) fn policy(&self) -> &'static str {
        self.run.policy()
    }
}

/// Runs the command; its exit status.
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

/// Runs what a command is to do; its exit status.
pub(super) async fn run_task(context: &Context, task: Task) -> Result<u8> {
    let args = &task.run;
    // A report that cannot be written must be known before the first write.
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
            let mut report = Report::begun(command, &table, started);
            report.end(Outcome::Failed, Some(error));
            report
        }
    };
    let reported = match &mut report_file {
        Some(file) => file.write(&report.to_json(), &report.known()),
        None => Ok(()),
    };
    if let (Some(connection), Some(interval), true) = (&connection, settle, report.requests > 0) {
        let aws = connection.aws.with_policy("scripts/iam/keepalive.json");
        settle_down(context, &aws, &table, interval).await;
    }
    if let Some(connection) = connection {
        connection.close();
    }
    exit_status(context, ended.map(|report| report.exit), reported)
}

/// Brings the table down to its auto scaling minimum. The import is done and its
/// books are closed: what fails here is said, and changes no exit status.
async fn settle_down(context: &Context, aws: &Aws, table: &str, interval: Duration) {
    let command = format!("hashferry keepalive --table {table} --until-min");
    if context.stop.is_requested() {
        tracing::warn!("the table is not brought down to its minimum: {command} does it");
        return;
    }
    tracing::info!(
        "bringing the table down to its minimum; interrupting this changes nothing of the import"
    );
    match keepalive::until_minimum(aws, table, interval, &context.stop).await {
        Ok(Some(min)) => tracing::info!("table {table} is at its minimum of {min} write units/s"),
        Ok(None) => {
            tracing::warn!("the table is not at its minimum yet: {command} goes on with it")
        }
        Err(e) => tracing::warn!(
            "the table cannot be brought down: {e:#}; {}",
            e.what_to_do().unwrap_or(&command)
        ),
    }
}

/// The builder of a run, as `args` say.
fn builder(
    context: &Context,
    aws: &Aws,
    sources: SourceArgs,
    args: RunArgs,
) -> Result<IngestBuilder> {
    let mut builder = Ingest::builder()
        .aws(aws.clone())
        .table(args.table)
        .form(args.form.form()?)
        .rules(args.form.given_rules())
        .attr_from_version(args.item.attr_from_version)
        .rate(args.rate)
        .concurrency(args.concurrency)
        .burst(args.burst)
        .capacity_interval(args.capacity_interval)
        .give_up_after(args.give_up_after)
        .max_rejects(args.max_rejects)
        .dry_run(args.dry_run)
        .stop(context.stop.clone());
    builder = builder.globs(sources.globs()?);
    for source in sources.sources {
        builder = builder.source(source);
    }
    for manifest in sources.manifests {
        builder = builder.manifest(manifest);
    }
    if let Some(case) = args.item.case() {
        builder = builder.case(case);
    }
    if let Some(algorithm) = args.item.hash {
        builder = builder.algorithm(algorithm);
    }
    let key = args.item.key.clone();
    for from in args.item.attributes_from.clone() {
        builder = builder.attribute_from(from);
    }
    for a in args.item.into_attributes() {
        builder = builder.attribute(a.name, a.value);
    }
    if let Some(units) = args.max_rate {
        builder = builder.max_rate(units);
    }
    if let Some(units) = args.replica_capacity {
        builder = builder.replica_capacity(units);
    }
    if let Some(path) = args.rejects {
        builder = builder.rejects(path);
    }
    builder = builder
        .restart(args.restart)
        .save_interval(args.checkpoint_interval)
        .checkpoint(match args.checkpoint {
            None => Keep::Usual,
            Some(off) if off == "off" => Keep::Off,
            Some(place) => Keep::At(place),
        });
    if let Some(key) = key {
        builder = builder.key(key);
    }
    if let Some(units) = args.raise_to {
        builder = builder.raise_to(units);
    }
    if let Some(path) = args.raise_note {
        builder = builder.raise_note(path);
    }
    Ok(builder)
}

pub(super) async fn ingest(context: &Context, task: Task, aws: &Aws) -> Result<Report> {
    let unpack = task.run.unpack.unpack();
    let again = again(context, aws, &task, &unpack).await?;
    let Task {
        sources,
        distinct,
        refresh,
        run: args,
        ..
    } = task;
    if args.settle {
        let aws = aws.with_policy("scripts/iam/keepalive.json");
        let table = describe_table::describe(&aws, &args.table, None).await?;
        if let Err(e) = auto_scaling::descent(&aws, &table).await {
            tracing::warn!("--settle will not help: {e:#}");
        }
    }
    let builder = builder(context, aws, sources, args)?.unpack(unpack);
    let mut builder = builder.distinct(distinct);
    if let Some(refresh) = refresh {
        builder = builder.refresh(refresh);
    }
    let ingest = builder.build().await?;
    let mut report = watched(context, ingest).await?;
    if !context.common.quiet {
        context.say(report.summary().trim_end());
    }
    if let (Some(again), Outcome::Complete | Outcome::Rejects) = (again, report.outcome) {
        verify_after(context, again, &mut report).await;
    }
    if let Some(error) = &report.error {
        let mut failure = Error::new(ErrorKind::Write, error.clone());
        if let Some(hint) = &report.hint {
            failure = failure.hint(hint.clone());
        }
        context.complain(&failure);
    }
    if report.checkpoint.is_some() {
        let command = command_again(std::env::args());
        if context.common.log_format == LogFormat::Json {
            tracing::info!(command, "to go on where this run was left");
        } else {
            context.say(&format!("To go on where this run was left:\n  {command}"));
        }
    }
    Ok(report)
}

/// The command that takes this run up: as it was called, but not to begin again,
/// and without what may be secret.
fn command_again(args: impl Iterator<Item = String>) -> String {
    const ENDPOINT: &str = "--endpoint-url";
    let mut before = String::new();
    let shown = args.map(|arg| {
        let url = match arg.strip_prefix(ENDPOINT).and_then(|a| a.strip_prefix('=')) {
            Some(url) => endpoint::plain(url).map(|url| format!("{ENDPOINT}={url}")),
            None if before == ENDPOINT => endpoint::plain(&arg),
            None => None,
        };
        before = arg;
        url.unwrap_or_else(|| before.clone())
    });
    let args: Vec<String> = shown.filter(|a| a != "--restart").collect();
    let words = args.iter().map(String::as_str);
    // A NUL, which cannot be quoted, cannot be in an argument either.
    shlex::try_join(words).unwrap_or_else(|_| args.join(" "))
}

/// The verification that is to follow, where one is asked for.
async fn again(
    context: &Context,
    aws: &Aws,
    task: &Task,
    unpack: &Unpack,
) -> Result<Option<Verify>> {
    let (args, sources) = (&task.run, &task.sources);
    let sample = match task.verify {
        VerifyArg::Off => return Ok(None),
        VerifyArg::Sample => Sample::Some(VERIFY_SAMPLE),
        VerifyArg::All => Sample::All,
    };
    if sources.has_stdin() {
        return Err(Error::usage(
            "--verify reads the list a second time, and standard input can be read only once",
        )
        .hint("put the list into a file or into S3, or leave --verify out"));
    }
    let mut builder = Verify::builder()
        .aws(aws.with_policy("scripts/iam/verify.json"))
        .table(&args.table)
        .unpack(unpack.clone())
        .form(args.form.form()?)
        .rules(args.form.given_rules())
        .attr_from_version(args.item.attr_from_version)
        .sample(sample)
        .rejects_known(true)
        .stop(context.stop.clone());
    builder = builder.globs(sources.globs()?);
    for source in &sources.sources {
        builder = builder.source(source);
    }
    for manifest in &sources.manifests {
        builder = builder.manifest(manifest);
    }
    if let Some(key) = args.item.key.clone() {
        builder = builder.key(key);
    }
    if let Some(case) = args.item.case() {
        builder = builder.case(case);
    }
    if let Some(algorithm) = args.item.hash {
        builder = builder.algorithm(algorithm);
    }
    for from in args.item.attributes_from.clone() {
        builder = builder.attribute_from(from);
    }
    for a in args.item.clone().into_attributes() {
        builder = builder.attribute(a.name, a.value);
    }
    // It reads the same copies.
    unpack.work.one_more_run();
    builder.build().await.map(Some)
}

/// Verifies what was written, and enters it in the report.
async fn verify_after(context: &Context, again: Verify, report: &mut Report) {
    let verified = match verify::watched(context, again, |_| Ok(())).await {
        Ok(verified) => verified,
        Err(e) => {
            let e =
                Error::new(ErrorKind::Read, "what was written could not be verified").because(e);
            return report.end(Outcome::Failed, Some(&e));
        }
    };
    if !context.common.quiet {
        context.say(verified.summary().trim_end());
    }
    report.verification = Some(verified.verification());
    match verified.outcome {
        Outcome::Complete | Outcome::Rejects => {}
        Outcome::Mismatch | Outcome::Interrupted => report.end(verified.outcome, None),
        Outcome::Failed => {
            let error = verified.error.unwrap_or_default();
            let what = format!("what was written could not be verified: {error}");
            let mut e = Error::new(ErrorKind::Read, what);
            if let Some(hint) = verified.hint {
                e = e.hint(hint);
            }
            report.end(Outcome::Failed, Some(&e));
        }
    }
}

/// Runs `ingest` with its progress on show.
pub(super) async fn watched(context: &Context, ingest: Ingest) -> Result<Report> {
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
    fn the_command_that_goes_on_can_be_pasted_into_a_shell() {
        let args = [
            "hashferry",
            "ingest",
            "my list.txt",
            "--restart",
            "--desc",
            "it's",
        ];
        assert_eq!(
            command_again(args.into_iter().map(str::to_owned)),
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
            assert_eq!(command_again(args.split(' ').map(str::to_owned)), shown);
        }
    }
}
