//! JSON lines: one object per line, with the hash in one of its fields.
//!
//! The parser reads only the wanted fields and builds no map. A dot leads to a nested field:
//! `hashes.sha256`. Names are compared without case and punctuation, like those of
//! algorithms: `SHA-256` is `sha256`.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, fold};
use crate::base::record::RejectReason;
use crate::list::format::cell::{algorithm_from_column_name, is_hash, parse_cell};
use crate::list::format::digest::HashSpec;
use crate::list::format::document::ArrayPath;
use crate::list::format::plain::{Parsed, trimmed};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

/// Maximum number of fields: each has a bit in a `u64`.
const MAX_FIELDS: usize = 64;

/// Fields beside a hash that may name its algorithm, in MISP, SPDX and CycloneDX.
const ALGORITHM_FIELDS: [&str; 3] = ["type", "algorithm", "alg"];

/// True if `tag` names a kind of hash that is not of a whole file but may be as long as one.
fn is_not_file_hash(tag: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"imphash",
        b"authentihash",
        b"pehash",
        b"vhash",
        b"cdhash",
        b"telfhash",
        b"ja3",
        b"fingerprint",
    ];
    let has = |name: &&[u8]| {
        tag.windows(name.len())
            .any(|w| w.eq_ignore_ascii_case(name))
    };
    NAMES.iter().any(has)
}

/// True if `text`, without blanks around it, begins like a JSON object, or an array of
/// objects, strings or arrays. `[section]` does not.
pub(super) fn begins_like_json(text: &[u8]) -> bool {
    let inside = match text.split_first() {
        Some((b'{' | b'[', rest)) => rest.trim_ascii_start().first(),
        _ => return false,
    };
    match inside {
        None | Some(b'"') => true,
        Some(b'}') => text[0] == b'{',
        Some(b'{' | b'[' | b']') => text[0] == b'[',
        Some(_) => false,
    }
}

/// True if `text` is a complete JSON object.
pub(super) fn is_object(text: &[u8]) -> bool {
    text.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Checks that the first line of the list `name` is a complete JSON object.
pub(super) fn check_object(name: &str, line: &[u8]) -> Result<()> {
    match is_object(line) {
        true => Ok(()),
        false => Err(not_json_lines_error(name)),
    }
}

/// Returns the error for a list `name` that is JSON, but not one object per line.
pub(super) fn not_json_lines_error(name: &str) -> Error {
    let file = match name {
        "-" => "",
        name if name.starts_with("s3://") => "",
        name => name,
    };
    let file = match shlex::try_quote(file) {
        Ok(quoted) if !file.is_empty() => format!(" {quoted}"),
        _ => String::new(),
    };
    Error::usage(format!(
        "{name} is JSON, but not one object per line: its first line is not a complete object"
    ))
    .with_hint(format!(
        "write one object per line first: jq -c '.[]'{file} | hashferry ingest - … (for an array; for an \
         object, name its array, such as .value[] or .list[]; -r turns strings into a plain list)"
    ))
}

/// Returns the names of an object's fields; empty if `line` is not an object.
pub(super) fn fields(line: &[u8]) -> Vec<String> {
    let object: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(trimmed(line)).ok();
    object.map_or_else(Vec::new, |o| o.into_keys().collect())
}

#[derive(Debug)]
pub(super) struct JsonParser {
    hash_spec: HashSpec,
    /// Number of paths at the end of `paths` that lead to the algorithm's name.
    algorithm_fields: usize,
    /// True if the objects are elements of arrays: those without a hash are skipped.
    is_element: bool,
    /// Paths of the fields to read; the first is that of the hash.
    paths: Vec<Vec<String>>,
    values: Vec<Vec<u8>>,
    /// The current field name, folded; reused for each field to avoid allocations.
    folded_name: String,
}

impl JsonParser {
    pub(super) fn new(digits: HashSpec, field: &str, wanted: &[String]) -> Result<Self> {
        if wanted.len() >= MAX_FIELDS {
            return Err(Error::usage(format!(
                "{} fields are requested from each row; the maximum is {}",
                wanted.len(),
                MAX_FIELDS - 1
            )));
        }
        let path = |name: &str| -> Vec<String> { name.split('.').map(fold).collect() };
        let wanted = wanted.iter().map(|name| path(name));
        let paths: Vec<Vec<String>> = [path(field)].into_iter().chain(wanted).collect();
        Ok(JsonParser {
            hash_spec: digits,
            algorithm_fields: 0,
            is_element: false,
            values: vec![Vec::new(); paths.len()],
            paths,
            folded_name: String::new(),
        })
    }

    /// A parser of the elements that `path` leads to.
    pub(super) fn for_elements(
        digits: HashSpec,
        path: &ArrayPath,
        wanted: &[String],
    ) -> Result<Self> {
        let field = match path.field_in_element.as_str() {
            "" => "value",
            rest => rest,
        };
        let inside = wanted
            .iter()
            .map(|name| path.relative_name(name).to_owned());
        let parser = JsonParser::for_objects(digits, field, inside.collect())?;
        Ok(JsonParser {
            is_element: true,
            ..parser
        })
    }

    /// A parser of objects that may name the algorithm beside the hash.
    pub(super) fn for_objects(
        digits: HashSpec,
        field: &str,
        mut wanted: Vec<String>,
    ) -> Result<Self> {
        let (parent, name) = match field.rsplit_once('.') {
            Some((parent, name)) => (format!("{parent}."), name),
            None => (String::new(), field),
        };
        // A name such as `content` or `value` does not tell the algorithm.
        let tags = match algorithm_from_column_name(name) {
            Some(_) => 0,
            None => ALGORITHM_FIELDS.len(),
        };
        wanted.extend(
            ALGORITHM_FIELDS
                .iter()
                .take(tags)
                .map(|tag| format!("{parent}{tag}")),
        );
        let parser = JsonParser::new(digits, field, &wanted)?;
        Ok(JsonParser {
            algorithm_fields: tags,
            ..parser
        })
    }

    /// Classifies an object after it was read, by the algorithm's name beside its hash. `tags` is
    /// the number of fields that may hold that name.
    fn classify_element(&self, tags: usize) -> Parsed {
        let hash = self.values.first().map_or(&[][..], Vec::as_slice);
        if hash.is_empty() {
            return match self.is_element {
                true => Parsed::Skipped,
                false => parse_cell(hash, self.hash_spec),
            };
        }
        let last = |text: &[u8]| text.rsplit(|b| *b == b'|').next().map(<[u8]>::len);
        let mut tail = self.values.iter().rev().take(tags);
        let tag = tail
            .find(|tag| !tag.is_empty())
            .map_or(&[][..], Vec::as_slice);
        let mut text = hash;
        // MISP's type `filename|sha256` has the value `NAME|HASH`.
        let name = match (tag.contains(&b'|'), last(tag), last(hash)) {
            (true, Some(tag_length), Some(hash_length)) => {
                text = &hash[hash.len() - hash_length..];
                &tag[tag.len() - tag_length..]
            }
            _ => tag,
        };
        match Algorithm::from_tag(name) {
            Some(named) if named != self.hash_spec.algorithm => return Parsed::Other(named),
            None if is_not_file_hash(name) => return Parsed::Skipped,
            _ => {}
        }
        match parse_cell(text, self.hash_spec) {
            Parsed::Rejected(RejectReason::Length) if is_hash(text) => {
                Parsed::Rejected(RejectReason::Algorithm)
            }
            parsed => parsed,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let text = trimmed(line);
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        self.values.iter_mut().for_each(Vec::clear);
        let mut json = serde_json::Deserializer::from_slice(text);
        let object = Object {
            paths: &self.paths,
            values: &mut self.values,
            folded_name: &mut self.folded_name,
            depth: 0,
            open_paths: u64::MAX,
        };
        let read = object.deserialize(&mut json).and_then(|()| json.end());
        match (read, self.values.first()) {
            (Ok(()), Some(hash)) => match self.algorithm_fields {
                0 if !self.is_element => parse_cell(hash, self.hash_spec),
                tags => self.classify_element(tags),
            },
            _ => Parsed::Rejected(RejectReason::Json),
        }
    }

    /// The text of the hash field in the last row.
    pub(super) fn hash_text(&self) -> &[u8] {
        self.values.first().map_or(&[], Vec::as_slice)
    }

    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n + 1).map(Vec::as_slice)
    }
}

