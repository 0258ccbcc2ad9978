//! The `hashferry verify` command: compares a table with a list.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::parse_duration;
use crate::cli::context::Context;
use crate::cli::exit_status::exit_status;
use crate::cli::flags::compression::DecompressArgs;
use crate::cli::flags::format::ListArgs;
use crate::cli::flags::item::ItemArgs;
use crate::cli::flags::sources::SourceArgs;
use crate::cli::progress;
use crate::cli::report_file::ReportFile;
use crate::commands::verify::finding::{Finding, FindingKind};
use crate::commands::verify::options::Verify;
use crate::commands::verify::report::VerifyReport;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::RateSetting;
use crate::pipeline::rejects::MaxRejects;
use crate::pipeline::report::Outcome;
use crate::pipeline::sample::Sample;
use clap::Args;
use jiff::Timestamp;
use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Hashes that are missing or different are printed to standard output, in the order of the list; \
                  ingest them to repair the table. The report shows which are missing and which are different; \
                  standard error shows the first ten. The table is only read.\n\n\
                  Exit status: 0 all found · 3 all found, some lines rejected · 5 some missing or different · \
                  1 failed, or no line is a hash of the algorithm · 2 and 4 as for every command\n\
                  Permissions: scripts/iam/verify.json\n\n\
                  Examples:\n  \
    hashferry verify s3://my-bucket/nsrl-sha256.txt --table sha256 --source NSRL --type known\n  \
    hashferry verify s3://my-bucket/nsrl-sha256.txt --table sha256 --sample 10000 --report verify.json\n  \
    hashferry verify list.txt --table sha256 | hashferry ingest - --table sha256"
)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Table to read
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    item: ItemArgs,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    decompress: DecompressArgs,
    /// Number of hashes to check: all, or a random sample of N, at most 1,000,000
    #[arg(long, value_name = "N", default_value = "all", help_heading = "Sample")]
    sample: Sample,
    /// Random seed of the sample [default: random, shown in the report]
    #[arg(long, value_name = "N", help_heading = "Sample")]
    seed: Option<u64>,
    /// Print only missing hashes, not different ones
    #[arg(long, help_heading = "Output")]
    missing_only: bool,
    /// File for rejected lines, as JSON lines [default: show the first ten]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    rejects: Option<PathBuf>,
    /// Stop if more lines than this are rejected: a number, or a percentage checked from line 1,000
    #[arg(
        long,
        value_name = "N|P%",
        default_value = "10%",
        help_heading = "Input"
    )]
    max_rejects: MaxRejects,
    /// Target rate in RCU/s: auto (the table's capacity), a number, a percentage of the table's
    /// capacity (80%), or max (no limit)
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    rate: RateSetting,
    /// Use strongly consistent reads for every hash, which cost twice the RCU [default: only for
    /// hashes that an eventually consistent read does not find as expected]
    #[arg(long, help_heading = "Speed")]
    consistent: bool,
    /// Maximum number of calls in flight: auto (from rate and latency) or a number
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    concurrency: Concurrency,
    /// Stop after this time without a single key read
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_duration, help_heading = "Speed")]
    give_up_after: Duration,
    /// File for the report, as JSON
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    report: Option<PathBuf>,
}

/// Runs the command and returns its exit status.
pub(super) async fn run(context: &Context, args: VerifyArgs) -> Result<u8> {
    // An unwritable report must fail the run before the work.
    let mut report_file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let started = Timestamp::now();
    let (table, sample) = (args.table.clone(), args.sample);
    let ended = verify(context, args).await;
    let reported = match &mut report_file {
        Some(file) => {
            let report = match &ended {
                Ok(report) => report.clone(),
                Err(error) => {
                    let mut report = VerifyReport::new(&table, sample, started);
                    report.finish(Outcome::Failed, Some(error));
                    report
                }
            };
            file.write(&report.to_json(), &report.describe_counts())
        }
        None => Ok(()),
    };
    exit_status(context, ended.map(|report| report.exit), reported)
}

async fn verify(context: &Context, args: VerifyArgs) -> Result<VerifyReport> {
    let connection = context.connect().await?;
    let mut builder = Verify::builder()
        .aws(connection.aws.clone())
        .table(args.table)
        .unpack(args.decompress.decompress_options())
        .form(args.list.list_options()?)
        .rules(args.list.given_rules())
        .attr_from_version(args.item.attr_from_version)
        .sample(args.sample)
        .rate(args.rate)
        .consistent(args.consistent)
        .concurrency(args.concurrency)
        .give_up_after(args.give_up_after)
        .max_rejects(args.max_rejects)
        .stop(context.stop.clone());
    builder = builder.globs(args.sources.globs()?);
    for source in args.sources.sources {
        builder = builder.source(source);
    }
    for manifest in args.sources.manifests {
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
    for a in args.item.into_attributes() {
        builder = builder.attribute(a.name, a.value);
    }
    if let Some(seed) = args.seed {
        builder = builder.seed(seed);
    }
    if let Some(path) = args.rejects {
        builder = builder.rejects(path);
    }
    let verify = builder.build().await?;
    let mut out = MismatchPrinter::new(context, args.missing_only);
    let ended = run_with_progress(context, verify, |problem| out.print(&problem)).await;
    // Print the findings so far, even after a failure.
    let flushed = out.flush();
    connection.close();
    let mut report = ended?;
    if let (None, Err(e)) = (&report.error, flushed) {
        report.finish(Outcome::Failed, Some(&e));
    }
    if !context.common.quiet {
        context.print(report.summary().trim_end());
    }
    if let Some(error) = &report.error {
        let mut failure = Error::new(ErrorKind::Read, error.clone());
        if let Some(hint) = &report.hint {
            failure = failure.with_hint(hint.clone());
        }
        context.print_error(&failure);
    }
    Ok(report)
}

/// Runs `verify`, shows its progress and passes each finding to `tell`.
pub(super) async fn run_with_progress(
    context: &Context,
    verify: Verify,
    tell: impl FnMut(Finding<'_>) -> Result<()>,
) -> Result<VerifyReport> {
    let watch = verify.watch();
    tokio::select! {
        biased;
        ended = verify.run_with(tell) => ended,
        never = progress::show(context, &watch) => match never {},
    }
}

/// Prints hashes to standard output, without breaking a progress bar on the same terminal.
struct MismatchPrinter<'a> {
    context: &'a Context,
    missing_only: bool,
    out: BufWriter<Stdout>,
    terminal: bool,
}

impl<'a> MismatchPrinter<'a> {
    fn new(context: &'a Context, missing_only: bool) -> Self {
        let out = std::io::stdout();
        MismatchPrinter {
            context,
            missing_only,
            terminal: out.is_terminal(),
            out: BufWriter::new(out),
        }
    }

    fn print(&mut self, problem: &Finding<'_>) -> Result<()> {
        if self.missing_only && *problem.kind != FindingKind::Missing {
            return Ok(());
        }
        writeln!(self.out, "{}", problem.hash).map_err(cannot_print)?;
        match self.terminal {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let out = &mut self.out;
        (self.context.terminal.suspend(|| out.flush())).map_err(cannot_print)
    }
}

fn cannot_print(e: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Output,
        "cannot write missing and different hashes to standard output",
    )
    .with_source(e)
    .with_hint("redirect it to a file on a disk with free space: … > wrong.txt")
}
