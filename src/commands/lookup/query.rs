//! A line of the input → what is asked for it, and how its answer begins.
//!
//! Every line has an answer, so every line becomes a [`Question`], one that is no
//! hash too: then it is answered already. What an answer says of its line is written
//! here, once, as JSON: a look-up that is taken up compares it with what it wrote before.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::Reason;
use crate::dynamodb::batch_get::ordered_json::put;
use crate::list::format::kind::{Form, Format};
use crate::list::format::layout::Layout;
use crate::list::format::plain::{LineParser, Parsed, content};
use crate::list::format::row_parser::RowParser;
use crate::list::lines::Line;
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::{Normalizer, Unfit};
use std::borrow::Cow;

/// A line of the input, on its way to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// `{"input":…,"hash":…`, and from `split` on what stands after the status.
    head: Box<[u8]>,
    split: usize,
    /// What is asked, or why nothing is.
    pub(super) hash: std::result::Result<Hash, Invalid>,
}

/// Why a line is no hash, or no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// In one word.
    pub(super) reason: Cow<'static, str>,
    /// Whether it is blank, a comment or a header, and not meant to be one.
    pub(super) blank: bool,
}

impl Question {
    /// Memory that it takes, about.
    pub(super) fn size(&self) -> usize {
        self.head.len() + size_of::<Question>()
    }

