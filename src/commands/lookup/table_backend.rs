//! Table as backend: BatchGetItem, with all attributes of the items.

use crate::aws::error::{CallError, ErrorClass};
use crate::base::hash::Hash;
use crate::commands::lookup::backend::{
    Backend, BackendError, BackendErrorClass, BackendReply, Reply, RulesCheck,
};
use crate::dynamodb::batch_get::plain_json::{PlainItem, PlainResponse};
use crate::dynamodb::batch_get::read_error::permanent_read_error;
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::key_batch::find_key;
use crate::flow::retry_queue::Entry;
use crate::pipeline::contents::case_detection::{CaseDetector, WRONG_CASE};
use foldhash::quality::RandomState;
use std::collections::HashSet;

/// Looks up hashes in one table. See the [module](self).
#[derive(Debug)]
pub(super) struct TableBackend<T> {
    pub(super) table: T,
    /// Its name, for messages.
    pub(super) name: String,
    pub(super) either_case: CaseDetector,
    pub(super) consistent: bool,
    pub(super) rules: Option<RulesCheck>,
}

impl<T: BatchGet> Backend for TableBackend<T> {
    async fn look_up(&self, keys: &[Entry<Hash>]) -> BackendReply {
        let hashes: Vec<_> = keys.iter().map(|e| e.item).collect();
        let call = self.either_case.get(&self.table, &hashes, self.consistent);
        let reply = call.await.and_then(|answered| {
            let reply = self.backend_reply(keys, answered.response);
            let reply = reply.map_err(CallError::unrecognised_response)?;
            Ok(BackendReply {
                calls: answered.calls,
                ..reply
            })
        });
        match reply {
            Ok(reply) => reply,
            Err(error) => self.error_reply(keys, error),
        }
    }
}

impl<T> TableBackend<T> {
    /// The replies to `keys` in `response`.
    fn backend_reply(
        &self,
        keys: &[Entry<Hash>],
        response: PlainResponse,
    ) -> Result<BackendReply, String> {
        let unexpected = || "it has a key that was not requested".to_owned();
        let mut replies = Vec::with_capacity(keys.len());
        let mut seen = HashSet::with_capacity_and_hasher(keys.len(), RandomState::default());
        let twice = || "it has a key twice".to_owned();
        for hash in &response.unprocessed {
            find_key(keys, hash).ok_or_else(unexpected)?;
            seen.insert(*hash).then_some(()).ok_or_else(twice)?;
        }
        let unprocessed: Vec<_> = seen.iter().copied().collect();
        for item in response.items {
            find_key(keys, &item.hash).ok_or_else(unexpected)?;
            seen.insert(item.hash).then_some(()).ok_or_else(twice)?;
            replies.push((item.hash, self.known_reply(item)));
        }
        let requested = keys.iter().map(|e| e.item);
        replies.extend(
            requested
                .filter(|hash| !seen.contains(hash))
                .map(|hash| (hash, Reply::Unknown)),
        );
        let error = replies.is_empty().then(|| BackendError {
            class: BackendErrorClass::Unprocessed,
            message: "DynamoDB returned every key of the call as unprocessed".into(),
            retry_after: None,
            reasons: Vec::new(),
        });
        Ok(BackendReply {
            replies,
            retry: unprocessed,
            error,
            consumed: response.consumed,
            ..BackendReply::default()
        })
    }

    fn known_reply(&self, item: PlainItem) -> Reply {
        let rules = self.rules.as_ref();
        Reply::Known {
            foreign: rules
                .is_some_and(|rules| rules.has_other_rules(|name| item.attribute_text(name))),
            fields: item.fields.into(),
        }
    }

    fn error_reply(&self, keys: &[Entry<Hash>], error: CallError) -> BackendReply {
        let message = error.to_string();
        let reasons = error.reasons.clone();
        let kind = match error.class {
            ErrorClass::Throttled => BackendErrorClass::Throttled,
            _ if error.code.as_deref() == Some(WRONG_CASE) => {
                BackendErrorClass::Fatal(self.either_case.wrong_case_error())
            }
            ErrorClass::Transient => BackendErrorClass::Transient,
            ErrorClass::Expired => BackendErrorClass::Expired,
            ErrorClass::Permanent | ErrorClass::Invalid => {
                let policy = "scripts/iam/lookup.json";
                BackendErrorClass::Fatal(permanent_read_error(&self.name, policy, error))
            }
        };
        let mut reply = BackendReply::from_error(keys, kind, message);
        if let Some(error) = &mut reply.error {
            error.reasons = reasons;
        }
        reply
    }
}
