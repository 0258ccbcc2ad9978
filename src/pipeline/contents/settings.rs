//! Settings of a table's keys: given by the user, or detected by an inspection.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;

/// Attributes with the rules and users of a path's item.
pub(super) const RULE_ATTRIBUTES: [&str; 3] = ["rules", "unix_user", "windows_user"];

/// Case of a table's text keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyCase {
    /// The items show it, or the keys are not text.
    Known(Case),
    /// The items show both cases, and no case is given.
    Both,
    /// The items show no case; the case given, if any.
    Unknown(Option<Case>),
}

/// Notation of settings in hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SettingSyntax {
    /// Flags of a command.
    Flags,
    /// Flags of a command, and environment variables of a Lambda function.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    FlagsOrEnvironment,
}

impl SettingSyntax {
    /// Formats flags with their values as the user writes them.
    pub(super) fn with_values(self, pairs: &[(&str, &str)]) -> String {
        let flags: Vec<String> = pairs.iter().map(|(f, v)| format!("{f} {v}")).collect();
        let flags = flags.join(" ");
        if self == SettingSyntax::Flags {
            return flags;
        }
        let variable = |(flag, value): &(&str, &str)| {
            let name = flag.trim_start_matches('-').replace('-', "_");
            format!("HASHFERRY_{}={value}", name.to_uppercase())
        };
        let variables: Vec<String> = pairs.iter().map(variable).collect();
        format!("{flags} (in Lambda: {})", variables.join(" "))
    }
}

/// Settings of a table's keys as the user gave them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyOptions<'a> {
    /// Algorithm of the hashes; `None` if not given.
    pub(crate) algorithm: Option<Algorithm>,
    /// Partition key; `None` if not given.
    pub(crate) key: Option<&'a KeyAttribute>,
    /// Notation for hints.
    pub(crate) syntax: SettingSyntax,
}

impl<'a> KeyOptions<'a> {
    /// Settings given by flags of a command.
    pub(crate) fn from_flags(algorithm: Option<Algorithm>, key: Option<&'a KeyAttribute>) -> Self {
        KeyOptions {
            algorithm,
            key,
            syntax: SettingSyntax::Flags,
        }
    }

    /// True if both the algorithm and the key `name` are given. They then override the
    /// items of the table.
    pub(super) fn is_confirmed(&self, name: &str) -> bool {
        self.algorithm.is_some() && self.key.is_some_and(|key| key.name == name)
    }
}

/// Settings of a table's keys for a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySettings<'a> {
    /// Algorithm of the hashes.
    pub(crate) algorithm: Algorithm,
    /// Case of text keys; `None` if not given.
    pub(crate) case: Option<Case>,
    /// Attributes of every item, including the sort key.
    pub(crate) attributes: &'a [Attribute],
}

pub(super) fn case_name(case: Case) -> &'static str {
    match case {
        Case::Upper => "upper",
        Case::Lower => "lower",
    }
}
