//! Lists of a run in hash order: sorted on disk, or read side by side if they are sorted
//! already.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::human::format_number;
use crate::base::record::SECOND_LIST_START;
use crate::commands::ingest::options::Ingest;
use crate::commands::ingest::outcome_batcher::OutcomeBatcher;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::list::external_sort::sorter::{Sorted, Sorter, SorterOptions, disk_bytes};
use crate::list::objects::Objects;
use crate::list::prefetch::Prefetch;
use crate::pipeline::dedup::Distinct;
use crate::pipeline::diff::{Complete, MergeDiff, SortedInput, sort};
use crate::pipeline::progress::checkpoint::Checkpoint;
use crate::pipeline::progress::counts::{Counters, LineOutcome};
use crate::pipeline::progress::sources::SourceTracker;
use crate::pipeline::progress::watermark::{RecordBatch, WatermarkTracker};
use crate::pipeline::reader::{CHANNEL_CAPACITY, Reader, StartPosition};
use crate::pipeline::rejects::{MaxRejects, Rejects};
use crate::source::sources::Sources;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// A run that writes records in the order of their hashes.
pub(super) struct OrderedRun<'a> {
    pub(super) ingest: &'a Ingest,
    pub(super) algorithm: Algorithm,
    pub(super) columns: &'a ColumnAttributes,
    pub(super) rejects: &'a Rejects,
    pub(super) watermark: &'a Arc<WatermarkTracker>,
    /// Checkpoint to resume; `None` for a new run.
    pub(super) resumed_from: Option<&'a Checkpoint>,
    /// Number of deletes held back; set only if they are.
    pub(super) held_back_deletes: &'a OnceLock<u64>,
}

/// Lists ready to be merged in order.
pub(super) enum Lists {
    /// Sorted on disk: the new list, and the old list of a refresh.
    Sorted(Box<(Sorted, Option<Sorted>)>),
    /// In order already; to be read again.
    InOrder,
}

/// Options for reading a list.
pub(super) struct ListReadOptions<'a> {
    /// 1 for the new list of a refresh, else 0.
    pub(super) list_index: u32,
    pub(super) distinct: Distinct,
    pub(super) counters: &'a Counters,
    pub(super) rejects: &'a Rejects,
    pub(super) sources: &'a SourceTracker,
    pub(super) max_rejects: MaxRejects,
}

