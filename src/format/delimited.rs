//! Tables: comma-separated as of RFC 4180, tab-separated, or separated by `|`.
//!
//! The fields are told apart by csv-core, which needs no memory of its own. In a
//! comma-separated table a quoted field may hold line feeds: then its row goes on in the
//! next line. (A carriage return before such a line feed is not kept.) Everywhere else
//! a row is one line, and a quote that is not closed ends with it.
//!
//! A line that begins with `#` is a comment, such as PowerShell's `#TYPE`, unless a hash
//! stands in its hash column: a file may be called so.

use super::layout::{algorithm_named, digits_of, is_generic, is_hash};
use super::{Digest, Format, in_column, says_none, without_mark, without_return};
use crate::algorithm::fold;
use crate::record::{Parsed, Reason, content};
use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};

fn reader(delimiter: u8) -> Reader {
    ReaderBuilder::new()
        .delimiter(delimiter)
        // The carriage return before it is taken off elsewhere.
        .terminator(Terminator::Any(b'\n'))
        .build()
}

/// The format of the table of which `line` is the header or a row, when it is one;
/// `column` is the name of the hash column, where a person said it.
pub(super) fn format_of(line: &[u8], column: Option<&str>) -> Option<Format> {
    for (delimiter, format) in [
        (b',', Format::Csv),
        (b'\t', Format::Tsv),
        (b'|', Format::Psv),
        (b';', Format::Semicolon),
    ] {
        let fields = fields(line, delimiter);
        let quoted = line.starts_with(b"\"") && !line.contains(&b';');
        if fields.len() < 2 && !(quoted && delimiter == b',') {
            continue;
        }
        if is_header(&fields, column) {
            let has = |name: &str| fields.iter().any(|f| fold(f) == name);
            return Some(match format {
                Format::Csv if has("productcode") && has("sha1") => Format::Nsrl,
                Format::Csv if has("hashsetid") && has("hash") => Format::Hashkeeper,
                Format::Csv if has("v1hash") || has("v3hash") || has("v4hash") => Format::Ilook,
                format => format,
            });
        }
        if fields.iter().any(|f| is_hash(f.trim().as_bytes())) {
            return Some(format);
        }
    }
    None
}

/// Whether these are the names of columns, one of which holds hashes, by its name or
/// because a person said so: `column` is its name, or its number from 1.
pub(super) fn is_header(fields: &[String], column: Option<&str>) -> bool {
    if fields.iter().any(|f| is_hash(f.trim().as_bytes())) {
        return false;
    }
    let told = |f: &String| column.is_some_and(|c| !fold(c).is_empty() && fold(c) == fold(f));
    let at = column.and_then(|c| c.parse::<usize>().ok()?.checked_sub(1));
    // What stands there is a word: shorter than a hash, and not a broken one.
    let word = |f: &String| {
        let text = f.trim();
        let letters = text.bytes().any(|b| b.is_ascii_alphabetic());
        letters && text.len() < 32 && !says_none(text.as_bytes())
    };
    fields
        .iter()
        .any(|f| algorithm_named(f).is_some() || is_generic(f) || told(f))
        || at.and_then(|at| fields.get(at)).is_some_and(word)
}

/// Which columns of these rows hold hashes, and of how many digits. Where several hold
/// some of one length, a column that holds anything else (a file may be called by its
/// hash) is none.
pub(super) fn hash_columns(rows: &[Vec<String>]) -> Vec<(usize, usize)> {
    // The column, the digits, and whether there is anything else in it.
    let mut columns: Vec<(usize, usize, bool)> = Vec::new();
    for (at, text) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        let Some(digits) = digits_of(text.trim().as_bytes()) else {
            continue;
        };
        if !columns.iter().any(|c| (c.0, c.1) == (at, digits)) {
            columns.push((at, digits, false));
        }
    }
    for column in &mut columns {
        let texts = rows.iter().filter_map(|row| row.get(column.0));
        let is_other = |text: &str| {
            let is_one = digits_of(text.as_bytes()) == Some(column.1);
            !is_one && !says_none(text.as_bytes())
        };
        column.2 = texts.into_iter().any(|text| is_other(text.trim()));
    }
    let pure = |digits| columns.iter().any(|c| c.1 == digits && !c.2);
    let kept = columns.iter().filter(|c| !c.2 || !pure(c.1));
    let mut kept: Vec<(usize, usize)> = kept.map(|c| (c.0, c.1)).collect();
    kept.sort_unstable();
    kept
}

