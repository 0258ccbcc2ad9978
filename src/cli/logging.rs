//! Log lines on stderr, above the bar where there is one.

use super::{Common, LogFormat};
use indicatif::MultiProgress;
use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging as the flags say. The SDK's own events are left out: what
/// matters of them is in our errors, and some show headers.
pub(super) fn start(common: &Common, terminal: &MultiProgress) {
    let ours = match (common.quiet, common.verbose) {
        (true, _) => "warn",
        (_, 0) => "info",
        (_, 1) => "debug",
        _ => "trace",
    };
    let others = if common.verbose > 1 { "warn" } else { "error" };
    let filter = format!("{others},hashferry={ours},s3s=off,s3s_fs=off,dynoxide=error");
    let filter = EnvFilter::new(filter);
    let writer = AroundTheBar(terminal.clone());
    let on_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        // Where nobody reads the log any more, saying so on stderr would be a panic.
        .log_internal_errors(false)
        .with_target(common.verbose > 0);
    // A second start, in one process, is a test's: it keeps the first.
    let _ = match common.log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text if on_terminal => builder.without_time().with_ansi(true).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
}

#[derive(Clone)]
struct AroundTheBar(MultiProgress);

impl Write for AroundTheBar {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .suspend(|| std::io::stderr().write_all(bytes))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AroundTheBar {
    type Writer = AroundTheBar;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}
