//! The `hashferry normalize` command: prints normalised paths and their hashes.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Case;
use crate::base::record::{Position, RejectReason};
use crate::base::shutdown::Stop;
use crate::cli::context::Context;
use crate::cli::flags::compression::DecompressArgs;
use crate::cli::flags::paths::{RULES_HELP, RulesArgs};
use crate::cli::terminal;
use crate::list::lines::{Framer, Line};
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::{InvalidPath, Normalizer};
use crate::list::objects::Objects;
use crate::list::open_list::OpenList;
use crate::pipeline::rejects::Rejects;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::location::Location;
use crate::source::sources::{Globs, SourceSpec, Sources};
use clap::Args;
use indicatif::HumanCount;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncWriteExt as _, Stdout};

/// Bytes of output to collect before a write. One line can be longer.
const WRITE_BYTES: usize = 128 * 1024;

#[derive(Debug, Args)]
#[command(after_help = format!("{RULES_HELP}\n\n\
    On a terminal, invisible characters of a path are escaped, such as \\u{{1b}}; files and pipes get the raw bytes.\n\n\
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
    decompress: DecompressArgs,
    /// File for rejected lines, as JSON lines [default: show the first ten]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    rejects: Option<PathBuf>,
    /// Print JSON lines {"path","normalized","sha256","rules"} instead of tab-separated columns
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Runs the command and returns its exit status.
pub(super) async fn run(context: &Context, args: NormalizeArgs) -> Result<u8> {
    let normalizer = args.rules.normalizer()?;
    let names = match args.paths.is_empty() {
        true => vec!["-".to_owned()],
        false => args.paths,
    };
    let sources = Sources::parse(&names, &[], Globs::default())?;
    // A mistyped name must fail the run before the first line of output.
    for named in &sources.specs {
        if let SourceSpec::Single(Location::File(path)) = named {
            check_is_file(path)?;
        }
    }
    let rejects = Rejects::new(args.rejects.as_deref())?;
    let connection = match names.iter().any(|name| name.starts_with("s3://")) {
        true => context.connect().await?,
        // No call to AWS follows.
        false => {
            context
                .connect_with_default_region(Some("us-east-1"))
                .await?
        }
    };
    let mut output = Output {
        stop: &context.stop,
        stdout: terminal::stdout(match args.json {
            true => terminal::OutputFormat::Json,
            false => terminal::OutputFormat::Text,
        }),
        bytes: Vec::with_capacity(WRITE_BYTES * 2),
    };
    let mut work = Worker {
        normalizer,
        json: args.json,
        rejects: &rejects,
        counts: Counts::default(),
        normalized: Vec::new(),
    };
    let ended = work
        .run(
            &sources,
            &connection.aws,
            &args.decompress.decompress_options(),
            &mut output,
        )
        .await;
    // The buffer holds complete lines, so it is written even after an error.
    let ended = match ended {
        Err(StopReason::OutputClosed) => Err(StopReason::OutputClosed),
        ended => output.write().await.and(ended),
    };
    let finished = rejects.flush();
    connection.close();
    let status = match ended {
        Ok(()) if work.counts.rejected > 0 => 3,
        Ok(()) => 0,
        Err(StopReason::Stopped) => 4,
        // The reader closed the pipe because it needs no more, as `head` does.
        Err(StopReason::OutputClosed) => return finished.map(|()| 0),
        Err(StopReason::Failed(e)) => {
            work.counts.print(context, args.json);
            return Err(e);
        }
    };
    finished?;
    work.counts.print(context, args.json);
    Ok(status)
}

/// Checks that `path` is a file.
///
/// # Errors
/// A usage error if `path` is a directory or cannot be read.
fn check_is_file(path: &Path) -> Result<()> {
    let hint = "name files with one path a line; for a single path, use a pipe: \
                printf '%s\\n' PATH | hashferry normalize";
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let what = format!("{} is a directory, not a list of paths", path.display());
            Err(Error::usage(what)
                .with_hint("list its files: find DIR -type f | hashferry normalize"))
        }
        Ok(_) => Ok(()),
        Err(e) => Err(Error::usage(format!("cannot read {}", path.display()))
            .with_source(e)
            .with_hint(hint)),
    }
}

/// Reason to end before the last line.
enum StopReason {
    /// A shutdown was requested.
    Stopped,
    /// The reader of the output closed it.
    OutputClosed,
    Failed(Error),
}

impl From<Error> for StopReason {
    fn from(e: Error) -> Self {
        StopReason::Failed(e)
    }
}

/// Waits for `reading` or a shutdown request. Reads only: a cancelled write would leave an
/// unknown part of its bytes written.
async fn until_shutdown<T>(
    stop: &Stop,
    reading: impl Future<Output = Result<T>>,
) -> Result<T, StopReason> {
    tokio::select! {
        biased;
        () = stop.requested() => Err(StopReason::Stopped),
        read = reading => read.map_err(StopReason::Failed),
    }
}

/// Line counts. Every line is counted as a path, skipped or rejected.
#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    paths: u64,
    skipped: u64,
    rejected: u64,
    /// Paths that contain a tab.
    paths_with_tab: u64,
}

