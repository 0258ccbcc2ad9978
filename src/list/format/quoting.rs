//! The fields of a table's rows: csv-core's, but for blanks around a quoted one.
//!
//! RFC 4180 has a quote only at the very beginning of a field, and exports put blanks
//! after their commas: `"a", "b, c" ,"d"`. Such blanks are no part of a quoted field; those
//! around one without quotes are.

use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};

/// Reads fields. See the [module](self).
#[derive(Debug)]
pub(super) struct FieldReader {
    reader: Reader,
    delimiter: u8,
    /// Whether a field begins with what is read next.
    begins: bool,
    /// Whether the one that is read, or was read last, is quoted.
    quoted: bool,
}

impl FieldReader {
    pub(super) fn new(delimiter: u8) -> FieldReader {
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            // The carriage return before it is taken off elsewhere.
            .terminator(Terminator::Any(b'\n'))
            .build();
        FieldReader {
            reader,
            delimiter,
            begins: true,
            quoted: false,
        }
    }

    /// Begins a row.
    pub(super) fn reset(&mut self) {
        self.reader.reset();
        self.begins = true;
    }

    /// As [`Reader::read_field`].
    #[inline]
    pub(super) fn read(
        &mut self,
        input: &[u8],
        buffer: &mut [u8],
    ) -> (ReadFieldResult, usize, usize) {
        let mut blanks = 0;
        if self.begins
            && let Some(first) = input.first()
        {
            if self.is_blank(*first) {
                blanks = self.blanks_before_quote(input);
            }
            self.quoted = input.get(blanks) == Some(&b'"');
            self.begins = false;
        }
        let (result, read, wrote) = self.reader.read_field(&input[blanks..], buffer);
        if let ReadFieldResult::Field { .. } = result {
            self.begins = true;
        }
        (result, blanks + read, wrote)
    }

    /// The number of blanks behind the closing quote of the field that has ended; `before`
    /// is its line up to where it ends.
    #[inline]
    pub(super) fn blanks_behind_quote(&self, before: &[u8]) -> usize {
        match before.last() {
            Some(last) if self.quoted && self.is_blank(*last) => {
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

/// The fields of a row that stands in one line, as text for people.
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
                field.truncate(field.len() - reader.blanks_behind_quote(before).min(field.len()));
                fields.push(String::from_utf8_lossy(&field).into_owned());
                field.clear();
                if record_end {
                    return fields;
                }
            }
        }
    }
    // A quoted field that is not closed.
    fields.push(String::from_utf8_lossy(&field).into_owned());
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_quoted_field_are_no_part_of_it() {
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
