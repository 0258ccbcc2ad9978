//! Query of a line: the hash to look up, and the beginning of the line's answer.
//!
//! Every line has an answer, so every line becomes a [`Query`]. A line that is not a hash
//! has its answer already. This module writes the part of the answer that describes the line,
//! as JSON. A look-up that resumes compares this part with the previous answers.

use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, Hash};
use crate::base::record::RejectReason;
use crate::dynamodb::batch_get::ordered_json::write_string;
use crate::list::format::kind::{Format, ListOptions};
use crate::list::format::layout::Layout;
use crate::list::format::plain::{LineParser, Parsed, trimmed};
use crate::list::format::row_parser::RowParser;
use crate::list::lines::Line;
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::{InvalidPath, Normalizer};
use std::borrow::Cow;

/// A line of the input without its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// `{"input":…,"hash":…`, and from `split` on the text after the status.
    head: Box<[u8]>,
    split: usize,
    /// The hash to look up, or the reason why the line has none.
    pub(super) hash: std::result::Result<Hash, Invalid>,
}

/// Reason why a line is not a hash, or not a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// One word, as written in the answer.
    pub(super) reason: Cow<'static, str>,
    /// True if the line is blank, a comment or a header.
    pub(super) is_blank: bool,
}

impl Query {
    /// Approximate memory in bytes.
    pub(super) fn size(&self) -> usize {
        self.head.len() + size_of::<Query>()
    }

