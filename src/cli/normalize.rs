//! `hashferry normalize`: lists of paths → the paths made comparable, and their hashes.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Case;
use crate::base::record::{Place, Reason};
use crate::base::shutdown::Stop;
use crate::cli::context::Context;
use crate::cli::flags::compression::UnpackArgs;
use crate::cli::flags::paths::{RULES_HELP, RulesArgs};
use crate::cli::terminal;
use crate::list::lines::{Framer, Line};
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::{Normalizer, Unfit};
use crate::list::objects::Objects;
use crate::list::opened::Opened;
use crate::pipeline::rejects::Rejects;
use crate::source::decompress::codec::Unpack;
use crate::source::location::Location;
use crate::source::sources::{Globs, Named, Sources};
use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncWriteExt as _, Stdout};

/// How much of the output is put together before it is written, in bytes. A line can
/// be longer.
const WRITE_BYTES: usize = 128 * 1024;

#[derive(Debug, Args)]
#[command(after_help = format!("{RULES_HELP}\n\n\
    On a terminal what is hidden in a path is escaped, such as \\u{{1b}}; a file or a pipe gets its bytes.\n\n\
    Examples:\n  \
    find / -xdev -type f | hashferry normalize > paths.tsv\n  \
    hashferry normalize gold-build.txt.gz --unix-user ec2-user | cut -f 3 > gold-sha256.txt\n  \
    printf '%s\\n' 'D:\\Users\\alice\\run.exe' | hashferry normalize --json\n\n\
    Permissions: scripts/iam/normalize.json, for lists in S3"))]
pub(super) struct NormalizeArgs {
    /// Lists of paths, one a line: files, s3://bucket/key, s3://bucket/prefix/, or - for standard
    /// input [default: -]
    #[arg(value_name = "PATHS")]
    paths: Vec<String>,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    unpack: UnpackArgs,
    /// Keep rejected lines here, as JSON lines [default: show the first ten]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    rejects: Option<PathBuf>,
    /// JSON lines {"path","normalized","sha256","rules"}, instead of columns between tabs
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command; its exit status.
pub(super) async fn run(context: &Context, args: NormalizeArgs) -> Result<u8> {
    let normalizer = args.rules.normalizer()?;
    let names = match args.paths.is_empty() {
        true => vec!["-".to_owned()],
        false => args.paths,
    };
    let sources = Sources::read(&names, &[], Globs::default())?;
    // Before the first line is written: nothing is half done for a typing error.
    for named in &sources.named {
        if let Named::One(Location::File(path)) = named {
            check(path)?;
        }
    }
    let rejects = Rejects::new(args.rejects.as_deref())?;
    let connection = match names.iter().any(|name| name.starts_with("s3://")) {
        true => context.connect().await?,
        // AWS is not asked.
        false => context.connect_as(Some("us-east-1")).await?,
    };
    let mut output = Output {
        stop: &context.stop,
        stdout: terminal::stdout(match args.json {
            true => terminal::Form::Json,
            false => terminal::Form::Text,
        }),
        bytes: Vec::with_capacity(WRITE_BYTES * 2),
    };
    let mut work = Work {
        normalizer,
        json: args.json,
        rejects: &rejects,
        counts: Counts::default(),
        normalized: Vec::new(),
    };
    let ended = work
        .all(
            &sources,
            &connection.aws,
            &args.unpack.unpack(),
            &mut output,
        )
        .await;
    // What is put together is whole lines, however it ended.
    let ended = match ended {
        Err(Halt::Enough) => Err(Halt::Enough),
        ended => output.write().await.and(ended),
    };
    let finished = rejects.finish();
    connection.close();
    let status = match ended {
        Ok(()) if work.counts.rejected > 0 => 3,
        Ok(()) => 0,
        Err(Halt::Stopped) => 4,
        // Whoever reads has all that was wanted, as `head` has.
        Err(Halt::Enough) => return finished.map(|()| 0),
        Err(Halt::Failed(e)) => {
            work.counts.tell(context, args.json);
            return Err(e);
        }
    };
    finished?;
    work.counts.tell(context, args.json);
    Ok(status)
}

/// That there is a file at `path`.
fn check(path: &Path) -> Result<()> {
    let hint = "name files with one path a line; a single path goes in by a pipe: \
                printf '%s\\n' PATH | hashferry normalize";
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let what = format!("{} is a directory, not a list of paths", path.display());
            Err(Error::usage(what)
                .hint("list what is in it: find DIR -type f | hashferry normalize"))
        }
        Ok(_) => Ok(()),
        Err(e) => Err(Error::usage(format!("cannot read {}", path.display()))
            .because(e)
            .hint(hint)),
    }
}

/// Why it ends early.
enum Halt {
    /// It was asked to.
    Stopped,
    /// Nobody reads the output any more.
    Enough,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(e: Error) -> Self {
        Halt::Failed(e)
    }
}

/// What `reading` brings, unless it is told to stop. A write is not given up like this:
/// nobody would know how much of it was done.
async fn unless<T>(stop: &Stop, reading: impl Future<Output = Result<T>>) -> Result<T, Halt> {
    tokio::select! {
        biased;
        () = stop.requested() => Err(Halt::Stopped),
        read = reading => read.map_err(Halt::Failed),
    }
}

/// What became of the lines: each is in one column.
#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    paths: u64,
    skipped: u64,
    rejected: u64,
    /// Of the paths, those with a tab in them.
    tabs: u64,
}

