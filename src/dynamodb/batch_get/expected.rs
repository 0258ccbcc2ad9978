//! Hashes → a BatchGetItem request, and the answer → what of it is there.
//!
//! The counterpart of [`item`](crate::dynamodb::item) for reading: all keys of a run are
//! alike but for their hash, so the JSON around it is worked out once, in an
//! [`GetTemplate`], and a request is copied together without a map. An answer is
//! read in one pass over its bytes: of each item the hash is taken and the
//! attributes are compared where they stand; nothing is kept of an item that is
//! as it must be.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Record;
use crate::base::row_attributes::RowAttributes;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::response::WireCapacity;
use crate::dynamodb::batch_get::table_name::{RESPONSES, ResponseMembers, UNPROCESSED_KEYS};
use crate::dynamodb::batch_get::value::{ExpectedAttribute, WireText, WireValue};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::ConsumedCapacity;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// An attribute that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The attribute's name.
    pub attribute: String,
    /// What it is instead, with its type and cut to a readable length; nothing
    /// when the item has no such attribute.
    pub found: Option<String>,
}

/// An item that is in the table.
#[derive(Debug, Clone)]
pub(crate) struct FoundItem {
    /// Its hash.
    pub hash: Hash,
    /// The first of the attributes named that is not as it must be.
    pub mismatch: Option<Box<Mismatch>>,
    /// Its values of the attributes that items take from their rows, as
    /// [`GetTemplate::own_difference`] compares them.
    row_attributes: Vec<Option<Box<RawValue>>>,
}

impl PartialEq for FoundItem {
    fn eq(&self, other: &Self) -> bool {
        let own = |item: &FoundItem| -> Vec<Option<String>> {
            let text = |v: &Option<Box<RawValue>>| v.as_ref().map(|v| v.get().to_owned());
            item.row_attributes.iter().map(text).collect()
        };
        (self.hash, &self.mismatch, own(self)) == (other.hash, &other.mismatch, own(other))
    }
}

/// What DynamoDB answered to a batch of keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct GetResponse {
    /// The items found, in no order.
    pub items: Vec<FoundItem>,
    /// Unprocessed keys.
    pub unprocessed: Vec<Hash>,
    /// Consumed capacity; `None` if the response has none.
    pub consumed: Option<ConsumedCapacity>,
}

/// Everything about a run's keys but the hash, and what each item must hold. See
/// the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct GetTemplate {
    keys: KeyTemplate,
    /// The end of an eventually and of a strongly consistent request.
    request_suffixes: [Vec<u8>; 2],
    expected: Vec<ExpectedAttribute>,
    /// Names of the attributes that items take from their rows, without the sort key.
    row_attributes: Vec<String>,
}

