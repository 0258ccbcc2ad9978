//! Sources as named on the command line: lists, prefixes and manifests, filtered by
//! patterns.

use crate::base::error::{Error, Result};
use crate::source::location::Location;
use crate::source::program::ProgramHashes;
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::fmt;

/// A source as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// A single list.
    Single(Location),
    /// `s3://bucket/prefix/`: every object whose key begins with the prefix.
    Prefix {
        bucket: String,
        /// The prefix, which ends in `/`; empty for the whole bucket.
        prefix: String,
    },
    /// A manifest: a list of lists.
    Manifest(Location),
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceSpec::Single(location) => location.fmt(f),
            SourceSpec::Prefix { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            SourceSpec::Manifest(location) => write!(f, "the manifest {location}"),
        }
    }
}

impl SourceSpec {
    /// Parses one source.
    ///
    /// # Errors
    /// A message with the expected forms.
    pub fn parse(text: &str) -> Result<SourceSpec, String> {
        let prefix = text.strip_prefix("s3://").filter(|t| t.ends_with('/'));
        match prefix.and_then(|t| t.split_once('/')) {
            Some((bucket, prefix)) if !bucket.is_empty() => Ok(SourceSpec::Prefix {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            }),
            _ => text.parse().map(SourceSpec::Single),
        }
    }

    /// True if it can be read only once.
    fn is_read_once(&self) -> bool {
        matches!(self, SourceSpec::Single(location) | SourceSpec::Manifest(location) if location.is_read_once())
    }

    /// True if it is standard input.
    fn is_stdin(&self) -> bool {
        matches!(
            self,
            SourceSpec::Single(Location::Stdin) | SourceSpec::Manifest(Location::Stdin)
        )
    }
}

/// The sources of a run, as named on the command line.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The sources in order: lists and prefixes, then manifests.
    pub specs: Vec<SourceSpec>,
    /// Patterns that filter the objects of prefixes and manifests.
    pub globs: Globs,
}

impl Sources {
    /// Parses the sources.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if there is no
    /// source, if one is invalid, or if standard input is named twice.
    pub fn parse(names: &[String], manifests: &[String], globs: Globs) -> Result<Sources> {
        let sources = names.iter().map(|name| SourceSpec::parse(name));
        let manifests = manifests.iter().map(|name| match SourceSpec::parse(name)? {
            SourceSpec::Single(location) => Ok(SourceSpec::Manifest(location)),
            _ => Err(format!(
                "--manifest names one file or object, but {name:?} is a prefix"
            )),
        });
        let named = sources
            .chain(manifests)
            .map(|n| n.map_err(Error::usage))
            .collect::<Result<Vec<SourceSpec>>>()?;
        if named.is_empty() {
            return Err(Error::usage("no source is named").with_hint(
                "give s3://bucket/key, s3://bucket/prefix/, a path, or - for standard input",
            ));
        }
        if named.iter().filter(|n| n.is_stdin()).count() > 1 {
            return Err(Error::usage(
                "standard input (-) is named twice, but can be read only once",
            ));
        }
        let only_single = named.iter().all(|n| matches!(n, SourceSpec::Single(_)));
        if only_single && !globs.is_empty() {
            return Err(Error::usage(
                "--include and --exclude select objects of a prefix or a manifest, but there is none",
            )
            .with_hint("give a prefix, as in s3://bucket/prefix/"));
        }
        Ok(Sources {
            specs: named,
            globs,
        })
    }

    /// Adds the hashes of a program after the other sources.
    #[must_use]
    pub fn with_program(mut self, hashes: &[ProgramHashes]) -> Sources {
        let hashes = hashes.iter().cloned().map(Location::Program);
        self.specs.extend(hashes.map(SourceSpec::Single));
        self
    }

    /// True if a list or a manifest is standard input.
    pub fn has_stdin(&self) -> bool {
        self.specs.iter().any(SourceSpec::is_stdin)
    }

    /// True if one of them can be read only once, so that no run can resume.
    pub fn has_read_once(&self) -> bool {
        self.specs.iter().any(SourceSpec::is_read_once)
    }

