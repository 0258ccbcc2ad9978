//! The `hashferry lookup` command: looks up each hash or path of a list.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::parse_duration;
use crate::cli::context::Context;
use crate::cli::exit_status::exit_status;
use crate::cli::flags::compression::DecompressArgs;
use crate::cli::flags::item::CaseArg;
use crate::cli::flags::paths::RulesArgs;
use crate::cli::flags::speed::SpeedArgs;
use crate::cli::report_file::ReportFile;
use crate::cli::{progress, terminal};
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::commands::lookup::api_options::{Api, ApiKey};
use crate::commands::lookup::options::{Lookup, LookupBuilder};
use crate::commands::lookup::output::{IfExists, is_same_file};
use crate::commands::lookup::report::LookupReport;
use crate::commands::lookup::status::Status;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::pipeline::report::Outcome;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Default environment variable of the API key.
const KEY_VARIABLE: &str = "HASHFERRY_API_KEY";

/// Maximum size of a file with a key or certificates: 1 MiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Every line gets one answer, a line of JSON, in the order of the list:\n  \
    {\"input\":…,\"hash\":…,\"status\":\"known\", and the attributes of the item}\n  \
    {\"input\":…,\"hash\":…,\"status\":\"unknown\"}\n  \
    {\"input\":…,\"hash\":null,\"status\":\"invalid\",\"reason\":…}   not a hash or path, or a blank line\n  \
    {\"input\":…,\"hash\":…,\"status\":\"error\",\"error\":…}         the look-up failed\n\
    In a line of sha256sum output, only the hash is looked up. With --paths an answer also has normalized and rules.\n\
    An attribute with the name of one of these fields is printed as item.NAME.\n\n\
    Exit status: 0 every line is known or unknown · 1 failed, some answers are errors, or no line is a hash\n\
    or path · 3 some lines are invalid · 2 and 4 as for every command. After a failure, --output FILE --resume\n\
    continues after the last answer.\n\
    Permissions: scripts/iam/lookup.json; none for an API\n\n\
    Examples:\n  \
    hashferry lookup hashes.txt --table sha256 > answers.jsonl\n  \
    find / -xdev -type f | hashferry lookup - --paths --table gold-paths --only unknown\n  \
    hashferry lookup s3://my-bucket/case-17.txt.gz --table sha256 --output answers.jsonl --resume\n  \
    HASHFERRY_API_KEY=… hashferry lookup hashes.txt --api https://hashes.example.org/v1/sha256\n  \
    hashferry lookup hashes.txt --api https://h.example.org/sha1 --api-known any --api-unknown 'no such hash'",
    mut_arg("rate", |a| a.help("Target rate. Table, in RCU/s: auto (the table's capacity), a number, a percentage of the \
                  table's capacity (80%), or max. API: calls a second [default: no limit]")),
    mut_arg("concurrency", |a| a.help("Maximum of calls in flight: a number, or auto (table: from rate and latency; API: 64)")),
)]
pub(super) struct LookupArgs {
    /// The list: a file, s3://bucket/key, s3://bucket/prefix/, or - for standard input [default: -]
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Table to look up in
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "api",
        conflicts_with = "api"
    )]
    table: Option<String>,
    /// API to look up in, by GET URL/HASH: 200 is known, 404 unknown, each with a JSON object that
    /// names the hash, as from hashferry serve and CIRCL hashlookup. The command first looks up a
    /// word and a random hash, which the API must not know
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Hash algorithm [default: from the name of the table's partition key or the end of the URL,
    /// else from the length of the table's keys, else from the first hash]
    #[arg(long, value_name = "NAME")]
    hash: Option<Algorithm>,
    /// The list holds paths: normalise each and look up its SHA-256
    #[arg(long, help_heading = "Paths")]
    paths: bool,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    decompress: DecompressArgs,
    /// Partition key of the table, needed if dynamodb:DescribeTable is denied or the key is not
    /// named like the algorithm [default: named like the algorithm, type S]
    #[arg(
        long,
        value_name = "NAME[:S|B]",
        conflicts_with = "api",
        help_heading = "Table"
    )]
    key: Option<KeyAttribute>,
    /// Case of hashes as text, in the table's key or the URL [default: detected from the
    /// table's items, else upper]
    #[arg(long, value_enum, value_name = "CASE", help_heading = "Table")]
    case: Option<CaseArg>,
    /// Sort key of the items, if the table has one
    #[arg(
        long = "attr",
        value_name = "NAME=VALUE",
        conflicts_with = "api",
        help_heading = "Table"
    )]
    attributes: Vec<Attribute>,
    /// Use strongly consistent reads, which cost twice the RCU
    #[arg(long, conflicts_with = "api", help_heading = "Table")]
    consistent: bool,
    /// Environment variable with the API key, sent as x-api-key
    /// [default: HASHFERRY_API_KEY, if it is set]
    #[arg(
        long,
        value_name = "NAME",
        requires = "api",
        conflicts_with = "api_key_file",
        help_heading = "API"
    )]
    api_key_env: Option<String>,
    /// File with the API key
    #[arg(long, value_name = "PATH", requires = "api", help_heading = "API")]
    api_key_file: Option<PathBuf>,
    /// Content of the response to a known hash (status 200), if it does not name the hash: a
    /// text, a JSON field (.found=true, .data.source), or any (anything but an HTML page)
    #[arg(
        long,
        value_name = "TEXT|.FIELD[=VALUE]|any",
        requires = "api",
        help_heading = "API"
    )]
    api_known: Option<AnswerPattern>,
    /// Content of the response to an unknown hash (status 404 or 200), if it does not name
    /// the hash: a text, or a JSON field (.found=false)
    #[arg(
        long,
        value_name = "TEXT|.FIELD[=VALUE]",
        requires = "api",
        help_heading = "API"
    )]
    api_unknown: Option<AnswerPattern>,
    /// A hash that the API must know: it is looked up first, and the command fails (exit 2) if
    /// it is unknown
    #[arg(long, value_name = "HASH", requires = "api", help_heading = "API")]
    api_check: Option<String>,
    /// Timeout of one API call
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, help_heading = "API")]
    timeout: Duration,
    /// Maximum number of calls for one hash that get no response or a failure (5xx); after that
    /// its answer is an error
    #[arg(long, value_name = "N", default_value_t = crate::commands::lookup::api_options::API_TRIES, value_parser = clap::value_parser!(u32).range(1..), help_heading = "API")]
    tries: u32,
    /// Trust the certificates in this file, instead of the system's
    #[arg(long, value_name = "PEM", requires = "api", help_heading = "API")]
    ca_cert: Option<PathBuf>,
    /// Accept any certificate; an attacker on the network can read the key and forge answers
    #[arg(long, requires = "api", help_heading = "API")]
    insecure: bool,
    #[command(flatten)]
    speed: SpeedArgs,
    /// Write only answers with this status; the others are only counted
    #[arg(long, value_enum, value_name = "STATUS", help_heading = "Output")]
    only: Option<OnlyArg>,
    /// Write answers as they arrive, not in the order of the list
    #[arg(long, help_heading = "Output")]
    unordered: bool,
    /// File for the answers, instead of standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Continue after the last answer in FILE, with the same list; FILE need not exist yet
    #[arg(
        long,
        requires = "output",
        conflicts_with_all = ["only", "unordered", "overwrite"],
        help_heading = "Output"
    )]
    resume: bool,
    /// Replace FILE if it exists
    #[arg(long, requires = "output", help_heading = "Output")]
    overwrite: bool,
    /// File for the report, as JSON
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnlyArg {
    Known,
    Unknown,
}

