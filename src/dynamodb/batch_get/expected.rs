//! Hashes → a BatchGetItem request, and the answer → what of it is there.
//!
//! The counterpart of [`item`](crate::dynamodb::item) for reading: all keys of a run are
//! alike but for their hash, so the JSON around it is worked out once, in an
//! [`AskTemplate`], and a request is copied together without a map. An answer is
//! read in one pass over its bytes: of each item the hash is taken and the
//! attributes are compared where they stand; nothing is kept of an item that is
//! as it must be.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash, MAX_HASH_BYTES};
use crate::base::record::Record;
use crate::base::row_attributes::Extra;
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::attribute_from::AttributeFrom;
use crate::dynamodb::batch_get::table_name::{Members, RESPONSES, UNPROCESSED_KEYS};
use crate::dynamodb::batch_get::value::{Expected, Text, Wire};
use crate::dynamodb::item::{ItemTemplate, KeyAttribute, KeySchema, KeyType};
use crate::flow::capacity::Consumed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

/// Keys in one BatchGetItem call, at most.
/// Source: DynamoDB API reference, BatchGetItem.
pub const MAX_GET_KEYS: usize = 100;

/// Read capacity units of one item of up to 4 KB, when it is read eventually
/// consistently. An item that is not there costs as much.
/// Source: DynamoDB developer guide, read/write capacity mode.
pub const EVENTUAL_READ_UNITS: f64 = 0.5;

/// The same for a strongly consistent read.
pub const CONSISTENT_READ_UNITS: f64 = 1.0;

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
pub struct Item {
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
pub struct Answer {
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
pub struct AskTemplate {
    /// The table's name, or its ARN.
    pub(super) table: String,
    pub(super) partition: KeyAttribute,
    case: Case,
    opening: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
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
    pub fn new(
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
    /// As [`new`](Self::new).
    pub fn with_columns(
        table: &str,
        schema: &KeySchema,
        algorithm: Algorithm,
        case: Case,
        attributes: &[Attribute],
        from: &[AttributeFrom],
    ) -> Result<Self> {
        // What cannot be written is not there to be read.
        ItemTemplate::with_columns(table, schema, algorithm, case, attributes, from)?;
        let partition = schema.partition.clone();
        let is_sort_key = |name: &str| schema.sort.as_ref().is_some_and(|s| s.name == name);
        let is_sort = |a: &&Attribute| is_sort_key(&a.name);
        let own = from.iter().map(|a| a.name.clone());
        let own: Vec<String> = own.filter(|name| !is_sort_key(name)).collect();
        let text = |s: &str| serde_json::Value::from(s).to_string();
        let before = format!("{{{}:{{\"{}\":\"", text(&partition.name), partition.kind);
        let mut after = "\"}".to_owned();
        if let Some(sort) = attributes.iter().find(is_sort) {
            after.push_str(&format!(",{}:{}", text(&sort.name), sort.value.to_json()));
        }
        // The sort key is a part of what is asked for: it is what it is.
        let expected: Vec<Expected> = attributes
            .iter()
            .filter(|a| !is_sort(a))
            .map(Expected::new)
            .collect::<Result<_>>()?;
        let mut projection = "#k".to_owned();
        let mut names = format!("\"#k\":{}", text(&partition.name));
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
            table: table.to_owned(),
            partition,
            case,
            opening: format!("{{\"RequestItems\":{{{}:{{\"Keys\":[", text(table)).into_bytes(),
            before: before.into_bytes(),
            after: after.into_bytes(),
            closing: [closing(false), closing(true)],
            expected,
            own,
        })
    }

    /// The attributes that are compared.
    pub fn compared(&self) -> impl Iterator<Item = &str> {
        let own = self.own.iter().map(String::as_str);
        self.expected.iter().map(|e| e.name.as_str()).chain(own)
    }

    /// The first of the attributes that `item` should have from its row, as `extra`
    /// has them, and has not.
    pub fn own_difference(&self, item: &Item, extra: &Extra) -> Option<Box<Difference>> {
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
    /// hash twice and no more than [`MAX_GET_KEYS`].
    pub fn write_request<'a>(
        &self,
        records: impl IntoIterator<Item = &'a Record>,
        consistent: bool,
        out: &mut Vec<u8>,
    ) {
        let keys = records.into_iter();
        self.write_keys(keys.map(|r| (&r.hash, r.extra.key_json())), out);
        out.extend_from_slice(&self.closing[usize::from(consistent)]);
    }

