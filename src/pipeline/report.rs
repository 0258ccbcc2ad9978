//! The account of a run: what a script reads, and what a person reads.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::human::{ten_thousandths, tenths, thousandths, to_the_second};
use crate::dynamodb::prices::USD_PER_MILLION_WRITE_UNITS;
use crate::pipeline::progress::counts::{Books, Counts};
use crate::pipeline::progress::sources::Behind;
use crate::pipeline::sample::Sample;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// Every line is accounted for, and none was rejected: exit status 0.
    Complete,
    /// Every line is accounted for, and some were rejected: exit status 3.
    Rejects,
    /// A verification found hashes missing or different: exit status 5.
    Mismatch,
    /// Stopped by a signal or by [`Stop`](crate::base::shutdown::Stop): exit status 4.
    Interrupted,
    /// It could not go on: exit status 1, or 2 when it could not begin.
    Failed,
}

impl Outcome {
    /// The exit status: that of a failure is its own as long as nothing was
    /// `sent`; afterwards it is 1, for wrong usage means that nothing was done.
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

/// What was read of one source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct SourceReport {
    /// `s3://bucket/key`, a path, or `-`.
    pub uri: String,
    /// The object's ETag; nothing for what has none.
    pub etag: Option<String>,
    /// Bytes read.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
    /// Where they went; nothing for a verification.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub books: Option<Columns>,
}

/// The columns of the [books](Books) besides the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[allow(missing_docs)] // as in the books
#[non_exhaustive]
pub struct Columns {
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

impl From<Books> for Columns {
    fn from(books: Books) -> Columns {
        Columns {
            written: books.written,
            duplicates: books.duplicates,
            rejected: books.rejected,
            skipped: books.skipped,
            failed: books.failed,
            deleted: books.deleted,
            unchanged: books.unchanged,
            kept: books.kept,
        }
    }
}

/// The sources of a run that are not listed one by one, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FurtherSources {
    /// How many they are.
    pub count: u64,
    /// Bytes read of them.
    pub bytes: u64,
    /// Lines read of them.
    pub lines: u64,
    /// Where they went; nothing for a verification.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub books: Option<Columns>,
}

/// What a report says of the sources: the first [`MOST_KEPT`](crate::pipeline::progress::sources::MOST_KEPT)
/// one by one. Of what they are written (`columns`) it says where their lines went.
pub(crate) fn sources(all: Behind, columns: bool) -> (Vec<SourceReport>, Option<FurtherSources>) {
    let books = |books: Books| columns.then(|| books.into());
    let beyond = (all.beyond.count > 0).then(|| FurtherSources {
        count: all.beyond.count,
        bytes: all.beyond.read,
        lines: all.beyond.books.lines,
        books: books(all.beyond.books),
    });
    let each = all.kept.into_iter().map(|a| SourceReport {
        uri: a.source.object.uri,
        etag: a.source.object.etag.map(|e| e.trim_matches('"').to_owned()),
        bytes: a.read,
        lines: a.books.lines,
        books: books(a.books),
    });
    (each.collect(), beyond)
}

/// A part of the table whose capacity was raised for the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RaisedReport {
    /// The global secondary index; nothing for the table itself.
    pub index: Option<String>,
    /// Write capacity units a second before.
    pub from_wcu: u64,
    /// What they were raised to.
    pub to_wcu: u64,
    /// Whether they were brought back.
    pub restored: bool,
}

/// What a verification after a run found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// How many of the list's hashes were to be checked: a number, or `"all"`.
    #[serde(serialize_with = "sample")]
    pub sample: Sample,
    /// In the table as they should be.
    pub found: u64,
    /// Not in the table.
    pub missing: u64,
    /// In the table with other attributes.
    pub different: u64,
    /// Not in the sample, or not answered for when it ended.
    pub unchecked: u64,
}

