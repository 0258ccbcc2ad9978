//! Chunks of bytes → lines, without I/O and without an allocation per line.
//!
//! A list arrives in arbitrary chunks. [`Framer`] splits them at line feeds and returns each
//! line as a slice of the chunk. Only a line that spans chunks is copied to a small buffer.
//! Each line has its offset, so that errors, rejected lines and checkpoints can name the
//! byte. The lines do not depend on the chunk borders.
//!
//! A line feed ends a line, with or without a carriage return before it; the last line needs
//! none. Later stages handle blanks, carriage returns and byte order marks.
//!
//! Memory: a line longer than [`MAX_LINE_BYTES`] is not held. The framer keeps its first
//! [`OVERLONG_PREFIX_BYTES`] bytes for messages and drops the rest.

use crate::base::record::MAX_LINE_BYTES;

/// Bytes of an overlong line that are kept for messages.
pub(crate) const OVERLONG_PREFIX_BYTES: usize = 256;

/// One line of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The bytes without the line feed. Of an overlong line only the first
    /// `OVERLONG_PREFIX_BYTES`.
    pub bytes: &'a [u8],
    /// Offset of the first byte in the decompressed text, from 0.
    pub offset: u64,
    /// Line number, from 1.
    pub number: u64,
    /// Complete length in bytes, without the line feed.
    pub length: u64,
}

impl Line<'_> {
    /// True if the line is longer than 64 KiB (`MAX_LINE_BYTES`).
    pub fn is_overlong(&self) -> bool {
        self.length > MAX_LINE_BYTES as u64
    }
}

/// Splitter of chunks into lines. See the module.
#[derive(Debug, Default)]
pub struct Framer {
    /// The start of a line that continues in the next chunk.
    partial_line: Vec<u8>,
    /// Complete length of that start; greater than the length of `partial_line` if the line is
    /// overlong.
    partial_length: u64,
    /// Offset of the next line, or of the line in `partial_line`.
    offset: u64,
    /// Lines returned so far.
    number: u64,
}

impl Framer {
    /// A framer at the start of a text.
    pub fn new() -> Self {
        Framer::default()
    }

    /// Returns the lines that end in `chunk`. The caller must iterate to the end: only then
    /// the framer keeps the rest for the next chunk.
    pub fn push<'a>(&'a mut self, chunk: &'a [u8]) -> Lines<'a> {
        Lines {
            framer: self,
            rest: chunk,
            clear_partial: false,
        }
    }

    /// Returns the last line. `None` if the text ended with a line feed.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        (self.partial_length > 0).then(|| self.finish_partial_line(0))
    }

    /// A framer that resumes after `lines` lines and `bytes` bytes.
    pub fn starting_at(lines: u64, bytes: u64) -> Self {
        Framer {
            offset: bytes,
            number: lines,
            ..Framer::default()
        }
    }

    /// Returns the number of the last line returned, including lines before a resume.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the offset of the first byte after the lines returned so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Keeps a part of a line, at most `MAX_LINE_BYTES` of it.
    fn carry_over(&mut self, part: &[u8]) {
        self.partial_length += part.len() as u64;
        if self.partial_length > MAX_LINE_BYTES as u64 {
            let room = OVERLONG_PREFIX_BYTES.saturating_sub(self.partial_line.len());
            self.partial_line
                .extend_from_slice(&part[..room.min(part.len())]);
            self.partial_line.truncate(OVERLONG_PREFIX_BYTES);
            self.partial_line.shrink_to(OVERLONG_PREFIX_BYTES);
        } else {
            self.partial_line.extend_from_slice(part);
        }
    }

    /// Returns the carried line, which `terminator` bytes ended.
    fn finish_partial_line(&mut self, terminator: u64) -> Line<'_> {
        let length = std::mem::take(&mut self.partial_length);
        let offset = self.offset;
        self.offset += length + terminator;
        self.number += 1;
        Line {
            bytes: &self.partial_line,
            offset,
            number: self.number,
            length,
        }
    }
}

/// Lines of one chunk. A line lives until the next call of `next`.
#[derive(Debug)]
pub struct Lines<'a> {
    framer: &'a mut Framer,
    rest: &'a [u8],
    clear_partial: bool,
}

