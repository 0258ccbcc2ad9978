//! Report of a run, as JSON for scripts and as a summary for people.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::human::{ten_thousandths, tenths, thousandths, to_the_second};
use crate::dynamodb::prices::USD_PER_MILLION_WRITE_UNITS;
use crate::pipeline::progress::counts::{LineCounts, RunCounters};
use crate::pipeline::progress::sources::FinishedSources;
use crate::pipeline::sample::Sample;
use crate::pipeline::summary_lines::count;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// Outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// Every line is accounted for, and none was rejected: exit status 0.
    #[default]
    Complete,
    /// Every line is accounted for, and some were rejected: exit status 3.
    Rejects,
    /// A verification found hashes missing or different: exit status 5.
    Mismatch,
    /// Stopped by a signal or by [`Stop`](crate::base::shutdown::Stop): exit status 4.
    Interrupted,
    /// An error ended the run: exit status 1, or 2 before the first call.
    Failed,
}

impl Outcome {
    /// Exit status of the outcome. A failure has that of its `error` if no call was
    /// `sent`, and 1 afterwards: status 2 (usage) promises that nothing was written.
    pub fn exit_status(self, sent: bool, error: Option<&crate::base::error::Error>) -> u8 {
        match self {
            Outcome::Complete => 0,
            Outcome::Rejects => 3,
            Outcome::Interrupted => 4,
            Outcome::Mismatch => 5,
            Outcome::Failed if sent => 1,
            Outcome::Failed => error.map_or(1, crate::base::error::Error::exit_status),
        }
    }
}

/// Report of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SourceReport {
    /// `s3://bucket/key`, a path, or `-`.
    pub uri: String,
    /// ETag of the object; `None` for a file or standard input.
    pub etag: Option<String>,
    /// Bytes read.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Line counts by outcome; `None` for a verification.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub line_counts: Option<OutcomeCounts>,
}

/// Line counts by outcome, as in [`LineCounts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs)] // documented in `LineCounts`
#[non_exhaustive]
pub struct OutcomeCounts {
    pub written: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub skipped: u64,
    pub failed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub deleted: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub unchanged: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub kept: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl From<LineCounts> for OutcomeCounts {
    fn from(line_counts: LineCounts) -> OutcomeCounts {
        OutcomeCounts {
            written: line_counts.written,
            duplicates: line_counts.duplicates,
            rejected: line_counts.rejected,
            skipped: line_counts.skipped,
            failed: line_counts.failed,
            deleted: line_counts.deleted,
            unchanged: line_counts.unchanged,
            kept: line_counts.kept,
        }
    }
}

/// Totals of the sources that are not listed one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FurtherSources {
    /// Number of these sources.
    pub count: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Line counts by outcome; `None` for a verification.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub line_counts: Option<OutcomeCounts>,
}

/// Converts sources to their reports: the first
/// [`MAX_LISTED`](crate::pipeline::progress::sources::MAX_LISTED) one by one, the others as
/// totals. `columns` adds the line counts by outcome.
pub(crate) fn source_reports(
    all: FinishedSources,
    columns: bool,
) -> (Vec<SourceReport>, Option<FurtherSources>) {
    let outcomes = |line_counts: LineCounts| columns.then(|| line_counts.into());
    let beyond = (all.overflow.count > 0).then(|| FurtherSources {
        count: all.overflow.count,
        bytes: all.overflow.bytes_read,
        lines: all.overflow.line_counts.lines,
        line_counts: outcomes(all.overflow.line_counts),
    });
    let each = all.listed.into_iter().map(|a| SourceReport {
        uri: a.source.object.uri,
        etag: a.source.object.etag.map(|e| e.trim_matches('"').to_owned()),
        bytes: a.bytes_read,
        lines: a.line_counts.lines,
        line_counts: outcomes(a.line_counts),
    });
    (each.collect(), beyond)
}