    /// Appends the whole answer with `status` to `out`. `rest` has further fields as JSON,
    /// without the braces of the object, and may be empty.
    pub(super) fn write_answer(&self, status: &str, rest: &str, out: &mut Vec<u8>) {
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

    /// True if `answer`, a line of JSON, is an answer to this query.
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

/// Parser of lines into queries. See the [module](self).
#[derive(Debug)]
pub(super) struct QueryParser {
    kind: InputKind,
    /// Buffer for the normalised path of a line.
    normalized: Vec<u8>,
}

#[derive(Debug)]
enum InputKind {
    /// Plain hashes, and lines of sha256sum and similar tools.
    Hashes(LineParser, Box<RowParser>),
    Paths(Normalizer),
}

impl QueryParser {
    /// A parser for lists of hashes of `algorithm`.
    ///
    /// # Errors
    /// In practice none: lists of sums have no columns that could be missing.
    pub(super) fn for_hashes(algorithm: Algorithm) -> Result<QueryParser> {
        let layout = Layout {
            format: Format::Sums,
            ..Layout::default()
        };
        let sums = RowParser::new(&layout, &ListOptions::default(), algorithm, &[])?;
        Ok(QueryParser {
            kind: InputKind::Hashes(LineParser::new(algorithm), Box::new(sums)),
            normalized: Vec::new(),
        })
    }

    /// A parser for lists of paths.
    pub(super) fn for_paths(normalizer: Normalizer) -> QueryParser {
        QueryParser {
            kind: InputKind::Paths(normalizer),
            normalized: Vec::new(),
        }
    }

    /// The query of `line`.
    ///
    /// # Errors
    /// If the list, called `name`, is UTF-16 text.
    pub(super) fn parse(&mut self, line: &Line<'_>, name: &str) -> Result<Query> {
        let first = line.number == 1;
        if first && (line.bytes.starts_with(b"\xFF\xFE") || line.bytes.starts_with(b"\xFE\xFF")) {
            let problem = format!("{name} is UTF-16 text, as PowerShell writes it");
            return Err(Error::usage(problem).with_hint(
                "convert it first: iconv -f UTF-16 -t UTF-8 LIST | hashferry lookup - …",
            ));
        }
        let bytes = normalizer::path_from_line(line.bytes, first);
        let mut head = Vec::with_capacity(bytes.len() + 112);
        head.extend_from_slice(b"{\"input\":");
        write_string(&mut head, &lossy_text(bytes, line.is_overlong()));
        head.extend_from_slice(b",\"hash\":");
        let is_path = matches!(self.kind, InputKind::Paths(_));
        let hash = match &mut self.kind {
            InputKind::Hashes(plain, sums) => parse_hash(line, plain, sums),
            InputKind::Paths(_) if line.is_overlong() => {
                Err(Invalid::from_reason(RejectReason::Overlong))
            }
            InputKind::Paths(normalizer) => {
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
                write_string(&mut head, &invalid.reason);
            }
            Ok(_) if is_path => {
                head.extend_from_slice(b",\"normalized\":");
                write_string(&mut head, &String::from_utf8_lossy(&self.normalized));
                if let InputKind::Paths(normalizer) = &self.kind {
                    head.extend_from_slice(b",\"rules\":");
                    write_string(&mut head, normalizer.rules().name());
                }
            }
            Ok(_) => {}
        }
        Ok(Query {
            head: head.into(),
            split,
            hash,
        })
    }
}

impl Invalid {
    fn from_reason(reason: RejectReason) -> Invalid {
        let named = serde_json::to_value(reason).ok();
        let name = named.and_then(|n| n.as_str().map(str::to_owned));
        Invalid {
            reason: name.map_or("other".into(), Cow::Owned),
            is_blank: false,
        }
    }

    fn new_blank(reason: &'static str) -> Invalid {
        Invalid {
            reason: reason.into(),
            is_blank: true,
        }
    }
}

impl From<InvalidPath> for Invalid {
    fn from(unfit: InvalidPath) -> Invalid {
        match unfit {
            InvalidPath::Empty => Invalid::new_blank("empty"),
            InvalidPath::Nul => Invalid::from_reason(RejectReason::Nul),
            InvalidPath::Surrogate => Invalid {
                reason: "surrogate".into(),
                is_blank: false,
            },
            InvalidPath::Utf8 => Invalid::from_reason(RejectReason::Utf8),
        }
    }
}

/// Parses the hash of a line: plain, or in a line of sums.
fn parse_hash(
    line: &Line<'_>,
    plain: &LineParser,
    sums: &mut RowParser,
) -> std::result::Result<Hash, Invalid> {
    let reason = match plain.parse(line) {
        Parsed::Hash(hash) => return Ok(hash),
        Parsed::Skipped | Parsed::Continues => {
            return Err(Invalid::new_blank(match trimmed(line.bytes) {
                [] => "empty",
                [b'#', ..] => "comment",
                _ => "header",
            }));
        }
        Parsed::Other(_) => RejectReason::Algorithm,
        Parsed::Rejected(reason) => reason,
    };
    match sums.parse(line) {
        Parsed::Hash(hash) => Ok(hash),
        // The line has a hash of another algorithm.
        Parsed::Rejected(RejectReason::Algorithm) => {
            Err(Invalid::from_reason(RejectReason::Algorithm))
        }
        _ => Err(Invalid::from_reason(reason)),
    }
}

/// A line as text. If it is `truncated`, half a character at its end is removed.
fn lossy_text(bytes: &[u8], truncated: bool) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(e) if truncated && e.error_len().is_none() => {
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

    fn answers(questions: &mut QueryParser, list: &[u8]) -> Vec<Value> {
        let mut framer = Framer::new();
        let mut all = Vec::new();
        let mut one = |line: &Line<'_>| {
            let question = questions.parse(line, "list").expect("text");
            let status = if question.hash.is_ok() {
                "unknown"
            } else {
                "invalid"
            };
            let mut out = Vec::new();
            question.write_answer(status, "", &mut out);
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
    fn every_line_has_an_answer() {
        let mut md5 = QueryParser::for_hashes(Algorithm::Md5).expect("a parser");
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
    fn the_answer_to_a_path_has_its_normalised_path_and_hash() {
        let mut paths = QueryParser::for_paths(Normalizer::default());
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
    fn utf_16_text_is_an_error() {
        let mut md5 = QueryParser::for_hashes(Algorithm::Md5).expect("a parser");
        let line = Line {
            bytes: b"\xFF\xFEa\0",
            offset: 0,
            number: 1,
            length: 4,
        };
        let e = md5.parse(&line, "list").expect_err("no text");
        assert!(format!("{e:#}").contains("UTF-16"), "{e}");
    }

    proptest! {
        /// Any bytes have as many answers as lines, each one line of JSON.
        #[test]
        fn any_list_has_one_answer_a_line(list in prop::collection::vec(any::<u8>(), 0..300), paths in any::<bool>()) {
            let mut questions = match paths {
                true => QueryParser::for_paths(Normalizer::default()),
                false => QueryParser::for_hashes(Algorithm::Md5).expect("a parser"),
            };
            let mut lines: Vec<_> = list.split(|b| *b == b'\n').collect();
            lines.pop_if(|last| last.is_empty());
            prop_assume!(!list.starts_with(b"\xFF\xFE") && !list.starts_with(b"\xFE\xFF"));
            prop_assert_eq!(answers(&mut questions, &list).len(), lines.len());
        }
    }
}
