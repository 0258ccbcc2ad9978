//! The parser of a list's rows, one type for all formats.
//!
//! A row without a hash is rejected with a [`RejectReason`]. Blank lines, comments and headers are
//! skipped anywhere in the list. Hashes of other algorithms are skipped if the options say
//! so, or if the first rows of a table show several algorithms.
//!
//! Parsing streams, and most formats allocate nothing per row.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::record::RejectReason;
use crate::list::format::certutil::CertutilParser;
use crate::list::format::clamav::ClamavParser;
use crate::list::format::delimited::DelimitedParser;
use crate::list::format::digest::HashSpec;
use crate::list::format::document::ArrayPath;
use crate::list::format::hashdeep::HashdeepParser;
use crate::list::format::headers::Headers;
use crate::list::format::json::JsonParser;
use crate::list::format::kind::{Encoding, Format, ListOptions, OtherAlgorithms};
use crate::list::format::layout::Layout;
use crate::list::format::paths::PathParser;
use crate::list::format::plain::{
    LineParser, Parsed, algorithm_from_line, algorithm_from_text, trimmed,
};
use crate::list::format::powershell::{ListParser, TableParser};
use crate::list::format::sums::{SumColumn, SumsParser};
use crate::list::format::{base64_list, mix, sums};
use crate::list::lines::Line;

impl ListOptions {
    /// Returns the rules that normalise paths, as pairs of attribute name and text. Empty for
    /// lists of hashes.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.path_normalizer
            .iter()
            .flat_map(crate::list::format::paths::pairs)
    }

    /// Returns the attribute names of those rules.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules().map(|(name, _)| name)
    }
}

/// Parser of the rows of one list. See the module.
#[derive(Debug)]
pub struct RowParser {
    parser: FormatParser,
    algorithm: Algorithm,
    /// True if a list without columns skips hashes of other algorithms.
    skips_others: bool,
    headers: Headers,
}

#[derive(Debug)]
enum FormatParser {
    Lines(LineParser),
    Sums(SumsParser),
    /// A plain list in base64.
    Encoded(HashSpec),
    Hashdeep(HashdeepParser),
    Clamav(ClamavParser),
    Table(TableParser),
    List(Box<ListParser>),
    Certutil(CertutilParser),
    Delimited(Box<DelimitedParser>),
    Json(Box<JsonParser>),
    Paths(Box<PathParser>),
}

/// A list, and the columns that are wanted from its rows.
struct Request<'a> {
    layout: &'a Layout,
    options: &'a ListOptions,
    algorithm: Algorithm,
    hash_spec: HashSpec,
    wanted: &'a [String],
}

