//! A BatchGetItem response, read once for [verify](crate::dynamodb::batch_get::expected) and
//! [look-ups](crate::dynamodb::batch_get::plain_json).
//!
//! Texts and numbers are borrowed from the body. A response counts only if it names the
//! requested table once, and each of its items has one hash as its key.

use crate::base::hash::Hash;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::table_name;
use crate::dynamodb::batch_get::value::{WireItem, WireMap};
use crate::flow::capacity::ConsumedCapacity;
use serde::Deserialize;

/// The members of a response.
#[derive(Deserialize)]
struct WireResponse<'a> {
    #[serde(borrow, rename = "Responses")]
    responses: Option<WireMap<'a, Vec<WireItem<'a>>>>,
    #[serde(borrow, rename = "UnprocessedKeys")]
    unprocessed_keys: Option<WireMap<'a, WireKeys<'a>>>,
    #[serde(rename = "ConsumedCapacity")]
    consumed_capacity: Option<Vec<WireCapacity>>,
}

/// Unprocessed keys, in the form of the request.
#[derive(Deserialize)]
struct WireKeys<'a> {
    #[serde(borrow, rename = "Keys", default)]
    keys: Vec<WireItem<'a>>,
}

/// Consumed capacity of a table.
#[derive(Deserialize)]
struct WireCapacity {
    #[serde(rename = "CapacityUnits", default)]
    units: f64,
}

/// A response to a batch of keys.
#[derive(Debug, PartialEq)]
pub(super) struct Response<'a> {
    /// The items, in no order, with their hashes.
    pub(super) items: Vec<(Hash, WireItem<'a>)>,
    /// Unprocessed keys.
    pub(super) unprocessed: Vec<Hash>,
    /// Consumed capacity; `None` if the response has none.
    pub(super) consumed: Option<ConsumedCapacity>,
}

impl KeyTemplate {
    /// Parses the body of a response to `requested` keys.
    ///
    /// # Errors
    /// A description, if it is not a response, does not name the table exactly once, or
    /// has an item whose key is not a hash.
    pub(super) fn parse_response<'a>(
        &self,
        body: &'a [u8],
        requested: usize,
    ) -> Result<Response<'a>, String> {
        let wire: WireResponse<'a> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let responses = wire.responses.ok_or("it has no Responses")?;
        let found = self.of_table(responses)?;
        let keys = wire.unprocessed_keys.map(|keys| self.of_table(keys));
        let keys = keys.transpose()?.flatten();
        let mut unprocessed = Vec::new();
        for key in keys.map(|keys| keys.keys).unwrap_or_default() {
            unprocessed.push(self.item_hash(&key)?);
        }
        // DynamoDB names the table even if it finds nothing in it.
        if found.is_none() && unprocessed.len() < requested {
            return Err(format!(
                "its Responses name no table, though {} of {requested} keys are not in its UnprocessedKeys",
                requested - unprocessed.len()
            ));
        }
        let found = found.unwrap_or_default();
        let mut items = Vec::with_capacity(found.len());
        for item in found {
            items.push((self.item_hash(&item)?, item));
        }
        let consumed = wire.consumed_capacity.and_then(|tables| {
            let total = tables.iter().map(|t| t.units).sum();
            let consumed = ConsumedCapacity {
                total,
                ..ConsumedCapacity::default()
            };
            consumed.if_plausible()
        });
        Ok(Response {
            items,
            unprocessed,
            consumed,
        })
    }

    /// The value of the requested table in a map by table; `None` if the map is empty.
    fn of_table<V>(&self, tables: WireMap<'_, V>) -> Result<Option<V>, String> {
        let mut value = None;
        for (name, table) in tables.0 {
            table_name::check(&self.table, &name.0, value.is_some())?;
            value = Some(table);
        }
        Ok(value)
    }

    /// The hash in the key of an item.
    fn item_hash(&self, item: &WireItem<'_>) -> Result<Hash, String> {
        let name = &self.partition.name;
        let mut keys = item.0.iter().filter(|(n, _)| n.0 == *name);
        let (_, key) = keys
            .next()
            .ok_or_else(|| format!("it holds an item without its key {name:?}"))?;
        if keys.next().is_some() {
            return Err("it holds an item with its key twice".to_owned());
        }
        self.parse_hash(key)
            .ok_or_else(|| "it holds an item whose key is not a hash".to_owned())
    }
}
