//! The command line: flags as they are typed, and what each command does.
//!
//! Nothing here decides anything about hashes or tables: a command turns flags
//! into a call of the library, shows what happens, and ends with the exit status
//! that scripts rely on.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::human::duration;
use crate::base::printable;
use crate::base::shutdown::Stop;
use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::MultiProgress;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Streams lists of file hashes from S3 into DynamoDB at exactly the table's
/// write capacity, and accounts for every line.
#[derive(Debug, Parser)]
#[command(
    name = "hashferry",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Exit status: 0 done · 1 failed · 2 wrong usage or configuration, nothing was written · \
                  3 done, some lines rejected · 4 interrupted · 5 something missing or different\n\n\
                  Examples:\n  \
                  hashferry demo\n  \
                  hashferry plan s3://my-bucket/nsrl-sha256.txt\n  \
                  hashferry ingest s3://my-bucket/nsrl-sha256.txt --table sha256\n  \
                  hashferry verify s3://my-bucket/nsrl-sha256.txt --table sha256\n  \
                  hashferry lookup hashes.txt --table sha256\n  \
                  hashferry ingest hashes.txt --table sha256 --local ./hashes"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write hash lists into a table
    Ingest(Box<crate::cli::ingest::IngestArgs>),
    /// Write only the difference between two lists: put what is new, delete what is gone
    Refresh(Box<crate::cli::refresh::RefreshArgs>),
    /// Check that a table holds what a list says
    Verify(Box<crate::cli::verify::VerifyArgs>),
    /// Say of each hash or path of a list whether a table or an API knows it
    Lookup(Box<crate::cli::lookup::LookupArgs>),
    /// Show how much a table can take, and why
    Capacity(crate::cli::capacity::CapacityArgs),
    /// Make traffic that changes no data, so that auto scaling brings a table down
    Keepalive(crate::cli::capacity::KeepaliveArgs),
    /// Say beforehand what a list will take: lines, write units, time and cost; writes nothing
    Plan(Box<crate::cli::plan::PlanArgs>),
    /// Make paths comparable (MatchMeta): path, normalised path, SHA-256
    Normalize(crate::cli::normalize::NormalizeArgs),
    /// Serve look-ups over HTTP: whether a table knows a hash or a path
    #[cfg(feature = "serve")]
    Serve(Box<crate::cli::serve::ServeArgs>),
    /// Serve an embedded S3 and DynamoDB on this machine, for any AWS client
    #[cfg(feature = "local")]
    Local(crate::cli::local::LocalArgs),
    /// The guided tour: a real list through all of it, without an AWS account
    #[cfg(feature = "local")]
    Demo(crate::cli::demo::DemoArgs),
}

impl Command {
    /// What it runs in.
    fn runtime(&self) -> tokio::runtime::Builder {
        use tokio::runtime::Builder;
        match self {
            // Many ask at once, and each of them is work of its own.
            #[cfg(feature = "serve")]
            Command::Serve(_) => Builder::new_multi_thread(),
            // One thread is enough: what costs time is waiting, and a second one costs
            // a quarter more than it brings.
            _ => Builder::new_current_thread(),
        }
    }

    /// The file with the least IAM policy that it needs.
    fn policy(&self) -> &'static str {
        match self {
            Command::Ingest(args) => args.policy(),
            Command::Refresh(args) => args.policy(),
            Command::Capacity(args) => args.policy(),
            Command::Keepalive(_) => "scripts/iam/keepalive.json",
            Command::Plan(_) => "scripts/iam/plan.json",
            Command::Normalize(_) => "scripts/iam/normalize.json",
            Command::Verify(_) => "scripts/iam/verify.json",
            #[cfg(feature = "serve")]
            Command::Serve(_) => "scripts/iam/serve.json",
            Command::Lookup(_) => "scripts/iam/lookup.json",
            #[cfg(feature = "local")]
            Command::Local(_) | Command::Demo(_) => "scripts/iam",
        }
    }
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// AWS region [default: by the standard chain]
    #[arg(long, global = true, value_name = "REGION", help_heading = "AWS")]
    pub(super) region: Option<String>,
    /// Profile of the shared AWS configuration, even if the environment holds keys; AWS_REGION
    /// and AWS_ENDPOINT_URL stand above its settings, as for aws-cli
    #[arg(long, global = true, value_name = "NAME", help_heading = "AWS")]
    pub(super) profile: Option<String>,
    /// Endpoint of S3 and DynamoDB; AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3 and
    /// AWS_ENDPOINT_URL_DYNAMODB are honoured too
    #[arg(long, global = true, value_name = "URL", help_heading = "AWS")]
    pub(super) endpoint_url: Option<String>,
    /// No AWS account: use an embedded S3 (buckets are folders of DIR/s3) and
    /// DynamoDB (DIR/dynamodb.db), started for this run
    #[arg(long, global = true, value_name = "DIR", help_heading = "AWS")]
    pub(super) local: Option<PathBuf>,
    /// How to show progress, on stderr; auto is a bar on a terminal, else log lines
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "HOW",
        default_value = "auto",
        hide_possible_values = false,
        help_heading = "Output"
    )]
    pub(super) progress: Progress,
    /// Time between two log lines of progress
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "10s",
        value_parser = duration,
        help_heading = "Output"
    )]
    pub(super) progress_interval: Duration,
    /// Say more (-vv: still more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Say nothing but warnings and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub(super) quiet: bool,
    /// Form of log lines
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORM",
        default_value = "text",
        help_heading = "Output"
    )]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
    Auto,
    Bar,
    Log,
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// What a command works with.
pub(super) struct Context {
    pub(super) common: Common,
    /// Whatever draws on the terminal goes through here.
    pub(super) terminal: MultiProgress,
    pub(super) stop: Stop,
    /// The file with the command's least IAM policy.
    policy: &'static str,
}