    /// Appends the whole answer, whose status is `status`; `rest` is the inside of a
    /// JSON object, and may be empty.
    pub(super) fn write(&self, status: &str, rest: &str, out: &mut Vec<u8>) {
        let (before, after) = self.head.split_at(self.split);
        out.extend_from_slice(before);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(status.as_bytes());
        out.push(b'"');
        out.extend_from_slice(after);
        if !rest.is_empty() {
            out.push(b',');
            out.extend_from_slice(rest.as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }

    /// Whether `answer`, a line of JSON, is one to it.
    pub(super) fn is_answered_by(&self, answer: &[u8]) -> bool {
        let (head, rest) = self.head.split_at(self.split);
        let after = |answer: &[u8]| -> Option<bool> {
            let status = answer.strip_prefix(head)?.strip_prefix(b",\"status\":\"")?;
            let end = memchr::memchr(b'"', status)?;
            Some(status[end + 1..].starts_with(rest))
        };
        after(answer).unwrap_or(false)
    }
}

/// Reads lines. See the [module](self).
#[derive(Debug)]
pub(super) struct Questions {
    kind: Kind,
    /// For the normalised path of a line; kept for the next.
    normalized: Vec<u8>,
}

#[derive(Debug)]
enum Kind {
    /// A line that is no bare hash may be one of sha256sum and its like.
    Hashes(LineParser, Box<RowParser>),
    Paths(Normalizer),
}

impl Questions {
    /// For lists of hashes of `algorithm`.
    ///
    /// # Errors
    /// None that is known of: lists of sums have no columns to be missing.
    pub(super) fn of_hashes(algorithm: Algorithm) -> Result<Questions> {
        let layout = Layout {
            format: Format::Sums,
            ..Layout::default()
        };
        let sums = RowParser::new(&layout, &Form::default(), algorithm, &[])?;
        Ok(Questions {
            kind: Kind::Hashes(LineParser::new(algorithm), Box::new(sums)),
            normalized: Vec::new(),
        })
    }

    /// For lists of paths.
    pub(super) fn of_paths(normalizer: Normalizer) -> Questions {
        Questions {
            kind: Kind::Paths(normalizer),
            normalized: Vec::new(),
        }
    }

    /// What `line` asks, which is the first of its list or not.
    ///
    /// # Errors
    /// When it shows that the list, called `name`, is not text of a kind that is read.
    pub(super) fn read(&mut self, line: &Line<'_>, name: &str) -> Result<Question> {
        let first = line.number == 1;
        if first && (line.bytes.starts_with(b"\xFF\xFE") || line.bytes.starts_with(b"\xFE\xFF")) {
            let what = format!("{name} is UTF-16 text, as PowerShell writes it");
            return Err(Error::usage(what)
                .hint("convert it first: iconv -f UTF-16 -t UTF-8 LIST | hashferry lookup - …"));
        }
        let bytes = normalizer::of_line(line.bytes, first);
        let mut head = Vec::with_capacity(bytes.len() + 112);
        head.extend_from_slice(b"{\"input\":");
        put(&mut head, &text_of(bytes, line.is_overlong()));
        head.extend_from_slice(b",\"hash\":");
        let is_path = matches!(self.kind, Kind::Paths(_));
        let hash = match &mut self.kind {
            Kind::Hashes(plain, sums) => hash_of(line, plain, sums),
            Kind::Paths(_) if line.is_overlong() => Err(Invalid::of(Reason::Overlong)),
            Kind::Paths(normalizer) => {
                self.normalized.clear();
                match normalizer.normalize(bytes, &mut self.normalized) {
                    Ok(()) => Ok(normalizer::hash(&self.normalized)),
                    Err(unfit) => Err(unfit.into()),
                }
            }
        };
        match &hash {
            Ok(hash) => {
                head.push(b'"');
                hash.write_hex(Case::Upper, &mut head);
                head.push(b'"');
            }
            Err(_) => head.extend_from_slice(b"null"),
        }
        let split = head.len();
        match &hash {
            Err(invalid) => {
                head.extend_from_slice(b",\"reason\":");
                put(&mut head, &invalid.reason);
            }
            Ok(_) if is_path => {
                head.extend_from_slice(b",\"normalized\":");
                put(&mut head, &String::from_utf8_lossy(&self.normalized));
                if let Kind::Paths(normalizer) = &self.kind {
                    head.extend_from_slice(b",\"rules\":");
                    put(&mut head, normalizer.rules().name());
                }
            }
            Ok(_) => {}
        }
        Ok(Question {
            head: head.into(),
            split,
            hash,
        })
    }
}

impl Invalid {
    fn of(reason: Reason) -> Invalid {
        let named = serde_json::to_value(reason).ok();
        let name = named.and_then(|n| n.as_str().map(str::to_owned));
        Invalid {
            reason: name.map_or("other".into(), Cow::Owned),
            blank: false,
        }
    }

    fn blank(reason: &'static str) -> Invalid {
        Invalid {
            reason: reason.into(),
            blank: true,
        }
    }
}

impl From<Unfit> for Invalid {
    fn from(unfit: Unfit) -> Invalid {
        match unfit {
            Unfit::Empty => Invalid::blank("empty"),
            Unfit::Nul => Invalid::of(Reason::Nul),
            Unfit::Surrogate => Invalid {
                reason: "surrogate".into(),
                blank: false,
            },
            Unfit::Utf8 => Invalid::of(Reason::Utf8),
        }
    }
}

/// The hash of a line, in whatever form it stands there.
fn hash_of(
    line: &Line<'_>,
    plain: &LineParser,
    sums: &mut RowParser,
) -> std::result::Result<Hash, Invalid> {
    let reason = match plain.parse(line) {
        Parsed::Hash(hash) => return Ok(hash),
        Parsed::Skipped | Parsed::Continues => {
            return Err(Invalid::blank(match content(line.bytes) {
                [] => "empty",
                [b'#', ..] => "comment",
                _ => "header",
            }));
        }
        Parsed::Other(_) => Reason::Algorithm,
        Parsed::Rejected(reason) => reason,
    };
    match sums.parse(line) {
        Parsed::Hash(hash) => Ok(hash),
        // What it says is another hash than the one that is looked up.
        Parsed::Rejected(Reason::Algorithm) => Err(Invalid::of(Reason::Algorithm)),
        _ => Err(Invalid::of(reason)),
    }
}

/// A line as text; where it was `cut`, without the half of a character at its end.
fn text_of(bytes: &[u8], cut: bool) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(e) if cut && e.error_len().is_none() => {
            String::from_utf8_lossy(&bytes[..e.valid_up_to()])
        }
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::lines::Framer;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const HEX: &str = "92e792c43c35e96fed3f9566083326fc";

    fn answers(questions: &mut Questions, list: &[u8]) -> Vec<Value> {
        let mut framer = Framer::new();
        let mut all = Vec::new();
        let mut one = |line: &Line<'_>| {
            let question = questions.read(line, "list").expect("text");
            let status = if question.hash.is_ok() {
                "unknown"
            } else {
                "invalid"
            };
            let mut out = Vec::new();
            question.write(status, "", &mut out);
            let text = String::from_utf8(out).expect("UTF-8");
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let answer: Value = serde_json::from_str(&text).expect("JSON");
            assert!(question.is_answered_by(text.as_bytes()));
            let other = text.replacen("\"hash\":", "\"hash\":7", 1);
            assert!(!question.is_answered_by(other.as_bytes()));
            assert!(!question.is_answered_by(b"{\"input\":\"another\",\"hash\":null}\n"));
            all.push(answer);
        };
        let mut lines = framer.push(list);
        while let Some(line) = lines.next() {
            one(&line);
        }
        if let Some(line) = framer.finish() {
            one(&line);
        }
        all
    }

