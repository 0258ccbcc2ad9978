//! The account of a verification: what a script reads, and what a person reads.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::Error;
use crate::base::human::{seconds, ten_thousandths, tenths, thousands, thousandths, to_the_second};
use crate::commands::verify::counts::VerifyCounts;
use crate::commands::verify::finding::{Problem, What};
use crate::dynamodb::prices::USD_PER_MILLION_READ_UNITS;
use crate::pipeline::report::{
    FurtherSources, Outcome, SourceReport, Verification, sample, skipped_note,
};
use crate::pipeline::sample::Sample;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// How many problems are in the report; all of them are told on the way (see
/// [`Verify::run_with`](crate::commands::verify::options::Verify::run_with)), and counted.
pub(crate) const MAX_REPORTED: usize = 1000;

/// The account of a verification. Field names and meanings are a promise to
/// scripts.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Version of this format: 1.
    pub version: u32,
    /// Which command it was.
    pub command: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit status.
    pub exit: u8,
    /// The table's name.
    pub table: String,
    /// The hash algorithm's name, once it is known.
    pub hash: Option<String>,
    /// The sources, in order; the first 10,000 of them.
    pub sources: Vec<SourceReport>,
    /// Those after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_sources: Option<FurtherSources>,
    /// When it began (UTC, RFC 3339).
    #[serde(serialize_with = "to_the_second")]
    pub started: Timestamp,
    /// Seconds from the beginning to the end.
    #[serde(serialize_with = "thousandths")]
    pub elapsed_s: f64,
    /// How many records were to be drawn: a number, or `"all"`.
    #[serde(serialize_with = "sample")]
    pub sample: Sample,
    /// What the sample was drawn by; nothing when there was none.
    pub seed: Option<u64>,
    /// Lines read.
    pub lines: u64,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub found: u64,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub missing: u64,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub different: u64,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub duplicates: u64,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub rejected: u64,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub skipped: u64,
    /// Of those skipped, the hashes of other algorithms: `{"md5": 20}`.
    #[serde(skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub other_algorithms: AlgorithmCounts,
    /// See [`VerifyBooks`](crate::commands::verify::counts::VerifyBooks).
    pub unchecked: u64,
    /// Bytes read from all sources.
    pub bytes_read: u64,
    /// BatchGetItem calls sent.
    pub requests: u64,
    /// Keys that DynamoDB left unread.
    pub unprocessed: u64,
    /// Calls refused whole for want of capacity.
    pub throttled: u64,
    /// Calls sent again for any cause.
    pub retries: u64,
    /// Read capacity units consumed.
    pub consumed_rcu: f64,
    /// Read capacity units a second, over the whole run.
    #[serde(serialize_with = "tenths")]
    pub mean_rcu_per_s: f64,
    /// The rate aimed at; nothing when there was no limit.
    pub target_rcu_per_s: Option<f64>,
    /// What the consumed units cost at the on-demand price of us-east-1
    /// (`USD_PER_MILLION_READ_UNITS`), in USD. A provisioned table is paid by
    /// the hour instead, whether it is used or not.
    #[serde(serialize_with = "ten_thousandths")]
    pub estimated_cost_usd: f64,
    /// The first `MAX_REPORTED` hashes that are missing or different, in the
    /// order of the list.
    pub problems: Vec<ProblemReport>,
    /// What went wrong, when something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A hash that is not in the table as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProblemReport {
    /// The hash as text, in the case of the list.
    pub hash: String,
    /// `missing` or `different`.
    pub what: &'static str,
    /// The source it was read from.
    pub source: String,
    /// Its line there, from 1.
    pub line: u64,
    /// The attribute that is different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// What it is instead; nothing when the item has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl ProblemReport {
    pub(super) fn of(problem: &Problem<'_>) -> Self {
        let (what, attribute, found) = match problem.what {
            What::Missing => ("missing", None, None),
            What::Different(d) => ("different", Some(d.attribute.clone()), d.found.clone()),
        };
        ProblemReport {
            hash: problem.hash.to_owned(),
            what,
            source: problem.source.to_owned(),
            line: problem.line,
            attribute,
            found,
        }
    }
}

impl VerifyReport {
    /// The report of a verification that has not read anything.
    pub fn begun(table: &str, sample: Sample, started: Timestamp) -> Self {
        VerifyReport {
            version: 1,
            command: "verify",
            outcome: Outcome::Complete,
            exit: 0,
            table: table.to_owned(),
            hash: None,
            sources: Vec::new(),
            further_sources: None,
            started,
            elapsed_s: 0.0,
            sample,
            seed: None,
            lines: 0,
            found: 0,
            missing: 0,
            different: 0,
            duplicates: 0,
            rejected: 0,
            skipped: 0,
            other_algorithms: AlgorithmCounts::default(),
            unchecked: 0,
            bytes_read: 0,
            requests: 0,
            unprocessed: 0,
            throttled: 0,
            retries: 0,
            consumed_rcu: 0.0,
            mean_rcu_per_s: 0.0,
            target_rcu_per_s: None,
            estimated_cost_usd: 0.0,
            problems: Vec::new(),
            error: None,
            hint: None,
        }
    }