impl Counts {
    fn tell(&self, context: &Context, json: bool) {
        if self.tabs > 0 && !json {
            tracing::warn!(
                "paths with a tab in them: {}; where their columns end cannot be told, but with --json",
                HumanCount(self.tabs)
            );
        }
        let s = |n: u64| if n == 1 { "" } else { "s" };
        if !context.common.quiet {
            context.say(&format!(
                "{} line{}: {} path{}, {} skipped (empty), {} rejected",
                HumanCount(self.lines),
                s(self.lines),
                HumanCount(self.paths),
                s(self.paths),
                HumanCount(self.skipped),
                HumanCount(self.rejected),
            ));
        }
    }
}

/// A line of `--json`.
#[derive(Serialize)]
struct Answer<'a> {
    path: &'a str,
    normalized: &'a str,
    sha256: &'a str,
    rules: &'a str,
}

struct Work<'a> {
    normalizer: Normalizer,
    json: bool,
    rejects: &'a Rejects,
    counts: Counts,
    /// With `json`, the normalised path of a line, and the hex of its hash; kept for the next.
    normalized: Vec<u8>,
}

impl Work<'_> {
    /// Takes the lists one after another.
    async fn all(
        &mut self,
        sources: &Sources,
        aws: &Aws,
        unpack: &Unpack,
        output: &mut Output<'_>,
    ) -> Result<(), Halt> {
        let stop = output.stop;
        let mut objects = Objects::new(sources, aws);
        let mut number = 0_u32;
        while let Some(object) = unless(stop, objects.next()).await? {
            let opening = Opened::open_text(&object.location, aws, unpack);
            let opened = unless(stop, opening).await?;
            self.source(opened, number, output).await?;
            number = number.saturating_add(1);
        }
        Ok(())
    }

    async fn source(
        &mut self,
        mut opened: Opened,
        number: u32,
        output: &mut Output<'_>,
    ) -> Result<(), Halt> {
        let name = opened.name();
        let mut framer = Framer::new();
        while let Some(chunk) = unless(output.stop, opened.next()).await? {
            let mut lines = framer.push(&chunk.bytes);
            while let Some(line) = lines.next() {
                self.line(&line, number, &name, &mut output.bytes)?;
                if output.bytes.len() >= WRITE_BYTES {
                    output.write().await?;
                }
            }
            // Whoever types, or waits for an answer at the other end of two pipes, has
            // it at once.
            output.write().await?;
        }
        if let Some(line) = framer.finish() {
            self.line(&line, number, &name, &mut output.bytes)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>, source: u32, name: &str, out: &mut Vec<u8>) -> Result<()> {
        let first = line.number == 1;
        if first && (line.bytes.starts_with(b"\xFF\xFE") || line.bytes.starts_with(b"\xFE\xFF")) {
            let what = format!("{name} is UTF-16 text, as PowerShell writes it");
            return Err(Error::usage(what)
                .hint("convert it first: iconv -f UTF-16 -t UTF-8 LIST | hashferry normalize"));
        }
        self.counts.lines += 1;
        let (reason, detail) = match line.is_overlong() {
            true => (Reason::Overlong, None),
            false => match self.path(normalizer::of_line(line.bytes, first), out) {
                Ok(()) => {
                    self.counts.paths += 1;
                    return Ok(());
                }
                Err(Unfit::Empty) => {
                    self.counts.skipped += 1;
                    return Ok(());
                }
                Err(Unfit::Nul) => (Reason::Nul, None),
                Err(why @ Unfit::Surrogate) => (Reason::Utf8, Some(why.to_string())),
                Err(_) => (Reason::Utf8, None),
            },
        };
        self.counts.rejected += 1;
        let place = Place {
            source,
            line: line.number,
            byte: line.offset,
        };
        (self.rejects).add(place, name, reason, line.bytes, detail.as_deref())
    }

    /// Appends the answer for `path` to `out`, or nothing.
    fn path(&mut self, path: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        if !self.json {
            let begun = out.len();
            out.extend_from_slice(path);
            out.push(b'\t');
            let from = out.len();
            if let Err(why) = self.normalizer.normalize(path, out) {
                out.truncate(begun);
                return Err(why);
            }
            let hash = normalizer::hash(&out[from..]);
            out.push(b'\t');
            hash.write_hex(Case::Upper, out);
            out.push(b'\n');
            self.counts.tabs += u64::from(memchr::memchr(b'\t', path).is_some());
            return Ok(());
        }
        let buffer = &mut self.normalized;
        buffer.clear();
        self.normalizer.normalize(path, buffer)?;
        let hash = normalizer::hash(buffer);
        let end = buffer.len();
        hash.write_hex(Case::Upper, buffer);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Unfit::Utf8);
        let answer = Answer {
            path: text(path)?,
            normalized: text(&buffer[..end])?,
            sha256: text(&buffer[end..])?,
            rules: self.normalizer.rules().name(),
        };
        // Text goes into JSON, and a vector takes it.
        serde_json::to_writer(&mut *out, &answer).map_err(|_| Unfit::Utf8)?;
        out.push(b'\n');
        Ok(())
    }
}

/// Standard output, and what is to go there: whole lines.
struct Output<'a> {
    stop: &'a Stop,
    stdout: terminal::Guarded<Stdout>,
    bytes: Vec<u8>,
}

impl Output<'_> {
    /// Writes what there is, unless it is told twice to stop.
    async fn write(&mut self) -> Result<(), Halt> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stdout.write_all(&self.bytes).await?;
            self.stdout.flush().await
        };
        let written = tokio::select! {
            biased;
            () = self.stop.insisted() => return Err(Halt::Stopped),
            written = write => written,
        };
        self.bytes.clear();
        written.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Halt::Enough,
            _ => Halt::Failed(
                Error::new(
                    ErrorKind::Output,
                    "cannot write to standard output, where the normalised paths go",
                )
                .because(e)
                .hint("send it to a file that has room: … > paths.tsv"),
            ),
        })
    }
}
