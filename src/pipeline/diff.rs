//! Between reading and writing, where records must be in order first: sorting them,
//! and the difference of two lists.
//!
//! What comes from the reading half, stretch by stretch, either goes through a
//! [`Sorter`] ([`sort`]) or is in order already; both are a [`Side`]. One side gives
//! its records ([`Walk`] with no old side), two give their difference: hashes of the new
//! one alone are put, those of the old one alone deleted, and those of both need
//! nothing, unless what their items take from their rows has changed.
//!
//! All of it blocks, on the disk or on a channel: it runs on a thread of its own.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::{Action, Place, Record};
use crate::base::row_attributes::Extra;
use crate::list::external_sort::sorter::{Reading, Sorted, Sorter};
use crate::pipeline::progress::counts::Books;
use crate::pipeline::progress::watermark::{HandOver, Stretch};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Records that are handed on at once.
const HAND_OVER: usize = 500;

/// Sorts what comes from `records` until that is closed.
///
/// # Errors
/// As [`Sorter::push`].
pub(crate) fn sort(mut records: mpsc::Receiver<HandOver>, mut sorter: Sorter) -> Result<Sorted> {
    let mut payload = Vec::new();
    while let Some(handed) = records.blocking_recv() {
        for record in &handed.records {
            payload.clear();
            if !record.extra.is_empty() {
                // A piece of JSON of one row, which has 64 KiB at most.
                let key = record.extra.key_json().len() as u32;
                let stored = record.extra.stored_bytes() as u32;
                payload.extend_from_slice(&key.to_le_bytes());
                payload.extend_from_slice(&stored.to_le_bytes());
                payload.extend_from_slice(record.extra.json());
            }
            sorter.push(&record.hash, record.place, &payload)?;
        }
    }
    sorter.finish()
}

/// Records in the order of their hashes, none twice.
#[derive(Debug)]
pub(crate) enum Side<'a> {
    /// They were sorted.
    Sorted(Reading<'a>),
    /// They come so.
    Stream(
        mpsc::Receiver<HandOver>,
        std::vec::IntoIter<Record>,
        Arc<Whole>,
    ),
}

/// Whether a list that comes as a stream was read to its end. A list that broke off is
/// none: what of it did not come is not gone from it.
#[derive(Debug, Default)]
pub(crate) struct Whole(AtomicBool);

