//! The use of a run: a list without one hash of the kind is a failure.

use crate::base::error::{Error, ErrorKind};
use crate::base::hash::Algorithm;
use crate::base::human::thousands;
use crate::list::shape::Shapes;
use crate::source::location::Location;
use crate::source::sources::Sources;

/// What was read of a list, from its first line to its last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    /// Where it came from.
    pub(crate) sources: &'a Sources,
    /// Whether `--rejects` can keep its rejected lines.
    pub(crate) keeps_rejects: bool,
    /// What its lines had to be; `None` for paths.
    pub(crate) algorithm: Option<Algorithm>,
    /// Lines read, those of earlier runs included.
    pub(crate) lines: u64,
    /// Blank lines, comments, headers and the like.
    pub(crate) skipped: u64,
    /// Lines that are no hash of the kind.
    pub(crate) rejected: u64,
}

impl Listed<'_> {
    /// Why it is of no use; `None` if it holds a hash, or if it came through a pipe that
    /// brought nothing.
    pub(crate) fn useless(&self, shapes: &Shapes) -> Option<Error> {
        if self.lines > self.skipped + self.rejected {
            return None;
        }
        if self.lines == 0 {
            return self.without_lines();
        }
        let n = |n: u64| thousands(n as f64);
        let kind = match self.algorithm {
            Some(algorithm) => algorithm.with_article(),
            None => "a path".to_owned(),
        };
        let keep = match self.keeps_rejects {
            true => "; --rejects PATH keeps every rejected line",
            false => "",
        };
        let check = format!("check the source, --hash and --format{keep}");
        if shapes.are_unfit_items() {
            let first = shapes.first().unwrap_or_default();
            let what = format!(
                "none of the {} lines gives an item (the first: {first})",
                n(self.lines)
            );
            return Some(Error::new(ErrorKind::Input, what).hint(check));
        }
        let skipped = match (self.skipped, self.rejected) {
            (_, 0) => ": all of them are skipped".to_owned(),
            (0, _) => String::new(),
            (skipped, _) => format!(", {} of them skipped", n(skipped)),
        };
        let what = format!("none of the {} lines is {kind}{skipped}", n(self.lines));
        let looks = shapes.looks();
        let looks = looks.filter(|(a, _)| Some(a.bytes()) != self.algorithm.map(Algorithm::bytes));
        Some(match (looks, shapes.first()) {
            (Some((algorithm, looks)), _) => Error::new(
                ErrorKind::Input,
                format!("{what}; {looks}"),
            )
            .hint(format!(
                "name a list of the kind, or give --hash {algorithm} and a table of such hashes{keep}"
            )),
            (None, Some(first)) => {
                Error::new(ErrorKind::Input, format!("{what} (the first: {first})")).hint(check)
            }
            (None, None) => Error::new(ErrorKind::Input, what).hint(check),
        })
    }

    fn without_lines(&self) -> Option<Error> {
        match self.sources.one() {
            Some(Location::Stdin) => {
                tracing::info!("standard input has no lines: there is nothing to do");
                return None;
            }
            Some(Location::Program(_)) => return None,
            _ => {}
        }
        let names: Vec<String> = self.sources.named.iter().map(|n| n.to_string()).collect();
        let have = if names.len() == 1 { "has" } else { "have" };
        let what = format!("{} {have} no lines", names.join(", "));
        Some(Error::new(ErrorKind::Input, what).hint("name the list that you mean"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::Reason;
    use crate::source::sources::Globs;

    fn sources(names: &[&str]) -> Sources {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        Sources::read(&names, &[], Globs::default()).expect("sources")
    }

    fn said(names: &[&str], counts: [u64; 3], rejected: &[&str]) -> Option<String> {
        let mut shapes = Shapes::default();
        for line in rejected {
            shapes.add(line.as_bytes(), Reason::Length);
            shapes.begin_with(|| format!("line 1: {line:?}"));
        }
        let [lines, skipped, rejected] = counts;
        let listed = Listed {
            sources: &sources(names),
            keeps_rejects: true,
            algorithm: Some(Algorithm::Sha256),
            lines,
            skipped,
            rejected,
        };
        let error = listed.useless(&shapes)?;
        assert_eq!(error.exit_status(), 1);
        Some(format!("{error:#}"))
    }

    #[test]
    fn a_list_without_one_hash_is_of_no_use_and_the_message_says_why() {
        let md5 = "92e792c43c35e96fed3f9566083326fc";
        for (counts, rejected, says) in [
            (
                [188, 0, 188],
                &[md5][..],
                "none of the 188 lines is a SHA-256; they look like MD5 (32 hexadecimal digits)",
            ),
            (
                [2, 1, 1],
                &["hello"],
                "none of the 2 lines is a SHA-256, 1 of them skipped (the first: line 1: \"hello\")",
            ),
            (
                [65, 65, 0],
                &[],
                "none of the 65 lines is a SHA-256: all of them are skipped",
            ),
            ([0, 0, 0], &[], "a.txt has no lines"),
        ] {
            assert_eq!(said(&["a.txt"], counts, rejected).as_deref(), Some(says));
        }
        assert_eq!(said(&["a.txt"], [188, 0, 187], &[md5]), None);
        let several = said(&["s3://b/p/", "-"], [0; 3], &[]);
        assert_eq!(several.as_deref(), Some("s3://b/p/, - have no lines"));
        assert_eq!(said(&["-"], [0; 3], &[]), None, "a pipe may bring nothing");
        assert!(said(&["-"], [1, 1, 0], &[]).is_some());
    }
}
