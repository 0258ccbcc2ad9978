//! What PowerShell's `Get-FileHash` prints, as a table and as a list.
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
//! A table has the columns that were asked for, in any order; one that is too narrow cuts
//! paths off, and they are taken as they stand. A record of a list is one row: a blank
//! line ends it, and lines that begin with blanks go on with the value before them. As CSV
//! it is a table as any other.

use crate::base::hash::Algorithm;
use crate::base::record::Reason;
use crate::list::format::cell::{in_column, is_hash, says_none, without_mark, without_return};
use crate::list::format::digest::Digest;
use crate::list::format::plain::{Parsed, content};

/// A column of such output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Algorithm,
    Hash,
    Path,
}

impl Column {
    fn named(name: &[u8]) -> Option<Column> {
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

/// The columns that `line` names, the header of a table.
fn header(line: &[u8]) -> Option<Vec<Column>> {
    let mut columns = Vec::new();
    for word in words(content(line)) {
        columns.push(Column::named(word).filter(|c| !columns.contains(c))?);
    }
    columns.contains(&Column::Hash).then_some(columns)
}

/// Whether `line` is the one below a header.
fn is_rule(line: &[u8]) -> bool {
    let text = content(line);
    !text.is_empty() && text.iter().all(|b| matches!(b, b'-' | b' '))
}

/// The name and the value of a line such as `Hash      : 3A21…`.
fn property(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|b| *b == b':')?;
    let (name, value) = (line[..at].trim_ascii_end(), &line[at + 1..]);
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let begins = name.first().is_some_and(u8::is_ascii_alphabetic);
    // The colon stands apart, or ends the line: `C:\x` is none.
    let apart = line.get(at.checked_sub(1)?) == Some(&b' ');
    let is_one = begins && apart && name.iter().all(is_name);
    is_one.then_some((name, value.trim_ascii()))
}

/// Which of the two `line` begins, which `next` follows: the names of its columns.
pub(super) fn columns(lines: &[&[u8]]) -> Option<(bool, Vec<String>)> {
    let [first, rest @ ..] = lines else {
        return None;
    };
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    if rest.first().is_some_and(|next| is_rule(next)) && header(first).is_some() {
        return Some((true, words(content(first)).map(text).collect()));
    }
    let mut names: Vec<String> = Vec::new();
    let mut hashes = 0;
    for line in lines {
        let Some((name, value)) = property(without_return(without_mark(line))) else {
            // A value that goes on.
            match line.first() {
                Some(b' ') if !names.is_empty() => continue,
                _ => break,
            }
        };
        if names.iter().any(|n| n.as_bytes() == name) {
            break;
        }
        let is_value = is_hash(value) || says_none(value) || value.len() >= 32;
        hashes += usize::from(Column::named(name) == Some(Column::Hash) && is_value);
        names.push(text(name));
    }
    (hashes == 1).then_some((false, names))
}

/// The algorithm of the first of `lines` that says it.
pub(super) fn algorithm(lines: &[&[u8]]) -> Option<Algorithm> {
    let in_line = |line: &&[u8]| {
        let text = content(line);
        if let Some((name, value)) = property(text) {
            return match Column::named(name)? {
                Column::Algorithm => Algorithm::from_tag(value),
                Column::Hash => of_hash(value),
                Column::Path => None,
            };
        }
        words(text).find_map(|word| Algorithm::from_tag(word).or_else(|| of_hash(word)))
    };
    lines.iter().find_map(in_line)
}

fn of_hash(text: &[u8]) -> Option<Algorithm> {
    Algorithm::of_hex_digits(text.len()).filter(|_| is_hash(text))
}

/// Reads the rows of a table.
#[derive(Debug)]
pub(super) struct TableParser {
    digits: Digest,
    columns: Vec<Column>,
    wanted: Vec<usize>,
    values: Vec<Vec<u8>>,
}

impl TableParser {
    pub(super) fn new(digits: Digest, names: &[String], wanted: Vec<usize>) -> TableParser {
        let columns = names.iter().filter_map(|n| Column::named(n.as_bytes()));
        TableParser {
            digits,
            columns: columns.collect(),
            values: vec![Vec::new(); wanted.len()],
            wanted,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        self.values.iter_mut().for_each(Vec::clear);
        let text = content(line);
        if text.is_empty() || is_rule(text) {
            return Parsed::Skipped;
        }
        if let Some(columns) = header(text) {
            return match columns == self.columns {
                true => Parsed::Skipped,
                false => Parsed::Rejected(Reason::Header),
            };
        }
        // Only a path may hold blanks: it is what words on either side leave.
        let path = self.columns.iter().position(|c| *c == Column::Path);
        let mut rest = text;
        let (mut tag, mut hash) = (&b""[..], None);
        let before = path.unwrap_or(self.columns.len());
        for at in 0..before {
            let end = rest.iter().position(u8::is_ascii_whitespace);
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind.trim_ascii_start();
            self.put(at, word, &mut tag, &mut hash);
        }
        for at in (before + 1..self.columns.len()).rev() {
            let start = rest.iter().rposition(u8::is_ascii_whitespace);
            let (ahead, word) = rest.split_at(start.map_or(0, |s| s + 1));
            rest = ahead.trim_ascii_end();
            self.put(at, word, &mut tag, &mut hash);
        }
        if let Some(at) = path {
            self.put(at, rest, &mut tag, &mut hash);
        }
        judged(self.digits, tag, hash)
    }

    /// Takes what stands in the column `at`.
    fn put<'t>(
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

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }
}

/// What a row with this hash is, whose algorithm is called `tag`.
fn judged(digits: Digest, tag: &[u8], hash: Option<&[u8]>) -> Parsed {
    let Some(hash) = hash else {
        return Parsed::Rejected(Reason::NoHash);
    };
    match Algorithm::from_tag(tag) {
        Some(named) if named != digits.algorithm => Parsed::Other(named),
        None if !tag.is_empty() => Parsed::Rejected(Reason::Algorithm),
        _ => in_column(hash, digits),
    }
}

/// Reads the records of a list.
#[derive(Debug)]
pub(super) struct ListParser {
    digits: Digest,
    names: Vec<String>,
    wanted: Vec<usize>,
    /// The record that is being read: its values, that which was read last, and whether it
    /// is none.
    begun: bool,
    values: Vec<Option<Vec<u8>>>,
    last: Option<usize>,
    is_broken: bool,
}

impl ListParser {
    pub(super) fn new(digits: Digest, names: &[String], wanted: Vec<usize>) -> ListParser {
        ListParser {
            digits,
            names: names.to_vec(),
            wanted,
            begun: false,
            values: vec![None; names.len()],
            last: None,
            is_broken: false,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let line = without_return(without_mark(line));
        if content(line).is_empty() {
            return self.finish().unwrap_or(Parsed::Skipped);
        }
        let named = property(line);
        if !self.begun {
            if named.is_none() {
                return match in_column(line, self.digits) {
                    Parsed::Hash(_) => Parsed::Rejected(Reason::Record),
                    other => other,
                };
            }
            self.start();
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
        // Where only the hash was asked for, each line is a record.
        match self.names.len() {
            1 if self.is_whole() => self.finish().unwrap_or(Parsed::Skipped),
            _ => Parsed::Continues,
        }
    }

    /// Whether the only value is as long as a hash.
    fn is_whole(&self) -> bool {
        let value = self.values.first().and_then(Option::as_ref);
        value.is_some_and(|v| v.len() >= self.digits.digits)
    }

    /// What the record is that has begun, which ends now.
    pub(super) fn finish(&mut self) -> Option<Parsed> {
        if !std::mem::take(&mut self.begun) {
            return None;
        }
        if self.is_broken {
            return Some(Parsed::Rejected(Reason::Record));
        }
        let of = |column| {
            let mut names = self.names.iter();
            let at = names.position(|n| Column::named(n.as_bytes()) == Some(column));
            at.and_then(|at| self.values.get(at)?.as_deref())
        };
        let tag = of(Column::Algorithm).unwrap_or_default();
        Some(judged(self.digits, tag, of(Column::Hash)))
    }

    fn start(&mut self) {
        self.values.iter_mut().for_each(|v| *v = None);
        (self.begun, self.last, self.is_broken) = (true, None, false);
    }

    /// Forgets a record that has begun.
    pub(super) fn forget(&mut self) {
        self.begun = false;
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(*self.wanted.get(n)?)?.as_deref()
    }
}
