//! Output of PowerShell's `Get-FileHash`, as a table or a list.
//!
//! ```text
//! Algorithm       Hash                                Path
//! ---------       ----                                ----
//! SHA256          3A21…                               C:\a b.txt
//!
//! Algorithm : SHA256
//! Hash      : 3A21…
//! Path      : C:\a b.txt
//! ```
//!
//! A table has the columns that the user selected, in any order. A narrow console truncates
//! paths; they are read as printed. In a list a record is one row: a blank line ends it, and
//! a line that begins with blanks continues the value before it. Output converted to CSV is
//! an ordinary table.

use crate::base::hash::Algorithm;
use crate::base::record::RejectReason;
use crate::list::format::cell::{
    is_hash, is_no_hash_marker, parse_cell, strip_byte_order_mark, strip_carriage_return,
};
use crate::list::format::digest::HashSpec;
use crate::list::format::plain::{Parsed, trimmed};

/// A column of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Algorithm,
    Hash,
    Path,
}

impl Column {
    fn from_name(name: &[u8]) -> Option<Column> {
        let each = [
            (&b"algorithm"[..], Column::Algorithm),
            (b"hash", Column::Hash),
            (b"path", Column::Path),
        ];
        let named = each.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, column)| *column)
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty())
}

/// Parses the header of a table. `None` if `line` is not a header.
fn parse_header(line: &[u8]) -> Option<Vec<Column>> {
    let mut columns = Vec::new();
    for word in words(trimmed(line)) {
        columns.push(Column::from_name(word).filter(|c| !columns.contains(c))?);
    }
    columns.contains(&Column::Hash).then_some(columns)
}

/// True if `line` is the line of dashes below a header.
fn is_underline(line: &[u8]) -> bool {
    let text = trimmed(line);
    !text.is_empty() && text.iter().all(|b| matches!(b, b'-' | b' '))
}

/// Parses name and value of a line such as `Hash      : 3A21…`. `None` for other lines.
fn parse_property(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|b| *b == b':')?;
    let (name, value) = (line[..at].trim_ascii_end(), &line[at + 1..]);
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let begins = name.first().is_some_and(u8::is_ascii_alphabetic);
    // A blank precedes the colon: `C:\x` is not a property.
    let is_separate = line.get(at.checked_sub(1)?) == Some(&b' ');
    let is_property = begins && is_separate && name.iter().all(is_name);
    is_property.then_some((name, value.trim_ascii()))
}

/// Detects output that starts with `lines`: whether it is a table, and its column names.
/// `None` if it is neither a table nor a list.
pub(super) fn detect_columns(lines: &[&[u8]]) -> Option<(bool, Vec<String>)> {
    let [first, rest @ ..] = lines else {
        return None;
    };
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    if rest.first().is_some_and(|next| is_underline(next)) && parse_header(first).is_some() {
        return Some((true, words(trimmed(first)).map(text).collect()));
    }
    let mut names: Vec<String> = Vec::new();
    let mut hashes = 0;
    for line in lines {
        let Some((name, value)) =
            parse_property(strip_carriage_return(strip_byte_order_mark(line)))
        else {
            // A continued value.
            match line.first() {
                Some(b' ') if !names.is_empty() => continue,
                _ => break,
            }
        };
        if names.iter().any(|n| n.as_bytes() == name) {
            break;
        }
        let is_value = is_hash(value) || is_no_hash_marker(value) || value.len() >= 32;
        hashes += usize::from(Column::from_name(name) == Some(Column::Hash) && is_value);
        names.push(text(name));
    }
    (hashes == 1).then_some((false, names))
}

/// The algorithm of the first hash in `lines`, by its tag or else by its length.
pub(super) fn algorithm(lines: &[&[u8]]) -> Option<Algorithm> {
    let in_line = |line: &&[u8]| {
        let text = trimmed(line);
        if let Some((name, value)) = parse_property(text) {
            return match Column::from_name(name)? {
                Column::Algorithm => Algorithm::from_tag(value),
                Column::Hash => algorithm_from_hash(value),
                Column::Path => None,
            };
        }
        words(text).find_map(|word| Algorithm::from_tag(word).or_else(|| algorithm_from_hash(word)))
    };
    lines.iter().find_map(in_line)
}

fn algorithm_from_hash(text: &[u8]) -> Option<Algorithm> {
    Algorithm::from_hex_digits(text.len()).filter(|_| is_hash(text))
}

#[derive(Debug)]
pub(super) struct TableParser {
    hash_spec: HashSpec,
    columns: Vec<Column>,
    wanted: Vec<usize>,
    values: Vec<Vec<u8>>,
}

