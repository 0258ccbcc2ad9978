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
use crate::dynamodb::batch_get::plain_value;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::value::{ExpectedAttribute, WireItem, WireText};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::ConsumedCapacity;
use serde::de::{Deserializer as _, MapAccess, Visitor};
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

    /// Parses the body of a response to such a request of `requested` keys.
    ///
    /// # Errors
    /// A description, if it is not a response, does not name the table exactly once, or
    /// has an item that the table cannot have.
    pub fn parse_response(&self, body: &[u8], requested: usize) -> Result<PlainResponse, String> {
        let response = self.keys.parse_response(body, requested)?;
        let mut items = Vec::with_capacity(response.items.len());
        for (hash, item) in &response.items {
            items.push(PlainItem {
                hash: *hash,
                fields: self.fields(item)?,
            });
        }
        Ok(PlainResponse {
            items,
            unprocessed: response.unprocessed,
            consumed: response.consumed,
        })
    }

    /// The fields of an item: the inside of a JSON object.
    fn fields(&self, item: &WireItem<'_>) -> Result<String, String> {
        let mut out = Vec::new();
        let mut members = ordered_json::MemberSorter::new(&out);
        let mut has_sort_key = self.sort.is_none();
        for (name, value) in &item.0 {
            let name = name.0.as_ref();
            if name == self.keys.partition.name {
                continue;
            }
            match ANSWER_FIELDS.contains(&name) || name.starts_with(ITEM_PREFIX) {
                true => members.start_member(&format!("{ITEM_PREFIX}{name}"), &mut out),
                false => members.start_member(name, &mut out),
            }
            if let Some(sort) = self.sort.as_ref().filter(|sort| sort.name == name) {
                has_sort_key = sort.matches(value);
            }
            plain_value::write(value, &mut out)?;
        }
        if !has_sort_key {
            return Err("it holds an item whose sort key was not requested".to_owned());
        }
        members.finish(&mut out)?;
        String::from_utf8(out).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests;
