//! Tables: separated by commas (RFC 4180), semicolons, tabs, or `|`.
//!
//! csv-core splits the fields, without allocations. In a table separated by commas or
//! semicolons a quoted field may hold line feeds: the row then continues in the next line.
//! (A carriage return before that line feed is dropped.) In other tables a row is one
//! line, and the end of the line closes an open quote.
//!
//! A line that begins with `#` is a comment, such as PowerShell's `#TYPE`. If its hash
//! column holds a hash it is a row: a file name may begin with `#`.

use crate::base::hash::fold;
use crate::base::record::RejectReason;
use crate::list::format::cell::{
    algorithm_from_column_name, hex_digits, is_generic_hash_name, is_hash, is_no_hash_marker,
    parse_cell, strip_byte_order_mark, strip_carriage_return,
};
use crate::list::format::digest::HashSpec;
use crate::list::format::kind::Format;
use crate::list::format::mix::other_algorithm;
use crate::list::format::plain::{Parsed, trimmed};
use crate::list::format::quoting;
use crate::list::format::quoting::FieldReader;
use crate::list::format::types::{RowType, hash_after_name};
use csv_core::ReadFieldResult;

/// Detects the format of a table by its header or a row. `column` is the hash column from
/// the options. `None` if `line` belongs to no table.
pub(super) fn detect_format(line: &[u8], column: Option<&str>) -> Option<Format> {
    for (delimiter, format) in [
        (b',', Format::Csv),
        (b'\t', Format::Tsv),
        (b'|', Format::Psv),
        (b';', Format::Semicolon),
    ] {
        let fields = fields(line, delimiter);
        let quoted = trimmed(line).starts_with(b"\"") && !line.contains(&b';');
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

/// True if the fields are column names and one of them names a hash column. `column` is the
/// hash column from the options, by name or by number from 1.
pub(super) fn is_header(fields: &[String], column: Option<&str>) -> bool {
    if fields.iter().any(|f| holds_hash(f)) {
        return false;
    }
    let is_column = |f: &String| column.is_some_and(|c| !fold(c).is_empty() && fold(c) == fold(f));
    let at = column.and_then(|c| c.parse::<usize>().ok()?.checked_sub(1));
    // A name is shorter than a hash, and not a damaged hash.
    let word = |f: &String| f.trim().len() < 32 && is_name(f.trim());
    fields
        .iter()
        .any(|f| algorithm_from_column_name(f).is_some() || is_generic_hash_name(f) || is_column(f))
        || at.and_then(|at| fields.get(at)).is_some_and(word)
}

/// True if `text` is or contains a hash.
fn holds_hash(text: &str) -> bool {
    let words = text.as_bytes().split(|b| !b.is_ascii_hexdigit());
    words.into_iter().any(is_hash)
}

/// True if `first` is a header of `rows` that names no hash column. It has words where
/// the rows hold hashes, and shares no value with them elsewhere.
pub(super) fn is_header_without_hash_name(first: &[String], rows: &[Vec<String>]) -> bool {
    let is_cell = |text: &String| is_hash(text.trim().as_bytes());
    let rows = || rows.iter().filter(|row| row.as_slice() != first);
    let width = rows().find(|row| row.iter().any(is_cell)).map(Vec::len);
    if width != Some(first.len()) || first.len() < 2 {
        return false;
    }
    let names = first.iter().enumerate();
    names.into_iter().all(|(at, name)| {
        let mut column = rows().filter_map(|row| row.get(at));
        match name.trim().is_empty() {
            true => !column.any(is_cell),
            false => is_name(name.trim()) && !column.any(|text| text == name),
        }
    })
}

/// True if `text` can be a column name.
fn is_name(text: &str) -> bool {
    const NO_NAMES: [&str; 8] = [
        "n/a",
        "na",
        "none",
        "null",
        "nan",
        "unknown",
        "error",
        "undefined",
    ];
    let is_value = |text: &str| NO_NAMES.iter().any(|n| text.eq_ignore_ascii_case(n));
    let begins = |c: char| c.is_alphabetic() || matches!(c, '_' | '#' | '(' | '[' | '@' | '$');
    let is_broken_hash = text.len() >= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    text.len() <= 64
        && text.starts_with(begins)
        && text.contains(char::is_alphabetic)
        && !text.contains(['\\', '\n'])
        && !text.contains("//")
        && !is_broken_hash
        && !is_no_hash_marker(text.as_bytes())
        && !is_value(text)
        && !holds_hash(text)
}

/// Maximum share, in percent, at which a column's hashes of one length are ignored as stray.
const STRAY_PERCENT: usize = 5;

/// Detects the columns of these rows that hold hashes, each with the number of digits. If
/// several columns hold hashes of one length, those that also hold other text are ignored:
/// files may be named after their hash.
pub(super) fn hash_columns(rows: &[Vec<String>]) -> Vec<(usize, usize)> {
    // Column, digits, whether it also holds other text, number of hashes.
    let mut columns: Vec<(usize, usize, bool, usize)> = Vec::new();
    for (at, text) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        let Some(digits) = hex_digits(text.trim().as_bytes()) else {
            continue;
        };
        match columns.iter_mut().find(|c| (c.0, c.1) == (at, digits)) {
            Some(known) => known.3 += 1,
            None => columns.push((at, digits, false, 1)),
        }
    }
    let all = columns.clone();
    columns.retain(|c| {
        let of_column = all.iter().filter(|other| other.0 == c.0);
        c.3 * 100 > STRAY_PERCENT * of_column.map(|other| other.3).sum::<usize>()
    });
    for column in &mut columns {
        let texts = rows.iter().filter_map(|row| row.get(column.0));
        let is_other = |text: &str| {
            let is_one = hex_digits(text.as_bytes()) == Some(column.1);
            !is_one && !is_no_hash_marker(text.as_bytes())
        };
        column.2 = texts.into_iter().any(|text| is_other(text.trim()));
    }
    let pure = |digits| columns.iter().any(|c| c.1 == digits && !c.2);
    let kept = columns.iter().filter(|c| !c.2 || !pure(c.1));
    let mut kept: Vec<(usize, usize)> = kept.map(|c| (c.0, c.1)).collect();
    kept.sort_unstable();
    kept
}

/// Splits a row on one line into fields, for detection and messages.
pub(super) fn fields(line: &[u8], delimiter: u8) -> Vec<String> {
    quoting::fields(
        strip_carriage_return(strip_byte_order_mark(line)),
        delimiter,
    )
}

/// True if `line` is `sep=;`, which sets the delimiter in Excel.
pub(super) fn is_excel_separator(line: &[u8]) -> bool {
    line.len() == 5 && line.starts_with(b"sep=")
}

#[derive(Debug)]
pub(super) struct DelimitedParser {
    reader: FieldReader,
    hash_spec: HashSpec,
    hash_index: usize,
    /// Name of the hash column. `None` without a header.
    hash_name: Option<String>,
    /// True if hashes of other algorithms are skipped.
    skips_others: bool,
    /// The column that names the algorithm of each hash. `None` if the table has none.
    type_column: Option<TypeColumn>,
    wanted: Vec<usize>,
    /// Names of the wanted columns. `None` without a header.
    wanted_names: Vec<Option<String>>,
    /// True if a row may continue in the next line.
    spans_lines: bool,
    /// State of the current row: index of the field, its text so far, and the text of the
    /// hash and of the wanted columns.
    field_index: usize,
    in_row: bool,
    field: Vec<u8>,
    hash_text: Vec<u8>,
    has_hash: bool,
    values: Vec<Vec<u8>>,
    buffer: Box<[u8; 512]>,
}

/// The type column, which names the kind of hash in each row.
#[derive(Debug)]
struct TypeColumn {
    index: usize,
    text: Vec<u8>,
    /// The last type and its meaning: a table has few different types.
    last: Vec<u8>,
    row_type: RowType,
}

/// The hash column, and the treatment of other algorithms' hashes in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashColumn {
    pub(super) index: usize,
    /// True if hashes of other algorithms are skipped; false if they are rejected.
    pub(super) skips_others: bool,
    /// Index of the type column. `None` if the table has none.
    pub(super) type_index: Option<usize>,
}