    /// Enters what was counted in `elapsed`.
    pub fn count(&mut self, counts: &VerifyCounts, elapsed: Duration) {
        let (books, asked) = (counts.books, counts.asked);
        self.elapsed_s = elapsed.as_secs_f64();
        self.lines = books.lines;
        self.found = books.found;
        self.missing = books.missing;
        self.different = books.different;
        self.duplicates = books.duplicates;
        self.rejected = books.rejected;
        self.skipped = books.skipped;
        self.other_algorithms = counts.others;
        self.unchecked = books.unchecked;
        self.bytes_read = counts.bytes_read;
        self.requests = asked.requests;
        self.unprocessed = asked.unprocessed;
        self.throttled = asked.throttled;
        self.retries = asked.retries;
        self.consumed_rcu = asked.consumed;
        self.mean_rcu_per_s = asked.consumed / self.elapsed_s.max(0.001);
        self.estimated_cost_usd = asked.consumed * USD_PER_MILLION_READ_UNITS / 1e6;
    }

    /// Enters how it ended; a failure's exit status is its own, but that of
    /// wrong usage means that nothing was asked.
    pub fn end(&mut self, outcome: Outcome, error: Option<&Error>) {
        self.outcome = outcome;
        self.exit = outcome.exit_status(self.requests > 0, error);
        self.error = error.map(|e| format!("{e:#}"));
        self.hint = error.and_then(|e| e.what_to_do()).map(str::to_owned);
    }

    /// What of it stands in the report of the run that it followed.
    pub fn verification(&self) -> Verification {
        Verification {
            sample: self.sample,
            found: self.found,
            missing: self.missing,
            different: self.different,
            unchecked: self.unchecked,
        }
    }

    /// What is known of a run whose report cannot be written.
    pub(crate) fn known(&self) -> String {
        let n = |n: u64| indicatif::HumanCount(n).to_string();
        format!(
            "of {} lines {} were found, {} are missing, {} different",
            n(self.lines),
            n(self.found),
            n(self.missing),
            n(self.different)
        )
    }