/// Part of the table whose capacity was raised for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RaisedReport {
    /// Name of the global secondary index; `None` for the table itself.
    pub index: Option<String>,
    /// Provisioned WCU/s before the run.
    pub from_wcu: u64,
    /// Provisioned WCU/s during the run.
    pub to_wcu: u64,
    /// True if the previous capacity was restored.
    pub restored: bool,
}

/// Result of a verification after a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Size of the sample: a number of hashes, or `"all"`.
    #[serde(serialize_with = "serialize_sample")]
    pub sample: Sample,
    /// Hashes in the table with the expected attributes.
    pub found: u64,
    /// Hashes that are not in the table.
    pub missing: u64,
    /// Hashes in the table with other attributes.
    pub different: u64,
    /// Hashes outside the sample, or without a response when the verification ended.
    pub unchecked: u64,
}

/// Report of a run. Names and meanings of its JSON fields are stable.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the command: `ingest` or `refresh`.
    pub command: &'static str,
    /// Outcome of the run.
    pub outcome: Outcome,
    /// Exit status of the command.
    pub exit: u8,
    /// Table name.
    pub table: String,
    /// Name of the hash algorithm; `None` if the run ended before it was known.
    pub hash: Option<String>,
    /// The first 10,000 sources, in order.
    pub sources: Vec<SourceReport>,
    /// Totals of the sources after them; `None` if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_sources: Option<FurtherSources>,
    /// Start time (UTC, RFC 3339).
    #[serde(serialize_with = "to_the_second")]
    pub started: Timestamp,
    /// Elapsed time, in seconds.
    #[serde(serialize_with = "thousandths")]
    pub elapsed_s: f64,
    /// Lines read.
    pub lines: u64,
    /// See [`LineCounts`].
    pub written: u64,
    /// See [`LineCounts`].
    pub duplicates: u64,
    /// See [`LineCounts`].
    pub rejected: u64,
    /// See [`LineCounts`].
    pub skipped: u64,
    /// Skipped hashes of other algorithms, part of `skipped`: `{"md5": 20}`.
    #[serde(skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub other_algorithms: AlgorithmCounts,
    /// See [`LineCounts`].
    pub failed: u64,
    /// See [`LineCounts`]; `None` except for a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// See [`LineCounts`]; `None` except for a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<u64>,
    /// See [`LineCounts`]; `None` except for a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Deletes that a refresh held back because its new list has rejected lines; part of
    /// `kept`. `None` except for a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletes_held_back: Option<u64>,
    /// Bytes read from all sources, before decompression.
    pub bytes_read: u64,
    /// BatchWriteItem and DeleteItem calls sent.
    pub requests: u64,
    /// Items that DynamoDB returned unprocessed.
    pub unprocessed: u64,
    /// Calls throttled as a whole.
    pub throttled: u64,
    /// Calls with at least one item that was sent before, for any reason.
    pub retries: u64,
    /// WCU consumed.
    pub consumed_wcu: f64,
    /// Mean rate over the whole run, in WCU/s.
    #[serde(serialize_with = "tenths")]
    pub mean_wcu_per_s: f64,
    /// Target rate, in WCU/s; `None` if there was no limit.
    pub target_wcu_per_s: Option<f64>,
    /// Lines that an earlier run accounted for before this one resumed it; `None` if this
    /// run did not resume. All other figures include both runs.
    pub resumed_from: Option<u64>,
    /// Cost of the consumed WCU in USD at the on-demand price of us-east-1
    /// (`USD_PER_MILLION_WRITE_UNITS`). A provisioned table is billed by the hour instead,
    /// used or not.
    #[serde(serialize_with = "ten_thousandths")]
    pub estimated_cost_usd: f64,
    /// Parts of the table whose capacity was raised for the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub raised: Vec<RaisedReport>,
    /// Location of the checkpoint from which a later run resumes; `None` if there is
    /// nothing to resume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Result of a verification after the run; `None` if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// True for a dry run: nothing was sent, and `written` counts what would be written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Error with its causes; `None` if the run did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Hint what to do about the error; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Report {
    /// An empty report of a run that started at `started`.
    pub fn new(command: &'static str, table: &str, started: Timestamp) -> Self {
        Report {
            version: 1,
            command,
            table: table.to_owned(),
            started,
            ..Report::default()
        }
    }

    /// Sets the counters and the elapsed time.
    pub fn set_counts(&mut self, counts: &RunCounters, elapsed: Duration) {
        let line_counts = counts.line_counts;
        self.elapsed_s = elapsed.as_secs_f64();
        self.lines = line_counts.lines;
        self.written = line_counts.written;
        self.duplicates = line_counts.duplicates;
        self.rejected = line_counts.rejected;
        self.skipped = line_counts.skipped;
        self.other_algorithms = line_counts.other_algorithms;
        self.failed = line_counts.failed;
        if self.command == "refresh" {
            self.deleted = Some(line_counts.deleted);
            self.unchanged = Some(line_counts.unchanged);
            self.kept = Some(line_counts.kept);
            self.deletes_held_back.get_or_insert(0);
        }
        self.bytes_read = counts.bytes_read;
        self.requests = counts.requests;
        self.unprocessed = counts.unprocessed;
        self.throttled = counts.throttled;
        self.retries = counts.retries;
        self.consumed_wcu = counts.consumed_wcu;
        self.mean_wcu_per_s = counts.consumed_wcu / self.elapsed_s.max(0.001);
        self.estimated_cost_usd = counts.consumed_wcu * USD_PER_MILLION_WRITE_UNITS / 1e6;
    }

    /// Sets outcome, exit status, error and hint: see [`Outcome::exit_status`].
    pub fn finish(&mut self, outcome: Outcome, error: Option<&crate::base::error::Error>) {
        self.outcome = outcome;
        self.exit = outcome.exit_status(self.requests > 0, error);
        self.error = error.map(|e| format!("{e:#}"));
        self.hint = error.and_then(|e| e.hint()).map(str::to_owned);
    }

    /// Formats the report as JSON, one field a line.
    pub fn to_json(&self) -> String {
        // A struct of numbers, texts and lists of them always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Describes the line counts in a sentence, for a run whose report cannot be written.
    pub(crate) fn describe_counts(&self) -> String {
        let (lines, table) = (count(self.lines), &self.table);
        match (self.dry_run, self.deleted) {
            (true, _) => format!("nothing was written to table {table}: it was a dry run"),
            (false, None) => format!(
                "of {lines} lines {} are written to table {table}",
                count(self.written)
            ),
            (false, Some(deleted)) => format!(
                "of {lines} lines {} are written to table {table}, and {} deleted there",
                count(self.written),
                count(deleted)
            ),
        }
    }
}

