//! Location of a checkpoint: a local file, or an object in S3.

use crate::base::error::{Error, Result};
use crate::base::state_file;
use crate::pipeline::progress::run::RunIdentity;
use crate::source::location::Location;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::PathBuf;

/// Location of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointLocation {
    /// A local file.
    File(PathBuf),
    /// An object.
    S3 {
        bucket: String,
        /// Object key.
        key: String,
    },
}

impl fmt::Display for CheckpointLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointLocation::File(path) => write!(f, "{}", path.display()),
            CheckpointLocation::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

impl CheckpointLocation {
    /// Parses the value of `--checkpoint`: `s3://bucket/key` or a path.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it is invalid or
    /// standard input.
    pub fn parse(text: &str) -> Result<CheckpointLocation> {
        match text.parse::<Location>() {
            Ok(Location::File(path)) => Ok(CheckpointLocation::File(path)),
            Ok(Location::S3 { bucket, key }) => Ok(CheckpointLocation::S3 { bucket, key }),
            Ok(Location::Stdin | Location::Program(_)) => {
                Err(Error::usage("a checkpoint cannot be written to -")
                    .with_hint("give --checkpoint PATH, s3://bucket/key, or off"))
            }
            Err(e) => Err(Error::usage(format!("--checkpoint: {e}"))),
        }
    }

    /// Default location: a file in the user's state folder, named by the sources and the
    /// table. `None` if there is no state folder.
    pub fn default_for(run: &RunIdentity) -> Option<CheckpointLocation> {
        let mut hash = Sha256::new();
        for text in run.sources.iter().chain([&run.table, &run.table_location]) {
            // The length prefix keeps two different lists from having the same input.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let id = hex(&hash.finalize()[..8]);
        let name = format!(
            "checkpoint-{}-{id}.json",
            state_file::file_name_part(&run.table)
        );
        Some(CheckpointLocation::File(
            state_file::state_folder()?.join(name),
        ))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::progress::checkpoint::tests::run;

    #[test]
    fn the_default_location_depends_on_sources_and_table() {
        let usual = |run: RunIdentity| CheckpointLocation::default_for(&run).map(|p| p.to_string());
        let first = usual(run());
        assert_eq!(
            usual(RunIdentity {
                item_template: String::new(),
                ..run()
            }),
            first,
            "other items have the same location, and are an error there"
        );
        assert_ne!(
            usual(RunIdentity {
                sources: vec!["s3://b/1s3://b/2".into()],
                ..run()
            }),
            first
        );
        assert_ne!(
            usual(RunIdentity {
                table_location: "x".into(),
                ..run()
            }),
            first
        );
    }
}
