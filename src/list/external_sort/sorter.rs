//! Sorts more hashes than fit in memory and drops duplicates.
//!
//! This is an external merge sort. Entries (hash, position, payload) fill a buffer of a
//! given size. A full buffer is sorted and written to a temporary file, a run. Once
//! a level has [`FAN_IN`] runs, they are merged. Of duplicates the first in the input is kept;
//! the others are counted by source. Input that fits into the buffer is never written to
//! disk.
//!
//! Memory: the buffer, which includes its index; while merging, [`FAN_IN`] read buffers
//! of [`READ_BYTES`](crate::list::external_sort::run::READ_BYTES). Disk: [`disk_bytes`],
//! and twice that during the last merge. The files have no names, so they disappear when
//! the process ends, even if it is killed.
//!
//! Existing crates do not fit: they allocate each entry separately, count memory in entries, or
//! merge any number of runs at once. None reports which duplicates it dropped.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Hash};
use crate::base::record::Position;
use crate::list::external_sort::merge::Merge;
use crate::list::external_sort::run::{
    FIXED_BYTES, Run, RunWriter, position_at, source_at, u32_at,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Default size of the buffer, in bytes.
pub(crate) const DEFAULT_BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// Default number of runs that are merged at once.
pub(crate) const FAN_IN: usize = 64;

/// Options of a sort.
#[derive(Debug, Clone)]
pub(crate) struct SorterOptions {
    /// Size of the buffer, in bytes.
    pub buffer_bytes: usize,
    /// Folder of the temporary files.
    pub folder: PathBuf,
    /// Number of runs that are merged at once; values below 2 count as 2.
    pub fan_in: usize,
}

impl SorterOptions {
    /// Default options with temporary files in `folder`.
    pub(crate) fn in_folder(folder: impl Into<PathBuf>) -> Self {
        SorterOptions {
            buffer_bytes: DEFAULT_BUFFER_BYTES,
            folder: folder.into(),
            fan_in: FAN_IN,
        }
    }
}

/// Calculates the bytes on disk for `entries` hashes of `algorithm` with `payload` bytes each.
pub(crate) fn disk_bytes(algorithm: Algorithm, entries: u64, payload: u64) -> u64 {
    entries.saturating_mul(algorithm.bytes() as u64 + FIXED_BYTES as u64 + payload)
}

/// Index of an entry in the buffer: the first bytes of its hash, which decide most
/// comparisons, and its offset.
#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    prefix: u64,
    offset: u32,
}

/// Collects entries in any order. See the [module](self).
#[derive(Debug)]
pub(crate) struct Sorter {
    width: usize,
    options: SorterOptions,
    buffer: Vec<u8>,
    index: Vec<IndexEntry>,
    /// Sorted runs, in input order.
    runs: Vec<Run>,
    /// Duplicates dropped so far, by source number.
    duplicates: BTreeMap<u32, u64>,
    entries: u64,
    disk_bytes: u64,
}

impl Sorter {
    /// A sorter for hashes of `algorithm`.
    pub(crate) fn new(algorithm: Algorithm, options: SorterOptions) -> Sorter {
        Sorter {
            width: algorithm.bytes(),
            options,
            buffer: Vec::new(),
            index: Vec::new(),
            runs: Vec::new(),
            duplicates: BTreeMap::new(),
            entries: 0,
            disk_bytes: 0,
        }
    }

    /// Adds an entry. `place` must increase from call to call.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if a temporary file cannot be written.
    pub(crate) fn push(&mut self, hash: &Hash, place: Position, payload: &[u8]) -> Result<()> {
        let raw = hash.as_bytes();
        let bytes = self.width + FIXED_BYTES + payload.len();
        let full = self.buffer.len() + bytes + self.index.len() * size_of::<IndexEntry>();
        if full > self.options.buffer_bytes && !self.index.is_empty() {
            self.spill()?;
        }
        self.index.push(IndexEntry {
            prefix: prefix(raw),
            // The buffer is far smaller than 4 GiB.
            offset: u32::try_from(self.buffer.len()).unwrap_or(u32::MAX),
        });
        let out = &mut self.buffer;
        out.extend_from_slice(&raw[..self.width.min(raw.len())]);
        out.extend_from_slice(&place.source.to_le_bytes());
        out.extend_from_slice(&place.line.to_le_bytes());
        out.extend_from_slice(&place.byte.to_le_bytes());
        // A payload comes from one line, which has at most 64 KiB.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(payload);
        self.entries += 1;
        Ok(())
    }

