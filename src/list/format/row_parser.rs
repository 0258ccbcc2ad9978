//! The form of a list: what its lines are, and where in each the hash stands.
//!
//! Most lists have one hash a line. Others come as they are made: the output of
//! `sha256sum` or hashdeep, NSRL's `NSRLFile.txt`, tables with or without a header,
//! JSON lines. [`Layout::seen`] tells the form by the first lines, [`RowParser`] takes
//! the rows apart; [`rows`] joins lines to rows where a quoted field spans several.
//! Everything streams, and nothing is allocated a row.
//!
//! | format | a row | its columns |
//! |---|---|---|
//! | `lines` | a hash | none |
//! | `sums` | what sha256sum, md5deep and their like print | `name`, `size` |
//! | `hashdeep` | what hashdeep prints | as its `%%%%` line names them |
//! | `nsrl`, `hashkeeper`, `ilook` | quoted or bare, by commas, one line | as the header names them |
//! | `csv` | as of RFC 4180: a quoted field may hold line feeds | as the header names them, or by number |
//! | `semicolon` | the same by semicolons | the same |
//! | `tsv`, `psv` | by tabs or `\|`, one line | the same |
//! | `clamav` | a signature of a file, `hash:size:name` | `name`, `size` |
//! | `powershell` | what `Get-FileHash` prints, as a table or as a list | as it names them |
//! | `certutil` | what `certutil -hashfile` prints | `name` |
//! | `ndjson` | one JSON object | its fields, `a.b` for one inside another |
//! | `paths`, where a person says so | a full path, of which the hash is made | `path`, `normalized` |
//!
//! Rows without a hash are rejected by name ([`Reason`]); blank lines, comments and
//! headers, wherever they stand, are skipped. So are hashes of other algorithms, where a
//! table's first rows or a person says that the list has several.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Hash};
use crate::base::hash_prefix;
use crate::base::record::Reason;
use crate::list::format::certutil::CertutilParser;
use crate::list::format::clamav::ClamavParser;
use crate::list::format::delimited::DelimitedParser;
use crate::list::format::digest::Digest;
use crate::list::format::digest::Encoding;
use crate::list::format::document::ArrayPath;
use crate::list::format::hashdeep::HashdeepParser;
use crate::list::format::headers::Headers;
use crate::list::format::json::JsonParser;
use crate::list::format::layout::Layout;
use crate::list::format::mix::OtherAlgorithms;
use crate::list::format::paths::PathParser;
use crate::list::format::plain::{LineParser, Parsed, algorithm_of, algorithm_of_text, content};
use crate::list::format::powershell::{ListParser, TableParser};
use crate::list::format::sums::SumsParser;
use crate::list::lines::{Framer, Line};
use crate::list::matchmeta::normalizer::Normalizer;
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// Separated by semicolons, quoted as comma-separated ones are.
    Semicolon,
    /// ClamAV's signatures of files, `.hdb` and `.hsb`.
    Clamav,
    /// What PowerShell's Get-FileHash prints, as a table or as a list.
    Powershell,
    /// What Windows' certutil -hashfile prints.
    Certutil,
    /// One JSON object a line.
    Ndjson,
    /// One full path a line, made comparable and hashed; see [`Form::paths`].
    Paths,
}

