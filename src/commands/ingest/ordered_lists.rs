//! The lists of a run in the order of their hashes: sorted on disk, or read side by side
//! where they lie in order.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::thousands;
use crate::base::record::LANE;
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::settle::Settling;
use crate::dynamodb::column_attributes::Columns;
use crate::list::external_sort::sorter::{Sorted, Sorter, SorterOptions, disk_bytes};
use crate::list::objects::Objects;
use crate::list::prefetch::Ahead;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::diff::{Side, Walk, Whole, sort};
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{Meters, Settled};
use crate::pipeline::progress::sources::Accounts;
use crate::pipeline::progress::watermark::{HandOver, LowWater};
use crate::pipeline::reader::{Beginning, HAND_OVERS, Reader};
use crate::pipeline::rejects::{MaxRejects, Rejects};
use crate::source::sources::Sources;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// What a run of this kind works with.
pub(super) struct Arranged<'a> {
    pub(super) ingest: &'a Ingest,
    pub(super) algorithm: Algorithm,
    pub(super) columns: &'a Columns,
    pub(super) rejects: &'a Rejects,
    pub(super) water: &'a Arc<LowWater>,
    /// What an earlier run had settled, which is taken up.
    pub(super) earlier: Option<&'a Checkpoint>,
    /// The deletes that are held back, once it is known that they are.
    pub(super) held_back: &'a OnceLock<u64>,
}

/// What is to be walked through in order.
pub(super) enum Lists {
    /// They were sorted: the new one, and the old one of a refresh.
    Sorted(Box<(Sorted, Option<Sorted>)>),
    /// They lie in order and are read again.
    InOrder,
}

/// How a list is read.
pub(super) struct Reading<'a> {
    pub(super) lane: u32,
    pub(super) distinct: Distinct,
    pub(super) meters: &'a Meters,
    pub(super) rejects: &'a Rejects,
    pub(super) accounts: &'a Accounts,
    pub(super) max_rejects: MaxRejects,
}

