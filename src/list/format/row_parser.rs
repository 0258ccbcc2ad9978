//! The parser of a list's rows: one type for all formats.
//!
//! Rows without a hash are rejected by name ([`Reason`]); blank lines, comments and
//! headers, wherever they stand, are skipped. So are hashes of other algorithms, where a
//! table's first rows or a person says that the list has several.
//!
//! Rows stream through it, and none costs an allocation.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::record::Reason;
use crate::list::format::certutil::CertutilParser;
use crate::list::format::clamav::ClamavParser;
use crate::list::format::delimited::DelimitedParser;
use crate::list::format::digest::Digest;
use crate::list::format::document::ArrayPath;
use crate::list::format::hashdeep::HashdeepParser;
use crate::list::format::headers::Headers;
use crate::list::format::json::JsonParser;
use crate::list::format::kind::{Encoding, Form, Format, OtherAlgorithms};
use crate::list::format::layout::Layout;
use crate::list::format::paths::PathParser;
use crate::list::format::plain::{LineParser, Parsed, algorithm_of, algorithm_of_text, content};
use crate::list::format::powershell::{ListParser, TableParser};
use crate::list::format::sums::{Column, SumsParser};
use crate::list::format::{encoded, mix, sums};
use crate::list::lines::Line;

impl Form {
    /// The rules that paths are made comparable by, as names and texts; none of a list of
    /// hashes.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.paths.iter().flat_map(crate::list::format::paths::told)
    }

    /// The names of those rules.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules().map(|(name, _)| name)
    }
}

/// Takes the rows of one list apart. See the module.
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

/// A list, and what is wanted of its rows.
struct Request<'a> {
    layout: &'a Layout,
    form: &'a Form,
    algorithm: Algorithm,
    digits: Digest,
    wanted: &'a [String],
}

impl Request<'_> {
    /// The parser of the list's format.
    fn kind(&self) -> Result<Kind> {
        match self.layout.format {
            Format::Lines => self.lines(),
            Format::Sums => {
                let wanted = self.name_and_size()?;
                let parser = SumsParser::new(self.algorithm, self.digits, wanted);
                Ok(Kind::Sums(parser))
            }
            Format::Clamav => {
                let wanted = self.name_and_size()?;
                Ok(Kind::Clamav(ClamavParser::new(self.digits, wanted)))
            }
            Format::Powershell => self.powershell(),
            Format::Certutil => self.certutil(),
            Format::Hashdeep => self.hashdeep(),
            Format::Paths => self.paths(),
            Format::Ndjson => self.json(),
            Format::Nsrl
            | Format::Hashkeeper
            | Format::Ilook
            | Format::Csv
            | Format::Tsv
            | Format::Psv
            | Format::Semicolon => self.delimited(),
        }
    }

    fn lines(&self) -> Result<Kind> {
        self.refuse_column(self.form.column.as_ref().or(self.wanted.first()))?;
        Ok(match self.form.encoding {
            Encoding::Hex => Kind::Lines(LineParser::new(self.algorithm)),
            Encoding::Base64 => Kind::Encoded(self.digits),
        })
    }

    fn powershell(&self) -> Result<Kind> {
        self.refuse_column(self.form.column.as_ref())?;
        if self.layout.columns.is_empty() {
            return Err(Error::usage(
                "the output of Get-FileHash names Algorithm, Hash and Path, and this list does not",
            )
            .hint("name the form of the list by --format, or leave it out"));
        }
        let (names, wanted) = (&self.layout.columns, self.columns()?);
        Ok(match self.layout.is_table {
            true => Kind::Table(TableParser::new(self.digits, names, wanted)),
            false => Kind::List(Box::new(ListParser::new(self.digits, names, wanted))),
        })
    }

    fn certutil(&self) -> Result<Kind> {
        self.refuse_column(self.form.column.as_ref())?;
        self.columns()?;
        let parser = CertutilParser::new(self.digits, self.wanted.len());
        Ok(Kind::Certutil(parser))
    }

    fn hashdeep(&self) -> Result<Kind> {
        if self.layout.columns.is_empty() {
            return Err(Error::usage(
                "the output of hashdeep names its columns in a line that begins with %%%%, and this list \
                 does not begin with one",
            )
            .hint("give the whole output of hashdeep, or name the form of the list by --format"));
        }
        let hash = self.layout.hash_column(self.algorithm, self.form)?;
        Ok(Kind::Hashdeep(HashdeepParser::new(
            self.digits,
            hash,
            self.columns()?,
            self.layout.columns.clone(),
        )))
    }

    fn paths(&self) -> Result<Kind> {
        let normalizer = self.form.paths.clone().unwrap_or_default();
        let parser = PathParser::new(normalizer, self.algorithm, self.columns()?)?;
        Ok(Kind::Paths(Box::new(parser)))
    }

    fn json(&self) -> Result<Kind> {
        let field = self.layout.hash_field(self.algorithm, self.form)?;
        let parser = match ArrayPath::of(&field) {
            Some(path) => JsonParser::of_elements(self.digits, &path, self.wanted)?,
            None => JsonParser::tagged(self.digits, &field, self.wanted.to_vec())?,
        };
        Ok(Kind::Json(Box::new(parser)))
    }

    fn delimited(&self) -> Result<Kind> {
        let hash = self.layout.hashes_of(self.algorithm, self.form)?;
        Ok(Kind::Delimited(Box::new(DelimitedParser::new(
            self.layout.format,
            self.digits,
            hash,
            self.columns()?,
            &self.layout.columns,
        ))))
    }

    /// The numbers of the wanted columns.
    fn columns(&self) -> Result<Vec<usize>> {
        let layout = self.layout;
        let each = self.wanted.iter();
        each.map(|name| layout.column(name).ok_or_else(|| layout.no_column(name)))
            .collect()
    }

    /// The wanted columns of a format that has a name and a size beside the hash.
    fn name_and_size(&self) -> Result<Vec<Column>> {
        self.refuse_column(self.form.column.as_ref())?;
        let layout = self.layout;
        let known = |name: &String| Column::named(name).ok_or_else(|| layout.no_column(name));
        self.wanted.iter().map(known).collect()
    }

    /// Refuses the column `name` of a format that has none to choose.
    fn refuse_column(&self, name: Option<&String>) -> Result<()> {
        name.map_or(Ok(()), |name| Err(self.layout.no_column(name)))
    }
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
            && let Some(refused) = mix::refused(&layout.mix, algorithm)
        {
            return Err(refused);
        }
        let request = Request {
            layout,
            form,
            algorithm,
            digits: Digest::new(algorithm, form),
            wanted,
        };
        Ok(parser(request.kind()?))
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
            Kind::Encoded(digest) => encoded::parse(line.bytes, *digest),
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
            (Kind::Sums(_), _) => sums::algorithm(line.bytes).or_else(|| algorithm_of(line)),
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

#[cfg(test)]
mod tests;
