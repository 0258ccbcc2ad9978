//! The form of a list: what its lines are, and where in each the hash stands.
//!
//! Most lists have one hash a line. Others come as they are made: the output of
//! `sha256sum` or hashdeep, NSRL's `NSRLFile.txt`, tables with or without a header,
//! JSON lines. [`Layout::seen`] tells the form by the first lines, [`RowParser`] takes
//! the rows apart; [`rows`] joins lines to rows where a quoted field spans several.
//! Everything streams, and nothing is allocated a row.

mod delimited;
mod hashdeep;
mod json;
pub mod rows;
mod sums;

use crate::algorithm::{Algorithm, Hash, fold};
use crate::error::{Error, Result};
use crate::lines::{Framer, Line};
use crate::record::{LineParser, Parsed, Reason, algorithm_of, content, is_header};
use delimited::DelimitedParser;
use hashdeep::HashdeepParser;
use json::JsonParser;
use serde::{Deserialize, Serialize};
use std::fmt;
use sums::SumsParser;

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One hash a line.
    #[default]
    Lines,
    /// What md5sum, sha256sum, md5deep and their like print: hash and name, with a
    /// size before them or not, and the BSD form `SHA256 (name) = hash`.
    Sums,
    /// What hashdeep prints: a line names the columns.
    Hashdeep,
    /// NSRLFile.txt of the RDS 1.x and 2.x.
    Nsrl,
    /// HashKeeper's .hsh.
    Hashkeeper,
    /// iLook's .hsh, versions 3 and 4.
    Ilook,
    /// Comma-separated, as of RFC 4180.
    Csv,
    /// Tab-separated.
    Tsv,
    /// Separated by `|`.
    Psv,
    /// One JSON object a line.
    Ndjson,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 10] = [
        Format::Lines,
        Format::Sums,
        Format::Hashdeep,
        Format::Nsrl,
        Format::Hashkeeper,
        Format::Ilook,
        Format::Csv,
        Format::Tsv,
        Format::Psv,
        Format::Ndjson,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Lines => "lines",
            Format::Sums => "sums",
            Format::Hashdeep => "hashdeep",
            Format::Nsrl => "nsrl",
            Format::Hashkeeper => "hashkeeper",
            Format::Ilook => "ilook",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Psv => "psv",
            Format::Ndjson => "ndjson",
        }
    }

    /// What it is, in words.
    pub fn described(self) -> &'static str {
        match self {
            Format::Lines => "a plain list, one hash a line",
            Format::Sums => "the output of a program like sha256sum or md5deep",
            Format::Hashdeep => "the output of hashdeep",
            Format::Nsrl => "an NSRLFile.txt",
            Format::Hashkeeper => "a HashKeeper hash set",
            Format::Ilook => "an iLook hash set",
            Format::Csv => "a comma-separated table",
            Format::Tsv => "a tab-separated table",
            Format::Psv => "a table separated by |",
            Format::Ndjson => "JSON, an object a line",
        }
    }

    /// What stands between the fields of a row.
    fn delimiter(self) -> Option<u8> {
        match self {
            Format::Nsrl | Format::Hashkeeper | Format::Ilook | Format::Csv => Some(b','),
            Format::Tsv => Some(b'\t'),
            Format::Psv => Some(b'|'),
            Format::Lines | Format::Sums | Format::Hashdeep | Format::Ndjson => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a person says that lists are to be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// The format; by the first lines of each list, where it is not said.
    pub format: Option<Format>,
    /// The column that holds the hash: its name, or its number from 1; in JSON, the
    /// field.
    pub column: Option<String>,
}

impl Form {
    /// By which it is recognised that two runs read alike.
    pub fn words(&self) -> String {
        let format = self.format.map_or("as they look", Format::name);
        match &self.column {
            Some(column) => format!("{format}, the hash from column {column}"),
            None => format.to_owned(),
        }
    }
}

/// What the beginning of a list shows of its form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The format.
    pub format: Format,
    /// The names of the columns, where a line says them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The first row that holds a hash, taken apart as its line is without a header:
    /// which of its columns are hashes, and of how many digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<(usize, usize)>,
}

/// Lines that are looked at to tell the form.
const LINES_LOOKED_AT: usize = 50;