impl Arranged<'_> {
    /// Reads and sorts a list; nothing when the run was stopped.
    pub(super) async fn sort(
        &self,
        lane: u32,
        sources: &Sources,
        first: Option<(Beginning, Ahead)>,
    ) -> Result<Option<Sorted>> {
        let folder = self.ingest.with.unpack.work.path();
        let length = first
            .as_ref()
            .and_then(|(b, rest)| Some(b.opened.text_length()? + rest.bytes_to_come()?));
        let width = self.algorithm.bytes() as u64;
        // A line of text has two digits a byte, and its end.
        let needs = length.map(|bytes| disk_bytes(self.algorithm, bytes / (width * 2 + 1), 0));
        let needs = needs.map_or_else(
            || format!("{} bytes a hash", disk_bytes(self.algorithm, 1, 0)),
            |needs| {
                format!(
                    "some {}, as far as can be told",
                    indicatif::HumanBytes(needs)
                )
            },
        );
        tracing::info!(
            "sorting in {}: it takes up to twice {needs}, and what items take from their rows",
            folder.display()
        );
        let sorter = Sorter::new(self.algorithm, SorterOptions::in_folder(folder));
        let (to, from) = mpsc::channel(HAND_OVERS);
        let sorting = tokio::task::spawn_blocking(move || sort(from, sorter));
        let reading = Reading {
            lane,
            distinct: Distinct::Exact,
            meters: self.ingest.watch.meters(),
            rejects: self.rejects,
            accounts: self.water.accounts(),
            max_rejects: self.ingest.with.max_rejects,
        };
        let read = Box::pin(self.read(reading, sources, first, to));
        let (read, sorted) = tokio::join!(read, sorting);
        let sorted = sorted.map_err(broken)??;
        if !read? {
            return Ok(None);
        }
        self.settle(&sorted);
        tracing::info!(
            "{} hashes are sorted, with {} on disk",
            thousands(sorted.entries() as f64),
            indicatif::HumanBytes(sorted.disk_bytes()),
        );
        Ok(Some(sorted))
    }

    /// Enters the repeats that were found while sorting.
    fn settle(&self, sorted: &Sorted) {
        let mut settling = Settling::new(self.ingest.watch.clone(), self.water.clone());
        for (source, count) in sorted.dropped() {
            settling.enter(*source, Settled::Duplicate, *count);
        }
    }

    /// Walks through both lists, which lie in order and were counted before.
    pub(super) async fn again<T: Send + 'static>(
        &self,
        walk: impl FnOnce(Walk<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (meters, rejects) = (Meters::default(), Rejects::known());
        let accounts = Accounts::again(self.water.accounts());
        let quiet = |lane| Reading {
            lane,
            distinct: Distinct::Sorted,
            meters: &meters,
            rejects: &rejects,
            accounts: &accounts,
            max_rejects: MaxRejects::Count(u64::MAX),
        };
        Box::pin(self.both(quiet(1), quiet(0), walk)).await
    }

    /// Reads the new and the old list side by side, and walks through them as they come.
    pub(super) async fn both<T: Send + 'static>(
        &self,
        new: Reading<'_>,
        old: Reading<'_>,
        walk: impl FnOnce(Walk<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (to_new, from_new) = mpsc::channel(HAND_OVERS);
        let (to_old, from_old) = mpsc::channel(HAND_OVERS);
        let whole = [Arc::<Whole>::default(), Arc::default()];
        let new_side = Side::stream(from_new, whole[0].clone());
        let old_side = Side::stream(from_old, whole[1].clone());
        let walked = tokio::task::spawn_blocking(move || walk(Walk::new(new_side, Some(old_side))));
        let [new_whole, old_whole] = &whole;
        let read = async |how, sources, to: mpsc::Sender<HandOver>, whole: &Whole| {
            let read = Box::pin(self.read(how, sources, None, to.clone())).await;
            if let Ok(true) = read {
                whole.set();
            }
            // Only now the stream ends.
            drop(to);
            read
        };
        let (new, old, walked) = tokio::join!(
            read(new, &self.ingest.sources, to_new, new_whole),
            read(old, &self.ingest.from, to_old, old_whole),
            walked,
        );
        let walked = walked.map_err(broken)?;
        // Where a list was not read to its end, that is why the walk was not either.
        let (new, old) = (new?, old?);
        match new && old {
            true => walked.map(Some),
            false => Ok(None),
        }
    }

    /// Reads a list to `to`; false when the run was stopped.
    async fn read(
        &self,
        how: Reading<'_>,
        sources: &Sources,
        first: Option<(Beginning, Ahead)>,
        to: mpsc::Sender<HandOver>,
    ) -> Result<bool> {
        let ingest = self.ingest;
        let (beginning, mut ahead) = match first {
            Some(first) => first,
            None => {
                let objects = Objects::new(sources, &ingest.aws);
                let with = &ingest.with;
                let mut ahead = Ahead::new(objects, &ingest.aws, &with.unpack, &with.form);
                let opened = tokio::select! {
                    biased;
                    () = with.stop.requested() => return Ok(false),
                    opened = ahead.next() => opened?,
                };
                let Some(opened) = opened else {
                    return Err(Error::usage(
                        "there is nothing to read: the sources name no object",
                    ));
                };
                (Beginning::of(opened), ahead)
            }
        };
        let reader = Reader {
            algorithm: self.algorithm,
            distinct: how.distinct,
            columns: self.columns,
            max_rejects: how.max_rejects,
            meters: how.meters,
            rejects: how.rejects,
            accounts: how.accounts,
            records: to,
        };
        let beginning = Beginning {
            number: how.lane * LANE,
            ..beginning
        };
        reader.run(beginning, &mut ahead, &ingest.with.stop).await
    }
}

pub(super) fn broken(e: tokio::task::JoinError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "putting the hashes in order broke down; this is a fault of hashferry",
    )
    .because(e)
}
