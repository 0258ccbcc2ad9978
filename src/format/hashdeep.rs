//! What hashdeep prints.
//!
//! A line `%%%% HASHDEEP-1.0`, a line `%%%% size,md5,sha256,filename` that names the
//! columns, `##` comments, then rows. Nothing is quoted: the file name is the last
//! column, and may hold commas.

use super::in_column;
use crate::record::{Parsed, Reason};

/// The columns that `line` names.
pub(super) fn columns(line: &[u8]) -> Option<Vec<String>> {
    let rest = line.strip_prefix(b"%%%%")?.trim_ascii();
    if rest.starts_with(b"HASHDEEP") {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?;
    Some(text.split(',').map(|c| c.trim().to_owned()).collect())
}

#[derive(Debug)]
pub(super) struct HashdeepParser {
    digits: usize,
    hash: usize,
    wanted: Vec<usize>,
    columns: usize,
    values: Vec<Vec<u8>>,
    /// What the list's own line of columns was, when it came.
    header: Option<Vec<u8>>,
}

impl HashdeepParser {
    pub(super) fn new(digits: usize, hash: usize, wanted: Vec<usize>, columns: usize) -> Self {
        HashdeepParser {
            digits,
            hash,
            values: vec![Vec::new(); wanted.len()],
            wanted,
            columns,
            header: None,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None => return Parsed::Skipped,
            Some(b'#') => return Parsed::Skipped,
            Some(b'%') if line.starts_with(b"%%%%") => return self.header(line),
            _ if line.trim_ascii().is_empty() => return Parsed::Skipped,
            _ => {}
        }
        self.values.iter_mut().for_each(Vec::clear);
        let mut parsed = Parsed::Rejected(Reason::Columns);
        for (at, field) in line.splitn(self.columns, |b| *b == b',').enumerate() {
            if at == self.hash {
                parsed = in_column(field, self.digits);
            }
            for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
                if at == *wanted {
                    value.extend_from_slice(field);
                }
            }
        }
        parsed
    }

    /// A line of columns that comes again, as in lists put one behind another, must
    /// name the same ones.
    fn header(&mut self, line: &[u8]) -> Parsed {
        if columns(line).is_none() {
            return Parsed::Skipped;
        }
        match &self.header {
            None => {
                self.header = Some(line.to_vec());
                Parsed::Skipped
            }
            Some(first) if first == line => Parsed::Skipped,
            Some(_) => Parsed::Rejected(Reason::Header),
        }
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }
}
