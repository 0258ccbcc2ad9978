//! Output of hashdeep.
//!
//! A line `%%%% HASHDEEP-1.0`, a line `%%%% size,md5,sha256,filename` that names the
//! columns, `##` comments, then rows. Nothing is quoted: the file name is the last
//! column, and may hold commas.
//!
//! Concatenated lists repeat the line of column names. It must name the columns in use at
//! the same indexes, or it is rejected. The rows after it are still parsed with the first
//! line's columns, and each that does not fit is rejected.

use crate::base::record::RejectReason;
use crate::list::format::cell::{parse_cell, strip_byte_order_mark, strip_carriage_return};
use crate::list::format::digest::HashSpec;
use crate::list::format::plain::{Parsed, trimmed};

/// Parses the line of column names. `None` for other lines.
pub(super) fn parse_columns(line: &[u8]) -> Option<Vec<String>> {
    let rest = line.strip_prefix(b"%%%%")?.trim_ascii();
    if rest.starts_with(b"HASHDEEP") {
        return None;
    }
    let text = std::str::from_utf8(rest).ok()?;
    Some(text.split(',').map(|c| c.trim().to_owned()).collect())
}

#[derive(Debug)]
pub(super) struct HashdeepParser {
    hash_spec: HashSpec,
    hash_index: usize,
    wanted: Vec<usize>,
    columns: Vec<String>,
    values: Vec<Vec<u8>>,
}

impl HashdeepParser {
    pub(super) fn new(
        hash_spec: HashSpec,
        hash_index: usize,
        wanted: Vec<usize>,
        columns: Vec<String>,
    ) -> Self {
        HashdeepParser {
            hash_spec,
            hash_index,
            values: vec![Vec::new(); wanted.len()],
            wanted,
            columns,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let line = strip_carriage_return(strip_byte_order_mark(line));
        match line.first() {
            None | Some(b'#') => return Parsed::Skipped,
            Some(b'%') if line.starts_with(b"%%%%") => return self.classify_header(line),
            _ if trimmed(line).is_empty() => return Parsed::Skipped,
            _ => {}
        }
        self.values.iter_mut().for_each(Vec::clear);
        let mut parsed = Parsed::Rejected(RejectReason::Columns);
        let fields = line.splitn(self.columns.len(), |b| *b == b',');
        for (at, field) in fields.enumerate() {
            if at == self.hash_index {
                parsed = parse_cell(field, self.hash_spec);
            }
            for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
                if at == *wanted {
                    value.extend_from_slice(field);
                }
            }
        }
        parsed
    }

    #[cold]
    fn classify_header(&self, line: &[u8]) -> Parsed {
        let Some(names) = parse_columns(line) else {
            return Parsed::Skipped;
        };
        let same = |at: &usize| names.get(*at) == self.columns.get(*at);
        match same(&self.hash_index) && self.wanted.iter().all(same) {
            true => Parsed::Skipped,
            false => Parsed::Rejected(RejectReason::Header),
        }
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }
}
