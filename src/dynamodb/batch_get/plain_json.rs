//! Hashes → a BatchGetItem request for whole items, and the answer → each item as
//! plain JSON.
//!
//! What a look-up tells of an item is all that the table knows of it, without the
//! types that DynamoDB writes around each value: text is text, a number is a number
//! digit for digit, a set is a list, binary is base64. The key is left out, for it is
//! the hash. Attributes are in the order of their names, and so are the values of a set:
//! DynamoDB's own order changes from answer to answer. An attribute that is named as a field of an answer ([`OWN_FIELDS`]) is
//! told as `item.NAME`, so that no item can say of itself that it is unknown; and so is
//! one whose own name begins so, lest two have one name.

use crate::base::error::Result;
use crate::base::hash::{Algorithm, Case, Hash};
use crate::dynamodb::attribute::Attribute;
use crate::dynamodb::batch_get::expected::{AskTemplate, WireCapacity};
use crate::dynamodb::batch_get::ordered_json;
use crate::dynamodb::batch_get::ordered_json::put;
use crate::dynamodb::batch_get::table_name;
use crate::dynamodb::batch_get::table_name::{Members, RESPONSES, UNPROCESSED_KEYS};
use crate::dynamodb::batch_get::value::{Expected, Text, Wire};
use crate::dynamodb::item::KeySchema;
use crate::flow::capacity::Consumed;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The fields of an answer to a look-up that are not of the item.
pub const OWN_FIELDS: [&str; 7] = [
    "input",
    "hash",
    "status",
    "normalized",
    "rules",
    "reason",
    "error",
];

/// Before the name of an attribute that is named as one of [`OWN_FIELDS`].
pub const ITEM_PREFIX: &str = "item.";

/// An item that is in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeItem {
    /// Its hash.
    pub hash: Hash,
    /// Its attributes but for the partition key, in the order of their names: the inside of
    /// a JSON object, such as `"source":"NSRL","type":"file"`; empty when there are none.
    pub fields: String,
}

impl WholeItem {
    /// The text of the field `name`, as it is told; nothing when it is not there or no
    /// text.
    pub fn text(&self, name: &str) -> Option<String> {
        text_of(&self.fields, name)
    }
}

/// The text of the field `name` of `fields`, which are the inside of a JSON object.
pub fn text_of(fields: &str, name: &str) -> Option<String> {
    struct Find<'n>(&'n str);

    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<Text<'de>>()? {
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
pub struct WholeAnswer {
    /// The items that are there, in no order.
    pub items: Vec<WholeItem>,
    /// Keys that it left unread.
    pub unprocessed: Vec<Hash>,
    /// What it says it consumed, where it says so.
    pub consumed: Option<Consumed>,
}

/// Everything about a look-up's keys but the hash. See the [module](self).
#[derive(Debug, Clone)]
pub struct WholeTemplate {
    keys: AskTemplate,
    /// The sort key of each item, where the table has one.
    sort: Option<Expected>,
}

impl WholeTemplate {
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
        let keys = AskTemplate::new(table, schema, algorithm, case, sort)?;
        let of_key = |a: &&Attribute| schema.sort.as_ref().is_some_and(|s| s.name == a.name);
        let sort = sort.iter().find(of_key).map(Expected::new).transpose()?;
        Ok(WholeTemplate { keys, sort })
    }

    /// The body of the BatchGetItem request that asks for the items of `hashes`, none
    /// twice and no more than [`MAX_GET_KEYS`](crate::dynamodb::batch_get::expected::MAX_GET_KEYS).
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
    pub fn read_answer(&self, body: &[u8], asked: usize) -> Result<WholeAnswer, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let answer = AnswerOf(self, asked)
            .deserialize(&mut json)
            .map_err(|e| e.to_string())?;
        json.end().map_err(|e| e.to_string())?;
        Ok(answer)
    }
}

/// The whole answer to so many keys.
struct AnswerOf<'t>(&'t WholeTemplate, usize);

