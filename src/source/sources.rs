//! What a person names as sources: single lists, prefixes, manifests, and which of
//! their objects.

use crate::base::error::{Error, Result};
use crate::source::location::Location;
use crate::source::program::ProgramHashes;
use globset::{Glob, GlobSet, GlobSetBuilder};
use std::fmt;

/// A source as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A single list.
    One(Location),
    /// `s3://bucket/prefix/`: every object whose key begins with the prefix.
    Prefix {
        /// Bucket name.
        bucket: String,
        /// The prefix, which ends in `/`; empty for the whole bucket.
        prefix: String,
    },
    /// A list of lists.
    Manifest(Location),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::One(location) => location.fmt(f),
            Named::Prefix { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Named::Manifest(location) => write!(f, "the manifest {location}"),
        }
    }
}

impl Named {
    /// Reads one source.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn read(text: &str) -> Result<Named, String> {
        let prefix = text.strip_prefix("s3://").filter(|t| t.ends_with('/'));
        match prefix.and_then(|t| t.split_once('/')) {
            Some((bucket, prefix)) if !bucket.is_empty() => Ok(Named::Prefix {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
            }),
            _ => text.parse().map(Named::One),
        }
    }

    /// Whether it can be read once only.
    fn is_read_once(&self) -> bool {
        matches!(self, Named::One(location) | Named::Manifest(location) if location.is_read_once())
    }

    /// Whether it is read from standard input.
    fn is_stdin(&self) -> bool {
        matches!(
            self,
            Named::One(Location::Stdin) | Named::Manifest(Location::Stdin)
        )
    }
}

/// Which sources a run reads, as they were named.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// In order: the sources, then the manifests.
    pub named: Vec<Named>,
    /// Which of the objects under a prefix or in a manifest.
    pub globs: Globs,
}

impl Sources {
    /// Reads what was named.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when nothing is named, when
    /// something is no name of a place, or when standard input is named twice.
    pub fn read(names: &[String], manifests: &[String], globs: Globs) -> Result<Sources> {
        let sources = names.iter().map(|name| Named::read(name));
        let manifests = manifests.iter().map(|name| match Named::read(name)? {
            Named::One(location) => Ok(Named::Manifest(location)),
            _ => Err(format!(
                "--manifest names one file or object, and {name:?} is a prefix"
            )),
        });
        let named = sources
            .chain(manifests)
            .map(|n| n.map_err(Error::usage))
            .collect::<Result<Vec<Named>>>()?;
        if named.is_empty() {
            return Err(Error::usage("no source is named").hint(
                "give s3://bucket/key, s3://bucket/prefix/, a path, or - for standard input",
            ));
        }
        if named.iter().filter(|n| n.is_stdin()).count() > 1 {
            return Err(Error::usage(
                "standard input (-) is named twice, and can be read once",
            ));
        }
        let only_single = named.iter().all(|n| matches!(n, Named::One(_)));
        if only_single && !globs.is_empty() {
            return Err(Error::usage(
                "--include and --exclude choose among the objects of a prefix or a manifest, and there is none",
            )
            .hint("name a prefix, as in s3://bucket/prefix/"));
        }
        Ok(Sources { named, globs })
    }

    /// These, and the hashes that a program hands over behind them.
    #[must_use]
    pub fn with_program(mut self, hashes: &[ProgramHashes]) -> Sources {
        let hashes = hashes.iter().cloned().map(Location::Program);
        self.named.extend(hashes.map(Named::One));
        self
    }

    /// Whether standard input is among them, as a list or as a manifest.
    pub fn has_stdin(&self) -> bool {
        self.named.iter().any(Named::is_stdin)
    }

    /// Whether one of them can be read once only, so that no run can resume.
    pub fn have_read_once(&self) -> bool {
        self.named.iter().any(Named::is_read_once)
    }

    /// The one list that they are, where they are no more.
    pub fn one(&self) -> Option<&Location> {
        match &self.named[..] {
            [Named::One(location)] => Some(location),
            _ => None,
        }
    }

    /// As they are told apart from others: names, and patterns.
    pub fn names(&self) -> Vec<String> {
        let named = self.named.iter().map(ToString::to_string);
        named.chain(self.globs.words.iter().cloned()).collect()
    }
}

/// `--include` and `--exclude`: patterns for keys. `*` stands for any characters, `/`
/// among them, `?` for one, `[…]` for one of these, `{a,b}` for either.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    words: Vec<String>,
}

impl Globs {
    /// Reads the patterns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when one is none.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Globs> {
        let set = |flag: &str, patterns: &[String]| {
            if patterns.is_empty() {
                return Ok(None);
            }
            let mut set = GlobSetBuilder::new();
            for pattern in patterns {
                let glob = Glob::new(pattern).map_err(|e| {
                    Error::usage(format!("{flag} {pattern}: that is no pattern")).because(e)
                })?;
                set.add(glob);
            }
            set.build()
                .map(Some)
                .map_err(|e| Error::usage(format!("{flag}: these are no patterns")).because(e))
        };
        let words = |flag: &str, patterns: &[String]| -> Vec<String> {
            patterns.iter().map(|p| format!("{flag} {p}")).collect()
        };
        Ok(Globs {
            include: set("--include", include)?,
            exclude: set("--exclude", exclude)?,
            words: [words("--include", include), words("--exclude", exclude)].concat(),
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether `key` (what of it follows the prefix) is to be read: it is included, if
    /// anything is, and not excluded.
    pub fn take(&self, key: &str) -> bool {
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
        Sources::read(&strings(names), &strings(manifests), Globs::default())
    }

    #[test]
    fn a_prefix_ends_in_a_slash() {
        let sources = read(&["s3://b/p/q/", "s3://b/", "s3://b/k", "x/"], &["m"]).expect("named");
        let prefix = |prefix: &str| Named::Prefix {
            bucket: "b".into(),
            prefix: prefix.into(),
        };
        assert_eq!(sources.named[..2], [prefix("p/q/"), prefix("")]);
        assert_eq!(sources.named[3], Named::One(Location::File("x/".into())));
        assert_eq!(
            sources.named[4],
            Named::Manifest(Location::File("m".into()))
        );
        assert_eq!(
            sources.names(),
            ["s3://b/p/q/", "s3://b/", "s3://b/k", "x/", "the manifest m"]
        );
        assert!(sources.one().is_none());
        for (names, manifests) in [
            (&[][..], &[][..]),
            (&["s3:///"], &[]),
            (&["s3://b"], &[]),
            (&["-", "-"], &[]),
            (&["-"], &["-"]),
            (&[], &["s3://b/p/"]),
        ] {
            let e = read(names, manifests).expect_err("refused");
            assert_eq!(e.exit_status(), 2, "{names:?} {manifests:?}");
        }
    }

    #[test]
    fn patterns_choose_by_what_follows_the_prefix() {
        let globs = |include: &[&str], exclude: &[&str]| {
            Globs::new(&strings(include), &strings(exclude)).expect("patterns")
        };
        let g = globs(&["*.txt", "*.gz"], &["old/*"]);
        assert!(g.take("a.txt") && g.take("x/y.gz"));
        assert!(!g.take("old/a.txt") && !g.take("a.csv"));
        assert!(globs(&[], &["*.tmp"]).take("anything"));
        assert!(Globs::default().take("anything"));
        assert!(Globs::new(&strings(&["[a"]), &[]).is_err());
        let one = Sources::read(&strings(&["x"]), &[], globs(&["*"], &[]));
        assert!(one.is_err(), "there is nothing to choose among");
    }
}