impl Format {
    /// All that hold hashes.
    pub const ALL: [Format; 14] = [
        Format::Lines,
        Format::Sums,
        Format::Hashdeep,
        Format::Nsrl,
        Format::Hashkeeper,
        Format::Ilook,
        Format::Csv,
        Format::Tsv,
        Format::Psv,
        Format::Semicolon,
        Format::Clamav,
        Format::Powershell,
        Format::Certutil,
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
            Format::Semicolon => "semicolon",
            Format::Clamav => "clamav",
            Format::Powershell => "powershell",
            Format::Certutil => "certutil",
            Format::Ndjson => "ndjson",
            Format::Paths => "paths",
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
            Format::Semicolon => "a table separated by semicolons",
            Format::Clamav => "a list of ClamAV's signatures of files, .hdb or .hsb",
            Format::Powershell => "the output of PowerShell's Get-FileHash",
            Format::Certutil => "the output of certutil -hashfile",
            Format::Ndjson => "JSON, an object a line",
            Format::Paths => "a list of paths, one a line",
        }
    }

    /// What stands between the fields of a row.
    pub(super) fn delimiter(self) -> Option<u8> {
        match self {
            Format::Nsrl | Format::Hashkeeper | Format::Ilook | Format::Csv => Some(b','),
            Format::Tsv => Some(b'\t'),
            Format::Psv => Some(b'|'),
            Format::Semicolon => Some(b';'),
            Format::Lines
            | Format::Sums
            | Format::Hashdeep
            | Format::Clamav
            | Format::Powershell
            | Format::Certutil
            | Format::Ndjson
            | Format::Paths => None,
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
    /// How the hashes are written.
    pub encoding: Encoding,
    /// Of lists of paths, by which rules these are made comparable; nothing of lists of
    /// hashes.
    pub paths: Option<Normalizer>,
    /// The treatment of hashes of other algorithms.
    pub others: OtherAlgorithms,
}

impl Form {
    /// Lists of paths, made comparable by `normalizer`: the hash of a line is the
    /// SHA-256 of its path.
    pub fn paths(normalizer: Normalizer) -> Form {
        Form {
            format: Some(Format::Paths),
            column: None,
            encoding: Encoding::Hex,
            paths: Some(normalizer),
            ..Form::default()
        }
    }

    /// The rules that paths are made comparable by, as names and texts; none of a list of
    /// hashes.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.paths.iter().flat_map(crate::list::format::paths::told)
    }

    /// The names of those rules.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules().map(|(name, _)| name)
    }

    /// Words that are equal for two runs that read alike. They leave out the treatment of
    /// other algorithms: a run may go on once that is said.
    pub fn words(&self) -> String {
        if let Some(paths) = &self.paths {
            return format!("as paths by {}", crate::list::format::paths::words(paths));
        }
        let format = self.format.map_or("as they look", Format::name);
        let format = match self.encoding {
            Encoding::Hex => format.to_owned(),
            Encoding::Base64 => format!("{format}, in base64"),
        };
        match &self.column {
            Some(column) => format!("{format}, the hash from column {column}"),
            None => format,
        }
    }
}

/// What the text of a hash column is, where hashes have these `digits`.
pub(super) fn in_column(text: &[u8], digits: Digest) -> Parsed {
    let text = text.trim_ascii();
    if text.len() == digits.digits
        && digits.encoding == Encoding::Hex
        && let Some(hash) = Hash::from_hex(text)
    {
        return Parsed::Hash(hash);
    }
    unusual_in_column(text, digits)
}

#[cold]
fn unusual_in_column(text: &[u8], digits: Digest) -> Parsed {
    if !says_none(text)
        && let Some(parsed) = digits.adorned(text)
    {
        return parsed;
    }
    Parsed::Rejected(if says_none(text) {
        Reason::NoHash
    } else if text.contains(&0) {
        Reason::Nul
    } else if std::str::from_utf8(text).is_err() {
        Reason::Utf8
    } else if text.len() != digits.digits {
        Reason::Length
    } else {
        Reason::Hex
    })
}

/// Whether `text` is what tools write into a hash column where a file is empty, too
/// large, or was not hashed.
pub(super) fn says_none(text: &[u8]) -> bool {
    let none = [&b""[..], b"-", b"EMPTY", b"LARGE"];
    none.iter().any(|n| text.eq_ignore_ascii_case(n))
}

/// Takes the rows of one list apart. See the [module](self).
#[derive(Debug)]
pub struct RowParser {
    kind: Kind,
    algorithm: Algorithm,
    /// Whether hashes of other algorithms are skipped, in a list without columns.
    skips_others: bool,
    headers: Headers,
}

