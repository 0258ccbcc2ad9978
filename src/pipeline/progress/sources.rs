//! Per-source progress: identity, bytes read, line counts by outcome.
//!
//! A prefix may hold a million objects. Of the sources before the
//! [watermark](crate::pipeline::progress::watermark), the first [`MAX_LISTED`] are listed
//! one by one; the others are [summed up](OverflowTotals). A running digest lets a later run
//! recognise all of them. Every source after the watermark is listed; they are only those
//! that the reader has started ahead of the watermark.

use crate::base::record::SECOND_LIST_START;
use crate::list::identity::Identity;
use crate::pipeline::progress::counts::{LineCounts, LineOutcome};
use crate::source::version::ObjectVersion;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of finished sources that are listed one by one: some 3 MB.
pub(crate) const MAX_LISTED: usize = 10_000;

/// Progress of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceProgress {
    /// Identity of the source.
    pub source: Identity,
    /// Bytes read, before decompression.
    #[serde(rename = "read")]
    pub bytes_read: u64,
    /// Line counts by outcome.
    #[serde(rename = "books")]
    pub line_counts: LineCounts,
}

/// Totals of the finished sources that are not listed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverflowTotals {
    /// Number of sources.
    pub count: u64,
    /// Bytes read, before decompression.
    #[serde(rename = "read")]
    pub bytes_read: u64,
    /// Line counts by outcome.
    #[serde(rename = "books")]
    pub line_counts: LineCounts,
}

/// Finished sources, from the first one on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishedSources {
    /// The first [`MAX_LISTED`] sources.
    #[serde(rename = "kept")]
    pub listed: Vec<SourceProgress>,
    /// Totals of the sources after them.
    #[serde(rename = "beyond")]
    pub overflow: OverflowTotals,
    /// SHA-256 chain over the object versions, in hex; empty if no source is finished.
    pub digest: String,
}

impl FinishedSources {
    /// Number of finished sources.
    pub fn count(&self) -> u64 {
        self.listed.len() as u64 + self.overflow.count
    }

    /// Line counts of all finished sources.
    pub fn line_counts(&self) -> LineCounts {
        let mut line_counts = self.overflow.line_counts;
        self.listed
            .iter()
            .for_each(|a| line_counts += a.line_counts);
        line_counts
    }

    /// Bytes read of all finished sources.
    pub fn bytes_read(&self) -> u64 {
        self.listed.iter().map(|a| a.bytes_read).sum::<u64>() + self.overflow.bytes_read
    }

    /// Clears the line counts and keeps the identities.
    #[must_use]
    pub fn without_line_counts(mut self) -> FinishedSources {
        self.listed
            .iter_mut()
            .for_each(|a| a.line_counts = LineCounts::default());
        self.overflow.line_counts = LineCounts::default();
        self
    }

    /// Adds the next finished source.
    pub fn push(&mut self, mut account: SourceProgress) {
        self.digest = next_digest(&self.digest, &account.source.object);
        if self.listed.len() < MAX_LISTED {
            // Only a run that resumes in the middle of a source needs its layout, and a
            // header may be long.
            account.source.layout = None;
            self.listed.push(account);
        } else {
            self.overflow.count += 1;
            self.overflow.bytes_read += account.bytes_read;
            self.overflow.line_counts += account.line_counts;
        }
    }
}

