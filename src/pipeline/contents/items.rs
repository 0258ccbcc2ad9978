//! Items of a table: the facts that they show, and what contradicts them.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::list::matchmeta::given::GivenRules;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};
use crate::pipeline::contents::settings::{Given, KeyCase, RULE_ATTRIBUTES, Settings, case_of};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The keys and rules of a table's first items.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Contents {
    pub(super) table: String,
    /// The name of the partition key.
    key: String,
    kind: Option<KeyType>,
    /// Items.
    pub(super) items: usize,
    /// Items whose key is a hash, by its bytes.
    pub(super) by_bytes: BTreeMap<usize, usize>,
    /// Items whose key has letters of upper case only.
    upper: usize,
    /// Items whose key has letters of lower case only.
    pub(super) lower: usize,
    /// Items without the key attribute: where the table could not be described, the key
    /// is a guess.
    without_key: usize,
    /// Items that name their rules, by rules and users.
    rules: BTreeMap<[String; 3], usize>,
}

impl Contents {
    /// The contents of the table `name`, before any item of it is seen.
    pub(super) fn of(name: &str, key: &KeyAttribute) -> Contents {
        Contents {
            table: name.to_owned(),
            key: key.name.clone(),
            kind: Some(key.kind),
            ..Contents::default()
        }
    }