    /// Ends the input and returns the sorted entries.
    ///
    /// # Errors
    /// Same as [`push`](Self::push).
    pub(crate) fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            self.sort();
        } else {
            if !self.index.is_empty() {
                self.spill()?;
            }
            while self.runs.len() > self.options.fan_in.max(2) {
                let first = self.runs.len() - self.options.fan_in.max(2);
                self.merge(first)?;
            }
            (self.buffer, self.index) = (Vec::new(), Vec::new());
        }
        Ok(Sorted {
            width: self.width,
            folder: self.options.folder,
            buffer: self.buffer,
            index: self.index,
            runs: self.runs,
            duplicates: self.duplicates,
            entries: self.entries,
            disk_bytes: self.disk_bytes,
        })
    }

    /// Sorts the buffer's index and drops duplicates from it.
    fn sort(&mut self) {
        let Sorter {
            width,
            buffer,
            index: keys,
            duplicates: dropped,
            ..
        } = self;
        let hash = |key: &IndexEntry| &buffer[key.offset as usize..key.offset as usize + *width];
        keys.sort_unstable_by(|a, b| {
            let hashes = a.prefix.cmp(&b.prefix).then_with(|| hash(a).cmp(hash(b)));
            // The lower offset came first in the input.
            hashes.then(a.offset.cmp(&b.offset))
        });
        keys.dedup_by(|later, kept| {
            let twice = later.prefix == kept.prefix && hash(later) == hash(kept);
            if twice {
                count_duplicate(dropped, source_at(buffer, later.offset as usize + *width));
            }
            twice
        });
    }

    /// Writes the buffer as a run, and merges runs once `fan_in` have the same level.
    fn spill(&mut self) -> Result<()> {
        self.sort();
        let mut out = RunWriter::new(&self.options.folder)?;
        for key in &self.index {
            let at = key.offset as usize;
            let fixed = at + self.width + FIXED_BYTES;
            let length = u32_at(&self.buffer, fixed - 4) as usize;
            out.write(&self.buffer[at..fixed + length])?;
        }
        let run = out.finish(0)?;
        self.disk_bytes += run.bytes;
        self.runs.push(run);
        self.buffer.clear();
        self.index.clear();
        let fan_in = self.options.fan_in.max(2);
        while let Some(last) = self.runs.last().map(|r| r.level) {
            let alike = (self.runs.iter().rev())
                .take_while(|r| r.level == last)
                .count();
            if alike < fan_in {
                break;
            }
            self.merge(self.runs.len() - fan_in)?;
        }
        Ok(())
    }

    /// Merges all runs from number `first` into one.
    fn merge(&mut self, first: usize) -> Result<()> {
        let mut runs: Vec<Run> = self.runs.drain(first..).collect();
        let level = runs.iter().map(|r| r.level).max().unwrap_or(0) + 1;
        let before: u64 = runs.iter().map(|r| r.bytes).sum();
        let mut out = RunWriter::new(&self.options.folder)?;
        let mut merge = Merge::new(self.width, &mut runs, &self.options.folder)?;
        while let Some(head) = merge.next()? {
            out.write(head)?;
            for source in merge.duplicates.drain(..) {
                count_duplicate(&mut self.duplicates, source);
            }
        }
        let run = out.finish(level)?;
        self.disk_bytes = self.disk_bytes - before + run.bytes;
        self.runs.push(run);
        Ok(())
    }
}

