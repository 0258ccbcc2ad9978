//! Requests for whole items: hashes → a BatchGetItem request, and the response → plain JSON.
//!
//! An item's JSON has all its attributes except the partition key, without DynamoDB's
//! types. Text is text, a number keeps its digits, a set is a list, binary is base64.
//! Attributes are ordered by name, and so are the values of a set: DynamoDB's own order
//! changes from response to response.
//!
//! An attribute named like a field of an answer ([`ANSWER_FIELDS`]) becomes `item.NAME`, so
//! that no item can call itself unknown. So does an attribute whose name begins with
//! `item.`, so that no two get the same name.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::ordered_json;
use crate::dynamodb::batch_get::plain_value;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::response::Attributes;
use crate::dynamodb::batch_get::value::{ExpectedAttribute, WireText};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::ConsumedCapacity;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Fields of a look-up's answer that do not come from the item.
pub(crate) const ANSWER_FIELDS: [&str; 7] = [
    "input",
    "hash",
    "status",
    "normalized",
    "rules",
    "reason",
    "error",
];

/// Prefix of an attribute named like one of [`ANSWER_FIELDS`].
pub(crate) const ITEM_PREFIX: &str = "item.";

/// An item of the table, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainItem {
    /// Its hash.
    pub hash: Hash,
    /// Its attributes without the partition key, ordered by name: a JSON object without its
    /// braces, such as `"source":"NSRL","type":"file"`; empty if there are none.
    pub fields: String,
}

impl PlainItem {
    /// The text of the field `name`; `None` if it is missing or not a text.
    pub fn attribute_text(&self, name: &str) -> Option<String> {
        field_text(&self.fields, name)
    }
}

/// The text of the field `name` of `fields`, a JSON object without its braces; `None` if it
/// is missing or not a text.
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

/// Response to a batch of keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlainResponse {
    /// The items, in no order.
    pub items: Vec<PlainItem>,
    /// Unprocessed keys.
    pub unprocessed: Vec<Hash>,
    /// Consumed capacity; `None` if the response has none.
    pub consumed: Option<ConsumedCapacity>,
}

/// Template of a look-up's requests. See the module.
#[derive(Debug, Clone)]
pub struct ItemJsonTemplate {
    keys: KeyTemplate,
    /// The sort key of each item, if the table has one.
    sort: Option<ExpectedAttribute>,
}

impl ItemJsonTemplate {
    /// Creates the template for `table` with `schema`: hashes of `algorithm`, text keys in
    /// `case`, and the sort key's value from `sort` if the table has one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the table cannot have
    /// such items.
    pub fn new(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        sort: &[Attribute],
    ) -> Result<Self> {
        // Items that cannot be written cannot be in the table.
        ItemTemplate::new(table, schema, algorithm, case, sort)?;
        let keys = KeyTemplate::new(table, schema, case, sort);
        let of_key = |a: &&Attribute| schema.sort.as_ref().is_some_and(|s| s.name == a.name);
        // Neither can an invalid number.
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

    /// Writes the body of a BatchGetItem request for `hashes`: distinct, at most
    /// `MAX_GET_KEYS`.
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
        let render = |hash, attributes: &mut Attributes<'_>| -> Result<PlainItem, String> {
            let fields = self.fields(attributes)?;
            Ok(PlainItem { hash, fields })
        };
        let response = self.keys.parse_response(body, requested, render)?;
        Ok(PlainResponse {
            items: response.items,
            unprocessed: response.unprocessed,
            consumed: response.consumed,
        })
    }

    /// The fields of an item: the inside of a JSON object.
    fn fields(&self, attributes: &Attributes<'_>) -> Result<String, String> {
        let mut out = Vec::new();
        let mut members = ordered_json::MemberSorter::new(&out);
        let mut has_sort_key = self.sort.is_none();
        for (name, value) in attributes {
            let name = name.0.as_ref();
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