#[derive(Debug)]
enum Kind {
    Lines(LineParser),
    Sums(SumsParser),
    /// A plain list in base64.
    Encoded(Digest),
    Hashdeep(HashdeepParser),
    Clamav(ClamavParser),
    Table(TableParser),
    List(Box<ListParser>),
    Certutil(CertutilParser),
    Delimited(Box<DelimitedParser>),
    Json(Box<JsonParser>),
    Paths(Box<PathParser>),
}

impl RowParser {
    /// A parser of lists laid out so, for hashes of `algorithm`, which also takes the
    /// `wanted` columns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when the list has not these
    /// columns, or when it mixes algorithms and that was not allowed.
    pub fn new(
        layout: &Layout,
        form: &Form,
        algorithm: Algorithm,
        wanted: &[String],
    ) -> Result<RowParser> {
        let digits = Digest::new(algorithm, form);
        let parser = |kind| RowParser {
            kind,
            algorithm,
            skips_others: form.others == OtherAlgorithms::Skip,
            headers: Headers::default(),
        };
        if layout.empty {
            // It has no rows, so none of them lacks a column.
            return Ok(parser(Kind::Lines(LineParser::new(algorithm))));
        }
        if form.others == OtherAlgorithms::Refuse
            && let Some(refused) = crate::list::format::mix::refused(layout, algorithm)
        {
            return Err(refused);
        }
        let columns = || -> Result<Vec<usize>> {
            let each = wanted.iter();
            each.map(|name| layout.column(name).ok_or_else(|| layout.no_column(name)))
                .collect()
        };
        let no_column = |name: Option<&String>| name.map_or(Ok(()), |n| Err(layout.no_column(n)));
        let kind = match layout.format {
            Format::Lines => {
                no_column(form.column.as_ref().or(wanted.first()))?;
                match form.encoding {
                    Encoding::Hex => Kind::Lines(LineParser::new(algorithm)),
                    Encoding::Base64 => Kind::Encoded(digits),
                }
            }
            Format::Sums | Format::Clamav => {
                no_column(form.column.as_ref())?;
                let known = |name: &String| {
                    crate::list::format::sums::Column::named(name)
                        .ok_or_else(|| layout.no_column(name))
                };
                let wanted = wanted.iter().map(known).collect::<Result<_>>()?;
                match layout.format {
                    Format::Clamav => Kind::Clamav(ClamavParser::new(digits, wanted)),
                    _ => Kind::Sums(SumsParser::new(algorithm, digits, wanted)),
                }
            }
            Format::Powershell => {
                no_column(form.column.as_ref())?;
                if layout.columns.is_empty() {
                    return Err(Error::usage(
                        "the output of Get-FileHash names Algorithm, Hash and Path, and this list does not",
                    )
                    .hint("name the form of the list by --format, or leave it out"));
                }
                let (names, wanted) = (&layout.columns, columns()?);
                match layout.is_table {
                    true => Kind::Table(TableParser::new(digits, names, wanted)),
                    false => Kind::List(Box::new(ListParser::new(digits, names, wanted))),
                }
            }
            Format::Certutil => {
                no_column(form.column.as_ref())?;
                columns()?;
                Kind::Certutil(CertutilParser::new(digits, wanted.len()))
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
                    layout.columns.clone(),
                ))
            }
            Format::Paths => {
                let normalizer = form.paths.clone().unwrap_or_default();
                Kind::Paths(Box::new(PathParser::new(
                    normalizer,
                    algorithm,
                    columns()?,
                )?))
            }
            Format::Ndjson => {
                let field = layout.hash_field(algorithm, form)?;
                Kind::Json(Box::new(match ArrayPath::of(&field) {
                    Some(path) => JsonParser::of_elements(digits, &path, wanted)?,
                    None => JsonParser::tagged(digits, &field, wanted.to_vec())?,
                }))
            }
            Format::Nsrl
            | Format::Hashkeeper
            | Format::Ilook
            | Format::Csv
            | Format::Tsv
            | Format::Psv
            | Format::Semicolon => {
                let hash = layout.hashes_of(algorithm, form)?;
                Kind::Delimited(Box::new(DelimitedParser::new(
                    layout.format,
                    digits,
                    hash,
                    columns()?,
                    &layout.columns,
                )))
            }
        };
        Ok(parser(kind))
    }

    /// What `line` is. [`Parsed::Continues`] when its row goes on in the next line.
    #[inline]
    pub fn parse(&mut self, line: &Line<'_>) -> Parsed {
        let parsed = match &mut self.kind {
            Kind::Lines(parser) => parser.parse(line),
            _ if line.is_overlong() => {
                self.forget();
                Parsed::Rejected(Reason::Overlong)
            }
            Kind::Sums(parser) => parser.parse(line.bytes),
            Kind::Encoded(digest) => crate::list::format::encoded::parse(line.bytes, *digest),
            Kind::Hashdeep(parser) => parser.parse(line.bytes),
            Kind::Clamav(parser) => parser.parse(line.bytes),
            Kind::Table(parser) => parser.parse(line.bytes),
            Kind::List(parser) => parser.parse(line.bytes),
            Kind::Certutil(parser) => parser.parse(line.bytes),
            Kind::Delimited(parser) => parser.parse(line.bytes),
            Kind::Json(parser) => parser.parse(line.bytes),
            Kind::Paths(parser) => parser.parse(line.bytes, line.number == 1),
        };
        match parsed {
            Parsed::Skipped | Parsed::Rejected(Reason::Length | Reason::Algorithm) => {
                self.unusual(line, parsed)
            }
            parsed => parsed,
        }
    }

    /// Judges a line that is none of the list's hashes, as `parsed` says.
    #[cold]
    fn unusual(&mut self, line: &Line<'_>, parsed: Parsed) -> Parsed {
        let other = match (&self.kind, parsed) {
            (Kind::Lines(_) | Kind::Sums(_) | Kind::Delimited(_), Parsed::Skipped) => {
                let is_table = matches!(self.kind, Kind::Delimited(_));
                return self.headers.judge(line, is_table);
            }
            _ if !self.skips_others => None,
            (Kind::Lines(_), Parsed::Rejected(Reason::Length)) => algorithm_of(line),
            (Kind::Sums(_), _) => {
                crate::list::format::sums::algorithm(line.bytes).or_else(|| algorithm_of(line))
            }
            (Kind::Json(parser), _) => algorithm_of_text(content(parser.hash_text())),
            _ => None,
        };
        match other.filter(|other| *other != self.algorithm) {
            Some(other) => Parsed::Other(other),
            None => parsed,
        }
    }

    /// Of the row parsed last, the n-th of the wanted columns; nothing where it has
    /// none, or an empty one.
    pub fn wanted(&self, n: usize) -> Option<&[u8]> {
        match &self.kind {
            Kind::Lines(_) | Kind::Encoded(_) => None,
            Kind::Sums(parser) => parser.wanted(n),
            Kind::Hashdeep(parser) => parser.wanted(n),
            Kind::Clamav(parser) => parser.wanted(n),
            Kind::Table(parser) => parser.wanted(n),
            Kind::List(parser) => parser.wanted(n),
            Kind::Certutil(parser) => parser.wanted(n),
            Kind::Delimited(parser) => parser.wanted(n),
            Kind::Json(parser) => parser.wanted(n),
            Kind::Paths(parser) => parser.wanted(n),
        }
        .filter(|v| !v.is_empty())
    }

    /// Forgets a row that has begun.
    pub fn forget(&mut self) {
        match &mut self.kind {
            Kind::Delimited(parser) => parser.forget(),
            Kind::List(parser) => parser.forget(),
            Kind::Certutil(parser) => parser.forget(),
            _ => {}
        }
    }

    /// What the row is that goes on at the end of the list, which ends it. `None` where
    /// only a line of its own could.
    pub(super) fn finish(&mut self) -> Option<Parsed> {
        match &mut self.kind {
            Kind::List(parser) => parser.finish(),
            _ => None,
        }
    }
}

