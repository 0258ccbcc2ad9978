//! Report of a look-up: JSON for scripts, a summary for people.

use crate::base::error::{Error, ErrorKind};
use crate::base::human::{
    format_number, format_seconds, ten_thousandths, tenths, thousandths, to_the_second,
};
use crate::commands::lookup::counts::LookupCounts;
use crate::dynamodb::prices::USD_PER_MILLION_READ_UNITS;
use crate::pipeline::report::Outcome;
use crate::pipeline::summary_lines::{count, counted, describe_target, write_count};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Report of a look-up. Scripts rely on the names and meanings of the fields.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct LookupReport {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the command: `lookup`.
    pub command: &'static str,
    /// Outcome of the run.
    pub outcome: Outcome,
    /// The exit status.
    pub exit: u8,
    /// Name of the table. `None` if the backend is an API.
    pub table: Option<String>,
    /// URL of the API. `None` if the backend is a table.
    pub api: Option<String>,
    /// Name of the hash algorithm. `None` if the run ended before it was known.
    pub hash: Option<String>,
    /// Name of the path rules. `None` if the list is a list of hashes.
    pub rules: Option<&'static str>,
    /// The list, as named by the caller.
    pub input: String,
    /// File with the answers. `None` if they go to a writer.
    pub output: Option<String>,
    /// Start of the run (UTC, RFC 3339).
    #[serde(serialize_with = "to_the_second")]
    pub started: Timestamp,
    /// Seconds from start to end.
    #[serde(serialize_with = "thousandths")]
    pub elapsed_s: f64,
    /// Lines read.
    pub lines: u64,
    /// Hashes that the backend has.
    pub known: u64,
    /// Hashes that the backend does not have.
    pub unknown: u64,
    /// Lines that are not a hash of this algorithm, or not a path.
    pub invalid: u64,
    /// Hashes whose look-up failed.
    pub error: u64,
    /// Lines without an answer when the run ended.
    pub unanswered: u64,
    /// Blank lines, comments and headers, among the invalid lines.
    pub blank: u64,
    /// Paths whose item has other path rules, among the known paths. If there are any,
    /// unknown answers mean nothing.
    pub other_rules: u64,
    /// Lines answered without a request, because their hash was pending or recently
    /// answered.
    pub repeated: u64,
    /// Lines that an earlier run answered. `None` if this run does not resume. The line
    /// counts include them, no other field does.
    pub resumed_from: Option<u64>,
    /// Compressed bytes read.
    pub bytes_read: u64,
    /// Calls sent.
    pub requests: u64,
    /// Keys that DynamoDB returned as unprocessed.
    pub unprocessed: u64,
    /// Calls that the backend throttled as a whole.
    pub throttled: u64,
    /// Retried calls, for any cause.
    pub retries: u64,
    /// Consumed read capacity in RCU; 0 for an API.
    pub consumed_rcu: f64,
    /// Mean rate over the whole run in RCU/s.
    #[serde(serialize_with = "tenths")]
    pub mean_rcu_per_s: f64,
    /// Target rate at the end, in RCU/s or in calls/s of an API. `None` if there was no
    /// limit.
    pub target_rcu_per_s: Option<f64>,
    /// Cost of the consumed RCU at the on-demand price of us-east-1
    /// (`USD_PER_MILLION_READ_UNITS`), in USD.
    #[serde(serialize_with = "ten_thousandths")]
    pub estimated_cost_usd: f64,
    /// True if the reader of the answers closed the pipe.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The error that ended the run. `None` if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Advice on the failure. `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl LookupReport {
    /// The report of a look-up of `input` that has not read a line.
    pub fn new(table: Option<&str>, api: Option<String>, input: &str, started: Timestamp) -> Self {
        LookupReport {
            version: 1,
            command: "lookup",
            table: table.map(str::to_owned),
            api,
            input: input.to_owned(),
            started,
            ..LookupReport::default()
        }
    }

    /// Sets the counts, and the rate over `elapsed`.
    pub fn set_counts(&mut self, counts: &LookupCounts, elapsed: Duration) {
        let line_counts = counts.line_counts;
        self.elapsed_s = elapsed.as_secs_f64();
        self.lines = line_counts.lines;
        self.known = line_counts.known;
        self.unknown = line_counts.unknown;
        self.invalid = line_counts.invalid;
        self.error = line_counts.error;
        self.unanswered = line_counts.unanswered;
        self.blank = counts.blank;
        self.other_rules = counts.other_rules;
        self.repeated = counts.repeated;
        self.bytes_read = counts.bytes_read;
        self.requests = counts.requests;
        self.unprocessed = counts.unprocessed;
        self.throttled = counts.throttled;
        self.retries = counts.retries;
        self.consumed_rcu = counts.consumed_rcu;
        self.mean_rcu_per_s = counts.consumed_rcu / self.elapsed_s.max(0.001);
        self.estimated_cost_usd = counts.consumed_rcu * USD_PER_MILLION_READ_UNITS / 1e6;
    }

    /// Sets the outcome. A failure's exit status comes from `failure`.
    pub fn finish(&mut self, outcome: Outcome, failure: Option<&Error>) {
        self.outcome = outcome;
        // Wrong usage keeps its exit status after calls, too: a look-up writes no items.
        let is_usage = failure.is_some_and(|e| e.kind() == ErrorKind::Usage);
        self.exit = outcome.exit_status(self.requests > 0 && !is_usage, failure);
        self.failure = failure.map(|e| format!("{e:#}"));
        self.hint = failure.and_then(|e| e.hint()).map(str::to_owned);
    }

    /// Describes the counts, for a run whose report cannot be written.
    pub(crate) fn describe_counts(&self) -> String {
        format!(
            "of {} lines {} are answered",
            count(self.lines),
            count(self.lines - self.unanswered.min(self.lines))
        )
    }

    /// The report as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // Cannot fail: a struct of numbers and texts always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The report as text for people.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}.", self.headline());
        for (name, value, note) in self.count_rows() {
            write_count(&mut out, name, value, &note);
        }
        if let Some(lines) = self.resumed_from {
            let _ = writeln!(
                out,
                "  {} lines were answered by an earlier run.",
                count(lines)
            );
        }
        if self.other_rules > 0 {
            let _ = writeln!(
                out,
                "  {} known paths have items with other rules: unknown answers mean nothing.",
                count(self.other_rules)
            );
        }
        self.write_calls(&mut out);
        out
    }

    /// The outcome, in a sentence.
    fn headline(&self) -> &'static str {
        match self.outcome {
            Outcome::Interrupted => "Interrupted: the unanswered lines have no answer",
            Outcome::Failed if self.unanswered > 0 => "Failed: the unanswered lines have no answer",
            Outcome::Failed if self.known + self.unknown + self.error == 0 => {
                "Failed: no line could be looked up"
            }
            Outcome::Failed if self.error == 0 => "Failed",
            Outcome::Failed => "Looked up, but some look-ups failed",
            _ if self.invalid > self.blank => "Looked up; some lines are not hashes or paths",
            _ => "Looked up: every line has its answer",
        }
    }

    /// The line counts, each with its label and its note.
    fn count_rows(&self) -> [(&'static str, u64, String); 6] {
        let blank = match self.blank {
            0 => String::new(),
            blank => format!(", {} of them blank, comments or headers", count(blank)),
        };
        let invalid = format!("not a hash, or not a path{blank}");
        let error = "look-up failed".to_owned();
        let unanswered = "no answer before the end of the run".to_owned();
        [
            ("lines read", self.lines, String::new()),
            ("known", self.known, String::new()),
            ("unknown", self.unknown, String::new()),
            ("invalid", self.invalid, invalid),
            ("error", self.error, error),
            ("unanswered", self.unanswered, unanswered),
        ]
    }

    /// Appends the number of calls, and their cost.
    fn write_calls(&self, out: &mut String) {
        let coalesced = match self.repeated {
            0 => String::new(),
            lines => format!("; {} lines had a duplicate hash", count(lines)),
        };
        let _ = writeln!(
            out,
            "  {} in {}: {}, {} retried, {} throttled{coalesced}",
            indicatif::HumanBytes(self.bytes_read),
            format_seconds(self.elapsed_s),
            counted(self.requests, "call"),
            count(self.retries),
            count(self.throttled),
        );
        if self.table.is_some() {
            let _ = writeln!(
                out,
                "  {} RCU ({} RCU/s, {}), {} unprocessed: {:.4} USD at the on-demand price of us-east-1",
                format_number(self.consumed_rcu),
                format_number(self.mean_rcu_per_s),
                describe_target(self.target_rcu_per_s),
                counted(self.unprocessed, "key"),
                self.estimated_cost_usd
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lookup::counts::LookupLineCounts;

    #[test]
    fn the_json_has_the_fields_that_scripts_rely_on() {
        let mut report = LookupReport::new(Some("sha256"), None, "-", Timestamp::UNIX_EPOCH);
        let counts = LookupCounts {
            line_counts: LookupLineCounts {
                lines: 10,
                known: 1,
                unknown: 2,
                invalid: 3,
                error: 0,
                unanswered: 4,
            },
            blank: 1,
            requests: 2,
            consumed_rcu: 3.5,
            bytes_read: 650,
            ..LookupCounts::default()
        };
        report.set_counts(&counts, Duration::from_millis(2500));
        report.finish(Outcome::Interrupted, None);
        let got: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
        assert_eq!(
            got,
            serde_json::json!({
                "version": 1, "command": "lookup", "outcome": "interrupted", "exit": 4,
                "table": "sha256", "api": null, "hash": null, "rules": null, "input": "-", "output": null,
                "started": "1970-01-01T00:00:00Z", "elapsed_s": 2.5, "lines": 10, "known": 1, "unknown": 2,
                "invalid": 3, "error": 0, "unanswered": 4, "blank": 1, "other_rules": 0, "repeated": 0,
                "resumed_from": null, "bytes_read": 650, "requests": 2, "unprocessed": 0, "throttled": 0,
                "retries": 0, "consumed_rcu": 3.5, "mean_rcu_per_s": 1.4, "target_rcu_per_s": null,
                "estimated_cost_usd": 0.0,
            })
        );
        assert!(
            report
                .summary()
                .contains("unanswered                4  no answer before the end"),
            "{}",
            report.summary()
        );
    }
}