/// The account of a run. Field names and meanings are a promise to scripts.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
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
    /// Lines read.
    pub lines: u64,
    /// See [`Books`].
    pub written: u64,
    /// See [`Books`].
    pub duplicates: u64,
    /// See [`Books`].
    pub rejected: u64,
    /// See [`Books`].
    pub skipped: u64,
    /// Of those skipped, the hashes of other algorithms: `{"md5": 20}`.
    #[serde(skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub other_algorithms: AlgorithmCounts,
    /// See [`Books`].
    pub failed: u64,
    /// See [`Books`]; of a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// See [`Books`]; of a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<u64>,
    /// See [`Books`]; of a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Deletes that a refresh held back, because its new list has rejected lines. Their
    /// lines are in `kept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletes_held_back: Option<u64>,
    /// Bytes read from all sources.
    pub bytes_read: u64,
    /// BatchWriteItem and DeleteItem calls sent.
    pub requests: u64,
    /// Items that DynamoDB handed back.
    pub unprocessed: u64,
    /// Calls refused whole for want of capacity.
    pub throttled: u64,
    /// Calls sent again for any cause.
    pub retries: u64,
    /// Write capacity units consumed.
    pub consumed_wcu: f64,
    /// Write capacity units a second, over the whole run.
    #[serde(serialize_with = "tenths")]
    pub mean_wcu_per_s: f64,
    /// The rate aimed at; nothing when there was no limit.
    pub target_wcu_per_s: Option<f64>,
    /// The lines that were in the books of an earlier run, which this one has taken
    /// up; nothing when it has not. All other figures are those of both.
    pub resumed_from: Option<u64>,
    /// What the consumed units cost at the on-demand price of us-east-1
    /// (`USD_PER_MILLION_WRITE_UNITS`), in USD. A provisioned table is paid by
    /// the hour instead, whether it is used or not.
    #[serde(serialize_with = "ten_thousandths")]
    pub estimated_cost_usd: f64,
    /// What the table was raised to and brought back from, when it was raised.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub raised: Vec<RaisedReport>,
    /// The checkpoint by which this run can be taken up, when it did not come to its
    /// end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// What a verification after the run found; nothing when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Whether nothing was sent, and `written` is what would have been.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What went wrong, when something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Report {
    /// The report of a run that has not read anything.
    pub fn begun(command: &'static str, table: &str, started: Timestamp) -> Self {
        Report {
            version: 1,
            command,
            outcome: Outcome::Complete,
            exit: 0,
            table: table.to_owned(),
            hash: None,
            sources: Vec::new(),
            further_sources: None,
            started,
            elapsed_s: 0.0,
            lines: 0,
            written: 0,
            duplicates: 0,
            rejected: 0,
            skipped: 0,
            other_algorithms: AlgorithmCounts::default(),
            failed: 0,
            deleted: None,
            unchanged: None,
            kept: None,
            deletes_held_back: None,
            bytes_read: 0,
            requests: 0,
            unprocessed: 0,
            throttled: 0,
            retries: 0,
            consumed_wcu: 0.0,
            mean_wcu_per_s: 0.0,
            target_wcu_per_s: None,
            resumed_from: None,
            estimated_cost_usd: 0.0,
            raised: Vec::new(),
            checkpoint: None,
            verification: None,
            dry_run: false,
            error: None,
            hint: None,
        }
    }

    /// Enters what was counted in `elapsed`.
    pub fn count(&mut self, counts: &Counts, elapsed: Duration) {
        let books = counts.books;
        self.elapsed_s = elapsed.as_secs_f64();
        self.lines = books.lines;
        self.written = books.written;
        self.duplicates = books.duplicates;
        self.rejected = books.rejected;
        self.skipped = books.skipped;
        self.other_algorithms = books.others;
        self.failed = books.failed;
        if self.command == "refresh" {
            self.deleted = Some(books.deleted);
            self.unchanged = Some(books.unchanged);
            self.kept = Some(books.kept);
            self.deletes_held_back.get_or_insert(0);
        }
        self.bytes_read = counts.bytes_read;
        self.requests = counts.requests;
        self.unprocessed = counts.unprocessed;
        self.throttled = counts.throttled;
        self.retries = counts.retries;
        self.consumed_wcu = counts.consumed;
        self.mean_wcu_per_s = counts.consumed / self.elapsed_s.max(0.001);
        self.estimated_cost_usd = counts.consumed * USD_PER_MILLION_WRITE_UNITS / 1e6;
    }

    /// Enters how it ended; a failure's exit status is its own, but that of
    /// wrong usage means that nothing was written.
    pub fn end(&mut self, outcome: Outcome, error: Option<&crate::base::error::Error>) {
        self.outcome = outcome;
        self.exit = outcome.exit_status(self.requests > 0, error);
        self.error = error.map(|e| format!("{e:#}"));
        self.hint = error.and_then(|e| e.what_to_do()).map(str::to_owned);
    }

    /// The report as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // A struct of numbers, texts and lists of them always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// What is known of a run whose report cannot be written.
    pub(crate) fn known(&self) -> String {
        let n = |n: u64| indicatif::HumanCount(n).to_string();
        let (lines, table) = (n(self.lines), &self.table);
        match (self.dry_run, self.deleted) {
            (true, _) => format!("nothing was written to table {table}: it was a dry run"),
            (false, None) => format!(
                "of {lines} lines {} are written to table {table}",
                n(self.written)
            ),
            (false, Some(deleted)) => format!(
                "of {lines} lines {} are written to table {table}, and {} deleted there",
                n(self.written),
                n(deleted)
            ),
        }
    }
}

