//! Text encodings other than UTF-8 lines: UTF-16, as PowerShell writes it, and lines that
//! end in NULs, as `sha256sum -z` prints them.

use crate::list::detect::PEEK_BYTES;
use crate::list::format::first_hash::is_hash_row;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Pairs of bytes that detection samples in a text without a byte order mark.
const PAIRS_SAMPLED: usize = 256;

/// Minimum number of pairs that detection needs, unless the text is shorter.
const MIN_PAIRS: usize = 4;

/// A text encoding that is converted to UTF-8 lines while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextEncoding {
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// NULs end the lines. A line feed is part of a name, and is converted to a NUL.
    NulEnded,
}

/// Result of the detection of a text encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DetectedEncoding {
    /// Detection needs more bytes.
    TooFewBytes,
    Encoded(TextEncoding),
    /// The text needs no conversion.
    Plain,
}

impl TextEncoding {
    /// Detects the encoding of a text that starts with `head`; `whole` says that `head` is
    /// all of it.
    pub(crate) fn detect(head: &[u8], whole: bool) -> DetectedEncoding {
        let whole = whole || head.len() >= PEEK_BYTES;
        match head {
            // UTF-32.
            [0xFF, 0xFE, 0, 0, ..] => return DetectedEncoding::Plain,
            [0xFF, 0xFE, _, _, ..] => return DetectedEncoding::Encoded(TextEncoding::Utf16Le),
            [0xFE, 0xFF, ..] => return DetectedEncoding::Encoded(TextEncoding::Utf16Be),
            [] | [_] | [0xFF, 0xFE, ..] if !whole => return DetectedEncoding::TooFewBytes,
            [0xFF, 0xFE, ..] => return DetectedEncoding::Encoded(TextEncoding::Utf16Le),
            [a, b, ..] if (*a == 0) != (*b == 0) => {
                return TextEncoding::detect_by_pairs(head, *b == 0, whole);
            }
            _ => {}
        }
        let end = head.iter().position(|b| matches!(b, 0 | b'\n'));
        match end.map(|end| (head[end], &head[..end])) {
            Some((0, row)) if is_hash_row(row) => DetectedEncoding::Encoded(TextEncoding::NulEnded),
            None if !whole => DetectedEncoding::TooFewBytes,
            _ => DetectedEncoding::Plain,
        }
    }

    /// Detects UTF-16 without a byte order mark: most characters of a list are ASCII, so
    /// every other byte is a NUL.
    fn detect_by_pairs(head: &[u8], is_le: bool, whole: bool) -> DetectedEncoding {
        let pairs = head.chunks_exact(2).take(PAIRS_SAMPLED);
        let high = |pair: &[u8]| pair[usize::from(is_le)] == 0;
        let low = |pair: &[u8]| pair[usize::from(!is_le)] == 0;
        let count = pairs.len();
        if count < MIN_PAIRS && !whole {
            return DetectedEncoding::TooFewBytes;
        }
        let ascii = pairs.clone().filter(|pair| high(pair)).count();
        let nuls = pairs.filter(|pair| low(pair)).count();
        match (nuls == 0 && ascii * 2 > count, is_le) {
            (true, true) => DetectedEncoding::Encoded(TextEncoding::Utf16Le),
            (true, false) => DetectedEncoding::Encoded(TextEncoding::Utf16Be),
            (false, _) => DetectedEncoding::Plain,
        }
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextEncoding::Utf16Le | TextEncoding::Utf16Be => "UTF-16 text, as PowerShell writes it",
            TextEncoding::NulEnded => "a list whose lines end in NULs",
        })
    }
}

/// Converts a text to UTF-8 lines, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Transcoder {
    encoding: TextEncoding,
    /// The first byte of a pair whose second byte is in the next chunk.
    pending_byte: Option<u8>,
    /// The first of a pair of surrogates.
    high_surrogate: Option<u16>,
}

impl Transcoder {
    /// A converter at the start of a text.
    pub(crate) fn new(encoding: TextEncoding) -> Transcoder {
        Transcoder {
            encoding,
            pending_byte: None,
            high_surrogate: None,
        }
    }

