//! Checkpoint: the state from which a later run resumes.
//!
//! It holds the [watermark](crate::pipeline::progress::watermark) of a run with its line
//! counts, and the identity of the run: sources, table, items. A run resumes only if all
//! of these are the same. Any difference is an error.
//!
//! The text has two lines: the checkpoint as JSON, and the SHA-256 of that line, which
//! detects damage. A local file is replaced atomically; a PUT of an S3 object is atomic
//! already.

use crate::base::error::{Error, Result};
use crate::list::identity::Identity;
use crate::pipeline::progress::checkpoint_location::hex;
use crate::pipeline::progress::counts::{LineCounts, RunCounters};
use crate::pipeline::progress::run::RunIdentity;
use crate::pipeline::progress::sources::{FinishedSources, SourceTracker};
use crate::pipeline::progress::watermark::{Offset, Watermark};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use crate::pipeline::progress::checkpoint_location::CheckpointLocation;

/// Version of the checkpoint format.
pub(crate) const VERSION: u32 = 2;

/// Default time between two saves.
pub(crate) const SAVE_INTERVAL: Duration = Duration::from_secs(4);

/// State of a run up to its watermark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// See `VERSION`.
    pub version: u32,
    /// Time of the save (UTC, RFC 3339).
    #[serde(rename = "saved")]
    pub saved_at: String,
    /// Identity of the run.
    pub run: RunIdentity,
    /// Sources before the watermark.
    #[serde(rename = "behind")]
    pub finished: FinishedSources,
    /// Source that the watermark is in; `None` if a resumed run reads it from its start.
    #[serde(rename = "read")]
    pub partial_source: Option<PartialSource>,
    /// Number of hashes before the watermark, for a run that writes in the order of the
    /// hashes; a resumed run reads all sources again. `None` for other runs.
    #[serde(rename = "sorted", default, skip_serializing_if = "Option::is_none")]
    pub sorted_position: Option<u64>,
    /// Counts of all lines before the watermark.
    #[serde(rename = "books")]
    pub line_counts: LineCounts,
    /// Calls, capacity and time used so far.
    pub totals: Totals,
    /// Run that saved the checkpoint; `None` for a local file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_by: Option<SavedBy>,
}

/// Run that saved a checkpoint. After an error, the run recognises its own save by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedBy {
    /// Random id, different for each run.
    pub run: String,
    /// Number of the save within the run.
    pub sequence: u64,
    /// Process id, host and start time, for people.
    pub holder: String,
}

/// The part of a source before the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialSource {
    /// Identity of the source.
    pub source: Identity,
    /// Lines of text before the watermark: more than in `line_counts` if a row spans
    /// several.
    pub lines: u64,
    /// Bytes of the decompressed text before the watermark.
    pub bytes: u64,
    /// Line counts before the watermark.
    #[serde(rename = "books")]
    pub line_counts: LineCounts,
}

/// Calls, capacity and time that a run has used so far, for its report.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// BatchWriteItem and DeleteItem calls.
    pub requests: u64,
    /// Unprocessed items.
    pub unprocessed: u64,
    /// Throttled calls.
    pub throttled: u64,
    /// Retried calls.
    pub retries: u64,
    /// WCU consumed.
    pub consumed_wcu: f64,
    /// Elapsed time, in seconds.
    pub elapsed_s: f64,
}

impl Checkpoint {
    /// The checkpoint of `run` at the watermark `mark`, with the progress of its sources
    /// and the counters after `elapsed`.
    pub fn new(
        run: RunIdentity,
        mark: &Watermark,
        sources: &SourceTracker,
        counts: &RunCounters,
        elapsed: Duration,
    ) -> Self {
        let partial_source = sources.identity(mark.source).map(|source| PartialSource {
            source,
            lines: mark.offset.lines,
            bytes: mark.offset.bytes,
            line_counts: mark.source_line_counts,
        });
        Checkpoint {
            version: VERSION,
            saved_at: jiff::Timestamp::now().to_string(),
            run,
            finished: sources.finished(),
            partial_source,
            sorted_position: None,
            line_counts: mark.line_counts,
            totals: Totals {
                requests: counts.requests,
                unprocessed: counts.unprocessed,
                throttled: counts.throttled,
                retries: counts.retries,
                consumed_wcu: counts.consumed_wcu,
                elapsed_s: elapsed.as_secs_f64(),
            },
            saved_by: None,
        }
    }

    /// Converts it to the checkpoint of a run that writes in the order of the hashes. Its
    /// watermark counts records, and it lists all sources.
    #[must_use]
    pub fn into_sorted(mut self, mark: &Watermark, sources: &SourceTracker) -> Self {
        self.partial_source = None;
        self.sorted_position = Some(mark.offset.lines);
        self.finished = FinishedSources::default();
        if *mark != Watermark::default() {
            self.finished = sources.final_progress().without_line_counts();
        }
        self
    }

    /// Removes the source that the watermark is in, so that a resumed run reads it from
    /// its start.
    #[must_use]
    pub fn without_partial_source(mut self) -> Self {
        if let Some(read) = self.partial_source.take() {
            self.line_counts = self.line_counts.without(read.line_counts);
        }
        self
    }

    /// The watermark.
    pub fn watermark(&self) -> Watermark {
        let read = self.partial_source.as_ref();
        Watermark {
            // The reader numbers at most that many sources.
            source: u32::try_from(self.finished.count()).unwrap_or(u32::MAX),
            offset: read.map_or_else(Offset::default, |r| Offset {
                lines: r.lines,
                bytes: r.bytes,
            }),
            source_line_counts: read.map(|r| r.line_counts).unwrap_or_default(),
            line_counts: self.line_counts,
        }
    }

