//! Report of a verification: JSON for scripts, a summary for people.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::Error;
use crate::base::human::{ten_thousandths, tenths, thousandths, to_the_second};
use crate::commands::verify::counts::VerifyCounts;
use crate::commands::verify::finding::{Finding, FindingKind};
use crate::dynamodb::prices::USD_PER_MILLION_READ_UNITS;
use crate::pipeline::report::{
    FurtherSources, Outcome, SourceReport, Verification, describe_skipped, serialize_sample,
};
use crate::pipeline::sample::Sample;
use crate::pipeline::summary_lines::{
    Calls, count, write_calls, write_cost, write_count, write_rate,
};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Maximum number of findings in the report.
/// [`Verify::run_with`](crate::commands::verify::options::Verify::run_with) passes on all
/// of them, and the report counts all of them.
pub(crate) const MAX_REPORTED_FINDINGS: usize = 1000;

/// Report of a verification. Scripts rely on the names and meanings of the fields.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the command: `verify`.
    pub command: &'static str,
    /// Outcome of the run.
    pub outcome: Outcome,
    /// The exit status.
    pub exit: u8,
    /// The table's name.
    pub table: String,
    /// Name of the hash algorithm. `None` if the run ended before it was known.
    pub hash: Option<String>,
    /// The first 10,000 sources, in order.
    pub sources: Vec<SourceReport>,
    /// Sum of the sources after them. `None` if there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_sources: Option<FurtherSources>,
    /// Start of the run (UTC, RFC 3339).
    #[serde(serialize_with = "to_the_second")]
    pub started: Timestamp,
    /// Seconds from start to end.
    #[serde(serialize_with = "thousandths")]
    pub elapsed_s: f64,
    /// Requested size of the sample: a number, or `"all"`.
    #[serde(serialize_with = "serialize_sample")]
    pub sample: Sample,
    /// Seed of the sample. `None` if there is no sample.
    pub seed: Option<u64>,
    /// Lines read.
    pub lines: u64,
    /// Hashes in the table, with every compared attribute.
    pub found: u64,
    /// Hashes that are not in the table.
    pub missing: u64,
    /// Hashes in the table with another value of a compared attribute, or without it.
    pub different: u64,
    /// Hashes that are already among the recent hashes of this input.
    pub duplicates: u64,
    /// Lines that are not a hash of this algorithm.
    pub rejected: u64,
    /// Blank lines, comments, headers, and hashes of other algorithms.
    pub skipped: u64,
    /// Hashes of other algorithms, among the skipped lines: `{"md5": 20}`.
    #[serde(skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub other_algorithms: AlgorithmCounts,
    /// Hashes outside the sample, or not read when the run ended.
    pub unchecked: u64,
    /// Compressed bytes read from all sources.
    pub bytes_read: u64,
    /// BatchGetItem calls sent.
    pub requests: u64,
    /// Keys that DynamoDB returned as unprocessed.
    pub unprocessed: u64,
    /// Calls that DynamoDB throttled as a whole.
    pub throttled: u64,
    /// Retried calls, for any cause.
    pub retries: u64,
    /// Consumed read capacity in RCU.
    pub consumed_rcu: f64,
    /// Mean rate over the whole run in RCU/s.
    #[serde(serialize_with = "tenths")]
    pub mean_rcu_per_s: f64,
    /// Target rate at the end in RCU/s. `None` if there was no limit.
    pub target_rcu_per_s: Option<f64>,
    /// Cost of the consumed RCU at the on-demand price of us-east-1
    /// (`USD_PER_MILLION_READ_UNITS`), in USD. A provisioned table costs its hourly price
    /// instead, used or not.
    #[serde(serialize_with = "ten_thousandths")]
    pub estimated_cost_usd: f64,
    /// The first `MAX_REPORTED_FINDINGS` hashes that are missing or different, in the
    /// order of the list.
    pub problems: Vec<FindingReport>,
    /// The error that ended the run. `None` if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Advice on the error. `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A hash that is missing from the table, or different in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FindingReport {
    /// The hash as text, in the case of the list.
    pub hash: String,
    /// `missing` or `different`.
    #[serde(rename = "what")]
    pub kind: &'static str,
    /// Name of its source.
    pub source: String,
    /// Line number in the source, from 1.
    pub line: u64,
    /// Name of the attribute that is different. `None` if the hash is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<String>,
    /// Value of that attribute in the table. `None` if the item does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

