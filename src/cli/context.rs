//! Flags of every command, and the context of a command: terminal, shutdown, connection.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::human::parse_duration;
use crate::base::printable;
use crate::base::shutdown::Stop;
use clap::{Args, ValueEnum};
use indicatif::MultiProgress;
use std::path::PathBuf;
use std::time::Duration;

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// AWS region [default: from the standard chain]
    #[arg(long, global = true, value_name = "REGION", help_heading = "AWS")]
    pub(super) region: Option<String>,
    /// Profile of the shared AWS configuration, used even if the environment has keys; AWS_REGION
    /// and AWS_ENDPOINT_URL override its settings, as in the AWS CLI
    #[arg(long, global = true, value_name = "NAME", help_heading = "AWS")]
    pub(super) profile: Option<String>,
    /// Endpoint of S3 and DynamoDB; AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3 and
    /// AWS_ENDPOINT_URL_DYNAMODB work too
    #[arg(long, global = true, value_name = "URL", help_heading = "AWS")]
    pub(super) endpoint_url: Option<String>,
    /// Use no AWS account but an embedded S3 (buckets are directories in DIR/s3) and DynamoDB
    /// (DIR/dynamodb.db), started for this run
    #[arg(long, global = true, value_name = "DIR", help_heading = "AWS")]
    pub(super) local: Option<PathBuf>,
    /// Progress on stderr; auto is a bar on a terminal, else log lines
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
        value_parser = parse_duration,
        help_heading = "Output"
    )]
    pub(super) progress_interval: Duration,
    /// Log more (-vv: even more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(super) verbose: u8,
    /// Show only warnings and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Output"
    )]
    pub(super) quiet: bool,
    /// Format of log lines
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

/// Shared state of a command: flags, terminal, shutdown.
pub(super) struct Context {
    pub(super) common: Common,
    /// All terminal output goes through here, so that the bar and the lines do not mix.
    pub(super) terminal: MultiProgress,
    pub(super) stop: Stop,
    /// The path of the command's minimum IAM policy.
    pub(super) policy: &'static str,
}

impl Context {
    /// Prints an error and its hint to stderr.
    pub(super) fn print_error(&self, error: &Error) {
        if self.common.log_format == LogFormat::Json {
            tracing::error!(hint = error.hint(), "{error:#}");
            return;
        }
        self.print(&format!("error: {error:#}"));
        if let Some(hint) = error.hint() {
            let hint = printable::one_line(hint);
            self.print(&format!("  what to do: {hint}"));
        }
    }

    /// Writes JSON to stderr, around the bar.
    pub(super) fn print_json(&self, json: &str) {
        self.print(&printable::escape_json(json));
    }

    /// Writes text to stderr, around the bar.
    pub(super) fn print(&self, text: &str) {
        use std::io::Write as _;
        self.terminal.suspend(|| {
            // A closed stderr leaves no place to report the failure.
            let _ = writeln!(std::io::stderr(), "{}", printable::escape_lines(text));
        });
    }

    /// Connects as the flags say: to AWS, or to embedded servers that run as long as the
    /// returned connection.
    pub(super) async fn connect(&self) -> Result<Connection> {
        self.connect_with_default_region(None).await
    }

    /// Connects like [`Self::connect`], with the region `default` if none is set. For commands
    /// that may not call AWS at all.
    pub(super) async fn connect_with_default_region(
        &self,
        default: Option<&str>,
    ) -> Result<Connection> {
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
                .map(|dir| crate::cli::embedded_servers::start(dir, 0, 0))
                .transpose()?;
            options.local = servers
                .as_ref()
                .map(crate::cli::embedded_servers::endpoints);
            let aws = Aws::load(&options).await?;
            Ok(Connection { aws, servers })
        }
        #[cfg(not(feature = "local"))]
        {
            if self.common.local.is_some() {
                return Err(Error::usage("this build has no embedded servers (--local)")
                    .with_hint("build it with its default features: cargo install hashferry"));
            }
            options.local = None;
            Ok(Connection {
                aws: Aws::load(&options).await?,
            })
        }
    }
}

/// A connection, with the embedded servers of `--local`.
pub(super) struct Connection {
    pub(super) aws: Aws,
    #[cfg(feature = "local")]
    servers: Option<crate::local::servers::LocalServers>,
}

impl Connection {
    /// Stops the embedded servers, if any. Blocks briefly.
    pub(super) fn close(self) {
        #[cfg(feature = "local")]
        if let Some(servers) = self.servers {
            servers.stop();
        }
    }
}
