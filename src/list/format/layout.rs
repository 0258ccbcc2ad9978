//! Layout of a list, detected by its first lines: format, column names, hash columns.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, fold};
use crate::base::printable;
use crate::list::format::cell::{algorithm_from_column_name, is_generic_hash_name};
use crate::list::format::delimited::HashColumn;
use crate::list::format::kind::{Format, ListOptions, OtherAlgorithms};
use crate::list::format::{delimited, hashdeep, json, mix, paths, powershell, types};
use serde::{Deserialize, Serialize};

/// Lines that detection samples, without blank lines and comments.
pub(super) const LINES_SAMPLED: usize = 50;

/// Format and columns of a list. Together with the list options it is all that a parser
/// needs. A checkpoint stores it, so that a run can resume in the middle of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The format.
    pub format: Format,
    /// Column names, empty without a header. For JSON, the fields in the first lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Columns that hold hashes in the first rows: index from 0, number of hexadecimal digits.
    #[serde(rename = "hashes", default, skip_serializing_if = "Vec::is_empty")]
    pub hash_columns: Vec<(usize, usize)>,
    /// Index of the type column, which names the kind of hash in each row. `None` if the list has
    /// none.
    #[serde(rename = "types", default, skip_serializing_if = "Option::is_none")]
    pub type_column: Option<usize>,
    /// Hashes in the first lines by algorithm, if a list without columns has several
    /// algorithms; otherwise zero.
    #[serde(
        rename = "mix",
        default,
        skip_serializing_if = "AlgorithmCounts::is_zero"
    )]
    pub algorithm_counts: AlgorithmCounts,
    /// True if the list has only blank lines and comments.
    #[serde(rename = "empty", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_empty: bool,
    /// True if output of PowerShell is a table; otherwise it is a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_table: bool,
}

impl Layout {
    /// The layout of a list in `format` that starts with these lines. `column` is the hash
    /// column from the options.
    pub(super) fn from_lines(format: Format, lines: &[&[u8]], column: Option<&str>) -> Layout {
        let mut layout = Layout {
            format,
            ..Layout::default()
        };
        match format {
            Format::Lines | Format::Sums => {
                layout.algorithm_counts = mix::count_algorithms(format, lines)
            }
            Format::Clamav => {}
            Format::Certutil => layout.columns = vec!["name".to_owned()],
            Format::Powershell => {
                let lines = &lines[..lines.len().min(LINES_SAMPLED)];
                let mut tails = (0..lines.len()).filter_map(|n| lines.get(n..));
                let seen = tails.find_map(powershell::detect_columns);
                (layout.is_table, layout.columns) = seen.unwrap_or_default();
            }
            Format::Paths => layout.columns = paths::columns(),
            Format::Hashdeep => {
                let names = lines.iter().find_map(|line| hashdeep::parse_columns(line));
                layout.columns = names.unwrap_or_default();
            }
            Format::Ndjson => {
                let lines = lines.iter().take(LINES_SAMPLED);
                for name in lines.flat_map(|line| json::fields(line)) {
                    if !layout.columns.contains(&name) {
                        layout.columns.push(name);
                    }
                }
            }
            Format::Nsrl
            | Format::Hashkeeper
            | Format::Ilook
            | Format::Csv
            | Format::Tsv
            | Format::Psv
            | Format::Semicolon => {
                let delimiter = format.delimiter().unwrap_or(b',');
                let fields = |line: &&[u8]| delimited::fields(line, delimiter);
                let mut rows: Vec<Vec<String>> = lines.iter().map(fields).collect();
                let is_header = |row: &[String], rest: &[Vec<String>]| {
                    delimited::is_header(row, column)
                        || delimited::is_header_without_hash_name(row, rest)
                };
                if let Some((first, rest)) = rows.split_first()
                    && is_header(first, rest)
                {
                    layout.columns = rows.remove(0);
                }
                layout.hash_columns = delimited::hash_columns(&rows);
                layout.type_column = types::find_type_column(&layout.columns, &rows);
            }
        }
        layout
    }

