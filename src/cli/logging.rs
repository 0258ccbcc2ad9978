//! Log lines on stderr, above the progress bar if there is one.

use crate::base::printable;
use crate::cli::context::{Common, LogFormat};
use indicatif::MultiProgress;
use std::io::{IsTerminal, Write};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging as the flags say. Events of the AWS SDK are left out: errors contain the
/// important parts, and some events show headers.
pub(super) fn start(common: &Common, terminal: &MultiProgress) {
    let ours = match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, 0) => LevelFilter::INFO,
        (_, 1) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let others = match common.verbose {
        0 | 1 => LevelFilter::ERROR,
        _ => LevelFilter::WARN,
    };
    let filter = Targets::new()
        .with_default(others)
        .with_target("hashferry", ours)
        .with_target("s3s", LevelFilter::OFF)
        .with_target("s3s_fs", LevelFilter::OFF)
        .with_target("dynoxide", LevelFilter::ERROR);
    let on_terminal = std::io::stderr().is_terminal();
    let writer = BarWriter {
        terminal: terminal.clone(),
        json: on_terminal && common.log_format == LogFormat::Json,
    };
    // Logged names come from outside and must not add lines to the log.
    let fields = debug_fn(|out, field, value| {
        let text = format!("{value:?}");
        let text = printable::one_line(&text);
        match field.name() {
            "message" => write!(out, "{text}"),
            name => write!(out, "{name}={text}"),
        }
    })
    .delimited(" ");
    let builder = tracing_subscriber::fmt()
        .with_max_level(ours.max(others))
        .with_writer(writer)
        // If stderr is closed, reporting that on stderr would panic.
        .log_internal_errors(false)
        .with_target(common.verbose > 0);
    // Only tests start logging twice in one process; the first start stays in effect.
    let _ = match common.log_format {
        LogFormat::Json => {
            let json = builder.json().flatten_event(true);
            json.finish().with(filter).try_init()
        }
        LogFormat::Text if on_terminal => {
            let text = builder.without_time().with_ansi(true);
            text.fmt_fields(fields).finish().with(filter).try_init()
        }
        LogFormat::Text => {
            let text = builder.with_ansi(false).fmt_fields(fields);
            text.finish().with(filter).try_init()
        }
    };
}

#[derive(Clone)]
struct BarWriter {
    terminal: MultiProgress,
    /// True for JSON on a terminal, which needs escaping.
    json: bool,
}

impl Write for BarWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = std::str::from_utf8(bytes).ok().filter(|_| self.json);
        let safe = text.map(printable::escape_json);
        let shown = safe.as_ref().map_or(bytes, |safe| safe.as_bytes());
        self.terminal
            .suspend(|| std::io::stderr().write_all(shown))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for BarWriter {
    type Writer = BarWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}
