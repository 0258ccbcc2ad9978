//! Lines → rows: where a quoted field holds line feeds, its row is several lines.
//!
//! A row is one line of the books, and has the number and the place of its first. How
//! long it may be is bounded as a line is: a quote that is never closed costs its own
//! line, which is rejected, and reading goes on with the next.

use super::RowParser;
use crate::lines::{Line, MAX_LINE_BYTES};
use crate::record::{Parsed, Reason};

/// A row, and what it is.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its first line: where it stands, and its bytes as far as they are kept.
    pub line: Line<'a>,
    /// The number of its last line.
    pub last: u64,
    /// Where it ends, in bytes of the text.
    pub end: u64,
    /// What it is; never [`Parsed::Continues`].
    pub parsed: Parsed,
}

/// Joins the lines of one list to rows. See the [module](self).
#[derive(Debug)]
pub struct Rows {
    parser: RowParser,
    /// The lines of a row that goes on.
    held: Vec<Held>,
    bytes: Vec<u8>,
}

/// A line that is held: its bytes stand in [`Rows::bytes`].
#[derive(Debug, Clone, Copy)]
struct Held {
    start: usize,
    length: usize,
    offset: u64,
    number: u64,
    end: u64,
}

impl Rows {
    /// Rows that `parser` takes apart.
    pub fn new(parser: RowParser) -> Rows {
        Rows {
            parser,
            held: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Takes the next line, which `terminator` bytes ended, and tells the rows that
    /// have ended now.
    ///
    /// # Errors
    /// What `tell` returns.
    #[inline]
    pub fn push<E>(
        &mut self,
        line: &Line<'_>,
        terminator: u64,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        let parsed = self.parser.parse(line);
        if self.held.is_empty() && parsed != Parsed::Continues {
            let row = Row {
                line: *line,
                last: line.number,
                end: line.offset + line.length + terminator,
                parsed,
            };
            return tell(row, &self.parser);
        }
        self.hold(line, terminator, parsed, tell)
    }

    /// Takes the end of the list.
    ///
    /// # Errors
    /// What `tell` returns.
    pub fn finish<E>(
        &mut self,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.held.is_empty() {
            self.give_up(tell)?;
        }
        Ok(())
    }

    #[cold]
    fn hold<E>(
        &mut self,
        line: &Line<'_>,
        terminator: u64,
        parsed: Parsed,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.is_overlong() {
            // It ends nothing: what is held is read without it.
            self.finish(tell)?;
            let row = Row {
                line: *line,
                last: line.number,
                end: line.offset + line.length + terminator,
                parsed: Parsed::Rejected(Reason::Overlong),
            };
            return tell(row, &self.parser);
        }
        self.held.push(Held {
            start: self.bytes.len(),
            length: line.bytes.len(),
            offset: line.offset,
            number: line.number,
            end: line.offset + line.length + terminator,
        });
        self.bytes.extend_from_slice(line.bytes);
        if parsed != Parsed::Continues {
            let (first, last) = (self.held[0], self.held[self.held.len() - 1]);
            self.held.clear();
            let bytes = std::mem::take(&mut self.bytes);
            let row = Row {
                line: shown(&first, &bytes),
                last: last.number,
                end: last.end,
                parsed,
            };
            let told = tell(row, &self.parser);
            self.bytes = bytes;
            self.bytes.clear();
            return told;
        }
        match self.bytes.len() > MAX_LINE_BYTES {
            true => self.give_up(tell),
            false => Ok(()),
        }
    }

    /// Rejects the first line that is held, and reads the others anew, until what is
    /// held is no longer than a row may be.
    fn give_up<E>(
        &mut self,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            self.parser.forget();
            let held = std::mem::take(&mut self.held);
            let bytes = std::mem::take(&mut self.bytes);
            let Some((first, others)) = held.split_first() else {
                return Ok(());
            };
            let row = Row {
                line: shown(first, &bytes),
                last: first.number,
                end: first.end,
                parsed: Parsed::Rejected(Reason::Quote),
            };
            tell(row, &self.parser)?;
            // The row that is being read begins at the first of these.
            let mut row = others;
            for (n, each) in others.iter().enumerate() {
                let parsed = self.parser.parse(&shown(each, &bytes));
                if parsed == Parsed::Continues {
                    continue;
                }
                let begun = shown(&row[0], &bytes);
                row = &others[n + 1..];
                let row = Row {
                    line: begun,
                    last: each.number,
                    end: each.end,
                    parsed,
                };
                tell(row, &self.parser)?;
            }
            let start = row.first().map_or(bytes.len(), |h| h.start);
            self.bytes.extend_from_slice(&bytes[start..]);
            self.held.extend(row.iter().map(|h| Held {
                start: h.start - start,
                ..*h
            }));
            if self.bytes.len() <= MAX_LINE_BYTES {
                return Ok(());
            }
        }
    }
}

fn shown<'a>(held: &Held, bytes: &'a [u8]) -> Line<'a> {
    Line {
        bytes: &bytes[held.start..held.start + held.length],
        offset: held.offset,
        number: held.number,
        length: held.length as u64,
    }
}