    /// Returns the algorithms that have columns, each with its column: by the column's
    /// name, or else by the length of its hashes. Empty for a plain list.
    pub fn algorithms(&self, options: &ListOptions) -> Vec<(Algorithm, String)> {
        if self.format == Format::Paths {
            return vec![(Algorithm::Sha256, self.format.name().to_owned())];
        }
        if let Some(column) = &options.column {
            let at = self.find_column(column);
            let name = at.and_then(|at| self.columns.get(at));
            // The last name in the path of a nested field.
            let last = column.rsplit('.').next().unwrap_or(column);
            let named = algorithm_from_column_name(name.map_or(last, String::as_str));
            let seen = match (named, at) {
                (Some(named), _) => vec![named],
                (None, Some(at)) => self.algorithms_by_length(at).collect(),
                (None, None) => vec![],
            };
            return seen.into_iter().map(|a| (a, column.clone())).collect();
        }
        let mut seen = Vec::new();
        for (at, name) in self.columns.iter().enumerate() {
            let with_name = |a| (a, name.clone());
            match algorithm_from_column_name(name) {
                Some(named) => seen.push(with_name(named)),
                None if is_generic_hash_name(name) => {
                    seen.extend(self.algorithms_by_length(at).map(with_name))
                }
                None => {}
            }
        }
        if self.columns.is_empty() {
            let each = self.hash_columns.iter();
            seen.extend(each.filter_map(|(at, digits)| {
                Some((Algorithm::from_hex_digits(*digits)?, self.display_name(*at)))
            }));
        }
        seen
    }

    /// Returns the lengths of the hashes in a column of the first rows, in digits.
    fn hash_lengths(&self, at: usize) -> impl Iterator<Item = usize> {
        let of_column = self
            .hash_columns
            .iter()
            .filter(move |(column, _)| *column == at);
        of_column.map(|(_, digits)| *digits)
    }

    /// Returns the algorithms of the hashes in a column, by their length.
    fn algorithms_by_length(&self, at: usize) -> impl Iterator<Item = Algorithm> {
        self.hash_lengths(at).filter_map(Algorithm::from_hex_digits)
    }

