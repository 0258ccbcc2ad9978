//! Reading items back: hashes in, items out.
//!
//! BatchGetItem by a hundred keys, and what DynamoDB leaves unread is asked for
//! again after a back-off until all of it has come.

use crate::algorithm::{Case, Hash};
use crate::aws::Aws;
use crate::aws::error::{CallError, Meaning};
use crate::backoff::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::item::{KeyAttribute, KeyType};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Keys in one BatchGetItem call, at most.
/// Source: DynamoDB API reference, BatchGetItem.
pub const MAX_GET_KEYS: usize = 100;

/// How long to go on without a single key being answered.
const PATIENCE: Duration = Duration::from_secs(120);

/// An item as DynamoDB returns it.
pub type Item = HashMap<String, AttributeValue>;

/// Reads the items whose partition key is one of `hashes` (no hash twice) from a
/// table whose only key is `key`; text keys are in `case`. Those that are not in
/// the table are not in the answer.
///
/// # Errors
/// [`ErrorKind::Read`] when DynamoDB refuses, or does not answer for two minutes.
pub async fn get(
    aws: &Aws,
    table: &str,
    key: &KeyAttribute,
    case: Case,
    hashes: &[Hash],
) -> Result<HashMap<Hash, Item>> {
    let mut found = HashMap::with_capacity(hashes.len());
    let mut backoff = Backoff::new(fastrand::Rng::new());
    let internal = |e| Error::new(ErrorKind::Internal, "cannot describe a request").because(e);
    for part in hashes.chunks(MAX_GET_KEYS) {
        let keys = part
            .iter()
            .map(|h| HashMap::from([(key.name.clone(), value(h, key.kind, case))]));
        let mut wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.collect()))
            .consistent_read(true)
            .build()
            .map_err(internal)?;
        let (mut tries, mut since) = (0, Instant::now());
        loop {
            let asked = wanted.keys().len();
            let failure = match aws
                .dynamodb()
                .batch_get_item()
                .request_items(table, wanted.clone())
                .send()
                .await
            {
                Ok(answer) => {
                    let left = answer.unprocessed_keys.and_then(|mut u| u.remove(table));
                    let left = left.filter(|left| !left.keys().is_empty());
                    let unread = left.as_ref().map_or(0, |left| left.keys().len());
                    let items = answer.responses.and_then(|mut r| r.remove(table));
                    match (items, left) {
                        // Without the table it says nothing of what it read.
                        (None, _) if unread < asked => Some(CallError::strange_answer(
                            "its Responses do not name the table",
                        )),
                        (items, left) => {
                            for item in items.into_iter().flatten() {
                                if let Some(hash) = item.get(&key.name).and_then(hash_of) {
                                    found.insert(hash, item);
                                }
                            }
                            match left {
                                Some(left) => wanted = left,
                                None => break,
                            }
                            if unread < asked {
                                (tries, since) = (0, Instant::now());
                            }
                            None
                        }
                    }
                }
                Err(e) => Some(CallError::from_sdk(e)),
            };
            let hopeless = failure
                .as_ref()
                .is_some_and(|f| matches!(f.meaning, Meaning::Permanent | Meaning::Invalid));
            if hopeless || since.elapsed() > PATIENCE {
                let e = Error::new(
                    ErrorKind::Read,
                    format!("cannot read items from table {table}"),
                );
                return Err(match failure {
                    Some(f) => e.because(f),
                    None => e.because("DynamoDB leaves every key unprocessed"),
                });
            }
            tries += 1;
            tokio::time::sleep(backoff.wait(tries)).await;
        }
    }
    Ok(found)
}

/// The key's value for `hash`.
fn value(hash: &Hash, kind: KeyType, case: Case) -> AttributeValue {
    match kind {
        KeyType::B => AttributeValue::B(Blob::new(hash.as_bytes())),
        _ => AttributeValue::S(hash.to_hex(case)),
    }
}

/// The hash that a key's value holds.
fn hash_of(value: &AttributeValue) -> Option<Hash> {
    match value {
        AttributeValue::B(b) => Hash::from_bytes(b.as_ref()),
        AttributeValue::S(s) => Hash::from_hex(s.as_bytes()),
        _ => None,
    }
}
