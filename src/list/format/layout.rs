//! What the first lines of a list show: its format, the names of its columns, and in
//! which of them hashes stand.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, fold};
use crate::base::printable;
use crate::list::format::cell::{algorithm_named, is_generic};
use crate::list::format::delimited::HashColumn;
use crate::list::format::kind::{Form, Format, OtherAlgorithms};
use crate::list::format::{delimited, hashdeep, json, mix, paths, powershell, types};
use serde::{Deserialize, Serialize};

/// Lines that are looked at to tell the form, blank ones and comments apart.
pub(super) const LINES_LOOKED_AT: usize = 50;

/// What the beginning of a list shows of its form: with what a person says of it, all
/// that a parser must know, so that reading can go on in the middle of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The format.
    pub format: Format,
    /// The names of the columns, where a line says them; of JSON, those of the fields
    /// that were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Which columns hold hashes in the first rows, counted from 0, and of how many
    /// digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hashes: Vec<(usize, usize)>,
    /// The column that says of each row what its hash is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<usize>,
    /// The hashes in the first lines of a list that has no columns, by algorithm, where
    /// there are several.
    #[serde(default, skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub mix: AlgorithmCounts,
    /// Whether the list has nothing but blank lines and comments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
    /// Of the output of PowerShell, whether it is a table and not a list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_table: bool,
}

