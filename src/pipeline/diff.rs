//! Stage between reader and writer for records in hash order: sorting, and the
//! difference of two lists.
//!
//! Batches of the reader either go through a [`Sorter`] ([`sort`]) or are in order
//! already; both are a [`SortedInput`]. [`MergeDiff`] merges one or two of them. One input
//! yields its records. Two inputs yield their difference: a hash only in the new list is
//! put, a hash only in the old list is deleted. A hash in both lists is put only if its row
//! attributes have changed.
//!
//! All of it blocks on the disk or on a channel, so it needs a separate thread.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::{Action, Position, Record};
use crate::base::row_attributes::RowAttributes;
use crate::list::external_sort::sorter::{Sorted, SortedReader, Sorter};
use crate::pipeline::progress::counts::LineCounts;
use crate::pipeline::progress::watermark::{RecordBatch, Segment};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

const BATCH_RECORDS: usize = 500;

/// Sorts all `records` until the channel is closed.
///
/// # Errors
/// As [`Sorter::push`].
pub(crate) fn sort(mut records: mpsc::Receiver<RecordBatch>, mut sorter: Sorter) -> Result<Sorted> {
    let mut payload = Vec::new();
    while let Some(batch) = records.blocking_recv() {
        for record in &batch.records {
            payload.clear();
            if !record.attributes.is_empty() {
                // The JSON of one row has at most 64 KiB, so the lengths fit.
                let key = record.attributes.key_json().len() as u32;
                let stored = record.attributes.stored_bytes() as u32;
                payload.extend_from_slice(&key.to_le_bytes());
                payload.extend_from_slice(&stored.to_le_bytes());
                payload.extend_from_slice(record.attributes.json());
            }
            sorter.push(&record.hash, record.position, &payload)?;
        }
    }
    sorter.finish()
}

/// Records in the order of their hashes, without duplicates.
#[derive(Debug)]
pub(crate) enum SortedInput<'a> {
    /// Records sorted on disk.
    Sorted(SortedReader<'a>),
    /// Records of a list that is in order already.
    Stream(
        mpsc::Receiver<RecordBatch>,
        std::vec::IntoIter<Record>,
        Arc<Complete>,
    ),
}

/// Flag that a streamed list was read to its end. Until it is set, a hash that did not
/// arrive must not count as deleted.
#[derive(Debug, Default)]
pub(crate) struct Complete(AtomicBool);

impl Complete {
    /// Sets the flag. Call it before the stream is closed.
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl SortedInput<'_> {
    /// Input from `records`, which are in order. `whole` is set at their end.
    pub(crate) fn from_stream(
        records: mpsc::Receiver<RecordBatch>,
        whole: Arc<Complete>,
    ) -> SortedInput<'static> {
        SortedInput::Stream(records, Vec::new().into_iter(), whole)
    }

    /// The next record; `None` at the end. Adds the sources of its duplicates that are not
    /// counted yet to `duplicates`.
    fn next(&mut self, duplicates: &mut Vec<u32>) -> Result<Option<Record>> {
        match self {
            SortedInput::Sorted(reading) => {
                let Some(entry) = reading.next()? else {
                    return Ok(None);
                };
                duplicates.extend_from_slice(entry.duplicates);
                Ok(Some(Record {
                    attributes: row_attributes(entry.payload)?,
                    ..Record::new(entry.hash, entry.position)
                }))
            }
            SortedInput::Stream(records, now, whole) => loop {
                if let Some(record) = now.next() {
                    return Ok(Some(record));
                }
                match records.blocking_recv() {
                    Some(batch) => *now = batch.records.into_iter(),
                    None if whole.0.load(Ordering::Acquire) => return Ok(None),
                    None => {
                        return Err(Error::new(
                            ErrorKind::Read,
                            "a list was not read to its end",
                        ));
                    }
                }
            },
        }
    }
}

/// Decodes a payload of [`sort`].
fn row_attributes(payload: &[u8]) -> Result<RowAttributes> {
    if payload.is_empty() {
        return Ok(RowAttributes::default());
    }
    let (Some((key, rest)), true) = (payload.split_first_chunk::<4>(), payload.len() >= 8) else {
        return Err(Error::new(
            ErrorKind::Internal,
            "a sorted record is damaged; this is a fault of hashferry",
        ));
    };
    let (stored, json) = rest.split_at(4);
    let stored = u32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
    let key = u32::from_le_bytes(*key);
    Ok(RowAttributes::from_json(
        json.to_vec(),
        key as usize,
        stored as usize,
    ))
}

/// Change that a hash requires.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Put the item. With the position in the old list; `None` if it is not there.
    Put(Record, Option<Position>),
    /// Delete the item.
    Delete(Record),
    /// No change: positions in the new and in the old list.
    Same(Position, Position),
}

