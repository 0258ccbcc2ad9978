//! Who is asked: the seam between the [engine](crate::commands::lookup::requester) and what it asks.

use crate::base::error::Error;
use crate::base::hash::Hash;
use crate::flow::capacity::Consumed;
use crate::flow::waiting::Keys;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};
use std::sync::{Arc, Once};
use std::time::Duration;

/// Who answers hashes: a table, or an API.
pub(super) trait Oracle {
    /// Asks once for all of `keys`.
    fn ask(&self, keys: &Keys) -> impl Future<Output = Told>;
}

/// What came of one call. Each of its hashes is in one of the two lists.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) settled: Vec<(Hash, Reply)>,
    /// Hashes that must be asked for again.
    pub(super) again: Vec<Hash>,
    /// What went wrong, unless some hash was answered.
    pub(super) trouble: Option<Trouble>,
    /// What it cost, where that is said.
    pub(super) consumed: Option<Consumed>,
    /// Calls that it took, where there were several.
    pub(super) calls: u64,
    /// Whether the answer is none that a look-up gives, so that it may be the wrong
    /// address that was asked.
    pub(super) astray: bool,
}

/// Why a call answered nothing.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// What happened, for a person.
    pub(super) why: String,
    /// How long to wait at least, where that is said.
    pub(super) wait: Option<Duration>,
    /// Of throttling, the reason and resource that DynamoDB gives.
    pub(super) reasons: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Too many calls.
    Throttled,
    /// An answer that leaves all of it unread.
    Unread,
    /// It may well work the next time.
    Passing,
    /// The credentials have expired; there may be newer ones.
    Expired,
    /// It will never work: the run is over.
    Fatal(Error),
}

impl Told {
    /// One that answered nothing: `keys` must be asked for again, where there is a sense in it.
    pub(super) fn trouble(keys: &Keys, kind: Kind, why: String) -> Told {
        Told {
            again: keys.0.iter().map(|e| e.record.hash).collect(),
            trouble: Some(Trouble {
                kind,
                why,
                wait: None,
                reasons: Vec::new(),
            }),
            ..Told::default()
        }
    }
}

/// What is answered to a hash. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is there: the fields of its item, as the inside of a JSON object.
    Known {
        fields: Arc<str>,
        /// Whether it is of a table that other rules have made.
        foreign: bool,
    },
    Unknown,
    /// It could not be found out, and why.
    Error(Arc<str>),
}

impl Reply {
    /// Bytes that it holds.
    pub(super) fn size(&self) -> usize {
        match self {
            Reply::Known { fields: text, .. } | Reply::Error(text) => text.len(),
            Reply::Unknown => 0,
        }
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