impl<'de> DeserializeSeed<'de> for AnswerOf<'_> {
    type Value = WholeAnswer;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<WholeAnswer, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerOf<'_> {
    type Value = WholeAnswer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer of BatchGetItem")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WholeAnswer, A::Error> {
        let mut answer = WholeAnswer::default();
        let mut members = Members::default();
        let table = self.0.keys.table.as_str();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            match name.0.as_ref() {
                RESPONSES => {
                    let items = ItemsOf(self.0, &mut answer.items);
                    let named = map.next_value_seed(ByTable(table, items))?;
                    members.responses(named).map_err(A::Error::custom)?;
                }
                UNPROCESSED_KEYS => {
                    let unread = UnreadOf(self.0, &mut answer.unprocessed);
                    map.next_value_seed(ByTable(table, unread))?;
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

/// A map by table name, of the one table that was asked. Read, it says whether it names it.
struct ByTable<'t, S>(&'t str, S);

/// What can be read again and again.
trait Part<'de> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error>;
}

impl<'de, S: Part<'de>> DeserializeSeed<'de> for ByTable<'_, S> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, S: Part<'de>> Visitor<'de> for ByTable<'_, S> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map by table")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        let mut named = false;
        while let Some(name) = map.next_key::<Text<'de>>()? {
            table_name::check(self.0, &name.0, named).map_err(A::Error::custom)?;
            named = true;
            map.next_value_seed(Once(&mut self.1))?;
        }
        Ok(named)
    }
}

struct Once<'p, P>(&'p mut P);

impl<'de, P: Part<'de>> DeserializeSeed<'de> for Once<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.0.read(from)
    }
}

/// The items of a table, or keys.
struct ItemsOf<'t>(&'t WholeTemplate, &'t mut Vec<WholeItem>);

impl<'de> Part<'de> for ItemsOf<'_> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(ItemsOf(self.0, self.1))
    }
}

impl<'de> DeserializeSeed<'de> for ItemsOf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<(), D::Error> {
        self.read(from)
    }
}

impl<'de> Visitor<'de> for ItemsOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element_seed(ItemOf(self.0))? {
            self.1.push(item);
        }
        Ok(())
    }
}

/// What came back of a table: the request's own form, of which only the keys matter.
struct UnreadOf<'t>(&'t WholeTemplate, &'t mut Vec<Hash>);

impl<'de> Part<'de> for UnreadOf<'_> {
    fn read<D: Deserializer<'de>>(&mut self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(UnreadOf(self.0, self.1))
    }
}

impl<'de> Visitor<'de> for UnreadOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys that were not read")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if name.0 == "Keys" {
                let mut keys = Vec::new();
                map.next_value_seed(ItemsOf(self.0, &mut keys))?;
                self.1.extend(keys.iter().map(|k| k.hash));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// One item, or one key.
struct ItemOf<'t>(&'t WholeTemplate);

impl<'de> DeserializeSeed<'de> for ItemOf<'_> {
    type Value = WholeItem;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<WholeItem, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemOf<'_> {
    type Value = WholeItem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WholeItem, A::Error> {
        let WholeTemplate { keys, sort } = self.0;
        let mut hash = None;
        let mut out = Vec::new();
        let mut members = ordered_json::Members::new(&out);
        let mut is_of_sort_key = sort.is_none();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if name.0 == keys.partition.name {
                if hash.is_some() {
                    return Err(A::Error::custom("it holds an item with its key twice"));
                }
                hash = keys.hash_of(&map.next_value()?);
                if hash.is_none() {
                    return Err(A::Error::custom("it holds an item whose key is no hash"));
                }
                continue;
            }
            let clashes = OWN_FIELDS.contains(&name.0.as_ref()) || name.0.starts_with(ITEM_PREFIX);
            match clashes {
                true => members.name(&format!("{ITEM_PREFIX}{}", name.0), &mut out),
                false => members.name(&name.0, &mut out),
            }
            match sort.as_ref().filter(|sort| sort.name == name.0) {
                None => map.next_value_seed(Plain(&mut out))?,
                Some(sort) => {
                    let value: &RawValue = map.next_value()?;
                    let wire: Wire<'_> =
                        serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                    is_of_sort_key = sort.is(&wire);
                    let mut value = serde_json::Deserializer::from_str(value.get());
                    Plain(&mut out)
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
            let what = "it holds an item whose sort key was not asked for";
            return Err(A::Error::custom(what));
        }
        members.finish(&mut out).map_err(A::Error::custom)?;
        // Only text was put into it.
        let fields = String::from_utf8(out).map_err(A::Error::custom)?;
        Ok(WholeItem { hash, fields })
    }
}

