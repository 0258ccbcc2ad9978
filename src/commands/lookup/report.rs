//! The account of a look-up: what a script reads, and what a person reads.

use crate::base::error::{Error, ErrorKind};
use crate::base::human::{seconds, ten_thousandths, tenths, thousands, thousandths, to_the_second};
use crate::commands::lookup::counts::LookupCounts;
use crate::dynamodb::prices::USD_PER_MILLION_READ_UNITS;
use crate::pipeline::report::Outcome;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// The account of a look-up. Field names and meanings are a promise to scripts.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct LookupReport {
    /// Version of this format: 1.
    pub version: u32,
    /// Which command it was.
    pub command: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit status.
    pub exit: u8,
    /// The table's name; nothing when an API was asked.
    pub table: Option<String>,
    /// The API's URL; nothing when a table was asked.
    pub api: Option<String>,
    /// The hash algorithm's name, once it is known.
    pub hash: Option<String>,
    /// By which rules paths were made comparable; nothing for hashes.
    pub rules: Option<&'static str>,
    /// The list that was looked up, as it was named.
    pub input: String,
    /// The file with the answers; nothing when they went elsewhere.
    pub output: Option<String>,
    /// When it began (UTC, RFC 3339).
    #[serde(serialize_with = "to_the_second")]
    pub started: Timestamp,
    /// Seconds from the beginning to the end.
    #[serde(serialize_with = "thousandths")]
    pub elapsed_s: f64,
    /// Lines read.
    pub lines: u64,
    /// See [`LookupBooks`](crate::commands::lookup::counts::LookupBooks).
    pub known: u64,
    /// See [`LookupBooks`](crate::commands::lookup::counts::LookupBooks).
    pub unknown: u64,
    /// See [`LookupBooks`](crate::commands::lookup::counts::LookupBooks).
    pub invalid: u64,
    /// See [`LookupBooks`](crate::commands::lookup::counts::LookupBooks).
    pub error: u64,
    /// See [`LookupBooks`](crate::commands::lookup::counts::LookupBooks).
    pub unanswered: u64,
    /// Of the invalid lines, those that are blank, a comment or a header.
    pub blank: u64,
    /// Of the known paths, those of a table that was built with other rules: then
    /// unknown answers mean nothing.
    pub other_rules: u64,
    /// Lines answered without a question of their own, their hash being under way or just answered.
    pub repeated: u64,
    /// The lines that an earlier run had answered, which this one has taken up; nothing
    /// when it has not. They are in the books too, and in no other figure.
    pub resumed_from: Option<u64>,
    /// Bytes read.
    pub bytes_read: u64,
    /// Calls sent.
    pub requests: u64,
    /// Keys that DynamoDB left unread.
    pub unprocessed: u64,
    /// Calls refused because there were too many.
    pub throttled: u64,
    /// Calls sent again for any cause.
    pub retries: u64,
    /// Read capacity units consumed; none of an API.
    pub consumed_rcu: f64,
    /// Read capacity units a second, over the whole run.
    #[serde(serialize_with = "tenths")]
    pub mean_rcu_per_s: f64,
    /// The rate aimed at; nothing when there was no limit.
    pub target_rcu_per_s: Option<f64>,
    /// What the consumed units cost at the on-demand price of us-east-1
    /// (`USD_PER_MILLION_READ_UNITS`), in USD.
    #[serde(serialize_with = "ten_thousandths")]
    pub estimated_cost_usd: f64,
    /// Whether whoever reads the answers wanted no more of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// What went wrong, when something did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl LookupReport {
    /// The report of a look-up of `input` that has not read anything.
    pub fn begun(
        table: Option<&str>,
        api: Option<String>,
        input: &str,
        started: Timestamp,
    ) -> Self {
        LookupReport {
            version: 1,
            command: "lookup",
            outcome: Outcome::Complete,
            exit: 0,
            table: table.map(str::to_owned),
            api,
            hash: None,
            rules: None,
            input: input.to_owned(),
            output: None,
            started,
            elapsed_s: 0.0,
            lines: 0,
            known: 0,
            unknown: 0,
            invalid: 0,
            error: 0,
            unanswered: 0,
            blank: 0,
            other_rules: 0,
            repeated: 0,
            resumed_from: None,
            bytes_read: 0,
            requests: 0,
            unprocessed: 0,
            throttled: 0,
            retries: 0,
            consumed_rcu: 0.0,
            mean_rcu_per_s: 0.0,
            target_rcu_per_s: None,
            estimated_cost_usd: 0.0,
            closed: false,
            failure: None,
            hint: None,
        }
    }

    /// Enters what was counted in `elapsed`.
    pub fn count(&mut self, counts: &LookupCounts, elapsed: Duration) {
        let books = counts.books;
        self.elapsed_s = elapsed.as_secs_f64();
        self.lines = books.lines;
        self.known = books.known;
        self.unknown = books.unknown;
        self.invalid = books.invalid;
        self.error = books.error;
        self.unanswered = books.unanswered;
        self.blank = counts.blank;
        self.other_rules = counts.foreign;
        self.repeated = counts.repeated;
        self.bytes_read = counts.bytes_read;
        self.requests = counts.requests;
        self.unprocessed = counts.unprocessed;
        self.throttled = counts.throttled;
        self.retries = counts.retries;
        self.consumed_rcu = counts.consumed;
        self.mean_rcu_per_s = counts.consumed / self.elapsed_s.max(0.001);
        self.estimated_cost_usd = counts.consumed * USD_PER_MILLION_READ_UNITS / 1e6;
    }

    /// Enters how it ended; a failure's exit status is its own, but that of
    /// wrong usage means that nothing was asked.
    pub fn end(&mut self, outcome: Outcome, failure: Option<&Error>) {
        self.outcome = outcome;
        // Wrong usage that an answer has shown is wrong usage still: nothing is written.
        let is_usage = failure.is_some_and(|e| e.kind() == ErrorKind::Usage);
        self.exit = outcome.exit_status(self.requests > 0 && !is_usage, failure);
        self.failure = failure.map(|e| format!("{e:#}"));
        self.hint = failure.and_then(|e| e.what_to_do()).map(str::to_owned);
    }

    /// What is known of a run whose report cannot be written.
    pub(crate) fn known(&self) -> String {
        format!(
            "of {} lines {} are answered",
            count(self.lines),
            count(self.lines - self.unanswered.min(self.lines))
        )
    }

    /// The report as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // A struct of numbers and texts always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// The report for a person.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}.", self.headline());
        for (name, value, note) in self.rows() {
            let note = match value == 0 || note.is_empty() {
                true => String::new(),
                false => format!("  {note}"),
            };
            let _ = writeln!(out, "  {name:<12}{:>15}{note}", count(value));
        }
        if let Some(lines) = self.resumed_from {
            let _ = writeln!(out, "  {} lines had been answered before.", count(lines));
        }
        if self.other_rules > 0 {
            let _ = writeln!(
                out,
                "  {} known paths are of a table that was built with other rules: unknown answers mean nothing.",
                count(self.other_rules)
            );
        }
        self.write_calls(&mut out);
        out
    }

    /// How it ended, in a sentence.
    fn headline(&self) -> &'static str {
        match self.outcome {
            Outcome::Interrupted => "Interrupted: lines that are unanswered have no answer",
            Outcome::Failed if self.unanswered > 0 => {
                "Failed: lines that are unanswered have no answer"
            }
            Outcome::Failed if self.known + self.unknown + self.error == 0 => {
                "Failed: not one line could be looked up"
            }
            Outcome::Failed => "Looked up, but some hashes could not be found out about",
            _ if self.invalid > self.blank => "Looked up; some lines are no hashes or paths",
            _ => "Looked up: every line has its answer",
        }
    }

    /// The columns of the books: name, lines, and a note where there are some.
    fn rows(&self) -> [(&'static str, u64, String); 6] {
        let blank = match self.blank {
            0 => String::new(),
            blank => format!(", {} of them blank, comments or headers", count(blank)),
        };
        let invalid = format!("no hash, or no path{blank}");
        let error = "could not be found out about".to_owned();
        let unanswered = "no answer yet when it ended".to_owned();
        [
            ("lines read", self.lines, String::new()),
            ("known", self.known, String::new()),
            ("unknown", self.unknown, String::new()),
            ("invalid", self.invalid, invalid),
            ("error", self.error, error),
            ("unanswered", self.unanswered, unanswered),
        ]
    }

    /// Appends the calls that it took, and what they cost.
    fn write_calls(&self, out: &mut String) {
        let repeated = match self.repeated {
            0 => String::new(),
            lines => format!("; {} lines repeated a hash", count(lines)),
        };
        let _ = writeln!(
            out,
            "  {} in {}: {} calls, {} sent again, {} throttled{repeated}",
            indicatif::HumanBytes(self.bytes_read),
            seconds(self.elapsed_s),
            count(self.requests),
            count(self.retries),
            count(self.throttled),
        );
        if self.table.is_some() {
            let target = match self.target_rcu_per_s {
                Some(t) => format!("of {} aimed at", thousands(t)),
                None => "without a limit".to_owned(),
            };
            let _ = writeln!(
                out,
                "  {} read units ({}/s {target}), {} keys left unread: {:.4} USD at the on-demand price of us-east-1",
                thousands(self.consumed_rcu),
                thousands(self.mean_rcu_per_s),
                count(self.unprocessed),
                self.estimated_cost_usd
            );
        }
    }
}

/// A number for a person.
fn count(n: u64) -> String {
    indicatif::HumanCount(n).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lookup::counts::LookupBooks;

    #[test]
    fn the_json_is_what_scripts_rely_on() {
        let mut report = LookupReport::begun(Some("sha256"), None, "-", Timestamp::UNIX_EPOCH);
        let counts = LookupCounts {
            books: LookupBooks {
                lines: 10,
                known: 1,
                unknown: 2,
                invalid: 3,
                error: 0,
                unanswered: 4,
            },
            blank: 1,
            requests: 2,
            consumed: 3.5,
            bytes_read: 650,
            ..LookupCounts::default()
        };
        report.count(&counts, Duration::from_millis(2500));
        report.end(Outcome::Interrupted, None);
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
                .contains("unanswered                4  no answer yet"),
            "{}",
            report.summary()
        );
    }
}