    /// Appends the converted `chunk` to `out`.
    pub(crate) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        match self.encoding {
            TextEncoding::NulEnded => out.extend(chunk.iter().map(|b| match b {
                0 => b'\n',
                b'\n' => 0,
                other => *other,
            })),
            TextEncoding::Utf16Le | TextEncoding::Utf16Be => {
                for byte in chunk {
                    match self.pending_byte.take() {
                        None => self.pending_byte = Some(*byte),
                        Some(first) => self.push_unit([first, *byte], out),
                    }
                }
            }
        }
    }

    /// Appends a replacement character to `out` if the text ends inside a character.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let left = self.pending_byte.take().is_some() | self.high_surrogate.take().is_some();
        if left {
            push_char(char::REPLACEMENT_CHARACTER, out);
        }
    }

    fn push_unit(&mut self, pair: [u8; 2], out: &mut Vec<u8>) {
        let unit = match self.encoding {
            TextEncoding::Utf16Be => u16::from_be_bytes(pair),
            _ => u16::from_le_bytes(pair),
        };
        if let Ok(ascii @ 0..0x80) = u8::try_from(unit)
            && self.high_surrogate.is_none()
        {
            return out.push(ascii);
        }
        let high = self.high_surrogate.take();
        if (0xD800..0xDC00).contains(&unit) {
            self.high_surrogate = Some(unit);
            if high.is_some() {
                push_char(char::REPLACEMENT_CHARACTER, out);
            }
            return;
        }
        for decoded in char::decode_utf16(high.into_iter().chain([unit])) {
            push_char(decoded.unwrap_or(char::REPLACEMENT_CHARACTER), out);
        }
    }
}

fn push_char(c: char, out: &mut Vec<u8>) {
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

    fn rewritten(writing: TextEncoding, chunks: &[&[u8]]) -> String {
        let mut rewriter = Transcoder::new(writing);
        let mut out = Vec::new();
        chunks.iter().for_each(|c| rewriter.push(c, &mut out));
        rewriter.finish(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_encoding_is_detected_by_the_first_bytes() {
        let text = format!("{MD5}  caf\u{E9}\r\n");
        let marked = format!("\u{FEFF}{text}");
        for (head, shown) in [
            (le(&text), DetectedEncoding::Encoded(TextEncoding::Utf16Le)),
            (be(&text), DetectedEncoding::Encoded(TextEncoding::Utf16Be)),
            (
                le(&marked),
                DetectedEncoding::Encoded(TextEncoding::Utf16Le),
            ),
            (
                be(&marked),
                DetectedEncoding::Encoded(TextEncoding::Utf16Be),
            ),
            (format!("{MD5}  a\nb\0").into(), DetectedEncoding::Plain),
            (
                format!("{MD5}  a\0{MD5}").into(),
                DetectedEncoding::Encoded(TextEncoding::NulEnded),
            ),
            (
                format!("{MD5}\0").into(),
                DetectedEncoding::Encoded(TextEncoding::NulEnded),
            ),
            (text.into_bytes(), DetectedEncoding::Plain),
            (b"SQLite format 3\0".to_vec(), DetectedEncoding::Plain),
            (
                b"\x7FELF\x02\x01\x01\0\0\0\0\0".to_vec(),
                DetectedEncoding::Plain,
            ),
            (b"a\0b\0\0\0\0\0\0\0".to_vec(), DetectedEncoding::Plain),
            (b"\xFF\xFE\0\0a\0\0\0".to_vec(), DetectedEncoding::Plain),
            (Vec::new(), DetectedEncoding::Plain),
            (
                b"\xFF\xFE".to_vec(),
                DetectedEncoding::Encoded(TextEncoding::Utf16Le),
            ),
        ] {
            assert_eq!(TextEncoding::detect(&head, true), shown, "{head:?}");
        }
        // Incomplete text: the next bytes decide.
        for head in [&b""[..], b"a", b"\xFF", b"\xFF\xFE", b"a\0b", b"abc", b"\0"] {
            assert_eq!(
                TextEncoding::detect(head, false),
                DetectedEncoding::TooFewBytes,
                "{head:?}"
            );
        }
    }

    #[test]
    fn nuls_become_line_feeds_and_line_feeds_become_nuls() {
        assert_eq!(
            rewritten(TextEncoding::NulEnded, &[b"a  b\nc\0d"]),
            "a  b\0c\nd"
        );
    }

    #[test]
    fn invalid_utf_16_becomes_replacement_characters() {
        let lone = [0x41, 0, 0x00, 0xD8, 0x42, 0];
        assert_eq!(rewritten(TextEncoding::Utf16Le, &[&lone]), "A\u{FFFD}B");
        assert_eq!(
            rewritten(TextEncoding::Utf16Le, &[&[0x41, 0, 0x42]]),
            "A\u{FFFD}"
        );
        let twice = [0x00, 0xD8, 0x00, 0xD8, 0x00, 0xDC];
        assert_eq!(
            rewritten(TextEncoding::Utf16Le, &[&twice]),
            "\u{FFFD}\u{10000}"
        );
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_change_converted_utf_16(text in "\\PC{0,40}", at in 0usize..80) {
            for (writing, bytes) in [(TextEncoding::Utf16Le, le(&text)), (TextEncoding::Utf16Be, be(&text))] {
                let (first, second) = bytes.split_at(at.min(bytes.len()));
                prop_assert_eq!(&rewritten(writing, &[first, second]), &text);
            }
        }
    }
}