impl GetTemplate {
    /// The template of keys for `table`, whose schema is `schema`: hashes of
    /// `algorithm`, text keys in `case`. `attributes` are what each item must
    /// hold; one of them is the sort key, where the table has one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when such items
    /// could not be in the table; the message says what would.
    #[cfg(test)]
    pub(crate) fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
    ) -> Result<Self> {
        GetTemplate::with_columns(table, schema, algorithm, case, attributes, &[])
    }

    /// The same for items that take the attributes `from` their rows, besides.
    ///
    /// # Errors
    /// As `new`.
    pub(crate) fn with_columns(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
        from: &[AttributeFrom],
    ) -> Result<Self> {
        // What cannot be written is not there to be read.
        ItemTemplate::with_columns(table, schema, algorithm, case, attributes, from)?;
        let is_sort_key = |name: &str| schema.sort.as_ref().is_some_and(|s| s.name == name);
        let is_sort = |a: &&Attribute| is_sort_key(&a.name);
        let own = from.iter().map(|a| a.name.clone());
        let own: Vec<String> = own.filter(|name| !is_sort_key(name)).collect();
        let text = |s: &str| serde_json::Value::from(s).to_string();
        // The sort key is a part of what is asked for: it is what it is.
        let expected: Vec<ExpectedAttribute> = attributes
            .iter()
            .filter(|a| !is_sort(a))
            .map(ExpectedAttribute::new)
            .collect::<Result<_>>()?;
        let mut projection = "#k".to_owned();
        let mut names = format!("\"#k\":{}", text(&schema.partition.name));
        for (i, e) in expected.iter().enumerate() {
            projection.push_str(&format!(",#a{i}"));
            names.push_str(&format!(",\"#a{i}\":{}", text(&e.name)));
        }
        for (i, name) in own.iter().enumerate() {
            projection.push_str(&format!(",#o{i}"));
            names.push_str(&format!(",\"#o{i}\":{}", text(name)));
        }
        let closing = |consistent: bool| {
            format!(
                "],\"ProjectionExpression\":\"{projection}\",\"ExpressionAttributeNames\":{{{names}}},\
                 \"ConsistentRead\":{consistent}}}}},\"ReturnConsumedCapacity\":\"TOTAL\"}}"
            )
            .into_bytes()
        };
        Ok(GetTemplate {
            keys: KeyTemplate::new(table, schema, case, attributes),
            request_suffixes: [closing(false), closing(true)],
            expected,
            row_attributes: own,
        })
    }

    /// The attributes that are compared.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &str> {
        let own = self.row_attributes.iter().map(String::as_str);
        self.expected.iter().map(|e| e.name.as_str()).chain(own)
    }

    /// The first of the attributes that `item` should have from its row, as `extra`
    /// has them, and has not.
    pub(crate) fn own_difference(
        &self,
        item: &FoundItem,
        extra: &RowAttributes,
    ) -> Option<Box<Mismatch>> {
        let json = extra.json().strip_prefix(b",")?;
        let json = [b"{", json, b"}"].concat();
        // It was written by us.
        let expected: HashMap<WireText<'_>, WireValue<'_>> = serde_json::from_slice(&json).ok()?;
        self.row_attributes
            .iter()
            .enumerate()
            .find_map(|(at, name)| {
                let expected = expected.get(name.as_str())?;
                let raw = item.row_attributes.get(at).and_then(Option::as_ref);
                let found: Option<WireValue<'_>> =
                    raw.and_then(|r| serde_json::from_str(r.get()).ok());
                let same = found.as_ref().is_some_and(|f| expected.is_same(f));
                (!same).then(|| {
                    Box::new(Mismatch {
                        attribute: name.clone(),
                        found: found.map(|f| f.describe()),
                    })
                })
            })
    }

    /// The body of the BatchGetItem request that asks for the items of `records`, no
    /// hash twice and no more than [`MAX_GET_KEYS`](crate::dynamodb::batch_get::request::MAX_GET_KEYS).
    pub(crate) fn write_request<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        consistent: bool,
        out: &mut Vec<u8>,
    ) {
        let keys = records.into_iter();
        self.keys
            .write_keys(keys.map(|r| (&r.hash, r.attributes.key_json())), out);
        out.extend_from_slice(&self.request_suffixes[usize::from(consistent)]);
    }

    /// Reads the body of DynamoDB's answer to such a request of `asked` keys.
    ///
    /// # Errors
    /// When it is no such answer, does not name the table exactly once, or holds an item
    /// that is none of ours; the text says which.
    pub(crate) fn read_answer(&self, body: &[u8], asked: usize) -> Result<GetResponse, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let answer = ResponseSeed(self, asked)
            .deserialize(&mut json)
            .map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        Ok(answer)
    }
}

/// The whole answer to so many keys.
struct ResponseSeed<'t>(&'t GetTemplate, usize);