impl Whole {
    /// It was. To be said before the stream is closed.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Side<'_> {
    /// Records that come in order from `records`, to whose end `whole` is to be set.
    pub(crate) fn stream(records: mpsc::Receiver<HandOver>, whole: Arc<Whole>) -> Side<'static> {
        Side::Stream(records, Vec::new().into_iter(), whole)
    }

    /// The next record. To `repeats` go the sources of others with its hash that are
    /// not counted yet.
    fn next(&mut self, repeats: &mut Vec<u32>) -> Result<Option<Record>> {
        match self {
            Side::Sorted(reading) => {
                let Some(entry) = reading.next()? else {
                    return Ok(None);
                };
                repeats.extend_from_slice(entry.repeats);
                Ok(Some(Record {
                    extra: extra(entry.payload)?,
                    ..Record::new(entry.hash, entry.place)
                }))
            }
            Side::Stream(records, now, whole) => loop {
                if let Some(record) = now.next() {
                    return Ok(Some(record));
                }
                match records.blocking_recv() {
                    Some(handed) => *now = handed.records.into_iter(),
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

/// What [`sort`] made a payload.
fn extra(payload: &[u8]) -> Result<Extra> {
    if payload.is_empty() {
        return Ok(Extra::default());
    }
    let (Some((key, rest)), true) = (payload.split_first_chunk::<4>(), payload.len() >= 8) else {
        return Err(Error::new(
            ErrorKind::Internal,
            "what was sorted came back otherwise",
        ));
    };
    let (stored, json) = rest.split_at(4);
    let stored = u32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
    let key = u32::from_le_bytes(*key);
    Ok(Extra::alone(json.to_vec(), key as usize, stored as usize))
}

/// A hash of either side.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its item is to be put. With the place of the old one, where that is there too.
    Put(Record, Option<Place>),
    /// Its item is to be deleted.
    Delete(Record),
    /// It stands in both, alike: here and there.
    Same(Place, Place),
}

/// One side's records, or the difference of two. See the [module](self).
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    new: Side<'a>,
    old: Option<Side<'a>>,
    heads: [Option<Record>; 2],
    begun: bool,
    /// Sources of repeats that were found, until they are taken.
    pub repeats: Vec<u32>,
}

impl<'a> Walk<'a> {
    /// Goes through `new`, beside `old` where there is one.
    pub(crate) fn new(new: Side<'a>, old: Option<Side<'a>>) -> Walk<'a> {
        Walk {
            new,
            old,
            heads: [None, None],
            begun: false,
            repeats: Vec::new(),
        }
    }

    /// The next hash; nothing at the end of both.
    ///
    /// # Errors
    /// When a temporary file cannot be read, or a stream ends before its list does.
    #[allow(clippy::should_implement_trait)] // it can fail
    pub(crate) fn next(&mut self) -> Result<Option<Step>> {
        if !self.begun {
            self.begun = true;
            self.fill(0)?;
            self.fill(1)?;
        }
        let order = match &self.heads {
            [None, None] => return Ok(None),
            [Some(_), None] => std::cmp::Ordering::Less,
            [None, Some(_)] => std::cmp::Ordering::Greater,
            [Some(new), Some(old)] => new.hash.as_bytes().cmp(old.hash.as_bytes()),
        };
        let new = match order.is_le() {
            true => self.take(0)?,
            false => None,
        };
        let old = match order.is_ge() {
            true => self.take(1)?,
            false => None,
        };
        Ok(match (new, old) {
            (Some(new), Some(old)) if new.extra.json() == old.extra.json() => {
                Some(Step::Same(new.place, old.place))
            }
            (Some(new), old) => Some(Step::Put(new, old.map(|old| old.place))),
            (None, Some(old)) => Some(Step::Delete(Record {
                action: Action::Delete,
                ..old
            })),
            (None, None) => None,
        })
    }

    fn take(&mut self, side: usize) -> Result<Option<Record>> {
        let taken = self.heads[side].take();
        self.fill(side)?;
        Ok(taken)
    }

    fn fill(&mut self, side: usize) -> Result<()> {
        let from = match side {
            0 => Some(&mut self.new),
            _ => self.old.as_mut(),
        };
        if let Some(from) = from {
            self.heads[side] = from.next(&mut self.repeats)?;
        }
        Ok(())
    }
}

/// Hands records on in stretches, each of which says how many came before its end.
#[derive(Debug)]
pub(crate) struct Handing<'a> {
    to: &'a mpsc::Sender<HandOver>,
    records: Vec<Record>,
    /// Lines of the stretch that are settled already.
    settled: Books,
    /// Records before the next.
    position: u64,
}

impl<'a> Handing<'a> {
    /// Hands on to `to`, from the beginning.
    pub(crate) fn new(to: &'a mpsc::Sender<HandOver>) -> Handing<'a> {
        Handing {
            to,
            records: Vec::with_capacity(HAND_OVER),
            settled: Books::default(),
            position: 0,
        }
    }

    /// Records before the next.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// A record that an earlier run has settled.
    pub(crate) fn pass(&mut self) {
        self.position += 1;
    }

    /// Lines that are settled, and stand before the next record.
    pub(crate) fn settled(&mut self, books: Books) {
        self.settled += books;
    }

    /// The next record; false when nobody takes it any more.
    pub(crate) fn push(&mut self, record: Record) -> bool {
        self.records.push(record);
        self.position += 1;
        self.records.len() < HAND_OVER || self.flush()
    }

    /// Hands on what there is; false when nobody takes it any more.
    pub(crate) fn flush(&mut self) -> bool {
        let mut books = std::mem::take(&mut self.settled);
        books.lines += self.records.len() as u64;
        let handed = HandOver {
            stretch: Stretch {
                end: Place {
                    source: 0,
                    line: self.position,
                    byte: 0,
                },
                books,
            },
            records: std::mem::replace(&mut self.records, Vec::with_capacity(HAND_OVER)),
        };
        self.to.blocking_send(handed).is_ok()
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
        let place = Place {
            source: 0,
            line,
            byte: line * 33,
        };
        Record {
            extra: Extra::alone(json, 0, 3),
            ..Record::new(Hash::from_bytes(&[n; 16]).expect("16 bytes"), place)
        }
    }

    /// A channel that gives these, some at once.
    fn channel(records: &[Record]) -> mpsc::Receiver<HandOver> {
        let (to, from) = mpsc::channel(1000);
        for part in records.chunks(3) {
            to.try_send(part.to_vec().into()).expect("there is room");
        }
        from
    }

    /// A stream of these, that was read to its end or broke off.
    fn streamed(records: &[Record], to_the_end: bool) -> Side<'static> {
        let whole = Arc::<Whole>::default();
        if to_the_end {
            whole.set();
        }
        Side::stream(channel(records), whole)
    }