    /// The report as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // A struct of numbers, texts and lists of them always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The report for a person.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let n = |n: u64| indicatif::HumanCount(n).to_string();
        let _ = writeln!(out, "{}.", self.how());
        let skipped = skipped_note(&self.other_algorithms);
        let rows = [
            ("lines read", self.lines, ""),
            ("found", self.found, "in the table, as they should be"),
            ("missing", self.missing, "not in the table"),
            ("different", self.different, "there, with other attributes"),
            (
                "duplicates",
                self.duplicates,
                "taken from this input before",
            ),
            ("rejected", self.rejected, "not a hash of this kind"),
            ("skipped", self.skipped, &skipped),
            (
                "unchecked",
                self.unchecked,
                "not in the sample, or not answered for",
            ),
        ];
        for (name, value, note) in rows {
            let zero = value == 0 && !matches!(name, "lines read" | "found");
            let note = if zero || note.is_empty() {
                String::new()
            } else {
                format!("  {note}")
            };
            let _ = writeln!(out, "  {name:<12}{:>15}{note}", n(value));
        }
        if let Some(one_in) = self.one_in() {
            let _ = writeln!(
                out,
                "  With 95 % certainty fewer than 1 in {} of the whole list is missing or different.",
                n(one_in)
            );
        }
        let target = match self.target_rcu_per_s {
            Some(t) => format!("of {} aimed at", thousands(t)),
            None => "without a limit".to_owned(),
        };
        let _ = writeln!(
            out,
            "  {} in {}: {} read units/s {target}",
            indicatif::HumanBytes(self.bytes_read),
            seconds(self.elapsed_s),
            thousands(self.mean_rcu_per_s),
        );
        let _ = writeln!(
            out,
            "  {} calls, {} sent again; {} keys left unread, {} calls throttled",
            n(self.requests),
            n(self.retries),
            n(self.unprocessed),
            n(self.throttled),
        );
        let _ = writeln!(
            out,
            "  {} read units: {:.4} USD at the on-demand price of us-east-1",
            thousands(self.consumed_rcu),
            self.estimated_cost_usd
        );
        out
    }

    /// The outcome, in a sentence.
    fn how(&self) -> String {
        let what = match self.sample {
            Sample::All => "every hash of the list",
            Sample::Some(_) => "every hash of the sample",
        };
        match self.outcome {
            Outcome::Complete => format!("Verified: {what} is in the table as it should be"),
            Outcome::Rejects => {
                format!(
                    "Verified: {what} is in the table as it should be; some lines are no hashes"
                )
            }
            Outcome::Mismatch => {
                "Verified: not all is in the table as it should be; an ingest of the \
                 hashes that hashferry verify prints repairs it"
                    .to_owned()
            }
            Outcome::Interrupted => {
                "Interrupted: what is unchecked was not answered for".to_owned()
            }
            Outcome::Failed
                if self.unchecked == 0 && self.found + self.missing + self.different == 0 =>
            {
                "Failed: nothing was compared".to_owned()
            }
            Outcome::Failed => "Failed: what is unchecked was not answered for".to_owned(),
        }
    }

    /// What a sample of which all is in order says of the whole, with 95 %
    /// certainty: that fewer than one in so many is not. From `(1 - p)^n = 0.05`.
    fn one_in(&self) -> Option<u64> {
        let sound = matches!(self.outcome, Outcome::Complete | Outcome::Rejects);
        if !sound || self.unchecked == 0 || self.found == 0 {
            return None;
        }
        let p = 1.0 - 0.05f64.powf(1.0 / self.found as f64);
        // Saturates: a float of any size becomes a u64.
        Some((1.0 / p) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::verify::counts::{Asked, VerifyBooks};
    use crate::dynamodb::batch_get::expected::Difference;

    fn report(books: VerifyBooks, sample: Sample, outcome: Outcome) -> VerifyReport {
        let mut report = VerifyReport::begun("sha256", sample, Timestamp::UNIX_EPOCH);
        report.hash = Some("sha256".into());
        report.target_rcu_per_s = Some(1000.0);
        let asked = Asked {
            requests: 101,
            consumed: 5003.0,
            ..Asked::default()
        };
        let counts = VerifyCounts {
            books,
            others: AlgorithmCounts::default(),
            bytes_read: 650_000,
            asked,
        };
        report.count(&counts, Duration::from_millis(5_010));
        report.end(outcome, None);
        report
    }

    #[test]
    fn the_json_is_what_scripts_rely_on() {
        let books = VerifyBooks {
            lines: 10_000,
            found: 9_998,
            missing: 1,
            different: 1,
            ..VerifyBooks::default()
        };
        let mut report = report(books, Sample::All, Outcome::Mismatch);
        let problem = |line, what: &What| {
            ProblemReport::of(&Problem {
                hash: "AB",
                source: "s3://b/k",
                line,
                byte: 0,
                what,
            })
        };
        let different = What::Different(Box::new(Difference {
            attribute: "source".into(),
            found: Some("S \"x\"".into()),
        }));
        report.problems = vec![problem(7, &What::Missing), problem(9, &different)];
        let got: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(
            got,
            serde_json::json!({
                "version": 1, "command": "verify", "outcome": "mismatch", "exit": 5,
                "table": "sha256", "hash": "sha256", "sources": [],
                "started": "1970-01-01T00:00:00Z", "elapsed_s": 5.01, "sample": "all", "seed": null,
                "lines": 10_000, "found": 9_998, "missing": 1, "different": 1, "duplicates": 0,
                "rejected": 0, "skipped": 0, "unchecked": 0,
                "bytes_read": 650_000, "requests": 101, "unprocessed": 0, "throttled": 0, "retries": 0,
                "consumed_rcu": 5003.0, "mean_rcu_per_s": 998.6, "target_rcu_per_s": 1000.0,
                "estimated_cost_usd": 0.0006,
                "problems": [
                    {"hash": "AB", "what": "missing", "source": "s3://b/k", "line": 7},
                    {"hash": "AB", "what": "different", "source": "s3://b/k", "line": 9,
                     "attribute": "source", "found": "S \"x\""},
                ],
            })
        );
    }

    #[test]
    fn a_clean_sample_says_how_much_it_proves() {
        let books = VerifyBooks {
            lines: 1_000_000,
            found: 10_000,
            unchecked: 990_000,
            ..VerifyBooks::default()
        };
        let clean = report(books, Sample::Some(10_000), Outcome::Complete);
        assert!(
            clean.summary().contains("fewer than 1 in 3,338"),
            "{}",
            clean.summary()
        );
        for outcome in [Outcome::Mismatch, Outcome::Interrupted, Outcome::Failed] {
            assert_eq!(report(books, Sample::Some(10_000), outcome).one_in(), None);
        }
        let whole = VerifyBooks {
            lines: 10_000,
            found: 10_000,
            ..VerifyBooks::default()
        };
        assert_eq!(report(whole, Sample::All, Outcome::Complete).one_in(), None);
    }
}
