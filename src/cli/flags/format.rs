//! Flags for the format of lists, shared by every command that reads lists.

use crate::base::error::{Error, Result};
use crate::cli::flags::paths::RulesArgs;
use crate::list::format::kind::{Encoding, Format, ListOptions, OtherAlgorithms};
use crate::list::matchmeta::given::GivenRules;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// Format of the lists [default: detected from the first lines of each]
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Input"
    )]
    format: FormatArg,
    /// Column of the hash, by name or by number from 1 [default: detected from names and contents]
    #[arg(long, value_name = "NAME|N", help_heading = "Input")]
    column: Option<String>,
    /// JSON field of the hash: a.b is nested; value[].MD5 reads each array element as a line, in a
    /// document of any size
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "column",
        help_heading = "Input"
    )]
    field: Option<String>,
    /// Hashes of other algorithms: refuse a list that mixes algorithms line by line, or skip those
    /// hashes and count them by algorithm [default: refuse]
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value = "refuse",
        hide_default_value = true,
        help_heading = "Input"
    )]
    other_algorithms: OtherAlgorithmsArg,
    /// Encoding of the hashes; base64 in either alphabet, padded or not, also after
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
    /// The lists hold full paths, not hashes: each path is normalised as by `hashferry
    /// normalize`, and its SHA-256 is the hash
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
enum OtherAlgorithmsArg {
    /// Fail on a list that mixes algorithms; reject a stray line
    Refuse,
    /// Count them as skipped, by algorithm
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
            None => PossibleValue::new("auto").help("detected from the first lines"),
            // Names that other programs use.
            Some(Format::Semicolon) => PossibleValue::new(Format::Semicolon.name())
                .aliases(["ssv", "scsv"])
                .help(Format::Semicolon.describe()),
            Some(format) => PossibleValue::new(format.name()).help(format.describe()),
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

impl ListArgs {
    /// The options of the lists.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if path rules are set without
    /// `--paths`, or are invalid.
    pub(crate) fn list_options(&self) -> Result<ListOptions> {
        if self.paths {
            return Ok(ListOptions::paths(self.rules.normalizer()?));
        }
        if let Some(flag) = self.rules.first_given() {
            return Err(Error::usage(format!(
                "{flag} needs lists of paths, but these are lists of hashes"
            ))
            .with_hint("give --paths if the lists hold paths; otherwise remove the flag"));
        }
        Ok(ListOptions {
            format: self.format.0,
            column: self.column.clone().or_else(|| self.field.clone()),
            encoding: self.encoding.0,
            path_normalizer: None,
            other_algorithms: match self.other_algorithms {
                OtherAlgorithmsArg::Refuse => OtherAlgorithms::Refuse,
                OtherAlgorithmsArg::Skip => OtherAlgorithms::Skip,
            },
        })
    }

    /// The given path rules; `None` for each flag that is not set.
    pub(crate) fn given_rules(&self) -> GivenRules {
        self.rules.given_rules()
    }

    /// The given flags as command-line arguments.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let format = self.format.0.map(|f| f.name().to_owned());
        let others = (self.other_algorithms == OtherAlgorithmsArg::Skip).then(|| "skip".to_owned());
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
            .chain(self.rules.to_args())
            .collect()
    }
}