impl FindingReport {
    pub(super) fn from_finding(finding: &Finding<'_>) -> Self {
        let (kind, attribute, found) = match finding.kind {
            FindingKind::Missing => ("missing", None, None),
            FindingKind::Different(d) => ("different", Some(d.attribute.clone()), d.found.clone()),
        };
        FindingReport {
            hash: finding.hash.to_owned(),
            kind,
            source: finding.source.to_owned(),
            line: finding.line,
            attribute,
            found,
        }
    }
}

impl VerifyReport {
    /// The report of a verification that has not read a line.
    pub fn new(table: &str, sample: Sample, started: Timestamp) -> Self {
        VerifyReport {
            version: 1,
            command: "verify",
            table: table.to_owned(),
            started,
            sample,
            ..VerifyReport::default()
        }
    }

    /// Sets the counts, and the rate over `elapsed`.
    pub fn set_counts(&mut self, counts: &VerifyCounts, elapsed: Duration) {
        let (line_counts, reads) = (counts.line_counts, counts.reads);
        self.elapsed_s = elapsed.as_secs_f64();
        self.lines = line_counts.lines;
        self.found = line_counts.found;
        self.missing = line_counts.missing;
        self.different = line_counts.different;
        self.duplicates = line_counts.duplicates;
        self.rejected = line_counts.rejected;
        self.skipped = line_counts.skipped;
        self.other_algorithms = counts.other_algorithms;
        self.unchecked = line_counts.unchecked;
        self.bytes_read = counts.bytes_read;
        self.requests = reads.requests;
        self.unprocessed = reads.unprocessed;
        self.throttled = reads.throttled;
        self.retries = reads.retries;
        self.consumed_rcu = reads.consumed_rcu;
        self.mean_rcu_per_s = reads.consumed_rcu / self.elapsed_s.max(0.001);
        self.estimated_cost_usd = reads.consumed_rcu * USD_PER_MILLION_READ_UNITS / 1e6;
    }

    /// Sets the outcome. A failure's exit status comes from `error`; the status of wrong
    /// usage is kept only if no call was sent.
    pub fn finish(&mut self, outcome: Outcome, error: Option<&Error>) {
        self.outcome = outcome;
        self.exit = outcome.exit_status(self.requests > 0, error);
        self.error = error.map(|e| format!("{e:#}"));
        self.hint = error.and_then(|e| e.hint()).map(str::to_owned);
    }

    /// Summary for the report of an ingest that was verified by this run.
    pub fn verification(&self) -> Verification {
        Verification {
            sample: self.sample,
            found: self.found,
            missing: self.missing,
            different: self.different,
            unchecked: self.unchecked,
        }
    }

    /// Describes the counts, for a run whose report cannot be written.
    pub(crate) fn describe_counts(&self) -> String {
        format!(
            "of {} lines {} were found, {} are missing, {} different",
            count(self.lines),
            count(self.found),
            count(self.missing),
            count(self.different)
        )
    }

