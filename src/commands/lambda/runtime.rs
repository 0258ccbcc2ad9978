//! What all AWS Lambda functions of this program have around them: the log, the
//! runtime, and the environment that Lambda sets.

use crate::base::error::{Cause, Error, ErrorKind, Result};
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What Lambda sets, and its runtime's library does not do without.
/// Source: Lambda developer guide, defined runtime environment variables.
const ENVIRONMENT: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Answers events by `serve` until Lambda ends this process; only a failure comes
/// back. `elsewhere` is the command that does the same on any other machine.
pub(crate) fn run(elsewhere: &str, serve: impl Future<Output = Result<()>>) -> ExitCode {
    // The SDK's events are left out, as on the command line: some show headers.
    let filter = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("hashferry", LevelFilter::INFO)
        .with_target("lambda_runtime", LevelFilter::INFO);
    // CloudWatch keeps each line by itself, with its own time stamp.
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
    let ended = environment(elsewhere).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime =
            runtime.map_err(|e| Error::new(ErrorKind::Internal, "cannot start").because(e));
        runtime?.block_on(serve)
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(hint = error.what_to_do(), "{error:#}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// Whether Lambda has started it.
fn environment(elsewhere: &str) -> Result<()> {
    for name in ENVIRONMENT {
        let value = std::env::var(name).unwrap_or_default();
        let number = name.ends_with("_SIZE");
        if value.is_empty() || (number && value.parse::<i32>().is_err()) {
            let what = match value.is_empty() {
                true => "not set",
                false => "no number",
            };
            return Err(Error::usage(format!(
                "{name} is {what}: this is the bootstrap of an AWS Lambda function, and Lambda did not start it"
            ))
            .hint(format!("on any other machine: {elsewhere}")));
        }
    }
    Ok(())
}

/// What the runtime's library ended with.
pub(crate) fn runtime_error(why: impl Into<Cause>) -> Error {
    Error::new(
        ErrorKind::Internal,
        "the Lambda runtime API does not answer as it should",
    )
    .because(why)
}
