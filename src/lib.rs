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

pub use crate::base::error::{Error, Result};
pub use crate::base::shutdown::Stop;
pub use crate::commands::ingest::options::Ingest;
pub use crate::commands::lookup::report::LookupReport;
pub use crate::commands::verify::options::Verify;
pub use crate::commands::verify::options::VerifyBuilder;
pub use crate::commands::verify::report::VerifyReport;
pub use crate::pipeline::report::Report;

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
