//! An attribute's value as plain JSON, without DynamoDB's types.

use crate::base::error::Result;
use crate::dynamodb::batch_get::ordered_json;
use crate::dynamodb::batch_get::ordered_json::write_string;
use crate::dynamodb::batch_get::value::WireText;
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Appends an attribute's value without its type.
pub(super) struct ValueWriter<'o>(pub(super) &'o mut Vec<u8>);

/// Appends each value of a list without its type.
struct ListWriter<'o>(&'o mut Vec<u8>);

/// Appends each value of a map without its type.
struct MapWriter<'o>(&'o mut Vec<u8>);

/// The types of DynamoDB's values.
#[derive(Deserialize)]
enum ValueType {
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

impl<'de> DeserializeSeed<'de> for ValueWriter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ValueWriter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.0;
        let one = || A::Error::custom("an attribute has one value");
        match map.next_key::<ValueType>()?.ok_or_else(one)? {
            ValueType::S | ValueType::B => write_string(out, &map.next_value::<WireText<'de>>()?.0),
            ValueType::N => write_number(out, &map.next_value::<WireText<'de>>()?.0),
            ValueType::Bool => {
                let is: bool = map.next_value()?;
                out.extend_from_slice(if is { b"true" } else { b"false" });
            }
            ValueType::Null => {
                map.next_value::<IgnoredAny>()?;
                out.extend_from_slice(b"null");
            }
            ValueType::Ss | ValueType::Bs => {
                let mut set: Vec<WireText<'de>> = map.next_value()?;
                set.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                write_set(out, &set, write_string);
            }
            ValueType::Ns => {
                let mut set: Vec<WireText<'de>> = map.next_value()?;
                set.sort_unstable_by(|a, b| ordered_json::compare_numbers(&a.0, &b.0));
                write_set(out, &set, write_number);
            }
            ValueType::L => map.next_value_seed(ListWriter(out))?,
            ValueType::M => map.next_value_seed(MapWriter(out))?,
        }
        match map.next_key::<Cow<'de, str>>()? {
            None => Ok(()),
            Some(_) => Err(one()),
        }
    }
}

/// Appends a number digit for digit, or as text if it is no JSON number.
fn write_number(out: &mut Vec<u8>, number: &str) {
    match serde_json::from_str::<&RawValue>(number) {
        Ok(raw)
            if raw.get() == number
                && number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) =>
        {
            out.extend_from_slice(number.as_bytes());
        }
        _ => write_string(out, number),
    }
}

fn write_set(out: &mut Vec<u8>, set: &[WireText<'_>], put: fn(&mut Vec<u8>, &str)) {
    out.push(b'[');
    for (i, text) in set.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, &text.0);
    }
    out.push(b']');
}

impl<'de> DeserializeSeed<'de> for ListWriter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListWriter<'_> {
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
            if list.next_element_seed(ValueWriter(out))?.is_none() {
                out.truncate(end);
                break;
            }
        }
        out.push(b']');
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for MapWriter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MapWriter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let out = self.0;
        out.push(b'{');
        let mut members = ordered_json::MemberSorter::new(out);
        while let Some(name) = map.next_key::<WireText<'de>>()? {
            members.start_member(&name.0, out);
            map.next_value_seed(ValueWriter(out))?;
        }
        members.finish(out).map_err(A::Error::custom)?;
        out.push(b'}');
        Ok(())
    }
}