/// Visitor of an object: reads the fields of the paths that lead into it.
struct Object<'p> {
    paths: &'p [Vec<String>],
    values: &'p mut [Vec<u8>],
    folded_name: &'p mut String,
    depth: usize,
    /// A bit for each path that leads into this object.
    open_paths: u64,
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
        while map.next_key_seed(Name(self.folded_name))?.is_some() {
            let (mut inside, mut here) = (0u64, 0u64);
            for (n, path) in self.paths.iter().take(MAX_FIELDS).enumerate() {
                let bit = 1u64 << n;
                if self.open_paths & bit == 0 || path.get(self.depth) != Some(self.folded_name) {
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
                    folded_name: &mut *self.folded_name,
                    depth: self.depth + 1,
                    open_paths: inside,
                },
                here,
            ))?;
        }
        Ok(())
    }
}

/// Visitor of a field's name, which folds it.
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

/// Visitor of a field's value, with a bit for each path that ends at it.
struct Field<'p>(Object<'p>, u64);

impl Field<'_> {
    fn store(self, write: impl Fn(&mut Vec<u8>)) {
        let Field(object, here) = self;
        for (n, value) in object.values.iter_mut().take(MAX_FIELDS).enumerate() {
            if here & (1u64 << n) != 0 {
                // If a field occurs twice, the last one wins.
                value.clear();
                write(value);
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if self.1 == 0 && self.0.open_paths == 0 {
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
        self.store(|value| value.extend_from_slice(text.as_bytes()));
        Ok(())
    }

    fn visit_u64<E>(self, n: u64) -> Result<(), E> {
        self.store(|value| write_number(n, value));
        Ok(())
    }

    fn visit_i64<E>(self, n: i64) -> Result<(), E> {
        self.store(|value| write_number(n, value));
        Ok(())
    }

    fn visit_f64<E>(self, n: f64) -> Result<(), E> {
        self.store(|value| write_number(n, value));
        Ok(())
    }

    fn visit_bool<E>(self, is: bool) -> Result<(), E> {
        self.store(|value| value.extend_from_slice(if is { b"true" } else { b"false" }));
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

fn write_number(n: impl fmt::Display, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail.
    let _ = write!(out, "{n}");
}
