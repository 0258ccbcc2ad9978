//! Settings about a table's keys: as a person gives them, and as a look finds them.

use crate::base::hash::{Algorithm, Case};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::key_schema::KeyAttribute;

/// The attributes that tell the rules and users of a path's item.
pub(super) const RULE_ATTRIBUTES: [&str; 3] = ["rules", "unix_user", "windows_user"];

/// The case of a table's text keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyCase {
    /// Its items show it, or its keys have none.
    Known(Case),
    /// Its items show both, and neither was told.
    Both,
    /// Its items show none; what was told.
    Open(Option<Case>),
}

/// The notation of settings that a look may contradict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    /// As flags of a command.
    Flags,
    /// As flags of a command, or as the environment of a Lambda function.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    FlagsOrEnvironment,
}

impl Settings {
    /// The settings of these flags and values, as a person writes them.
    pub(super) fn written(self, pairs: &[(&str, &str)]) -> String {
        let flags: Vec<String> = pairs.iter().map(|(f, v)| format!("{f} {v}")).collect();
        let flags = flags.join(" ");
        if self == Settings::Flags {
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

/// Settings about a table's keys, as a person gives them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'a> {
    /// The algorithm of its hashes.
    pub(crate) algorithm: Option<Algorithm>,
    /// Its partition key.
    pub(crate) key: Option<&'a KeyAttribute>,
    /// Their notation.
    pub(crate) settings: Settings,
}

impl<'a> Given<'a> {
    /// As flags of a command.
    pub(crate) fn by_flags(algorithm: Option<Algorithm>, key: Option<&'a KeyAttribute>) -> Self {
        Given {
            algorithm,
            key,
            settings: Settings::Flags,
        }
    }

    /// Whether both the algorithm and the key `name` are given, so that they are meant
    /// whatever the table shows.
    pub(super) fn is_confirmed(&self, name: &str) -> bool {
        self.algorithm.is_some() && self.key.is_some_and(|key| key.name == name)
    }
}

/// Settings of a run about its table's keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told<'a> {
    /// The algorithm of its hashes.
    pub(crate) algorithm: Algorithm,
    /// The case of text keys.
    pub(crate) case: Option<Case>,
    /// Attributes, among them the sort key's.
    pub(crate) attributes: &'a [Attribute],
}

/// A case in words.
pub(super) fn case_of(case: Case) -> &'static str {
    match case {
        Case::Upper => "upper",
        Case::Lower => "lower",
    }
}
