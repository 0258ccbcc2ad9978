//! Error for a list without a single hash of the run's algorithm.

use crate::base::error::{Error, ErrorKind};
use crate::base::hash::Algorithm;
use crate::base::human::format_number;
use crate::list::shape::Shapes;
use crate::source::location::Location;
use crate::source::sources::Sources;

/// Totals of a list that was read to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListTotals<'a> {
    /// Sources of the list.
    pub(crate) sources: &'a Sources,
    /// True if the command has `--rejects`, for the hint.
    pub(crate) keeps_rejects: bool,
    /// Expected algorithm of the hashes; `None` for paths.
    pub(crate) algorithm: Option<Algorithm>,
    /// Lines read, including those of earlier runs.
    pub(crate) lines: u64,
    /// Skipped lines: blank, comment, header, other algorithms.
    pub(crate) skipped: u64,
    /// Rejected lines.
    pub(crate) rejected: u64,
}

impl ListTotals<'_> {
    /// The error that the list has no hash; `None` if it has one, or if it is empty and
    /// came through a pipe.
    pub(crate) fn no_hash_error(&self, shapes: &Shapes) -> Option<Error> {
        if self.lines > self.skipped + self.rejected {
            return None;
        }
        if self.lines == 0 {
            return self.no_lines_error();
        }
        let n = |n: u64| format_number(n as f64);
        let kind = match self.algorithm {
            Some(algorithm) => algorithm.with_article(),
            None => "a path".to_owned(),
        };
        let keep = match self.keeps_rejects {
            true => "; --rejects PATH keeps every rejected line",
            false => "",
        };
        let check = format!("check the source, --hash and --format{keep}");
        if shapes.are_invalid_items() {
            let first = shapes.first().unwrap_or_default();
            let what = format!(
                "none of the {} lines yields an item (the first: {first})",
                n(self.lines)
            );
            return Some(Error::new(ErrorKind::Input, what).with_hint(check));
        }
        let skipped = match (self.skipped, self.rejected) {
            (_, 0) => ": all of them are skipped".to_owned(),
            (0, _) => String::new(),
            (skipped, _) => format!(", {} of them skipped", n(skipped)),
        };
        let what = format!("none of the {} lines is {kind}{skipped}", n(self.lines));
        let looks = shapes.describe();
        let looks = looks.filter(|(a, _)| Some(a.bytes()) != self.algorithm.map(Algorithm::bytes));
        Some(match (looks, shapes.first()) {
            (Some((algorithm, looks)), _) => Error::new(
                ErrorKind::Input,
                format!("{what}; {looks}"),
            )
            .with_hint(format!(
                "give a list of this kind, or --hash {algorithm} and a table of such hashes{keep}"
            )),
            (None, Some(first)) => {
                Error::new(ErrorKind::Input, format!("{what} (the first: {first})"))
                    .with_hint(check)
            }
            (None, None) => Error::new(ErrorKind::Input, what).with_hint(check),
        })
    }

    fn no_lines_error(&self) -> Option<Error> {
        match self.sources.single() {
            Some(Location::Stdin) => {
                tracing::info!("standard input has no lines: there is nothing to do");
                return None;
            }
            Some(Location::Program(_)) => return None,
            _ => {}
        }
        let names: Vec<String> = self.sources.specs.iter().map(|n| n.to_string()).collect();
        let have = if names.len() == 1 { "has" } else { "have" };
        let what = format!("{} {have} no lines", names.join(", "));
        Some(Error::new(ErrorKind::Input, what).with_hint("check the name of the list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::RejectReason;
    use crate::source::sources::Globs;

    fn sources(names: &[&str]) -> Sources {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        Sources::parse(&names, &[], Globs::default()).expect("sources")
    }

    fn message(names: &[&str], counts: [u64; 3], rejected: &[&str]) -> Option<String> {
        let mut shapes = Shapes::default();
        for line in rejected {
            shapes.add(line.as_bytes(), RejectReason::Length);
            shapes.set_first(|| format!("line 1: {line:?}"));
        }
        let [lines, skipped, rejected] = counts;
        let listed = ListTotals {
            sources: &sources(names),
            keeps_rejects: true,
            algorithm: Some(Algorithm::Sha256),
            lines,
            skipped,
            rejected,
        };
        let error = listed.no_hash_error(&shapes)?;
        assert_eq!(error.exit_status(), 1);
        Some(format!("{error:#}"))
    }

    #[test]
    fn a_list_without_a_hash_is_an_error_that_says_why() {
        let md5 = "92e792c43c35e96fed3f9566083326fc";
        for (counts, rejected, expected) in [
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
            assert_eq!(
                message(&["a.txt"], counts, rejected).as_deref(),
                Some(expected)
            );
        }
        assert_eq!(message(&["a.txt"], [188, 0, 187], &[md5]), None);
        let several = message(&["s3://b/p/", "-"], [0; 3], &[]);
        assert_eq!(several.as_deref(), Some("s3://b/p/, - have no lines"));
        assert_eq!(message(&["-"], [0; 3], &[]), None, "a pipe may be empty");
        assert!(message(&["-"], [1, 1, 0], &[]).is_some());
    }
}