/// Whether `text` is a row that begins with a hash, or a bare one.
pub(crate) fn is_row_of_hash(text: &[u8]) -> bool {
    crate::list::format::layout::is_hash(crate::list::format::plain::content(text))
        || crate::list::format::sums::is_one(text)
}

/// A line without the byte order mark that may stand before the first one of a list.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
}

/// A line without the carriage return that may stand before its line feed.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What is said of a list that is read so: nothing for a plain one.
pub fn said(layout: &Layout, form: &Form, algorithm: Algorithm) -> Option<String> {
    if layout.format == Format::Lines {
        return None;
    }
    if let Some(paths) = &form.paths {
        let (what, rules) = (
            Format::Paths.described(),
            crate::list::format::paths::words(paths),
        );
        return Some(format!(
            "{what}, made comparable by {rules} and hashed by SHA-256"
        ));
    }
    let column = match layout.format {
        Format::Sums | Format::Clamav | Format::Powershell | Format::Certutil => String::new(),
        Format::Ndjson => match layout.hash_field(algorithm, form) {
            Ok(field) => format!(", taking field {field}"),
            Err(_) => String::new(),
        },
        _ => match layout.hash_column(algorithm, form) {
            Ok(at) => format!(", taking column {}", layout.called(at)),
            Err(_) => String::new(),
        },
    };
    let way = match form.format {
        None => " (--format says otherwise)",
        Some(_) => "",
    };
    let version = match layout.format {
        // Only the older one has this column.
        Format::Nsrl if layout.column("MD4").is_some() => " (RDS 1.x)",
        Format::Nsrl => " (RDS 2.x)",
        _ => "",
    };
    let what = layout.format.described();
    Some(format!("{what}{version}{column}{way}"))
}