impl Lines<'_> {
    /// Returns the next line. `None` at the end of the chunk.
    #[allow(clippy::should_implement_trait)] // a lending iterator: `Iterator` cannot express it
    pub fn next(&mut self) -> Option<Line<'_>> {
        if std::mem::take(&mut self.clear_partial) {
            self.framer.partial_line.clear();
        }
        let Some(end) = memchr::memchr(b'\n', self.rest) else {
            self.framer.carry_over(self.rest);
            self.rest = &[];
            return None;
        };
        let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = rest;
        if self.framer.partial_length > 0 {
            self.framer.carry_over(line);
            self.clear_partial = true;
            return Some(self.framer.finish_partial_line(1));
        }
        let length = line.len() as u64;
        let offset = self.framer.offset;
        self.framer.offset += length + 1;
        self.framer.number += 1;
        let shown = if line.len() > MAX_LINE_BYTES {
            OVERLONG_PREFIX_BYTES
        } else {
            line.len()
        };
        Some(Line {
            bytes: &line[..shown],
            offset,
            number: self.framer.number,
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, u64, u64, u64);

    fn owned(l: Line<'_>) -> Owned {
        (l.bytes.to_vec(), l.offset, l.number, l.length)
    }

    fn frame<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
        let mut framer = Framer::new();
        let mut out = Vec::new();
        for chunk in chunks {
            let mut lines = framer.push(chunk);
            while let Some(line) = lines.next() {
                out.push(owned(line));
            }
            assert!(framer.partial_line.len() <= MAX_LINE_BYTES);
        }
        out.extend(framer.finish().map(owned));
        out
    }

    /// Reference: splits at line feeds, without a last empty line.
    fn split(input: &[u8]) -> Vec<Owned> {
        let mut pieces: Vec<&[u8]> = input.split(|&b| b == b'\n').collect();
        if pieces.last().is_some_and(|p| p.is_empty()) {
            pieces.pop();
        }
        let mut offset = 0;
        pieces
            .iter()
            .enumerate()
            .map(|(i, p)| {
                let at = offset;
                offset += p.len() as u64 + 1;
                let shown = if p.len() > MAX_LINE_BYTES {
                    OVERLONG_PREFIX_BYTES
                } else {
                    p.len()
                };
                (p[..shown].to_vec(), at, i as u64 + 1, p.len() as u64)
            })
            .collect()
    }

    #[test]
    fn lines_have_their_offsets_and_numbers() {
        let got = frame([&b"ab\r\nc"[..], b"d", b"\n", b"\n", b"last"]);
        assert_eq!(
            got,
            vec![
                (b"ab\r".to_vec(), 0, 1, 3),
                (b"cd".to_vec(), 4, 2, 2),
                (b"".to_vec(), 7, 3, 0),
                (b"last".to_vec(), 8, 4, 4),
            ]
        );
    }

    #[test]
    fn an_empty_input_has_no_line() {
        assert_eq!(frame([]), vec![]);
        assert_eq!(frame([&b""[..]]), vec![]);
    }

    #[test]
    fn an_overlong_line_is_truncated() {
        for (length, chunk) in [
            (MAX_LINE_BYTES, 1000),
            (MAX_LINE_BYTES + 1, 1000),
            (MAX_LINE_BYTES + 1, 100_000),
            (300_000, 7919),
            (300_000, 400_000),
        ] {
            let mut input = vec![b'x'; length];
            input.extend_from_slice(b"\nnext\n");
            let got = frame(input.chunks(chunk));
            assert_eq!(got, split(&input), "length {length}, chunk {chunk}");
            assert_eq!(got[1].0, b"next");
        }
    }

    proptest! {
        #[test]
        fn chunk_borders_do_not_change_the_lines(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400),
            cuts in proptest::collection::vec(1usize..50, 1..40),
        ) {
            let mut chunks = Vec::new();
            let mut rest = &input[..];
            let mut cut = cuts.iter().cycle();
            while !rest.is_empty() {
                let n = (*cut.next().expect("cycles")).min(rest.len());
                chunks.push(&rest[..n]);
                rest = &rest[n..];
            }
            prop_assert_eq!(frame(chunks), split(&input));
        }
    }
}