    fn sorted(records: &[Record]) -> Sorted {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SorterOptions {
            memory: 300,
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

        /// The difference of two lists is that of two maps, however they came.
        #[test]
        fn it_is_the_difference_of_two_maps(
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
                    (Some(a), Some(b)) if a.0 == b.0 => Some(Step::Same(put(a).place, put(b).place)),
                    (Some(a), b) => Some(Step::Put(put(a), b.map(|b| put(b).place))),
                    (None, Some(b)) => Some(Step::Delete(Record { action: Action::Delete, ..put(b) })),
                    (None, None) => None,
                });
            }
            let (mut a, mut b) = (sorted(&list(&new)), sorted(&list(&old)));
            let in_order = |map: &BTreeMap<u8, (u8, u64)>| -> Vec<Record> {
                map.iter().map(|(n, (x, line))| record(*n, *x, *line)).collect()
            };
            let mut walk = match stream {
                true => Walk::new(streamed(&in_order(&news), true), Some(streamed(&in_order(&olds), true))),
                false => Walk::new(Side::Sorted(a.read().expect("read")), Some(Side::Sorted(b.read().expect("read")))),
            };
            let mut got = Vec::new();
            while let Some(step) = walk.next().expect("a step") {
                got.push(step);
            }
            prop_assert_eq!(got, expected);
            if !stream {
                let dropped = walk.repeats.len() as u64;
                let found = a.dropped().values().chain(b.dropped().values()).sum::<u64>() + dropped;
                prop_assert_eq!(found, (old.len() + new.len() - olds.len() - news.len()) as u64);
            }
        }
    }

    #[test]
    fn of_a_list_that_broke_off_nothing_is_gone() {
        let all = list(&[(1, 0), (2, 0), (3, 0), (4, 0)]);
        let mut walk = Walk::new(streamed(&all[..2], false), Some(streamed(&all, true)));
        let step = walk.next().expect("a step");
        assert_eq!(step, Some(Step::Same(all[0].place, all[0].place)));
        let error = walk.next().expect_err("it may stand in what did not come");
        assert_eq!(error.exit_status(), 1);
    }

    #[test]
    fn records_are_handed_on_in_stretches_that_know_their_place() {
        let (to, mut from) = mpsc::channel(10);
        let mut handing = Handing::new(&to);
        handing.pass();
        handing.settled(Books {
            lines: 2,
            duplicates: 2,
            ..Books::default()
        });
        for n in 0..HAND_OVER as u64 {
            assert!(handing.push(record(1, 0, n)));
        }
        assert!(handing.push(record(2, 0, 9)) && handing.flush());
        let first = from.try_recv().expect("handed on");
        assert_eq!(first.stretch.end.line, HAND_OVER as u64 + 1);
        assert_eq!(first.stretch.books.lines, HAND_OVER as u64 + 2);
        let last = from.try_recv().expect("handed on");
        assert_eq!(
            (last.records.len(), last.stretch.end.line),
            (1, HAND_OVER as u64 + 2)
        );
        drop(from);
        assert!(!handing.flush(), "nobody takes it");
    }
}
