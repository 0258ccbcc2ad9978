//! Hashes → a BatchGetItem request, and the answer → what of it is there.
//!
//! The counterpart of [`item`](crate::dynamodb::item) for reading: all keys of a run are
//! alike but for their hash, so the JSON around it is worked out once, in an
//! [`AskTemplate`], and a request is copied together without a map. An answer is
//! read in one pass over its bytes: of each item the hash is taken and the
//! attributes are compared where they stand; nothing is kept of an item that is
//! as it must be.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Record;
use crate::base::row_attributes::Extra;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::response::WireCapacity;
use crate::dynamodb::batch_get::table_name::{Members, RESPONSES, UNPROCESSED_KEYS};
use crate::dynamodb::batch_get::value::{Expected, Text, Wire};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::Consumed;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// An attribute that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The attribute's name.
    pub attribute: String,
    /// What it is instead, with its type and cut to a readable length; nothing
    /// when the item has no such attribute.
    pub found: Option<String>,
}

/// An item that is in the table.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Its hash.
    pub hash: Hash,
    /// The first of the attributes named that is not as it must be.
    pub difference: Option<Box<Difference>>,
    /// Its values of the attributes that items take from their rows, as
    /// [`AskTemplate::own_difference`] compares them.
    own: Vec<Option<Box<RawValue>>>,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        let own = |item: &Item| -> Vec<Option<String>> {
            let text = |v: &Option<Box<RawValue>>| v.as_ref().map(|v| v.get().to_owned());
            item.own.iter().map(text).collect()
        };
        (self.hash, &self.difference, own(self)) == (other.hash, &other.difference, own(other))
    }
}

/// What DynamoDB answered to a batch of keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    /// The items that are there, in no order.
    pub items: Vec<Item>,
    /// Keys that it left unread.
    pub unprocessed: Vec<Hash>,
    /// What it says it consumed, where it says so.
    pub consumed: Option<Consumed>,
}

/// Everything about a run's keys but the hash, and what each item must hold. See
/// the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct AskTemplate {
    keys: KeyTemplate,
    /// The end of an eventually and of a strongly consistent request.
    closing: [Vec<u8>; 2],
    expected: Vec<Expected>,
    /// Names of the attributes that items take from their rows, without the sort key.
    own: Vec<String>,
}

