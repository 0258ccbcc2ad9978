//! `hashferry lookup`: whether each hash, or path, of a list is known.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::duration;
use crate::cli::context::Context;
use crate::cli::exit_status::exit_status;
use crate::cli::flags::compression::UnpackArgs;
use crate::cli::flags::item::CaseArg;
use crate::cli::flags::paths::RulesArgs;
use crate::cli::report_file::ReportFile;
use crate::cli::{progress, terminal};
use crate::commands::lookup::answer_pattern::AnswerPattern;
use crate::commands::lookup::api_options::{Api, ApiKey};
use crate::commands::lookup::options::{Lookup, LookupBuilder};
use crate::commands::lookup::output::{Existing, is_same_file};
use crate::commands::lookup::report::LookupReport;
use crate::commands::lookup::status::Status;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::concurrency::Concurrency;
use crate::flow::rate_setting::Rate;
use crate::pipeline::report::Outcome;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the key of an API is looked for, unless that is said.
const KEY_VARIABLE: &str = "HASHFERRY_API_KEY";

/// The longest file of a key or of certificates, in bytes.
const MOST_OF_FILE: u64 = 1 << 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Every line gets one answer, a line of JSON, in the order of the list:\n  \
    {\"input\":…,\"hash\":…,\"status\":\"known\", and the attributes of its item}\n  \
    {\"input\":…,\"hash\":…,\"status\":\"unknown\"}\n  \
    {\"input\":…,\"hash\":null,\"status\":\"invalid\",\"reason\":…}   no hash, or no path; blank lines too\n  \
    {\"input\":…,\"hash\":…,\"status\":\"error\",\"error\":…}         could not be found out\n\
    A line of sha256sum and its like is answered by its hash. With --paths an answer has normalized and rules,\n\
    too. An attribute that is named like one of these fields is item.NAME.\n\n\
    Exit status: 0 every line has its answer (unknown is one) · 1 failed, some answers are errors, or not one\n\
    line is a hash or path · 3 some lines are none · 2 and 4 as ever. What is answered stays: --output FILE --resume goes on after it.\n\
    Permissions: scripts/iam/lookup.json; none for an API\n\n\
    Examples:\n  \
    hashferry lookup hashes.txt --table sha256 > answers.jsonl\n  \
    find / -xdev -type f | hashferry lookup - --paths --table gold-paths --only unknown\n  \
    hashferry lookup s3://my-bucket/case-17.txt.gz --table sha256 --output answers.jsonl --resume\n  \
    HASHFERRY_API_KEY=… hashferry lookup hashes.txt --api https://hashes.example.org/v1/sha256\n  \
    hashferry lookup hashes.txt --api https://h.example.org/sha1 --api-known any --api-unknown 'no such hash'"
)]
pub(super) struct LookupArgs {
    /// The list: a file, s3://bucket/key, s3://bucket/prefix/, or - for standard input [default: -]
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// The table to ask
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "api",
        conflicts_with = "api"
    )]
    table: Option<String>,
    /// The API to ask: GET URL/HASH; 200 is known, 404 unknown, each with a JSON object that
    /// names the hash, as hashferry serve and CIRCL hashlookup answer. Before the list it is
    /// asked for a word and for a random hash, which it must not know
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Hash algorithm [default: by the name of the table's partition key or the end of the URL,
    /// else by the length of the table's keys, else by the first hash]
    #[arg(long, value_name = "NAME")]
    hash: Option<Algorithm>,
    /// The list is one of paths: each is normalised, and its SHA-256 looked up
    #[arg(long, help_heading = "Paths")]
    paths: bool,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    unpack: UnpackArgs,
    /// The table's partition key, where it may not be described (dynamodb:DescribeTable) or its
    /// name is not that of --hash [default: named as the hash, type S]
    #[arg(
        long,
        value_name = "NAME[:S|B]",
        conflicts_with = "api",
        help_heading = "Table"
    )]
    key: Option<KeyAttribute>,
    /// Case of the hash as text, in the table's key or the URL [default: as a look at the
    /// table's items shows, else upper]
    #[arg(long, value_enum, value_name = "CASE", help_heading = "Table")]
    case: Option<CaseArg>,
    /// The sort key of the items, where the table has one
    #[arg(
        long = "attr",
        value_name = "NAME=VALUE",
        conflicts_with = "api",
        help_heading = "Table"
    )]
    attributes: Vec<Attribute>,
    /// Read strongly consistently, for twice the units
    #[arg(long, conflicts_with = "api", help_heading = "Table")]
    consistent: bool,
    /// The environment variable that holds the API's key, sent as x-api-key
    /// [default: HASHFERRY_API_KEY, if it is set]
    #[arg(
        long,
        value_name = "NAME",
        requires = "api",
        conflicts_with = "api_key_file",
        help_heading = "API"
    )]
    api_key_env: Option<String>,
    /// The file that holds the API's key
    #[arg(long, value_name = "PATH", requires = "api", help_heading = "API")]
    api_key_file: Option<PathBuf>,
    /// What its answer to a known hash holds (status 200), where that does not name the hash: a
    /// text, a JSON field (.found=true, .data.source), or any (any text but an HTML page)
    #[arg(
        long,
        value_name = "TEXT|.FIELD[=VALUE]|any",
        requires = "api",
        help_heading = "API"
    )]
    api_known: Option<AnswerPattern>,
    /// What its answer to an unknown hash holds (status 404 or 200), where that does not name
    /// the hash: a text, or a JSON field (.found=false)
    #[arg(
        long,
        value_name = "TEXT|.FIELD[=VALUE]",
        requires = "api",
        help_heading = "API"
    )]
    api_unknown: Option<AnswerPattern>,
    /// A hash that the API must know: it is asked for first, and the look-up ends (exit 2) if
    /// it is not known
    #[arg(long, value_name = "HASH", requires = "api", help_heading = "API")]
    api_check: Option<String>,
    /// How long one call may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "API")]
    timeout: Duration,
    /// How often a hash is asked for, when there is no answer or a failure (5xx), before its
    /// answer is an error
    #[arg(long, value_name = "N", default_value_t = crate::commands::lookup::api_options::API_TRIES, value_parser = clap::value_parser!(u32).range(1..), help_heading = "API")]
    tries: u32,
    /// Trust the certificates in this file, instead of the system's
    #[arg(long, value_name = "PEM", requires = "api", help_heading = "API")]
    ca_cert: Option<PathBuf>,
    /// Trust any certificate: whoever is on the way can read the key and make up answers
    #[arg(long, requires = "api", help_heading = "API")]
    insecure: bool,
    /// A table: read capacity units a second: auto (its capacity), a number, a share of the
    /// table's (80%), or max. An API: calls a second [default: no limit]
    #[arg(
        long,
        value_name = "RATE",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    rate: Rate,
    /// Calls in flight at most: a number, or auto (of a table as the rate and the latency need, of an API 64)
    #[arg(
        long,
        value_name = "N",
        default_value = "auto",
        allow_hyphen_values = true,
        help_heading = "Speed"
    )]
    concurrency: Concurrency,
    /// Give up when not one hash was answered for this long
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration, help_heading = "Speed")]
    give_up_after: Duration,
    /// Write only these answers; the others are counted
    #[arg(long, value_enum, value_name = "STATUS", help_heading = "Output")]
    only: Option<OnlyArg>,
    /// Write answers as they come, not in the order of the list
    #[arg(long, help_heading = "Output")]
    unordered: bool,
    /// Write the answers here instead of to standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    output: Option<PathBuf>,
    /// Go on after the last answer in that file, of the same list; it may not be there yet
    #[arg(
        long,
        requires = "output",
        conflicts_with_all = ["only", "unordered", "overwrite"],
        help_heading = "Output"
    )]
    resume: bool,
    /// Write that file anew though it is there
    #[arg(long, requires = "output", help_heading = "Output")]
    overwrite: bool,
    /// Write the report here, as JSON
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
            let pem = small_file(path, "the certificates")?;
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

    /// The key, from where it is; never from the command line, which others can see.
    fn api_key(&self) -> Result<Option<ApiKey>> {
        if let Some(path) = &self.api_key_file {
            let text = small_file(path, "the key of the API")?;
            let key = ApiKey::new(&text).map_err(|e| e.of(&path.display().to_string()))?;
            return Ok(Some(key));
        }
        let name = self.api_key_env.as_deref().unwrap_or(KEY_VARIABLE);
        match std::env::var_os(name) {
            Some(value) => {
                let wrong = || Error::usage("the key of the API is not text").of(name);
                let text = value.to_str().ok_or_else(wrong)?;
                ApiKey::new(text).map_err(|e| e.of(name)).map(Some)
            }
            None if self.api_key_env.is_some() => {
                // Somebody may have given the key itself: it is not repeated.
                Err(
                    Error::usage("--api-key-env names a variable that is not set")
                        .hint("give the name of a variable, not the key itself"),
                )
            }
            None => Ok(None),
        }
    }

    fn builder(&self) -> Result<LookupBuilder> {
        let mut builder = Lookup::builder()
            .input(self.file())
            .unpack(self.unpack.unpack())
            .consistent(self.consistent)
            .rate(self.rate)
            .concurrency(self.concurrency)
            .give_up_after(self.give_up_after)
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
        } else if let Some(flag) = self.rules.given() {
            let what = format!("{flag} is about paths");
            return Err(Error::usage(what).hint("of a list of paths, give --paths"));
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
                (true, _) => Existing::Resume,
                (_, true) => Existing::Overwrite,
                _ => Existing::Refuse,
            };
            builder = builder.output(path, existing);
        }
        Ok(builder)
    }
}