impl Layout {
    /// The form of the list that begins with `head`; `whole` when there is no more.
    /// What no line decides is a plain list.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage), when it is JSON of another
    /// form.
    pub fn seen(name: &str, head: &[u8], whole: bool, form: &Form) -> Result<Layout> {
        let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
        // The last may be cut off.
        if !whole || lines.last().is_some_and(|l| l.is_empty()) {
            lines.pop();
        }
        let significant = |line: &&[u8]| {
            let text = content(line);
            !text.is_empty() && (text[0] != b'#')
        };
        let lines = lines.into_iter().filter(significant);
        let lines: Vec<&[u8]> = lines.take(LINES_LOOKED_AT).collect();
        if let Some(format) = form.format {
            return Layout::of(format, &lines);
        }
        for (n, line) in lines.iter().enumerate() {
            let text = content(line);
            let bare = Hash::from_hex(text).and_then(|_| Algorithm::of_hex_digits(text.len()));
            if bare.is_some() {
                return Ok(Layout::default());
            }
            let format = if text.starts_with(b"%%%%") {
                Some(Format::Hashdeep)
            } else if text[0] == b'{' || (text[0] == b'[' && n == 0) {
                json::check(name, text)?;
                Some(Format::Ndjson)
            } else if is_header(text) && !text.starts_with(b"\"") {
                None
            } else if sums::is_one(text) {
                Some(Format::Sums)
            } else {
                delimited::format_of(text)
            };
            if let Some(format) = format {
                return Layout::of(format, &lines[n..]);
            }
        }
        Ok(Layout::default())
    }

