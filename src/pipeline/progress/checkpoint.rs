//! The checkpoint: from where a run can be taken up.
//!
//! It holds the [low-water mark](crate::pipeline::progress::watermark) of a run (how much of each
//! source is settled, and the books of that), and by what the run is recognised:
//! the sources and what they were, the table, the items. A run that is taken up
//! must be the same in all of these; where it is not, it is refused, never
//! guessed.
//!
//! On disk it is two lines: the checkpoint as JSON, and the SHA-256 of that line,
//! so that damage is noticed. A local one is replaced whole or not at all; one in
//! S3 is an object, which is by itself.

use crate::base::error::{Error, Result};
use crate::list::identity::Identity;
use crate::pipeline::progress::checkpoint_place::hex;
use crate::pipeline::progress::counts::{Books, Counts};
use crate::pipeline::progress::run::Run;
use crate::pipeline::progress::sources::{Accounts, Behind};
use crate::pipeline::progress::watermark::{Below, Mark};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use crate::pipeline::progress::checkpoint_place::Place;

/// Version of the checkpoint's form.
pub(crate) const VERSION: u32 = 2;

/// Time between two savings.
pub(crate) const SAVE_INTERVAL: Duration = Duration::from_secs(4);

/// A run, up to its low-water mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// See `VERSION`.
    pub version: u32,
    /// When it was saved (UTC, RFC 3339).
    pub saved: String,
    /// What is being done.
    pub run: Run,
    /// The sources that are settled.
    pub behind: Behind,
    /// The one that the mark is in; nothing when none of its lines is in the books.
    pub read: Option<Read>,
    /// How many of all hashes, in the order of their bytes, are settled, where they are
    /// written in that order; all sources are then read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sorted: Option<u64>,
    /// The books of all lines below the mark.
    pub books: Books,
    /// What it took so far.
    pub totals: Totals,
    /// The run that saved it, of a checkpoint in S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_by: Option<SavedBy>,
}

/// The run that saved a checkpoint. It recognizes its own save by this after an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedBy {
    /// Id of the run, another each time.
    pub run: String,
    /// Number of the save within the run.
    pub sequence: u64,
    /// Process id, host and start, for people.
    pub holder: String,
}

/// How much of a source is below the mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// What it was.
    pub source: Identity,
    /// Lines of its text below the mark: more than in the books, where a row spans
    /// several.
    pub lines: u64,
    /// Bytes below the mark, of its text: decompressed, where it is compressed.
    pub bytes: u64,
    /// The books of the lines below the mark.
    pub books: Books,
}

/// What a run has taken so far, for its report.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// BatchWriteItem calls.
    pub requests: u64,
    /// Items handed back.
    pub unprocessed: u64,
    /// Calls refused whole.
    pub throttled: u64,
    /// Calls sent again.
    pub retries: u64,
    /// Write capacity units.
    pub consumed_wcu: f64,
    /// Seconds.
    pub elapsed_s: f64,
}

impl Checkpoint {
    /// The checkpoint of `run` at `mark`, with the `accounts` of its sources, and what
    /// was counted in `elapsed`.
    pub fn new(
        run: Run,
        mark: &Mark,
        accounts: &Accounts,
        counts: &Counts,
        elapsed: Duration,
    ) -> Self {
        let read = accounts.identity(mark.source).map(|source| Read {
            source,
            lines: mark.below.lines,
            bytes: mark.below.bytes,
            books: mark.here,
        });
        Checkpoint {
            version: VERSION,
            saved: jiff::Timestamp::now().to_string(),
            run,
            behind: accounts.behind(),
            read,
            sorted: None,
            books: mark.books,
            totals: Totals {
                requests: counts.requests,
                unprocessed: counts.unprocessed,
                throttled: counts.throttled,
                retries: counts.retries,
                consumed_wcu: counts.consumed,
                elapsed_s: elapsed.as_secs_f64(),
            },
            saved_by: None,
        }
    }

    /// The same of a run that writes in the order of hashes: all its sources are what
    /// they are, and the mark is so many records from the beginning.
    #[must_use]
    pub fn of_sorted(mut self, mark: &Mark, accounts: &Accounts) -> Self {
        self.read = None;
        self.sorted = Some(mark.below.lines);
        self.behind = Behind::default();
        if *mark != Mark::default() {
            self.behind = accounts.all().without_books();
        }
        self
    }

    /// The same without the source that the mark is in: a run that is taken up reads
    /// that from its beginning.
    #[must_use]
    pub fn without_the_last(mut self) -> Self {
        if let Some(read) = self.read.take() {
            self.books = self.books.without(read.books);
        }
        self
    }