    pub(super) fn enter(&mut self, key: &KeyAttribute, item: &Value) {
        self.items += 1;
        let value = &item[&key.name];
        self.without_key += usize::from(value.is_null());
        let hash = match key.kind {
            KeyType::S => value["S"].as_str().and_then(|text| {
                let hash = Hash::from_hex(text.as_bytes())?;
                let has = |range: std::ops::RangeInclusive<u8>| {
                    text.bytes().any(|byte| range.contains(&byte))
                };
                match (has(b'A'..=b'F'), has(b'a'..=b'f')) {
                    (true, false) => self.upper += 1,
                    (false, true) => self.lower += 1,
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
            *self.by_bytes.entry(hash.as_bytes().len()).or_default() += 1;
        }
        let [rules, unix, windows] = RULE_ATTRIBUTES.map(|name| item[name]["S"].as_str());
        if let Some(rules) = rules {
            let own = rules.parse::<Rules>().map(Users::of).ok();
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

    /// The algorithm that the keys show by their length: the usual one of that length, and
    /// none where the keys have several lengths.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        let mut lengths = self.by_bytes.keys();
        let bytes = lengths.next().filter(|_| lengths.next().is_none())?;
        Algorithm::of_hex_digits(bytes * 2)
    }

    /// Refuses `algorithm` where every key shows another, unless a person confirms it: a
    /// table of several may be meant.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), with the flag that fits.
    pub(super) fn check_algorithm(&self, algorithm: Algorithm, given: Given<'_>) -> Result<()> {
        let is_there = self.by_bytes.contains_key(&algorithm.bytes());
        if self.items == 0 || is_there || given.is_confirmed(&self.key) {
            return Ok(());
        }
        let (table, items, settings) = (&self.table, self.shown_items(), given.settings);
        let both = settings.written(&[("--hash", algorithm.name()), ("--key", &self.key)]);
        let other = format!(
            "name the table of {algorithm} hashes, or give {both} when this table is meant all the same"
        );
        if self.without_key == self.items {
            let key = &self.key;
            let flag = settings.written(&[("--key", "NAME[:TYPE]")]);
            return Err(Error::usage(format!(
                "the partition key of table {table} is not {key}: {items} have no such attribute"
            ))
            .hint(format!("name the key by {flag}, such as --key sha256:B")));
        }
        if self.by_bytes.is_empty() {
            return Err(Error::usage(format!(
                "table {table} does not hold hashes: of {items} no key is a hash; expected {algorithm}"
            ))
            .hint(other));
        }
        let held = Held(&self.by_bytes);
        let hint = match self.algorithm() {
            Some(shown) => {
                // The key's name contradicts it, too.
                let is_other = Algorithm::from_name(&self.key).is_some_and(|named| named != shown);
                let flags = [("--hash", shown.name()), ("--key", self.key.as_str())];
                let flags = if is_other { &flags[..] } else { &flags[..1] };
                format!("give {}, or {other}", settings.written(flags))
            }
            None => other,
        };
        Err(Error::usage(format!(
            "table {table} does not hold {algorithm}: the keys of {items} are {held}"
        ))
        .hint(hint))
    }

    /// The case of text keys: as `told`, or as the keys show it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when every key contradicts `told`.
    pub(super) fn case(&self, told: Option<Case>, settings: Settings) -> Result<KeyCase> {
        if self.kind != Some(KeyType::S) {
            return Ok(KeyCase::Known(told.unwrap_or_default()));
        }
        let shown = match (self.upper, self.lower) {
            (0, 0) => return Ok(KeyCase::Open(told)),
            (_, 0) => Case::Upper,
            (0, _) => Case::Lower,
            (upper, lower) => return Ok(self.mixed(told, upper, lower)),
        };
        let Some(told) = told else {
            if shown != Case::default() {
                let (table, case) = (&self.table, case_of(shown));
                tracing::info!("the keys of table {table} are in {case} case: taking that");
            }
            return Ok(KeyCase::Known(shown));
        };
        if told == shown {
            return Ok(KeyCase::Known(told));
        }
        let items = self.shown_items();
        Err(wrong_case(&self.table, shown, &items, settings))
    }

    fn mixed(&self, told: Option<Case>, upper: usize, lower: usize) -> KeyCase {
        let what = format!(
            "table {} holds hashes in both cases: of {} keys {upper} are in upper and {lower} in lower case",
            self.table, self.items
        );
        let Some(told) = told else {
            tracing::warn!("{what}");
            return KeyCase::Both;
        };
        tracing::warn!("{what}; what is there in the other case is not found");
        KeyCase::Known(told)
    }

    /// The normalizer of a table of paths: as `given`, and what is left open as the items
    /// show it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when every item contradicts
    /// what is given, when items of several rules are there and something is left open, or
    /// when a name cannot be a user's.
    pub(super) fn rules(&self, given: &GivenRules, settings: Settings) -> Result<Normalizer> {
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
                Some(shown) => Err(self.wrong_rules(shown, settings)),
                None => given.normalizer(),
            };
        };
        let whole = given.normalizer()?;
        let is_whole = GivenRules::from(whole.clone()) == *given;
        if second.is_some() && !is_whole {
            let all: Vec<String> = self.rules.keys().map(in_words).collect();
            return Err(Error::usage(format!(
                "table {} holds paths of several rules: {}",
                self.table,
                all.join("; ")
            ))
            .hint(format!(
                "give {}, or those of the others",
                settings.written(&pairs(shown))
            )));
        }
        let parsed: Rules = rules.parse().map_err(|why: String| {
            Error::usage(format!(
                "table {} holds paths of rules that this version does not know: {why}",
                self.table
            ))
            .hint("update hashferry")
        })?;
        let users = Users {
            unix: unix.clone(),
            windows: windows.clone(),
        };
        let normalizer = given.completed(parsed, &users)?;
        if normalizer != whole {
            tracing::info!(
                "table {} holds paths of the rules {}: taking these",
                self.table,
                in_words(&[rules.clone(), unix.clone(), windows.clone()])
            );
        }
        Ok(normalizer)
    }

    fn wrong_rules(&self, shown: &[String; 3], settings: Settings) -> Error {
        Error::usage(format!(
            "the rules given do not fit table {}: its paths were made by {}",
            self.table,
            in_words(shown)
        ))
        .hint(format!("give {}", settings.written(&pairs(shown))))
    }

    fn shown_items(&self) -> String {
        match self.items {
            1 => "the 1 item looked at".to_owned(),
            n => format!("the {n} items looked at"),
        }
    }
}

/// The refusal of a case that `table` does not have: its keys are in `case`, by `shown`.
fn wrong_case(table: &str, case: Case, shown: &str, settings: Settings) -> Error {
    let (case, other) = match case {
        Case::Upper => ("upper", "lower"),
        Case::Lower => ("lower", "upper"),
    };
    Error::usage(format!(
        "{other} case does not fit table {table}: its keys are in {case} case, by {shown}"
    ))
    .hint(format!("give {}", settings.written(&[("--case", case)])))
}

/// Rules and users as flags with their values.
fn pairs([rules, unix, windows]: &[String; 3]) -> [(&str, &str); 3] {
    [
        ("--rules", rules),
        ("--unix-user", unix),
        ("--windows-user", windows),
    ]
}

/// Rules and users in words.
fn in_words([rules, unix, windows]: &[String; 3]) -> String {
    format!(
        "{} (users: {}, {})",
        rules.escape_debug(),
        unix.escape_debug(),
        windows.escape_debug()
    )
}

/// The algorithms of keys, by their bytes.
struct Held<'a>(&'a BTreeMap<usize, usize>);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (bytes, keys)) in self.0.iter().enumerate() {
            let name = Algorithm::of_hex_digits(bytes * 2).map_or("hash", Algorithm::name);
            let (comma, digits) = (if at > 0 { ", " } else { "" }, bytes * 2);
            write!(f, "{comma}{keys} × {name} ({digits} hexadecimal digits)")?;
        }
        Ok(())
    }
}
