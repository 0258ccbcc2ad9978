//! Tables: comma-separated as of RFC 4180, tab-separated, or separated by `|`.
//!
//! The fields are told apart by csv-core, which needs no memory of its own. In a
//! comma-separated table a quoted field may hold line feeds: then its row goes on in the
//! next line. (A carriage return before such a line feed is not kept.) Everywhere else
//! a row is one line, and a quote that is not closed ends with it.
//!
//! A line that begins with `#` is a comment, such as PowerShell's `#TYPE`, unless a hash
//! stands in its hash column: a file may be called so.

use crate::base::hash::fold;
use crate::base::record::Reason;
use crate::list::format::cell::{
    algorithm_named, digits_of, in_column, is_generic, is_hash, says_none, without_mark,
    without_return,
};
use crate::list::format::digest::Digest;
use crate::list::format::kind::Format;
use crate::list::format::mix::other_in_column;
use crate::list::format::plain::{Parsed, content};
use crate::list::format::quoting;
use crate::list::format::quoting::FieldReader;
use crate::list::format::types::{Type, behind_the_name};
use csv_core::ReadFieldResult;

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
        let quoted = content(line).starts_with(b"\"") && !line.contains(&b';');
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
    if fields.iter().any(|f| holds_hash(f)) {
        return false;
    }
    let told = |f: &String| column.is_some_and(|c| !fold(c).is_empty() && fold(c) == fold(f));
    let at = column.and_then(|c| c.parse::<usize>().ok()?.checked_sub(1));
    // What stands there is a word: shorter than a hash, and not a broken one.
    let word = |f: &String| f.trim().len() < 32 && is_name(f.trim());
    fields
        .iter()
        .any(|f| algorithm_named(f).is_some() || is_generic(f) || told(f))
        || at.and_then(|at| fields.get(at)).is_some_and(word)
}

/// Whether there is a hash in `text`, by itself or between other letters.
fn holds_hash(text: &str) -> bool {
    let words = text.as_bytes().split(|b| !b.is_ascii_hexdigit());
    words.into_iter().any(is_hash)
}

/// Whether `first` names the columns of `rows`, though none as one of hashes: it has words
/// where the rows hold hashes, and none of their values elsewhere.
pub(super) fn names_columns(first: &[String], rows: &[Vec<String>]) -> bool {
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

/// Whether `text` may be a column's name.
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
        && !says_none(text.as_bytes())
        && !is_value(text)
        && !holds_hash(text)
}

/// Hashes of one length are strays where they are no more than this share of a column's,
/// in percent.
const STRAY_PERCENT: usize = 5;

