//! The flags that say what form a list has, alike for every command that reads lists.

use super::paths::RulesArgs;
use crate::error::{Error, Result};
use crate::format::{Form, Format};
use crate::matchmeta::GivenRules;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub(super) struct FormArgs {
    /// Form of the lists [default: as the first lines of each show]
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Input"
    )]
    format: FormatArg,
    /// The column that holds the hash, by its name or its number from 1 [default: by its name or
    /// what stands in it]
    #[arg(long, value_name = "NAME|N", help_heading = "Input")]
    column: Option<String>,
    /// The same of JSON lines: the field, one inside another as a.b
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "column",
        help_heading = "Input"
    )]
    field: Option<String>,
    /// The lists are of full paths, not of hashes: each is made comparable, as `hashferry
    /// normalize` does it, and its SHA-256 is the hash
    #[arg(
        long,
        conflicts_with_all = ["format", "column", "field"],
        help_heading = "Paths"
    )]
    paths: bool,
    #[command(flatten)]
    rules: RulesArgs,
}

#[derive(Debug, Clone, Copy)]
struct FormatArg(Option<Format>);

impl ValueEnum for FormatArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [FormatArg; Format::ALL.len() + 1] = {
            let mut all = [FormatArg(None); Format::ALL.len() + 1];
            let mut n = 0;
            while n < Format::ALL.len() {
                all[n + 1] = FormatArg(Some(Format::ALL[n]));
                n += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self.0 {
            None => PossibleValue::new("auto").help("as the first lines show"),
            Some(format) => PossibleValue::new(format.name()).help(format.described()),
        })
    }
}

impl FormArgs {
    /// The form.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) when rules for paths are given
    /// and no paths, or rules that cannot be.
    pub(super) fn form(&self) -> Result<Form> {
        if self.paths {
            return Ok(Form::paths(self.rules.normalizer()?));
        }
        if let Some(flag) = self.rules.given() {
            return Err(Error::usage(format!(
                "{flag} is about paths, and these are lists of hashes"
            ))
            .hint("give --paths, too, when they are lists of paths; or leave it out"));
        }
        Ok(Form {
            format: self.format.0,
            column: self.column.clone().or_else(|| self.field.clone()),
            paths: None,
        })
    }

    /// The rules of lists of paths, as far as they are given.
    pub(super) fn given_rules(&self) -> GivenRules {
        self.rules.given_rules()
    }

    /// The flags as they were given, to be given again.
    pub(super) fn words(&self) -> Vec<String> {
        let format = self.format.0.map(|f| f.name().to_owned());
        let flags = [
            ("--format", &format),
            ("--column", &self.column),
            ("--field", &self.field),
        ];
        let given = flags.into_iter();
        given
            .filter_map(|(flag, value)| Some([flag.to_owned(), value.clone()?]))
            .flatten()
            .chain(self.paths.then(|| "--paths".to_owned()))
            .chain(self.rules.words())
            .collect()
    }
}
