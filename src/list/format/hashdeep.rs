//! What hashdeep prints.
//!
//! A line `%%%% HASHDEEP-1.0`, a line `%%%% size,md5,sha256,filename` that names the
//! columns, `##` comments, then rows. Nothing is quoted: the file name is the last
//! column, and may hold commas.
//!
//! Lists may be put one behind another: the lines that name columns come again, and
//! must name those that are taken at the same places. One that does not is rejected; the
//! rows behind it are then no rows of the list's columns, and told so one by one.

use crate::base::record::Reason;
use crate::list::format::cell::{in_column, without_mark, without_return};
use crate::list::format::digest::Digest;
use crate::list::format::plain::{Parsed, content};

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
    digits: Digest,
    hash: usize,
    wanted: Vec<usize>,
    columns: Vec<String>,
    values: Vec<Vec<u8>>,
}

impl HashdeepParser {
    pub(super) fn new(
        digits: Digest,
        hash: usize,
        wanted: Vec<usize>,
        columns: Vec<String>,
    ) -> Self {
        HashdeepParser {
            digits,
            hash,
            values: vec![Vec::new(); wanted.len()],
            wanted,
            columns,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let line = without_return(without_mark(line));
        match line.first() {
            None | Some(b'#') => return Parsed::Skipped,
            Some(b'%') if line.starts_with(b"%%%%") => return self.header(line),
            _ if content(line).is_empty() => return Parsed::Skipped,
            _ => {}
        }
        self.values.iter_mut().for_each(Vec::clear);
        let mut parsed = Parsed::Rejected(Reason::Columns);
        let fields = line.splitn(self.columns.len(), |b| *b == b',');
        for (at, field) in fields.enumerate() {
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

    #[cold]
    fn header(&self, line: &[u8]) -> Parsed {
        let Some(names) = columns(line) else {
            return Parsed::Skipped;
        };
        let same = |at: &usize| names.get(*at) == self.columns.get(*at);
        match same(&self.hash) && self.wanted.iter().all(same) {
            true => Parsed::Skipped,
            false => Parsed::Rejected(Reason::Header),
        }
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }
}
