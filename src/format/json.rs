//! JSON lines: an object a line, one of whose fields holds the hash.
//!
//! Only the fields that are wanted are taken out; no map is built. A field inside
//! another is named with a point: `hashes.sha256`. Names are compared as those of
//! algorithms are: `SHA-256` is `sha256`.

use super::in_column;
use crate::algorithm::{Algorithm, fold};
use crate::error::{Error, Result};
use crate::record::{Parsed, Reason, content};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::fmt::Write as _;

/// Whether the first line of a list is an object by itself.
pub(super) fn check(name: &str, line: &[u8]) -> Result<()> {
    let object = line.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if object {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{name} is JSON, and not an object a line: a single array or object"
    ))
    .hint(
        "make lines of it first, for example: jq -c '.[]' FILE (or .list[], .value[], as it is built) | \
         hashferry ingest - …",
    ))
}

/// The names of an object's fields.
pub(super) fn fields(line: &[u8]) -> Vec<String> {
    let object: Option<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(content(line)).ok();
    object.map_or_else(Vec::new, |o| o.keys().cloned().collect())
}

#[derive(Debug)]
pub(super) struct JsonParser {
    digits: usize,
    /// Paths of the fields that are taken: that of the hash first.
    paths: Vec<Vec<String>>,
    values: Vec<Option<Vec<u8>>>,
    /// A name, folded: made anew for each, without an allocation.
    folded: String,
}

impl JsonParser {
    pub(super) fn new(algorithm: Algorithm, field: Option<&str>, wanted: &[String]) -> Self {
        let path = |name: &str| -> Vec<String> { name.split('.').map(fold).collect() };
        let hash = field.map_or_else(|| vec![fold(algorithm.name())], path);
        let wanted = wanted.iter().map(|name| path(name));
        let paths: Vec<Vec<String>> = [hash].into_iter().chain(wanted).collect();
        JsonParser {
            digits: algorithm.bytes() * 2,
            values: vec![None; paths.len()],
            paths,
            folded: String::new(),
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let text = content(line);
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        for value in &mut self.values {
            // Its room is kept.
            if let Some(value) = value {
                value.clear();
            }
        }
        let mut found = 0u64;
        let mut json = serde_json::Deserializer::from_slice(text);
        let object = Object {
            paths: &self.paths,
            values: &mut self.values,
            found: &mut found,
            folded: &mut self.folded,
            depth: 0,
            open: u64::MAX,
        };
        let read = object.deserialize(&mut json).and_then(|()| json.end());
        if read.is_err() {
            return Parsed::Rejected(Reason::Json);
        }
        match self.values[0].as_deref().filter(|_| found & 1 != 0) {
            Some(hash) => in_column(hash, self.digits),
            None => Parsed::Rejected(Reason::NoHash),
        }
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n + 1)?.as_deref()
    }
}

/// An object, of which the fields are taken whose paths are open: they have led here.
struct Object<'p> {
    paths: &'p [Vec<String>],
    values: &'p mut [Option<Vec<u8>>],
    found: &'p mut u64,
    folded: &'p mut String,
    depth: usize,
    /// A bit for each path; of more than 64 the rest is never found.
    open: u64,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Name(self.folded))?.is_some() {
            let (mut inside, mut here) = (0u64, 0u64);
            for (n, path) in self.paths.iter().take(64).enumerate() {
                let bit = 1u64 << n;
                if self.open & bit == 0 || path.get(self.depth) != Some(self.folded) {
                    continue;
                }
                match path.len() == self.depth + 1 {
                    true => here |= bit,
                    false => inside |= bit,
                }
            }
            map.next_value_seed(Field(
                Object {
                    paths: self.paths,
                    values: &mut *self.values,
                    found: &mut *self.found,
                    folded: &mut *self.folded,
                    depth: self.depth + 1,
                    open: inside,
                },
                here,
            ))?;
        }
        Ok(())
    }
}

/// A field's name, folded.
struct Name<'p>(&'p mut String);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        self.0.clear();
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        self.0.extend(kept.map(|c| c.to_ascii_lowercase()));
        Ok(())
    }
}

/// A field's value, which goes to the paths that end `here`, or has some inside.
struct Field<'p>(Object<'p>, u64);

impl Field<'_> {
    fn take(self, write: impl Fn(&mut Vec<u8>)) {
        let Field(object, here) = self;
        for (n, value) in object.values.iter_mut().take(64).enumerate() {
            if here & (1u64 << n) != 0 {
                let value = value.get_or_insert_with(Vec::new);
                value.clear();
                write(value);
                *object.found |= 1u64 << n;
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if self.1 == 0 && self.0.open == 0 {
            return from.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(|value| value.extend_from_slice(text.as_bytes()));
        Ok(())
    }

    fn visit_u64<E>(self, n: u64) -> Result<(), E> {
        self.take(|value| value.extend_from_slice(display(n).as_bytes()));
        Ok(())
    }

    fn visit_i64<E>(self, n: i64) -> Result<(), E> {
        self.take(|value| value.extend_from_slice(display(n).as_bytes()));
        Ok(())
    }

    fn visit_f64<E>(self, n: f64) -> Result<(), E> {
        self.take(|value| value.extend_from_slice(display(n).as_bytes()));
        Ok(())
    }

    fn visit_bool<E>(self, is: bool) -> Result<(), E> {
        self.take(|value| value.extend_from_slice(if is { b"true" } else { b"false" }));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.visit_map(map)
    }
}

fn display(n: impl fmt::Display) -> String {
    let mut text = String::new();
    // Into memory: it cannot fail.
    let _ = write!(text, "{n}");
    text
}
