//! A run: a sorted temporary file, how its entries stand there, its writer and its reader.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::Place;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::Path;

/// What is read of a run at once, in bytes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Bytes of an entry on disk besides its hash and payload: source, line, byte, and
/// the payload's length.
pub(super) const FIXED_BYTES: usize = 4 + 8 + 8 + 4;

/// A sorted file.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) file: File,
    pub(super) bytes: u64,
    /// How often it was merged.
    pub(super) level: u32,
}

/// A run that is being read, and its next entry.
#[derive(Debug)]
pub(super) struct RunReader<'a> {
    pub(super) from: BufReader<io::Take<&'a File>>,
    pub(super) entry: Vec<u8>,
}

/// A run that is being written.
#[derive(Debug)]
pub(super) struct RunWriter<'a> {
    folder: &'a Path,
    to: BufWriter<File>,
    bytes: u64,
}

impl<'a> RunWriter<'a> {
    pub(super) fn new(folder: &'a Path) -> Result<RunWriter<'a>> {
        let file = tempfile::tempfile_in(folder).map_err(|e| cannot("make", folder).because(e))?;
        Ok(RunWriter {
            folder,
            to: BufWriter::with_capacity(READ_BYTES, file),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, entry: &[u8]) -> Result<()> {
        self.bytes += entry.len() as u64;
        (self.to.write_all(entry)).map_err(|e| cannot("write", self.folder).because(e))
    }

    pub(super) fn finish(self, level: u32) -> Result<Run> {
        let RunWriter { folder, to, bytes } = self;
        let file = to
            .into_inner()
            .map_err(|e| cannot("write", folder).because(e.into_error()))?;
        Ok(Run { file, bytes, level })
    }
}

/// The failure to `what` the temporary files in `folder`.
pub(super) fn cannot(what: &str, folder: &Path) -> Error {
    Error::new(
        ErrorKind::Output,
        format!(
            "cannot {what} the temporary files in {}, in which hashes are sorted",
            folder.display()
        ),
    )
    .hint("make room there, or name another folder by --work-dir DIR, then run this again")
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

/// The place in what stands behind a hash.
pub(super) fn place_at(rest: &[u8]) -> Place {
    Place {
        source: u32_at(rest, 0),
        line: u64_at(rest, 4),
        byte: u64_at(rest, 12),
    }
}

/// The source of an entry whose place stands `at` there.
pub(super) fn source_of(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at)
}
