//! Summary of a report, for people.

use crate::base::human::format_seconds;
use crate::pipeline::report::{Outcome, Report, describe_skipped};
use crate::pipeline::summary_lines::{
    Calls, count, write_calls, write_cost, write_count, write_rate,
};
use indicatif::HumanBytes;
use std::fmt::Write as _;

impl Report {
    /// Formats the report for people: outcome, line counts, rate, calls, cost.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}.", self.headline());
        let objects = self.sources.len() as u64;
        let objects = objects + self.further_sources.as_ref().map_or(0, |f| f.count);
        let of_objects = match objects {
            0 | 1 => String::new(),
            objects => format!("of {} objects", count(objects)),
        };
        let skipped = describe_skipped(&self.other_algorithms);
        for (name, value, note) in self.line_count_rows(&of_objects, &skipped) {
            write_count(&mut out, name, value, note);
        }
        if self.dry_run {
            let (bytes, elapsed) = (HumanBytes(self.bytes_read), format_seconds(self.elapsed_s));
            let _ = writeln!(out, "  {bytes} in {elapsed}");
            let mut cost = String::new();
            write_cost(&mut cost, self.consumed_wcu, "WCU", self.estimated_cost_usd);
            let _ = write!(out, "  a real run would consume {}", cost.trim_start());
            return out;
        }
        let rates = (self.mean_wcu_per_s, self.target_wcu_per_s);
        write_rate(&mut out, self.bytes_read, self.elapsed_s, rates, "WCU/s");
        write_calls(&mut out, self.calls(), "item");
        write_cost(&mut out, self.consumed_wcu, "WCU", self.estimated_cost_usd);
        out
    }

    /// The calls of the run.
    fn calls(&self) -> Calls {
        Calls {
            requests: self.requests,
            retries: self.retries,
            unprocessed: self.unprocessed,
            throttled: self.throttled,
        }
    }

    /// The outcome as a sentence.
    fn headline(&self) -> String {
        let changed = self.written + self.deleted.unwrap_or(0) > 0 && !self.dry_run;
        let outcome = match self.outcome {
            Outcome::Complete => "Done: every line is accounted for",
            Outcome::Rejects => "Done: every line is accounted for, and some were rejected",
            Outcome::Mismatch => {
                "Done: every line is accounted for, and verification found some missing or different"
            }
            Outcome::Interrupted if self.dry_run => "Interrupted: not every line is accounted for",
            Outcome::Interrupted if self.checkpoint.is_some() => {
                "Interrupted: acknowledged items are written; the same command writes the rest"
            }
            Outcome::Interrupted => {
                "Interrupted: acknowledged items are written; running this again starts at the \
                 first line, and writing an item twice changes nothing"
            }
            Outcome::Failed if self.dry_run => "Failed",
            Outcome::Failed if changed => "Failed: acknowledged items are written",
            Outcome::Failed => "Failed: nothing was written",
        };
        let dry = match self.dry_run {
            true => " (dry run: nothing was sent)",
            false => "",
        };
        format!("{outcome}{dry}")
    }

    /// Line counts that apply to this run: label, count, note.
    fn line_count_rows<'a>(
        &self,
        of_objects: &'a str,
        skipped: &'a str,
    ) -> Vec<(&'static str, u64, &'a str)> {
        let dry = self.dry_run;
        let choose = |sent: (&'static str, &'static str), would: &'static str| match dry {
            true => (would, "nothing was sent"),
            false => sent,
        };
        let written = choose(("written", "acknowledged by DynamoDB"), "would be written");
        let deleted = choose(
            ("deleted", "deletion acknowledged by DynamoDB"),
            "would be deleted",
        );
        let kept = match self.deletes_held_back {
            Some(1..) => "not in the new list, deletes held back",
            _ => "not in the new list, but of another source in the table",
        };
        let failed = match self.outcome {
            Outcome::Interrupted => ("not written yet", "read, but not acknowledged"),
            _ => ("failed", "read, but not acknowledged"),
        };
        let mut rows = vec![
            ("lines read", self.lines, of_objects),
            (written.0, self.written, written.1),
        ];
        if let Some(count) = self.deleted {
            rows.push((deleted.0, count, deleted.1));
            let unchanged = self.unchanged.unwrap_or(0);
            rows.push(("unchanged", unchanged, "lines that need no write"));
            rows.push(("kept", self.kept.unwrap_or(0), kept));
        }
        rows.extend([
            (
                "duplicates",
                self.duplicates,
                "hash occurred earlier in this input",
            ),
            ("rejected", self.rejected, "not a hash of this kind"),
            ("skipped", self.skipped, skipped),
            (failed.0, self.failed, failed.1),
        ]);
        rows
    }
}
