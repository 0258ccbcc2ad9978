//! hashferry streams lists of file hashes from S3 into DynamoDB, as fast as the
//! table can take them and no faster, and proves at the end that every line is
//! accounted for.

pub mod aws;
pub mod base;
pub mod cli;
pub mod commands;
pub mod dynamodb;
pub mod flow;
pub mod list;
#[cfg(feature = "local")]
pub mod local;
pub mod pipeline;
pub mod source;

pub use base::error::{Error, Result};
pub use base::shutdown::Stop;
pub use commands::ingest::builder::IngestBuilder;
pub use commands::ingest::options::Ingest;
pub use commands::lookup::builder::LookupBuilder;
pub use commands::lookup::options::Lookup;
pub use commands::lookup::report::LookupReport;
pub use commands::verify::builder::VerifyBuilder;
pub use commands::verify::options::Verify;
pub use commands::verify::report::VerifyReport;
pub use pipeline::report::Report;

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
