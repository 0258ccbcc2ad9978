//! The merge of several runs into one order, with the repeats counted by source.

use crate::base::error::Result;
use crate::list::external_sort::run::{
    FIXED_BYTES, READ_BYTES, Run, RunReader, cannot, source_of, u32_at,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::Path;

/// The first entry of a run that is not merged yet; the smallest is the next.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    hash: Vec<u8>,
    /// Runs stand in the order of the input.
    run: usize,
}

/// Several runs as one.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    width: usize,
    folder: &'a Path,
    runs: Vec<RunReader<'a>>,
    heads: BinaryHeap<Reverse<Head>>,
    /// The entry that was read last.
    pub(super) current: Vec<u8>,
    /// Sources of the entries with its hash that came after it.
    pub(super) repeats: Vec<u32>,
}

impl<'a> Merge<'a> {
    pub(super) fn new(width: usize, runs: &'a mut [Run], folder: &'a Path) -> Result<Merge<'a>> {
        let mut merge = Merge {
            width,
            folder,
            runs: Vec::with_capacity(runs.len()),
            heads: BinaryHeap::with_capacity(runs.len()),
            current: Vec::new(),
            repeats: Vec::new(),
        };
        for (number, run) in runs.iter_mut().enumerate() {
            (run.file.rewind()).map_err(|e| cannot("read", folder).because(e))?;
            let file: &File = &run.file;
            merge.runs.push(RunReader {
                from: BufReader::with_capacity(READ_BYTES, file.take(run.bytes)),
                entry: Vec::new(),
            });
            if merge.fill(number)? {
                let hash = merge.runs[number].entry[..width].to_vec();
                merge.heads.push(Reverse(Head { hash, run: number }));
            }
        }
        Ok(merge)
    }

    /// Reads the next entry of a run into its place; false at its end.
    fn fill(&mut self, run: usize) -> Result<bool> {
        let RunReader { from, entry } = &mut self.runs[run];
        let read = |from: &mut BufReader<io::Take<&File>>, entry: &mut Vec<u8>| {
            let fixed = self.width + FIXED_BYTES;
            entry.resize(fixed, 0);
            if from.get_ref().limit() == 0 && from.buffer().is_empty() {
                return Ok(false);
            }
            // A short read is an error: each run knows how long it is.
            from.read_exact(entry)?;
            let length = u32_at(entry, fixed - 4) as usize;
            entry.resize(fixed + length, 0);
            from.read_exact(&mut entry[fixed..])?;
            Ok(true)
        };
        read(from, entry).map_err(|e: io::Error| cannot("read", self.folder).because(e))
    }

    /// Moves on to the next hash; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        let Some(Reverse(first)) = self.heads.peek() else {
            return Ok(false);
        };
        std::mem::swap(&mut self.current, &mut self.runs[first.run].entry);
        self.step()?;
        // Those of the same hash stand in later runs.
        while let Some(Reverse(head)) = self.heads.peek() {
            if head.hash != self.current[..self.width] {
                break;
            }
            self.repeats
                .push(source_of(&self.runs[head.run].entry, self.width));
            self.step()?;
        }
        Ok(true)
    }

    /// Takes the next entry of the run whose head is the smallest.
    fn step(&mut self) -> Result<()> {
        let Some(run) = self.heads.peek().map(|Reverse(head)| head.run) else {
            return Ok(());
        };
        let more = self.fill(run)?;
        let Some(mut top) = self.heads.peek_mut() else {
            return Ok(());
        };
        match more {
            true => top
                .0
                .hash
                .copy_from_slice(&self.runs[run].entry[..self.width]),
            false => drop(std::collections::binary_heap::PeekMut::pop(top)),
        }
        Ok(())
    }

    /// The next entry's bytes.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.advance()?.then_some(&self.current))
    }
}