/// Runs the command line of this process, and says what it ends with.
pub fn main() -> ExitCode {
    crate::cli::environment::leave_out_empty_variables();
    let cli = Cli::parse();
    let terminal = MultiProgress::new();
    crate::cli::logging::start(&cli.common, &terminal);
    let runtime = match cli.command.runtime().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::from(1);
        }
    };
    let context = Context {
        common: cli.common,
        terminal,
        stop: Stop::new(),
        policy: cli.command.policy(),
    };
    let ended = runtime.block_on(async {
        watch_signals(context.stop.clone());
        match cli.command {
            Command::Ingest(args) => crate::cli::ingest::run(&context, *args).await,
            Command::Refresh(args) => crate::cli::refresh::run(&context, *args).await,
            Command::Verify(args) => crate::cli::verify::run(&context, *args).await,
            Command::Lookup(args) => crate::cli::lookup::run(&context, *args).await,
            Command::Capacity(args) => crate::cli::capacity::show(&context, &args).await,
            Command::Keepalive(args) => crate::cli::capacity::keep(&context, &args).await,
            Command::Plan(args) => crate::cli::plan::run(&context, *args).await,
            Command::Normalize(args) => crate::cli::normalize::run(&context, args).await,
            #[cfg(feature = "serve")]
            Command::Serve(args) => crate::cli::serve::run(&context, *args).await,
            #[cfg(feature = "local")]
            Command::Local(args) => crate::cli::local::run(&context, &args).await,
            #[cfg(feature = "local")]
            Command::Demo(args) => crate::cli::demo::run(&context, &args).await,
        }
    });
    // A read of a terminal that nobody types at would hold the process up.
    runtime.shutdown_background();
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            context.complain(&error);
            ExitCode::from(error.exit_status())
        }
    }
}

impl Context {
    /// Says an error on stderr, with what to do about it.
    pub(super) fn complain(&self, error: &Error) {
        if self.common.log_format == LogFormat::Json {
            tracing::error!(hint = error.what_to_do(), "{error}");
            return;
        }
        self.say(&format!("error: {error}"));
        if let Some(hint) = error.what_to_do() {
            let hint = printable::one_line(hint);
            self.say(&format!("  what to do: {hint}"));
        }
    }

    /// Writes JSON to stderr, around the bar.
    pub(super) fn say_json(&self, json: &str) {
        self.say(&printable::json(json));
    }

    /// Writes text to stderr, around the bar.
    pub(super) fn say(&self, text: &str) {
        use std::io::Write as _;
        self.terminal.suspend(|| {
            // When stderr is gone there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "{}", printable::lines(text));
        });
    }

    /// A connection by the flags: to AWS, or to embedded servers that live as
    /// long as what is returned.
    pub(super) async fn connect(&self) -> Result<Connection> {
        self.connect_as(None).await
    }

    /// The same, in the region `default` when none is set: for what asks nothing
    /// of AWS.
    pub(super) async fn connect_as(&self, default: Option<&str>) -> Result<Connection> {
        let region = self.common.region.as_deref().or(default);
        let mut options = AwsOptions {
            region: region.map(str::to_owned),
            profile: self.common.profile.clone(),
            endpoint_url: self.common.endpoint_url.clone(),
            policy: Some(self.policy),
            local: None,
        };
        #[cfg(feature = "local")]
        {
            let servers = self
                .common
                .local
                .as_ref()
                .map(|dir| crate::cli::local::start(dir, 0, 0))
                .transpose()?;
            options.local = servers.as_ref().map(crate::cli::local::endpoints);
            let aws = Aws::load(&options).await?;
            Ok(Connection { aws, servers })
        }
        #[cfg(not(feature = "local"))]
        {
            if self.common.local.is_some() {
                return Err(Error::usage("this build has no embedded servers (--local)")
                    .hint("build it with its default features: cargo install hashferry"));
            }
            options.local = None;
            Ok(Connection {
                aws: Aws::load(&options).await?,
            })
        }
    }
}

/// A connection, and the servers behind it where they are ours.
pub(super) struct Connection {
    pub(super) aws: Aws,
    #[cfg(feature = "local")]
    servers: Option<crate::local::servers::LocalServers>,
}

impl Connection {
    /// Stops the servers, if there are any. Blocks for a moment.
    pub(super) fn close(self) {
        #[cfg(feature = "local")]
        if let Some(servers) = self.servers {
            servers.stop();
        }
    }
}

/// Turns SIGINT and SIGTERM into requests to stop, from now on.
fn watch_signals(stop: Stop) {
    // Registered before anything is opened: one that comes early counts too.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            let what = "signals cannot be caught: interrupting ends the program at once";
            return tracing::warn!("{what} ({e})");
        }
    };
    tokio::spawn(async move {
        for count in 1.. {
            signals.next().await;
            match count {
                1 => tracing::warn!(
                    "stopping: what is in flight may finish; once more stops at once"
                ),
                2 => tracing::warn!("stopping at once"),
                // Whatever hangs, the person has the last word.
                _ => std::process::exit(4),
            }
            stop.request();
        }
    });
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read() {
        for (text, ms) in [
            ("30", 30_000),
            ("0.5s", 500),
            ("200ms", 200),
            ("15m", 900_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "0", "-1", "s", "5d", "1e99", "NaN"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
