//! Facts from inspected items of a table, and checks of settings against them.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};
use crate::pipeline::contents::settings::{
    KeyCase, KeyOptions, RULE_ATTRIBUTES, SettingSyntax, case_name,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Keys and rules of inspected items.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InspectedItems {
    pub(super) table: String,
    /// Name of the partition key.
    key_name: String,
    key_type: Option<KeyType>,
    /// Number of items.
    pub(super) item_count: usize,
    /// Number of keys that are hashes, by length in bytes.
    pub(super) hash_lengths: BTreeMap<usize, usize>,
    /// Number of keys with upper-case letters only.
    upper_keys: usize,
    /// Number of keys with lower-case letters only.
    pub(super) lower_keys: usize,
    /// Items without the key attribute; the key is a guess if DescribeTable is denied.
    without_key: usize,
    /// Number of items by rules, Unix user and Windows user.
    rules: BTreeMap<[String; 3], usize>,
}

impl InspectedItems {
    /// Facts of the table `name` before its first item.
    pub(super) fn new(name: &str, key: &KeyAttribute) -> InspectedItems {
        InspectedItems {
            table: name.to_owned(),
            key_name: key.name.clone(),
            key_type: Some(key.kind),
            ..InspectedItems::default()
        }
    }

    pub(super) fn add_item(&mut self, key: &KeyAttribute, item: &Value) {
        self.item_count += 1;
        let value = &item[&key.name];
        self.without_key += usize::from(value.is_null());
        let hash = match key.kind {
            KeyType::S => value["S"].as_str().and_then(|text| {
                let hash = Hash::from_hex(text.as_bytes())?;
                let has = |range: std::ops::RangeInclusive<u8>| {
                    text.bytes().any(|byte| range.contains(&byte))
                };
                match (has(b'A'..=b'F'), has(b'a'..=b'f')) {
                    (true, false) => self.upper_keys += 1,
                    (false, true) => self.lower_keys += 1,
                    _ => {}
                }
                Some(hash)
            }),
            KeyType::B => value["B"]
                .as_str()
                .and_then(|text| BASE64.decode(text).ok())
                .and_then(|raw| Hash::from_bytes(&raw)),
            KeyType::N => None,
        };
        if let Some(hash) = hash {
            *self.hash_lengths.entry(hash.as_bytes().len()).or_default() += 1;
        }
        let [rules, unix, windows] = RULE_ATTRIBUTES.map(|name| item[name]["S"].as_str());
        if let Some(rules) = rules {
            let own = rules.parse::<Rules>().map(Users::for_rules).ok();
            let or = |text: Option<&str>, own: Option<&String>| {
                text.or(own.map(String::as_str))
                    .unwrap_or_default()
                    .to_owned()
            };
            let unix = or(unix, own.as_ref().map(|u| &u.unix));
            let windows = or(windows, own.as_ref().map(|u| &u.windows));
            let each = self.rules.entry([rules.to_owned(), unix, windows]);
            *each.or_default() += 1;
        }
    }

    /// The usual algorithm of the keys' length; `None` if the keys have several lengths.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        let mut lengths = self.hash_lengths.keys();
        let bytes = lengths.next().filter(|_| lengths.next().is_none())?;
        Algorithm::from_hex_digits(bytes * 2)
    }

    /// Checks `algorithm` against the keys, unless the user confirms it: a table may have
    /// several algorithms.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if every key has another
    /// length; the hint has the flag that fits.
    pub(super) fn check_algorithm(
        &self,
        algorithm: Algorithm,
        given: KeyOptions<'_>,
    ) -> Result<()> {
        let is_there = self.hash_lengths.contains_key(&algorithm.bytes());
        if self.item_count == 0 || is_there || given.is_confirmed(&self.key_name) {
            return Ok(());
        }
        let (table, items, settings) = (&self.table, self.describe_items(), given.syntax);
        let both = settings.with_values(&[("--hash", algorithm.name()), ("--key", &self.key_name)]);
        let other =
            format!("give a table of {algorithm} hashes, or give {both} to use this table anyway");
        if self.without_key == self.item_count {
            let key = &self.key_name;
            let flag = settings.with_values(&[("--key", "NAME[:TYPE]")]);
            return Err(Error::usage(format!(
                "the partition key of table {table} is not {key}: {items} have no such attribute"
            ))
            .with_hint(format!("give the key by {flag}, such as --key sha256:B")));
        }
        if self.hash_lengths.is_empty() {
            return Err(Error::usage(format!(
                "table {table} has no hashes: no key of {items} is a hash; expected {algorithm}"
            ))
            .with_hint(other));
        }
        let held = KeyLengths(&self.hash_lengths);
        let hint = match self.algorithm() {
            Some(shown) => {
                // The key has the name of a third algorithm, so it must be confirmed too.
                let is_other =
                    Algorithm::from_name(&self.key_name).is_some_and(|named| named != shown);
                let flags = [("--hash", shown.name()), ("--key", self.key_name.as_str())];
                let flags = if is_other { &flags[..] } else { &flags[..1] };
                format!("give {}, or {other}", settings.with_values(flags))
            }
            None => other,
        };
        Err(Error::usage(format!(
            "table {table} has no {algorithm} hashes: the keys of {items} are {held}"
        ))
        .with_hint(hint))
    }

    /// Determines the case of text keys: as `given`, or as the keys show it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if every key contradicts
    /// the given case.
    pub(super) fn case(&self, given: Option<Case>, settings: SettingSyntax) -> Result<KeyCase> {
        if self.key_type != Some(KeyType::S) {
            return Ok(KeyCase::Known(given.unwrap_or_default()));
        }
        let shown = match (self.upper_keys, self.lower_keys) {
            (0, 0) => return Ok(KeyCase::Unknown(given)),
            (_, 0) => Case::Upper,
            (0, _) => Case::Lower,
            (upper, lower) => return Ok(self.mixed_case(given, upper, lower)),
        };
        let Some(given) = given else {
            if shown != Case::default() {
                let (table, case) = (&self.table, case_name(shown));
                tracing::info!("the keys of table {table} are in {case} case: using it");
            }
            return Ok(KeyCase::Known(shown));
        };
        if given == shown {
            return Ok(KeyCase::Known(given));
        }
        let items = self.describe_items();
        Err(wrong_case_error(&self.table, shown, &items, settings))
    }

    fn mixed_case(&self, given: Option<Case>, upper: usize, lower: usize) -> KeyCase {
        let what = format!(
            "table {} has hashes in both cases: of {} keys {upper} are in upper and {lower} in lower case",
            self.table, self.item_count
        );
        let Some(given) = given else {
            tracing::warn!("{what}");
            return KeyCase::Both;
        };
        tracing::warn!("{what}; hashes in the other case are not found");
        KeyCase::Known(given)
    }

    /// Determines the normalizer of a table of paths: as `given`, completed from the items.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if every item contradicts
    /// `given`, if items of several rules fit it, or if a user name is invalid.
    pub(super) fn normalizer(
        &self,
        given: &GivenRules,
        settings: SettingSyntax,
    ) -> Result<Normalizer> {
        let fits = |[rules, unix, windows]: &[String; 3]| {
            let is = |given: Option<&str>, shown: &str| given.is_none_or(|given| given == shown);
            is(given.rules.map(Rules::name), rules)
                && is(given.unix_user.as_deref(), unix)
                && is(given.windows_user.as_deref(), windows)
        };
        let mut fitting = self.rules.keys().filter(|shown| fits(shown));
        let (first, second) = (fitting.next(), fitting.next());
        let Some(shown @ [rules, unix, windows]) = first else {
            return match self.rules.keys().next() {
                Some(shown) => Err(self.wrong_rules_error(shown, settings)),
                None => given.normalizer(),
            };
        };
        let whole = given.normalizer()?;
        let is_whole = GivenRules::from(whole.clone()) == *given;
        if second.is_some() && !is_whole {
            let all: Vec<String> = self.rules.keys().map(describe_rules).collect();
            return Err(Error::usage(format!(
                "table {} has paths of several rules: {}",
                self.table,
                all.join("; ")
            ))
            .with_hint(format!(
                "give {}, or the flags of another of these",
                settings.with_values(&rule_flags(shown))
            )));
        }
        let parsed: Rules = rules.parse().map_err(|why: String| {
            Error::usage(format!(
                "table {} has paths of rules that this version does not know: {why}",
                self.table
            ))
            .with_hint("update hashferry")
        })?;
        let users = Users {
            unix: unix.clone(),
            windows: windows.clone(),
        };
        let normalizer = given.normalizer_with_defaults(parsed, &users)?;
        if normalizer != whole {
            tracing::info!(
                "table {} has paths of the rules {}: using them",
                self.table,
                describe_rules(&[rules.clone(), unix.clone(), windows.clone()])
            );
        }
        Ok(normalizer)
    }

    fn wrong_rules_error(&self, shown: &[String; 3], settings: SettingSyntax) -> Error {
        Error::usage(format!(
            "the given rules do not fit table {}: its paths follow the rules {}",
            self.table,
            describe_rules(shown)
        ))
        .with_hint(format!("give {}", settings.with_values(&rule_flags(shown))))
    }

    fn describe_items(&self) -> String {
        match self.item_count {
            1 => "the 1 item inspected".to_owned(),
            n => format!("the {n} items inspected"),
        }
    }
}

