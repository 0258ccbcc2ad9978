//! How a text is written, where it is not UTF-8 in lines that line feeds end: UTF-16, as
//! PowerShell writes it, or with NULs as ends of lines, as `sha256sum -z` does.

use crate::list::detect::PEEK_BYTES;
use crate::list::format::first_hash::is_row_of_hash;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Pairs of bytes that tell whether a text without a byte order mark is UTF-16.
const PAIRS_LOOKED_AT: usize = 256;

/// Fewest of them.
const PAIRS_NEEDED: usize = 4;

/// A way of writing text that is rewritten as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writing {
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// NULs end the lines. A line feed inside one is part of a name, and comes as a NUL.
    NulEnded,
}

/// What the first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Too few bytes to say.
    TooFew,
    /// A text that is written so.
    Is(Writing),
    /// None of these.
    Plain,
}

impl Writing {
    /// What `head` shows, the beginning of a text; all that is looked at when `whole`.
    pub(crate) fn shown(head: &[u8], whole: bool) -> Shown {
        let whole = whole || head.len() >= PEEK_BYTES;
        match head {
            // With zeros behind it that is UTF-32.
            [0xFF, 0xFE, 0, 0, ..] => return Shown::Plain,
            [0xFF, 0xFE, _, _, ..] => return Shown::Is(Writing::Utf16Le),
            [0xFE, 0xFF, ..] => return Shown::Is(Writing::Utf16Be),
            [] | [_] | [0xFF, 0xFE, ..] if !whole => return Shown::TooFew,
            [0xFF, 0xFE, ..] => return Shown::Is(Writing::Utf16Le),
            [a, b, ..] if (*a == 0) != (*b == 0) => {
                return Writing::shown_by_pairs(head, *b == 0, whole);
            }
            _ => {}
        }
        let end = head.iter().position(|b| matches!(b, 0 | b'\n'));
        match end.map(|end| (head[end], &head[..end])) {
            Some((0, row)) if is_row_of_hash(row) => Shown::Is(Writing::NulEnded),
            None if !whole => Shown::TooFew,
            _ => Shown::Plain,
        }
    }

    /// UTF-16 without a byte order mark: most characters of a list are ASCII, so every
    /// other byte is a NUL.
    fn shown_by_pairs(head: &[u8], is_le: bool, whole: bool) -> Shown {
        let pairs = head.chunks_exact(2).take(PAIRS_LOOKED_AT);
        let high = |pair: &[u8]| pair[usize::from(is_le)] == 0;
        let low = |pair: &[u8]| pair[usize::from(!is_le)] == 0;
        let count = pairs.len();
        if count < PAIRS_NEEDED && !whole {
            return Shown::TooFew;
        }
        let ascii = pairs.clone().filter(|pair| high(pair)).count();
        let nuls = pairs.filter(|pair| low(pair)).count();
        match (nuls == 0 && ascii * 2 > count, is_le) {
            (true, true) => Shown::Is(Writing::Utf16Le),
            (true, false) => Shown::Is(Writing::Utf16Be),
            (false, _) => Shown::Plain,
        }
    }
}

impl fmt::Display for Writing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Writing::Utf16Le | Writing::Utf16Be => "UTF-16 text, as PowerShell writes it",
            Writing::NulEnded => "a list whose lines end in NULs",
        })
    }
}

/// Rewrites a text chunk by chunk.
#[derive(Debug)]
pub(crate) struct Rewriter {
    writing: Writing,
    /// The first byte of a pair whose second has not come yet.
    half: Option<u8>,
    /// The first of two surrogates.
    high: Option<u16>,
}

impl Rewriter {
    /// One at the beginning of a text.
    pub(crate) fn new(writing: Writing) -> Rewriter {
        Rewriter {
            writing,
            half: None,
            high: None,
        }
    }

