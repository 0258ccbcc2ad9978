//! The command line: flags as they are typed, and what each command does.
//!
//! Nothing here decides anything about hashes or tables: a command turns flags
//! into a call of the library, shows what happens, and ends with the exit status
//! that scripts rely on.

use crate::base::error::Result;
use crate::base::shutdown::Stop;
use crate::cli::context::{Common, Context};
use crate::cli::signals::watch_signals;
use clap::{Parser, Subcommand};
use futures::future::LocalBoxFuture;
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
        // Boxed: the futures of whole runs are large, and a stack holds one frame for each call.
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
        };
        run.await
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