impl<'de> DeserializeSeed<'de> for ResponseSeed<'_> {
    type Value = GetResponse;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<GetResponse, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ResponseSeed<'_> {
    type Value = GetResponse;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of BatchGetItem")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GetResponse, A::Error> {
        let mut answer = GetResponse::default();
        let mut members = ResponseMembers::default();
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            match name.0.as_ref() {
                RESPONSES => {
                    let named = map.next_value_seed(TablesSeed(
                        self.0,
                        &mut answer,
                        ResponseMember::Items,
                    ))?;
                    members.record_responses(named).map_err(A::Error::custom)?;
                }
                UNPROCESSED_KEYS => {
                    map.next_value_seed(TablesSeed(
                        self.0,
                        &mut answer,
                        ResponseMember::Unprocessed,
                    ))?;
                    members
                        .record_unprocessed_keys()
                        .map_err(A::Error::custom)?;
                }
                "ConsumedCapacity" => {
                    if let Some(tables) = map.next_value::<Option<Vec<WireCapacity>>>()? {
                        let total = tables.iter().map(|t| t.units).sum();
                        answer.consumed = ConsumedCapacity {
                            total,
                            ..ConsumedCapacity::default()
                        }
                        .if_plausible();
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let unread = answer.unprocessed.len();
        members
            .check_table_name(unread, self.1)
            .map_err(A::Error::custom)?;
        Ok(answer)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum ResponseMember {
    Items,
    Unprocessed,
}

/// A map by table name, of the one table that was asked. Read, it says whether it names it.
struct TablesSeed<'t>(&'t GetTemplate, &'t mut GetResponse, ResponseMember);

impl<'de> DeserializeSeed<'de> for TablesSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TablesSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut named = false;
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            crate::dynamodb::batch_get::table_name::check(&self.0.keys.table, &name.0, named)
                .map_err(A::Error::custom)?;
            named = true;
            match self.2 {
                ResponseMember::Items => map.next_value_seed(ItemsSeed(self.0, &mut *self.1))?,
                ResponseMember::Unprocessed => {
                    map.next_value_seed(UnprocessedSeed(self.0, &mut *self.1))?
                }
            }
        }
        Ok(named)
    }
}

/// The items of a table.
struct ItemsSeed<'t>(&'t GetTemplate, &'t mut GetResponse);

impl<'de> DeserializeSeed<'de> for ItemsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        // Which attributes an item has; used again for each of them.
        let mut seen = Vec::with_capacity(self.0.expected.len());
        while let Some(item) = items.next_element_seed(ItemSeed(self.0, &mut seen))? {
            self.1.items.push(item);
        }
        Ok(())
    }
}

/// One item, or one key.
struct ItemSeed<'t>(&'t GetTemplate, &'t mut Vec<bool>);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = FoundItem;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<FoundItem, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_> {
    type Value = FoundItem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FoundItem, A::Error> {
        let ItemSeed(template, seen) = self;
        seen.clear();
        seen.resize(template.expected.len(), false);
        let mut hash = None;
        let mut own = Vec::new();
        let mut difference: Option<(usize, Option<String>)> = None;
        let mut differs = |at: usize, found: Option<String>| {
            if difference.as_ref().is_none_or(|(first, _)| at < *first) {
                difference = Some((at, found));
            }
        };
        let twice = || A::Error::custom("it holds an item with an attribute twice");
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            if name.0 == template.keys.partition.name {
                if hash.is_some() {
                    return Err(twice());
                }
                hash = template.keys.parse_hash(&map.next_value()?);
                if hash.is_none() {
                    return Err(A::Error::custom("it holds an item whose key is no hash"));
                }
            } else if let Some(at) = template.expected.iter().position(|e| e.name == name.0) {
                if std::mem::replace(&mut seen[at], true) {
                    return Err(twice());
                }
                let value: WireValue<'de> = map.next_value()?;
                if !template.expected[at].matches(&value) {
                    differs(at, Some(value.describe()));
                }
            } else if let Some(at) = template
                .row_attributes
                .iter()
                .position(|own| *own == name.0)
            {
                own.resize_with(template.row_attributes.len(), || None);
                if own[at].replace(map.next_value()?).is_some() {
                    return Err(twice());
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if let Some(at) = seen.iter().position(|seen| !seen) {
            differs(at, None);
        }
        let hash = hash.ok_or_else(|| {
            let name = &template.keys.partition.name;
            A::Error::custom(format!("it holds an item without its key {name:?}"))
        })?;
        Ok(FoundItem {
            hash,
            row_attributes: own,
            mismatch: difference.map(|(at, found)| {
                Box::new(Mismatch {
                    attribute: template.expected[at].name.clone(),
                    found,
                })
            }),
        })
    }
}

/// What came back of a table: the request's own form, of which only the keys
/// matter.
struct UnprocessedSeed<'t>(&'t GetTemplate, &'t mut GetResponse);

impl<'de> DeserializeSeed<'de> for UnprocessedSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for UnprocessedSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys that were not read")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            if name.0 == "Keys" {
                let mut keys = GetResponse::default();
                map.next_value_seed(ItemsSeed(self.0, &mut keys))?;
                self.1.unprocessed.extend(keys.items.iter().map(|k| k.hash));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