/// Which columns of these rows hold hashes, and of how many digits. Where several hold
/// some of one length, a column that holds anything else (a file may be called by its
/// hash) is none.
pub(super) fn hash_columns(rows: &[Vec<String>]) -> Vec<(usize, usize)> {
    // The column, the digits, whether there is anything else in it, and how many there are.
    let mut columns: Vec<(usize, usize, bool, usize)> = Vec::new();
    for (at, text) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        let Some(digits) = digits_of(text.trim().as_bytes()) else {
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
    quoting::fields(without_return(without_mark(line)), delimiter)
}

/// Whether `line` is `sep=;`, which tells Excel the delimiter.
pub(super) fn is_separator_of_excel(line: &[u8]) -> bool {
    line.len() == 5 && line.starts_with(b"sep=")
}

#[derive(Debug)]
pub(super) struct DelimitedParser {
    reader: FieldReader,
    digits: Digest,
    hash: usize,
    /// The hash column's name, where a line says it.
    name: Option<String>,
    /// Whether hashes of other algorithms are skipped.
    skips_others: bool,
    /// The column that names the algorithm of each row's hash, if there is one.
    types: Option<Types>,
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

/// The column of types.
#[derive(Debug)]
struct Types {
    column: usize,
    text: Vec<u8>,
    /// The type that came last, and what it says: they mostly are few.
    last: Vec<u8>,
    says: Type,
}

/// The column of hashes, and the treatment of other algorithms' hashes in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashColumn {
    pub(super) at: usize,
    /// Whether hashes of other algorithms are skipped; they are rejected where not.
    pub(super) skips_others: bool,
    /// The column that says of each row what its hash is.
    pub(super) types: Option<usize>,
}

impl DelimitedParser {
    pub(super) fn new(
        format: Format,
        digits: Digest,
        hash: HashColumn,
        wanted: Vec<usize>,
        names: &[String],
    ) -> Self {
        let types = hash.types.map(|column| Types {
            column,
            text: Vec::new(),
            last: Vec::new(),
            says: Type::Silent,
        });
        let HashColumn {
            at: hash,
            skips_others,
            ..
        } = hash;
        DelimitedParser {
            reader: FieldReader::new(format.delimiter().unwrap_or(b',')),
            digits,
            hash,
            name: names.get(hash).cloned(),
            skips_others,
            types,
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
        let ended = self.feed(line, line) || self.feed(b"\n", line);
        if !ended && self.spans_lines && !comment {
            self.begun = true;
            return Parsed::Continues;
        }
        if !ended {
            self.end_of_field(line);
            self.reader.reset();
        }
        self.begun = false;
        match self.row() {
            Parsed::Rejected(_) | Parsed::Other(_) if comment => Parsed::Skipped,
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
        if let Some(types) = &mut self.types {
            types.text.clear();
        }
    }

    /// Whether the field that is being read is of interest.
    fn is_of_interest(&self) -> bool {
        self.at == self.hash
            || self.wanted.contains(&self.at)
            || self.types.as_ref().is_some_and(|t| t.column == self.at)
    }

    /// Reads `input`, which is `line` or its end; true when the row has ended.
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
                    self.end_of_field(before);
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

    /// Keeps the field that has ended, if it is of interest; `before` is its line up to
    /// there.
    fn end_of_field(&mut self, before: &[u8]) {
        if !self.field.is_empty() {
            let blanks = self.reader.blanks_behind_quote(before);
            let length = self.field.len().saturating_sub(blanks);
            self.field.truncate(length);
        }
        if let Some(types) = self.types.as_mut().filter(|t| t.column == self.at) {
            types.text.extend_from_slice(&self.field);
        }
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
    fn row(&mut self) -> Parsed {
        if !self.has_hash {
            return Parsed::Rejected(Reason::Columns);
        }
        let says = self.types.as_mut().map_or(Type::Silent, Types::says);
        let parsed = match says {
            Type::Silent => in_column(&self.hash_text, self.digits),
            says => self.typed(says),
        };
        match parsed {
            Parsed::Rejected(reason) => {
                match other_in_column(&self.hash_text, self.digits.digits) {
                    Some(other) if self.skips_others && says == Type::Silent => {
                        Parsed::Other(other)
                    }
                    _ => self.header(reason),
                }
            }
            parsed => parsed,
        }
    }

    /// Classifies a row whose type `says` what it holds.
    fn typed(&self, says: Type) -> Parsed {
        match says {
            Type::Hash(a) | Type::NameAndHash(a) if a != self.digits.algorithm => Parsed::Other(a),
            Type::NameAndHash(_) => in_column(behind_the_name(&self.hash_text), self.digits),
            Type::Hash(_) | Type::Silent => in_column(&self.hash_text, self.digits),
            Type::Other if is_hash(self.hash_text.trim_ascii()) => {
                Parsed::Rejected(Reason::Algorithm)
            }
            Type::Other => Parsed::Rejected(Reason::NoHash),
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

impl Types {
    /// Reads the row's type.
    fn says(&mut self) -> Type {
        if self.text != self.last {
            self.last.clone_from(&self.text);
            let text = std::str::from_utf8(&self.text);
            self.says = text.map_or(Type::Other, Type::of);
        }
        self.says
    }
}
