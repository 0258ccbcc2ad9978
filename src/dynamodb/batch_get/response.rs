//! A BatchGetItem response, parsed once for [verify](crate::dynamodb::batch_get::expected) and
//! [look-ups](crate::dynamodb::batch_get::plain_json).
//!
//! Texts and numbers are borrowed from the body. Each item is parsed into the same vector,
//! and passed on before the next one, so that parsing allocates nothing for an item. A
//! response counts only if it names the requested table once, and each of its items has
//! one hash as its key.

use crate::base::hash::Hash;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::table_name;
use crate::dynamodb::batch_get::value::{WireItem, WireText, WireValue};
use crate::flow::capacity::ConsumedCapacity;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// The attributes of an item without its partition key.
pub(super) type Attributes<'a> = Vec<(WireText<'a>, WireValue<'a>)>;

/// A response to a batch of keys, with the items as `T`.
#[derive(Debug, PartialEq)]
pub(super) struct Response<T> {
    /// The items, in no order.
    pub(super) items: Vec<T>,
    /// Unprocessed keys.
    pub(super) unprocessed: Vec<Hash>,
    /// Consumed capacity; `None` if the response has none.
    pub(super) consumed: Option<ConsumedCapacity>,
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

impl KeyTemplate {
    /// Parses the body of a response to `requested` keys. Passes each item to `on_item`.
    ///
    /// # Errors
    /// A description, if it is not a response, does not name the table exactly once, or
    /// has an item whose key is not a hash. Also an error of `on_item`.
    pub(super) fn parse_response<'a, T>(
        &self,
        body: &'a [u8],
        requested: usize,
        on_item: impl FnMut(Hash, &mut Attributes<'a>) -> Result<T, String>,
    ) -> Result<Response<T>, String> {
        let mut items = Vec::with_capacity(requested);
        let mut json = serde_json::Deserializer::from_slice(body);
        let items_seed = ItemsSeed {
            keys: self,
            items: &mut items,
            on_item,
        };
        let members = BodySeed(items_seed)
            .deserialize(&mut json)
            .map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        let is_named = members.is_named.ok_or("it has no Responses")?;
        let mut unprocessed = Vec::new();
        for key in members.unprocessed.unwrap_or_default() {
            unprocessed.push(self.key_hash(&key)?);
        }
        // DynamoDB names the table even if it finds nothing in it.
        if !is_named && unprocessed.len() < requested {
            return Err(format!(
                "its Responses name no table, though {} of {requested} keys are not in its UnprocessedKeys",
                requested - unprocessed.len()
            ));
        }
        Ok(Response {
            items,
            unprocessed,
            consumed: members.consumed,
        })
    }

    /// The hash in an unprocessed key.
    fn key_hash(&self, key: &WireItem<'_>) -> Result<Hash, String> {
        let mut hash = None;
        for (name, value) in &key.0 {
            if name.0 == self.partition.name {
                self.read_key(&mut hash, value)?;
            }
        }
        hash.ok_or_else(|| self.no_key())
    }

    /// Reads the hash in the value of a partition key.
    fn read_key(&self, hash: &mut Option<Hash>, value: &WireValue<'_>) -> Result<(), String> {
        let read = self
            .parse_hash(value)
            .ok_or("it holds an item whose key is not a hash")?;
        match hash.replace(read) {
            None => Ok(()),
            Some(_) => Err("it holds an item with its key twice".to_owned()),
        }
    }

    fn no_key(&self) -> String {
        format!("it holds an item without its key {:?}", self.partition.name)
    }
}

/// Members of a response besides the items.
#[derive(Default)]
struct Members<'a> {
    /// True if `Responses` names the table; `None` if it is missing.
    is_named: Option<bool>,
    unprocessed: Option<Vec<WireItem<'a>>>,
    consumed: Option<ConsumedCapacity>,
}

/// Parser of the body.
struct BodySeed<'s, T, F>(ItemsSeed<'s, T, F>);

