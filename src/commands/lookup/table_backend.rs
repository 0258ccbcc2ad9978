//! A table that is asked: BatchGetItem, whole items.

use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind};
use crate::commands::lookup::answers::Reply;
use crate::commands::lookup::backend::{Kind, Oracle, Told, Trouble};
use crate::dynamodb::batch_get::plain_json::{WholeAnswer, WholeItem};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::waiting::Keys;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};
use crate::pipeline::contents::either_case::{EitherCase, WRONG_CASE};
use foldhash::quality::RandomState;
use std::collections::HashSet;
use std::sync::Once;

/// Asks one table. See the [module](self).
#[derive(Debug)]
pub(super) struct TableOracle<T> {
    pub(super) table: T,
    /// Its name, for messages.
    pub(super) name: String,
    pub(super) questions: EitherCase,
    pub(super) consistent: bool,
    pub(super) rules: Option<AskedBy>,
}

impl<T: BatchGet> Oracle for TableOracle<T> {
    async fn ask(&self, keys: &Keys) -> Told {
        let hashes: Vec<_> = keys.0.iter().map(|e| e.record.hash).collect();
        let asked = self.questions.ask(&self.table, &hashes, self.consistent);
        let answer = asked.await.and_then(|answered| {
            let told = self.told(keys, answered.answer);
            let told = told.map_err(CallError::strange_answer)?;
            Ok(Told {
                calls: answered.calls,
                ..told
            })
        });
        match answer {
            Ok(told) => told,
            Err(error) => self.trouble(keys, error),
        }
    }
}

impl<T> TableOracle<T> {
    /// What an answer says of each of `keys`.
    fn told(&self, keys: &Keys, answer: WholeAnswer) -> Result<Told, String> {
        let strange = || "it holds a key that was not asked for".to_owned();
        let mut settled = Vec::with_capacity(keys.0.len());
        let mut seen = HashSet::with_capacity_and_hasher(keys.0.len(), RandomState::default());
        let twice = || "it holds a key twice".to_owned();
        for hash in &answer.unprocessed {
            keys.find(hash).ok_or_else(strange)?;
            seen.insert(*hash).then_some(()).ok_or_else(twice)?;
        }
        let again: Vec<_> = seen.iter().copied().collect();
        for item in answer.items {
            keys.find(&item.hash).ok_or_else(strange)?;
            seen.insert(item.hash).then_some(()).ok_or_else(twice)?;
            settled.push((item.hash, self.known(item)));
        }
        let absent = keys.0.iter().map(|e| e.record.hash);
        settled.extend(
            absent
                .filter(|hash| !seen.contains(hash))
                .map(|hash| (hash, Reply::Unknown)),
        );
        let trouble = settled.is_empty().then(|| Trouble {
            kind: Kind::Unread,
            why: "DynamoDB left every key of the call unprocessed".into(),
            wait: None,
            reasons: Vec::new(),
        });
        Ok(Told {
            settled,
            again,
            trouble,
            consumed: answer.consumed,
            ..Told::default()
        })
    }

    fn known(&self, item: WholeItem) -> Reply {
        let rules = self.rules.as_ref();
        Reply::Known {
            foreign: rules.is_some_and(|rules| rules.is_foreign(|name| item.text(name))),
            fields: item.fields.into(),
        }
    }

