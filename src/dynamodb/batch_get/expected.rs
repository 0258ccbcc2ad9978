//! Requests that compare: hashes → a BatchGetItem request, and the response → mismatches.
//!
//! The counterpart of [`item`](crate::dynamodb::item) for reading. All keys of a run are
//! alike except for their hash. So a [`GetTemplate`] prepares the JSON around it once, and
//! a request is copied together without a map.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Record;
use crate::base::row_attributes::RowAttributes;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::batch_get::request::KeyTemplate;
use crate::dynamodb::batch_get::response::Attributes;
use crate::dynamodb::batch_get::value::{ExpectedAttribute, WireText, WireValue};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;
use crate::flow::capacity::ConsumedCapacity;
use std::collections::HashMap;

/// An attribute that differs from the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The attribute's name.
    pub attribute: String,
    /// The value that was found, with its type, shortened; `None` if the item has no
    /// such attribute.
    pub found: Option<String>,
}

/// An item of the table, compared.
#[derive(Debug, PartialEq)]
pub(crate) struct FoundItem<'a> {
    /// Its hash.
    pub hash: Hash,
    /// The first expected attribute that differs; `None` if all match.
    pub mismatch: Option<Box<Mismatch>>,
    /// Values of the attributes that come from rows, for
    /// [`GetTemplate::own_difference`].
    row_attributes: Vec<Option<WireValue<'a>>>,
}

/// Response to a batch of keys.
#[derive(Debug, PartialEq, Default)]
pub(crate) struct GetResponse<'a> {
    /// The items, in no order.
    pub items: Vec<FoundItem<'a>>,
    /// Unprocessed keys.
    pub unprocessed: Vec<Hash>,
    /// Consumed capacity; `None` if the response has none.
    pub consumed: Option<ConsumedCapacity>,
}

/// Template of a run's requests, and the attributes that each item must have. See the
/// [module](self).
#[derive(Debug, Clone)]
pub(crate) struct GetTemplate {
    keys: KeyTemplate,
    /// Ends of an eventually and of a strongly consistent request.
    request_suffixes: [Vec<u8>; 2],
    expected: Vec<ExpectedAttribute>,
    /// Names of the attributes that come from rows, without the sort key.
    row_attributes: Vec<String>,
}

impl GetTemplate {
    /// Creates the template for `table` with `schema`: hashes of `algorithm`, text keys
    /// in `case`. Each item must have `attributes`, among them the sort key if the table
    /// has one.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if the table cannot
    /// have such items.
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

    /// Creates a template for items that also have the attributes `from` their rows.
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
        // Items that cannot be written cannot be in the table.
        ItemTemplate::with_columns(table, schema, algorithm, case, attributes, from)?;
        let is_sort_key = |name: &str| schema.sort.as_ref().is_some_and(|s| s.name == name);
        let is_sort = |a: &&Attribute| is_sort_key(&a.name);
        let own = from.iter().map(|a| a.name.clone());
        let own: Vec<String> = own.filter(|name| !is_sort_key(name)).collect();
        let text = |s: &str| serde_json::Value::from(s).to_string();
        // The sort key is part of the requested key, so it always matches.
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

    /// Names of the attributes to compare.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &str> {
        let own = self.row_attributes.iter().map(String::as_str);
        self.expected.iter().map(|e| e.name.as_str()).chain(own)
    }

    /// The first attribute of `item` that differs from those of its row, `extra`; `None` if
    /// all match.
    pub(crate) fn own_difference(
        &self,
        item: &FoundItem<'_>,
        extra: &RowAttributes,
    ) -> Option<Box<Mismatch>> {
        let json = extra.json().strip_prefix(b",")?;
        let json = [b"{", json, b"}"].concat();
        // The row's JSON is hashferry's own, so it always parses.
        let expected: HashMap<WireText<'_>, WireValue<'_>> = serde_json::from_slice(&json).ok()?;
        self.row_attributes
            .iter()
            .enumerate()
            .find_map(|(at, name)| {
                let expected = expected.get(name.as_str())?;
                let found = item.row_attributes.get(at).and_then(Option::as_ref);
                let same = found.is_some_and(|f| expected.is_same(f));
                (!same).then(|| {
                    Box::new(Mismatch {
                        attribute: name.clone(),
                        found: found.map(WireValue::describe),
                    })
                })
            })
    }

    /// Writes the body of a BatchGetItem request for `records`: distinct hashes, at most
    /// [`MAX_GET_KEYS`](crate::dynamodb::batch_get::request::MAX_GET_KEYS).
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

    /// Parses the body of a response to such a request of `requested` keys.
    ///
    /// # Errors
    /// A description, if it is not a response, does not name the table exactly once, or
    /// has an item that the table cannot have.
    pub(crate) fn parse_response<'a>(
        &self,
        body: &'a [u8],
        requested: usize,
    ) -> Result<GetResponse<'a>, String> {
        let mut seen = Vec::with_capacity(self.expected.len());
        let compare =
            |hash, attributes: &mut Attributes<'a>| self.compare(hash, attributes, &mut seen);
        let response = self.keys.parse_response(body, requested, compare)?;
        Ok(GetResponse {
            items: response.items,
            unprocessed: response.unprocessed,
            consumed: response.consumed,
        })
    }

    /// Compares an item with the expected attributes. `seen` is scratch space: which of
    /// them the item has.
    fn compare<'a>(
        &self,
        hash: Hash,
        attributes: &mut Attributes<'a>,
        seen: &mut Vec<bool>,
    ) -> Result<FoundItem<'a>, String> {
        seen.clear();
        seen.resize(self.expected.len(), false);
        let mut row_attributes = Vec::new();
        let mut mismatch: Option<(usize, Option<String>)> = None;
        let mut record = |at: usize, found: Option<String>| {
            if mismatch.as_ref().is_none_or(|(first, _)| at < *first) {
                mismatch = Some((at, found));
            }
        };
        let twice = || "it holds an item with an attribute twice".to_owned();
        for (name, value) in attributes.iter_mut() {
            if let Some(at) = self.expected.iter().position(|e| e.name == name.0) {
                if std::mem::replace(&mut seen[at], true) {
                    return Err(twice());
                }
                if !self.expected[at].matches(value) {
                    record(at, Some(value.describe()));
                }
            } else if let Some(at) = self.row_attributes.iter().position(|own| *own == name.0) {
                row_attributes.resize_with(self.row_attributes.len(), || None);
                let value = std::mem::replace(value, WireValue::Bool(false));
                if row_attributes[at].replace(value).is_some() {
                    return Err(twice());
                }
            }
        }
        if let Some(at) = seen.iter().position(|seen| !seen) {
            record(at, None);
        }
        Ok(FoundItem {
            hash,
            row_attributes,
            mismatch: mismatch.map(|(at, found)| {
                Box::new(Mismatch {
                    attribute: self.expected[at].name.clone(),
                    found,
                })
            }),
        })
    }
}

#[cfg(test)]
mod tests;