/// Describes the skipped lines, with the hashes of `other` algorithms.
pub(crate) fn describe_skipped(other: &AlgorithmCounts) -> String {
    match other.is_zero() {
        true => "blank, comment or header".to_owned(),
        false => format!("blank, comment, header, or of another algorithm: {other}"),
    }
}

/// Serialises a sample as a number or `"all"`.
pub(crate) fn serialize_sample<S: Serializer>(sample: &Sample, s: S) -> Result<S::Ok, S::Error> {
    match sample {
        Sample::All => s.serialize_str("all"),
        Sample::Some(n) => s.serialize_u64(*n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::human::{format_number, format_seconds};

    #[test]
    fn the_json_has_the_documented_fields() {
        let mut report = Report::new("ingest", "sha256", Timestamp::UNIX_EPOCH);
        report.hash = Some("sha256".into());
        report.sources.push(SourceReport {
            uri: "s3://b/k".into(),
            etag: Some("e".into()),
            bytes: 4_201_758,
            lines: 63_663,
            line_counts: None,
        });
        report.target_wcu_per_s = Some(1000.0);
        let line_counts = LineCounts {
            lines: 63_663,
            written: 63_663,
            ..LineCounts::default()
        };
        let counts = RunCounters {
            line_counts,
            bytes_read: 4_201_758,
            requests: 2547,
            consumed_wcu: 63_663.0,
            ..RunCounters::default()
        };
        report.set_counts(&counts, Duration::from_millis(63_900));
        report.finish(Outcome::Complete, None);
        let got: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(
            got,
            serde_json::json!({
                "version": 1, "command": "ingest", "outcome": "complete", "exit": 0,
                "table": "sha256", "hash": "sha256",
                "sources": [{"uri": "s3://b/k", "etag": "e", "bytes": 4_201_758, "lines": 63_663}],
                "started": "1970-01-01T00:00:00Z", "elapsed_s": 63.9,
                "lines": 63_663, "written": 63_663, "duplicates": 0, "rejected": 0, "skipped": 0, "failed": 0,
                "bytes_read": 4_201_758, "requests": 2547, "unprocessed": 0, "throttled": 0, "retries": 0,
                "consumed_wcu": 63_663.0, "mean_wcu_per_s": 996.3, "target_wcu_per_s": 1000.0,
                "resumed_from": null, "estimated_cost_usd": 0.0398
            })
        );
    }

    #[test]
    fn a_failure_sets_exit_status_error_and_hint() {
        let mut report = Report::new("ingest", "t", Timestamp::UNIX_EPOCH);
        report.finish(
            Outcome::Failed,
            Some(&crate::base::error::Error::usage("no such table").with_hint("make it")),
        );
        assert_eq!(report.exit, 2);
        let got: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(
            (&got["error"], &got["hint"]),
            (&"no such table".into(), &"make it".into())
        );
    }

    #[test]
    fn the_summary_fits_the_outcome_of_the_run() {
        let mut report = Report::new("refresh", "t", Timestamp::UNIX_EPOCH);
        let line_counts = LineCounts {
            lines: 1_060,
            written: 1_000,
            deleted: 10,
            kept: 30,
            failed: 20,
            ..LineCounts::default()
        };
        let counts = RunCounters {
            line_counts,
            consumed_wcu: 1_010.0,
            ..RunCounters::default()
        };
        report.set_counts(&counts, Duration::from_secs(1));
        let check = |report: &Report, words: &[&str]| {
            let summary = report.summary();
            for words in words {
                assert!(summary.contains(words), "expected {words:?} in:\n{summary}");
            }
        };
        check(
            &report,
            &[
                "Done: every line is accounted for.",
                "  written               1,000  acknowledged by DynamoDB\n",
                "  kept                     30  not in the new list, but of another source in the table\n",
                "  failed                   20  read, but not acknowledged\n",
                "  1,010 WCU: ",
            ],
        );
        let mut interrupted = report.clone();
        interrupted.finish(Outcome::Interrupted, None);
        check(
            &interrupted,
            &["  not written yet          20  read, but not acknowledged\n"],
        );
        let mut dry = report.clone();
        (dry.dry_run, dry.deletes_held_back) = (true, Some(30));
        check(
            &dry,
            &[
                "(dry run: nothing was sent)",
                "  would be written      1,000  nothing was sent\n",
                "  would be deleted         10  nothing was sent\n",
                "  kept                     30  not in the new list, deletes held back\n",
                "  a real run would consume 1,010 WCU: ",
            ],
        );
        assert!(
            !dry.summary().contains("acknowledged by"),
            "{}",
            dry.summary()
        );
        assert_eq!(
            report.describe_counts(),
            "of 1,060 lines 1,000 are written to table t, and 10 deleted there"
        );
        report.finish(Outcome::Failed, None);
        check(&report, &["Failed: acknowledged items are written."]);
        (report.written, report.deleted) = (0, None);
        check(&report, &["Failed: nothing was written."]);
    }

    #[test]
    fn durations_and_numbers_are_formatted_for_people() {
        assert_eq!(format_seconds(9.96), "10.0 s");
        assert_eq!(format_seconds(125.0), "2 min 05 s");
        assert_eq!(format_seconds(7300.0), "2 h 01 min");
        assert_eq!(format_number(996.3), "996");
        assert_eq!(format_number(40_000.0), "40,000");
        assert_eq!(format_number(0.5), "0.5");
    }
}