impl<'de, T, F> DeserializeSeed<'de> for BodySeed<'_, T, F>
where
    F: FnMut(Hash, &mut Attributes<'de>) -> Result<T, String>,
{
    type Value = Members<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Members<'de>, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, T, F> Visitor<'de> for BodySeed<'_, T, F>
where
    F: FnMut(Hash, &mut Attributes<'de>) -> Result<T, String>,
{
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response of BatchGetItem")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Members<'de>, A::Error> {
        let table = self.0.keys.table.as_str();
        let mut members = Members::default();
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            match name.0.as_ref() {
                "Responses" if members.is_named.is_none() => {
                    let items = map.next_value_seed(TableSeed(table, &mut self.0))?;
                    members.is_named = Some(items.is_some());
                }
                "UnprocessedKeys" if members.unprocessed.is_none() => {
                    let keys = map.next_value_seed(TableSeed(table, &mut KeysSeed))?;
                    members.unprocessed = Some(keys.unwrap_or_default());
                }
                twice @ ("Responses" | "UnprocessedKeys") => {
                    return Err(A::Error::custom(format!("it has {twice} twice")));
                }
                "ConsumedCapacity" => {
                    let tables = map.next_value::<Option<Vec<WireCapacity>>>()?;
                    members.consumed = tables.and_then(|tables| {
                        let consumed = ConsumedCapacity {
                            total: tables.iter().map(|t| t.units).sum(),
                            ..ConsumedCapacity::default()
                        };
                        consumed.if_plausible()
                    });
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// Parser of the value of one table.
trait TableValue<'de> {
    type Value;

    fn parse<D: Deserializer<'de>>(&mut self, from: D) -> Result<Self::Value, D::Error>;
}

/// Parser of a map by table, whose only table is the given one. The value is `None` if the
/// map is empty.
struct TableSeed<'s, S>(&'s str, &'s mut S);

/// Parser of such a value.
struct ValueSeed<'s, S>(&'s mut S);

impl<'de, S: TableValue<'de>> DeserializeSeed<'de> for TableSeed<'_, S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, S: TableValue<'de>> Visitor<'de> for TableSeed<'_, S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            table_name::check(self.0, &name.0, value.is_some()).map_err(A::Error::custom)?;
            value = Some(map.next_value_seed(ValueSeed(self.1))?);
        }
        Ok(value)
    }
}

impl<'de, S: TableValue<'de>> DeserializeSeed<'de> for ValueSeed<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.parse(from)
    }
}

/// Parser of unprocessed keys.
struct KeysSeed;

impl<'de> TableValue<'de> for KeysSeed {
    type Value = Vec<WireItem<'de>>;

    fn parse<D: Deserializer<'de>>(&mut self, from: D) -> Result<Self::Value, D::Error> {
        Ok(WireKeys::deserialize(from)?.keys)
    }
}

/// Parser of the items of a table.
struct ItemsSeed<'s, T, F> {
    keys: &'s KeyTemplate,
    items: &'s mut Vec<T>,
    on_item: F,
}

impl<'de, T, F> TableValue<'de> for ItemsSeed<'_, T, F>
where
    F: FnMut(Hash, &mut Attributes<'de>) -> Result<T, String>,
{
    type Value = ();

    fn parse<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T, F> Visitor<'de> for &mut ItemsSeed<'_, T, F>
where
    F: FnMut(Hash, &mut Attributes<'de>) -> Result<T, String>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut attributes = Vec::new();
        while let Some(hash) = items.next_element_seed(ItemSeed(self.keys, &mut attributes))? {
            let item = (self.on_item)(hash, &mut attributes).map_err(A::Error::custom)?;
            self.items.push(item);
            attributes.clear();
        }
        Ok(())
    }
}

/// Parser of an item into its hash and its attributes.
struct ItemSeed<'s, 'de>(&'s KeyTemplate, &'s mut Attributes<'de>);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_, 'de> {
    type Value = Hash;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Hash, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_, 'de> {
    type Value = Hash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hash, A::Error> {
        let ItemSeed(keys, attributes) = self;
        let mut hash = None;
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            let value = map.next_value()?;
            match name.0 == keys.partition.name {
                true => keys.read_key(&mut hash, &value).map_err(A::Error::custom)?,
                false => attributes.push((name, value)),
            }
        }
        hash.ok_or_else(|| A::Error::custom(keys.no_key()))
    }
}
