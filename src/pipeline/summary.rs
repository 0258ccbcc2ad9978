//! Summary of a report, for a person.

use crate::base::human::{seconds, thousands};
use crate::pipeline::report::{Outcome, Report, skipped_note};
use std::fmt::Write as _;

impl Report {
    /// The report for a person.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let n = |n: u64| indicatif::HumanCount(n).to_string();
        let _ = writeln!(out, "{}.", self.how());
        let objects = self.sources.len() as u64;
        let objects = objects + self.further_sources.as_ref().map_or(0, |f| f.count);
        let of_objects = match objects {
            0 | 1 => String::new(),
            objects => format!("of {} objects", n(objects)),
        };
        let skipped = skipped_note(&self.other_algorithms);
        for (name, value, note) in self.rows(&of_objects, &skipped) {
            let zero = value == 0 && !matches!(name, "lines read" | "written");
            let note = if zero || note.is_empty() {
                String::new()
            } else {
                format!("  {note}")
            };
            let width = 27 - name.len().min(20);
            let _ = writeln!(out, "  {name}{:>width$}{note}", n(value));
        }
        let (bytes, took) = (
            indicatif::HumanBytes(self.bytes_read),
            seconds(self.elapsed_s),
        );
        let units = thousands(self.consumed_wcu);
        let usd = format!(
            "{:.4} USD at the on-demand price of us-east-1",
            self.estimated_cost_usd
        );
        if self.dry_run {
            let _ = writeln!(out, "  {bytes} in {took}");
            let _ = writeln!(out, "  it would take {units} write units: {usd}");
            return out;
        }
        let target = match self.target_wcu_per_s {
            Some(t) => format!("of {} aimed at", thousands(t)),
            None => "without a limit".to_owned(),
        };
        let _ = writeln!(
            out,
            "  {bytes} in {took}: {} write units/s {target}",
            thousands(self.mean_wcu_per_s),
        );
        let _ = writeln!(
            out,
            "  {} calls, {} sent again; {} items handed back, {} calls throttled",
            n(self.requests),
            n(self.retries),
            n(self.unprocessed),
            n(self.throttled),
        );
        let _ = writeln!(out, "  {units} write units: {usd}");
        out
    }

    /// How it ended, in a sentence.
    fn how(&self) -> String {
        let changed = self.written + self.deleted.unwrap_or(0) > 0 && !self.dry_run;
        let how = match self.outcome {
            Outcome::Complete => "Done: every line is accounted for",
            Outcome::Rejects => "Done: every line is accounted for, and some were rejected",
            Outcome::Mismatch => {
                "Done: every line is accounted for, and verification found some missing or different"
            }
            Outcome::Interrupted if self.dry_run => "Interrupted: not every line is accounted for",
            Outcome::Interrupted if self.checkpoint.is_some() => {
                "Interrupted: what was acknowledged is written; the same command writes the rest"
            }
            Outcome::Interrupted => {
                "Interrupted: what was acknowledged is written; running this again begins at the \
                 beginning, and writing an item again changes nothing"
            }
            Outcome::Failed if self.dry_run => "Failed",
            Outcome::Failed if changed => "Failed: what was acknowledged is written",
            Outcome::Failed => "Failed: nothing was written",
        };
        let dry = match self.dry_run {
            true => " (dry run: nothing was sent)",
            false => "",
        };
        format!("{how}{dry}")
    }

    /// The columns of the books, as they are true of this run: name, count, note.
    fn rows<'a>(&self, of_objects: &'a str, skipped: &'a str) -> Vec<(&'static str, u64, &'a str)> {
        let dry = self.dry_run;
        let say = |sent: (&'static str, &'static str), would: &'static str| match dry {
            true => (would, "nothing was sent"),
            false => sent,
        };
        let written = say(("written", "acknowledged by DynamoDB"), "would be written");
        let deleted = say(
            ("deleted", "their deletion acknowledged by DynamoDB"),
            "would be deleted",
        );
        let kept = match self.deletes_held_back {
            Some(1..) => "gone from the list, and their deletes are held back",
            _ => "gone from the list, and of another source in the table",
        };
        let failed = match self.outcome {
            Outcome::Interrupted => ("not written yet", "read, and not acknowledged"),
            _ => ("failed", "read, but not acknowledged"),
        };
        let mut rows = vec![
            ("lines read", self.lines, of_objects),
            (written.0, self.written, written.1),
        ];
        if let Some(count) = self.deleted {
            rows.push((deleted.0, count, deleted.1));
            let unchanged = self.unchanged.unwrap_or(0);
            rows.push(("unchanged", unchanged, "lines whose hash needs nothing"));
            rows.push(("kept", self.kept.unwrap_or(0), kept));
        }
        rows.extend([
            (
                "duplicates",
                self.duplicates,
                "taken from this input before",
            ),
            ("rejected", self.rejected, "not a hash of this kind"),
            ("skipped", self.skipped, skipped),
            (failed.0, self.failed, failed.1),
        ]);
        rows
    }
}