/// The fields of a row that stands in one line, as text for people.
pub(super) fn fields(line: &[u8], delimiter: u8) -> Vec<String> {
    let mut reader = reader(delimiter);
    let line = without_return(without_mark(line));
    let (mut fields, mut field) = (Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    for mut rest in [line, b"\n"] {
        while !rest.is_empty() {
            let (result, read, wrote) = reader.read_field(rest, &mut buffer);
            rest = &rest[read..];
            field.extend_from_slice(&buffer[..wrote]);
            if let ReadFieldResult::Field { record_end } = result {
                fields.push(String::from_utf8_lossy(&field).into_owned());
                field.clear();
                if record_end {
                    return fields;
                }
            }
        }
    }
    // A quoted field that is not closed.
    fields.push(String::from_utf8_lossy(&field).into_owned());
    fields
}

/// Whether `line` is `sep=;`, which tells Excel the delimiter.
fn is_separator_of_excel(line: &[u8]) -> bool {
    line.len() == 5 && line.starts_with(b"sep=")
}

#[derive(Debug)]
pub(super) struct DelimitedParser {
    reader: Reader,
    digits: Digest,
    hash: usize,
    /// The hash column's name, where a line says it.
    name: Option<String>,
    wanted: Vec<usize>,
    /// The names of the wanted columns.
    wanted_names: Vec<Option<String>>,
    /// Whether a row may go on in the next line.
    spans_lines: bool,
    /// The row that is being read: the number of the field, what of it there is when
    /// it is wanted, and the fields of interest that have ended.
    at: usize,
    begun: bool,
    field: Vec<u8>,
    hash_text: Vec<u8>,
    has_hash: bool,
    values: Vec<Vec<u8>>,
    buffer: Box<[u8; 512]>,
}

impl DelimitedParser {
    pub(super) fn new(
        format: Format,
        digits: Digest,
        hash: usize,
        wanted: Vec<usize>,
        names: &[String],
    ) -> Self {
        DelimitedParser {
            reader: reader(format.delimiter().unwrap_or(b',')),
            digits,
            hash,
            name: names.get(hash).cloned(),
            values: vec![Vec::new(); wanted.len()],
            wanted_names: wanted.iter().map(|at| names.get(*at).cloned()).collect(),
            wanted,
            spans_lines: matches!(format, Format::Csv | Format::Semicolon),
            at: 0,
            begun: false,
            field: Vec::new(),
            hash_text: Vec::new(),
            has_hash: false,
            buffer: Box::new([0; 512]),
        }
    }

    /// What the row that ends in `line` is; [`Parsed::Continues`] when it goes on.
    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let mut line = without_return(line);
        let mut comment = false;
        if !self.begun {
            line = without_mark(line);
            if content(line).is_empty() || is_separator_of_excel(line) {
                return Parsed::Skipped;
            }
            self.start();
            comment = line.starts_with(b"#");
        }
        let ended = self.feed(line) || self.feed(b"\n");
        if !ended && self.spans_lines && !comment {
            self.begun = true;
            return Parsed::Continues;
        }
        if !ended {
            self.end_of_field();
            self.reader.reset();
        }
        self.begun = false;
        match self.row() {
            Parsed::Rejected(_) if comment => Parsed::Skipped,
            Parsed::Rejected(Reason::Columns) if !ended => Parsed::Rejected(Reason::Quote),
            parsed => parsed,
        }
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }

    /// Forgets a row that has begun.
    pub(super) fn forget(&mut self) {
        self.reader.reset();
        self.begun = false;
    }

    fn start(&mut self) {
        self.at = 0;
        self.field.clear();
        self.hash_text.clear();
        self.has_hash = false;
        self.values.iter_mut().for_each(Vec::clear);
    }

    /// Whether the field that is being read is of interest.
    fn is_of_interest(&self) -> bool {
        self.at == self.hash || self.wanted.contains(&self.at)
    }

    /// Reads `input`; true when the row has ended.
    fn feed(&mut self, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let (result, read, wrote) = self.reader.read_field(input, &mut self.buffer[..]);
            input = &input[read..];
            if self.is_of_interest() {
                self.field.extend_from_slice(&self.buffer[..wrote]);
            }
            match result {
                ReadFieldResult::Field { record_end } => {
                    self.end_of_field();
                    if record_end {
                        return true;
                    }
                }
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => return true,
            }
        }
        false
    }

    /// Keeps the field that has ended where it is of interest.
    fn end_of_field(&mut self) {
        for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
            if *wanted == self.at {
                value.extend_from_slice(&self.field);
            }
        }
        if self.at == self.hash {
            std::mem::swap(&mut self.hash_text, &mut self.field);
            self.has_hash = true;
        }
        self.field.clear();
        self.at += 1;
    }

    /// What the row that has ended is.
    fn row(&self) -> Parsed {
        if !self.has_hash {
            return Parsed::Rejected(Reason::Columns);
        }
        match in_column(&self.hash_text, self.digits) {
            Parsed::Rejected(reason) => self.header(reason),
            parsed => parsed,
        }
    }

    /// What a row without a hash is: a header, as where lists were put one behind
    /// another, or none.
    #[cold]
    fn header(&self, reason: Reason) -> Parsed {
        let text = std::str::from_utf8(self.hash_text.trim_ascii()).unwrap_or_default();
        let is_name = |text: &str, name: &Option<String>| {
            name.as_ref().is_some_and(|name| name.trim() == text)
        };
        if is_name(text, &self.name) {
            let texts = self
                .values
                .iter()
                .map(|v| std::str::from_utf8(v).unwrap_or_default());
            let same =
                (texts.zip(&self.wanted_names)).all(|(text, name)| is_name(text.trim(), name));
            return match same {
                true => Parsed::Skipped,
                false => Parsed::Rejected(Reason::Header),
            };
        }
        let names_hashes = algorithm_named(text).is_some() || is_generic(text);
        Parsed::Rejected(match names_hashes && self.name.is_some() {
            true => Reason::Header,
            false => reason,
        })
    }
}