    /// The low-water mark.
    pub fn mark(&self) -> Mark {
        let read = self.read.as_ref();
        Mark {
            // The reader does not number more than that.
            source: u32::try_from(self.behind.count()).unwrap_or(u32::MAX),
            below: read.map_or_else(Below::default, |r| Below {
                lines: r.lines,
                bytes: r.bytes,
            }),
            here: read.map(|r| r.books).unwrap_or_default(),
            books: self.books,
        }
    }

    /// The counters of a run that goes on from here, with `behind` bytes of the
    /// source that the mark is in behind it, as they lie there.
    pub fn counts(&self, behind: u64) -> Counts {
        Counts {
            books: self.books,
            bytes_read: self.behind.read() + behind,
            requests: self.totals.requests,
            unprocessed: self.totals.unprocessed,
            throttled: self.totals.throttled,
            retries: self.totals.retries,
            consumed: self.totals.consumed_wcu,
            in_flight: 0,
        }
    }

    /// Whether it is the checkpoint of `run`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), naming what is another.
    pub fn is_of(&self, run: &Run, place: &Place) -> Result<()> {
        let (had, has) = (&self.run, run);
        let different = if had.sources != has.sources {
            format!(
                "the sources were {}, and are {}",
                had.sources.join(" "),
                has.sources.join(" ")
            )
        } else if had.reading != has.reading {
            format!(
                "its lists were read {}, and are read {}",
                had.reading, has.reading
            )
        } else if (&had.table, &had.place) != (&has.table, &has.place) {
            format!(
                "the table was {} ({}), and is {} ({})",
                had.table, had.place, has.table, has.place
            )
        } else if had.table_id.is_some() && has.table_id.is_some() && had.table_id != has.table_id {
            format!("table {} was deleted and made anew since", has.table)
        } else if had.hash != has.hash {
            format!("the hashes were {}, and are {}", had.hash, has.hash)
        } else if had.item != has.item {
            format!("the items were {}, and are {}", had.item, has.item)
        } else {
            return Ok(());
        };
        Err(Error::usage(format!(
            "the checkpoint {place} is of another run: {different}"
        ))
        .hint("begin again with --restart, or name another place by --checkpoint PATH"))
    }

    /// As it lies on disk.
    pub fn to_text(&self) -> String {
        // A struct of numbers, texts and lists of them always has a JSON form.
        let json = serde_json::to_string(self).unwrap_or_default();
        let digest = digest(&json);
        format!("{json}\n{digest}\n")
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_text(text: &[u8]) -> Result<Checkpoint, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
        let mut lines = text.lines();
        let (Some(json), Some(sum), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err("expected two lines: the checkpoint and its SHA-256".into());
        };
        if digest(json) != sum {
            return Err("its SHA-256 does not fit: it is cut off, or was changed".into());
        }
        let found: Versioned = serde_json::from_str(json).map_err(|e| e.to_string())?;
        if found.version != VERSION {
            return Err(format!(
                "its version is {}, and this program knows {VERSION}",
                found.version
            ));
        }
        let checkpoint: Checkpoint = serde_json::from_str(json).map_err(|e| e.to_string())?;
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// Whether it contradicts itself.
    fn check(&self) -> Result<(), String> {
        // A figure that is too large to be one must not overflow the sums.
        let all = [self.books].into_iter();
        let here = self.read.iter().map(|r| r.books);
        let kept = self.behind.kept.iter().map(|a| a.books);
        let each = all
            .chain(here)
            .chain(kept)
            .chain([self.behind.beyond.books]);
        let columns = |b: &Books| {
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
            .any(|b| columns(&b).iter().any(|n| *n > MOST_LINES))
        {
            return Err("its books do not balance".into());
        }
        let mut sum = self.behind.books();
        if let Some(read) = &self.read {
            sum += read.books;
        }
        let sorted = self.sorted.is_some();
        if each.into_iter().any(|b| !b.balanced() || b.failed != 0)
            || (!sorted && sum != self.books)
        {
            return Err("its books do not balance".into());
        }
        // The text of a source that is not text byte by byte may be longer than it is.
        let beyond = |r: &Read| {
            let plain = r.source.is_verbatim() && !sorted;
            plain && r.source.object.bytes.is_some_and(|b| r.bytes > b)
        };
        let none = self.behind.count() == 0;
        let many = self.behind.count() > u64::from(u32::MAX);
        if self.read.as_ref().is_some_and(beyond)
            || (sorted && self.read.is_some())
            || self.read.as_ref().is_some_and(|r| r.lines < r.books.lines)
            || many
            || none != self.behind.digest.is_empty()
        {
            return Err("what it says of its sources does not fit together".into());
        }
        Ok(())
    }
}

/// Lines of a run at most, by which a figure that is damaged is known: a list of them
/// would have some hundred petabytes.
const MOST_LINES: u64 = 1 << 50;

/// Of a later version, no more than that may be understood.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn digest(json: &str) -> String {
    hex(&Sha256::digest(json.as_bytes()))
}

#[cfg(test)]
pub(super) mod tests;