/// The sorted entries, in byte order of their hashes.
#[derive(Debug)]
pub(crate) struct Sorted {
    width: usize,
    folder: PathBuf,
    buffer: Vec<u8>,
    index: Vec<IndexEntry>,
    runs: Vec<Run>,
    duplicates: BTreeMap<u32, u64>,
    entries: u64,
    disk_bytes: u64,
}

impl Sorted {
    /// Number of entries that were pushed, duplicates included.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Size of the temporary files, in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// Duplicates found while sorting, by source number. The [reader](Self::read) reports
    /// the remaining duplicates with its entries.
    pub(crate) fn duplicates(&self) -> &BTreeMap<u32, u64> {
        &self.duplicates
    }

    /// Returns a reader at the first entry. May be called repeatedly.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if a temporary file cannot be read.
    pub(crate) fn read(&mut self) -> Result<SortedReader<'_>> {
        let from = match self.runs.is_empty() {
            true => Entries::Memory(self.index.iter(), &self.buffer),
            false => Entries::Runs(Merge::new(self.width, &mut self.runs, &self.folder)?),
        };
        Ok(SortedReader {
            width: self.width,
            entries: from,
        })
    }
}

/// Reader of sorted entries.
#[derive(Debug)]
pub(crate) struct SortedReader<'a> {
    width: usize,
    entries: Entries<'a>,
}

#[derive(Debug)]
enum Entries<'a> {
    Memory(std::slice::Iter<'a, IndexEntry>, &'a [u8]),
    Runs(Merge<'a>),
}

/// A sorted entry, the first in the input with its hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub hash: Hash,
    /// Position in the input.
    pub position: Position,
    /// The payload that was pushed with it.
    pub payload: &'a [u8],
    /// Sources of its duplicates that were not found while sorting.
    pub duplicates: &'a [u32],
}

impl SortedReader<'_> {
    /// Returns the next entry, which lives until the next call. `None` at the end.
    ///
    /// # Errors
    /// Same as [`Sorted::read`].
    #[allow(clippy::should_implement_trait)] // a lending iterator: `Iterator` cannot express it
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>> {
        let (bytes, repeats): (&[u8], &[u32]) = match &mut self.entries {
            Entries::Memory(keys, buffer) => match keys.next() {
                Some(key) => (&buffer[key.offset as usize..], &[]),
                None => return Ok(None),
            },
            Entries::Runs(merge) => {
                merge.duplicates.clear();
                match merge.advance()? {
                    true => (&merge.current, &merge.duplicates),
                    false => return Ok(None),
                }
            }
        };
        let (raw, rest) = bytes.split_at(self.width);
        let length = u32_at(rest, FIXED_BYTES - 4) as usize;
        let Some(hash) = Hash::from_bytes(raw) else {
            return Err(Error::new(
                ErrorKind::Internal,
                "the sorter returned an empty hash",
            ));
        };
        Ok(Some(Entry {
            hash,
            position: position_at(rest),
            payload: &rest[FIXED_BYTES..FIXED_BYTES + length],
            duplicates: repeats,
        }))
    }
}

/// The first eight bytes of a hash as a number with the same order.
fn prefix(hash: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = hash.len().min(8);
    first[..n].copy_from_slice(&hash[..n]);
    u64::from_be_bytes(first)
}