/// Reads a file that is named by a person and must be small.
fn small_file(path: &Path, what: &str) -> Result<String> {
    let cannot = || Error::usage(format!("cannot read {what} from {}", path.display()));
    let length = std::fs::metadata(path)
        .map_err(|e| cannot().because(e))?
        .len();
    if length > MOST_OF_FILE {
        return Err(cannot().because("it has more than 1 MiB"));
    }
    std::fs::read_to_string(path).map_err(|e| cannot().because(e))
}

/// Runs the command; its exit status.
pub(super) async fn run(context: &Context, args: LookupArgs) -> Result<u8> {
    let input = Path::new(args.file());
    let of_input = [
        ("--report", args.report.as_deref()),
        ("--output", args.output.as_deref()),
    ];
    for (flag, path) in of_input {
        if path.is_some_and(|path| is_same_file(path, input)) {
            let what = format!("{flag} names the list itself, which would be written over");
            return Err(Error::usage(what).hint("name another file"));
        }
    }
    if let (Some(report), Some(output)) = (&args.report, &args.output)
        && (report == output || is_same_file(report, output))
    {
        return Err(Error::usage("--report and --output name the same file"));
    }
    // A report that cannot be written must be known before the work.
    let mut report_file = args.report.as_deref().map(ReportFile::create).transpose()?;
    let started = Timestamp::now();
    let (table, input) = (args.table.clone(), args.file().to_owned());
    let ended = lookup(context, args).await;
    let reported = match &mut report_file {
        Some(file) => {
            let report = match &ended {
                Ok(report) => report.clone(),
                Err(error) => {
                    let mut report = LookupReport::begun(table.as_deref(), None, &input, started);
                    report.end(Outcome::Failed, Some(error));
                    report
                }
            };
            file.write(&report.to_json(), &report.known())
        }
        None => Ok(()),
    };
    exit_status(context, ended.map(|report| report.exit), reported)
}