/// Appends `last` to the `digest` of the sources before it.
pub(crate) fn next_digest(digest: &str, last: &ObjectVersion) -> String {
    let mut hash = Sha256::new();
    let length = last.bytes.map(|b| b.to_string());
    let etag = (last.etag.as_deref()).map(|e| e.trim_matches('"'));
    let parts = [
        Some(digest),
        Some(&last.uri),
        etag,
        length.as_deref(),
        last.modified.as_deref(),
    ];
    for part in parts {
        let part = part.unwrap_or_default();
        // The length prefix keeps two different lists from having the same input.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    (hash.finalize().iter()).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Progress of all sources of a run. See the [module](self).
#[derive(Debug, Default)]
pub struct SourceTracker {
    lists: Mutex<[ListProgress; 2]>,
    /// Sources of both lists at their first read; `None` during that read.
    previous: Option<[Vec<Identity>; 2]>,
}

/// Sources of one list. A second list numbers its sources from [`SECOND_LIST_START`] on.
#[derive(Debug, Default)]
struct ListProgress {
    finished: FinishedSources,
    /// Unfinished sources; the number of the first is the count of finished ones.
    active: VecDeque<SourceProgress>,
}

impl SourceTracker {
    /// Progress of a run that resumes after the sources `behind`.
    pub fn new(behind: FinishedSources) -> SourceTracker {
        let first = ListProgress {
            finished: behind,
            active: VecDeque::new(),
        };
        SourceTracker {
            lists: Mutex::new([first, ListProgress::default()]),
            previous: None,
        }
    }

    /// Progress of a second read of the sources of `first`, none of which is finished:
    /// see [`check_unchanged`](Self::check_unchanged).
    pub fn for_second_read(first: &SourceTracker) -> SourceTracker {
        let identities =
            |lane: &ListProgress| lane.active.iter().map(|a| a.source.clone()).collect();
        let lanes = first.lists();
        SourceTracker {
            lists: Mutex::default(),
            previous: Some([identities(&lanes[0]), identities(&lanes[1])]),
        }
    }

    /// Checks that source `source` is the same as at the first read, or that the first
    /// read ended there too if `now` is `None`.
    ///
    /// # Errors
    /// A description of the difference.
    pub fn check_unchanged(&self, source: u32, now: Option<&ObjectVersion>) -> Result<(), String> {
        let Some(before) = &self.previous else {
            return Ok(());
        };
        let before = before[usize::from(source >= SECOND_LIST_START)]
            .get((source % SECOND_LIST_START) as usize);
        let before = before.map(|identity| &identity.object);
        match (before, now) {
            (None, None) => Ok(()),
            (Some(before), Some(now)) if before.uri == now.uri => match before.describe_change(now)
            {
                None => Ok(()),
                Some(difference) => Err(format!("{}: {difference}", now.uri)),
            },
            (before, now) => {
                let name = |i: Option<&ObjectVersion>| i.map_or("the end", |i| &i.uri).to_owned();
                Err(format!("expected {}, found {}", name(before), name(now)))
            }
        }
    }

    /// Forgets all sources, to read them again from the start.
    pub fn reset(&self) {
        *self.lists() = Default::default();
    }

    /// Adds the next source, number `source`, with the progress it has already.
    pub fn start_source(&self, source: u32, account: SourceProgress) {
        list_mut(&mut self.lists(), source)
            .active
            .push_back(account);
    }

    /// Counts bytes read of a source, before decompression, and the lines as the reader
    /// classified them.
    pub fn record_read(&self, source: u32, read: u64, line_counts: LineCounts) {
        if let Some(account) = active_source(&mut self.lists(), source) {
            account.bytes_read += read;
            account.line_counts += line_counts;
        }
    }

    /// Counts the outcome of `count` lines of a source.
    pub fn record_outcome(&self, source: u32, outcome: LineOutcome, count: u64) {
        if let Some(account) = active_source(&mut self.lists(), source) {
            account.line_counts.record_outcome(outcome, count);
        }
    }

    /// Marks the sources of the first list before `source` as finished.
    pub fn finish_before(&self, source: u32) {
        let mut lanes = self.lists();
        let ListProgress {
            finished: behind,
            active: open,
        } = &mut lanes[0];
        while behind.count() < u64::from(source)
            && let Some(account) = open.pop_front()
        {
            behind.push(account);
        }
    }

    /// Line counts of the first list so far, or of the `second`.
    pub fn line_counts(&self, second: bool) -> LineCounts {
        let lanes = self.lists();
        let ListProgress {
            finished: behind,
            active: open,
        } = &lanes[usize::from(second)];
        let mut line_counts = behind.line_counts();
        open.iter()
            .for_each(|account| line_counts += account.line_counts);
        line_counts
    }

    /// Identity of an unfinished source; `None` for a finished or unknown one.
    pub fn identity(&self, source: u32) -> Option<Identity> {
        active_source(&mut self.lists(), source).map(|a| a.source.clone())
    }

    /// Name of a source; empty if the source is not listed.
    pub fn name(&self, source: u32) -> String {
        let mut lanes = self.lists();
        if let Some(account) = active_source(&mut lanes, source) {
            return account.source.object.uri.clone();
        }
        let kept = &list_mut(&mut lanes, source).finished.listed;
        let account = kept.get((source % SECOND_LIST_START) as usize);
        account
            .map(|a| a.source.object.uri.clone())
            .unwrap_or_default()
    }

    /// Finished sources of the first list.
    pub fn finished(&self) -> FinishedSources {
        self.lists()[0].finished.clone()
    }

    /// Number of sources so far, of both lists.
    pub fn len(&self) -> u64 {
        let count = |lane: &ListProgress| lane.finished.count() + lane.active.len() as u64;
        self.lists().iter().map(count).sum()
    }

    /// True if no source was read yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sources at the end of a run, a second list last. Lines in no other category
    /// count as failed.
    pub fn final_progress(&self) -> FinishedSources {
        let lanes = self.lists();
        let mut all = lanes[0].finished.clone();
        for account in lanes[0].active.iter().chain(&lanes[1].active) {
            let mut account = account.clone();
            account.line_counts.failed += account.line_counts.unaccounted();
            all.push(account);
        }
        all
    }

    fn lists(&self) -> MutexGuard<'_, [ListProgress; 2]> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn list_mut(lanes: &mut [ListProgress; 2], source: u32) -> &mut ListProgress {
    &mut lanes[usize::from(source >= SECOND_LIST_START)]
}

fn active_source(lanes: &mut [ListProgress; 2], source: u32) -> Option<&mut SourceProgress> {
    let lane = list_mut(lanes, source);
    let at = u64::from(source % SECOND_LIST_START).checked_sub(lane.finished.count())?;
    lane.active.get_mut(usize::try_from(at).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u64) -> SourceProgress {
        SourceProgress {
            source: Identity::from(ObjectVersion {
                uri: format!("s3://b/{n}"),
                etag: Some(format!("\"{n}\"")),
                bytes: Some(n),
                ..ObjectVersion::default()
            }),
            bytes_read: 0,
            line_counts: LineCounts::default(),
        }
    }

    fn lines(lines: u64, skipped: u64) -> LineCounts {
        LineCounts {
            lines,
            skipped,
            ..LineCounts::default()
        }
    }

    #[test]
    fn each_source_has_its_own_counts_and_unaccounted_lines_count_as_failed() {
        let sources = SourceTracker::default();
        sources.start_source(0, account(0));
        sources.record_read(0, 100, lines(3, 1));
        sources.start_source(1, account(1));
        sources.record_read(1, 50, lines(2, 0));
        sources.record_outcome(0, LineOutcome::Written, 2);
        sources.record_outcome(1, LineOutcome::Duplicate, 1);
        sources.finish_before(1);
        assert_eq!(sources.finished().count(), 1);
        assert_eq!(
            (sources.name(0), sources.name(1)),
            ("s3://b/0".into(), "s3://b/1".into())
        );
        assert_eq!((sources.identity(0), sources.len()), (None, 2));
        let all = sources.final_progress();
        assert!(all.listed.iter().all(|a| a.line_counts.is_balanced()));
        let got: Vec<_> = (all.listed.iter())
            .map(|a| (a.bytes_read, a.line_counts.written, a.line_counts.failed))
            .collect();
        assert_eq!(got, [(100, 2, 0), (50, 0, 1)]);
        assert_eq!((all.bytes_read(), all.line_counts().lines), (150, 5));
    }

    #[test]
    fn each_of_two_lists_has_its_own_sources() {
        let sources = SourceTracker::default();
        sources.start_source(0, account(0));
        sources.start_source(SECOND_LIST_START, account(1));
        sources.start_source(1, account(2));
        sources.record_read(SECOND_LIST_START, 7, lines(1, 0));
        sources.record_outcome(SECOND_LIST_START, LineOutcome::Unchanged, 1);
        let names = [0, 1, SECOND_LIST_START].map(|n| sources.name(n));
        assert_eq!(names, ["s3://b/0", "s3://b/2", "s3://b/1"]);
        let all = sources.final_progress();
        let last = all.listed.last().expect("three");
        assert_eq!(
            (all.count(), last.bytes_read, last.line_counts.unchanged),
            (3, 7, 1)
        );
        sources.reset();
        assert!(sources.is_empty());
    }

    #[test]
    fn a_second_read_of_changed_sources_is_an_error() {
        let first = SourceTracker::default();
        first.start_source(0, account(0));
        first.start_source(1, account(1));
        first.start_source(SECOND_LIST_START, account(2));
        let second = SourceTracker::for_second_read(&first);
        let check =
            |source, n: u64| second.check_unchanged(source, Some(&account(n).source.object));
        assert_eq!(
            (check(0, 0), check(1, 1), check(SECOND_LIST_START, 2)),
            (Ok(()), Ok(()), Ok(()))
        );
        assert_eq!(
            (
                second.check_unchanged(2, None),
                second.check_unchanged(SECOND_LIST_START + 1, None)
            ),
            (Ok(()), Ok(()))
        );
        let mut replaced = account(1);
        replaced.source.object.etag = Some("\"new\"".into());
        let error = second
            .check_unchanged(1, Some(&replaced.source.object))
            .expect_err("other");
        assert_eq!(error, "s3://b/1: its ETag was \"1\" and is \"new\"");
        assert!(check(1, 2).is_err() && check(2, 2).is_err());
        assert!(second.check_unchanged(1, None).is_err(), "one is missing");
        // A first read accepts any source.
        assert_eq!(first.check_unchanged(7, None), Ok(()));
    }

    #[test]
    fn sources_over_the_limit_are_only_summed_up() {
        let sources = SourceTracker::default();
        let many = MAX_LISTED as u64 + 500;
        for n in 0..many {
            sources.start_source(n as u32, account(n));
            sources.record_read(n as u32, 1, lines(1, 1));
            sources.finish_before(n as u32);
        }
        sources.finish_before(many as u32);
        let behind = sources.finished();
        assert_eq!(
            (behind.listed.len(), behind.overflow.count),
            (MAX_LISTED, 500)
        );
        assert_eq!(
            (behind.count(), behind.bytes_read(), behind.line_counts()),
            (many, many, lines(many, many))
        );
        assert_eq!(sources.name(MAX_LISTED as u32), "", "it is not listed");
    }

    #[test]
    fn the_digest_depends_on_each_source_and_their_order() {
        let digest = |sources: &[SourceProgress]| {
            sources
                .iter()
                .fold(String::new(), |d, a| next_digest(&d, &a.source.object))
        };
        let (a, b) = (account(1), account(2));
        let whole = digest(&[a.clone(), b.clone()]);
        assert_eq!(whole.len(), 64);
        assert_ne!(whole, digest(&[b.clone(), a.clone()]));
        let mut other = a.clone();
        other.source.object.bytes = Some(9);
        assert_ne!(whole, digest(&[other, b.clone()]));
        // Quotes around an ETag, and a version id, make no difference.
        let mut bare = a;
        bare.source.object.etag = Some("1".into());
        bare.source.object.version_id = Some("v".into());
        assert_eq!(whole, digest(&[bare, b]));
    }
}
