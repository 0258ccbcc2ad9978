//! Sorting more hashes than fit in memory, each kept once.
//!
//! An external merge sort. Entries (a hash, where it was read, a payload) gather in
//! a buffer of a given size; a full one is sorted and written to a temporary file, a
//! run; runs are merged when so many have come together. Of entries with one hash the
//! first of the input is kept, and of the others it is counted of which source they
//! were. What fits into the buffer never touches the disk.
//!
//! Memory: the buffer, a sixth of it for its index, and while runs are merged
//! [`FAN_IN`] read buffers of [`READ_BYTES`](crate::list::external_sort::run::READ_BYTES). Disk: what [`disk_bytes`] says, and as
//! much again while the last runs are merged. The files have no names: they vanish
//! when the process ends, whatever way that is.
//!
//! Why not a crate: those there are keep each entry as a value of its own on the
//! heap, count memory in entries, or merge all runs at once, however many; and none
//! says which repeats it dropped.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Hash};
use crate::base::record::Place;
use crate::list::external_sort::merge::Merge;
use crate::list::external_sort::run::{FIXED_BYTES, Run, RunWriter, place_at, source_of, u32_at};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Bytes of the buffer, unless somebody says otherwise.
pub(crate) const MEMORY: usize = 16 * 1024 * 1024;

/// Runs that are merged at once.
pub(crate) const FAN_IN: usize = 64;

/// How and where to sort.
#[derive(Debug, Clone)]
pub(crate) struct SorterOptions {
    /// Bytes of the buffer.
    pub memory: usize,
    /// The folder of the temporary files.
    pub folder: PathBuf,
    /// How many runs are merged at once; two at least.
    pub fan_in: usize,
}

impl SorterOptions {
    /// The usual size, with files in `folder`.
    pub(crate) fn in_folder(folder: impl Into<PathBuf>) -> Self {
        SorterOptions {
            memory: MEMORY,
            folder: folder.into(),
            fan_in: FAN_IN,
        }
    }
}

/// Bytes on disk that `entries` hashes of `algorithm` take, with `payload` bytes each.
pub(crate) fn disk_bytes(algorithm: Algorithm, entries: u64, payload: u64) -> u64 {
    entries.saturating_mul(algorithm.bytes() as u64 + FIXED_BYTES as u64 + payload)
}

/// One entry of the buffer: enough of its hash to decide most comparisons, and where
/// it stands.
#[derive(Debug, Clone, Copy)]
struct Key {
    prefix: u64,
    at: u32,
}

/// Takes entries in any order. See the [module](self).
#[derive(Debug)]
pub(crate) struct Sorter {
    width: usize,
    options: SorterOptions,
    buffer: Vec<u8>,
    keys: Vec<Key>,
    /// In the order of the input.
    runs: Vec<Run>,
    /// Repeats that were dropped, by the number of their source.
    dropped: BTreeMap<u32, u64>,
    entries: u64,
    disk_bytes: u64,
}

impl Sorter {
    /// A sorter of hashes of `algorithm`.
    pub(crate) fn new(algorithm: Algorithm, options: SorterOptions) -> Sorter {
        Sorter {
            width: algorithm.bytes(),
            options,
            buffer: Vec::new(),
            keys: Vec::new(),
            runs: Vec::new(),
            dropped: BTreeMap::new(),
            entries: 0,
            disk_bytes: 0,
        }
    }

