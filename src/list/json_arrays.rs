//! A JSON document → a line for each element of one of its arrays.
//!
//! A document may be one line of gigabytes. [`Splitter`] follows its brackets and quotes,
//! and writes each element that a path such as `value[]` leads to as a line of its own,
//! without blanks between its parts; the rest passes by. What an element is, the parser of
//! JSON lines says. Several documents may stand one behind another, as in JSON lines.
//!
//! Memory: a bit of state for each level, and nothing of the document.

use crate::base::error::{Error, ErrorKind, Result};
use crate::list::format::document::{ArrayPath, Step};

/// Levels of a document at most.
const MAX_DEPTH: usize = 128;

/// Bytes of a name that are kept: those looked for are shorter.
const NAME_BYTES: usize = 128;

/// Names of a document's fields that a message has.
const NAMED: usize = 20;

/// An object or array that is open.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// How many steps of the path led here; `None` beside the path.
    behind: Option<usize>,
    /// Of an object, whether a name comes next, and the steps that lead to its value.
    wants_name: bool,
    value: Option<usize>,
}

/// What the next byte is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    /// A text in quotes, which may be a name.
    Text {
        is_name: bool,
        escaped: bool,
    },
    /// A number, or a word such as `null`.
    Word,
}

/// Splits documents. See the [module](self).
#[derive(Debug)]
pub(crate) struct Splitter {
    name: String,
    path: ArrayPath,
    levels: Vec<Level>,
    state: State,
    text: Vec<u8>,
    /// The level at which the element began that is being written.
    element: Option<usize>,
    /// Whether the array was found, and what the document has on the highest level.
    found: bool,
    fields: Vec<String>,
    read: u64,
}

impl Splitter {
    /// One at the beginning of the documents called `name`.
    pub(crate) fn new(name: &str, path: ArrayPath) -> Splitter {
        Splitter {
            name: name.to_owned(),
            path,
            levels: Vec::new(),
            state: State::Between,
            text: Vec::new(),
            element: None,
            found: false,
            fields: Vec::new(),
            read: 0,
        }
    }

    /// Appends the lines that `chunk` gives to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when it is no JSON.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut rest = chunk;
        while let Some(byte) = rest.first() {
            let taken = match self.state {
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
            self.read += taken as u64;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Takes the end of the documents.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] when the last is cut off,
    /// [`ErrorKind::Usage`] when the path leads to no array.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.state == State::Word {
            self.end_of_value(out);
        }
        if !self.levels.is_empty() || self.state != State::Between {
            return Err(self.damaged("it is cut off"));
        }
        if self.found {
            return Ok(());
        }
        let has = match self.fields.is_empty() {
            true => String::new(),
            false => format!("; its fields are {}", self.fields.join(", ")),
        };
        let what = format!("{} has no array at {}{has}", self.name, self.path.text);
        Err(Error::usage(what).hint(
            "name the way to the hashes by --field, with [] behind each array, such as value[].MD5",
        ))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::new(
            ErrorKind::Damaged,
            format!("reading {} ended at byte {} of its JSON: {why}", self.name, self.read),
        )
        .hint(
            "what was sound before is written or in the books; fetch the document again, whole, then run this again",
        )
    }

    /// Reads on in a text; says how many bytes.
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

    /// Takes a part of a text.
    fn part(&mut self, part: &[u8], is_name: bool, out: &mut Vec<u8>) {
        if is_name {
            let room = NAME_BYTES.saturating_sub(self.text.len());
            self.text.extend_from_slice(&part[..part.len().min(room)]);
        }
        self.copy(part, out);
    }

    /// Writes what is part of an element, in one line.
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
                    level.wants_name = byte == b',';
                }
                self.copy(&[byte], out);
            }
            b'"' if in_object.is_some_and(|l| l.wants_name) => {
                self.text.clear();
                self.state = State::Text {
                    is_name: true,
                    escaped: false,
                };
                self.copy(&[byte], out);
            }
            b'}' | b']' => {
                let closed = self.levels.pop();
                if closed.is_none_or(|l| l.is_object != (byte == b'}')) {
                    return Err(self.damaged("a bracket closes what is not open"));
                }
                self.copy(&[byte], out);
                self.end_of_value(out);
            }
            _ => self.begin(byte, out)?,
        }
        Ok(())
    }

    /// Begins a value.
    fn begin(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<()> {
        let behind = match self.levels.last() {
            None => Some(0),
            Some(level) if level.is_object => level.value,
            Some(level) => level.behind.map(|n| n + 1),
        };
        if behind == Some(self.path.steps.len()) && self.element.is_none() {
            self.element = Some(self.levels.len());
            if self.path.rest.is_empty() {
                out.extend_from_slice(b"{\"value\":");
            }
        }
        self.copy(&[byte], out);
        let next = behind.and_then(|n| self.path.steps.get(n));
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
                    (Some(Step::Field(_)), true) | (Some(Step::Each), false)
                );
                self.found |= leads_on && behind.map(|n| n + 1) == Some(self.path.steps.len());
                self.levels.push(Level {
                    is_object,
                    behind: behind.filter(|_| leads_on),
                    wants_name: is_object,
                    value: None,
                });
            }
            _ => self.state = State::Word,
        }
        Ok(())
    }

    /// Takes a name that has ended: whether the path goes on with it.
    fn end_of_name(&mut self) {
        let is_first = self.levels.len() == 1;
        if is_first && self.fields.len() < NAMED {
            let name = String::from_utf8_lossy(&self.text).into_owned();
            if !self.fields.contains(&name) {
                self.fields.push(name);
            }
        }
        let kept = self.text.iter().filter(|b| b.is_ascii_alphanumeric());
        let folded = kept.map(u8::to_ascii_lowercase);
        if let Some(level) = self.levels.last_mut() {
            let step = level.behind.and_then(|n| self.path.steps.get(n));
            let is_next = matches!(step, Some(Step::Field(name)) if folded.eq(name.bytes()));
            level.value = level.behind.map(|n| n + 1).filter(|_| is_next);
        }
    }

    /// Takes the end of a value, which may have been an element.
    fn end_of_value(&mut self, out: &mut Vec<u8>) {
        self.state = State::Between;
        if self.element == Some(self.levels.len()) {
            if self.path.rest.is_empty() {
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
        let path = ArrayPath::of(field).expect("a path");
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
    fn each_element_is_a_line() {
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
    fn what_is_no_such_document_is_an_error() {
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
            ("{\"value\":[1}}", "a bracket"),
            ("]", "a bracket"),
            (&"[".repeat(200), "128 levels"),
        ] {
            let error = error("value[].x", text);
            assert!(format!("{error:#}").contains(why), "{text}: {error}");
            assert_eq!(error.exit_status(), 1, "{text}");
        }
    }

    proptest! {
        /// The same lines come out however the document is cut.
        #[test]
        fn lines_are_the_same_however_the_document_is_cut(at in 0..VIC.len(), more in 0..VIC.len()) {
            let bytes = VIC.as_bytes();
            let (from, to) = (at.min(more), at.max(more));
            let cut = split("value[].MD5", &[&bytes[..from], &bytes[from..to], &bytes[to..]]);
            prop_assert_eq!(cut.expect("split"), split("value[].MD5", &[bytes]).expect("split"));
        }

        /// No bytes break it.
        #[test]
        fn any_bytes_are_something(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = split("value[].MD5", &[&bytes]);
        }
    }
}