fn count_duplicate(dropped: &mut BTreeMap<u32, u64>, source: u32) {
    *dropped.entry(source).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn md5(n: u8) -> Hash {
        let mut raw = [7; 16];
        // Some hashes differ in the first byte, others only in the last.
        raw[0] = n % 3;
        raw[15] = n;
        Hash::from_bytes(&raw).expect("16 bytes")
    }

    fn options(folder: &Path, memory: usize, fan_in: usize) -> SorterOptions {
        SorterOptions {
            buffer_bytes: memory,
            folder: folder.to_owned(),
            fan_in,
        }
    }

    type Row = (Vec<u8>, u64, Vec<u8>);

    /// Reads all rows, and the duplicates by source.
    fn all(sorted: &mut Sorted) -> (Vec<Row>, BTreeMap<u32, u64>) {
        let mut duplicates = sorted.duplicates().clone();
        let mut rows = Vec::new();
        let mut reading = sorted.read().expect("read");
        while let Some(entry) = reading.next().expect("an entry") {
            rows.push((
                entry.hash.as_bytes().to_vec(),
                entry.position.line,
                entry.payload.to_vec(),
            ));
            let sources = entry.duplicates.iter();
            sources.for_each(|s| count_duplicate(&mut duplicates, *s));
        }
        (rows, duplicates)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// For any buffer size and number of merges the result equals that of a map, and can
        /// be read twice.
        #[test]
        fn the_result_equals_a_map_of_first_occurrences(
            input in prop::collection::vec((0u8..40, 0usize..30), 0..200),
            memory in 100usize..5000,
            fan_in in 2usize..5,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut sorter = Sorter::new(Algorithm::Md5, options(folder.path(), memory, fan_in));
            let mut map: BTreeMap<Vec<u8>, (u64, Vec<u8>)> = BTreeMap::new();
            let mut duplicates = BTreeMap::new();
            for (line, (n, payload)) in input.iter().enumerate() {
                let (line, payload) = (line as u64, vec![*n; *payload]);
                let place = Position { source: (line / 70) as u32, line, byte: line * 33 };
                sorter.push(&md5(*n), place, &payload).expect("pushed");
                match map.entry(md5(*n).as_bytes().to_vec()) {
                    std::collections::btree_map::Entry::Vacant(v) => drop(v.insert((line, payload))),
                    std::collections::btree_map::Entry::Occupied(_) => count_duplicate(&mut duplicates, place.source),
                }
            }
            let mut sorted = sorter.finish().expect("sorted");
            prop_assert_eq!(sorted.entries(), input.len() as u64);
            let expected: Vec<Row> = map.into_iter().map(|(h, (l, p))| (h, l, p)).collect();
            for _ in 0..2 {
                let (rows, found) = all(&mut sorted);
                prop_assert_eq!(&rows, &expected);
                prop_assert_eq!(&found, &duplicates);
            }
            // The temporary files have no names.
            prop_assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
        }
    }

    #[test]
    fn input_that_fits_in_memory_is_not_written_to_disk() {
        let nowhere = Path::new("/nonexistent");
        let mut sorter = Sorter::new(Algorithm::Md5, SorterOptions::in_folder(nowhere));
        let place = |line| Position {
            source: 0,
            line,
            byte: 0,
        };
        for n in [5, 3, 5] {
            sorter
                .push(&md5(n), place(u64::from(n)), b"")
                .expect("pushed");
        }
        let mut sorted = sorter.finish().expect("sorted");
        assert_eq!(sorted.disk_bytes(), 0);
        assert_eq!(sorted.duplicates().get(&0), Some(&1));
        assert_eq!(all(&mut sorted).0.len(), 2);
    }

    #[test]
    fn the_error_names_a_folder_that_is_not_writable() {
        let mut sorter = Sorter::new(Algorithm::Md5, options(Path::new("/nonexistent"), 1, 2));
        let place = Position {
            source: 0,
            line: 1,
            byte: 0,
        };
        sorter.push(&md5(1), place, b"").expect("the first fits");
        let error = sorter.push(&md5(2), place, b"").expect_err("no folder");
        assert!(format!("{error:#}").contains("/nonexistent"), "{error}");
        assert_eq!(error.exit_status(), 1);
    }

    #[test]
    fn disk_bytes_predicts_the_size_of_the_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sorter = Sorter::new(Algorithm::Md5, options(folder.path(), 1, 64));
        for n in 0..10u8 {
            let place = Position {
                source: 0,
                line: u64::from(n),
                byte: 0,
            };
            sorter.push(&md5(n), place, b"abc").expect("pushed");
        }
        let sorted = sorter.finish().expect("sorted");
        assert_eq!(sorted.disk_bytes(), disk_bytes(Algorithm::Md5, 10, 3));
    }
}