impl DelimitedParser {
    pub(super) fn new(
        format: Format,
        hash_spec: HashSpec,
        hash: HashColumn,
        wanted: Vec<usize>,
        names: &[String],
    ) -> Self {
        let type_column = hash.type_index.map(|column| TypeColumn {
            index: column,
            text: Vec::new(),
            last: Vec::new(),
            row_type: RowType::Unspecified,
        });
        let HashColumn {
            index: hash_index,
            skips_others,
            ..
        } = hash;
        DelimitedParser {
            reader: FieldReader::new(format.delimiter().unwrap_or(b',')),
            hash_spec,
            hash_index,
            hash_name: names.get(hash_index).cloned(),
            skips_others,
            type_column,
            values: vec![Vec::new(); wanted.len()],
            wanted_names: wanted.iter().map(|at| names.get(*at).cloned()).collect(),
            wanted,
            spans_lines: matches!(format, Format::Csv | Format::Semicolon),
            field_index: 0,
            in_row: false,
            field: Vec::new(),
            hash_text: Vec::new(),
            has_hash: false,
            buffer: Box::new([0; 512]),
        }
    }

    /// Parses the row that ends in `line`. Returns [`Parsed::Continues`] if it does not end
    /// there.
    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let mut line = strip_carriage_return(line);
        let mut comment = false;
        if !self.in_row {
            line = strip_byte_order_mark(line);
            if trimmed(line).is_empty() || is_excel_separator(line) {
                return Parsed::Skipped;
            }
            self.start_row();
            comment = line.starts_with(b"#");
        }
        let ended = self.feed(line, line) || self.feed(b"\n", line);
        if !ended && self.spans_lines && !comment {
            self.in_row = true;
            return Parsed::Continues;
        }
        if !ended {
            self.finish_field(line);
            self.reader.reset();
        }
        self.in_row = false;
        match self.finish_row() {
            Parsed::Rejected(_) | Parsed::Other(_) if comment => Parsed::Skipped,
            Parsed::Rejected(RejectReason::Columns) if !ended => {
                Parsed::Rejected(RejectReason::Quote)
            }
            parsed => parsed,
        }
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n).map(Vec::as_slice)
    }

    /// Discards an unfinished row.
    pub(super) fn abandon_row(&mut self) {
        self.reader.reset();
        self.in_row = false;
    }

    fn start_row(&mut self) {
        self.field_index = 0;
        self.field.clear();
        self.hash_text.clear();
        self.has_hash = false;
        self.values.iter_mut().for_each(Vec::clear);
        if let Some(types) = &mut self.type_column {
            types.text.clear();
        }
    }

    /// True if the text of the current field is needed.
    fn is_of_interest(&self) -> bool {
        self.field_index == self.hash_index
            || self.wanted.contains(&self.field_index)
            || self
                .type_column
                .as_ref()
                .is_some_and(|t| t.index == self.field_index)
    }

    /// Reads `input`, which is `line` or its line feed. Returns true if the row has ended.
    fn feed(&mut self, input: &[u8], line: &[u8]) -> bool {
        let mut at = 0;
        while at < input.len() {
            let (result, read, wrote) = self.reader.read(&input[at..], &mut self.buffer[..]);
            at += read;
            if self.is_of_interest() {
                self.field.extend_from_slice(&self.buffer[..wrote]);
            }
            match result {
                ReadFieldResult::Field { record_end } => {
                    let before = match record_end {
                        true => line,
                        false => &input[..at - 1],
                    };
                    self.finish_field(before);
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

    /// Stores a finished field; `before` is its line up to the end of the field.
    fn finish_field(&mut self, before: &[u8]) {
        if !self.field.is_empty() {
            let blanks = self.reader.blanks_after_quote(before);
            let length = self.field.len().saturating_sub(blanks);
            self.field.truncate(length);
        }
        if let Some(types) = self
            .type_column
            .as_mut()
            .filter(|t| t.index == self.field_index)
        {
            types.text.extend_from_slice(&self.field);
        }
        for (wanted, value) in self.wanted.iter().zip(&mut self.values) {
            if *wanted == self.field_index {
                value.extend_from_slice(&self.field);
            }
        }
        if self.field_index == self.hash_index {
            std::mem::swap(&mut self.hash_text, &mut self.field);
            self.has_hash = true;
        }
        self.field.clear();
        self.field_index += 1;
    }

    /// Classifies a finished row.
    fn finish_row(&mut self) -> Parsed {
        if !self.has_hash {
            return Parsed::Rejected(RejectReason::Columns);
        }
        let says = self
            .type_column
            .as_mut()
            .map_or(RowType::Unspecified, TypeColumn::read_type);
        let parsed = match says {
            RowType::Unspecified => parse_cell(&self.hash_text, self.hash_spec),
            says => self.parse_typed(says),
        };
        match parsed {
            Parsed::Rejected(reason) => {
                match other_algorithm(&self.hash_text, self.hash_spec.hex_digits) {
                    Some(other) if self.skips_others && says == RowType::Unspecified => {
                        Parsed::Other(other)
                    }
                    _ => self.classify_header(reason),
                }
            }
            parsed => parsed,
        }
    }

    /// Classifies a row by its type `says`.
    fn parse_typed(&self, says: RowType) -> Parsed {
        match says {
            RowType::Hash(a) | RowType::NameAndHash(a) if a != self.hash_spec.algorithm => {
                Parsed::Other(a)
            }
            RowType::NameAndHash(_) => parse_cell(hash_after_name(&self.hash_text), self.hash_spec),
            RowType::Hash(_) | RowType::Unspecified => parse_cell(&self.hash_text, self.hash_spec),
            RowType::Other if is_hash(self.hash_text.trim_ascii()) => {
                Parsed::Rejected(RejectReason::Algorithm)
            }
            RowType::Other => Parsed::Rejected(RejectReason::NoHash),
        }
    }

    /// Classifies a row without a hash: concatenated lists repeat their headers.
    #[cold]
    fn classify_header(&self, reason: RejectReason) -> Parsed {
        let text = std::str::from_utf8(self.hash_text.trim_ascii()).unwrap_or_default();
        let is_name = |text: &str, name: &Option<String>| {
            name.as_ref().is_some_and(|name| name.trim() == text)
        };
        if is_name(text, &self.hash_name) {
            let texts = self
                .values
                .iter()
                .map(|v| std::str::from_utf8(v).unwrap_or_default());
            let same =
                (texts.zip(&self.wanted_names)).all(|(text, name)| is_name(text.trim(), name));
            return match same {
                true => Parsed::Skipped,
                false => Parsed::Rejected(RejectReason::Header),
            };
        }
        let names_hashes = algorithm_from_column_name(text).is_some() || is_generic_hash_name(text);
        Parsed::Rejected(match names_hashes && self.hash_name.is_some() {
            true => RejectReason::Header,
            false => reason,
        })
    }
}

impl TypeColumn {
    /// Returns the type of the current row.
    fn read_type(&mut self) -> RowType {
        if self.text != self.last {
            self.last.clone_from(&self.text);
            let text = std::str::from_utf8(&self.text);
            self.row_type = text.map_or(RowType::Other, RowType::parse);
        }
        self.row_type
    }
}