    /// The layout of `format`, of which these are the first lines.
    fn of(format: Format, lines: &[&[u8]]) -> Result<Layout> {
        let mut layout = Layout {
            format,
            ..Layout::default()
        };
        match format {
            Format::Lines | Format::Sums => {}
            Format::Hashdeep => {
                layout.columns = lines
                    .iter()
                    .find_map(|line| hashdeep::columns(line))
                    .unwrap_or_default();
            }
            Format::Ndjson => {
                layout.columns = lines.first().map_or_else(Vec::new, |l| json::fields(l))
            }
            _ => {
                let delimiter = format.delimiter().unwrap_or(b',');
                for (n, line) in lines.iter().enumerate() {
                    let fields = delimited::fields(line, delimiter);
                    if n == 0 && delimited::is_header_row(&fields) {
                        layout.columns = fields;
                        continue;
                    }
                    layout.hashes = delimited::hashes(&fields);
                    if !layout.hashes.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(layout)
    }

    /// The algorithms of which it shows hashes, with the columns that hold them; what
    /// a plain list shows, its first hash tells.
    pub fn algorithms(&self, form: &Form) -> Vec<(Algorithm, String)> {
        let by_length = |at: usize| {
            let digits = self.hashes.iter().find(|(column, _)| *column == at);
            digits.and_then(|(_, digits)| Algorithm::of_hex_digits(*digits))
        };
        if let Some(column) = &form.column {
            let named = algorithm_named(column);
            let at = self.column(column);
            let of_header = at.and_then(|at| self.columns.get(at));
            let of_header = of_header.and_then(|name| algorithm_named(name));
            let algorithm = of_header.or(at.and_then(by_length)).or(named);
            return algorithm.map(|a| (a, column.clone())).into_iter().collect();
        }
        let mut seen: Vec<(Algorithm, String)> = Vec::new();
        for (at, name) in self.columns.iter().enumerate() {
            let algorithm = match self.format {
                Format::Ndjson => Algorithm::from_name(name),
                _ => algorithm_named(name).or_else(|| by_length(at).filter(|_| is_generic(name))),
            };
            seen.extend(algorithm.map(|a| (a, name.clone())));
        }
        if self.columns.is_empty() {
            let each = self.hashes.iter();
            seen.extend(each.filter_map(|(at, digits)| {
                Some((Algorithm::of_hex_digits(*digits)?, (at + 1).to_string()))
            }));
        }
        seen
    }

    /// Which column is called `name`, or has that number from 1.
    fn column(&self, name: &str) -> Option<usize> {
        let exact = self.columns.iter().position(|c| c == name);
        let alike = || {
            let folded = fold(name);
            let alike = |c: &String| !folded.is_empty() && fold(c) == folded;
            self.columns.iter().position(alike)
        };
        let number = || {
            let number = name.parse::<usize>().ok()?.checked_sub(1)?;
            (self.columns.is_empty() || number < self.columns.len()).then_some(number)
        };
        exact.or_else(alike).or_else(number)
    }

    /// The column that holds the hashes of `algorithm`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) when there is none, or more
    /// than one.
    fn hash_column(&self, algorithm: Algorithm, form: &Form) -> Result<usize> {
        if let Some(column) = &form.column {
            return self.column(column).ok_or_else(|| self.no_column(column));
        }
        let of = |test: &dyn Fn(usize, &String) -> bool| -> Vec<usize> {
            let all = self.columns.iter().enumerate();
            all.filter(|(at, name)| test(*at, name))
                .map(|(at, _)| at)
                .collect()
        };
        let exact = of(&|_, name| Algorithm::from_name(name) == Some(algorithm));
        let named = of(&|_, name| algorithm_named(name) == Some(algorithm));
        let generic = of(&|_, name| is_generic(name));
        let digits = algorithm.bytes() * 2;
        let seen = self.hashes.iter().filter(|(_, d)| *d == digits);
        let seen: Vec<usize> = match self.columns.is_empty() {
            true => seen.map(|(at, _)| *at).collect(),
            false => Vec::new(),
        };
        for columns in [&exact, &named, &generic, &seen] {
            match columns[..] {
                [] => {}
                [one] => return Ok(one),
                _ => {
                    let names: Vec<String> = columns.iter().map(|at| self.called(*at)).collect();
                    return Err(Error::usage(format!(
                        "several columns may hold {algorithm} hashes: {}",
                        names.join(", ")
                    ))
                    .hint("name one by --column"));
                }
            }
        }
        let what = match self.columns.is_empty() {
            true => format!(
                "no column of {} shows a {algorithm} hash",
                self.format.described()
            ),
            false => format!(
                "no column is named as one of {algorithm} hashes; there are {}",
                self.columns.join(", ")
            ),
        };
        Err(Error::usage(what)
            .hint("name the column by --column NAME or its number, or the algorithm by --hash"))
    }

    fn called(&self, at: usize) -> String {
        match self.columns.get(at) {
            Some(name) => name.clone(),
            None => (at + 1).to_string(),
        }
    }

    fn no_column(&self, name: &str) -> Error {
        let has = match (self.columns.is_empty(), self.format) {
            (_, Format::Lines) => "a plain list has no columns".to_owned(),
            (_, Format::Sums) => "there are name and size".to_owned(),
            (true, _) => "its columns have no names, only numbers from 1".to_owned(),
            (false, _) => format!("there are {}", self.columns.join(", ")),
        };
        Error::usage(format!("the list has no column {name:?}: {has}"))
            .hint("name a column that there is, or tell the form of the list by --format")
    }
}

/// The algorithm of whose hashes a column is by its name, however it is adorned.
fn algorithm_named(name: &str) -> Option<Algorithm> {
    let folded = fold(name);
    // iLook's name of MD5.
    if folded == "v3hash" {
        return Some(Algorithm::Md5);
    }
    let mut bare = folded.as_str();
    for ornament in ["file", "hash", "sum", "digest", "value", "hex", "string"] {
        bare = bare.strip_prefix(ornament).unwrap_or(bare);
        bare = bare.strip_suffix(ornament).unwrap_or(bare);
    }
    Algorithm::from_name(bare)
}

/// Whether a column's name says that it holds hashes, and not which.
fn is_generic(name: &str) -> bool {
    algorithm_named(name).is_none() && is_header(name.as_bytes())
}

/// What the text of a hash column is.
fn in_column(text: &[u8], digits: usize) -> Parsed {
    let text = text.trim_ascii();
    if text.len() == digits
        && let Some(hash) = Hash::from_hex(text)
    {
        return Parsed::Hash(hash);
    }
    unusual_in_column(text, digits)
}

#[cold]
fn unusual_in_column(text: &[u8], digits: usize) -> Parsed {
    // What tools write where a file is empty, too large, or was not hashed.
    let none = [&b""[..], b"-", b"EMPTY", b"LARGE"];
    Parsed::Rejected(if none.iter().any(|n| text.eq_ignore_ascii_case(n)) {
        Reason::NoHash
    } else if text.contains(&0) {
        Reason::Nul
    } else if std::str::from_utf8(text).is_err() {
        Reason::Utf8
    } else if text.len() != digits {
        Reason::Length
    } else {
        Reason::Hex
    })
}

/// Takes the rows of one list apart. See the [module](self).
#[derive(Debug)]
pub struct RowParser {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Lines(LineParser),
    Sums(SumsParser),
    Hashdeep(HashdeepParser),
    Delimited(Box<DelimitedParser>),
    Json(Box<JsonParser>),
}

impl RowParser {
    /// A parser of lists laid out so, for hashes of `algorithm`, which also takes the
    /// `wanted` columns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) when the list has not these
    /// columns.
    pub fn new(
        layout: &Layout,
        form: &Form,
        algorithm: Algorithm,
        wanted: &[String],
    ) -> Result<RowParser> {
        let digits = algorithm.bytes() * 2;
        let columns = || -> Result<Vec<usize>> {
            let each = wanted.iter();
            each.map(|name| layout.column(name).ok_or_else(|| layout.no_column(name)))
                .collect()
        };
        let no_column = |name: Option<&String>| name.map_or(Ok(()), |n| Err(layout.no_column(n)));
        let kind = match layout.format {
            Format::Lines => {
                no_column(form.column.as_ref().or(wanted.first()))?;
                Kind::Lines(LineParser::new(algorithm))
            }
            Format::Sums => {
                no_column(form.column.as_ref())?;
                let known =
                    |name: &String| sums::Column::named(name).ok_or_else(|| layout.no_column(name));
                let wanted = wanted.iter().map(known).collect::<Result<_>>()?;
                Kind::Sums(SumsParser::new(algorithm, wanted))
            }
            Format::Hashdeep => {
                if layout.columns.is_empty() {
                    return Err(Error::usage(
                        "the output of hashdeep names its columns in a line that begins with %%%%, and this list \
                         does not begin with one",
                    )
                    .hint("give the whole output of hashdeep, or name the form of the list by --format"));
                }
                let hash = layout.hash_column(algorithm, form)?;
                Kind::Hashdeep(HashdeepParser::new(
                    digits,
                    hash,
                    columns()?,
                    layout.columns.len(),
                ))
            }
            Format::Ndjson => Kind::Json(Box::new(JsonParser::new(
                algorithm,
                form.column.as_deref(),
                wanted,
            ))),
            format => {
                let hash = layout.hash_column(algorithm, form)?;
                let name = layout.columns.get(hash).cloned();
                let several_lines =
                    !matches!(format, Format::Nsrl | Format::Hashkeeper | Format::Ilook);
                Kind::Delimited(Box::new(DelimitedParser::new(
                    format.delimiter().unwrap_or(b','),
                    digits,
                    hash,
                    columns()?,
                    name,
                    several_lines,
                )))
            }
        };
        Ok(RowParser { kind })
    }

    /// What `line` is. [`Parsed::Continues`] when its row goes on in the next line.
    #[inline]
    pub fn parse(&mut self, line: &Line<'_>) -> Parsed {
        match &mut self.kind {
            Kind::Lines(parser) => parser.parse(line),
            _ if line.is_overlong() => {
                self.forget();
                Parsed::Rejected(Reason::Overlong)
            }
            Kind::Sums(parser) => parser.parse(line.bytes),
            Kind::Hashdeep(parser) => parser.parse(line.bytes),
            Kind::Delimited(parser) => parser.parse(line.bytes),
            Kind::Json(parser) => parser.parse(line.bytes),
        }
    }

    /// Of the row parsed last, the n-th of the wanted columns; nothing where it has
    /// none, or an empty one.
    pub fn wanted(&self, n: usize) -> Option<&[u8]> {
        match &self.kind {
            Kind::Lines(_) => None,
            Kind::Sums(parser) => parser.wanted(n),
            Kind::Hashdeep(parser) => parser.wanted(n),
            Kind::Delimited(parser) => parser.wanted(n),
            Kind::Json(parser) => parser.wanted(n),
        }
        .filter(|v| !v.is_empty())
    }

    /// Forgets a row that has begun.
    pub fn forget(&mut self) {
        if let Kind::Delimited(parser) = &mut self.kind {
            parser.forget();
        }
    }
}

/// What is said of a list that is read so: nothing for a plain one.
pub fn said(layout: &Layout, form: &Form, algorithm: Algorithm) -> Option<String> {
    if layout.format == Format::Lines {
        return None;
    }
    let column = match layout.format {
        Format::Sums => String::new(),
        Format::Ndjson => {
            let column = form.column.as_deref().unwrap_or(algorithm.name());
            format!(", taking field {column}")
        }
        _ => match layout.hash_column(algorithm, form) {
            Ok(at) => format!(", taking column {}", layout.called(at)),
            Err(_) => String::new(),
        },
    };
    let way = match form.format {
        None => " (--format says otherwise)",
        Some(_) => "",
    };
    Some(format!("{}{column}{way}", layout.format.described()))
}

/// The algorithm of the first of `head`'s lines, which are sums: as it is tagged, or by
/// the length of its hash.
pub fn sums_algorithm(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    lines.into_iter().find_map(sums::algorithm)
}

/// The first hash in `head`, a plain list: its algorithm by its length, and the line
/// that shows it.
pub fn first_hash(head: &[u8], whole: bool) -> Option<(Algorithm, Vec<u8>)> {
    let mut framer = Framer::new();
    let mut lines = framer.push(head);
    while let Some(line) = lines.next() {
        if let Some(algorithm) = algorithm_of(&line) {
            return Some((algorithm, line.bytes.to_vec()));
        }
    }
    let last = framer.finish().filter(|_| whole)?;
    Some((algorithm_of(&last)?, last.bytes.to_vec()))
}

#[cfg(test)]
mod tests;