impl OrderedRun<'_> {
    /// Reads and sorts a list; `None` if the run was stopped.
    pub(super) async fn sort(
        &self,
        lane: u32,
        sources: &Sources,
        first: Option<(StartPosition, Prefetch)>,
    ) -> Result<Option<Sorted>> {
        let folder = self.ingest.options.read.unpack.work_dir.path();
        let length = first
            .as_ref()
            .and_then(|(b, rest)| Some(b.list.text_length()? + rest.remaining_bytes()?));
        let width = self.algorithm.bytes() as u64;
        // A line of text has two digits per byte, and a newline.
        let needs = length.map(|bytes| disk_bytes(self.algorithm, bytes / (width * 2 + 1), 0));
        let needs = needs.map_or_else(
            || format!("{} bytes per hash", disk_bytes(self.algorithm, 1, 0)),
            |needs| format!("some {} (estimate)", indicatif::HumanBytes(needs)),
        );
        tracing::info!(
            "sorting in {}: it needs up to twice {needs}, plus the attributes from rows",
            folder.display()
        );
        let sorter = Sorter::new(self.algorithm, SorterOptions::in_folder(folder));
        let (to, from) = mpsc::channel(CHANNEL_CAPACITY);
        let sorting = tokio::task::spawn_blocking(move || sort(from, sorter));
        let reading = ListReadOptions {
            list_index: lane,
            distinct: Distinct::Exact,
            counters: self.ingest.watch.counters(),
            rejects: self.rejects,
            sources: self.watermark.sources(),
            max_rejects: self.ingest.options.read.max_rejects,
        };
        let read = Box::pin(self.read_list(reading, sources, first, to));
        let (read, sorted) = tokio::join!(read, sorting);
        let sorted = sorted.map_err(task_failed)??;
        if !read? {
            return Ok(None);
        }
        self.record_sort_duplicates(&sorted);
        tracing::info!(
            "sorted {} hashes, {} on disk",
            format_number(sorted.entries() as f64),
            indicatif::HumanBytes(sorted.disk_bytes()),
        );
        Ok(Some(sorted))
    }

    /// Records the duplicates found while sorting.
    fn record_sort_duplicates(&self, sorted: &Sorted) {
        let mut settling = OutcomeBatcher::new(self.ingest.watch.clone(), self.watermark.clone());
        for (source, count) in sorted.duplicates() {
            settling.record(*source, LineOutcome::Duplicate, *count);
        }
    }

    /// Reads both lists a second time, without counting, and merges them.
    pub(super) async fn read_again<T: Send + 'static>(
        &self,
        walk: impl FnOnce(MergeDiff<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (counters, rejects) = (Counters::default(), Rejects::counted_only());
        let sources = SourceTracker::for_second_read(self.watermark.sources());
        let options = |lane| ListReadOptions {
            list_index: lane,
            distinct: Distinct::Sorted,
            counters: &counters,
            rejects: &rejects,
            sources: &sources,
            max_rejects: MaxRejects::Count(u64::MAX),
        };
        Box::pin(self.read_both(options(1), options(0), walk)).await
    }

    /// Reads the new and the old list side by side and merges them. `None` if the run was
    /// stopped.
    pub(super) async fn read_both<T: Send + 'static>(
        &self,
        new: ListReadOptions<'_>,
        old: ListReadOptions<'_>,
        walk: impl FnOnce(MergeDiff<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (to_new, from_new) = mpsc::channel(CHANNEL_CAPACITY);
        let (to_old, from_old) = mpsc::channel(CHANNEL_CAPACITY);
        let whole = [Arc::<Complete>::default(), Arc::default()];
        let new_side = SortedInput::from_stream(from_new, whole[0].clone());
        let old_side = SortedInput::from_stream(from_old, whole[1].clone());
        let walked =
            tokio::task::spawn_blocking(move || walk(MergeDiff::new(new_side, Some(old_side))));
        let [new_whole, old_whole] = &whole;
        let read = async |options, sources, to: mpsc::Sender<RecordBatch>, whole: &Complete| {
            let read = Box::pin(self.read_list(options, sources, None, to.clone())).await;
            if let Ok(true) = read {
                whole.mark();
            }
            // End the stream only after the flag is set.
            drop(to);
            read
        };
        let (new, old, walked) = tokio::join!(
            read(new, &self.ingest.sources, to_new, new_whole),
            read(old, &self.ingest.old_sources, to_old, old_whole),
            walked,
        );
        let walked = walked.map_err(task_failed)?;
        // An error of a reader is the cause of an error of the merge, so it comes first.
        let (new, old) = (new?, old?);
        match new && old {
            true => walked.map(Some),
            false => Ok(None),
        }
    }

    /// Reads a list and sends its records to `to`. Returns false if the run was stopped.
    async fn read_list(
        &self,
        options: ListReadOptions<'_>,
        sources: &Sources,
        first: Option<(StartPosition, Prefetch)>,
        to: mpsc::Sender<RecordBatch>,
    ) -> Result<bool> {
        let ingest = self.ingest;
        let (start, mut prefetch) = match first {
            Some(first) => first,
            None => {
                let objects = Objects::new(sources, &ingest.aws);
                let run_options = &ingest.options;
                let mut prefetch = Prefetch::new(
                    objects,
                    &ingest.aws,
                    &run_options.read.unpack,
                    &run_options.read.form,
                );
                let opened = tokio::select! {
                    biased;
                    () = run_options.run.stop.requested() => return Ok(false),
                    opened = prefetch.next() => opened?,
                };
                let Some(opened) = opened else {
                    return Err(Error::usage(
                        "there is nothing to read: the sources name no object",
                    ));
                };
                (StartPosition::at_start(opened), prefetch)
            }
        };
        let reader = Reader {
            algorithm: self.algorithm,
            distinct: options.distinct,
            columns: self.columns,
            max_rejects: options.max_rejects,
            counters: options.counters,
            rejects: options.rejects,
            sources: options.sources,
            records: to,
        };
        let start = StartPosition {
            source: options.list_index * SECOND_LIST_START,
            ..start
        };
        reader
            .run(start, &mut prefetch, &ingest.options.run.stop)
            .await
    }
}

pub(super) fn task_failed(e: tokio::task::JoinError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "the task that orders the hashes failed; this is a fault of hashferry",
    )
    .with_source(e)
}
