//! Backend of a look-up: interface between the
//! [requester](crate::commands::lookup::requester) and a table or an API.

use crate::base::error::Error;
use crate::base::hash::Hash;
use crate::flow::capacity::ConsumedCapacity;
use crate::flow::retry_queue::Entry;
use crate::list::matchmeta::normalizer::{Normalizer, Rules, Users};
use std::sync::{Arc, Once};
use std::time::Duration;

/// A table or an API that looks up hashes.
pub(super) trait Backend {
    /// Looks up all of `keys` in one call.
    fn look_up(&self, keys: &[Entry<Hash>]) -> impl Future<Output = BackendReply>;
}

/// Result of one call. Each hash of the call is either in `replies` or in `retry`.
#[derive(Debug, Default)]
pub(super) struct BackendReply {
    pub(super) replies: Vec<(Hash, Reply)>,
    /// Hashes to retry.
    pub(super) retry: Vec<Hash>,
    /// The error of the call. `None` if at least one hash has a reply.
    pub(super) error: Option<BackendError>,
    /// Consumed capacity. `None` if the response has none.
    pub(super) consumed: Option<ConsumedCapacity>,
    /// Number of calls made; 0 and 1 both mean one call.
    pub(super) calls: u64,
    /// True if the response is not that of a look-up, so that the URL may be wrong.
    pub(super) is_unrecognised: bool,
}

/// Error of a call without any reply.
#[derive(Debug)]
pub(super) struct BackendError {
    pub(super) class: BackendErrorClass,
    /// Description for people.
    pub(super) message: String,
    /// Minimum time until the retry. `None` if the backend does not say.
    pub(super) retry_after: Option<Duration>,
    /// Throttling reasons of DynamoDB, each with its resource.
    pub(super) reasons: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) enum BackendErrorClass {
    /// The backend throttled the call.
    Throttled,
    /// Every key of the call is unprocessed.
    Unprocessed,
    /// A retry may succeed.
    Transient,
    /// The credentials are expired; a retry may have new ones.
    Expired,
    /// A retry cannot succeed: the run ends.
    Fatal(Error),
}

impl BackendErrorClass {
    /// True if the error counts as a failed try of the hashes.
    pub(super) fn is_failure(&self) -> bool {
        matches!(
            self,
            BackendErrorClass::Transient | BackendErrorClass::Expired
        )
    }
}

impl BackendReply {
    /// True if the backend has processed the call, at least in part.
    pub(super) fn has_response(&self) -> bool {
        self.error
            .as_ref()
            .is_none_or(|e| matches!(e.class, BackendErrorClass::Unprocessed))
    }

    /// The result of a call without any reply: all of `keys` are to retry.
    pub(super) fn from_error(
        keys: &[Entry<Hash>],
        kind: BackendErrorClass,
        why: String,
    ) -> BackendReply {
        BackendReply {
            retry: keys.iter().map(|e| e.item).collect(),
            error: Some(BackendError {
                class: kind,
                message: why,
                retry_after: None,
                reasons: Vec::new(),
            }),
            ..BackendReply::default()
        }
    }
}

/// Reply to a hash. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The backend has the hash.
    Known {
        /// The fields of the item, as JSON without the braces of the object.
        fields: Arc<str>,
        /// True if the item has other path rules.
        foreign: bool,
    },
    Unknown,
    /// The look-up failed, for this reason.
    Error(Arc<str>),
}

impl Reply {
    /// Memory of the text, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Reply::Known { fields: text, .. } | Reply::Error(text) => text.len(),
            Reply::Unknown => 0,
        }
    }
}

/// Path rules of the look-up. A look-up of paths is meaningless in a table that was built
/// with other rules.
#[derive(Debug)]
pub(super) struct RulesCheck {
    rules: Rules,
    users: Users,
    warned: Once,
}

impl RulesCheck {
    pub(super) fn from_normalizer(normalizer: &Normalizer) -> RulesCheck {
        RulesCheck::new(normalizer.rules(), normalizer.users().clone())
    }

    fn new(rules: Rules, users: Users) -> RulesCheck {
        RulesCheck {
            rules,
            users,
            warned: Once::new(),
        }
    }

    /// True if an item has other rules; `text` returns its attributes by name. An item stores
    /// its rules, and its users unless they are the defaults of these rules. Warns once.
    pub(super) fn has_other_rules(&self, text: impl Fn(&str) -> Option<String>) -> bool {
        let Some(rules) = text("item.rules").or_else(|| text("rules")) else {
            return false;
        };
        let default = rules.parse::<Rules>().map(Users::for_rules).ok();
        let user = |name: &str, default: Option<&String>| text(name).or_else(|| default.cloned());
        let unix = user("unix_user", default.as_ref().map(|u| &u.unix));
        let windows = user("windows_user", default.as_ref().map(|u| &u.windows));
        let is_same = rules == self.rules.name()
            && unix.as_ref() == Some(&self.users.unix)
            && windows.as_ref() == Some(&self.users.windows);
        if !is_same {
            let (ours, users) = (self.rules, &self.users);
            let (unix, windows) = (unix.unwrap_or_default(), windows.unwrap_or_default());
            self.warned.call_once(|| {
                tracing::warn!(
                    "the table was built with other rules: {rules}, with the users {unix} and {windows}; this \
                     look-up uses {ours}, with {} and {}; unknown answers mean nothing (set the table's rules \
                     with --rules, --unix-user and --windows-user)",
                    users.unix,
                    users.windows
                );
            });
        }
        !is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn an_item_with_other_rules_or_users_is_detected() {
        let with_rules = |rules: Rules| RulesCheck::new(rules, Users::for_rules(rules));
        let item = |fields: &[(&str, &str)]| -> HashMap<String, String> {
            let each = fields.iter();
            each.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        let foreign = |check: &RulesCheck, fields: &[(&str, &str)]| {
            let item = item(fields);
            check.has_other_rules(|name| item.get(name).cloned())
        };
        let v2 = with_rules(Rules::V2);
        // An item without rules may have any.
        assert!(!foreign(&v2, &[("source", "x")]));
        assert!(!foreign(&v2, &[("item.rules", "v2")]));
        assert!(!foreign(&v2, &[("rules", "v2"), ("unix_user", "ubuntu")]));
        assert!(foreign(&v2, &[("item.rules", "v3")]));
        assert!(foreign(
            &v2,
            &[("item.rules", "v2"), ("unix_user", "admin")]
        ));
        assert!(foreign(&v2, &[("item.rules", "v9")]));
        let admin = RulesCheck::new(
            Rules::V2,
            Users {
                unix: "admin".into(),
                ..Users::for_rules(Rules::V2)
            },
        );
        assert!(foreign(&admin, &[("item.rules", "v2")]));
        assert!(!foreign(
            &admin,
            &[("item.rules", "v2"), ("unix_user", "admin")]
        ));
    }
}