async fn lookup(context: &Context, args: LookupArgs) -> Result<LookupReport> {
    let builder = args.builder()?.stop(context.stop.clone());
    let connection = match args.table.is_some() || args.file().starts_with("s3://") {
        true => context.connect().await?,
        // AWS is not asked.
        false => context.connect_as(Some("us-east-1")).await?,
    };
    let lookup = builder.aws(connection.aws.clone()).build().await?;
    let ended = watched(context, lookup).await;
    connection.close();
    let report = ended?;
    // Whoever reads has all that was wanted, as `head` has.
    if !context.common.quiet && !report.closed {
        context.say(report.summary().trim_end());
    }
    if let Some(failure) = &report.failure {
        let mut error = Error::new(ErrorKind::Read, failure.clone());
        if let Some(hint) = &report.hint {
            error = error.hint(hint.clone());
        }
        context.complain(&error);
    }
    Ok(report)
}

/// Runs `lookup` with its progress on show; answers go to standard output unless it has
/// a file for them.
pub(super) async fn watched(context: &Context, lookup: Lookup) -> Result<LookupReport> {
    let watch = lookup.watch();
    tokio::select! {
        biased;
        ended = lookup.run_to(terminal::stdout(terminal::Form::Json)) => ended,
        never = progress::show(context, &watch) => match never {},
    }
}
