//! The `hashferry guide` command: prints the guides, through a pager on a terminal.

use crate::base::error::{Error, ErrorKind, Result};
use crate::guide::chapters::GUIDES;
use crate::guide::page::{self, LineKind};
use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::styling::{AnsiColor, Style};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

/// Style of headings on a terminal.
const HEADING: Style = Style::new().bold();
/// Style of commands and their output on a terminal.
const CODE: Style = AnsiColor::Cyan.on_default();
/// Options of `less` if the user has set none: quit if the page fits, keep colours, leave the
/// page on the screen.
const LESS: &str = "FRX";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hashferry guide\n  \
    hashferry guide resuming\n  \
    hashferry guide --search throttled\n\n\
    On a terminal, the pager in PAGER shows the page, or less if PAGER is not set.")]
pub(super) struct GuideArgs {
    /// The guide to show [default: a list of all]
    #[arg(value_parser = PossibleValuesParser::new(GUIDES.iter().map(|(name, _)| *name)))]
    topic: Option<String>,
    /// Show the lines with this word instead, in all guides or in TOPIC
    #[arg(long, value_name = "WORD")]
    search: Option<String>,
}

/// Runs the command and returns its exit status.
pub(super) fn run(args: &GuideArgs) -> Result<u8> {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let chosen = GUIDES
        .iter()
        .filter(|(name, _)| args.topic.as_deref().is_none_or(|topic| topic == *name));
    let text = match (&args.search, &args.topic) {
        (Some(word), _) => {
            let found = found(chosen, word, colour);
            if found.is_empty() {
                eprintln!("no guide contains {word:?}; `hashferry guide` lists the guides");
                return Ok(1);
            }
            found
        }
        (None, Some(_)) => chosen
            .map(|(_, markdown)| shown(markdown, colour))
            .collect(),
        (None, None) => listed(),
    };
    show(&text)
        .map_err(|e| Error::new(ErrorKind::Output, "cannot write the guide").with_source(e))?;
    Ok(0)
}

/// The names and titles of all guides.
fn listed() -> String {
    let mut text = String::from("Guides:\n");
    for (name, markdown) in GUIDES {
        let _ = writeln!(text, "  {name:<13} {}", page::title(markdown));
    }
    text += "\n`hashferry guide TOPIC` shows one, `hashferry guide --search WORD` searches all.\n";
    text
}

/// Formats one guide.
fn shown(markdown: &str, colour: bool) -> String {
    let mut text = String::with_capacity(markdown.len());
    for line in page::lines(markdown) {
        let (indent, style) = match line.kind {
            LineKind::Heading => ("", HEADING),
            LineKind::Code => ("  ", CODE),
            LineKind::Text => ("", Style::new()),
        };
        push(&mut text, indent, line.text, style, colour);
    }
    text
}

/// The lines of `guides` that contain `word`, under the names of their guides.
fn found<'a>(
    guides: impl Iterator<Item = &'a (&'a str, &'a str)>,
    word: &str,
    colour: bool,
) -> String {
    let mut text = String::new();
    for (name, markdown) in guides {
        let mut section = None;
        for hit in page::search(markdown, word) {
            if section.replace(hit.section) != Some(hit.section) {
                let place = format!("{name}: {}", hit.section);
                push(&mut text, "", &place, HEADING, colour);
            }
            if hit.text != hit.section {
                push(&mut text, "  ", hit.text, Style::new(), colour);
            }
        }
    }
    text
}

fn push(text: &mut String, indent: &str, line: &str, style: Style, colour: bool) {
    let _ = match colour && !line.is_empty() {
        true => writeln!(text, "{indent}{style}{line}{style:#}"),
        false if line.is_empty() => writeln!(text),
        false => writeln!(text, "{indent}{line}"),
    };
}

/// Writes `text` to standard output, on a terminal through the user's pager.
fn show(text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() && page_through(text) {
        return Ok(());
    }
    match io::stdout().write_all(text.as_bytes()) {
        // The reader closed the pipe because it needs no more, as `head` does.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Runs the pager with `text`. Returns false if it cannot start.
fn page_through(text: &str) -> bool {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".into());
    let mut words = shlex::split(&pager).unwrap_or_default().into_iter();
    let Some(program) = words.next() else {
        return false;
    };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A pager that the user quits closes the pipe.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().is_ok()
}
