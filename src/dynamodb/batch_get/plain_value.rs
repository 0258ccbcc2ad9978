//! A value of an attribute as plain JSON, without the types that DynamoDB writes.

use crate::base::error::Result;
use crate::dynamodb::batch_get::ordered_json;
use crate::dynamodb::batch_get::ordered_json::put;
use crate::dynamodb::batch_get::value::Text;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// A value of an attribute, appended without its type.
pub(super) struct Plain<'o>(pub(super) &'o mut Vec<u8>);

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