/// A value of an attribute, appended without its type.
struct Plain<'o>(&'o mut Vec<u8>);

/// The same for each value of a list.
struct PlainList<'o>(&'o mut Vec<u8>);

/// The same for each value of a map.
struct PlainMap<'o>(&'o mut Vec<u8>);

/// The types of DynamoDB's values.
#[derive(Deserialize)]
enum Type {
    S,
    N,
    B,
    #[serde(rename = "BOOL")]
    Bool,
    #[serde(rename = "NULL")]
    Null,
    #[serde(rename = "SS")]
    Ss,
    #[serde(rename = "NS")]
    Ns,
    #[serde(rename = "BS")]
    Bs,
    L,
    M,
}

impl<'de> DeserializeSeed<'de> for Plain<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Plain<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.0;
        let one = || A::Error::custom("an attribute has one value");
        match map.next_key::<Type>()?.ok_or_else(one)? {
            Type::S | Type::B => put(out, &map.next_value::<Text<'de>>()?.0),
            Type::N => put_number(out, &map.next_value::<Text<'de>>()?.0),
            Type::Bool => {
                let is: bool = map.next_value()?;
                out.extend_from_slice(if is { b"true" } else { b"false" });
            }
            Type::Null => {
                map.next_value::<IgnoredAny>()?;
                out.extend_from_slice(b"null");
            }
            Type::Ss | Type::Bs => {
                let mut set: Vec<Text<'de>> = map.next_value()?;
                set.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                put_set(out, &set, put);
            }
            Type::Ns => {
                let mut set: Vec<Text<'de>> = map.next_value()?;
                set.sort_unstable_by(|a, b| ordered_json::by_value(&a.0, &b.0));
                put_set(out, &set, put_number);
            }
            Type::L => map.next_value_seed(PlainList(out))?,
            Type::M => map.next_value_seed(PlainMap(out))?,
        }
        match map.next_key::<Cow<'de, str>>()? {
            None => Ok(()),
            Some(_) => Err(one()),
        }
    }
}

/// Appends a number, digit for digit; one that JSON could not write, as text.
fn put_number(out: &mut Vec<u8>, number: &str) {
    match serde_json::from_str::<&RawValue>(number) {
        Ok(raw)
            if raw.get() == number
                && number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) =>
        {
            out.extend_from_slice(number.as_bytes());
        }
        _ => put(out, number),
    }
}

fn put_set(out: &mut Vec<u8>, set: &[Text<'_>], put: fn(&mut Vec<u8>, &str)) {
    out.push(b'[');
    for (i, text) in set.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, &text.0);
    }
    out.push(b']');
}