/// Error for a case that `table` does not have: its keys are in `case`, according to the
/// items `shown`.
fn wrong_case_error(table: &str, case: Case, shown: &str, settings: SettingSyntax) -> Error {
    let (case, other) = match case {
        Case::Upper => ("upper", "lower"),
        Case::Lower => ("lower", "upper"),
    };
    Error::usage(format!(
        "{other} case does not fit table {table}: its keys are in {case} case, according to {shown}"
    ))
    .with_hint(format!(
        "give {}",
        settings.with_values(&[("--case", case)])
    ))
}

/// Flags of rules and users, with their values.
fn rule_flags([rules, unix, windows]: &[String; 3]) -> [(&str, &str); 3] {
    [
        ("--rules", rules),
        ("--unix-user", unix),
        ("--windows-user", windows),
    ]
}

/// Describes rules and users.
fn describe_rules([rules, unix, windows]: &[String; 3]) -> String {
    format!(
        "{} (users: {}, {})",
        rules.escape_debug(),
        unix.escape_debug(),
        windows.escape_debug()
    )
}

/// Key lengths, displayed as algorithms.
struct KeyLengths<'a>(&'a BTreeMap<usize, usize>);

impl fmt::Display for KeyLengths<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (bytes, keys)) in self.0.iter().enumerate() {
            let name = Algorithm::from_hex_digits(bytes * 2).map_or("hash", Algorithm::name);
            let (comma, digits) = (if at > 0 { ", " } else { "" }, bytes * 2);
            write!(f, "{comma}{keys} × {name} ({digits} hexadecimal digits)")?;
        }
        Ok(())
    }
}