    /// The report as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // Cannot fail: a struct of numbers, texts and lists always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The report as text for people.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}.", self.headline());
        let skipped = describe_skipped(&self.other_algorithms);
        let rows = [
            ("lines read", self.lines, ""),
            (
                "found",
                self.found,
                "in the table, with the expected attributes",
            ),
            ("missing", self.missing, "not in the table"),
            (
                "different",
                self.different,
                "in the table, with other attributes",
            ),
            (
                "duplicates",
                self.duplicates,
                "hash occurred earlier in this input",
            ),
            ("rejected", self.rejected, "not a hash of this algorithm"),
            ("skipped", self.skipped, &skipped),
            (
                "unchecked",
                self.unchecked,
                "not in the sample, or not read from the table",
            ),
        ];
        for (name, value, note) in rows {
            write_count(&mut out, name, value, note);
        }
        if let Some(one_in) = self.one_in() {
            let _ = writeln!(
                out,
                "  With 95 % certainty fewer than 1 in {} of the whole list is missing or different.",
                count(one_in)
            );
        }
        let rates = (self.mean_rcu_per_s, self.target_rcu_per_s);
        write_rate(&mut out, self.bytes_read, self.elapsed_s, rates, "RCU/s");
        let calls = Calls {
            requests: self.requests,
            retries: self.retries,
            unprocessed: self.unprocessed,
            throttled: self.throttled,
        };
        write_calls(&mut out, calls, "key");
        write_cost(&mut out, self.consumed_rcu, "RCU", self.estimated_cost_usd);
        out
    }

    /// The outcome, in a sentence.
    fn headline(&self) -> String {
        let scope = match self.sample {
            Sample::All => "every hash of the list",
            Sample::Some(_) => "every hash of the sample",
        };
        match self.outcome {
            Outcome::Complete => {
                format!("Verified: {scope} is in the table, with the expected attributes")
            }
            Outcome::Rejects => {
                format!(
                    "Verified: {scope} is in the table, with the expected attributes; some lines \
                     are not hashes"
                )
            }
            Outcome::Mismatch => {
                "Verified: some hashes are missing or different; to repair the table, ingest the \
                 hashes that hashferry verify prints"
                    .to_owned()
            }
            Outcome::Interrupted => {
                "Interrupted: the unchecked hashes were not compared".to_owned()
            }
            Outcome::Failed
                if self.unchecked == 0 && self.found + self.missing + self.different == 0 =>
            {
                "Failed: nothing was compared".to_owned()
            }
            Outcome::Failed => "Failed: the unchecked hashes were not compared".to_owned(),
        }
    }

    /// Upper limit of missing or different hashes in the whole list, as one in so many,
    /// with 95 % certainty. From `(1 - p)^n = 0.05`. `None` if the sample has findings, or
    /// if there is no sample.
    fn one_in(&self) -> Option<u64> {
        let is_clean = matches!(self.outcome, Outcome::Complete | Outcome::Rejects);
        if !is_clean || self.unchecked == 0 || self.found == 0 {
            return None;
        }
        let p = 1.0 - 0.05f64.powf(1.0 / self.found as f64);
        // The cast saturates.
        Some((1.0 / p) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::verify::counts::{ReadCounts, VerifyLineCounts};
    use crate::dynamodb::batch_get::expected::Mismatch;

    fn report(line_counts: VerifyLineCounts, sample: Sample, outcome: Outcome) -> VerifyReport {
        let mut report = VerifyReport::new("sha256", sample, Timestamp::UNIX_EPOCH);
        report.hash = Some("sha256".into());
        report.target_rcu_per_s = Some(1000.0);
        let reads = ReadCounts {
            requests: 101,
            consumed_rcu: 5003.0,
            ..ReadCounts::default()
        };
        let counts = VerifyCounts {
            line_counts,
            other_algorithms: AlgorithmCounts::default(),
            bytes_read: 650_000,
            reads,
        };
        report.set_counts(&counts, Duration::from_millis(5_010));
        report.finish(outcome, None);
        report
    }

    #[test]
    fn the_json_has_the_fields_that_scripts_rely_on() {
        let line_counts = VerifyLineCounts {
            lines: 10_000,
            found: 9_998,
            missing: 1,
            different: 1,
            ..VerifyLineCounts::default()
        };
        let mut report = report(line_counts, Sample::All, Outcome::Mismatch);
        let finding = |line, kind: &FindingKind| {
            FindingReport::from_finding(&Finding {
                hash: "AB",
                source: "s3://b/k",
                line,
                byte: 0,
                kind,
            })
        };
        let different = FindingKind::Different(Box::new(Mismatch {
            attribute: "source".into(),
            found: Some("S \"x\"".into()),
        }));
        report.problems = vec![finding(7, &FindingKind::Missing), finding(9, &different)];
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
    fn a_clean_sample_gives_an_upper_limit_of_errors() {
        let line_counts = VerifyLineCounts {
            lines: 1_000_000,
            found: 10_000,
            unchecked: 990_000,
            ..VerifyLineCounts::default()
        };
        let clean = report(line_counts, Sample::Some(10_000), Outcome::Complete);
        assert!(
            clean.summary().contains("fewer than 1 in 3,338"),
            "{}",
            clean.summary()
        );
        for outcome in [Outcome::Mismatch, Outcome::Interrupted, Outcome::Failed] {
            assert_eq!(
                report(line_counts, Sample::Some(10_000), outcome).one_in(),
                None
            );
        }
        let whole = VerifyLineCounts {
            lines: 10_000,
            found: 10_000,
            ..VerifyLineCounts::default()
        };
        assert_eq!(report(whole, Sample::All, Outcome::Complete).one_in(), None);
    }
}
