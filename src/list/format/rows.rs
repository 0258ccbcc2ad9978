//! Lines → rows. A row has several lines if a quoted field holds line feeds.
//!
//! A row counts as one line, with the number and position of its first line. It may be as
//! long as a line, [`MAX_LINE_BYTES`]. If a quote is not closed within that length, or by the
//! end of the list, only its first line is rejected. Parsing continues with the next line.
//! So a row does not depend on earlier rows, and a run can resume after any row.
//!
//! Each line is parsed at most three times, however many quotes stay open. A line that
//! leaves a row open also leaves open any later row that is unfinished there. When the first
//! line is rejected, the others are therefore parsed only to find the start of the next row.
//! That row is parsed completely once its end arrives.

use crate::base::record::{MAX_LINE_BYTES, RejectReason};
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser::RowParser;
use crate::list::lines::Line;
use std::collections::VecDeque;

/// A row, with the result of parsing it.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The first line of the row.
    pub line: Line<'a>,
    /// Number of the last line.
    pub last_line: u64,
    /// Offset after the row, in bytes of the text.
    pub end: u64,
    /// Result of parsing; never [`Parsed::Continues`].
    pub parsed: Parsed,
}

/// Joins the lines of one list into rows. See the [module](self).
#[derive(Debug)]
pub(crate) struct Rows {
    parser: RowParser,
    /// The lines of an unfinished row.
    held: VecDeque<HeldLine>,
    /// The bytes of these lines, after those of lines that were dropped.
    bytes: Vec<u8>,
    /// True if the parser has not read all held lines: it only knows that the row continues.
    needs_reparse: bool,
}

/// A line of an unfinished row.
#[derive(Debug, Clone, Copy)]
struct HeldLine {
    /// Offset of the line in [`Rows::bytes`].
    start: usize,
    length: usize,
    offset: u64,
    number: u64,
    end: u64,
}

impl HeldLine {
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
    pub(crate) fn new(parser: RowParser) -> Rows {
        Rows {
            parser,
            held: VecDeque::new(),
            bytes: Vec::new(),
            needs_reparse: false,
        }
    }

    /// Adds the next line, ended by `terminator` bytes, and passes finished rows to `emit`.
    ///
    /// # Errors
    /// The error that `emit` returns.
    #[inline]
    pub(crate) fn push<E>(
        &mut self,
        line: &Line<'_>,
        terminator: u64,
        emit: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        let end = line.offset + line.length + terminator;
        match self.parser.parse(line) {
            parsed if self.held.is_empty() && !matches!(parsed, Parsed::Continues) => {
                let row = Row {
                    line: *line,
                    last_line: line.number,
                    end,
                    parsed,
                };
                emit(row, &self.parser)
            }
            parsed => self.hold(line, end, parsed, emit),
        }
    }

    /// Ends the list and passes the remaining rows to `emit`.
    ///
    /// # Errors
    /// The error that `emit` returns.
    pub(crate) fn finish<E>(
        &mut self,
        emit: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.held.is_empty() {
            if std::mem::take(&mut self.needs_reparse) {
                self.parser.abandon_row();
                for held in &self.held {
                    self.parser.parse(&held.line(&self.bytes));
                }
            }
            match self.parser.finish() {
                Some(parsed) => self.emit_row(parsed, emit)?,
                None => self.reject_first_line(emit)?,
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
        emit: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.is_overlong() {
            // An overlong line ends no row: finish the held lines without it.
            self.finish(emit)?;
            return self.push(line, end - line.offset - line.length, emit);
        }
        if self.held.is_empty() {
            self.bytes.clear();
        }
        self.held.push_back(HeldLine {
            start: self.bytes.len(),
            length: line.bytes.len(),
            offset: line.offset,
            number: line.number,
            end,
        });
        self.bytes.extend_from_slice(line.bytes);
        if matches!(parsed, Parsed::Continues) {
            while self.is_too_long() {
                self.reject_first_line(emit)?;
            }
            return Ok(());
        }
        if std::mem::take(&mut self.needs_reparse) {
            self.parser.abandon_row();
            for held in &self.held {
                parsed = self.parser.parse(&held.line(&self.bytes));
            }
        }
        self.emit_row(parsed, emit)
    }

    /// Passes the row that consists of all held lines to `emit`.
    fn emit_row<E>(
        &mut self,
        parsed: Parsed,
        emit: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((first, last)) = self.held.front().zip(self.held.back()) else {
            return Ok(());
        };
        let row = Row {
            line: first.line(&self.bytes),
            last_line: last.number,
            end: last.end,
            parsed,
        };
        let emitted = emit(row, &self.parser);
        self.held.clear();
        emitted
    }

    /// True if the held lines, with their line feeds, are longer than a row may be.
    fn is_too_long(&self) -> bool {
        let ends = self.held.front().zip(self.held.back());
        ends.is_some_and(|(first, last)| last.end - first.offset > MAX_LINE_BYTES as u64)
    }

    /// Rejects the first held line, and emits the rows after it up to the next unfinished
    /// one.
    fn reject_first_line<E>(
        &mut self,
        emit: &mut impl FnMut(Row<'_>, &RowParser) -> Result<(), E>,
    ) -> Result<(), E> {
        self.parser.abandon_row();
        self.needs_reparse = true;
        let mut parsed = Parsed::Rejected(RejectReason::Quote);
        while !matches!(parsed, Parsed::Continues)
            && let Some(held) = self.held.pop_front()
        {
            let row = Row {
                line: held.line(&self.bytes),
                last_line: held.number,
                end: held.end,
                parsed,
            };
            emit(row, &self.parser)?;
            if let Some(next) = self.held.front() {
                parsed = self.parser.parse(&next.line(&self.bytes));
            }
        }
        match self.held.front().map(|first| first.start) {
            None => self.needs_reparse = false,
            // Drop old bytes in large steps, to move few bytes.
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
