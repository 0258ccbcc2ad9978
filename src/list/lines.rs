//! Chunks of bytes → lines, without I/O and without an allocation a line.
//!
//! A list arrives in chunks whose borders mean nothing. [`Framer`] cuts them at
//! line feeds and hands out each line as a slice of the chunk itself; only a
//! line that straddles two chunks is put together in a small buffer. Each line
//! knows where it began, so that an error, a reject or a checkpoint can name the
//! byte. The same lines come out however the input is cut.
//!
//! A line feed ends a line, whether a carriage return stands before it or not; a
//! last line needs none. What a line *means* (blanks around it, a carriage
//! return, a byte order mark) is the next stage's business.
//!
//! Memory: a line of more than [`MAX_LINE_BYTES`] is not held. Its first
//! [`KEPT_OF_OVERLONG`] bytes are kept to show it, the rest is passed over, and
//! the next line is read as any other.

use crate::base::record::MAX_LINE_BYTES;
/// How much of an overlong line is kept, so that a person can recognise it.
pub(crate) const KEPT_OF_OVERLONG: usize = 256;

/// One line of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The bytes without the line feed; of an overlong line, the first
    /// `KEPT_OF_OVERLONG`.
    pub bytes: &'a [u8],
    /// Offset of its first byte in the (decoded) input, from 0.
    pub offset: u64,
    /// Its number, from 1.
    pub number: u64,
    /// Its whole length in bytes, without the line feed.
    pub length: u64,
}

impl Line<'_> {
    /// Whether the line was too long to be held.
    pub fn is_overlong(&self) -> bool {
        self.length > MAX_LINE_BYTES as u64
    }
}

/// Cuts chunks into lines. See the module.
#[derive(Debug, Default)]
pub struct Framer {
    /// The beginning of a line whose end has not come yet.
    carry: Vec<u8>,
    /// The whole length of that beginning; more than `carry` holds when the
    /// line is overlong.
    carried: u64,
    /// Offset of the line that begins next, or that `carry` begins.
    offset: u64,
    /// Lines handed out so far.
    number: u64,
}

impl Framer {
    /// A framer at the beginning of an input.
    pub fn new() -> Self {
        Framer::default()
    }

    /// The lines that end in `chunk`. All of them must be taken: what is left
    /// after the last is kept for the next chunk when the iteration ends.
    pub fn push<'a>(&'a mut self, chunk: &'a [u8]) -> Lines<'a> {
        Lines {
            framer: self,
            rest: chunk,
            carry_is_out: false,
        }
    }

    /// The last line, when the input did not end with a line feed.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        (self.carried > 0).then(|| self.line_from_carry(0))
    }

    /// A framer that goes on where `lines` lines and `bytes` bytes are behind it.
    pub fn after(lines: u64, bytes: u64) -> Self {
        Framer {
            offset: bytes,
            number: lines,
            ..Framer::default()
        }
    }

    /// Lines handed out so far, those before the beginning included.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Offset of the first byte that belongs to no line handed out so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Keeps the beginning of a line. Holds no more than [`MAX_LINE_BYTES`].
    fn keep(&mut self, part: &[u8]) {
        self.carried += part.len() as u64;
        if self.carried > MAX_LINE_BYTES as u64 {
            let room = KEPT_OF_OVERLONG.saturating_sub(self.carry.len());
            self.carry.extend_from_slice(&part[..room.min(part.len())]);
            self.carry.truncate(KEPT_OF_OVERLONG);
            self.carry.shrink_to(KEPT_OF_OVERLONG);
        } else {
            self.carry.extend_from_slice(part);
        }
    }

    /// The carried line, ended by `terminator` bytes.
    fn line_from_carry(&mut self, terminator: u64) -> Line<'_> {
        let length = std::mem::take(&mut self.carried);
        let offset = self.offset;
        self.offset += length + terminator;
        self.number += 1;
        Line {
            bytes: &self.carry,
            offset,
            number: self.number,
            length,
        }
    }
}

/// The lines of one chunk. Lending: a line lives until the next is asked for.
#[derive(Debug)]
pub struct Lines<'a> {
    framer: &'a mut Framer,
    rest: &'a [u8],
    carry_is_out: bool,
}

impl Lines<'_> {
    /// The next line, or nothing when the chunk is used up.
    #[allow(clippy::should_implement_trait)] // lending: Iterator cannot say it
    pub fn next(&mut self) -> Option<Line<'_>> {
        if std::mem::take(&mut self.carry_is_out) {
            self.framer.carry.clear();
        }
        let Some(end) = memchr::memchr(b'\n', self.rest) else {
            self.framer.keep(self.rest);
            self.rest = &[];
            return None;
        };
        let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = rest;
        if self.framer.carried > 0 {
            self.framer.keep(line);
            self.carry_is_out = true;
            return Some(self.framer.line_from_carry(1));
        }
        let length = line.len() as u64;
        let offset = self.framer.offset;
        self.framer.offset += length + 1;
        self.framer.number += 1;
        let shown = if line.len() > MAX_LINE_BYTES {
            KEPT_OF_OVERLONG
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
            assert!(framer.carry.len() <= MAX_LINE_BYTES);
        }
        out.extend(framer.finish().map(owned));
        out
    }

    /// The definition: split at line feeds, no last empty line.
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
                    KEPT_OF_OVERLONG
                } else {
                    p.len()
                };
                (p[..shown].to_vec(), at, i as u64 + 1, p.len() as u64)
            })
            .collect()
    }

    #[test]
    fn lines_carry_their_places() {
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
    fn the_longest_line_is_whole_and_a_longer_one_is_not_held() {
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
        fn the_same_lines_however_the_input_is_cut(
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
