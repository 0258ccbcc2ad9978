//! The commands, their flags, and the `main` of the binary.
//!
//! A command turns flags into a call of the library, shows progress, and returns the
//! exit status that scripts rely on. It decides nothing about hashes or tables.

use crate::base::error::Result;
use crate::base::shutdown::Stop;
use crate::cli::context::{Common, Context};
use crate::cli::signals::watch_signals;
use clap::{Parser, Subcommand};
use futures::future::{LocalBoxFuture, ready};
use indicatif::MultiProgress;
use std::process::ExitCode;

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
    /// Write hash lists to a table
    Ingest(Box<crate::cli::ingest::IngestArgs>),
    /// Write the difference between two lists: put new hashes, delete removed ones
    Refresh(Box<crate::cli::refresh::RefreshArgs>),
    /// Check that a table holds every hash of a list
    Verify(Box<crate::cli::verify::VerifyArgs>),
    /// Look up each hash or path of a list in a table or an API
    Lookup(Box<crate::cli::lookup::LookupArgs>),
    /// Show a table's write capacity and what limits it
    Capacity(crate::cli::capacity::CapacityArgs),
    /// Send traffic that changes no data, so that auto scaling scales a table in
    Keepalive(crate::cli::capacity::KeepaliveArgs),
    /// Estimate lines, WCU, time and cost of a list before writing it
    Plan(Box<crate::cli::plan::PlanArgs>),
    /// Normalise paths (MatchMeta): print path, normalised path, SHA-256
    Normalize(crate::cli::normalize::NormalizeArgs),
    /// Serve look-ups of hashes and paths over HTTP
    #[cfg(feature = "serve")]
    Serve(Box<crate::cli::serve::ServeArgs>),
    /// Serve an embedded S3 and DynamoDB on this machine, for any AWS client
    #[cfg(feature = "local")]
    Local(crate::cli::local::LocalArgs),
    /// Take a guided tour with a real list, without an AWS account
    #[cfg(feature = "local")]
    Demo(crate::cli::demo::DemoArgs),
    /// Show a guide: lists, rates, resuming, look-ups and others
    Guide(crate::cli::guide::GuideArgs),
}

impl Command {
    /// The Tokio runtime for this command.
    fn runtime(&self) -> tokio::runtime::Builder {
        use tokio::runtime::Builder;
        match self {
            // Requests are independent of each other and use all cores.
            #[cfg(feature = "serve")]
            Command::Serve(_) => Builder::new_multi_thread(),
            // A run mostly waits for the network; measured, a second thread costs a quarter
            // more than it gains.
            _ => Builder::new_current_thread(),
        }
    }

    /// The path of the command's minimum IAM policy.
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
            Command::Guide(_) => "scripts/iam",
            #[cfg(feature = "local")]
            Command::Local(_) | Command::Demo(_) => "scripts/iam",
        }
    }
}

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    crate::cli::environment::restart_without_empty_variables();
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
        // Boxed because the futures of whole runs would need a large stack frame.
        let run: LocalBoxFuture<'_, Result<u8>> = match cli.command {
            Command::Ingest(args) => Box::pin(crate::cli::ingest::run(&context, *args)),
            Command::Refresh(args) => Box::pin(crate::cli::refresh::run(&context, *args)),
            Command::Verify(args) => Box::pin(crate::cli::verify::run(&context, *args)),
            Command::Lookup(args) => Box::pin(crate::cli::lookup::run(&context, *args)),
            Command::Capacity(ref args) => Box::pin(crate::cli::capacity::show(&context, args)),
            Command::Keepalive(ref args) => Box::pin(crate::cli::capacity::keep(&context, args)),
            Command::Plan(args) => Box::pin(crate::cli::plan::run(&context, *args)),
            Command::Normalize(args) => Box::pin(crate::cli::normalize::run(&context, args)),
            #[cfg(feature = "serve")]
            Command::Serve(args) => Box::pin(crate::cli::serve::run(&context, *args)),
            #[cfg(feature = "local")]
            Command::Local(ref args) => Box::pin(crate::cli::local::run(&context, args)),
            #[cfg(feature = "local")]
            Command::Demo(ref args) => Box::pin(crate::cli::demo::run(&context, args)),
            Command::Guide(ref args) => Box::pin(ready(crate::cli::guide::run(args))),
        };
        run.await
    });
    // A pending read of standard input would otherwise block the exit.
    runtime.shutdown_background();
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            context.print_error(&error);
            ExitCode::from(error.exit_status())
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
}