    /// Takes an entry. `place`s rise from call to call.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when the disk does not take what does not fit in memory.
    pub(crate) fn push(&mut self, hash: &Hash, place: Place, payload: &[u8]) -> Result<()> {
        let raw = hash.as_bytes();
        let bytes = self.width + FIXED_BYTES + payload.len();
        let full = self.buffer.len() + bytes + self.keys.len() * size_of::<Key>();
        if full > self.options.memory && !self.keys.is_empty() {
            self.spill()?;
        }
        self.keys.push(Key {
            prefix: prefix(raw),
            // The buffer is far below 4 GiB.
            at: u32::try_from(self.buffer.len()).unwrap_or(u32::MAX),
        });
        let out = &mut self.buffer;
        out.extend_from_slice(&raw[..self.width.min(raw.len())]);
        out.extend_from_slice(&place.source.to_le_bytes());
        out.extend_from_slice(&place.line.to_le_bytes());
        out.extend_from_slice(&place.byte.to_le_bytes());
        // A payload is of one line, which has 64 KiB at most.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(payload);
        self.entries += 1;
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            self.sort();
        } else {
            if !self.keys.is_empty() {
                self.spill()?;
            }
            while self.runs.len() > self.options.fan_in.max(2) {
                let first = self.runs.len() - self.options.fan_in.max(2);
                self.merge(first)?;
            }
            (self.buffer, self.keys) = (Vec::new(), Vec::new());
        }
        Ok(Sorted {
            width: self.width,
            folder: self.options.folder,
            buffer: self.buffer,
            keys: self.keys,
            runs: self.runs,
            dropped: self.dropped,
            entries: self.entries,
            disk_bytes: self.disk_bytes,
        })
    }

    /// Sorts the buffer's index, and drops repeats from it.
    fn sort(&mut self) {
        let Sorter {
            width,
            buffer,
            keys,
            dropped,
            ..
        } = self;
        let hash = |key: &Key| &buffer[key.at as usize..key.at as usize + *width];
        keys.sort_unstable_by(|a, b| {
            let hashes = a.prefix.cmp(&b.prefix).then_with(|| hash(a).cmp(hash(b)));
            // What stands earlier in the buffer came earlier.
            hashes.then(a.at.cmp(&b.at))
        });
        keys.dedup_by(|later, kept| {
            let twice = later.prefix == kept.prefix && hash(later) == hash(kept);
            if twice {
                count(dropped, source_of(buffer, later.at as usize + *width));
            }
            twice
        });
    }

    /// Writes the buffer as a run, and merges runs when there are many.
    fn spill(&mut self) -> Result<()> {
        self.sort();
        let mut out = RunWriter::new(&self.options.folder)?;
        for key in &self.keys {
            let at = key.at as usize;
            let fixed = at + self.width + FIXED_BYTES;
            let length = u32_at(&self.buffer, fixed - 4) as usize;
            out.write(&self.buffer[at..fixed + length])?;
        }
        let run = out.finish(0)?;
        self.disk_bytes += run.bytes;
        self.runs.push(run);
        self.buffer.clear();
        self.keys.clear();
        // So many runs of one level make one of the next.
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

    /// Merges the runs from the `first` on into one.
    fn merge(&mut self, first: usize) -> Result<()> {
        let mut runs: Vec<Run> = self.runs.drain(first..).collect();
        let level = runs.iter().map(|r| r.level).max().unwrap_or(0) + 1;
        let before: u64 = runs.iter().map(|r| r.bytes).sum();
        let mut out = RunWriter::new(&self.options.folder)?;
        let mut merge = Merge::new(self.width, &mut runs, &self.options.folder)?;
        while let Some(head) = merge.next()? {
            out.write(head)?;
            for source in merge.repeats.drain(..) {
                count(&mut self.dropped, source);
            }
        }
        let run = out.finish(level)?;
        self.disk_bytes = self.disk_bytes - before + run.bytes;
        self.runs.push(run);
        Ok(())
    }
}

/// All entries, in the order of their hashes' bytes.
#[derive(Debug)]
pub(crate) struct Sorted {
    width: usize,
    folder: PathBuf,
    buffer: Vec<u8>,
    keys: Vec<Key>,
    runs: Vec<Run>,
    dropped: BTreeMap<u32, u64>,
    entries: u64,
    disk_bytes: u64,
}

impl Sorted {
    /// How many were pushed.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes on disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// Repeats that were found while sorting, by the number of their source. Those
    /// that a [reading](Self::read) still finds come with its entries.
    pub(crate) fn dropped(&self) -> &BTreeMap<u32, u64> {
        &self.dropped
    }

    /// Reads from the beginning; may be called again.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when a temporary file cannot be read.
    pub(crate) fn read(&mut self) -> Result<Reading<'_>> {
        let from = match self.runs.is_empty() {
            true => From::Memory(self.keys.iter(), &self.buffer),
            false => From::Runs(Merge::new(self.width, &mut self.runs, &self.folder)?),
        };
        Ok(Reading {
            width: self.width,
            from,
        })
    }
}

/// A reading of sorted entries.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    width: usize,
    from: From<'a>,
}

#[derive(Debug)]
enum From<'a> {
    Memory(std::slice::Iter<'a, Key>, &'a [u8]),
    Runs(Merge<'a>),
}

/// An entry, the first of its hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Its hash.
    pub hash: Hash,
    /// Where it was read.
    pub place: Place,
    /// What was pushed with it.
    pub payload: &'a [u8],
    /// The sources of repeats that were not found before.
    pub repeats: &'a [u32],
}

impl Reading<'_> {
    /// The next entry; nothing at the end. Lending: it lives until the next is asked
    /// for.
    ///
    /// # Errors
    /// As [`Sorted::read`].
    #[allow(clippy::should_implement_trait)] // lending: Iterator cannot say it
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>> {
        let (bytes, repeats): (&[u8], &[u32]) = match &mut self.from {
            From::Memory(keys, buffer) => match keys.next() {
                Some(key) => (&buffer[key.at as usize..], &[]),
                None => return Ok(None),
            },
            From::Runs(merge) => {
                merge.repeats.clear();
                match merge.advance()? {
                    true => (&merge.current, &merge.repeats),
                    false => return Ok(None),
                }
            }
        };
        let (raw, rest) = bytes.split_at(self.width);
        let length = u32_at(rest, FIXED_BYTES - 4) as usize;
        let Some(hash) = Hash::from_bytes(raw) else {
            return Err(Error::new(
                ErrorKind::Internal,
                "a hash of no bytes was sorted",
            ));
        };
        Ok(Some(Entry {
            hash,
            place: place_at(rest),
            payload: &rest[FIXED_BYTES..FIXED_BYTES + length],
            repeats,
        }))
    }
}