    /// The beginning of a request: the table, and all keys, each a hash and what its
    /// row adds.
    pub(super) fn write_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = (&'a Hash, &'a [u8])>,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.opening);
        for (i, (hash, row)) in keys.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.before);
            match self.partition.kind {
                KeyType::B => {
                    let mut text = [0u8; MAX_HASH_BYTES * 2];
                    // 64 bytes make 88 digits: the slice is always large enough.
                    let n = BASE64.encode_slice(hash.as_bytes(), &mut text).unwrap_or(0);
                    out.extend_from_slice(&text[..n]);
                }
                _ => hash.write_hex(self.case, out),
            }
            out.extend_from_slice(&self.after);
            out.extend_from_slice(row);
            out.push(b'}');
        }
    }

    /// Reads the body of DynamoDB's answer to such a request of `asked` keys.
    ///
    /// # Errors
    /// When it is no such answer, does not name the table exactly once, or holds an item
    /// that is none of ours; the text says which.
    pub fn read_answer(&self, body: &[u8], asked: usize) -> Result<Answer, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let answer = AnswerOf(self, asked)
            .deserialize(&mut json)
            .map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        Ok(answer)
    }

    /// The hash that a key's value holds.
    pub(super) fn hash_of(&self, key: &Wire<'_>) -> Option<Hash> {
        match (self.partition.kind, key) {
            (KeyType::B, Wire::B(b)) => {
                let mut raw = [0; MAX_HASH_BYTES + 3];
                let n = BASE64.decode_slice(b.as_bytes(), &mut raw).ok()?;
                Hash::from_bytes(&raw[..n])
            }
            (KeyType::S, Wire::S(s)) => Hash::from_hex(s.as_bytes()),
            _ => None,
        }
    }
}

