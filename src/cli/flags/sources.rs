//! Arguments that name the lists to read, shared by every command that reads lists.

use crate::base::error::Result;
use crate::source::sources::Globs;
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// s3://bucket/key, s3://bucket/prefix/ (every object under it, in key order), a local path,
    /// or - for standard input
    #[arg(required_unless_present = "manifests", value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// Manifest of further sources, read after the named ones: a file or object with one
    /// s3://bucket/key or path a line, or the manifest.json of an S3 inventory (CSV)
    #[arg(long = "manifest", value_name = "FILE", help_heading = "Input")]
    pub(crate) manifests: Vec<String>,
    /// Read only matching objects of a prefix or manifest. GLOB is compared with the key after the
    /// prefix; * matches any characters
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    include: Vec<String>,
    /// Skip matching objects of a prefix or manifest
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    exclude: Vec<String>,
}

impl SourceArgs {
    /// Creates arguments with these sources and no manifests.
    pub(crate) fn without_manifests(
        sources: Vec<String>,
        include: Vec<String>,
        exclude: Vec<String>,
    ) -> Self {
        SourceArgs {
            sources,
            manifests: Vec::new(),
            include,
            exclude,
        }
    }

    /// The given flags as command-line arguments.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let flags = [
            ("--manifest", &self.manifests),
            ("--include", &self.include),
            ("--exclude", &self.exclude),
        ];
        let words = flags
            .iter()
            .flat_map(|(flag, values)| values.iter().map(move |v| [(*flag).to_owned(), v.clone()]));
        words.flatten().collect()
    }

    /// True if a source or manifest is standard input.
    pub(crate) fn has_stdin(&self) -> bool {
        self.sources.iter().chain(&self.manifests).any(|s| s == "-")
    }

    /// The patterns of `--include` and `--exclude`.
    ///
    /// # Errors
    /// A usage error if a pattern is invalid.
    pub(crate) fn globs(&self) -> Result<Globs> {
        Globs::new(&self.include, &self.exclude)
    }
}
