//! The flags that say what form a list has, alike for every command that reads lists.

use crate::base::error::{Error, Result};
use crate::cli::flags::paths::RulesArgs;
use crate::list::format::kind::{Encoding, Form, Format, OtherAlgorithms};
use crate::list::matchmeta::given::GivenRules;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub(crate) struct FormArgs {
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
    /// The same of JSON: the field, one inside another as a.b; inside arrays as value[].MD5, which
    /// reads each element as a line, of a document of any size
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "column",
        help_heading = "Input"
    )]
    field: Option<String>,
    /// Hashes of other algorithms than the one meant: refuse a list that mixes them line by line, or
    /// skip them and count them by algorithm [default: refuse]
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "refuse",
        hide_default_value = true,
        help_heading = "Input"
    )]
    other_algorithms: OthersArg,
    /// How the hashes are written; base64 of either alphabet, padded or not, also behind
    /// `sha256-` (SRI) and `sha256=` (Python's RECORD)
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "hex",
        hide_default_value = true,
        help_heading = "Input"
    )]
    encoding: EncodingArg,
    /// The lists are of full paths, not of hashes: each is made comparable, as `hashferry
    /// normalize` does it, and its SHA-256 is the hash
    #[arg(
        long,
        conflicts_with_all = ["format", "column", "field", "encoding"],
        help_heading = "Paths"
    )]
    paths: bool,
    #[command(flatten)]
    rules: RulesArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OthersArg {
    /// A list that mixes algorithms is refused, and a stray line rejected
    Refuse,
    /// They count as skipped, by algorithm
    Skip,
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
            // Other programs' names of it.
            Some(Format::Semicolon) => PossibleValue::new(Format::Semicolon.name())
                .aliases(["ssv", "scsv"])
                .help(Format::Semicolon.described()),
            Some(format) => PossibleValue::new(format.name()).help(format.described()),
        })
    }
}

#[derive(Debug, Clone, Copy)]
struct EncodingArg(Encoding);

impl ValueEnum for EncodingArg {
    fn value_variants<'a>() -> &'a [Self] {
        const { &[EncodingArg(Encoding::Hex), EncodingArg(Encoding::Base64)] }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

impl FormArgs {
    /// The form.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when rules for paths are given
    /// and no paths, or rules that cannot be.
    pub(crate) fn form(&self) -> Result<Form> {
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
            encoding: self.encoding.0,
            paths: None,
            others: match self.other_algorithms {
                OthersArg::Refuse => OtherAlgorithms::Refuse,
                OthersArg::Skip => OtherAlgorithms::Skip,
            },
        })
    }

    /// The rules of lists of paths, as far as they are given.
    pub(crate) fn given_rules(&self) -> GivenRules {
        self.rules.given_rules()
    }

    /// The flags as they were given, to be given again.
    pub(crate) fn words(&self) -> Vec<String> {
        let format = self.format.0.map(|f| f.name().to_owned());
        let others = (self.other_algorithms == OthersArg::Skip).then(|| "skip".to_owned());
        let encoding =
            (self.encoding.0 != Encoding::Hex).then(|| self.encoding.0.name().to_owned());
        let flags = [
            ("--format", &format),
            ("--encoding", &encoding),
            ("--column", &self.column),
            ("--field", &self.field),
            ("--other-algorithms", &others),
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
