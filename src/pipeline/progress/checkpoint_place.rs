//! Where a checkpoint lies: a local file, or an object in S3.

use crate::base::error::{Error, Result};
use crate::base::state_file;
use crate::pipeline::progress::run::Run;
use crate::source::location::Location;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::PathBuf;

/// Where a checkpoint lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A local file.
    File(PathBuf),
    /// An object.
    S3 {
        /// Bucket name.
        bucket: String,
        /// Object key.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

impl Place {
    /// Where a person says: `s3://bucket/key` or a path.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when that is no place to write to.
    pub fn named(text: &str) -> Result<Place> {
        match text.parse::<Location>() {
            Ok(Location::File(path)) => Ok(Place::File(path)),
            Ok(Location::S3 { bucket, key }) => Ok(Place::S3 { bucket, key }),
            Ok(Location::Stdin | Location::Program(_)) => {
                Err(Error::usage("a checkpoint cannot be written to -")
                    .hint("give --checkpoint PATH, s3://bucket/key, or off"))
            }
            Err(e) => Err(Error::usage(format!("--checkpoint: {e}"))),
        }
    }

    /// Where it lies when nobody says: a file in the user's folder for state, whose
    /// name is of the sources and the table. Nothing when there is no such folder.
    pub fn usual(run: &Run) -> Option<Place> {
        let mut hash = Sha256::new();
        for text in run.sources.iter().chain([&run.table, &run.place]) {
            // With its length, so that two lists never read alike.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        let id = hex(&hash.finalize()[..8]);
        let name = format!("checkpoint-{}-{id}.json", state_file::name_part(&run.table));
        Some(Place::File(state_file::folder()?.join(name)))
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
    fn the_usual_place_is_one_for_each_run() {
        let usual = |run: Run| Place::usual(&run).map(|p| p.to_string());
        let first = usual(run());
        assert_eq!(
            usual(Run {
                item: String::new(),
                ..run()
            }),
            first,
            "refused there, not missed"
        );
        assert_ne!(
            usual(Run {
                sources: vec!["s3://b/1s3://b/2".into()],
                ..run()
            }),
            first
        );
        assert_ne!(
            usual(Run {
                place: "x".into(),
                ..run()
            }),
            first
        );
    }
}