/// The algorithm of the first of `head`'s lines, which are sums: as it is tagged, or by
/// the length of its hash.
pub fn sums_algorithm(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    lines
        .into_iter()
        .find_map(crate::list::format::sums::algorithm)
}

/// The algorithm that `head` shows, a list of a form whose lines show it one by one: as
/// one is tagged, or by the length of its hash. `None` for other forms.
pub(crate) fn algorithm_by_lines(format: Format, head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    match format {
        Format::Sums => sums_algorithm(head, whole),
        Format::Clamav => lines
            .into_iter()
            .find_map(crate::list::format::clamav::algorithm),
        Format::Powershell => crate::list::format::powershell::algorithm(&lines),
        Format::Certutil => lines
            .windows(2)
            .find_map(crate::list::format::certutil::algorithm),
        _ => None,
    }
}

/// The algorithm of the first digest in `head`, a plain list in base64.
pub(crate) fn first_encoded(head: &[u8], whole: bool) -> Option<Algorithm> {
    let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
    if !whole {
        lines.pop();
    }
    let mut texts = lines.into_iter().map(crate::list::format::plain::content);
    texts.find_map(crate::list::format::digest::algorithm_of_base64)
}

/// The first hash in `head`, a plain list: its algorithm, by its length or as it is named
/// before it, and its digits.
pub fn first_hash(head: &[u8], whole: bool) -> Option<(Algorithm, Vec<u8>)> {
    let digits = |line: &Line<'_>| {
        hash_prefix::split(crate::list::format::plain::content(line.bytes))
            .1
            .to_vec()
    };
    let mut framer = Framer::new();
    let mut lines = framer.push(head);
    while let Some(line) = lines.next() {
        if let Some(algorithm) = algorithm_of(&line) {
            return Some((algorithm, digits(&line)));
        }
    }
    let last = framer.finish().filter(|_| whole)?;
    Some((algorithm_of(&last)?, digits(&last)))
}

#[cfg(test)]
mod tests;