impl LookupArgs {
    fn file(&self) -> &str {
        self.file.as_deref().unwrap_or("-")
    }

    fn api(&self) -> Result<Option<Api>> {
        let Some(url) = &self.api else {
            return Ok(None);
        };
        let mut api = Api::new(url)?
            .timeout(self.timeout)
            .tries(self.tries)
            .insecure(self.insecure);
        if let Some(path) = &self.ca_cert {
            let pem = read_small_file(path, "the certificates")?;
            api = api.ca_cert(pem.into_bytes());
        }
        if let Some(key) = self.api_key()? {
            api = api.key(key);
        }
        if let Some(pattern) = &self.api_known {
            api = api.known_by(pattern.clone());
        }
        if let Some(pattern) = &self.api_unknown {
            api = api.unknown_by(pattern.clone());
        }
        if let Some(hash) = &self.api_check {
            api = api.check(hash);
        }
        Ok(Some(api))
    }

    /// The API key from its file or environment variable; `None` if neither is set. No flag
    /// takes the key itself, since other users can see command lines.
    fn api_key(&self) -> Result<Option<ApiKey>> {
        if let Some(path) = &self.api_key_file {
            let text = read_small_file(path, "the key of the API")?;
            let key = ApiKey::new(&text).map_err(|e| e.in_source(&path.display().to_string()))?;
            return Ok(Some(key));
        }
        let name = self.api_key_env.as_deref().unwrap_or(KEY_VARIABLE);
        match std::env::var_os(name) {
            Some(value) => {
                let wrong = || Error::usage("the key of the API is not text").in_source(name);
                let text = value.to_str().ok_or_else(wrong)?;
                ApiKey::new(text).map_err(|e| e.in_source(name)).map(Some)
            }
            None if self.api_key_env.is_some() => {
                // The value may be the key itself, so the message does not show it.
                Err(
                    Error::usage("--api-key-env names a variable that is not set")
                        .with_hint("give the name of a variable, not the key itself"),
                )
            }
            None => Ok(None),
        }
    }