    #[test]
    fn every_line_becomes_an_answer_whatever_is_on_it() {
        let mut md5 = Questions::of_hashes(Algorithm::Md5).expect("a parser");
        let upper = HEX.to_uppercase();
        let list = format!(
            "\u{FEFF}{HEX}\r\n\n# a list\nMD5\n{HEX}  a \"name\"\nMD5 (x) = {HEX}\nSHA1 (x) = {HEX}\nxyz\n{}\n",
            "é".repeat(40_000)
        );
        let mut list = list.into_bytes();
        list.extend(format!("{HEX} *caf\u{E9}").chars().map(|c| c as u8));
        list.extend(b"\ncaf\xE9");
        let got = answers(&mut md5, &list);
        let invalid = |input: &str, reason: &str| json!({"input": input, "hash": null, "status": "invalid", "reason": reason});
        let hash = |input: &str| json!({"input": input, "hash": upper, "status": "unknown"});
        assert_eq!(
            got,
            [
                hash(HEX),
                invalid("", "empty"),
                invalid("# a list", "comment"),
                invalid("MD5", "header"),
                hash(&format!("{HEX}  a \"name\"")),
                hash(&format!("MD5 (x) = {HEX}")),
                invalid(&format!("SHA1 (x) = {HEX}"), "algorithm"),
                invalid("xyz", "length"),
                invalid(&"é".repeat(128), "overlong"),
                hash(&format!("{HEX} *caf\u{FFFD}")),
                invalid("caf\u{FFFD}", "utf8"),
            ]
        );
    }

    #[test]
    fn a_path_is_answered_with_what_was_asked_for_it() {
        let mut paths = Questions::of_paths(Normalizer::default());
        let got = answers(
            &mut paths,
            b"/home/alice/x\r\n\n/a\0b\n/\xED\xA0\x80\n/\xFF",
        );
        assert_eq!(
            got[0],
            json!({"input": "/home/alice/x", "status": "unknown", "normalized": "/home/ubuntu/x", "rules": "v2",
                "hash": normalizer::hash(b"/home/ubuntu/x").to_hex(Case::Upper)})
        );
        let reasons: Vec<_> = got[1..].iter().map(|a| a["reason"].clone()).collect();
        assert_eq!(reasons, ["empty", "nul", "surrogate", "utf8"]);
    }

    #[test]
    fn text_of_utf_16_is_refused() {
        let mut md5 = Questions::of_hashes(Algorithm::Md5).expect("a parser");
        let line = Line {
            bytes: b"\xFF\xFEa\0",
            offset: 0,
            number: 1,
            length: 4,
        };
        let e = md5.read(&line, "list").expect_err("no text");
        assert!(format!("{e:#}").contains("UTF-16"), "{e}");
    }

    proptest! {
        /// As many answers as lines, each on one line, each JSON.
        #[test]
        fn whatever_the_lines_are(list in prop::collection::vec(any::<u8>(), 0..300), paths in any::<bool>()) {
            let mut questions = match paths {
                true => Questions::of_paths(Normalizer::default()),
                false => Questions::of_hashes(Algorithm::Md5).expect("a parser"),
            };
            let mut lines: Vec<_> = list.split(|b| *b == b'\n').collect();
            lines.pop_if(|last| last.is_empty());
            prop_assume!(!list.starts_with(b"\xFF\xFE") && !list.starts_with(b"\xFE\xFF"));
            prop_assert_eq!(answers(&mut questions, &list).len(), lines.len());
        }
    }
}