    /// Appends what `chunk` says to `out`.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        match self.writing {
            Writing::NulEnded => out.extend(chunk.iter().map(|b| match b {
                0 => b'\n',
                b'\n' => 0,
                other => *other,
            })),
            Writing::Utf16Le | Writing::Utf16Be => {
                for byte in chunk {
                    match self.half.take() {
                        None => self.half = Some(*byte),
                        Some(first) => self.unit([first, *byte], out),
                    }
                }
            }
        }
    }

    /// Appends what is left at the end of the text.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let left = self.half.take().is_some() | self.high.take().is_some();
        if left {
            put(char::REPLACEMENT_CHARACTER, out);
        }
    }

    fn unit(&mut self, pair: [u8; 2], out: &mut Vec<u8>) {
        let unit = match self.writing {
            Writing::Utf16Be => u16::from_be_bytes(pair),
            _ => u16::from_le_bytes(pair),
        };
        if let Ok(ascii @ 0..0x80) = u8::try_from(unit)
            && self.high.is_none()
        {
            return out.push(ascii);
        }
        let high = self.high.take();
        if (0xD800..0xDC00).contains(&unit) {
            self.high = Some(unit);
            if high.is_some() {
                put(char::REPLACEMENT_CHARACTER, out);
            }
            return;
        }
        for decoded in char::decode_utf16(high.into_iter().chain([unit])) {
            put(decoded.unwrap_or(char::REPLACEMENT_CHARACTER), out);
        }
    }
}

fn put(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MD5: &str = "92e792c43c35e96fed3f9566083326fc";

    fn le(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn be(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    fn rewritten(writing: Writing, chunks: &[&[u8]]) -> String {
        let mut rewriter = Rewriter::new(writing);
        let mut out = Vec::new();
        chunks.iter().for_each(|c| rewriter.push(c, &mut out));
        rewriter.finish(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn text_shows_how_it_is_written() {
        let text = format!("{MD5}  caf\u{E9}\r\n");
        let marked = format!("\u{FEFF}{text}");
        for (head, shown) in [
            (le(&text), Shown::Is(Writing::Utf16Le)),
            (be(&text), Shown::Is(Writing::Utf16Be)),
            (le(&marked), Shown::Is(Writing::Utf16Le)),
            (be(&marked), Shown::Is(Writing::Utf16Be)),
            (format!("{MD5}  a\nb\0").into(), Shown::Plain),
            (
                format!("{MD5}  a\0{MD5}").into(),
                Shown::Is(Writing::NulEnded),
            ),
            (format!("{MD5}\0").into(), Shown::Is(Writing::NulEnded)),
            (text.into_bytes(), Shown::Plain),
            (b"SQLite format 3\0".to_vec(), Shown::Plain),
            (b"\x7FELF\x02\x01\x01\0\0\0\0\0".to_vec(), Shown::Plain),
            (b"a\0b\0\0\0\0\0\0\0".to_vec(), Shown::Plain),
            (b"\xFF\xFE\0\0a\0\0\0".to_vec(), Shown::Plain),
            (Vec::new(), Shown::Plain),
            (b"\xFF\xFE".to_vec(), Shown::Is(Writing::Utf16Le)),
        ] {
            assert_eq!(Writing::shown(&head, true), shown, "{head:?}");
        }
        // What has not come yet decides nothing.
        for head in [&b""[..], b"a", b"\xFF", b"\xFF\xFE", b"a\0b", b"abc", b"\0"] {
            assert_eq!(Writing::shown(head, false), Shown::TooFew, "{head:?}");
        }
    }

    #[test]
    fn nuls_and_line_feeds_change_places() {
        assert_eq!(rewritten(Writing::NulEnded, &[b"a  b\nc\0d"]), "a  b\0c\nd");
    }

    #[test]
    fn what_is_no_utf_16_is_replaced() {
        let lone = [0x41, 0, 0x00, 0xD8, 0x42, 0];
        assert_eq!(rewritten(Writing::Utf16Le, &[&lone]), "A\u{FFFD}B");
        assert_eq!(
            rewritten(Writing::Utf16Le, &[&[0x41, 0, 0x42]]),
            "A\u{FFFD}"
        );
        let twice = [0x00, 0xD8, 0x00, 0xD8, 0x00, 0xDC];
        assert_eq!(rewritten(Writing::Utf16Le, &[&twice]), "\u{FFFD}\u{10000}");
    }

    proptest! {
        /// The same text comes out however the input is cut.
        #[test]
        fn utf_16_is_rewritten_however_it_is_cut(text in "\\PC{0,40}", at in 0usize..80) {
            for (writing, bytes) in [(Writing::Utf16Le, le(&text)), (Writing::Utf16Be, be(&text))] {
                let (first, second) = bytes.split_at(at.min(bytes.len()));
                prop_assert_eq!(&rewritten(writing, &[first, second]), &text);
            }
        }
    }
}
