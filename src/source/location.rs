//! The location of a list, as named on the command line: an S3 object, a path, or `-`.

use crate::source::program::ProgramHashes;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Location of a list, as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `s3://bucket/key`
    S3 {
        /// Bucket name.
        bucket: String,
        /// Object key.
        key: String,
    },
    /// A local path.
    File(PathBuf),
    /// `-`
    Stdin,
    /// A stream of hashes from a program that uses this library.
    Program(ProgramHashes),
}

impl Location {
    /// True if it can be read only once, from start to end.
    pub fn is_read_once(&self) -> bool {
        matches!(self, Location::Stdin | Location::Program(_))
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-" {
            return Ok(Location::Stdin);
        }
        if text.is_empty() {
            return Err("expected s3://bucket/key, a path, or - for standard input".into());
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            if let Some((scheme, _)) = text.split_once("://") {
                return Err(format!(
                    "{scheme}:// is not supported: expected s3://bucket/key, a path, \
                     or - for standard input"
                ));
            }
            return Ok(Location::File(text.into()));
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || key.is_empty() {
            return Err(format!(
                "expected s3://bucket/key, but {text:?} names no object"
            ));
        }
        if key.ends_with('/') {
            return Err(format!(
                "{text:?} is a prefix, not an object: give one object, as in s3://bucket/key \
                 (aws s3 ls {text} lists them)"
            ));
        }
        Ok(Location::S3 {
            bucket: bucket.into(),
            key: key.into(),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Location::File(path) => write!(f, "{}", path.display()),
            Location::Stdin => f.write_str("-"),
            Location::Program(_) => f.write_str("the program's hashes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_parsed() {
        let ok = |s: &str| s.parse::<Location>().expect("a location");
        assert_eq!(ok("-"), Location::Stdin);
        assert_eq!(ok("a/b.txt"), Location::File("a/b.txt".into()));
        assert_eq!(
            ok("s3://b/a/k.txt"),
            Location::S3 {
                bucket: "b".into(),
                key: "a/k.txt".into()
            }
        );
        assert_eq!(ok("s3://b/a/k.txt").to_string(), "s3://b/a/k.txt");
        for bad in [
            "",
            "s3://",
            "s3://b",
            "s3://b/",
            "s3:///k",
            "s3://b/p/",
            "https://x/y",
        ] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
