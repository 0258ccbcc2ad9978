//! Tables: comma-separated as of RFC 4180, tab-separated, or separated by `|`.
//!
//! The fields are told apart by csv-core, which needs no memory of its own. A quoted
//! field may hold line feeds: then its row goes on in the next line.

use super::{Format, algorithm_named, in_column, is_generic};
use crate::algorithm::{Algorithm, Hash, fold};
use crate::record::{Parsed, Reason, content};
use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};

fn reader(delimiter: u8) -> Reader {
    ReaderBuilder::new()
        .delimiter(delimiter)
        // A carriage return before it is taken off where the row ends.
        .terminator(Terminator::Any(b'\n'))
        .build()
}

/// The format of the table that begins with `line`, when it is one.
pub(super) fn format_of(line: &[u8]) -> Option<Format> {
    for (delimiter, format) in [
        (b',', Format::Csv),
        (b'\t', Format::Tsv),
        (b'|', Format::Psv),
    ] {
        let fields = fields(line, delimiter);
        let quoted = line.starts_with(b"\"");
        if fields.len() < 2 && !(quoted && delimiter == b',') {
            continue;
        }
        if is_header_row(&fields) {
            let has = |name: &str| fields.iter().any(|f| fold(f) == name);
            return Some(match format {
                Format::Csv if has("productcode") && has("sha1") => Format::Nsrl,
                Format::Csv if has("hashsetid") && has("hash") => Format::Hashkeeper,
                Format::Csv if has("v3hash") => Format::Ilook,
                format => format,
            });
        }
        if !hashes(&fields).is_empty() {
            return Some(format);
        }
    }
    None
}

/// Whether these are the names of columns, one of which holds hashes.
pub(super) fn is_header_row(fields: &[String]) -> bool {
    fields
        .iter()
        .any(|f| algorithm_named(f).is_some() || is_generic(f))
        && hashes(fields).is_empty()
}

/// Which fields are hashes of a length that is known, and of how many digits.
pub(super) fn hashes(fields: &[String]) -> Vec<(usize, usize)> {
    let digits = |f: &String| {
        let text = f.trim().as_bytes();
        Hash::from_hex(text)?;
        Algorithm::of_hex_digits(text.len()).map(|_| text.len())
    };
    let each = fields.iter().enumerate();
    each.filter_map(|(at, f)| Some((at, digits(f)?))).collect()
}

/// The fields of a row that stands in one line, as text for people.
pub(super) fn fields(line: &[u8], delimiter: u8) -> Vec<String> {
    let mut reader = reader(delimiter);
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (mut fields, mut field) = (Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    for (mut rest, last) in [(line, false), (&b"\n"[..], true)] {
        loop {
            let (result, read, wrote) = reader.read_field(rest, &mut buffer);
            rest = &rest[read..];
            field.extend_from_slice(&buffer[..wrote]);
            match result {
                ReadFieldResult::Field { record_end } => {
                    fields.push(String::from_utf8_lossy(&field).into_owned());
                    field.clear();
                    if record_end {
                        return fields;
                    }
                }
                ReadFieldResult::OutputFull => {}
                ReadFieldResult::InputEmpty | ReadFieldResult::End => break,
            }
            if rest.is_empty() {
                break;
            }
        }
        if last {
            // A quoted field that is not closed.
            fields.push(String::from_utf8_lossy(&field).into_owned());
        }
    }
    fields
}

#[derive(Debug)]
pub(super) struct DelimitedParser {
    reader: Reader,
    digits: usize,
    hash: usize,
    /// The hash column's name.
    name: Option<String>,
    wanted: Vec<usize>,
    /// The last column of interest.
    most: usize,
    /// Whether a row may go on in the next line.
    several_lines: bool,
    /// The row that is being read: the number of the field, what of it and of the
    /// fields of interest there is.
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
        delimiter: u8,
        digits: usize,
        hash: usize,
        wanted: Vec<usize>,
        name: Option<String>,
        several_lines: bool,
    ) -> Self {
        DelimitedParser {
            reader: reader(delimiter),
            digits,
            hash,
            name,
            most: wanted.iter().copied().chain([hash]).max().unwrap_or(hash),
            values: vec![Vec::new(); wanted.len()],
            wanted,
            several_lines,
            at: 0,
            begun: false,
            field: Vec::new(),
            hash_text: Vec::new(),
            has_hash: false,
            buffer: Box::new([0; 512]),
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let mut line = line;
        if !self.begun {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
            if content(line).is_empty() {
                return Parsed::Skipped;
            }
            self.start();
        }
        let comment = !self.begun && line[0] == b'#';
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let ended = self.feed(text, false) || self.feed(b"\n", true);
        if !ended {
            if comment || !self.several_lines {
                self.forget();
                return match comment {
                    true => Parsed::Skipped,
                    false => self.row_so_far(),
                };
            }
            self.begun = true;
            return Parsed::Continues;
        }
        self.begun = false;
        match self.row() {
            // What begins so is a comment, unless it is a row with a hash.
            Parsed::Rejected(_) if comment => Parsed::Skipped,
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

    /// Reads `input`, a line, or the end of one; true when the row has ended.
    fn feed(&mut self, mut input: &[u8], end_of_line: bool) -> bool {
        while !input.is_empty() {
            let (result, read, wrote) = self.reader.read_field(input, &mut self.buffer[..]);
            input = &input[read..];
            if self.at <= self.most {
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
        debug_assert!(!end_of_line || input.is_empty());
        false
    }

    fn end_of_field(&mut self) {
        if self.at == self.hash {
            std::mem::swap(&mut self.hash_text, &mut self.field);
            self.has_hash = true;
            self.keep(true);
        } else {
            self.keep(false);
        }
        self.field.clear();
        self.at += 1;
    }

    /// Keeps the field that has ended where it is wanted.
    fn keep(&mut self, is_hash: bool) {
        let from = match is_hash {
            true => &self.hash_text,
            false => &self.field,
        };
        for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
            if *wanted == self.at {
                value.extend_from_slice(from);
            }
        }
    }

    /// What a row is whose last field was not closed, where it cannot go on.
    fn row_so_far(&mut self) -> Parsed {
        self.end_of_field();
        match self.row() {
            Parsed::Rejected(Reason::Columns) => Parsed::Rejected(Reason::Quote),
            parsed => parsed,
        }
    }

    /// What the row that has ended is.
    fn row(&self) -> Parsed {
        if !self.has_hash {
            return Parsed::Rejected(Reason::Columns);
        }
        let parsed = in_column(&self.hash_text, self.digits);
        if let Parsed::Rejected(_) = parsed {
            let text = std::str::from_utf8(self.hash_text.trim_ascii()).unwrap_or_default();
            // A header, as where lists were put one behind another.
            if self.name.as_ref().is_some_and(|name| name.trim() == text) {
                return Parsed::Skipped;
            }
            if algorithm_named(text).is_some() || is_generic(text) {
                return Parsed::Rejected(Reason::Header);
            }
        }
        parsed
    }
}
