//! Sorted temporary files (runs): the format of an entry, writer and reader.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::Position;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::Path;

/// Size of the read and write buffers of a run, in bytes.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// Bytes of an entry besides hash and payload: source, line, byte offset, payload length.
pub(super) const FIXED_BYTES: usize = 4 + 8 + 8 + 4;

/// A sorted temporary file.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) file: File,
    pub(super) bytes: u64,
    /// Merge level: 0 if written from the buffer, else one above the highest of its inputs.
    pub(super) level: u32,
}

/// Reader of a run, with the next entry.
#[derive(Debug)]
pub(super) struct RunReader<'a> {
    pub(super) reader: BufReader<io::Take<&'a File>>,
    pub(super) entry: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct RunWriter<'a> {
    folder: &'a Path,
    writer: BufWriter<File>,
    bytes: u64,
}

impl<'a> RunWriter<'a> {
    pub(super) fn new(folder: &'a Path) -> Result<RunWriter<'a>> {
        let file = tempfile::tempfile_in(folder)
            .map_err(|e| disk_error("create", folder).with_source(e))?;
        Ok(RunWriter {
            folder,
            writer: BufWriter::with_capacity(READ_BYTES, file),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, entry: &[u8]) -> Result<()> {
        self.bytes += entry.len() as u64;
        (self.writer.write_all(entry)).map_err(|e| disk_error("write", self.folder).with_source(e))
    }

    pub(super) fn finish(self, level: u32) -> Result<Run> {
        let RunWriter {
            folder,
            writer: to,
            bytes,
        } = self;
        let file = to
            .into_inner()
            .map_err(|e| disk_error("write", folder).with_source(e.into_error()))?;
        Ok(Run { file, bytes, level })
    }
}

/// The error for a failure to `verb` the temporary files in `folder`.
pub(super) fn disk_error(verb: &str, folder: &Path) -> Error {
    Error::new(
        ErrorKind::Output,
        format!(
            "cannot {verb} the temporary files for sorting hashes in {}",
            folder.display()
        ),
    )
    .with_hint(
        "free disk space there, or set --work-dir DIR to another folder, then run this again",
    )
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

/// Reads the position of an entry; `rest` is the entry without its hash.
pub(super) fn position_at(rest: &[u8]) -> Position {
    Position {
        source: u32_at(rest, 0),
        line: u64_at(rest, 4),
        byte: u64_at(rest, 12),
    }
}

/// Reads the source of an entry whose position starts at offset `at`.
pub(super) fn source_at(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at)
}