    /// Counters of a run that resumes here. `behind` is the number of compressed bytes
    /// before the watermark in its source.
    pub fn counters(&self, behind: u64) -> RunCounters {
        RunCounters {
            line_counts: self.line_counts,
            bytes_read: self.finished.bytes_read() + behind,
            requests: self.totals.requests,
            unprocessed: self.totals.unprocessed,
            throttled: self.totals.throttled,
            retries: self.totals.retries,
            consumed_wcu: self.totals.consumed_wcu,
            in_flight: 0,
        }
    }

    /// Checks that it is a checkpoint of `run`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), with the first
    /// difference.
    pub fn check_run(&self, run: &RunIdentity, place: &CheckpointLocation) -> Result<()> {
        let (had, has) = (&self.run, run);
        let different = if had.sources != has.sources {
            format!(
                "the sources were {}, and are {}",
                had.sources.join(" "),
                has.sources.join(" ")
            )
        } else if had.read_settings != has.read_settings {
            format!(
                "its lists were read {}, and are read {}",
                had.read_settings, has.read_settings
            )
        } else if (&had.table, &had.table_location) != (&has.table, &has.table_location) {
            format!(
                "the table was {} ({}), and is {} ({})",
                had.table, had.table_location, has.table, has.table_location
            )
        } else if had.table_id.is_some() && has.table_id.is_some() && had.table_id != has.table_id {
            format!("table {} was deleted and created again since", has.table)
        } else if had.algorithm != has.algorithm {
            format!(
                "the hashes were {}, and are {}",
                had.algorithm, has.algorithm
            )
        } else if had.item_template != has.item_template {
            format!(
                "the items were {}, and are {}",
                had.item_template, has.item_template
            )
        } else {
            return Ok(());
        };
        Err(Error::usage(format!(
            "the checkpoint {place} belongs to another run: {different}"
        ))
        .with_hint("give --restart to begin again, or --checkpoint PATH for another checkpoint"))
    }

    /// The text of the checkpoint, as stored.
    pub fn to_text(&self) -> String {
        // A struct of numbers, texts and lists of them always has a JSON form.
        let json = serde_json::to_string(self).unwrap_or_default();
        let digest = digest(&json);
        format!("{json}\n{digest}\n")
    }

    /// Parses the output of [`to_text`](Self::to_text).
    ///
    /// # Errors
    /// A description of the damage, or the unknown version.
    pub fn from_text(text: &[u8]) -> Result<Checkpoint, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
        let mut lines = text.lines();
        let (Some(json), Some(sum), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err("expected two lines: the checkpoint and its SHA-256".into());
        };
        if digest(json) != sum {
            return Err("its SHA-256 does not match: it was truncated or changed".into());
        }
        let found: Versioned = serde_json::from_str(json).map_err(|e| e.to_string())?;
        if found.version != VERSION {
            return Err(format!(
                "its version is {}; this program reads version {VERSION}",
                found.version
            ));
        }
        let checkpoint: Checkpoint = serde_json::from_str(json).map_err(|e| e.to_string())?;
        checkpoint.validate()?;
        Ok(checkpoint)
    }

    /// Checks that its parts agree with each other.
    fn validate(&self) -> Result<(), String> {
        // Absurdly large numbers would overflow the sums below.
        let all = [self.line_counts].into_iter();
        let here = self.partial_source.iter().map(|r| r.line_counts);
        let kept = self.finished.listed.iter().map(|a| a.line_counts);
        let each = all
            .chain(here)
            .chain(kept)
            .chain([self.finished.overflow.line_counts]);
        let columns = |b: &LineCounts| {
            [
                b.lines,
                b.written,
                b.duplicates,
                b.rejected,
                b.skipped,
                b.failed,
                b.deleted,
                b.unchanged,
                b.kept,
            ]
        };
        if each
            .clone()
            .any(|b| columns(&b).iter().any(|n| *n > MAX_LINES))
        {
            return Err("its line counts do not balance".into());
        }
        let mut sum = self.finished.line_counts();
        if let Some(read) = &self.partial_source {
            sum += read.line_counts;
        }
        let sorted = self.sorted_position.is_some();
        if each.into_iter().any(|b| !b.is_balanced() || b.failed != 0)
            || (!sorted && sum != self.line_counts)
        {
            return Err("its line counts do not balance".into());
        }
        // The decompressed text of a source may be longer than the source.
        let beyond = |r: &PartialSource| {
            let plain = r.source.is_verbatim() && !sorted;
            plain && r.source.object.bytes.is_some_and(|b| r.bytes > b)
        };
        let none = self.finished.count() == 0;
        let many = self.finished.count() > u64::from(u32::MAX);
        if self.partial_source.as_ref().is_some_and(beyond)
            || (sorted && self.partial_source.is_some())
            || self
                .partial_source
                .as_ref()
                .is_some_and(|r| r.lines < r.line_counts.lines)
            || many
            || none != self.finished.digest.is_empty()
        {
            return Err("its entries about the sources contradict each other".into());
        }
        Ok(())
    }
}

/// Maximum plausible number of lines; a larger one is damage. A list of that many lines
/// would have some hundred petabytes.
const MAX_LINES: u64 = 1 << 50;

/// The version alone, since the other fields of a later version may be unknown.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn digest(json: &str) -> String {
    hex(&Sha256::digest(json.as_bytes()))
}

#[cfg(test)]
pub(super) mod tests;