/// A table's capacity consumed.
#[derive(Deserialize)]
pub(super) struct WireCapacity {
    #[serde(rename = "CapacityUnits", default)]
    pub(super) units: f64,
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
            crate::dynamodb::batch_get::table_name::check(&self.0.table, &name.0, named)
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
            if name.0 == template.partition.name {
                if hash.is_some() {
                    return Err(twice());
                }
                hash = template.hash_of(&map.next_value()?);
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
            let name = &template.partition.name;
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
mod tests {
    use super::*;
    use crate::base::record::Place;
    use crate::dynamodb::item::hostile;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(name: &str, kind: KeyType) -> KeyAttribute {
        KeyAttribute {
            name: name.into(),
            kind,
        }
    }

    fn template(kind: KeyType, sort: Option<KeyAttribute>, attributes: &[&str]) -> AskTemplate {
        let schema = KeySchema {
            partition: key("md5", kind),
            sort,
            index_keys: vec![],
        };
        let attributes: Vec<Attribute> =
            attributes.iter().map(|a| a.parse().expect("one")).collect();
        AskTemplate::new("t", &schema, Algorithm::Md5, Case::Lower, &attributes).expect("fits")
    }

    #[test]
    fn what_items_take_from_their_rows_is_compared_with_them() {
        let schema = KeySchema {
            partition: KeyAttribute {
                name: "md5".into(),
                kind: KeyType::S,
            },
            sort: Some(KeyAttribute {
                name: "name".into(),
                kind: KeyType::S,
            }),
            index_keys: vec![],
        };
        let from = ["size:N=2", "name=3", "bad:BOOL=4"].map(|a| a.parse().expect("one"));
        let t = AskTemplate::with_columns("t", &schema, Algorithm::Md5, Case::Lower, &[], &from)
            .expect("fits");
        assert_eq!(t.compared().collect::<Vec<_>>(), ["size", "bad"]);
        let key = r#","name":{"S":"x"}"#;
        let json = format!(r#"{key},"size":{{"N":"7"}}"#);
        let row = Record {
            extra: Extra::alone(json.into_bytes(), key.len(), 10),
            ..record(&md5(1))
        };
        let mut body = Vec::new();
        t.write_request([&row], false, &mut body);
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let table = &body["RequestItems"]["t"];
        assert_eq!(
            table["Keys"],
            json!([{"md5": {"S": "01".repeat(16)}, "name": {"S": "x"}}])
        );
        assert_eq!(table["ProjectionExpression"], "#k,#o0,#o1");
        for (size, said) in [
            (json!({"size": {"N": "7.0"}, "bad": {"BOOL": true}}), None),
            (json!({"size": {"N": "8"}}), Some(Some("N 8".to_owned()))),
            (
                json!({"size": {"S": "7"}}),
                Some(Some("S \"7\"".to_owned())),
            ),
            (json!({}), Some(None)),
        ] {
            let mut item = size;
            item["md5"] = json!({"S": "01".repeat(16)});
            let answer = json!({"Responses": {"t": [item]}});
            let answer = t
                .read_answer(answer.to_string().as_bytes(), 5)
                .expect("read");
            let difference = t.own_difference(&answer.items[0], &row.extra);
            let expected = said.map(|found| {
                Box::new(Difference {
                    attribute: "size".into(),
                    found,
                })
            });
            assert_eq!(difference, expected);
        }
    }

    fn md5(n: u8) -> Hash {
        Hash::from_bytes(&[n; 16]).expect("16 bytes")
    }

    fn record(hash: &Hash) -> Record {
        let place = Place {
            source: 0,
            line: 1,
            byte: 0,
        };
        Record::new(*hash, place)
    }

    fn request(t: &AskTemplate, hashes: &[Hash], consistent: bool) -> serde_json::Value {
        let mut body = Vec::new();
        let records: Vec<Record> = hashes.iter().map(record).collect();
        t.write_request(&records, consistent, &mut body);
        serde_json::from_slice(&body).expect("JSON")
    }

    #[test]
    fn a_request_names_the_keys_and_only_what_is_compared() {
        let t = template(KeyType::S, None, &["source=NSRL", "n:N=1"]);
        assert_eq!(
            request(&t, &[md5(0xAB), md5(1)], false),
            json!({
                "RequestItems": {"t": {
                    "Keys": [{"md5": {"S": "ab".repeat(16)}}, {"md5": {"S": "01".repeat(16)}}],
                    "ProjectionExpression": "#k,#a0,#a1",
                    "ExpressionAttributeNames": {"#k": "md5", "#a0": "source", "#a1": "n"},
                    "ConsistentRead": false,
                }},
                "ReturnConsumedCapacity": "TOTAL",
            })
        );
        assert_eq!(t.compared().collect::<Vec<_>>(), ["source", "n"]);
    }

    #[test]
    fn a_binary_key_is_base64_and_a_sort_key_is_a_part_of_the_key() {
        let t = template(
            KeyType::B,
            Some(key("set", KeyType::N)),
            &["x=y", "set:N=7"],
        );
        let got = request(&t, &[md5(0)], true);
        let table = &got["RequestItems"]["t"];
        assert_eq!(
            table["Keys"],
            json!([{"md5": {"B": "AAAAAAAAAAAAAAAAAAAAAA=="}, "set": {"N": "7"}}])
        );
        assert_eq!(table["ProjectionExpression"], "#k,#a0");
        assert_eq!(table["ConsistentRead"], true);
        let answer = json!({"Responses": {"t": [{"x": {"S": "y"},
            "md5": {"B": "AAAAAAAAAAAAAAAAAAAAAA=="}}]}});
        let answer = t
            .read_answer(answer.to_string().as_bytes(), 5)
            .expect("read");
        assert_eq!(
            answer.items,
            [Item {
                hash: md5(0),
                difference: None,
                own: vec![]
            }]
        );
    }

    #[test]
    fn an_answer_says_what_is_there_and_what_differs() {
        let t = template(KeyType::S, None, &["source=NSRL", "n:N=1"]);
        let text = |n: u8| md5(n).to_hex(Case::Lower);
        let answer = json!({
            "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": 2.5}],
            "Responses": {"t": [
                {"md5": {"S": text(1)}, "source": {"S": "NSRL"}, "n": {"N": "1.0"}},
                {"n": {"N": "2"}, "md5": {"S": text(2)}, "source": {"S": "nsrl"}},
                {"md5": {"S": text(3)}, "source": {"S": "NSRL"}},
                {"md5": {"S": text(4)}},
            ]},
            "UnprocessedKeys": {"t": {"Keys": [{"md5": {"S": text(5)}}], "ConsistentRead": false}},
            "More": {"that": ["nobody", "knows"]},
        });
        let answer = t
            .read_answer(answer.to_string().as_bytes(), 5)
            .expect("read");
        let differs = |attribute: &str, found: Option<&str>| {
            Some(Box::new(Difference {
                attribute: attribute.into(),
                found: found.map(str::to_owned),
            }))
        };
        let expected = [
            (1, None),
            (2, differs("source", Some("S \"nsrl\""))),
            (3, differs("n", None)),
            (4, differs("source", None)),
        ];
        let expected = expected.map(|(n, difference)| Item {
            hash: md5(n),
            difference,
            own: vec![],
        });
        assert_eq!(answer.items, expected);
        assert_eq!(answer.unprocessed, [md5(5)]);
        assert_eq!(answer.consumed.map(|c| c.total), Some(2.5));
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        let t = template(KeyType::S, None, &[]);
        for body in [
            "",
            "{}",
            "<html>",
            "[]",
            r#"{"UnprocessedKeys":{}}"#,
            r#"{"Responses":{"t":[]}"#,
            r#"{"Responses":{"t":[]}} x"#,
            r#"{"Responses":{"t":[{}]}}"#,
            r#"{"Responses":{"t":[{"md5":{"S":"xyz"}}]}}"#,
            r#"{"Responses":{"t":[{"md5":{"N":"7"}}]}}"#,
        ] {
            assert!(t.read_answer(body.as_bytes(), 1).is_err(), "{body}");
        }
        let empty = t.read_answer(br#"{"Responses":{"t":[]},"UnprocessedKeys":{}}"#, 1);
        assert_eq!(empty, Ok(Answer::default()));
    }

    #[test]
    fn an_item_with_an_attribute_twice_is_refused() {
        let t = template(KeyType::S, None, &["source=x"]);
        let key = format!(r#""md5":{{"S":"{}"}}"#, "01".repeat(16));
        for item in [
            format!("{{{key},{key}}}"),
            format!(r#"{{{key},"source":{{"S":"x"}},"source":{{"S":"y"}}}}"#),
        ] {
            let body = format!(r#"{{"Responses":{{"t":[{item}]}}}}"#);
            let error = t.read_answer(body.as_bytes(), 1).expect_err(&body);
            assert!(error.contains("twice"), "{error}");
        }
    }

    #[test]
    fn an_answer_names_the_table_that_was_asked_exactly_once() {
        let t = template(KeyType::S, None, &[]);
        crate::dynamodb::batch_get::table_name::tests::assert_named(|body, asked| {
            let answer = t.read_answer(body.as_bytes(), asked)?;
            Ok((answer.items.len(), answer.unprocessed.len()))
        });
    }

    /// An answer that names some of eight keys as there, and some as unread.
    fn some_answer() -> impl Strategy<Value = Vec<u8>> {
        let marks = prop::collection::vec(0u8..4, 8);
        (marks, hostile::json()).prop_map(|(marks, more)| {
            let of = |wanted: u8| {
                let keys = (0u8..)
                    .zip(&marks)
                    .filter(move |(_, mark)| **mark == wanted);
                keys.map(|(n, _)| md5(n).to_hex(Case::Lower))
                    .collect::<Vec<_>>()
            };
            let there = of(1);
            let there = there
                .iter()
                .map(|k| json!({"md5": {"S": k}, "source": {"S": "x"}}));
            let unread = of(2);
            let unread = unread.iter().map(|k| json!({"md5": {"S": k}}));
            json!({
                "Responses": {"t": there.collect::<Vec<_>>()},
                "UnprocessedKeys": {"t": {"Keys": unread.collect::<Vec<_>>(), "More": more}},
            })
            .to_string()
            .into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever comes is read or refused; what is read has consumed what a call
        /// can consume.
        #[test]
        fn nothing_that_comes_breaks_the_reading(body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            hostile::json().prop_map(|json| json.to_string().into_bytes()),
            some_answer(),
            hostile::mutated(some_answer()),
        ]) {
            for kind in [KeyType::S, KeyType::B] {
                let t = template(kind, None, &["source=x", "n:N=1"]);
                if let Ok(answer) = t.read_answer(&body, 8) {
                    let units = answer.consumed.map_or(0.0, |c| c.total);
                    prop_assert!((0.0..=1e6).contains(&units));
                }
            }
        }
    }

    #[test]
    fn an_answer_that_is_nested_deeply_is_refused_or_passed_over() {
        let t = template(KeyType::S, None, &["source=x"]);
        for body in hostile::deep("Responses", r#"{"t":[{"source":"#) {
            let answer = t.read_answer(body.as_bytes(), 1);
            assert_no_item(&answer);
        }
    }

    /// Nothing of such an answer is taken for an item.
    fn assert_no_item(answer: &std::result::Result<Answer, String>) {
        assert!(
            answer.as_ref().map_or(true, |a| a.items.is_empty()),
            "{answer:?}"
        );
    }
}
