//! Hashes → a BatchGetItem request for whole items, and the answer → each item as
//! plain JSON.
//!
//! What a look-up tells of an item is all that the table knows of it, without the
//! types that DynamoDB writes around each value: text is text, a number is a number
//! digit for digit, a set is a list, binary is base64. The key is left out, for it is
//! the hash. Attributes are in the order of their names, and so are the values of a set:
//! DynamoDB's own order changes from answer to answer. An attribute that is named as a field of an answer ([`ANSWER_FIELDS`]) is
//! told as `item.NAME`, so that no item can say of itself that it is unknown; and so is
//! one whose own name begins so, lest two have one name.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::ordered_json;
use crate::dynamodb::batch_get::plain_value::ValueWriter;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::response::{ResponsePart, TableMapSeed, WireCapacity};
use crate::dynamodb::batch_get::table_name::{RESPONSES, ResponseMembers, UNPROCESSED_KEYS};
use crate::dynamodb::batch_get::value::{ExpectedAttribute, WireText, WireValue};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::ConsumedCapacity;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::fmt;

/// The fields of an answer to a look-up that are not of the item.
pub(crate) const ANSWER_FIELDS: [&str; 7] = [
    "input",
    "hash",
    "status",
    "normalized",
    "rules",
    "reason",
    "error",
];

/// Before the name of an attribute that is named as one of [`ANSWER_FIELDS`].
pub(crate) const ITEM_PREFIX: &str = "item.";

/// An item that is in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainItem {
    /// Its hash.
    pub hash: Hash,
    /// Its attributes but for the partition key, in the order of their names: the inside of
    /// a JSON object, such as `"source":"NSRL","type":"file"`; empty when there are none.
    pub fields: String,
}

impl PlainItem {
    /// The text of the field `name`, as it is told; nothing when it is not there or no
    /// text.
    pub fn attribute_text(&self, name: &str) -> Option<String> {
        field_text(&self.fields, name)
    }
}

/// The text of the field `name` of `fields`, which are the inside of a JSON object.
pub(crate) fn field_text(fields: &str, name: &str) -> Option<String> {
    struct Find<'n>(&'n str);

    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<WireText<'de>>()? {
                let value: &RawValue = map.next_value()?;
                if name.0 == self.0 {
                    found = serde_json::from_str(value.get()).ok();
                }
            }
            Ok(found)
        }
    }
    // Most items have no such field.
    memchr::memmem::find(fields.as_bytes(), name.as_bytes())?;
    let json = format!("{{{fields}}}");
    let mut json = serde_json::Deserializer::from_str(&json);
    json.deserialize_map(Find(name)).ok().flatten()
}

/// What DynamoDB answered to a batch of keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlainResponse {
    /// The items found, in no order.
    pub items: Vec<PlainItem>,
    /// Unprocessed keys.
    pub unprocessed: Vec<Hash>,
    /// Consumed capacity; `None` if the response has none.
    pub consumed: Option<ConsumedCapacity>,
}

/// Everything about a look-up's keys but the hash. See the module.
#[derive(Debug, Clone)]
pub struct ItemJsonTemplate {
    keys: KeyTemplate,
    /// The sort key of each item, where the table has one.
    sort: Option<ExpectedAttribute>,
}

impl ItemJsonTemplate {
    /// The template of keys for `table`, whose schema is `schema`: hashes of
    /// `algorithm`, text keys in `case`, and the value of the sort key among `sort`,
    /// where the table has one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when such items could not
    /// be in the table; the message says what would.
    pub fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        sort: &[Attribute],
    ) -> Result<Self> {
        // What cannot be written is not there to be read.
        ItemTemplate::new(table, schema, algorithm, case, sort)?;
        let keys = KeyTemplate::new(table, schema, case, sort);
        let of_key = |a: &&Attribute| schema.sort.as_ref().is_some_and(|s| s.name == a.name);
        // A number that is none could not be there either.
        for other in sort.iter().filter(|a| !of_key(a)) {
            ExpectedAttribute::new(other)?;
        }
        let sort = sort
            .iter()
            .find(of_key)
            .map(ExpectedAttribute::new)
            .transpose()?;
        Ok(ItemJsonTemplate { keys, sort })
    }

    /// The body of the BatchGetItem request that asks for the items of `hashes`, none
    /// twice and no more than `MAX_GET_KEYS`.
    pub fn write_request<'a>(
        &self,
        hashes: impl IntoIterator<Item = &'a Hash>,
        consistent: bool,
        out: &mut Vec<u8>,
    ) {
        let keys = hashes.into_iter().map(|hash| (hash, &b""[..]));
        self.keys.write_keys(keys, out);
        let closing =
            format!("],\"ConsistentRead\":{consistent}}}}},\"ReturnConsumedCapacity\":\"TOTAL\"}}");
        out.extend_from_slice(closing.as_bytes());
    }

    /// Reads the body of DynamoDB's answer to such a request of `asked` keys.
    ///
    /// # Errors
    /// When it is no such answer, does not name the table exactly once, or holds an item
    /// that is none of ours; the text says which.
    pub fn read_answer(&self, body: &[u8], asked: usize) -> Result<PlainResponse, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let answer = ResponseSeed(self, asked)
            .deserialize(&mut json)
            .map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        Ok(answer)
    }
}

