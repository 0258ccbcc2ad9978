//! Fields of a table's rows: csv-core, with blanks allowed around a quoted field.
//!
//! RFC 4180 allows a quote only at the start of a field, but exports write blanks after
//! commas: `"a", "b, c" ,"d"`. Blanks around a quoted field are dropped; those around an
//! unquoted field belong to it.

use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};

/// Reader of fields. See the [module](self).
#[derive(Debug)]
pub(super) struct FieldReader {
    reader: Reader,
    delimiter: u8,
    /// True if the next byte starts a field.
    at_field_start: bool,
    /// True if the current or last field is quoted.
    is_quoted: bool,
}

impl FieldReader {
    pub(super) fn new(delimiter: u8) -> FieldReader {
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            // The caller strips the carriage return before it.
            .terminator(Terminator::Any(b'\n'))
            .build();
        FieldReader {
            reader,
            delimiter,
            at_field_start: true,
            is_quoted: false,
        }
    }

    /// Prepares for the start of a row.
    pub(super) fn reset(&mut self) {
        self.reader.reset();
        self.at_field_start = true;
    }

    /// Reads a part of a field, like [`Reader::read_field`].
    #[inline]
    pub(super) fn read(
        &mut self,
        input: &[u8],
        buffer: &mut [u8],
    ) -> (ReadFieldResult, usize, usize) {
        let mut blanks = 0;
        if self.at_field_start
            && let Some(first) = input.first()
        {
            if self.is_blank(*first) {
                blanks = self.blanks_before_quote(input);
            }
            self.is_quoted = input.get(blanks) == Some(&b'"');
            self.at_field_start = false;
        }
        let (result, read, wrote) = self.reader.read_field(&input[blanks..], buffer);
        if let ReadFieldResult::Field { .. } = result {
            self.at_field_start = true;
        }
        (result, blanks + read, wrote)
    }

    /// Returns the number of blanks after the closing quote of a finished field; `before`
    /// is its line up to the end of the field.
    #[inline]
    pub(super) fn blanks_after_quote(&self, before: &[u8]) -> usize {
        match before.last() {
            Some(last) if self.is_quoted && self.is_blank(*last) => {
                let kept = before.iter().rposition(|b| !self.is_blank(*b));
                let quote = kept.filter(|at| before[*at] == b'"');
                quote.map_or(0, |at| before.len() - at - 1)
            }
            _ => 0,
        }
    }

    fn is_blank(&self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t') && byte != self.delimiter
    }

    #[cold]
    fn blanks_before_quote(&self, input: &[u8]) -> usize {
        let first = input.iter().position(|b| !self.is_blank(*b));
        first.filter(|at| input[*at] == b'"').unwrap_or(0)
    }
}

/// Splits a row on one line into fields, for detection and messages.
pub(super) fn fields(line: &[u8], delimiter: u8) -> Vec<String> {
    let mut reader = FieldReader::new(delimiter);
    let (mut fields, mut field) = (Vec::new(), Vec::new());
    let mut buffer = [0; 1024];
    for input in [line, b"\n"] {
        let mut at = 0;
        while at < input.len() {
            let (result, read, wrote) = reader.read(&input[at..], &mut buffer);
            at += read;
            field.extend_from_slice(&buffer[..wrote]);
            if let ReadFieldResult::Field { record_end } = result {
                let before = match record_end {
                    true => line,
                    false => &input[..at - 1],
                };
                field.truncate(field.len() - reader.blanks_after_quote(before).min(field.len()));
                fields.push(String::from_utf8_lossy(&field).into_owned());
                field.clear();
                if record_end {
                    return fields;
                }
            }
        }
    }
    // A quoted field without a closing quote.
    fields.push(String::from_utf8_lossy(&field).into_owned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_quoted_field_are_dropped() {
        for (line, expected) in [
            (r#""a", "b, ""c""" ,"d" "#, vec!["a", r#"b, "c""#, "d"]),
            (" \t\"a \" \t, b ,\" c\"", vec!["a ", " b ", " c"]),
            (r#"a, b" ,"c""#, vec!["a", r#" b" "#, "c"]),
            (r#""a"  x , ,"#, vec!["a  x ", " ", ""]),
            ("  ", vec!["  "]),
        ] {
            assert_eq!(fields(line.as_bytes(), b','), expected, "{line}");
        }
        assert_eq!(
            fields(b"\"a\" \t \"b\"\t\t\"c\"", b'\t'),
            ["a", "b", "", "c"]
        );
        assert_eq!(fields(br#""a" | "b|c""#, b'|'), ["a", "b|c"]);
    }
}