impl Counts {
    fn print(&self, context: &Context, json: bool) {
        if self.paths_with_tab > 0 && !json {
            tracing::warn!(
                "paths with a tab: {}; their columns are ambiguous, use --json",
                HumanCount(self.paths_with_tab)
            );
        }
        let s = |n: u64| if n == 1 { "" } else { "s" };
        if !context.common.quiet {
            context.print(&format!(
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
struct OutputLine<'a> {
    path: &'a str,
    normalized: &'a str,
    sha256: &'a str,
    rules: &'a str,
}

struct Worker<'a> {
    normalizer: Normalizer,
    json: bool,
    rejects: &'a Rejects,
    counts: Counts,
    /// With `json`, the normalised path of a line and the hex of its hash. Reused for every line.
    normalized: Vec<u8>,
}

impl Worker<'_> {
    /// Reads the lists one after another.
    async fn run(
        &mut self,
        sources: &Sources,
        aws: &Aws,
        unpack: &DecompressOptions,
        output: &mut Output<'_>,
    ) -> Result<(), StopReason> {
        let stop = output.stop;
        let mut objects = Objects::new(sources, aws);
        let mut number = 0_u32;
        while let Some(object) = until_shutdown(stop, objects.next()).await? {
            let opening = OpenList::open_text(&object.location, aws, unpack);
            let opened = until_shutdown(stop, opening).await?;
            self.read_source(opened, number, output).await?;
            number = number.saturating_add(1);
        }
        Ok(())
    }

    async fn read_source(
        &mut self,
        mut opened: OpenList,
        number: u32,
        output: &mut Output<'_>,
    ) -> Result<(), StopReason> {
        let name = opened.name();
        let mut framer = Framer::new();
        while let Some(chunk) = until_shutdown(output.stop, opened.next()).await? {
            let mut lines = framer.push(&chunk.bytes);
            while let Some(line) = lines.next() {
                self.handle_line(&line, number, &name, &mut output.bytes)?;
                if output.bytes.len() >= WRITE_BYTES {
                    output.write().await?;
                }
            }
            // Write after every chunk, so that interactive users and programs at both
            // ends of a pipe get their output at once.
            output.write().await?;
        }
        if let Some(line) = framer.finish() {
            self.handle_line(&line, number, &name, &mut output.bytes)?;
        }
        Ok(())
    }

    fn handle_line(
        &mut self,
        line: &Line<'_>,
        source: u32,
        name: &str,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let first = line.number == 1;
        if first && (line.bytes.starts_with(b"\xFF\xFE") || line.bytes.starts_with(b"\xFE\xFF")) {
            let what = format!("{name} is UTF-16 text, as PowerShell writes it");
            return Err(Error::usage(what).with_hint(
                "convert it first: iconv -f UTF-16 -t UTF-8 LIST | hashferry normalize",
            ));
        }
        self.counts.lines += 1;
        let (reason, detail) = match line.is_overlong() {
            true => (RejectReason::Overlong, None),
            false => match self.append_path(normalizer::path_from_line(line.bytes, first), out) {
                Ok(()) => {
                    self.counts.paths += 1;
                    return Ok(());
                }
                Err(InvalidPath::Empty) => {
                    self.counts.skipped += 1;
                    return Ok(());
                }
                Err(InvalidPath::Nul) => (RejectReason::Nul, None),
                Err(why @ InvalidPath::Surrogate) => (RejectReason::Utf8, Some(why.to_string())),
                Err(_) => (RejectReason::Utf8, None),
            },
        };
        self.counts.rejected += 1;
        let place = Position {
            source,
            line: line.number,
            byte: line.offset,
        };
        (self.rejects).add(place, name, reason, line.bytes, detail.as_deref())
    }

    /// Appends the output line of `path` to `out`.
    ///
    /// # Errors
    /// The reason why `path` cannot be normalised; `out` is then unchanged.
    fn append_path(&mut self, path: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidPath> {
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
            self.counts.paths_with_tab += u64::from(memchr::memchr(b'\t', path).is_some());
            return Ok(());
        }
        let buffer = &mut self.normalized;
        buffer.clear();
        self.normalizer.normalize(path, buffer)?;
        let hash = normalizer::hash(buffer);
        let end = buffer.len();
        hash.write_hex(Case::Upper, buffer);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| InvalidPath::Utf8);
        let answer = OutputLine {
            path: text(path)?,
            normalized: text(&buffer[..end])?,
            sha256: text(&buffer[end..])?,
            rules: self.normalizer.rules().name(),
        };
        // Writing text as JSON to a vector does not fail.
        serde_json::to_writer(&mut *out, &answer).map_err(|_| InvalidPath::Utf8)?;
        out.push(b'\n');
        Ok(())
    }
}

/// Standard output and its buffer of complete lines.
struct Output<'a> {
    stop: &'a Stop,
    stdout: terminal::EscapingWriter<Stdout>,
    bytes: Vec<u8>,
}

impl Output<'_> {
    /// Writes the buffer. A forced shutdown cancels the write.
    async fn write(&mut self) -> Result<(), StopReason> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stdout.write_all(&self.bytes).await?;
            self.stdout.flush().await
        };
        let written = tokio::select! {
            biased;
            () = self.stop.forced() => return Err(StopReason::Stopped),
            written = write => written,
        };
        self.bytes.clear();
        written.map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => StopReason::OutputClosed,
            _ => StopReason::Failed(
                Error::new(
                    ErrorKind::Output,
                    "cannot write the normalised paths to standard output",
                )
                .with_source(e)
                .with_hint("redirect it to a file on a disk with free space: … > paths.tsv"),
            ),
        })
    }
}
