//! Lists whose hashes are written in base64: their form by their first lines, and the
//! rows of plain ones.

use crate::list::format::cell::in_column;
use crate::list::format::digest::{Digest, algorithm_of_base64};
use crate::list::format::kind::{Encoding, Form, Format};
use crate::list::format::layout::Layout;
use crate::list::format::plain::{Parsed, content, is_header};
use crate::list::format::{delimited, json, sums};

/// The layout of a list of the form `form` that begins with `lines`.
pub(super) fn layout(lines: &[&[u8]], form: &Form) -> Layout {
    let column = form.column.as_deref();
    let (format, from) = match form.format {
        Some(format) => (format, 0),
        None => guessed(lines, column),
    };
    let lines = lines.get(from..).unwrap_or_default();
    let mut layout = Layout::of(format, lines, column);
    if let Some(delimiter) = format.delimiter() {
        let header = usize::from(!layout.columns.is_empty());
        let rows = lines.iter().skip(header);
        let rows: Vec<Vec<String>> = rows.map(|l| delimited::fields(l, delimiter)).collect();
        layout.hashes = hash_columns(&rows);
    }
    layout
}

/// The format that one of `lines` shows, and which of them that is.
fn guessed(lines: &[&[u8]], column: Option<&str>) -> (Format, usize) {
    for (n, line) in lines.iter().enumerate() {
        let text = content(line);
        if algorithm_of_base64(text).is_some() {
            break;
        }
        if json::begins(text) && json::is_object(text) {
            return (Format::Ndjson, n);
        }
        if sums::is_encoded(line) {
            return (Format::Sums, n);
        }
        for format in [Format::Csv, Format::Tsv, Format::Psv, Format::Semicolon] {
            let delimiter = format.delimiter().unwrap_or(b',');
            let fields = delimited::fields(line, delimiter);
            let is_digest = |f: &String| algorithm_of_base64(f.trim().as_bytes()).is_some();
            let is_row = || fields.iter().any(is_digest) || delimited::is_header(&fields, column);
            if fields.len() > 1 && is_row() {
                return (format, n);
            }
        }
    }
    (Format::Lines, 0)
}

/// Which columns hold digests alone, and of how many hexadecimal digits; or, where none
/// does, some.
fn hash_columns(rows: &[Vec<String>]) -> Vec<(usize, usize)> {
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut found: Vec<(usize, usize, bool)> = Vec::new();
    for at in 0..width {
        let texts = rows.iter().filter_map(|row| row.get(at));
        let texts: Vec<&str> = texts.map(|t| t.trim()).filter(|t| !t.is_empty()).collect();
        let mut digits: Vec<usize> = texts
            .iter()
            .filter_map(|t| algorithm_of_base64(t.as_bytes()))
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

/// What `line` of a plain list is.
pub(super) fn parse(line: &[u8], digest: Digest) -> Parsed {
    let text = content(line);
    if text.is_empty() || text[0] == b'#' {
        return Parsed::Skipped;
    }
    match in_column(text, digest) {
        Parsed::Rejected(_) if is_header(text) => Parsed::Skipped,
        parsed => parsed,
    }
}

/// Whether lists of this form are read here.
pub(super) fn is_meant(form: &Form) -> bool {
    form.encoding == Encoding::Base64
}
