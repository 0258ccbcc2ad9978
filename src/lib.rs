//! hashferry streams lists of file hashes from S3 into DynamoDB at exactly the table's
//! write capacity, and proves at the end that every line is accounted for.
//!
//! This is the library behind the command of the same name. A program builds a run, runs
//! it, and reads its report:
//!
//! | to | begin with | result |
//! |---|---|---|
//! | write a list to a table | [`Ingest::builder`] | [`Report`] |
//! | write what a new list adds, delete what it lacks | [`Refresh::builder`] | [`Report`] |
//! | compare a table with a list | [`Verify::builder`] | [`VerifyReport`] |
//! | look up hashes in a table or an API | [`Lookup::builder`] | [`LookupReport`] |
//! | estimate time and cost | [`Plan`] | [`Forecast`] |
//! | normalise paths | [`matchmeta`] | a normalised path and its hash |
//!
//! # A program that ingests
//!
//! ```no_run
//! # async fn example() -> hashferry::Result<()> {
//! use hashferry::{Event, Ingest, Outcome, Value};
//!
//! let report = Ingest::builder()
//!     .source("s3://my-bucket/nsrl/sha256.txt")
//!     .table("sha256")
//!     .attribute("source", Value::S("NSRL".into()))
//!     .on_event(|event| {
//!         if let Event::Progress(now) = event {
//!             println!("{} lines written", now.counts.line_counts.written);
//!         }
//!     })
//!     .build()
//!     .await?
//!     .run()
//!     .await?;
//! assert_eq!(report.outcome, Outcome::Complete, "{:?}", report.error);
//! println!("{} of {} lines written", report.written, report.lines);
//! # Ok(())
//! # }
//! ```
//!
//! A program can also pass hashes directly: [`IngestBuilder::hashes`] takes an iterator,
//! [`IngestBuilder::hash_stream`] a stream.
//!
//! # A program that looks up
//!
//! ```no_run
//! # async fn example() -> hashferry::Result<()> {
//! use hashferry::Lookup;
//!
//! let mut answers = Vec::new();
//! let report = Lookup::builder()
//!     .input("evidence.txt")
//!     .table("sha256")
//!     .build()
//!     .await?
//!     .run_to(&mut answers)
//!     .await?;
//! println!("{} known, {} unknown", report.known, report.unknown);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Before the first write, `build` and `run` fail with an [`Error`]. After it, a failure is
//! in the report: [`Report::outcome`], [`Report::error`]. An error has a
//! [kind](ErrorKind), a message, a [hint](Error::hint) and a
//! [`source`](std::error::Error::source). `{}` shows the message, `{:#}` also its causes.
//!
//! # Cancellation
//!
//! A [`Stop`] ends a run gracefully: calls in flight finish, the checkpoint is saved, and
//! the report has [`Outcome::Interrupted`]. A later run with the same options resumes.
//! Dropping the future of a run ends it at once. The items of calls in flight may be
//! written or not; a later run writes them again.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `local` | yes | the embedded S3 and DynamoDB (`embedded`) |
//! | `rds` | yes | NSRL RDS v3 databases as lists |
//! | `serve` | yes | the look-up API over HTTP, for the binary |
//! | `sso` | yes | profiles that sign in by IAM Identity Center |
//! | `lambda` | no | the binaries for AWS Lambda |
//!
//! Contributors start with [`guide::chapters::architecture`].

pub(crate) mod aws;
pub(crate) mod base;
pub(crate) mod cli;
pub(crate) mod commands;
pub(crate) mod dynamodb;
pub(crate) mod flow;
pub mod guide;
pub(crate) mod list;
#[cfg(feature = "local")]
pub(crate) mod local;
pub(crate) mod pipeline;
pub(crate) mod source;

pub use crate::aws::config::{Aws, AwsOptions, LocalEndpoints};
pub use crate::base::error::{Cause, Error, ErrorKind, Result};
pub use crate::base::hash::{Algorithm, Case, Hash};
pub use crate::base::shutdown::Stop;
pub use crate::commands::ingest::options::{Ingest, IngestBuilder};
pub use crate::commands::ingest::settings::Refresh;
pub use crate::commands::ingest::watch::Watch;
pub use crate::commands::lookup::options::{Lookup, LookupBuilder};
pub use crate::commands::lookup::report::LookupReport;
pub use crate::commands::lookup::watch::LookupWatch;
pub use crate::commands::plan::forecast::Forecast;
pub use crate::commands::plan::options::PlanOptions as Plan;
pub use crate::commands::verify::options::{Verify, VerifyBuilder, VerifyWatch};
pub use crate::commands::verify::report::VerifyReport;
pub use crate::dynamodb::attribute::{Attribute, Value};
pub use crate::pipeline::progress::events::{Event, Progress};
pub use crate::pipeline::report::{Outcome, Report};

