//! A JSON document → one line for each element of one of its arrays.
//!
//! A document may be a single line of gigabytes. [`Splitter`] tracks its brackets and quotes.
//! It writes each element that a path such as `value[]` leads to on a separate line, without
//! blanks between tokens, and drops the rest. The parser of JSON lines then parses the
//! elements. The input may hold several documents, as in JSON lines.
//!
//! Memory: a small state for each level, and no part of the document.

use crate::base::error::{Error, ErrorKind, Result};
use crate::list::format::document::{ArrayPath, PathStep};

/// Maximum number of levels in a document.
const MAX_DEPTH: usize = 128;

/// Maximum number of bytes of a name that are kept; names in paths are shorter.
const MAX_NAME_BYTES: usize = 128;

/// Maximum number of field names in a message.
const MAX_REPORTED_FIELDS: usize = 20;

/// An open object or array.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// Number of path steps that lead here. `None` if it is not on the path.
    matched_steps: Option<usize>,
    /// True if an object expects a name next.
    expects_name: bool,
    /// Number of path steps that lead to the value of the last name. `None` if it is not on
    /// the path.
    value_steps: Option<usize>,
}

/// Position of the parser between tokens or inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// A string, which may be a name.
    Text {
        is_name: bool,
        escaped: bool,
    },
    /// A number, or a word such as `null`.
    Word,
}

/// Splitter of documents. See the [module](self).
#[derive(Debug)]
pub(crate) struct Splitter {
    name: String,
    path: ArrayPath,
    levels: Vec<Level>,
    state: State,
    field_name: Vec<u8>,
    /// Level at which the current element began. `None` outside of elements.
    element: Option<usize>,
    /// True if the array was found.
    has_array: bool,
    /// Names of the fields on the top level, for messages.
    fields: Vec<String>,
    bytes_read: u64,
}

impl Splitter {
    /// A splitter at the start of the list `name`.
    pub(crate) fn new(name: &str, path: ArrayPath) -> Splitter {
        Splitter {
            name: name.to_owned(),
            path,
            levels: Vec::new(),
            state: State::Between,
            field_name: Vec::new(),
            element: None,
            has_array: false,
            fields: Vec::new(),
            bytes_read: 0,
        }
    }