impl Request<'_> {
    /// Creates the parser for the list's format.
    fn parser(&self) -> Result<FormatParser> {
        match self.layout.format {
            Format::Lines => self.lines(),
            Format::Sums => {
                let wanted = self.name_and_size()?;
                let parser = SumsParser::new(self.algorithm, self.hash_spec, wanted);
                Ok(FormatParser::Sums(parser))
            }
            Format::Clamav => {
                let wanted = self.name_and_size()?;
                Ok(FormatParser::Clamav(ClamavParser::new(
                    self.hash_spec,
                    wanted,
                )))
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

    fn lines(&self) -> Result<FormatParser> {
        self.check_no_column(self.options.column.as_ref().or(self.wanted.first()))?;
        Ok(match self.options.encoding {
            Encoding::Hex => FormatParser::Lines(LineParser::new(self.algorithm)),
            Encoding::Base64 => FormatParser::Encoded(self.hash_spec),
        })
    }

    fn powershell(&self) -> Result<FormatParser> {
        self.check_no_column(self.options.column.as_ref())?;
        if self.layout.columns.is_empty() {
            return Err(Error::usage(
                "the output of Get-FileHash names Algorithm, Hash and Path, but this list does not",
            )
            .with_hint("give the list's format with --format, or omit --format"));
        }
        let (names, wanted) = (&self.layout.columns, self.columns()?);
        Ok(match self.layout.is_table {
            true => FormatParser::Table(TableParser::new(self.hash_spec, names, wanted)),
            false => FormatParser::List(Box::new(ListParser::new(self.hash_spec, names, wanted))),
        })
    }

    fn certutil(&self) -> Result<FormatParser> {
        self.check_no_column(self.options.column.as_ref())?;
        self.columns()?;
        let parser = CertutilParser::new(self.hash_spec, self.wanted.len());
        Ok(FormatParser::Certutil(parser))
    }

    fn hashdeep(&self) -> Result<FormatParser> {
        if self.layout.columns.is_empty() {
            return Err(Error::usage(
                "the output of hashdeep names its columns in a line that begins with %%%%, but this list \
                 does not begin with one",
            )
            .with_hint("give the complete output of hashdeep, or the list's format with --format"));
        }
        let hash = self.layout.hash_column(self.algorithm, self.options)?;
        Ok(FormatParser::Hashdeep(HashdeepParser::new(
            self.hash_spec,
            hash,
            self.columns()?,
            self.layout.columns.clone(),
        )))
    }

    fn paths(&self) -> Result<FormatParser> {
        let normalizer = self.options.path_normalizer.clone().unwrap_or_default();
        let parser = PathParser::new(normalizer, self.algorithm, self.columns()?)?;
        Ok(FormatParser::Paths(Box::new(parser)))
    }

    fn json(&self) -> Result<FormatParser> {
        let field = self.layout.hash_field(self.algorithm, self.options)?;
        let parser = match ArrayPath::parse(&field) {
            Some(path) => JsonParser::for_elements(self.hash_spec, &path, self.wanted)?,
            None => JsonParser::for_objects(self.hash_spec, &field, self.wanted.to_vec())?,
        };
        Ok(FormatParser::Json(Box::new(parser)))
    }

    fn delimited(&self) -> Result<FormatParser> {
        let hash = self.layout.hash_column_spec(self.algorithm, self.options)?;
        Ok(FormatParser::Delimited(Box::new(DelimitedParser::new(
            self.layout.format,
            self.hash_spec,
            hash,
            self.columns()?,
            &self.layout.columns,
        ))))
    }

    /// Returns the indexes of the wanted columns.
    fn columns(&self) -> Result<Vec<usize>> {
        let layout = self.layout;
        let each = self.wanted.iter();
        each.map(|name| {
            layout
                .find_column(name)
                .ok_or_else(|| layout.no_column_error(name))
        })
        .collect()
    }

    /// Returns the wanted columns of a format that has only name and size beside the hash.
    fn name_and_size(&self) -> Result<Vec<SumColumn>> {
        self.check_no_column(self.options.column.as_ref())?;
        let layout = self.layout;
        let known =
            |name: &String| SumColumn::from_name(name).ok_or_else(|| layout.no_column_error(name));
        self.wanted.iter().map(known).collect()
    }

    /// Returns an error for a column `name` in a format whose hash column is fixed.
    fn check_no_column(&self, name: Option<&String>) -> Result<()> {
        name.map_or(Ok(()), |name| Err(self.layout.no_column_error(name)))
    }
}

impl RowParser {
    /// A parser of a list with this layout, for hashes of `algorithm`, that also reads the
    /// `wanted` columns.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the list lacks one of
    /// these columns, or mixes algorithms and the options do not skip the others.
    pub fn new(
        layout: &Layout,
        options: &ListOptions,
        algorithm: Algorithm,
        wanted: &[String],
    ) -> Result<RowParser> {
        let parser = |kind| RowParser {
            parser: kind,
            algorithm,
            skips_others: options.other_algorithms == OtherAlgorithms::Skip,
            headers: Headers::default(),
        };
        if layout.is_empty {
            // A list without rows lacks no column.
            return Ok(parser(FormatParser::Lines(LineParser::new(algorithm))));
        }
        if options.other_algorithms == OtherAlgorithms::Refuse
            && let Some(error) = mix::mix_error(&layout.algorithm_counts, algorithm)
        {
            return Err(error);
        }
        let request = Request {
            layout,
            options,
            algorithm,
            hash_spec: HashSpec::new(algorithm, options),
            wanted,
        };
        Ok(parser(request.parser()?))
    }

    /// Parses `line`. Returns [`Parsed::Continues`] if its row continues in the next line.
    #[inline]
    pub fn parse(&mut self, line: &Line<'_>) -> Parsed {
        let parsed = match &mut self.parser {
            FormatParser::Lines(parser) => parser.parse(line),
            _ if line.is_overlong() => {
                self.abandon_row();
                Parsed::Rejected(RejectReason::Overlong)
            }
            FormatParser::Sums(parser) => parser.parse(line.bytes),
            FormatParser::Encoded(digest) => base64_list::parse(line.bytes, *digest),
            FormatParser::Hashdeep(parser) => parser.parse(line.bytes),
            FormatParser::Clamav(parser) => parser.parse(line.bytes),
            FormatParser::Table(parser) => parser.parse(line.bytes),
            FormatParser::List(parser) => parser.parse(line.bytes),
            FormatParser::Certutil(parser) => parser.parse(line.bytes),
            FormatParser::Delimited(parser) => parser.parse(line.bytes),
            FormatParser::Json(parser) => parser.parse(line.bytes),
            FormatParser::Paths(parser) => parser.parse(line.bytes, line.number == 1),
        };
        match parsed {
            Parsed::Skipped | Parsed::Rejected(RejectReason::Length | RejectReason::Algorithm) => {
                self.classify_unusual(line, parsed)
            }
            parsed => parsed,
        }
    }

    /// Classifies a line without a hash of the list's algorithm: a repeated header, or a hash
    /// of another algorithm.
    #[cold]
    fn classify_unusual(&mut self, line: &Line<'_>, parsed: Parsed) -> Parsed {
        let other = match (&self.parser, parsed) {
            (
                FormatParser::Lines(_) | FormatParser::Sums(_) | FormatParser::Delimited(_),
                Parsed::Skipped,
            ) => {
                let is_table = matches!(self.parser, FormatParser::Delimited(_));
                return self.headers.classify(line, is_table);
            }
            _ if !self.skips_others => None,
            (FormatParser::Lines(_), Parsed::Rejected(RejectReason::Length)) => {
                algorithm_from_line(line)
            }
            (FormatParser::Sums(_), _) => {
                sums::algorithm(line.bytes).or_else(|| algorithm_from_line(line))
            }
            (FormatParser::Json(parser), _) => algorithm_from_text(trimmed(parser.hash_text())),
            _ => None,
        };
        match other.filter(|other| *other != self.algorithm) {
            Some(other) => Parsed::Other(other),
            None => parsed,
        }
    }

    /// Returns the n-th wanted column of the last row. `None` if the row lacks it or it is
    /// empty.
    pub fn column_value(&self, n: usize) -> Option<&[u8]> {
        match &self.parser {
            FormatParser::Lines(_) | FormatParser::Encoded(_) => None,
            FormatParser::Sums(parser) => parser.column_value(n),
            FormatParser::Hashdeep(parser) => parser.column_value(n),
            FormatParser::Clamav(parser) => parser.column_value(n),
            FormatParser::Table(parser) => parser.column_value(n),
            FormatParser::List(parser) => parser.column_value(n),
            FormatParser::Certutil(parser) => parser.column_value(n),
            FormatParser::Delimited(parser) => parser.column_value(n),
            FormatParser::Json(parser) => parser.column_value(n),
            FormatParser::Paths(parser) => parser.column_value(n),
        }
        .filter(|v| !v.is_empty())
    }

    /// Discards an unfinished row.
    pub fn abandon_row(&mut self) {
        match &mut self.parser {
            FormatParser::Delimited(parser) => parser.abandon_row(),
            FormatParser::List(parser) => parser.abandon_record(),
            FormatParser::Certutil(parser) => parser.abandon_row(),
            _ => {}
        }
    }

    /// Classifies the unfinished row at the end of the list. `None` if only another line can
    /// end a row of this format.
    pub(super) fn finish(&mut self) -> Option<Parsed> {
        match &mut self.parser {
            FormatParser::List(parser) => parser.finish(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
