//! Detection of a list's layout by its first lines.

use crate::base::error::Result;
use crate::base::record::MAX_LINE_BYTES;
use crate::list::format::cell::{is_hash, strip_byte_order_mark, strip_carriage_return};
use crate::list::format::document::ArrayPath;
use crate::list::format::kind::{Format, ListOptions};
use crate::list::format::layout::{LINES_SAMPLED, Layout};
use crate::list::format::plain::{is_hash_column_name, trimmed};
use crate::list::format::{base64_list, certutil, clamav, delimited, json, powershell, sums};

/// Lines in which hashes are counted by algorithm.
const LINES_COUNTED: usize = 1000;

impl Layout {
    /// Detects the layout of the list `name` that begins with `head`; `whole` says that
    /// `head` is all of it. A list that no line identifies is a plain list.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it is JSON, but not one
    /// object per line.
    pub fn detect(name: &str, head: &[u8], whole: bool, options: &ListOptions) -> Result<Layout> {
        let mut lines: Vec<&[u8]> = head.split(|b| *b == b'\n').collect();
        if !whole || lines.last().is_some_and(|l| l.is_empty()) {
            // The last line may be incomplete. JSON longer than a line is not JSON lines.
            let cut = lines.pop().unwrap_or_default();
            if options.format.is_none_or(|f| f == Format::Ndjson)
                && cut.len() >= MAX_LINE_BYTES
                && lines.iter().all(|l| trimmed(l).is_empty())
                && json::begins_like_json(trimmed(cut))
            {
                return Err(json::not_json_lines_error(name));
            }
        }
        let significant = |line: &&[u8]| {
            let text = trimmed(line);
            !text.is_empty() && text[0] != b'#'
        };
        let lines = lines.into_iter().filter(significant);
        let lines = lines.map(|line| strip_carriage_return(strip_byte_order_mark(line)));
        let lines: Vec<&[u8]> = lines.take(LINES_COUNTED).collect();
        if whole && lines.is_empty() && options.path_normalizer.is_none() {
            return Ok(Layout {
                is_empty: true,
                ..Layout::default()
            });
        }
        if base64_list::is_selected(options) {
            let lines = &lines[..lines.len().min(LINES_SAMPLED)];
            return Ok(base64_list::detect_layout(lines, options));
        }
        let column = options.column.as_deref();
        let (format, from) = match options.format {
            Some(format) => (format, 0),
            // The list is split into the elements of an array, one per line.
            None if column.is_some_and(|c| ArrayPath::parse(c).is_some()) => (Format::Ndjson, 0),
            None => Layout::detect_format(&lines[..lines.len().min(LINES_SAMPLED)], column),
        };
        if format == Format::Ndjson
            && let Some(first) = lines.get(from)
        {
            json::check_object(name, trimmed(first))?;
        }
        let lines = lines.get(from..).unwrap_or_default();
        Ok(Layout::from_lines(format, lines, column))
    }

    /// Detects the format, with the index of the line that shows it.
    fn detect_format(lines: &[&[u8]], column: Option<&str>) -> (Format, usize) {
        for (n, line) in lines.iter().enumerate() {
            let text = trimmed(line);
            if is_hash(text) {
                break;
            }
            let format = if text.starts_with(b"%%%%") {
                Some(Format::Hashdeep)
            } else if json::begins_like_json(text) && (n == 0 || json::is_object(text)) {
                Some(Format::Ndjson)
            } else if powershell::detect_columns(lines.get(n..).unwrap_or_default()).is_some() {
                Some(Format::Powershell)
            } else if is_hash_column_name(text) && !text.starts_with(b"\"") {
                // The header of a plain list.
                None
            } else if sums::is_sum_line(line) {
                Some(Format::Sums)
            } else if clamav::algorithm(line).is_some() {
                Some(Format::Clamav)
            } else if certutil::algorithm(lines.get(n..).unwrap_or_default()).is_some() {
                Some(Format::Certutil)
            } else {
                // A sentence before bare hashes may look like a header.
                let next = lines.get(n + 1).map(|l| trimmed(l));
                delimited::detect_format(line, column)
                    .filter(|_| !next.is_some_and(is_hash) || text.starts_with(b"\""))
            };
            if let Some(format) = format {
                let header = format
                    .delimiter()
                    .and_then(|d| Layout::find_header(&lines[..=n], d));
                return (format, header.unwrap_or(n));
            }
        }
        (Format::Lines, 0)
    }

    /// Finds a header without a hash column's name; the last of `lines` is the first row with
    /// a hash. Returns its index. `None` if there is none.
    fn find_header(lines: &[&[u8]], delimiter: u8) -> Option<usize> {
        let (last, before) = lines.split_last()?;
        let row = [delimited::fields(last, delimiter)];
        let names = |line: &&[u8]| {
            delimited::is_header_without_hash_name(&delimited::fields(line, delimiter), &row)
        };
        before.iter().position(names)
    }
}