/// The first eight bytes, such that they compare as the whole does.
fn prefix(hash: &[u8]) -> u64 {
    let mut first = [0; 8];
    let n = hash.len().min(8);
    first[..n].copy_from_slice(&hash[..n]);
    u64::from_be_bytes(first)
}

fn count(dropped: &mut BTreeMap<u32, u64>, source: u32) {
    *dropped.entry(source).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn md5(n: u8) -> Hash {
        let mut raw = [7; 16];
        // Some differ early, and some late.
        raw[0] = n % 3;
        raw[15] = n;
        Hash::from_bytes(&raw).expect("16 bytes")
    }

    fn options(folder: &Path, memory: usize, fan_in: usize) -> SorterOptions {
        SorterOptions {
            memory,
            folder: folder.to_owned(),
            fan_in,
        }
    }

    type Row = (Vec<u8>, u64, Vec<u8>);

    /// All rows, and the repeats by source, of a reading.
    fn all(sorted: &mut Sorted) -> (Vec<Row>, BTreeMap<u32, u64>) {
        let mut repeats = sorted.dropped().clone();
        let mut rows = Vec::new();
        let mut reading = sorted.read().expect("read");
        while let Some(entry) = reading.next().expect("an entry") {
            rows.push((
                entry.hash.as_bytes().to_vec(),
                entry.place.line,
                entry.payload.to_vec(),
            ));
            entry.repeats.iter().for_each(|s| count(&mut repeats, *s));
        }
        (rows, repeats)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Whatever the size of the buffer and the number of passes, it is what a map
        /// would be, and may be read again.
        #[test]
        fn it_is_what_a_map_of_first_occurrences_is(
            input in prop::collection::vec((0u8..40, 0usize..30), 0..200),
            memory in 100usize..5000,
            fan_in in 2usize..5,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut sorter = Sorter::new(Algorithm::Md5, options(folder.path(), memory, fan_in));
            let mut map: BTreeMap<Vec<u8>, (u64, Vec<u8>)> = BTreeMap::new();
            let mut repeats = BTreeMap::new();
            for (line, (n, payload)) in input.iter().enumerate() {
                let (line, payload) = (line as u64, vec![*n; *payload]);
                let place = Place { source: (line / 70) as u32, line, byte: line * 33 };
                sorter.push(&md5(*n), place, &payload).expect("taken");
                match map.entry(md5(*n).as_bytes().to_vec()) {
                    std::collections::btree_map::Entry::Vacant(v) => drop(v.insert((line, payload))),
                    std::collections::btree_map::Entry::Occupied(_) => count(&mut repeats, place.source),
                }
            }
            let mut sorted = sorter.finish().expect("sorted");
            prop_assert_eq!(sorted.entries(), input.len() as u64);
            let expected: Vec<Row> = map.into_iter().map(|(h, (l, p))| (h, l, p)).collect();
            for _ in 0..2 {
                let (rows, found) = all(&mut sorted);
                prop_assert_eq!(&rows, &expected);
                prop_assert_eq!(&found, &repeats);
            }
            // Nothing with a name is left behind.
            prop_assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
        }
    }

    #[test]
    fn what_fits_in_memory_never_touches_the_disk() {
        let nowhere = Path::new("/nonexistent");
        let mut sorter = Sorter::new(Algorithm::Md5, SorterOptions::in_folder(nowhere));
        let place = |line| Place {
            source: 0,
            line,
            byte: 0,
        };
        for n in [5, 3, 5] {
            sorter
                .push(&md5(n), place(u64::from(n)), b"")
                .expect("taken");
        }
        let mut sorted = sorter.finish().expect("sorted");
        assert_eq!(sorted.disk_bytes(), 0);
        assert_eq!(sorted.dropped().get(&0), Some(&1));
        assert_eq!(all(&mut sorted).0.len(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_named() {
        let mut sorter = Sorter::new(Algorithm::Md5, options(Path::new("/nonexistent"), 1, 2));
        let place = Place {
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
    fn the_disk_that_is_needed_is_known_beforehand() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sorter = Sorter::new(Algorithm::Md5, options(folder.path(), 1, 64));
        for n in 0..10u8 {
            let place = Place {
                source: 0,
                line: u64::from(n),
                byte: 0,
            };
            sorter.push(&md5(n), place, b"abc").expect("taken");
        }
        let sorted = sorter.finish().expect("sorted");
        assert_eq!(sorted.disk_bytes(), disk_bytes(Algorithm::Md5, 10, 3));
    }
}
