//! Outcome of a look-up: what failed, what to do next, and what the report says of it.

use crate::base::error::{Error, ErrorKind};
use crate::base::hash::Algorithm;
use crate::base::human::thousands;
use crate::commands::lookup::counts::{LookupBooks, LookupCounts, LookupMeters};
use crate::commands::lookup::options::Lookup;
use crate::commands::lookup::report::LookupReport;
use crate::pipeline::report::Outcome;
use crate::pipeline::useful::Listed;

/// Hashes that an API does not know, without one that it does, from which on a person
/// should know it.
const SUSPICIOUS: u64 = 10;

/// Counts the lines without an answer.
pub(super) fn count_unanswered(meters: &LookupMeters) {
    // What is not answered is what is left over; that the other columns are counted
    // on their own shows when they are more than the lines.
    meters.update(|c| {
        let b = &mut c.books;
        let answered = b.known + b.unknown + b.invalid + b.error;
        b.unanswered = b.lines.saturating_sub(answered);
    });
}

/// Warns where many hashes are unknown and none is known.
pub(super) fn warn_of_none_known(books: &LookupBooks, is_api: bool) {
    if books.known == 0 && books.unknown >= SUSPICIOUS {
        let unknown = thousands(books.unknown as f64);
        match is_api {
            true => tracing::warn!(
                "not one of {unknown} hashes is known: a server can answer like that for a wrong URL, too; look \
                 one up that it must know"
            ),
            false => tracing::warn!(
                "not one of {unknown} hashes is known: is it the right table? Look one up that it must know"
            ),
        }
    }
}

/// The failure of a run whose lines are not each in one column.
pub(super) fn unbalanced(books: &LookupBooks, complete: bool) -> Option<Error> {
    let whole = books.balanced() && (!complete || books.unanswered == 0);
    (!whole).then(|| {
        Error::new(
            ErrorKind::Internal,
            format!("the books do not balance: {books:?}; this is a fault of hashferry"),
        )
    })
}

/// What was read, as a judge of lists without a hash sees it.
pub(super) fn listed<'a>(
    lookup: &'a Lookup,
    algorithm: Option<Algorithm>,
    counts: &LookupCounts,
) -> Listed<'a> {
    let books = counts.books;
    Listed {
        keeps_rejects: false,
        sources: &lookup.sources,
        algorithm,
        lines: books.lines,
        skipped: counts.blank,
        rejected: books.invalid - counts.blank.min(books.invalid),
    }
}

/// Enters in `report` how the run ended.
pub(super) fn end(
    report: &mut LookupReport,
    counts: &LookupCounts,
    complete: bool,
    failure: Option<&Error>,
) {
    let books = counts.books;
    let outcome = match failure {
        Some(_) => Outcome::Failed,
        None if report.closed => Outcome::Complete,
        None if !complete => Outcome::Interrupted,
        None if books.error > 0 => Outcome::Failed,
        None if books.invalid > counts.blank => Outcome::Rejects,
        None => Outcome::Complete,
    };
    report.end(outcome, failure);
    if outcome == Outcome::Failed && failure.is_none() {
        let s = if books.error == 1 { "" } else { "s" };
        let (n, error) = (books.error, "\"status\":\"error\"");
        report.failure = Some(format!(
            "{n} line{s} could not be looked up: their answers have {error} and say why"
        ));
        report.hint = Some("look those lines up again".to_owned());
    }
}

impl Lookup {
    /// Says how to go on after a failure, where no more is to be said of it.
    pub(super) fn how_to_go_on(&self, e: Error) -> Error {
        if e.exit_status() == 2 || e.kind() == ErrorKind::Internal {
            return e;
        }
        let how = match (
            &self.with.output,
            self.with.unordered || self.with.only.is_some(),
        ) {
            (Some(path), false) => format!(
                "the same command with --output {} --resume goes on after the last answer",
                path.display()
            ),
            _ => "with --output FILE, --resume goes on after the last answer".to_owned(),
        };
        let hint = match e.what_to_do() {
            Some(hint) => format!("{hint}; {how}"),
            None => how,
        };
        e.hint(hint)
    }
}