/// The whole answer to so many keys.
struct ResponseSeed<'t>(&'t ItemJsonTemplate, usize);

impl<'de> DeserializeSeed<'de> for ResponseSeed<'_> {
    type Value = PlainResponse;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<PlainResponse, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ResponseSeed<'_> {
    type Value = PlainResponse;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of BatchGetItem")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PlainResponse, A::Error> {
        let mut answer = PlainResponse::default();
        let mut members = ResponseMembers::default();
        let table = self.0.keys.table.as_str();
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            match name.0.as_ref() {
                RESPONSES => {
                    let items = ItemsSeed(self.0, &mut answer.items);
                    let named = map.next_value_seed(TableMapSeed(table, items))?;
                    members.record_responses(named).map_err(A::Error::custom)?;
                }
                UNPROCESSED_KEYS => {
                    let unread = UnprocessedSeed(self.0, &mut answer.unprocessed);
                    map.next_value_seed(TableMapSeed(table, unread))?;
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

/// The items of a table, or keys.
struct ItemsSeed<'t>(&'t ItemJsonTemplate, &'t mut Vec<PlainItem>);

impl<'de> ResponsePart<'de> for ItemsSeed<'_> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(ItemsSeed(self.0, self.1))
    }
}

impl<'de> DeserializeSeed<'de> for ItemsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        self.read(from)
    }
}

impl<'de> Visitor<'de> for ItemsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element_seed(ItemSeed(self.0))? {
            self.1.push(item);
        }
        Ok(())
    }
}

/// What came back of a table: the request's own form, of which only the keys matter.
struct UnprocessedSeed<'t>(&'t ItemJsonTemplate, &'t mut Vec<Hash>);

impl<'de> ResponsePart<'de> for UnprocessedSeed<'_> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(UnprocessedSeed(self.0, self.1))
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
                let mut keys = Vec::new();
                map.next_value_seed(ItemsSeed(self.0, &mut keys))?;
                self.1.extend(keys.iter().map(|k| k.hash));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// One item, or one key.
struct ItemSeed<'t>(&'t ItemJsonTemplate);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = PlainItem;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<PlainItem, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_> {
    type Value = PlainItem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PlainItem, A::Error> {
        let ItemJsonTemplate { keys, sort } = self.0;
        let mut hash = None;
        let mut out = Vec::new();
        let mut members = ordered_json::MemberSorter::new(&out);
        let mut is_of_sort_key = sort.is_none();
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            if name.0 == keys.partition.name {
                if hash.is_some() {
                    return Err(A::Error::custom("it holds an item with its key twice"));
                }
                hash = keys.parse_hash(&map.next_value()?);
                if hash.is_none() {
                    return Err(A::Error::custom("it holds an item whose key is no hash"));
                }
                continue;
            }
            let clashes =
                ANSWER_FIELDS.contains(&name.0.as_ref()) || name.0.starts_with(ITEM_PREFIX);
            match clashes {
                true => members.start_member(&format!("{ITEM_PREFIX}{}", name.0), &mut out),
                false => members.start_member(&name.0, &mut out),
            }
            match sort.as_ref().filter(|sort| sort.name == name.0) {
                None => map.next_value_seed(ValueWriter(&mut out))?,
                Some(sort) => {
                    let value: &RawValue = map.next_value()?;
                    let wire: WireValue<'_> =
                        serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                    is_of_sort_key = sort.matches(&wire);
                    let mut value = serde_json::Deserializer::from_str(value.get());
                    ValueWriter(&mut out)
                        .deserialize(&mut value)
                        .map_err(A::Error::custom)?;
                }
            }
        }
        let hash = hash.ok_or_else(|| {
            let name = &keys.partition.name;
            A::Error::custom(format!("it holds an item without its key {name:?}"))
        })?;
        if !is_of_sort_key {
            let what = "it holds an item whose sort key was not requested";
            return Err(A::Error::custom(what));
        }
        members.finish(&mut out).map_err(A::Error::custom)?;
        // Only text was put into it.
        let fields = String::from_utf8(out).map_err(A::Error::custom)?;
        Ok(PlainItem { hash, fields })
    }
}

#[cfg(test)]
mod tests;
