//! Outcome of a look-up: the failure, its hint, and the final state of the report.

use crate::base::error::{Error, ErrorKind};
use crate::base::hash::Algorithm;
use crate::base::human::format_number;
use crate::commands::lookup::counts::{LookupCounters, LookupCounts, LookupLineCounts};
use crate::commands::lookup::options::Lookup;
use crate::commands::lookup::report::LookupReport;
use crate::pipeline::list_check::ListTotals;
use crate::pipeline::report::Outcome;

/// Minimum number of unknown hashes, without a known one, for a warning.
const MIN_UNKNOWN_TO_WARN: u64 = 10;

/// Counts the lines without an answer.
pub(super) fn count_unanswered(meters: &LookupCounters) {
    // The remainder. The other counts are independent, so an error shows if their sum
    // exceeds the lines.
    meters.update(|c| {
        let b = &mut c.line_counts;
        let answered = b.known + b.unknown + b.invalid + b.error;
        b.unanswered = b.lines.saturating_sub(answered);
    });
}

/// Warns if many hashes are unknown and none is known.
pub(super) fn warn_if_none_known(line_counts: &LookupLineCounts, is_api: bool) {
    if line_counts.known == 0 && line_counts.unknown >= MIN_UNKNOWN_TO_WARN {
        let unknown = format_number(line_counts.unknown as f64);
        match is_api {
            true => tracing::warn!(
                "not one of {unknown} hashes is known: a server may respond like that to a wrong URL; to check, look \
                 up a hash that it must know"
            ),
            false => tracing::warn!(
                "not one of {unknown} hashes is known: check the table's name; look up a hash that it must know"
            ),
        }
    }
}

/// The error of a run whose line counts do not add up. `None` if they do.
pub(super) fn balance_error(line_counts: &LookupLineCounts, complete: bool) -> Option<Error> {
    let whole = line_counts.is_balanced() && (!complete || line_counts.unanswered == 0);
    (!whole).then(|| {
        Error::new(
            ErrorKind::Internal,
            format!(
                "the line counts do not balance: {line_counts:?}; this is a fault of hashferry"
            ),
        )
    })
}

/// Summary of the list, for the check that it has at least one hash.
pub(super) fn listed<'a>(
    lookup: &'a Lookup,
    algorithm: Option<Algorithm>,
    counts: &LookupCounts,
) -> ListTotals<'a> {
    let line_counts = counts.line_counts;
    ListTotals {
        keeps_rejects: false,
        sources: &lookup.sources,
        algorithm,
        lines: line_counts.lines,
        skipped: counts.blank,
        rejected: line_counts.invalid - counts.blank.min(line_counts.invalid),
    }
}

/// Sets the outcome and the error of `report`.
pub(super) fn finish_report(
    report: &mut LookupReport,
    counts: &LookupCounts,
    complete: bool,
    failure: Option<&Error>,
) {
    let line_counts = counts.line_counts;
    let outcome = match failure {
        Some(_) => Outcome::Failed,
        None if report.closed => Outcome::Complete,
        None if !complete => Outcome::Interrupted,
        None if line_counts.error > 0 => Outcome::Failed,
        None if line_counts.invalid > counts.blank => Outcome::Rejects,
        None => Outcome::Complete,
    };
    report.finish(outcome, failure);
    if outcome == Outcome::Failed && failure.is_none() {
        let s = if line_counts.error == 1 { "" } else { "s" };
        let (n, error) = (line_counts.error, "\"status\":\"error\"");
        report.failure = Some(format!(
            "{n} line{s} could not be looked up: their answers have {error} and the reason"
        ));
        report.hint = Some("look up those lines again".to_owned());
    }
}

impl Lookup {
    /// Adds to the hint of a failure how to resume, unless resuming cannot help.
    pub(super) fn with_resume_hint(&self, e: Error) -> Error {
        if e.exit_status() == 2 || e.kind() == ErrorKind::Internal {
            return e;
        }
        let resume = match (
            &self.options.output,
            self.options.unordered || self.options.only.is_some(),
        ) {
            (Some(path), false) => format!(
                "give --output {} --resume to resume after the last answer",
                path.display()
            ),
            _ => {
                "give --output FILE, and later --resume to resume after the last answer".to_owned()
            }
        };
        let hint = match e.hint() {
            Some(hint) => format!("{hint}; {resume}"),
            None => resume,
        };
        e.with_hint(hint)
    }
}
