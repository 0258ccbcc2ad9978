//! JSON lines: an object a line, one of whose fields holds the hash.
//!
//! Only the fields that are wanted are taken out; no map is built. A field inside
//! another is named with a point: `hashes.sha256`. Names are compared as those of
//! algorithms are: `SHA-256` is `sha256`.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, fold};
use crate::base::record::Reason;
use crate::list::format::cell::{algorithm_named, in_column, is_hash};
use crate::list::format::digest::Digest;
use crate::list::format::document::ArrayPath;
use crate::list::format::plain::{Parsed, content};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

/// Fields that can be taken: a bit of a word for each.
const MAX_FIELDS: usize = 64;

/// Fields beside a hash that may name its algorithm: CycloneDX's, SPDX's, MISP's.
const TAGS: [&str; 3] = ["type", "algorithm", "alg"];

/// Whether `tag` names hashes that are as long as others and are not of files.
fn is_of_no_file(tag: &[u8]) -> bool {
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

/// Whether `text`, without blanks around it, begins as JSON does: an object, or an array
/// of objects, texts or arrays. `[section]` does not.
pub(super) fn begins(text: &[u8]) -> bool {
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

/// Whether `text` is an object by itself.
pub(super) fn is_object(text: &[u8]) -> bool {
    text.first() == Some(&b'{') && serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Checks that the first line of the list called `name` is an object by itself.
pub(super) fn check(name: &str, line: &[u8]) -> Result<()> {
    match is_object(line) {
        true => Ok(()),
        false => Err(refused(name)),
    }
}

/// The list called `name` is JSON of another form.
pub(super) fn refused(name: &str) -> Error {
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
        "{name} is JSON, but not an object a line: its first line is no object by itself"
    ))
    .hint(format!(
        "make a line of each first: jq -c '.[]'{file} | hashferry ingest - … (an array; of an object, name \
         what holds them, as .value[] or .list[]; with -r, texts become a plain list)"
    ))
}

/// The names of an object's fields.
pub(super) fn fields(line: &[u8]) -> Vec<String> {
    let object: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(content(line)).ok();
    object.map_or_else(Vec::new, |o| o.into_keys().collect())
}

#[derive(Debug)]
pub(super) struct JsonParser {
    digits: Digest,
    /// Number of paths that stand last, of fields that name the algorithm.
    tags: usize,
    /// Whether the objects are elements of arrays, some of them without a hash.
    is_element: bool,
    /// Paths of the fields that are taken: that of the hash first.
    paths: Vec<Vec<String>>,
    values: Vec<Vec<u8>>,
    /// A name, folded: made anew for each, without an allocation.
    folded: String,
}

impl JsonParser {
    pub(super) fn new(digits: Digest, field: &str, wanted: &[String]) -> Result<Self> {
        if wanted.len() >= MAX_FIELDS {
            return Err(Error::usage(format!(
                "{} fields are wanted of each row, and {} can be taken",
                wanted.len(),
                MAX_FIELDS - 1
            )));
        }
        let path = |name: &str| -> Vec<String> { name.split('.').map(fold).collect() };
        let wanted = wanted.iter().map(|name| path(name));
        let paths: Vec<Vec<String>> = [path(field)].into_iter().chain(wanted).collect();
        Ok(JsonParser {
            digits,
            tags: 0,
            is_element: false,
            values: vec![Vec::new(); paths.len()],
            paths,
            folded: String::new(),
        })
    }

    /// One of the elements that `path` leads to.
    pub(super) fn of_elements(digits: Digest, path: &ArrayPath, wanted: &[String]) -> Result<Self> {
        let field = match path.rest.as_str() {
            "" => "value",
            rest => rest,
        };
        let inside = wanted.iter().map(|name| path.inside(name).to_owned());
        let parser = JsonParser::tagged(digits, field, inside.collect())?;
        Ok(JsonParser {
            is_element: true,
            ..parser
        })
    }

    /// One of objects, which may name the algorithm beside the hash.
    pub(super) fn tagged(digits: Digest, field: &str, mut wanted: Vec<String>) -> Result<Self> {
        let (before, own) = match field.rsplit_once('.') {
            Some((before, own)) => (format!("{before}."), own),
            None => (String::new(), field),
        };
        // A name such as `content` or `value` says nothing of the algorithm.
        let tags = match algorithm_named(own) {
            Some(_) => 0,
            None => TAGS.len(),
        };
        wanted.extend(TAGS.iter().take(tags).map(|tag| format!("{before}{tag}")));
        let parser = JsonParser::new(digits, field, &wanted)?;
        Ok(JsonParser { tags, ..parser })
    }

    /// What an element is that was read.
    fn element(&self, tags: usize) -> Parsed {
        let hash = self.values.first().map_or(&[][..], Vec::as_slice);
        if hash.is_empty() {
            return match self.is_element {
                true => Parsed::Skipped,
                false => in_column(hash, self.digits),
            };
        }
        let last = |text: &[u8]| text.rsplit(|b| *b == b'|').next().map(<[u8]>::len);
        let mut tail = self.values.iter().rev().take(tags);
        let tag = tail
            .find(|tag| !tag.is_empty())
            .map_or(&[][..], Vec::as_slice);
        let mut text = hash;
        // MISP's `filename|sha256`.
        let name = match (tag.contains(&b'|'), last(tag), last(hash)) {
            (true, Some(of_tag), Some(of_hash)) => {
                text = &hash[hash.len() - of_hash..];
                &tag[tag.len() - of_tag..]
            }
            _ => tag,
        };
        match Algorithm::from_tag(name) {
            Some(named) if named != self.digits.algorithm => return Parsed::Other(named),
            None if is_of_no_file(name) => return Parsed::Skipped,
            _ => {}
        }
        match in_column(text, self.digits) {
            Parsed::Rejected(Reason::Length) if is_hash(text) => {
                Parsed::Rejected(Reason::Algorithm)
            }
            parsed => parsed,
        }
    }

    pub(super) fn parse(&mut self, line: &[u8]) -> Parsed {
        let text = content(line);
        if text.is_empty() || text[0] == b'#' {
            return Parsed::Skipped;
        }
        self.values.iter_mut().for_each(Vec::clear);
        let mut json = serde_json::Deserializer::from_slice(text);
        let object = Object {
            paths: &self.paths,
            values: &mut self.values,
            folded: &mut self.folded,
            depth: 0,
            open: u64::MAX,
        };
        let read = object.deserialize(&mut json).and_then(|()| json.end());
        match (read, self.values.first()) {
            (Ok(()), Some(hash)) => match self.tags {
                0 if !self.is_element => in_column(hash, self.digits),
                tags => self.element(tags),
            },
            _ => Parsed::Rejected(Reason::Json),
        }
    }

    /// The text of the hash's field in the row parsed last.
    pub(super) fn hash_text(&self) -> &[u8] {
        self.values.first().map_or(&[], Vec::as_slice)
    }

    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
        self.values.get(n + 1).map(Vec::as_slice)
    }
}

/// An object, of which the fields are taken whose paths are open: they have led here.
struct Object<'p> {
    paths: &'p [Vec<String>],
    values: &'p mut [Vec<u8>],
    folded: &'p mut String,
    depth: usize,
    /// A bit for each path.
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
            for (n, path) in self.paths.iter().take(MAX_FIELDS).enumerate() {
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
        for (n, value) in object.values.iter_mut().take(MAX_FIELDS).enumerate() {
            if here & (1u64 << n) != 0 {
                // Of a field that comes twice, the last counts.
                value.clear();
                write(value);
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
        self.take(|value| show(n, value));
        Ok(())
    }

    fn visit_i64<E>(self, n: i64) -> Result<(), E> {
        self.take(|value| show(n, value));
        Ok(())
    }

    fn visit_f64<E>(self, n: f64) -> Result<(), E> {
        self.take(|value| show(n, value));
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

fn show(n: impl fmt::Display, out: &mut Vec<u8>) {
    // Into memory: it cannot fail.
    let _ = write!(out, "{n}");
}
