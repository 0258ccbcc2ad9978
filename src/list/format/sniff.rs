//! Detection of a list's format by its first lines.

use crate::base::error::Result;
use crate::base::record::MAX_LINE_BYTES;
use crate::list::format::cell::{is_hash, without_mark, without_return};
use crate::list::format::document::ArrayPath;
use crate::list::format::kind::{Form, Format};
use crate::list::format::layout::{LINES_LOOKED_AT, Layout};
use crate::list::format::plain::{content, is_header};
use crate::list::format::{certutil, clamav, delimited, encoded, json, powershell, sums};

/// Lines that are looked at to count hashes by algorithm.
const LINES_COUNTED: usize = 1000;

impl Layout {
    /// The form of the list called `name` that begins with `head`; `whole` when there is
    /// no more of it. What no line decides is a plain list.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage), when it is JSON of another
    /// form than an object a line.
    pub fn seen(name: &str, head: &[u8], whole: bool, form: &Form) -> Result<Layout> {
        let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
        if !whole || lines.last().is_some_and(|l| l.is_empty()) {
            // It may be cut off; one that is longer than a line may be is none any more.
            let cut = lines.pop().unwrap_or_default();
            if form.format.is_none_or(|f| f == Format::Ndjson)
                && cut.len() >= MAX_LINE_BYTES
                && lines.iter().all(|l| content(l).is_empty())
                && json::begins(content(cut))
            {
                return Err(json::refused(name));
            }
        }
        let significant = |line: &&[u8]| {
            let text = content(line);
            !text.is_empty() && text[0] != b'#'
        };
        let lines = lines.into_iter().filter(significant);
        let lines = lines.map(|line| without_return(without_mark(line)));
        let lines: Vec<&[u8]> = lines.take(LINES_COUNTED).collect();
        if whole && lines.is_empty() && form.paths.is_none() {
            return Ok(Layout {
                empty: true,
                ..Layout::default()
            });
        }
        if encoded::is_meant(form) {
            let lines = &lines[..lines.len().min(LINES_LOOKED_AT)];
            return Ok(encoded::layout(lines, form));
        }
        let column = form.column.as_deref();
        let (format, from) = match form.format {
            Some(format) => (format, 0),
            // Each is an element of an array.
            None if column.is_some_and(|c| ArrayPath::of(c).is_some()) => (Format::Ndjson, 0),
            None => Layout::guessed(&lines[..lines.len().min(LINES_LOOKED_AT)], column),
        };
        if format == Format::Ndjson
            && let Some(first) = lines.get(from)
        {
            json::check(name, content(first))?;
        }
        let lines = lines.get(from..).unwrap_or_default();
        Ok(Layout::of(format, lines, column))
    }

    /// The format that one of `lines` shows, and which of them that is.
    fn guessed(lines: &[&[u8]], column: Option<&str>) -> (Format, usize) {
        for (n, line) in lines.iter().enumerate() {
            let text = content(line);
            if is_hash(text) {
                break;
            }
            let format = if text.starts_with(b"%%%%") {
                Some(Format::Hashdeep)
            } else if json::begins(text) && (n == 0 || json::is_object(text)) {
                Some(Format::Ndjson)
            } else if powershell::columns(lines.get(n..).unwrap_or_default()).is_some() {
                Some(Format::Powershell)
            } else if is_header(text) && !text.starts_with(b"\"") {
                // That of a plain list.
                None
            } else if sums::is_one(line) {
                Some(Format::Sums)
            } else if clamav::algorithm(line).is_some() {
                Some(Format::Clamav)
            } else if certutil::algorithm(lines.get(n..).unwrap_or_default()).is_some() {
                Some(Format::Certutil)
            } else {
                // What only looks like a header stands before bare hashes, too.
                let next = lines.get(n + 1).map(|l| content(l));
                delimited::format_of(line, column)
                    .filter(|_| !next.is_some_and(is_hash) || text.starts_with(b"\""))
            };
            if let Some(format) = format {
                let header = format
                    .delimiter()
                    .and_then(|d| Layout::header(&lines[..=n], d));
                return (format, header.unwrap_or(n));
            }
        }
        (Format::Lines, 0)
    }

    /// The first of `lines` that is a header without a column named as one of hashes; the
    /// last of them is the first that shows a hash.
    fn header(lines: &[&[u8]], delimiter: u8) -> Option<usize> {
        let (last, before) = lines.split_last()?;
        let row = [delimited::fields(last, delimiter)];
        let names =
            |line: &&[u8]| delimited::names_columns(&delimited::fields(line, delimiter), &row);
        before.iter().position(names)
    }
}