    fn trouble(&self, keys: &Keys, error: CallError) -> Told {
        let why = error.to_string();
        let reasons = error.reasons.clone();
        let kind = match error.meaning {
            Meaning::Throttled => Kind::Throttled,
            _ if error.code.as_deref() == Some(WRONG_CASE) => Kind::Fatal(self.questions.refusal()),
            Meaning::Transient => Kind::Passing,
            Meaning::Expired => Kind::Expired,
            Meaning::Permanent | Meaning::Invalid => {
                let what = format!("DynamoDB refuses to read from table {}", self.name);
                let hint = match error.code.as_deref() {
                    Some("AccessDeniedException") => {
                        "the credentials need dynamodb:BatchGetItem on this table (see \
                         scripts/iam/lookup.json); then go on"
                    }
                    Some("ResourceNotFoundException") => {
                        "the table is gone, or not ready; once it is ACTIVE, go on"
                    }
                    _ => "mend that, then go on",
                };
                let e = Error::new(ErrorKind::Read, what).because(error);
                Kind::Fatal(e.hint(hint))
            }
        };
        let mut told = Told::trouble(keys, kind, why);
        if let Some(trouble) = &mut told.trouble {
            trouble.reasons = reasons;
        }
        told
    }
}

/// By which rules paths are asked for: items of a table that was built by others do not
/// answer them.
#[derive(Debug)]
pub(super) struct AskedBy {
    rules: Rules,
    users: Users,
    warned: Once,
}

impl AskedBy {
    pub(super) fn of(normalizer: &Normalizer) -> AskedBy {
        AskedBy::new(normalizer.rules(), normalizer.users().clone())
    }

    fn new(rules: Rules, users: Users) -> AskedBy {
        AskedBy {
            rules,
            users,
            warned: Once::new(),
        }
    }

    /// Whether an item is of other rules, of which `text` are the attributes: it says
    /// its rules, and the users where they are not those of the rules.
    pub(super) fn is_foreign(&self, text: impl Fn(&str) -> Option<String>) -> bool {
        let Some(rules) = text("item.rules").or_else(|| text("rules")) else {
            return false;
        };
        let own = rules.parse::<Rules>().map(Users::of).ok();
        let user = |name: &str, own: Option<&String>| text(name).or_else(|| own.cloned());
        let unix = user("unix_user", own.as_ref().map(|u| &u.unix));
        let windows = user("windows_user", own.as_ref().map(|u| &u.windows));
        let is_ours = rules == self.rules.name()
            && unix.as_ref() == Some(&self.users.unix)
            && windows.as_ref() == Some(&self.users.windows);
        if !is_ours {
            let (asked, users) = (self.rules, &self.users);
            let (unix, windows) = (unix.unwrap_or_default(), windows.unwrap_or_default());
            self.warned.call_once(|| {
                tracing::warn!(
                    "the table was built with other rules: {rules}, with {unix} and {windows} for the users, and \
                     is asked by {asked}, with {} and {}; unknown answers mean nothing (--rules, --unix-user and \
                     --windows-user say how to ask)",
                    users.unix,
                    users.windows
                );
            });
        }
        !is_ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn an_item_of_other_rules_is_told_from_one_of_ours() {
        let by = |rules: Rules| AskedBy::new(rules, Users::of(rules));
        let item = |fields: &[(&str, &str)]| -> HashMap<String, String> {
            let each = fields.iter();
            each.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        let foreign = |by: &AskedBy, fields: &[(&str, &str)]| {
            let item = item(fields);
            by.is_foreign(|name| item.get(name).cloned())
        };
        let v2 = by(Rules::V2);
        // One that says nothing may be of any.
        assert!(!foreign(&v2, &[("source", "x")]));
        assert!(!foreign(&v2, &[("item.rules", "v2")]));
        assert!(!foreign(&v2, &[("rules", "v2"), ("unix_user", "ubuntu")]));
        assert!(foreign(&v2, &[("item.rules", "v3")]));
        assert!(foreign(
            &v2,
            &[("item.rules", "v2"), ("unix_user", "admin")]
        ));
        assert!(foreign(&v2, &[("item.rules", "v9")]));
        let admin = AskedBy::new(
            Rules::V2,
            Users {
                unix: "admin".into(),
                ..Users::of(Rules::V2)
            },
        );
        assert!(foreign(&admin, &[("item.rules", "v2")]));
        assert!(!foreign(
            &admin,
            &[("item.rules", "v2"), ("unix_user", "admin")]
        ));
    }
}
