//! The flags of every command, and the context that a command runs in: terminal, stop, connection.

use crate::aws::config::{Aws, AwsOptions};
use crate::base::error::{Error, Result};
use crate::base::human::duration;
use crate::base::printable;
use crate::base::shutdown::Stop;
use clap::{Args, ValueEnum};
use indicatif::MultiProgress;
use std::path::PathBuf;
use std::time::Duration;

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
    pub(super) policy: &'static str,
}

impl Context {
    /// Says an error on stderr, with what to do about it.
    pub(super) fn complain(&self, error: &Error) {
        if self.common.log_format == LogFormat::Json {
            tracing::error!(hint = error.what_to_do(), "{error:#}");
            return;
        }
        self.say(&format!("error: {error:#}"));
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