/// Merge of one or two inputs. See the [module](self).
#[derive(Debug)]
pub(crate) struct MergeDiff<'a> {
    new: SortedInput<'a>,
    old: Option<SortedInput<'a>>,
    heads: [Option<Record>; 2],
    started: bool,
    /// Sources of the duplicates found; the caller drains it.
    pub duplicates: Vec<u32>,
}

impl<'a> MergeDiff<'a> {
    /// The records of `new`, or its difference to `old`.
    pub(crate) fn new(new: SortedInput<'a>, old: Option<SortedInput<'a>>) -> MergeDiff<'a> {
        MergeDiff {
            new,
            old,
            heads: [None, None],
            started: false,
            duplicates: Vec::new(),
        }
    }

    /// The change for the next hash; `None` at the end of both inputs.
    ///
    /// # Errors
    /// If a temporary file cannot be read, or a stream ends before its list does.
    #[allow(clippy::should_implement_trait)] // it can fail
    pub(crate) fn next(&mut self) -> Result<Option<Change>> {
        if !self.started {
            self.started = true;
            self.fill_head(0)?;
            self.fill_head(1)?;
        }
        let order = match &self.heads {
            [None, None] => return Ok(None),
            [Some(_), None] => std::cmp::Ordering::Less,
            [None, Some(_)] => std::cmp::Ordering::Greater,
            [Some(new), Some(old)] => new.hash.as_bytes().cmp(old.hash.as_bytes()),
        };
        let new = match order.is_le() {
            true => self.take_head(0)?,
            false => None,
        };
        let old = match order.is_ge() {
            true => self.take_head(1)?,
            false => None,
        };
        Ok(match (new, old) {
            (Some(new), Some(old)) if new.attributes.json() == old.attributes.json() => {
                Some(Change::Same(new.position, old.position))
            }
            (Some(new), old) => Some(Change::Put(new, old.map(|old| old.position))),
            (None, Some(old)) => Some(Change::Delete(Record {
                action: Action::Delete,
                ..old
            })),
            (None, None) => None,
        })
    }

    fn take_head(&mut self, side: usize) -> Result<Option<Record>> {
        let taken = self.heads[side].take();
        self.fill_head(side)?;
        Ok(taken)
    }

    fn fill_head(&mut self, side: usize) -> Result<()> {
        let from = match side {
            0 => Some(&mut self.new),
            _ => self.old.as_mut(),
        };
        if let Some(from) = from {
            self.heads[side] = from.next(&mut self.duplicates)?;
        }
        Ok(())
    }
}

/// Sender of records in segments. The end of a segment is a number of records.
#[derive(Debug)]
pub(crate) struct SegmentSender<'a> {
    sender: &'a mpsc::Sender<RecordBatch>,
    records: Vec<Record>,
    /// Counts of the segment's lines that have an outcome already.
    settled_counts: LineCounts,
    /// Number of records before the next one.
    position: u64,
}

