//! A table that is asked: BatchGetItem, whole items.

use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind};
use crate::commands::lookup::backend::{AskedBy, Kind, Oracle, Reply, Told, Trouble};
use crate::dynamodb::batch_get::plain_json::{WholeAnswer, WholeItem};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::waiting::Keys;
use crate::pipeline::contents::either_case::{EitherCase, WRONG_CASE};
use foldhash::quality::RandomState;
use std::collections::HashSet;

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
