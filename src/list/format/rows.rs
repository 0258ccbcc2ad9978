//! Lines → rows: where a quoted field holds line feeds, its row is several lines.
//!
//! A row is one line of the books, and has the number and the place of its first. How
//! long it may be is bounded as a line is: a quote that is not closed within [`MAX_LINE_BYTES`], or before
//! the list ends, costs its own line, which is rejected, and reading goes on with the
//! next. So what a row is depends on nothing before it, and reading can be taken up at
//! the end of each.
//!
//! However many quotes are not closed, each line is read three times at most: a line
//! that ends no row which began before it ends none that begins later and is open at it
//! either, so when the first line is given up, the others are looked at only for where
//! the next row begins; and the row is read as a whole when its end has come.

use crate::base::record::{MAX_LINE_BYTES, Reason};
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser::RowParser;
use crate::list::lines::Line;
use std::collections::VecDeque;

/// A row, and what it is.
#[derive(Debug)]
pub(crate) struct Row<'a> {
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
pub(crate) struct Rows {
    parser: RowParser,
    /// The lines of a row that goes on.
    held: VecDeque<Held>,
    /// Their bytes, one behind another, and perhaps others before them.
    bytes: Vec<u8>,
    /// Whether the parser has not read all that is held: it only knows that the row
    /// goes on.
    unread: bool,
}

/// A line that is held.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Where in [`Rows::bytes`] it stands.
    start: usize,
    length: usize,
    offset: u64,
    number: u64,
    end: u64,
}

impl Held {
    /// The line.
    fn line<'a>(&self, bytes: &'a [u8]) -> Line<'a> {
        Line {
            bytes: &bytes[self.start..self.start + self.length],
            offset: self.offset,
            number: self.number,
            length: self.length as u64,
        }
    }
}

impl Rows {
    /// Rows that `parser` takes apart.
    pub(crate) fn new(parser: RowParser) -> Rows {
        Rows {
            parser,
            held: VecDeque::new(),
            bytes: Vec::new(),
            unread: false,
        }
    }

    /// Takes the next line, which `terminator` bytes ended, and tells the rows that
    /// have ended now.
    ///
    /// # Errors
    /// What `tell` returns.
    #[inline]
    pub(crate) fn push<E>(
        &mut self,
        line: &Line<'_>,
        terminator: u64,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = line.offset + line.length + terminator;
        match self.parser.parse(line) {
            parsed if self.held.is_empty() && !matches!(parsed, Parsed::Continues) => {
                let row = Row {
                    line: *line,
                    last: line.number,
                    end,
                    parsed,
                };
                tell(row, &self.parser)
            }
            parsed => self.hold(line, end, parsed, tell),
        }
    }

    /// Takes the end of the list.
    ///
    /// # Errors
    /// What `tell` returns.
    pub(crate) fn finish<E>(
        &mut self,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.held.is_empty() {
            if std::mem::take(&mut self.unread) {
                self.parser.forget();
                for held in &self.held {
                    self.parser.parse(&held.line(&self.bytes));
                }
            }
            match self.parser.finish() {
                Some(parsed) => self.end(parsed, tell)?,
                None => self.give_up(tell)?,
            }
        }
        Ok(())
    }

    #[cold]
    fn hold<E>(
        &mut self,
        line: &Line<'_>,
        end: u64,
        mut parsed: Parsed,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.is_overlong() {
            // It ends nothing: what is held is read without it.
            self.finish(tell)?;
            return self.push(line, end - line.offset - line.length, tell);
        }
        if self.held.is_empty() {
            self.bytes.clear();
        }
        self.held.push_back(Held {
            start: self.bytes.len(),
            length: line.bytes.len(),
            offset: line.offset,
            number: line.number,
            end,
        });
        self.bytes.extend_from_slice(line.bytes);
        if matches!(parsed, Parsed::Continues) {
            while self.is_too_long() {
                self.give_up(tell)?;
            }
            return Ok(());
        }
        if std::mem::take(&mut self.unread) {
            self.parser.forget();
            for held in &self.held {
                parsed = self.parser.parse(&held.line(&self.bytes));
            }
        }
        self.end(parsed, tell)
    }

    /// Tells the row that all lines are which are held.
    fn end<E>(
        &mut self,
        parsed: Parsed,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((first, last)) = self.held.front().zip(self.held.back()) else {
            return Ok(());
        };
        let row = Row {
            line: first.line(&self.bytes),
            last: last.number,
            end: last.end,
            parsed,
        };
        let told = tell(row, &self.parser);
        self.held.clear();
        told
    }

    /// Whether what is held is longer than a row may be, its line feeds included.
    fn is_too_long(&self) -> bool {
        let ends = self.held.front().zip(self.held.back());
        ends.is_some_and(|(first, last)| last.end - first.offset > MAX_LINE_BYTES as u64)
    }

    /// Rejects the first line that is held, and tells the rows behind it up to the next
    /// that goes on.
    fn give_up<E>(
        &mut self,
        tell: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        self.parser.forget();
        self.unread = true;
        let mut parsed = Parsed::Rejected(Reason::Quote);
        while !matches!(parsed, Parsed::Continues)
            && let Some(held) = self.held.pop_front()
        {
            let row = Row {
                line: held.line(&self.bytes),
                last: held.number,
                end: held.end,
                parsed,
            };
            tell(row, &self.parser)?;
            if let Some(next) = self.held.front() {
                parsed = self.parser.parse(&next.line(&self.bytes));
            }
        }
        match self.held.front().map(|first| first.start) {
            None => self.unread = false,
            // What is no longer held goes, a good deal at once.
            Some(start) if start > MAX_LINE_BYTES => {
                self.bytes.drain(..start);
                for held in &mut self.held {
                    held.start -= start;
                }
            }
            Some(_) => {}
        }
        Ok(())
    }
}