    fn builder(&self) -> Result<LookupBuilder> {
        let mut builder = Lookup::builder()
            .input(self.file())
            .unpack(self.decompress.decompress_options())
            .consistent(self.consistent)
            .rate(self.speed.rate)
            .concurrency(self.speed.concurrency)
            .give_up_after(self.speed.give_up_after)
            .unordered(self.unordered);
        if let Some(case) = self.case {
            builder = builder.case(case.case());
        }
        if let Some(table) = &self.table {
            builder = builder.table(table);
        }
        if let Some(api) = self.api()? {
            builder = builder.api(api);
        }
        if self.paths {
            builder = builder.paths(self.rules.given_rules());
        } else if let Some(flag) = self.rules.first_given() {
            let what = format!("{flag} needs a list of paths");
            return Err(Error::usage(what).with_hint("give --paths if the list holds paths"));
        }
        if let Some(algorithm) = self.hash {
            builder = builder.algorithm(algorithm);
        }
        if let Some(key) = &self.key {
            builder = builder.key(key.clone());
        }
        for a in &self.attributes {
            builder = builder.attribute(a.name.clone(), a.value.clone());
        }
        if let Some(only) = self.only {
            builder = builder.only(match only {
                OnlyArg::Known => Status::Known,
                OnlyArg::Unknown => Status::Unknown,
            });
        }
        if let Some(path) = &self.output {
            let existing = match (self.resume, self.overwrite) {
                (true, _) => IfExists::Resume,
                (_, true) => IfExists::Overwrite,
                _ => IfExists::Fail,
            };
            builder = builder.output(path, existing);
        }
        Ok(builder)
    }
}

/// Reads a user's file of at most [`MAX_FILE_BYTES`] bytes.
fn read_small_file(path: &Path, what: &str) -> Result<String> {
    let cannot = || Error::usage(format!("cannot read {what} from {}", path.display()));
    let length = std::fs::metadata(path)
        .map_err(|e| cannot().with_source(e))?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(cannot().with_source("it is larger than 1 MiB"));
    }
    std::fs::read_to_string(path).map_err(|e| cannot().with_source(e))
}

/// Runs the command and returns its exit status.
pub(super) async fn run(context: &Context, args: LookupArgs) -> Result<u8> {
    let input = Path::new(args.file());
    let of_input = [
        ("--report", args.report.as_deref()),
        ("--output", args.output.as_deref()),
    ];
    for (flag, path) in of_input {
        if path.is_some_and(|path| is_same_file(path, input)) {
            let what = format!("{flag} names the list itself, which would be overwritten");
            return Err(Error::usage(what).with_hint("name another file"));
        }
    }
    if let (Some(report), Some(output)) = (&args.report, &args.output)
        && (report == output || is_same_file(report, output))
    {
        return Err(Error::usage("--report and --output name the same file"));
    }
    // An unwritable report must fail the run before the work.
    let mut report_file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let started = Timestamp::now();
    let (table, input) = (args.table.clone(), args.file().to_owned());
    let ended = lookup(context, args).await;
    let reported = match &mut report_file {
        Some(file) => {
            let report = match &ended {
                Ok(report) => report.clone(),
                Err(error) => {
                    let mut report = LookupReport::new(table.as_deref(), None, &input, started);
                    report.finish(Outcome::Failed, Some(error));
                    report
                }
            };
            file.write(&report.to_json(), &report.describe_counts())
        }
        None => Ok(()),
    };
    exit_status(context, ended.map(|report| report.exit), reported)
}

async fn lookup(context: &Context, args: LookupArgs) -> Result<LookupReport> {
    let builder = args.builder()?.stop(context.stop.clone());
    let connection = match args.table.is_some() || args.file().starts_with("s3://") {
        true => context.connect().await?,
        // No call to AWS follows.
        false => {
            context
                .connect_with_default_region(Some("us-east-1"))
                .await?
        }
    };
    let lookup = builder.aws(connection.aws.clone()).build().await?;
    let ended = run_with_progress(context, lookup).await;
    connection.close();
    let report = ended?;
    // The reader closed the pipe because it needs no more, as `head` does.
    if !context.common.quiet && !report.closed {
        context.print(report.summary().trim_end());
    }
    if let Some(failure) = &report.failure {
        let mut error = Error::new(ErrorKind::Read, failure.clone());
        if let Some(hint) = &report.hint {
            error = error.with_hint(hint.clone());
        }
        context.print_error(&error);
    }
    Ok(report)
}

/// Runs `lookup` and shows its progress. Answers go to standard output unless `lookup` has
/// an output file.
pub(super) async fn run_with_progress(context: &Context, lookup: Lookup) -> Result<LookupReport> {
    let watch = lookup.watch();
    tokio::select! {
        biased;
        ended = lookup.run_to(terminal::stdout(terminal::OutputFormat::Json)) => ended,
        never = progress::show(context, &watch) => match never {},
    }
}