    /// The location, if there is exactly one source and it is a list; else `None`.
    pub fn single(&self) -> Option<&Location> {
        match &self.specs[..] {
            [SourceSpec::Single(location)] => Some(location),
            _ => None,
        }
    }

    /// Names and patterns that identify these sources.
    pub fn names(&self) -> Vec<String> {
        let named = self.specs.iter().map(ToString::to_string);
        named.chain(self.globs.patterns.iter().cloned()).collect()
    }
}

/// `--include` and `--exclude`: patterns for keys. `*` matches any characters,
/// including `/`; `?` matches one; `[…]` one of a set; `{a,b}` either.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    patterns: Vec<String>,
}

impl Globs {
    /// Parses the patterns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a pattern is
    /// invalid.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Globs> {
        let set = |flag: &str, patterns: &[String]| {
            if patterns.is_empty() {
                return Ok(None);
            }
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                let glob = Glob::new(pattern).map_err(|e| {
                    Error::usage(format!("{flag} {pattern}: not a valid pattern")).with_source(e)
                })?;
                set.add(glob);
            }
            set.build()
                .map(Some)
                .map_err(|e| Error::usage(format!("{flag}: not valid patterns")).with_source(e))
        };
        let words = |flag: &str, patterns: &[String]| -> Vec<String> {
            patterns.iter().map(|p| format!("{flag} {p}")).collect()
        };
        Ok(Globs {
            include: set("--include", include)?,
            exclude: set("--exclude", exclude)?,
            patterns: [words("--include", include), words("--exclude", exclude)].concat(),
        })
    }

    /// True if there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// True if the patterns select `key`, the part after the prefix. It must match an
    /// include pattern, if there is one, and no exclude pattern.
    pub fn selects(&self, key: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(key))
            && !self.exclude.as_ref().is_some_and(|set| set.is_match(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    fn read(names: &[&str], manifests: &[&str]) -> Result<Sources> {
        Sources::parse(&strings(names), &strings(manifests), Globs::default())
    }

    #[test]
    fn a_prefix_ends_in_a_slash() {
        let sources = read(&["s3://b/p/q/", "s3://b/", "s3://b/k", "x/"], &["m"]).expect("named");
        let prefix = |prefix: &str| SourceSpec::Prefix {
            bucket: "b".into(),
            prefix: prefix.into(),
        };
        assert_eq!(sources.specs[..2], [prefix("p/q/"), prefix("")]);
        assert_eq!(
            sources.specs[3],
            SourceSpec::Single(Location::File("x/".into()))
        );
        assert_eq!(
            sources.specs[4],
            SourceSpec::Manifest(Location::File("m".into()))
        );
        assert_eq!(
            sources.names(),
            ["s3://b/p/q/", "s3://b/", "s3://b/k", "x/", "the manifest m"]
        );
        assert!(sources.single().is_none());
        for (names, manifests) in [
            (&[][..], &[][..]),
            (&["s3:///"], &[]),
            (&["s3://b"], &[]),
            (&["-", "-"], &[]),
            (&["-"], &["-"]),
            (&[], &["s3://b/p/"]),
        ] {
            let e = read(names, manifests).expect_err("invalid");
            assert_eq!(e.exit_status(), 2, "{names:?} {manifests:?}");
        }
    }

    #[test]
    fn patterns_match_the_key_after_the_prefix() {
        let globs = |include: &[&str], exclude: &[&str]| {
            Globs::new(&strings(include), &strings(exclude)).expect("patterns")
        };
        let g = globs(&["*.txt", "*.gz"], &["old/*"]);
        assert!(g.selects("a.txt") && g.selects("x/y.gz"));
        assert!(!g.selects("old/a.txt") && !g.selects("a.csv"));
        assert!(globs(&[], &["*.tmp"]).selects("anything"));
        assert!(Globs::default().selects("anything"));
        assert!(Globs::new(&strings(&["[a"]), &[]).is_err());
        let one = Sources::parse(&strings(&["x"]), &[], globs(&["*"], &[]));
        assert!(one.is_err(), "there is nothing to select from");
    }
}