    /// Appends the elements in `chunk` to `out`, one per line.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if the brackets do not match or are nested too deeply.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut rest = chunk;
        while let Some(byte) = rest.first() {
            let read = match self.state {
                State::Text { is_name, escaped } => self.text(rest, is_name, escaped, out),
                State::Word
                    if !matches!(byte, b',' | b']' | b'}') && !byte.is_ascii_whitespace() =>
                {
                    self.copy(&rest[..1], out);
                    1
                }
                State::Word => {
                    self.end_of_value(out);
                    0
                }
                State::Between => {
                    self.between(*byte, out)?;
                    1
                }
            };
            self.bytes_read += read as u64;
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Ends the input.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if the last document is cut off.
    /// [`ErrorKind::Usage`] if the path leads to no array.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.state == State::Word {
            self.end_of_value(out);
        }
        if !self.levels.is_empty() || self.state != State::Between {
            return Err(self.damaged("it is cut off"));
        }
        if self.has_array {
            return Ok(());
        }
        let has = match self.fields.is_empty() {
            true => String::new(),
            false => format!("; its fields are {}", self.fields.join(", ")),
        };
        let what = format!("{} has no array at {}{has}", self.name, self.path.array);
        Err(Error::usage(what).with_hint(
            "give the path to the hashes with --field, with [] after each array, such as value[].MD5",
        ))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!("reading {} ended at byte {} of its JSON: {why}", self.name, self.bytes_read),
        )
        .with_hint(
            "every line before it is accounted for; fetch the complete document again, then run this again",
        )
    }

    /// Continues a string; returns the number of bytes read.
    fn text(&mut self, rest: &[u8], is_name: bool, escaped: bool, out: &mut Vec<u8>) -> usize {
        if escaped {
            self.part(&rest[..1], is_name, out);
            self.state = State::Text {
                is_name,
                escaped: false,
            };
            return 1;
        }
        let Some(end) = memchr::memchr2(b'"', b'\\', rest) else {
            self.part(rest, is_name, out);
            return rest.len();
        };
        self.part(&rest[..end], is_name, out);
        self.copy(&rest[end..=end], out);
        if rest[end] == b'\\' {
            self.state = State::Text {
                is_name,
                escaped: true,
            };
        } else if is_name {
            self.state = State::Between;
            self.end_of_name();
        } else {
            self.end_of_value(out);
        }
        end + 1
    }

    /// Processes a part of a string.
    fn part(&mut self, part: &[u8], is_name: bool, out: &mut Vec<u8>) {
        if is_name {
            let room = MAX_NAME_BYTES.saturating_sub(self.field_name.len());
            self.field_name
                .extend_from_slice(&part[..part.len().min(room)]);
        }
        self.copy(part, out);
    }

    /// Writes a part of an element, without line feeds. Does nothing outside of elements.
    fn copy(&self, part: &[u8], out: &mut Vec<u8>) {
        if self.element.is_none() {
            return;
        }
        let from = out.len();
        out.extend_from_slice(part);
        let ends = out[from..].iter_mut().filter(|b| **b == b'\n');
        ends.for_each(|b| *b = b' ');
    }

    fn between(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<()> {
        let in_object = self.levels.last_mut().filter(|l| l.is_object);
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b':' | b',' => {
                if let Some(level) = in_object {
                    level.expects_name = byte == b',';
                }
                self.copy(&[byte], out);
            }
            b'"' if in_object.is_some_and(|l| l.expects_name) => {
                self.field_name.clear();
                self.state = State::Text {
                    is_name: true,
                    escaped: false,
                };
                self.copy(&[byte], out);
            }
            b'}' | b']' => {
                let closed = self.levels.pop();
                if closed.is_none_or(|l| l.is_object != (byte == b'}')) {
                    return Err(self.damaged("a closing bracket does not match"));
                }
                self.copy(&[byte], out);
                self.end_of_value(out);
            }
            _ => self.begin(byte, out)?,
        }
        Ok(())
    }

    /// Starts a value.
    fn begin(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<()> {
        let steps = match self.levels.last() {
            None => Some(0),
            Some(level) if level.is_object => level.value_steps,
            Some(level) => level.matched_steps.map(|n| n + 1),
        };
        if steps == Some(self.path.steps.len()) && self.element.is_none() {
            self.element = Some(self.levels.len());
            if self.path.field_in_element.is_empty() {
                out.extend_from_slice(b"{\"value\":");
            }
        }
        self.copy(&[byte], out);
        let next = steps.and_then(|n| self.path.steps.get(n));
        match byte {
            b'"' => {
                self.state = State::Text {
                    is_name: false,
                    escaped: false,
                }
            }
            b'{' | b'[' => {
                if self.levels.len() == MAX_DEPTH {
                    return Err(self.damaged("it has more than 128 levels"));
                }
                let is_object = byte == b'{';
                let leads_on = matches!(
                    (next, is_object),
                    (Some(PathStep::Field(_)), true) | (Some(PathStep::EachElement), false)
                );
                self.has_array |= leads_on && steps.map(|n| n + 1) == Some(self.path.steps.len());
                self.levels.push(Level {
                    is_object,
                    matched_steps: steps.filter(|_| leads_on),
                    expects_name: is_object,
                    value_steps: None,
                });
            }
            _ => self.state = State::Word,
        }
        Ok(())
    }

    /// Processes a finished name: checks whether the path continues with it.
    fn end_of_name(&mut self) {
        let is_first = self.levels.len() == 1;
        if is_first && self.fields.len() < MAX_REPORTED_FIELDS {
            let name = String::from_utf8_lossy(&self.field_name).into_owned();
            if !self.fields.contains(&name) {
                self.fields.push(name);
            }
        }
        let kept = self.field_name.iter().filter(|b| b.is_ascii_alphanumeric());
        let folded = kept.map(u8::to_ascii_lowercase);
        if let Some(level) = self.levels.last_mut() {
            let step = level.matched_steps.and_then(|n| self.path.steps.get(n));
            let is_next = matches!(step, Some(PathStep::Field(name)) if folded.eq(name.bytes()));
            level.value_steps = level.matched_steps.map(|n| n + 1).filter(|_| is_next);
        }
    }

    /// Processes the end of a value, which may be an element.
    fn end_of_value(&mut self, out: &mut Vec<u8>) {
        self.state = State::Between;
        if self.element == Some(self.levels.len()) {
            if self.path.field_in_element.is_empty() {
                out.push(b'}');
            }
            out.push(b'\n');
            self.element = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(field: &str, chunks: &[&[u8]]) -> Result<String> {
        let path = ArrayPath::parse(field).expect("a path");
        let mut splitter = Splitter::new("list", path);
        let mut out = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, &mut out)?;
        }
        splitter.finish(&mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    const VIC: &str = "{\"@odata.context\": \"http://x/\\\"]}\", \"other\": [{\"MD5\": \"no\"}],\n\
        \"value\": [\n  {\"MD5\": \"a\", \"n\": [1, {\"x\": null}]},\n  {\"MD5\": \"b]\\\"}\"}, 7, \"t\", []\n], \"z\": {\"value\": [1]}}\n";

    #[test]
    fn each_element_becomes_a_line() {
        let lines = "{\"MD5\":\"a\",\"n\":[1,{\"x\":null}]}\n{\"MD5\":\"b]\\\"}\"}\n7\n\"t\"\n[]\n";
        assert_eq!(
            split("value[].MD5", &[VIC.as_bytes()]).expect("split"),
            lines
        );
        let nested = r#"{"c":[{"h":[{"k":1},{"k":2}]},{"x":3},{"h":[{"k":4}]}]}"#;
        let lines = "{\"k\":1}\n{\"k\":2}\n{\"k\":4}\n";
        assert_eq!(
            split("c[].h[].k", &[nested.as_bytes()]).expect("split"),
            lines
        );
        let rows = "{\"h\":[\"a\",\"b\"]}\n{\"h\":[\"c\"]}\n";
        let lines = "{\"value\":\"a\"}\n{\"value\":\"b\"}\n{\"value\":\"c\"}\n";
        assert_eq!(split("h[]", &[rows.as_bytes()]).expect("split"), lines);
        assert_eq!(
            split("[].x", &[b"[{\"x\":1},\n{\"x\":2}]"]).expect("split"),
            "{\"x\":1}\n{\"x\":2}\n"
        );
        assert_eq!(split("value[].x", &[b"{\"value\":[]}"]).expect("split"), "");
    }

    #[test]
    fn a_damaged_document_or_a_missing_array_is_an_error() {
        let error = |field: &str, text: &str| split(field, &[text.as_bytes()]).expect_err(text);
        let missing = error("values[].MD5", VIC);
        assert_eq!(missing.exit_status(), 2);
        for part in ["no array at values[]", "@odata.context, other, value, z"] {
            assert!(format!("{missing:#}").contains(part), "{missing}");
        }
        assert_eq!(error("value[].x", "{\"value\":{}}").exit_status(), 2);
        for (text, why) in [
            ("{\"value\":[{\"x\":1}", "cut off"),
            ("{\"value\":[\"x", "cut off"),
            ("{\"value\":[1}}", "a closing bracket"),
            ("]", "a closing bracket"),
            (&"[".repeat(200), "128 levels"),
        ] {
            let error = error("value[].x", text);
            assert!(format!("{error:#}").contains(why), "{text}: {error}");
            assert_eq!(error.exit_status(), 1, "{text}");
        }
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_change_the_lines(first in 0..VIC.len(), second in 0..VIC.len()) {
            let bytes = VIC.as_bytes();
            let (from, to) = (first.min(second), first.max(second));
            let cut = split("value[].MD5", &[&bytes[..from], &bytes[from..to], &bytes[to..]]);
            prop_assert_eq!(cut.expect("split"), split("value[].MD5", &[bytes]).expect("split"));
        }

        #[test]
        fn any_bytes_split_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = split("value[].MD5", &[&bytes]);
        }
    }
}
