//! Lists with hashes in base64: detection of the layout, and the parser of plain lists.

use crate::list::format::cell::parse_cell;
use crate::list::format::digest::{HashSpec, algorithm_from_base64};
use crate::list::format::kind::{Encoding, Format, ListOptions};
use crate::list::format::layout::Layout;
use crate::list::format::plain::{Parsed, is_hash_column_name, trimmed};
use crate::list::format::{delimited, json, sums};

/// Detects the layout of a list that starts with `lines`.
pub(super) fn detect_layout(lines: &[&[u8]], options: &ListOptions) -> Layout {
    let column = options.column.as_deref();
    let (format, from) = match options.format {
        Some(format) => (format, 0),
        None => detect_format(lines, column),
    };
    let lines = lines.get(from..).unwrap_or_default();
    let mut layout = Layout::from_lines(format, lines, column);
    if let Some(delimiter) = format.delimiter() {
        let header = usize::from(!layout.columns.is_empty());
        let rows = lines.iter().skip(header);
        let rows: Vec<Vec<String>> = rows.map(|l| delimited::fields(l, delimiter)).collect();
        layout.hash_columns = hash_columns(&rows);
    }
    layout
}

/// Detects the format, with the index of the line that shows it.
fn detect_format(lines: &[&[u8]], column: Option<&str>) -> (Format, usize) {
    for (n, line) in lines.iter().enumerate() {
        let text = trimmed(line);
        if algorithm_from_base64(text).is_some() {
            break;
        }
        if json::begins_like_json(text) && json::is_object(text) {
            return (Format::Ndjson, n);
        }
        if sums::has_base64_digest(line) {
            return (Format::Sums, n);
        }
        for format in [Format::Csv, Format::Tsv, Format::Psv, Format::Semicolon] {
            let delimiter = format.delimiter().unwrap_or(b',');
            let fields = delimited::fields(line, delimiter);
            let is_digest = |f: &String| algorithm_from_base64(f.trim().as_bytes()).is_some();
            let is_row = || fields.iter().any(is_digest) || delimited::is_header(&fields, column);
            if fields.len() > 1 && is_row() {
                return (format, n);
            }
        }
    }
    (Format::Lines, 0)
}

/// Detects the columns that hold only hashes, each with the number of hexadecimal digits.
/// If there are none, returns the columns that hold some.
fn hash_columns(rows: &[Vec<String>]) -> Vec<(usize, usize)> {
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut found: Vec<(usize, usize, bool)> = Vec::new();
    for at in 0..width {
        let texts = rows.iter().filter_map(|row| row.get(at));
        let texts: Vec<&str> = texts.map(|t| t.trim()).filter(|t| !t.is_empty()).collect();
        let mut digits: Vec<usize> = texts
            .iter()
            .filter_map(|t| algorithm_from_base64(t.as_bytes()))
            .map(|a| a.bytes() * 2)
            .collect();
        let is_pure = digits.len() == texts.len();
        digits.dedup();
        found.extend(digits.into_iter().map(|d| (at, d, is_pure)));
    }
    let any_pure = found.iter().any(|(.., is_pure)| *is_pure);
    let kept = found
        .into_iter()
        .filter(|(.., is_pure)| *is_pure || !any_pure);
    let mut kept: Vec<(usize, usize)> = kept.map(|(at, digits, _)| (at, digits)).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// Parses a `line` of a plain list.
pub(super) fn parse(line: &[u8], digest: HashSpec) -> Parsed {
    let text = trimmed(line);
    if text.is_empty() || text[0] == b'#' {
        return Parsed::Skipped;
    }
    match parse_cell(text, digest) {
        Parsed::Rejected(_) if is_hash_column_name(text) => Parsed::Skipped,
        parsed => parsed,
    }
}

/// True if the options say that hashes are in base64.
pub(super) fn is_selected(options: &ListOptions) -> bool {
    options.encoding == Encoding::Base64
}