    /// Finds a column by exact name, folded name, or number from 1. `None` if there is none.
    pub(super) fn find_column(&self, name: &str) -> Option<usize> {
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

    /// Returns the index of the column that holds the hashes of `algorithm`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if there is none, or more
    /// than one.
    pub(super) fn hash_column(&self, algorithm: Algorithm, options: &ListOptions) -> Result<usize> {
        if let Some(column) = &options.column {
            return self
                .find_column(column)
                .ok_or_else(|| self.no_column_error(column));
        }
        let matching = |test: &dyn Fn(usize, &String) -> bool| -> Vec<usize> {
            let all = self.columns.iter().enumerate();
            all.filter(|(at, name)| test(*at, name))
                .map(|(at, _)| at)
                .collect()
        };
        let digits = algorithm.bytes() * 2;
        let exact = matching(&|_, name| Algorithm::from_name(name) == Some(algorithm));
        let named = matching(&|_, name| algorithm_from_column_name(name) == Some(algorithm));
        let generic = matching(&|at, name| {
            let mut lengths = self.hash_lengths(at).peekable();
            let fits = self.type_column.is_some() || lengths.peek().is_none();
            is_generic_hash_name(name) && (fits || lengths.any(|d| d == digits))
        });
        // Columns with hashes in the first rows are preferred.
        let filled: Vec<usize> = generic
            .iter()
            .copied()
            .filter(|at| self.hash_columns.iter().any(|(column, _)| column == at))
            .collect();
        let seen = |is: &dyn Fn(usize) -> bool| -> Vec<usize> {
            let all = self.hash_columns.iter().filter(|(_, d)| is(*d));
            let mut seen: Vec<usize> = all.map(|(at, _)| *at).collect();
            seen.dedup();
            match self.columns.is_empty() {
                true => seen,
                false => Vec::new(),
            }
        };
        let of_length = seen(&|d| d == digits);
        let typed = seen(&|_| self.type_column.is_some());
        for columns in [&exact, &named, &filled, &generic, &of_length, &typed] {
            match columns[..] {
                [] => {}
                [one] => return Ok(one),
                _ => {
                    let names: Vec<String> =
                        columns.iter().map(|at| self.display_name(*at)).collect();
                    return Err(Error::usage(format!(
                        "several columns may hold {algorithm} hashes: {}",
                        printable::short_names(&names)
                    ))
                    .with_hint("choose one with --column"));
                }
            }
        }
        let what = match self.columns.is_empty() {
            true => format!(
                "no column of this list ({}) has a {algorithm} hash in the first rows",
                self.format.describe()
            ),
            false => format!(
                "no column is named for {algorithm} hashes; the columns are {}",
                printable::short_names(&self.columns)
            ),
        };
        Err(Error::usage(what).with_hint(
            "give the column with --column (name or number), or the algorithm with --hash",
        ))
    }

    /// Returns the hash column of `algorithm` with the treatment of other algorithms' hashes
    /// in it. A column named after an algorithm holds only that one; for others the first
    /// rows decide.
    ///
    /// # Errors
    /// Same as [`hash_column`](Self::hash_column).
    pub(super) fn hash_column_spec(
        &self,
        algorithm: Algorithm,
        options: &ListOptions,
    ) -> Result<HashColumn> {
        let at = self.hash_column(algorithm, options)?;
        let name = self.columns.get(at);
        let is_named = name.is_some_and(|name| algorithm_from_column_name(name).is_some());
        let types = self.type_column.filter(|types| !is_named && *types != at);
        let are_several = !is_named && self.hash_lengths(at).count() > 1;
        let skip = options.other_algorithms == OtherAlgorithms::Skip;
        Ok(HashColumn {
            index: at,
            skips_others: skip || types.is_some() || are_several,
            type_index: types,
        })
    }

    /// Returns the path of the JSON field that holds the hashes of `algorithm`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if no field in the first
    /// lines is named after it.
    pub(super) fn hash_field(&self, algorithm: Algorithm, options: &ListOptions) -> Result<String> {
        if let Some(field) = &options.column {
            return Ok(field.clone());
        }
        let all = || self.columns.iter();
        let exact = all().find(|name| Algorithm::from_name(name) == Some(algorithm));
        let mut named = all().filter(|name| algorithm_from_column_name(name) == Some(algorithm));
        let field = exact.or_else(|| named.next());
        field.cloned().ok_or_else(|| {
            Error::usage(format!(
                "no field is named for {algorithm} hashes; the fields are {}",
                printable::short_names(&self.columns)
            ))
            .with_hint(
                "give the field with --field (a.b for a nested one), or the algorithm with --hash",
            )
        })
    }

    /// Returns the name of a column, or else its number from 1.
    pub(super) fn display_name(&self, at: usize) -> String {
        match self.columns.get(at) {
            Some(name) => name.clone(),
            None => (at + 1).to_string(),
        }
    }

    /// Returns the error for a column `name` that the list does not have.
    pub(super) fn no_column_error(&self, name: &str) -> Error {
        let has = match (self.format, self.columns.is_empty()) {
            (Format::Lines, _) => "a plain list, one hash per line, has no columns".to_owned(),
            (Format::Sums | Format::Clamav, _) => {
                "the columns are name and size; the place of the hash is fixed".to_owned()
            }
            (Format::Paths, _) => {
                "the columns of a list of paths are path and normalized".to_owned()
            }
            (_, true) => "its columns have no names, only numbers from 1".to_owned(),
            (_, false) => format!("the columns are {}", printable::short_names(&self.columns)),
        };
        Error::usage(format!("the list has no column {name:?}: {has}"))
            .with_hint("give an existing column, or the list's format with --format")
    }
}