/// The note on lines skipped, hashes of `other` algorithms among them.
pub(crate) fn skipped_note(other: &AlgorithmCounts) -> String {
    match other.is_zero() {
        true => "blank, comment or header".to_owned(),
        false => format!("blank, comment, header, or of another algorithm: {other}"),
    }
}

pub(crate) fn sample<S: Serializer>(sample: &Sample, s: S) -> Result<S::Ok, S::Error> {
    match sample {
        Sample::All => s.serialize_str("all"),
        Sample::Some(n) => s.serialize_u64(*n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::human::{seconds, thousands};

    #[test]
    fn the_json_is_what_scripts_rely_on() {
        let mut report = Report::begun("ingest", "sha256", Timestamp::UNIX_EPOCH);
        report.hash = Some("sha256".into());
        report.sources.push(SourceReport {
            uri: "s3://b/k".into(),
            etag: Some("e".into()),
            bytes: 4_201_758,
            lines: 63_663,
            books: None,
        });
        report.target_wcu_per_s = Some(1000.0);
        let books = Books {
            lines: 63_663,
            written: 63_663,
            ..Books::default()
        };
        let counts = Counts {
            books,
            bytes_read: 4_201_758,
            requests: 2547,
            consumed: 63_663.0,
            ..Counts::default()
        };
        report.count(&counts, Duration::from_millis(63_900));
        report.end(Outcome::Complete, None);
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
    fn a_failure_carries_its_exit_status_and_words() {
        let mut report = Report::begun("ingest", "t", Timestamp::UNIX_EPOCH);
        report.end(
            Outcome::Failed,
            Some(&crate::base::error::Error::usage("no such table").hint("make it")),
        );
        assert_eq!(report.exit, 2);
        let got: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(
            (&got["error"], &got["hint"]),
            (&"no such table".into(), &"make it".into())
        );
    }

    #[test]
    fn the_summary_says_of_each_run_what_is_true_of_it() {
        let mut report = Report::begun("refresh", "t", Timestamp::UNIX_EPOCH);
        let books = Books {
            lines: 1_060,
            written: 1_000,
            deleted: 10,
            kept: 30,
            failed: 20,
            ..Books::default()
        };
        let counts = Counts {
            books,
            consumed: 1_010.0,
            ..Counts::default()
        };
        report.count(&counts, Duration::from_secs(1));
        let says = |report: &Report, words: &[&str]| {
            let summary = report.summary();
            for words in words {
                assert!(summary.contains(words), "expected {words:?} in:\n{summary}");
            }
        };
        says(
            &report,
            &[
                "Done: every line is accounted for.",
                "  written               1,000  acknowledged by DynamoDB\n",
                "  kept                     30  gone from the list, and of another source in the table\n",
                "  failed                   20  read, but not acknowledged\n",
                "  1,010 write units: ",
            ],
        );
        let mut interrupted = report.clone();
        interrupted.end(Outcome::Interrupted, None);
        says(
            &interrupted,
            &["  not written yet          20  read, and not acknowledged\n"],
        );
        let mut dry = report.clone();
        (dry.dry_run, dry.deletes_held_back) = (true, Some(30));
        says(
            &dry,
            &[
                "(dry run: nothing was sent)",
                "  would be written      1,000  nothing was sent\n",
                "  would be deleted         10  nothing was sent\n",
                "  kept                     30  gone from the list, and their deletes are held back\n",
                "  it would take 1,010 write units: ",
            ],
        );
        assert!(
            !dry.summary().contains("acknowledged by"),
            "{}",
            dry.summary()
        );
        assert_eq!(
            report.known(),
            "of 1,060 lines 1,000 are written to table t, and 10 deleted there"
        );
        report.end(Outcome::Failed, None);
        says(&report, &["Failed: what was acknowledged is written."]);
        (report.written, report.deleted) = (0, None);
        says(&report, &["Failed: nothing was written."]);
    }

    #[test]
    fn durations_and_numbers_read_well() {
        assert_eq!(seconds(9.96), "10.0 s");
        assert_eq!(seconds(125.0), "2 min 05 s");
        assert_eq!(seconds(7300.0), "2 h 01 min");
        assert_eq!(thousands(996.3), "996");
        assert_eq!(thousands(40_000.0), "40,000");
        assert_eq!(thousands(0.5), "0.5");
    }
}