impl Layout {
    /// The layout of `format`, of which these are the first lines.
    pub(super) fn of(format: Format, lines: &[&[u8]], column: Option<&str>) -> Layout {
        let mut layout = Layout {
            format,
            ..Layout::default()
        };
        match format {
            Format::Lines | Format::Sums => layout.mix = mix::counted(format, lines),
            Format::Clamav => {}
            Format::Certutil => layout.columns = vec!["name".to_owned()],
            Format::Powershell => {
                let lines = &lines[..lines.len().min(LINES_LOOKED_AT)];
                let mut tails = (0..lines.len()).filter_map(|n| lines.get(n..));
                let seen = tails.find_map(powershell::columns);
                (layout.is_table, layout.columns) = seen.unwrap_or_default();
            }
            Format::Paths => layout.columns = paths::columns(),
            Format::Hashdeep => {
                let names = lines.iter().find_map(|line| hashdeep::columns(line));
                layout.columns = names.unwrap_or_default();
            }
            Format::Ndjson => {
                let lines = lines.iter().take(LINES_LOOKED_AT);
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
                    delimited::is_header(row, column) || delimited::names_columns(row, rest)
                };
                if let Some((first, rest)) = rows.split_first()
                    && is_header(first, rest)
                {
                    layout.columns = rows.remove(0);
                }
                layout.hashes = delimited::hash_columns(&rows);
                layout.types = types::column(&layout.columns, &rows);
            }
        }
        layout
    }

    /// The algorithms of which it shows hashes, with the columns that hold them: by
    /// their names, or else by the length of what is in them. What a plain list shows,
    /// its first hash tells.
    pub fn algorithms(&self, form: &Form) -> Vec<(Algorithm, String)> {
        if self.format == Format::Paths {
            return vec![(Algorithm::Sha256, self.format.name().to_owned())];
        }
        if let Some(told) = &form.column {
            let at = self.column(told);
            let name = at.and_then(|at| self.columns.get(at));
            // Of a field inside another, its own name.
            let own = told.rsplit('.').next().unwrap_or(told);
            let named = algorithm_named(name.map_or(own, String::as_str));
            let seen = match (named, at) {
                (Some(named), _) => vec![named],
                (None, Some(at)) => self.by_length(at).collect(),
                (None, None) => vec![],
            };
            return seen.into_iter().map(|a| (a, told.clone())).collect();
        }
        let mut seen = Vec::new();
        for (at, name) in self.columns.iter().enumerate() {
            let called = |a| (a, name.clone());
            match algorithm_named(name) {
                Some(named) => seen.push(called(named)),
                None if is_generic(name) => seen.extend(self.by_length(at).map(called)),
                None => {}
            }
        }
        if self.columns.is_empty() {
            let each = self.hashes.iter();
            seen.extend(each.filter_map(|(at, digits)| {
                Some((Algorithm::of_hex_digits(*digits)?, self.called(*at)))
            }));
        }
        seen
    }

    /// The lengths of the hashes in a column, as far as the first rows have some, in digits.
    fn lengths(&self, at: usize) -> impl Iterator<Item = usize> {
        let of_column = self.hashes.iter().filter(move |(column, _)| *column == at);
        of_column.map(|(_, digits)| *digits)
    }

    /// The algorithms that the hashes in a column are of by their length.
    fn by_length(&self, at: usize) -> impl Iterator<Item = Algorithm> {
        self.lengths(at).filter_map(Algorithm::of_hex_digits)
    }

    /// Which column is called `name`, or has that number from 1.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
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
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when there is none, or more
    /// than one.
    pub(super) fn hash_column(&self, algorithm: Algorithm, form: &Form) -> Result<usize> {
        if let Some(column) = &form.column {
            return self.column(column).ok_or_else(|| self.no_column(column));
        }
        let of = |test: &dyn Fn(usize, &String) -> bool| -> Vec<usize> {
            let all = self.columns.iter().enumerate();
            all.filter(|(at, name)| test(*at, name))
                .map(|(at, _)| at)
                .collect()
        };
        let digits = algorithm.bytes() * 2;
        let exact = of(&|_, name| Algorithm::from_name(name) == Some(algorithm));
        let named = of(&|_, name| algorithm_named(name) == Some(algorithm));
        let generic = of(&|at, name| {
            let mut lengths = self.lengths(at).peekable();
            let fits = self.types.is_some() || lengths.peek().is_none();
            is_generic(name) && (fits || lengths.any(|d| d == digits))
        });
        // Of those that hold hashes, where some do.
        let filled: Vec<usize> = generic
            .iter()
            .copied()
            .filter(|at| self.hashes.iter().any(|(column, _)| column == at))
            .collect();
        let seen = |is: &dyn Fn(usize) -> bool| -> Vec<usize> {
            let all = self.hashes.iter().filter(|(_, d)| is(*d));
            let mut seen: Vec<usize> = all.map(|(at, _)| *at).collect();
            seen.dedup();
            match self.columns.is_empty() {
                true => seen,
                false => Vec::new(),
            }
        };
        let of_length = seen(&|d| d == digits);
        let typed = seen(&|_| self.types.is_some());
        for columns in [&exact, &named, &filled, &generic, &of_length, &typed] {
            match columns[..] {
                [] => {}
                [one] => return Ok(one),
                _ => {
                    let names: Vec<String> = columns.iter().map(|at| self.called(*at)).collect();
                    return Err(Error::usage(format!(
                        "several columns may hold {algorithm} hashes: {}",
                        printable::names(&names)
                    ))
                    .hint("name one by --column"));
                }
            }
        }
        let what = match self.columns.is_empty() {
            true => format!(
                "no column of this list, {}, shows a {algorithm} hash in its first rows",
                self.format.described()
            ),
            false => format!(
                "no column is named as one of {algorithm} hashes; there are {}",
                printable::names(&self.columns)
            ),
        };
        Err(Error::usage(what)
            .hint("name the column by --column NAME or its number, or the algorithm by --hash"))
    }

    /// The same, with the treatment of other algorithms' hashes in it. A column named as an
    /// algorithm's holds none; of others the first rows tell.
    ///
    /// # Errors
    /// As [`hash_column`](Self::hash_column).
    pub(super) fn hashes_of(&self, algorithm: Algorithm, form: &Form) -> Result<HashColumn> {
        let at = self.hash_column(algorithm, form)?;
        let name = self.columns.get(at);
        let is_named = name.is_some_and(|name| algorithm_named(name).is_some());
        let types = self.types.filter(|types| !is_named && *types != at);
        let are_several = !is_named && self.lengths(at).count() > 1;
        let skip = form.others == OtherAlgorithms::Skip;
        Ok(HashColumn {
            at,
            skips_others: skip || types.is_some() || are_several,
            types,
        })
    }

    /// The field that holds the hashes of `algorithm`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when no field that was seen
    /// is named so.
    pub(super) fn hash_field(&self, algorithm: Algorithm, form: &Form) -> Result<String> {
        if let Some(told) = &form.column {
            return Ok(told.clone());
        }
        let all = || self.columns.iter();
        let exact = all().find(|name| Algorithm::from_name(name) == Some(algorithm));
        let mut named = all().filter(|name| algorithm_named(name) == Some(algorithm));
        let field = exact.or_else(|| named.next());
        field.cloned().ok_or_else(|| {
            Error::usage(format!(
                "no field is named as one of {algorithm} hashes; there are {}",
                printable::names(&self.columns)
            ))
            .hint("name the field by --field (a.b for one inside another), or the algorithm by --hash")
        })
    }

    /// What a column is called: by its name, or by its number from 1.
    pub(super) fn called(&self, at: usize) -> String {
        match self.columns.get(at) {
            Some(name) => name.clone(),
            None => (at + 1).to_string(),
        }
    }

    /// The list has no column of that name.
    pub(super) fn no_column(&self, name: &str) -> Error {
        let has = match (self.format, self.columns.is_empty()) {
            (Format::Lines, _) => "it is a plain list, one hash a line, which has none".to_owned(),
            (Format::Sums | Format::Clamav, _) => {
                "there are name and size, and the hash stands where it does".to_owned()
            }
            (Format::Paths, _) => "of a list of paths there are path and normalized".to_owned(),
            (_, true) => "its columns have no names, only numbers from 1".to_owned(),
            (_, false) => format!("there are {}", printable::names(&self.columns)),
        };
        Error::usage(format!("the list has no column {name:?}: {has}"))
            .hint("name a column that there is, or tell the form of the list by --format")
    }
}
