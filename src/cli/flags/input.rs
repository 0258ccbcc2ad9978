//! Flags of the lists besides their sources: format, compression, rejected lines.

use crate::base::error::Result;
use crate::cli::flags::compression::DecompressArgs;
use crate::cli::flags::format::ListArgs;
use crate::cli::flags::sources::SourceArgs;
use crate::commands::run_options::ReadOptions;
use crate::pipeline::rejects::MaxRejects;
use clap::Args;
use std::path::PathBuf;

/// Flags of the lists.
#[derive(Debug, Clone, Args)]
pub(crate) struct InputArgs {
    #[command(flatten)]
    pub(crate) list: ListArgs,
    #[command(flatten)]
    pub(crate) decompress: DecompressArgs,
    /// File for rejected lines, as JSON lines [default: show the first ten]
    #[arg(long, value_name = "PATH", help_heading = "Input")]
    pub(crate) rejects: Option<PathBuf>,
    /// Stop if more lines than this are rejected: a number, or a percentage checked from line 1,000
    #[arg(
        long,
        value_name = "N|P%",
        default_value = "10%",
        help_heading = "Input"
    )]
    pub(crate) max_rejects: MaxRejects,
}

impl InputArgs {
    /// The options to read `sources`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a flag does not fit the
    /// others.
    pub(crate) fn read_options(&self, sources: &SourceArgs) -> Result<ReadOptions> {
        Ok(ReadOptions {
            sources: sources.sources.clone(),
            manifests: sources.manifests.clone(),
            globs: sources.globs()?,
            unpack: self.decompress.decompress_options(),
            form: self.list.list_options()?,
            rules: Some(self.list.given_rules()),
            rejects: self.rejects.clone(),
            max_rejects: self.max_rejects,
        })
    }
}
