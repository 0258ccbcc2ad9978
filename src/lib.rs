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
//! | ask a table or an API for hashes | [`Lookup::builder`] | [`LookupReport`] |
//! | know time and cost beforehand | [`Plan`] | [`Forecast`] |
//! | make paths comparable | [`matchmeta`] | a normalised path, and its hash |
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
//!             println!("{} lines written", now.counts.books.written);
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
//! A program that has the hashes itself hands them over:
//! [`IngestBuilder::hashes`] takes an iterator, [`IngestBuilder::hash_stream`] a stream.
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
//! `build` and `run` fail with an [`Error`] as long as nothing was written. From the first
//! write on, a failure is in the report: [`Report::outcome`], [`Report::error`]. An error
//! has a [kind](ErrorKind), a sentence, a [hint](Error::what_to_do) and, as its
//! [`source`](std::error::Error::source), its cause. `{}` shows the sentence, `{:#}` its
//! causes, too.
//!
//! # Cancellation
//!
//! A [`Stop`] ends a run in good order: calls in flight finish, the checkpoint is saved,
//! and the report says [`Outcome::Interrupted`]. A later run of the same builder resumes.
//! Dropping the future of a run ends it at once; what was sent may be written or not, and
//! a later run writes it again.
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `local` | yes | the embedded S3 and DynamoDB (`embedded`) |
//! | `rds` | yes | NSRL RDS v3 databases as lists |
//! | `serve` | yes | the look-up API over HTTP, for the binary |
//! | `sso` | yes | profiles that sign in by IAM Identity Center |
//! | `lambda` | no | the binaries for AWS Lambda |
//!
//! Who works on hashferry itself begins with [`guide::architecture`].

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
pub use crate::commands::plan::options::Planning as Plan;
pub use crate::commands::verify::options::{Verify, VerifyBuilder, VerifyWatch};
pub use crate::commands::verify::report::VerifyReport;
pub use crate::dynamodb::attribute::{Attribute, Value};
pub use crate::pipeline::progress::events::{Event, Progress};
pub use crate::pipeline::report::{Outcome, Report};

/// Types that setters of the builders take.
pub mod options {
    pub use crate::commands::ingest::options::MAX_BURST_SECONDS;
    pub use crate::commands::ingest::settings::{Keep, MAX_CHANGE_PERCENT};
    pub use crate::commands::lookup::answer_pattern::AnswerPattern;
    pub use crate::commands::lookup::api_options::{Api, ApiKey};
    pub use crate::commands::lookup::output::Existing;
    pub use crate::commands::lookup::status::Status;
    pub use crate::dynamodb::attribute_from::{AttributeFrom, ColumnType};
    pub use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
    pub use crate::dynamodb::prices::Prices;
    pub use crate::flow::concurrency::Concurrency;
    pub use crate::flow::rate_setting::Rate;
    pub use crate::list::format::kind::{Encoding, Form, Format, OtherAlgorithms};
    pub use crate::pipeline::dedup::Distinct;
    pub use crate::pipeline::progress::events::EVENT_INTERVAL;
    pub use crate::pipeline::rejects::MaxRejects;
    pub use crate::pipeline::sample::Sample;
    pub use crate::source::decompress::codec::{Codec, Compression, Unpack};
    pub use crate::source::sources::Globs;
    pub use crate::source::work_dir::WorkDir;
}

/// Parts of reports and of events.
pub mod report {
    pub use crate::base::algorithm_counts::AlgorithmCounts;
    pub use crate::commands::lookup::counts::{LookupBooks, LookupCounts};
    pub use crate::commands::plan::estimate::{Figure, Span};
    pub use crate::commands::plan::forecast::{ItemSize, Route, Way};
    pub use crate::commands::plan::survey::{FurtherSurveyed, Surveyed};
    pub use crate::commands::plan::target::Copies;
    pub use crate::commands::verify::counts::{Asked, VerifyBooks, VerifyCounts};
    pub use crate::commands::verify::finding::{Problem, What};
    pub use crate::commands::verify::report::ProblemReport;
    pub use crate::pipeline::progress::counts::{Books, Counts};
    pub use crate::pipeline::report::{
        Columns, FurtherSources, RaisedReport, SourceReport, Verification,
    };
}

/// MatchMeta: paths that are made comparable, whose hashes are a list like any other.
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

/// What the binaries run. No part of the interface.
#[doc(hidden)]
pub mod binaries {
    pub use crate::cli::command_line::main as hashferry;
    #[cfg(feature = "lambda")]
    pub use crate::commands::lambda::{keepalive, serve};
}

/// Stages that benches and tests drive one by one. No part of the interface.
#[doc(hidden)]
pub mod bench {
    pub use crate::base::record::{Place, Record};
    pub use crate::dynamodb::batch_get::plain_json::WholeTemplate;
    pub use crate::dynamodb::item::ItemTemplate;
    pub use crate::dynamodb::key_schema::KeySchema;
    pub use crate::flow::token_bucket::{Limiter, TokenBucket};
    pub use crate::list::format::layout::Layout;
    pub use crate::list::format::plain::{LineParser, Parsed};
    pub use crate::list::format::row_parser::RowParser;
    pub use crate::list::lines::{Framer, Line};
    pub use crate::list::objects::Objects;
    pub use crate::list::prefetch::Ahead;
    pub use crate::pipeline::progress::checkpoint::Checkpoint;
    pub use crate::pipeline::window::Window;
    pub use crate::source::location::Location;
    pub use crate::source::open::Source;
    pub use crate::source::read::STALLED;
    pub use crate::source::sources::Sources;
}

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