impl AskTemplate {
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
        AskTemplate::with_columns(table, schema, algorithm, case, attributes, &[])
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
        let expected: Vec<Expected> = attributes
            .iter()
            .filter(|a| !is_sort(a))
            .map(Expected::new)
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
        Ok(AskTemplate {
            keys: KeyTemplate::new(table, schema, case, attributes),
            closing: [closing(false), closing(true)],
            expected,
            own,
        })
    }

    /// The attributes that are compared.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &str> {
        let own = self.own.iter().map(String::as_str);
        self.expected.iter().map(|e| e.name.as_str()).chain(own)
    }

    /// The first of the attributes that `item` should have from its row, as `extra`
    /// has them, and has not.
    pub(crate) fn own_difference(&self, item: &Item, extra: &Extra) -> Option<Box<Difference>> {
        let json = extra.json().strip_prefix(b",")?;
        let json = [b"{", json, b"}"].concat();
        // It was written by us.
        let expected: HashMap<Text<'_>, Wire<'_>> = serde_json::from_slice(&json).ok()?;
        self.own.iter().enumerate().find_map(|(at, name)| {
            let expected = expected.get(name.as_str())?;
            let raw = item.own.get(at).and_then(Option::as_ref);
            let found: Option<Wire<'_>> = raw.and_then(|r| serde_json::from_str(r.get()).ok());
            let same = found.as_ref().is_some_and(|f| expected.is_same(f));
            (!same).then(|| {
                Box::new(Difference {
                    attribute: name.clone(),
                    found: found.map(|f| f.shown()),
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
            .write_keys(keys.map(|r| (&r.hash, r.extra.key_json())), out);
        out.extend_from_slice(&self.closing[usize::from(consistent)]);
    }

    /// Reads the body of DynamoDB's answer to such a request of `asked` keys.
    ///
    /// # Errors
    /// When it is no such answer, does not name the table exactly once, or holds an item
    /// that is none of ours; the text says which.
    pub(crate) fn read_answer(&self, body: &[u8], asked: usize) -> Result<Answer, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let answer = AnswerOf(self, asked)
            .deserialize(&mut json)
            .map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        Ok(answer)
    }
}

/// The whole answer to so many keys.
struct AnswerOf<'t>(&'t AskTemplate, usize);

impl<'de> DeserializeSeed<'de> for AnswerOf<'_> {
    type Value = Answer;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Answer, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerOf<'_> {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of BatchGetItem")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
        let mut answer = Answer::default();
        let mut members = Members::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            match name.0.as_ref() {
                RESPONSES => {
                    let named = map.next_value_seed(Tables(self.0, &mut answer, Part::Items))?;
                    members.responses(named).map_err(A::Error::custom)?;
                }
                UNPROCESSED_KEYS => {
                    map.next_value_seed(Tables(self.0, &mut answer, Part::Unprocessed))?;
                    members.unprocessed_keys().map_err(A::Error::custom)?;
                }
                "ConsumedCapacity" => {
                    if let Some(tables) = map.next_value::<Option<Vec<WireCapacity>>>()? {
                        let total = tables.iter().map(|t| t.units).sum();
                        answer.consumed = Consumed {
                            total,
                            ..Consumed::default()
                        }
                        .if_possible();
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let unread = answer.unprocessed.len();
        members.check(unread, self.1).map_err(A::Error::custom)?;
        Ok(answer)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Items,
    Unprocessed,
}

/// A map by table name, of the one table that was asked. Read, it says whether it names it.
struct Tables<'t>(&'t AskTemplate, &'t mut Answer, Part);

impl<'de> DeserializeSeed<'de> for Tables<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tables<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut named = false;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            crate::dynamodb::batch_get::table_name::check(&self.0.keys.table, &name.0, named)
                .map_err(A::Error::custom)?;
            named = true;
            match self.2 {
                Part::Items => map.next_value_seed(Items(self.0, &mut *self.1))?,
                Part::Unprocessed => map.next_value_seed(Unprocessed(self.0, &mut *self.1))?,
            }
        }
        Ok(named)
    }
}

/// The items of a table.
struct Items<'t>(&'t AskTemplate, &'t mut Answer);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        // Which attributes an item has; used again for each of them.
        let mut seen = Vec::with_capacity(self.0.expected.len());
        while let Some(item) = items.next_element_seed(ItemOf(self.0, &mut seen))? {
            self.1.items.push(item);
        }
        Ok(())
    }
}

/// One item, or one key.
struct ItemOf<'t>(&'t AskTemplate, &'t mut Vec<bool>);

impl<'de> DeserializeSeed<'de> for ItemOf<'_> {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Item, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemOf<'_> {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let ItemOf(template, seen) = self;
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
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if name.0 == template.keys.partition.name {
                if hash.is_some() {
                    return Err(twice());
                }
                hash = template.keys.hash_of(&map.next_value()?);
                if hash.is_none() {
                    return Err(A::Error::custom("it holds an item whose key is no hash"));
                }
            } else if let Some(at) = template.expected.iter().position(|e| e.name == name.0) {
                if std::mem::replace(&mut seen[at], true) {
                    return Err(twice());
                }
                let value: Wire<'de> = map.next_value()?;
                if !template.expected[at].is(&value) {
                    differs(at, Some(value.shown()));
                }
            } else if let Some(at) = template.own.iter().position(|own| *own == name.0) {
                own.resize_with(template.own.len(), || None);
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
        Ok(Item {
            hash,
            own,
            difference: difference.map(|(at, found)| {
                Box::new(Difference {
                    attribute: template.expected[at].name.clone(),
                    found,
                })
            }),
        })
    }
}

/// What came back of a table: the request's own form, of which only the keys
/// matter.
struct Unprocessed<'t>(&'t AskTemplate, &'t mut Answer);

impl<'de> DeserializeSeed<'de> for Unprocessed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Unprocessed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys that were not read")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if name.0 == "Keys" {
                let mut keys = Answer::default();
                map.next_value_seed(Items(self.0, &mut keys))?;
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