impl TableParser {
    pub(super) fn new(hash_spec: HashSpec, names: &[String], wanted: Vec<usize>) -> TableParser {
        let columns = names.iter().filter_map(|n| Column::from_name(n.as_bytes()));
        TableParser {
            hash_spec,
            columns: columns.collect(),
            values: vec![Vec::new(); wanted.len()],
            wanted,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        self.values.iter_mut().for_each(Vec::clear);
        let text = trimmed(line);
        if text.is_empty() || is_underline(text) {
            return Parsed::Skipped;
        }
        if let Some(columns) = parse_header(text) {
            return match columns == self.columns {
                true => Parsed::Skipped,
                false => Parsed::Rejected(RejectReason::Header),
            };
        }
        // Only a path may hold blanks: it is the text between the other columns' words.
        let path = self.columns.iter().position(|c| *c == Column::Path);
        let mut rest = text;
        let (mut tag, mut hash) = (&b""[..], None);
        let before = path.unwrap_or(self.columns.len());
        for at in 0..before {
            let end = rest.iter().position(u8::is_ascii_whitespace);
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after.trim_ascii_start();
            self.store(at, word, &mut tag, &mut hash);
        }
        for at in (before + 1..self.columns.len()).rev() {
            let start = rest.iter().rposition(u8::is_ascii_whitespace);
            let (before, word) = rest.split_at(start.map_or(0, |s| s + 1));
            rest = before.trim_ascii_end();
            self.store(at, word, &mut tag, &mut hash);
        }
        if let Some(at) = path {
            self.store(at, rest, &mut tag, &mut hash);
        }
        classify(self.hash_spec, tag, hash)
    }

    /// Stores the cell of the column `at`.
    fn store<'t>(
        &mut self,
        at: usize,
        text: &'t [u8],
        tag: &mut &'t [u8],
        hash: &mut Option<&'t [u8]>,
    ) {
        match self.columns.get(at) {
            Some(Column::Algorithm) => *tag = text,
            Some(Column::Hash) => *hash = Some(text),
            _ => {}
        }
        for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
            if *wanted == at {
                value.extend_from_slice(text);
            }
        }
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }
}

/// Classifies a row with this hash and the algorithm's name `tag`.
fn classify(digits: HashSpec, tag: &[u8], hash: Option<&[u8]>) -> Parsed {
    let Some(hash) = hash else {
        return Parsed::Rejected(RejectReason::NoHash);
    };
    match Algorithm::from_tag(tag) {
        Some(named) if named != digits.algorithm => Parsed::Other(named),
        None if !tag.is_empty() => Parsed::Rejected(RejectReason::Algorithm),
        _ => parse_cell(hash, digits),
    }
}

/// Parser of a list of records.
#[derive(Debug)]
pub(super) struct ListParser {
    hash_spec: HashSpec,
    names: Vec<String>,
    wanted: Vec<usize>,
    /// State of the current record: its values, the index of the last one, and whether the
    /// record is malformed.
    in_record: bool,
    values: Vec<Option<Vec<u8>>>,
    last: Option<usize>,
    is_broken: bool,
}

impl ListParser {
    pub(super) fn new(hash_spec: HashSpec, names: &[String], wanted: Vec<usize>) -> ListParser {
        ListParser {
            hash_spec,
            names: names.to_vec(),
            wanted,
            in_record: false,
            values: vec![None; names.len()],
            last: None,
            is_broken: false,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let line = strip_carriage_return(strip_byte_order_mark(line));
        if trimmed(line).is_empty() {
            return self.finish().unwrap_or(Parsed::Skipped);
        }
        let named = parse_property(line);
        if !self.in_record {
            if named.is_none() {
                return match parse_cell(line, self.hash_spec) {
                    Parsed::Hash(_) => Parsed::Rejected(RejectReason::Record),
                    other => other,
                };
            }
            self.start_record();
        }
        match named {
            Some((name, value)) => {
                let at = self.names.iter().position(|n| n.as_bytes() == name);
                self.last = at;
                if let Some(known) = at.and_then(|at| self.values.get_mut(at)) {
                    self.is_broken |= known.is_some();
                    known.get_or_insert_default().extend_from_slice(value);
                }
            }
            None if line.starts_with(b" ") => {
                let last = self.last.and_then(|at| self.values.get_mut(at)?.as_mut());
                if let Some(value) = last {
                    value.extend_from_slice(line.trim_ascii());
                }
            }
            None => self.is_broken = true,
        }
        // With the hash as the only column, each line is a record.
        match self.names.len() {
            1 if self.is_complete() => self.finish().unwrap_or(Parsed::Skipped),
            _ => Parsed::Continues,
        }
    }

    /// True if the only value is at least as long as a hash.
    fn is_complete(&self) -> bool {
        let value = self.values.first().and_then(Option::as_ref);
        value.is_some_and(|v| v.len() >= self.hash_spec.hex_digits)
    }

    /// Ends the current record and classifies it. `None` if there is none.
    pub(super) fn finish(&mut self) -> Option<Parsed> {
        if !std::mem::take(&mut self.in_record) {
            return None;
        }
        if self.is_broken {
            return Some(Parsed::Rejected(RejectReason::Record));
        }
        let value = |column| {
            let mut names = self.names.iter();
            let at = names.position(|n| Column::from_name(n.as_bytes()) == Some(column));
            at.and_then(|at| self.values.get(at)?.as_deref())
        };
        let tag = value(Column::Algorithm).unwrap_or_default();
        Some(classify(self.hash_spec, tag, value(Column::Hash)))
    }

    fn start_record(&mut self) {
        self.values.iter_mut().for_each(|v| *v = None);
        (self.in_record, self.last, self.is_broken) = (true, None, false);
    }

    /// Discards an unfinished record.
    pub(super) fn abandon_record(&mut self) {
        self.in_record = false;
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        self.values.get(*self.wanted.get(n)?)?.as_deref()
    }
}