/// Types that setters of the builders take.
pub mod options {
    pub use crate::commands::ingest::options::MAX_BURST_SECONDS;
    pub use crate::commands::ingest::settings::{CheckpointMode, MAX_CHANGE_PERCENT};
    pub use crate::commands::lookup::answer_pattern::AnswerPattern;
    pub use crate::commands::lookup::api_options::{Api, ApiKey};
    pub use crate::commands::lookup::output::IfExists;
    pub use crate::commands::lookup::status::Status;
    pub use crate::dynamodb::attribute_from::{AttributeFrom, ColumnType};
    pub use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
    pub use crate::dynamodb::prices::Prices;
    pub use crate::flow::concurrency::Concurrency;
    pub use crate::flow::rate_setting::RateSetting;
    pub use crate::list::format::kind::{Encoding, Format, ListOptions, OtherAlgorithms};
    pub use crate::pipeline::dedup::Distinct;
    pub use crate::pipeline::progress::events::EVENT_INTERVAL;
    pub use crate::pipeline::rejects::MaxRejects;
    pub use crate::pipeline::sample::Sample;
    pub use crate::source::decompress::codec::{Codec, Compression, DecompressOptions};
    pub use crate::source::sources::Globs;
    pub use crate::source::work_dir::WorkDir;
}

/// Parts of reports and of events.
pub mod report {
    pub use crate::base::algorithm_counts::AlgorithmCounts;
    pub use crate::commands::lookup::counts::{LookupCounts, LookupLineCounts};
    pub use crate::commands::plan::estimate::{DecimalEstimate, Estimate};
    pub use crate::commands::plan::forecast::{ItemSize, Route, RouteKind};
    pub use crate::commands::plan::survey::{FurtherSurveyedSources, SurveyedSource};
    pub use crate::commands::plan::target::Copies;
    pub use crate::commands::verify::counts::{ReadCounts, VerifyCounts, VerifyLineCounts};
    pub use crate::commands::verify::finding::{Finding, FindingKind};
    pub use crate::commands::verify::report::FindingReport;
    pub use crate::pipeline::progress::counts::{LineCounts, RunCounters};
    pub use crate::pipeline::report::{
        FurtherSources, OutcomeCounts, RaisedReport, SourceReport, Verification,
    };
}

/// MatchMeta: normalisation of paths before they are hashed.
pub mod matchmeta {
    pub use crate::list::matchmeta::given::GivenRules;
    pub use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};
}

/// Embedded servers: an S3 and a DynamoDB on this machine, for tests and work without AWS.
#[cfg(feature = "local")]
pub mod embedded {
    pub use crate::local::access::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
    pub use crate::local::error::LocalError;
    pub use crate::local::servers::{LocalOptions, LocalServers};
}

/// Entry points of the binaries. Not part of the public interface.
#[doc(hidden)]
pub mod binaries {
    pub use crate::cli::command_line::main as hashferry;
    #[cfg(feature = "lambda")]
    pub use crate::commands::lambda::{keepalive, serve};
}

/// Pipeline stages for benches and tests. Not part of the public interface.
#[doc(hidden)]
pub mod bench {
    pub use crate::base::record::{Position, Record};
    pub use crate::dynamodb::batch_get::plain_json::ItemJsonTemplate;
    pub use crate::dynamodb::item::ItemTemplate;
    pub use crate::dynamodb::key_schema::KeySchema;
    pub use crate::flow::token_bucket::{SharedBucket, TokenBucket};
    pub use crate::list::format::layout::Layout;
    pub use crate::list::format::plain::{LineParser, Parsed};
    pub use crate::list::format::row_parser::RowParser;
    pub use crate::list::lines::{Framer, Line};
    pub use crate::list::objects::Objects;
    pub use crate::list::prefetch::Prefetch;
    pub use crate::pipeline::progress::checkpoint::Checkpoint;
    pub use crate::pipeline::window::Window;
    pub use crate::source::location::Location;
    pub use crate::source::open::OpenSource;
    pub use crate::source::read::STALL_TIMEOUT;
    pub use crate::source::sources::Sources;
}
