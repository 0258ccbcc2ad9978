//! `hashferry verify`: whether a table holds what a list says.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::duration;
use crate::cli::context::Context;
use crate::cli::exit_status::exit_status;
use crate::cli::flags::compression::UnpackArgs;
use crate::cli::flags::format::FormArgs;
use crate::cli::flags::item::ItemArgs;
use crate::cli::flags::sources::SourceArgs;
use crate::cli::progress;
use crate::cli::report_file::ReportFile;
use crate::commands::verify::finding::{Problem, What};
use crate::commands::verify::options::Verify;
use crate::commands::verify::report::VerifyReport;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
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
    after_help = "Hashes that are missing or different go to standard output, in the order of the list: an ingest \
                  of them repairs the table. Which is which is in the report and, for the first ten, on \
                  standard error. The table is only read.\n\n\
                  Exit status: 0 all is there · 3 all is there, some lines are no hashes · 5 something is \
                  missing or different · 1 failed, or nothing was compared: not one line is a hash of the kind · \
                  2 and 4 as ever\n\
                  Permissions: scripts/iam/verify.json\n\n\
                  Examples:\n  \
    hashferry verify s3://my-bucket/nsrl-sha256.txt --table sha256 --source NSRL --type known\n  \
    hashferry verify s3://my-bucket/nsrl-sha256.txt --table sha256 --sample 10000 --report verify.json\n  \
    hashferry verify list.txt --table sha256 | hashferry ingest - --table sha256"
)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// The table to read
    #[arg(long, value_name = "NAME")]
    table: String,
    #[command(flatten)]
    item: ItemArgs,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    unpack: UnpackArgs,
    /// How many of the list's hashes to check: all, or a number drawn at random, 1,000,000 at most
    #[arg(long, value_name = "N", default_value = "all", help_heading = "Sample")]
    sample: Sample,
    /// Draw the sample by this number [default: a random one, which the report names]
    #[arg(long, value_name = "N", help_heading = "Sample")]
    seed: Option<u64>,
    /// Print only what is missing, not what is different
    #[arg(long, help_heading = "Output")]
    missing_only: bool,
    /// Keep rejected lines here, as JSON lines [default: show the first ten]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    rejects: Option<PathBuf>,
    /// Stop when more lines than this are rejected: a number, or a share judged from 1,000 lines on
    #[arg(
        long,
        value_name = "N|P%",
        default_value = "10%",
        help_heading = "Input"
    )]
    max_rejects: MaxRejects,
    /// Read capacity units a second: auto (the table's capacity), a number, a share of the
    /// table's (80%), or max (no limit)
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    rate: Rate,
    /// Read strongly consistently at once, for twice the units [default: only what an eventually
    /// consistent read does not find as it should be]
    #[arg(long, help_heading = "Speed")]
    consistent: bool,
    /// Calls in flight at most: auto (as the rate and the latency need) or a number
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    concurrency: Concurrency,
    /// Give up when not one key could be read for this long
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration, help_heading = "Speed")]
    give_up_after: Duration,
    /// Write the report here, as JSON
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    report: Option<PathBuf>,
}

/// Runs the command; its exit status.
pub(super) async fn run(context: &Context, args: VerifyArgs) -> Result<u8> {
    // A report that cannot be written must be known before the work.
    let mut report_file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let started = Timestamp::now();
    let (table, sample) = (args.table.clone(), args.sample);
    let ended = verify(context, args).await;
    let reported = match &mut report_file {
        Some(file) => {
            let report = match &ended {
                Ok(report) => report.clone(),
                Err(error) => {
                    let mut report = VerifyReport::begun(&table, sample, started);
                    report.end(Outcome::Failed, Some(error));
                    report
                }
            };
            file.write(&report.to_json(), &report.known())
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
        .unpack(args.unpack.unpack())
        .form(args.form.form()?)
        .rules(args.form.given_rules())
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
    let mut out = Out::new(context, args.missing_only);
    let ended = watched(context, verify, |problem| out.print(&problem)).await;
    // What is known so far is printed, however it ended.
    let flushed = out.flush();
    connection.close();
    let mut report = ended?;
    if let (None, Err(e)) = (&report.error, flushed) {
        report.end(Outcome::Failed, Some(&e));
    }
    if !context.common.quiet {
        context.say(report.summary().trim_end());
    }
    if let Some(error) = &report.error {
        let mut failure = Error::new(ErrorKind::Read, error.clone());
        if let Some(hint) = &report.hint {
            failure = failure.hint(hint.clone());
        }
        context.complain(&failure);
    }
    Ok(report)
}

/// Runs `verify` with its progress on show.
pub(super) async fn watched(
    context: &Context,
    verify: Verify,
    tell: impl FnMut(Problem<'_>) -> Result<()>,
) -> Result<VerifyReport> {
    let watch = verify.watch();
    tokio::select! {
        biased;
        ended = verify.run_with(tell) => ended,
        never = progress::show(context, &watch) => match never {},
    }
}

/// Standard output, around the bar where both are on the terminal.
struct Out<'a> {
    context: &'a Context,
    missing_only: bool,
    out: BufWriter<Stdout>,
    terminal: bool,
}

impl<'a> Out<'a> {
    fn new(context: &'a Context, missing_only: bool) -> Self {
        let out = std::io::stdout();
        Out {
            context,
            missing_only,
            terminal: out.is_terminal(),
            out: BufWriter::new(out),
        }
    }

    fn print(&mut self, problem: &Problem<'_>) -> Result<()> {
        if self.missing_only && *problem.what != What::Missing {
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
        "cannot write to standard output, where the hashes that are missing or different go",
    )
    .because(e)
    .hint("send it to a file that has room: … > wrong.txt")
}
