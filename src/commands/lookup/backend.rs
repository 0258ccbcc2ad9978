//! Who is asked: the seam between the [engine](crate::commands::lookup::requester) and what it asks.

use crate::base::error::Error;
use crate::base::hash::Hash;
use crate::commands::lookup::answers::Reply;
use crate::flow::capacity::Consumed;
use crate::flow::waiting::Keys;
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