impl<'a> SegmentSender<'a> {
    /// A sender to `to`, at position 0.
    pub(crate) fn new(sender: &'a mpsc::Sender<RecordBatch>) -> SegmentSender<'a> {
        SegmentSender {
            sender,
            records: Vec::with_capacity(BATCH_RECORDS),
            settled_counts: LineCounts::default(),
            position: 0,
        }
    }

    /// Number of records before the next one.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Skips a record that an earlier run has completed.
    pub(crate) fn skip(&mut self) {
        self.position += 1;
    }

    /// Adds lines with an outcome to the next segment.
    pub(crate) fn add_settled(&mut self, line_counts: LineCounts) {
        self.settled_counts += line_counts;
    }

    /// Adds the next record; returns false if the channel is closed.
    pub(crate) fn push(&mut self, record: Record) -> bool {
        self.records.push(record);
        self.position += 1;
        self.records.len() < BATCH_RECORDS || self.flush()
    }

    /// Sends the current segment; returns false if the channel is closed.
    pub(crate) fn flush(&mut self) -> bool {
        let mut line_counts = std::mem::take(&mut self.settled_counts);
        line_counts.lines += self.records.len() as u64;
        let batch = RecordBatch {
            segment: Segment {
                end: Position {
                    source: 0,
                    line: self.position,
                    byte: 0,
                },
                line_counts,
            },
            records: std::mem::replace(&mut self.records, Vec::with_capacity(BATCH_RECORDS)),
        };
        self.sender.blocking_send(batch).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{Algorithm, Hash};
    use crate::list::external_sort::sorter::SorterOptions;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn record(n: u8, extra: u8, line: u64) -> Record {
        let json = match extra {
            0 => Vec::new(),
            n => format!(",\"x\":{{\"N\":\"{n}\"}}").into_bytes(),
        };
        let place = Position {
            source: 0,
            line,
            byte: line * 33,
        };
        Record {
            attributes: RowAttributes::from_json(json, 0, 3),
            ..Record::new(Hash::from_bytes(&[n; 16]).expect("16 bytes"), place)
        }
    }

    /// A channel with these records, in batches of three.
    fn channel(records: &[Record]) -> mpsc::Receiver<RecordBatch> {
        let (to, from) = mpsc::channel(1000);
        for part in records.chunks(3) {
            to.try_send(part.to_vec().into()).expect("there is room");
        }
        from
    }

    /// A stream of these records that was read to its end, or not.
    fn streamed(records: &[Record], to_the_end: bool) -> SortedInput<'static> {
        let whole = Arc::<Complete>::default();
        if to_the_end {
            whole.mark();
        }
        SortedInput::from_stream(channel(records), whole)
    }

    fn sorted(records: &[Record]) -> Sorted {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SorterOptions {
            buffer_bytes: 300,
            fan_in: 3,
            ..SorterOptions::in_folder(folder.path())
        };
        sort(channel(records), Sorter::new(Algorithm::Md5, options)).expect("sorted")
    }

    fn list(rows: &[(u8, u8)]) -> Vec<Record> {
        let each = rows.iter().enumerate();
        each.map(|(line, (n, x))| record(*n, *x, line as u64 + 1))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The difference is the same for sorted and for streamed lists.
        #[test]
        fn the_difference_of_two_lists_equals_that_of_two_maps(
            old in prop::collection::vec((0u8..30, 0u8..3), 0..40),
            new in prop::collection::vec((0u8..30, 0u8..3), 0..40),
            stream in any::<bool>(),
        ) {
            let map = |rows: &[(u8, u8)]| {
                let mut map = BTreeMap::new();
                for (line, (n, x)) in rows.iter().enumerate() {
                    map.entry(*n).or_insert((*x, line as u64 + 1));
                }
                map
            };
            let (olds, news) = (map(&old), map(&new));
            let mut expected = Vec::new();
            for n in 0u8..30 {
                let put = |(x, line): &(u8, u64)| record(n, *x, *line);
                expected.extend(match (news.get(&n), olds.get(&n)) {
                    (Some(a), Some(b)) if a.0 == b.0 => Some(Change::Same(put(a).position, put(b).position)),
                    (Some(a), b) => Some(Change::Put(put(a), b.map(|b| put(b).position))),
                    (None, Some(b)) => Some(Change::Delete(Record { action: Action::Delete, ..put(b) })),
                    (None, None) => None,
                });
            }
            let (mut a, mut b) = (sorted(&list(&new)), sorted(&list(&old)));
            let in_order = |map: &BTreeMap<u8, (u8, u64)>| -> Vec<Record> {
                map.iter().map(|(n, (x, line))| record(*n, *x, *line)).collect()
            };
            let mut walk = match stream {
                true => MergeDiff::new(streamed(&in_order(&news), true), Some(streamed(&in_order(&olds), true))),
                false => MergeDiff::new(SortedInput::Sorted(a.read().expect("read")), Some(SortedInput::Sorted(b.read().expect("read")))),
            };
            let mut got = Vec::new();
            while let Some(step) = walk.next().expect("a step") {
                got.push(step);
            }
            prop_assert_eq!(got, expected);
            if !stream {
                let dropped = walk.duplicates.len() as u64;
                let found = a.duplicates().values().chain(b.duplicates().values()).sum::<u64>() + dropped;
                prop_assert_eq!(found, (old.len() + new.len() - olds.len() - news.len()) as u64);
            }
        }
    }

    #[test]
    fn a_list_that_ends_early_is_an_error_and_deletes_nothing() {
        let all = list(&[(1, 0), (2, 0), (3, 0), (4, 0)]);
        let mut walk = MergeDiff::new(streamed(&all[..2], false), Some(streamed(&all, true)));
        let step = walk.next().expect("a step");
        assert_eq!(step, Some(Change::Same(all[0].position, all[0].position)));
        let error = walk.next().expect_err("it may be in the missing part");
        assert_eq!(error.exit_status(), 1);
    }

    #[test]
    fn records_are_sent_in_segments_that_end_at_their_position() {
        let (to, mut from) = mpsc::channel(10);
        let mut handing = SegmentSender::new(&to);
        handing.skip();
        handing.add_settled(LineCounts {
            lines: 2,
            duplicates: 2,
            ..LineCounts::default()
        });
        for n in 0..BATCH_RECORDS as u64 {
            assert!(handing.push(record(1, 0, n)));
        }
        assert!(handing.push(record(2, 0, 9)) && handing.flush());
        let first = from.try_recv().expect("sent");
        assert_eq!(first.segment.end.line, BATCH_RECORDS as u64 + 1);
        assert_eq!(first.segment.line_counts.lines, BATCH_RECORDS as u64 + 2);
        let last = from.try_recv().expect("sent");
        assert_eq!(
            (last.records.len(), last.segment.end.line),
            (1, BATCH_RECORDS as u64 + 2)
        );
        drop(from);
        assert!(!handing.flush(), "the channel is closed");
    }
}
