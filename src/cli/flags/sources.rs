//! The arguments that say what is read, alike for every command that reads lists.

use crate::base::error::Result;
use crate::source::sources::Globs;
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// s3://bucket/key, s3://bucket/prefix/ (every object under it, in key order), a local path,
    /// or - for standard input
    #[arg(required_unless_present = "manifests", value_name = "SOURCE")]
    pub(crate) sources: Vec<String>,
    /// A list of sources, after those named: a file or object with one s3://bucket/key or path a
    /// line, or the manifest.json of an S3 inventory (CSV)
    #[arg(long = "manifest", value_name = "FILE", help_heading = "Input")]
    pub(crate) manifests: Vec<String>,
    /// Of a prefix or manifest, only objects that match: by what of their key follows the prefix;
    /// * stands for any characters
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    include: Vec<String>,
    /// Of a prefix or manifest, no objects that match
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    exclude: Vec<String>,
}

impl SourceArgs {
    /// These sources, without a manifest.
    pub(crate) fn of(sources: Vec<String>, include: Vec<String>, exclude: Vec<String>) -> Self {
        SourceArgs {
            sources,
            manifests: Vec::new(),
            include,
            exclude,
        }
    }

    /// The flags as they were given, to be given again.
    pub(crate) fn words(&self) -> Vec<String> {
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

    /// Whether one of them is standard input.
    pub(crate) fn has_stdin(&self) -> bool {
        self.sources.iter().chain(&self.manifests).any(|s| s == "-")
    }

    /// Which of the objects under a prefix or in a manifest.
    pub(crate) fn globs(&self) -> Result<Globs> {
        Globs::new(&self.include, &self.exclude)
    }
}
