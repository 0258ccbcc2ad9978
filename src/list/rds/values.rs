//! Values of a database as lines of text, and the store of values that are not hashes.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::path::Path;

/// Maximum number of characters, or bytes of a blob, in the line for a value that is not a hash.
const SHOWN_CHARACTERS: usize = 64;

/// Maximum number of distinct values that are remembered to drop duplicates.
const MAX_REMEMBERED: usize = 65_536;

/// Values that are not hashes. They are sent after the hashes: at the start, a few thousand
/// of them would look like a list without hashes.
#[derive(Default)]
pub(super) struct InvalidValues {
    file: Option<BufWriter<std::fs::File>>,
    seen: HashSet<Box<[u8]>>,
}

impl InvalidValues {
    pub(super) fn push(&mut self, line: &[u8], folder: &Path) -> Result<()> {
        if self.seen.contains(line) {
            return Ok(());
        }
        if self.seen.len() < MAX_REMEMBERED {
            self.seen.insert(line.into());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = tempfile::tempfile_in(folder).map_err(|e| write_error(folder, e))?;
                self.file.insert(BufWriter::new(file))
            }
        };
        file.write_all(line).map_err(|e| write_error(folder, e))
    }

    pub(super) fn read(self, mut sink: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Output, "cannot read a temporary file").with_source(e)
        };
        let mut file = file.into_inner().map_err(|e| cannot(e.into_error()))?;
        file.rewind().map_err(cannot)?;
        let mut file = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            match file.read_until(b'\n', &mut line).map_err(cannot)? {
                0 => return Ok(()),
                _ if sink(&line) => {}
                _ => return Ok(()),
            }
        }
    }
}

fn write_error(folder: &Path, e: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Output,
        format!("cannot write a temporary file to {}", folder.display()),
    )
    .with_source(e)
    .with_hint("set --work-dir DIR to a folder with more space")
}

/// Writes the line for a value and returns its hash. `None` if the value is not a hash of
/// `algorithm`; the line is then never a valid hash.
pub(super) fn write_value(
    algorithm: Algorithm,
    row: &Row<'_>,
    line: &mut Vec<u8>,
) -> Result<Option<Hash>, rusqlite::Error> {
    line.clear();
    let hash = match row.get_ref(0)? {
        ValueRef::Text(text) if text.len() == algorithm.bytes() * 2 => Hash::from_hex(text),
        _ => None,
    };
    match (&hash, row.get_ref(0)?) {
        (Some(hash), _) => hash.write_hex(Case::Upper, line),
        (None, ValueRef::Text(text)) => quote(text, line),
        (None, ValueRef::Blob(bytes)) => {
            line.extend_from_slice(b"X'");
            for byte in bytes.iter().take(SHOWN_CHARACTERS) {
                let _ = write!(line, "{byte:02X}");
            }
            line.push(b'\'');
        }
        (None, ValueRef::Integer(n)) => {
            let _ = write!(line, "\"{n}\"");
        }
        (None, ValueRef::Real(n)) => {
            let _ = write!(line, "\"{n}\"");
        }
        (None, ValueRef::Null) => match row.get_ref(1)? {
            ValueRef::Integer(bytes) => {
                let _ = write!(line, "\"a value of {bytes} bytes\"");
            }
            _ => line.extend_from_slice(b"NULL"),
        },
    }
    line.push(b'\n');
    Ok(hash)
}

/// Appends `text` in quotes and on one line, so that even an empty text is not a blank line.
fn quote(text: &[u8], line: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARACTERS) {
        let _ = match c {
            '"' => shown.write_str("'"),
            c if c.is_control() => write!(shown, "{}", c.escape_default()),
            c => shown.write_char(c),
        };
    }
    let ellipsis = match text.chars().nth(SHOWN_CHARACTERS) {
        Some(_) => "…",
        None => "",
    };
    let _ = write!(line, "\"{shown}{ellipsis}\"");
}
