//! Shared setup of the AWS Lambda functions: the log, the runtime, and the environment.

use crate::base::error::{Cause, Error, ErrorKind, Result};
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Variables that Lambda sets and its runtime library requires.
/// Source: Lambda developer guide, defined runtime environment variables.
const RUNTIME_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Runs `serve` until Lambda ends this process. Returns only on failure. `elsewhere` is the
/// equivalent command on other machines, for the hint.
pub(crate) fn run(elsewhere: &str, serve: impl Future<Output = Result<()>>) -> ExitCode {
    // Events of the AWS SDK are left out, as on the command line: some show headers.
    let filter = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("hashferry", LevelFilter::INFO)
        .with_target("lambda_runtime", LevelFilter::INFO);
    // CloudWatch stores each line as a separate event.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .finish()
        .with(filter)
        .try_init();
    let ended = check_environment(elsewhere).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|e| Error::new(ErrorKind::Internal, "cannot start").with_source(e));
        runtime?.block_on(serve)
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(hint = error.hint(), "{error:#}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// Checks that Lambda started this process.
fn check_environment(elsewhere: &str) -> Result<()> {
    for name in RUNTIME_VARIABLES {
        let value = std::env::var(name).unwrap_or_default();
        let number = name.ends_with("_SIZE");
        if value.is_empty() || (number && value.parse::<i32>().is_err()) {
            let what = match value.is_empty() {
                true => "not set",
                false => "not a number",
            };
            return Err(Error::usage(format!(
                "{name} is {what}: this is the bootstrap of an AWS Lambda function, and Lambda did not start it"
            ))
            .with_hint(format!("on any other machine, run: {elsewhere}")));
        }
    }
    Ok(())
}

/// Wraps an error of the Lambda runtime library.
pub(crate) fn runtime_error(why: impl Into<Cause>) -> Error {
    Error::new(
        ErrorKind::Internal,
        "the Lambda runtime API sent an unexpected response",
    )
    .with_source(why)
}
