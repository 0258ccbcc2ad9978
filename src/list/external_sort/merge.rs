//! Merge of several sorted runs into one, which reports the duplicates by source.

use crate::base::error::Result;
use crate::list::external_sort::run::{
    FIXED_BYTES, READ_BYTES, Run, RunReader, disk_error, source_at, u32_at,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::Path;

/// The first unmerged entry of a run. The smallest of all runs comes next.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RunHead {
    hash: Vec<u8>,
    /// Number of the run. Runs are in input order, so the earlier entry wins.
    run: usize,
}

/// Several runs, read as one.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    width: usize,
    folder: &'a Path,
    runs: Vec<RunReader<'a>>,
    heads: BinaryHeap<Reverse<RunHead>>,
    /// The entry read last.
    pub(super) current: Vec<u8>,
    /// Sources of the duplicates of `current`, in input order.
    pub(super) duplicates: Vec<u32>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(width: usize, runs: &'a mut [Run], folder: &'a Path) -> Result<Merge<'a>> {
        let mut merge = Merge {
            width,
            folder,
            runs: Vec::with_capacity(runs.len()),
            heads: BinaryHeap::with_capacity(runs.len()),
            current: Vec::new(),
            duplicates: Vec::new(),
        };
        for (number, run) in runs.iter_mut().enumerate() {
            (run.file.rewind()).map_err(|e| disk_error("read", folder).with_source(e))?;
            let file: &File = &run.file;
            merge.runs.push(RunReader {
                reader: BufReader::with_capacity(READ_BYTES, file.take(run.bytes)),
                entry: Vec::new(),
            });
            if merge.read_entry(number)? {
                let hash = merge.runs[number].entry[..width].to_vec();
                merge.heads.push(Reverse(RunHead { hash, run: number }));
            }
        }
        Ok(merge)
    }

    /// Reads the next entry of a run. Returns false at the end of the run.
    fn read_entry(&mut self, run: usize) -> Result<bool> {
        let RunReader {
            reader: from,
            entry,
        } = &mut self.runs[run];
        let read = |from: &mut BufReader<io::Take<&File>>, entry: &mut Vec<u8>| {
            let fixed = self.width + FIXED_BYTES;
            entry.resize(fixed, 0);
            if from.get_ref().limit() == 0 && from.buffer().is_empty() {
                return Ok(false);
            }
            // The length of a run is known, so a short read is an error.
            from.read_exact(entry)?;
            let length = u32_at(entry, fixed - 4) as usize;
            entry.resize(fixed + length, 0);
            from.read_exact(&mut entry[fixed..])?;
            Ok(true)
        };
        read(from, entry).map_err(|e: io::Error| disk_error("read", self.folder).with_source(e))
    }

    /// Advances to the next distinct hash. Returns false at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let Some(Reverse(first)) = self.heads.peek() else {
            return Ok(false);
        };
        std::mem::swap(&mut self.current, &mut self.runs[first.run].entry);
        self.advance_run()?;
        // Duplicates are in later runs.
        while let Some(Reverse(head)) = self.heads.peek() {
            if head.hash != self.current[..self.width] {
                break;
            }
            self.duplicates
                .push(source_at(&self.runs[head.run].entry, self.width));
            self.advance_run()?;
        }
        Ok(true)
    }

    /// Advances the run with the smallest head.
    fn advance_run(&mut self) -> Result<()> {
        let Some(run) = self.heads.peek().map(|Reverse(head)| head.run) else {
            return Ok(());
        };
        let has_entry = self.read_entry(run)?;
        let Some(mut top) = self.heads.peek_mut() else {
            return Ok(());
        };
        match has_entry {
            true => top
                .0
                .hash
                .copy_from_slice(&self.runs[run].entry[..self.width]),
            false => drop(std::collections::binary_heap::PeekMut::pop(top)),
        }
        Ok(())
    }

    /// Returns the next entry's bytes. `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.advance()?.then_some(&self.current))
    }
}