impl<'de> DeserializeSeed<'de> for PlainList<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PlainList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let out = self.0;
        out.push(b'[');
        let begun = out.len();
        loop {
            let end = out.len();
            if end > begun {
                out.push(b',');
            }
            if list.next_element_seed(Plain(out))?.is_none() {
                out.truncate(end);
                break;
            }
        }
        out.push(b']');
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for PlainMap<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PlainMap<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.0;
        out.push(b'{');
        let mut members = ordered_json::Members::new(out);
        while let Some(name) = map.next_key::<Text<'de>>()? {
            members.name(&name.0, out);
            map.next_value_seed(Plain(out))?;
        }
        members.finish(out).map_err(A::Error::custom)?;
        out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::item::{KeyAttribute, KeyType, hostile};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn template(kind: KeyType) -> WholeTemplate {
        let schema = KeySchema {
            partition: KeyAttribute {
                name: "md5".into(),
                kind,
            },
            sort: None,
            index_keys: vec![],
        };
        WholeTemplate::new("t", &schema, Algorithm::Md5, Case::Lower, &[]).expect("fits")
    }

    fn md5(n: u8) -> Hash {
        Hash::from_bytes(&[n; 16]).expect("16 bytes")
    }

    fn text(n: u8) -> String {
        md5(n).to_hex(Case::Lower)
    }

    /// The fields of the one item that has these attributes.
    fn fields(attributes: Value) -> Result<String, String> {
        let mut item = attributes;
        item["md5"] = json!({"S": text(1)});
        let answer = json!({"Responses": {"t": [item]}}).to_string();
        let answer = template(KeyType::S).read_answer(answer.as_bytes(), 1)?;
        assert_eq!((answer.items.len(), answer.items[0].hash), (1, md5(1)));
        Ok(answer.items[0].fields.clone())
    }

    #[test]
    fn a_request_asks_for_whole_items() {
        let mut body = Vec::new();
        template(KeyType::S).write_request(&[md5(0xAB), md5(1)], false, &mut body);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(
            body,
            json!({
                "RequestItems": {"t": {
                    "Keys": [{"md5": {"S": "ab".repeat(16)}}, {"md5": {"S": "01".repeat(16)}}],
                    "ConsistentRead": false,
                }},
                "ReturnConsumedCapacity": "TOTAL",
            })
        );
    }

    #[test]
    fn a_sort_key_is_a_part_of_each_key_and_a_field_of_each_item() {
        let schema = KeySchema {
            partition: KeyAttribute {
                name: "md5".into(),
                kind: KeyType::B,
            },
            sort: Some(KeyAttribute {
                name: "set".into(),
                kind: KeyType::N,
            }),
            index_keys: vec![],
        };
        let sort = ["set:N=7".parse().expect("an attribute")];
        let t = WholeTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &sort).expect("fits");
        let mut body = Vec::new();
        t.write_request(&[md5(0)], true, &mut body);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let key = json!({"md5": {"B": "AAAAAAAAAAAAAAAAAAAAAA=="}, "set": {"N": "7"}});
        assert_eq!(body["RequestItems"]["t"]["Keys"], json!([key]));
        let answer = json!({"Responses": {"t": [key]}}).to_string();
        let answer = t.read_answer(answer.as_bytes(), 1).expect("read");
        let item = WholeItem {
            hash: md5(0),
            fields: "\"set\":7".into(),
        };
        assert_eq!(answer.items, [item]);
    }

    #[test]
    fn an_answer_says_what_is_there_what_was_left_and_what_it_took() {
        let answer = json!({
            "ConsumedCapacity": [{"TableName": "t", "CapacityUnits": 2.5}],
            "Responses": {"t": [
                {"source": {"S": "NSRL"}, "md5": {"S": text(1)}},
                {"md5": {"S": text(2)}},
            ]},
            "UnprocessedKeys": {"t": {"ConsistentRead": false, "Keys": [{"md5": {"S": text(5)}}]}},
            "More": {"that": ["nobody", "knows"]},
        });
        let t = template(KeyType::S);
        let answer = t
            .read_answer(answer.to_string().as_bytes(), 3)
            .expect("read");
        let items = answer.items.iter().map(|i| (i.hash, i.fields.as_str()));
        let expected = [(md5(1), "\"source\":\"NSRL\""), (md5(2), "")];
        assert_eq!(items.collect::<Vec<_>>(), expected);
        assert_eq!(answer.unprocessed, [md5(5)]);
        assert_eq!(answer.consumed.map(|c| c.total), Some(2.5));
    }

    #[test]
    fn values_lose_their_types_and_nothing_else() {
        for (value, told) in [
            (
                json!({"S": "a\"\n\u{e9}"}),
                r#""a\"\n\u00e9""#.replace("\\u00e9", "\u{e9}"),
            ),
            (json!({"S": ""}), "\"\"".into()),
            (json!({"N": "1"}), "1".into()),
            (json!({"N": "-0.50"}), "-0.50".into()),
            (
                json!({"N": "12345678901234567890123456789012345678"}),
                "12345678901234567890123456789012345678".into(),
            ),
            (json!({"N": "1E+2"}), "1E+2".into()),
            (json!({"N": ".5"}), "\".5\"".into()),
            (json!({"N": "NaN"}), "\"NaN\"".into()),
            (json!({"N": "true"}), "\"true\"".into()),
            (json!({"N": "1 "}), "\"1 \"".into()),
            (json!({"B": "AQI="}), "\"AQI=\"".into()),
            (json!({"BOOL": true}), "true".into()),
            (json!({"BOOL": false}), "false".into()),
            (json!({"NULL": true}), "null".into()),
            (json!({"SS": ["b", "a"]}), r#"["a","b"]"#.into()),
            (json!({"NS": ["2", "1.5"]}), "[1.5,2]".into()),
            (json!({"BS": ["AQI="]}), r#"["AQI="]"#.into()),
            (json!({"L": []}), "[]".into()),
            (
                json!({"L": [{"S": "x"}, {"L": [{"N": "1"}]}, {"NULL": true}]}),
                r#"["x",[1],null]"#.into(),
            ),
            (json!({"M": {}}), "{}".into()),
            (
                json!({"M": {"status": {"S": "x"}, "b": {"M": {"c": {"BOOL": false}}}}}),
                r#"{"b":{"c":false},"status":"x"}"#.into(),
            ),
        ] {
            assert_eq!(
                fields(json!({"a": value})),
                Ok(format!("\"a\":{told}")),
                "{value}"
            );
        }
        for value in [
            json!("x"),
            json!({}),
            json!({"X": "x"}),
            json!({"S": "x", "N": "1"}),
            json!({"S": 1}),
            json!({"L": ["x"]}),
        ] {
            assert!(fields(json!({"a": value})).is_err(), "{value}");
        }
    }

    #[test]
    fn no_item_says_what_only_the_answer_says() {
        for name in OWN_FIELDS {
            let told = fields(json!({name: {"S": "x"}}));
            assert_eq!(told, Ok(format!("\"item.{name}\":\"x\"")));
        }
        let told = fields(json!({"status": {"S": "a"}, "item.status": {"S": "b"}}));
        let expected = r#""item.item.status":"b","item.status":"a""#;
        assert_eq!(told.as_deref(), Ok(expected));
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let told = fields(json!({"rules": {"S": "v2"}, "n": {"N": "1"}, "x": {"S": "item.rules"}}));
        let told = told.expect("fields");
        assert_eq!(text_of(&told, "item.rules").as_deref(), Some("v2"));
        for name in ["n", "rules", "y", ""] {
            assert_eq!(text_of(&told, name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        let t = template(KeyType::S);
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
        assert_eq!(empty, Ok(WholeAnswer::default()));
    }

    #[test]
    fn an_answer_names_the_table_that_was_asked_exactly_once() {
        let t = template(KeyType::S);
        crate::dynamodb::batch_get::table_name::tests::assert_named(|body, asked| {
            let answer = t.read_answer(body.as_bytes(), asked)?;
            Ok((answer.items.len(), answer.unprocessed.len()))
        });
    }

    #[test]
    fn an_item_of_another_sort_key_was_not_asked_for() {
        let schema = KeySchema {
            partition: KeyAttribute {
                name: "md5".into(),
                kind: KeyType::S,
            },
            sort: Some(KeyAttribute {
                name: "set".into(),
                kind: KeyType::N,
            }),
            index_keys: vec![],
        };
        let sort = ["set:N=7".parse().expect("an attribute")];
        let t = WholeTemplate::new("t", &schema, Algorithm::Md5, Case::Upper, &sort).expect("fits");
        let read = |item: Value| {
            let answer = json!({"Responses": {"t": [item]}}).to_string();
            t.read_answer(answer.as_bytes(), 1).map(|a| a.items.len())
        };
        assert_eq!(
            read(json!({"md5": {"S": text(1)}, "set": {"N": "7.0"}})),
            Ok(1)
        );
        for item in [
            json!({"md5": {"S": text(1)}, "set": {"N": "8"}}),
            json!({"md5": {"S": text(1)}}),
        ] {
            let error = read(item.clone()).expect_err("another item");
            assert!(error.contains("sort key"), "{item}: {error}");
        }
    }

    #[test]
    fn two_items_with_equal_attributes_in_any_order_are_told_in_equal_bytes() {
        let key = format!(r#""md5":{{"S":"{}"}}"#, text(1));
        let told = |attributes: &str| {
            let body = format!(r#"{{"Responses":{{"t":[{{{key}{attributes}}}]}}}}"#);
            let answer = template(KeyType::S).read_answer(body.as_bytes(), 1);
            answer.map(|answer| answer.items[0].fields.clone())
        };
        let one = told(
            r#","z":{"M":{"b":{"SS":["y","x"]},"a":{"L":[{"S":"2"},{"S":"1"}]}}},"n":{"NS":["10","9"]},"status":{"S":"q"}"#,
        );
        let other = told(
            r#","status":{"S":"q"},"n":{"NS":["9","10"]},"z":{"M":{"a":{"L":[{"S":"2"},{"S":"1"}]},"b":{"SS":["x","y"]}}}"#,
        );
        assert_eq!(one, other);
        let expected = r#""item.status":"q","n":[9,10],"z":{"a":["2","1"],"b":["x","y"]}"#;
        assert_eq!(one.as_deref(), Ok(expected));
        for twice in [
            r#","a":{"S":"1"},"a":{"S":"2"}"#,
            r#","m":{"M":{"a":{"S":"1"},"a":{"S":"1"}}}"#,
        ] {
            assert!(told(twice).is_err_and(|e| e.contains("twice")), "{twice}");
        }
        assert!(told(&format!(",{key}")).is_err_and(|e| e.contains("twice")));
    }

    fn some_answer() -> impl Strategy<Value = Vec<u8>> {
        (hostile::json(), hostile::json()).prop_map(|(more, value)| {
            json!({
                "Responses": {"t": [{"md5": {"S": text(1)}, "a": {"S": "x"}, "b": {"L": [value]}}]},
                "UnprocessedKeys": {"t": {"Keys": [{"md5": {"S": text(2)}}], "More": more}},
            })
            .to_string()
            .into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever comes is read or refused, and what is told is JSON.
        #[test]
        fn nothing_that_comes_breaks_the_reading(body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            hostile::json().prop_map(|json| json.to_string().into_bytes()),
            some_answer(),
            hostile::mutated(some_answer()),
        ]) {
            for kind in [KeyType::S, KeyType::B] {
                if let Ok(answer) = template(kind).read_answer(&body, 2) {
                    for item in answer.items {
                        let json = format!("{{{}}}", item.fields);
                        prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok(), "{json}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_answer_that_is_nested_deeply_is_refused_or_passed_over() {
        let t = template(KeyType::S);
        for body in hostile::deep("Responses", r#"{"t":[{"source":"#) {
            let items = t.read_answer(body.as_bytes(), 1).map(|a| a.items);
            assert!(items.as_ref().map_or(true, Vec::is_empty), "{items:?}");
        }
    }
}
