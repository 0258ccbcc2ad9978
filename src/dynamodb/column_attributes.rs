//! Attributes from columns: what `--attr-from` takes of each row into its item.
//!
//! [`AttributeFrom`] is one as a person names it, [`Columns`] all of them, checked
//! against the table. Of a row, [`Columns::write`] makes the piece of JSON that its
//! item gets, or says why the row is none to be written:
//!
//! * A column that is empty, or not there in this row, gives no attribute. Where the
//!   attribute is the table's sort key, the row is rejected.
//! * A number that is none, or a boolean that is neither true nor false, rejects the
//!   row.
//! * Text is taken as UTF-8; what is not UTF-8 is taken as ISO-8859-1, in which each
//!   byte is a character, so that no name is lost for its encoding.

use crate::base::error::{Error, Result};
use crate::base::record::Reason;
use crate::dynamodb::attribute::{is_number, number_size};
use crate::dynamodb::attribute_from::{AttributeFrom, ColumnType};
use crate::dynamodb::item::MAX_ITEM_BYTES;
use crate::dynamodb::key_schema::{
    KeySchema, KeyType, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES,
};
use std::borrow::Cow;

/// One attribute, ready to be written.
#[derive(Debug, Clone)]
struct Column {
    /// Which of the wanted columns it is.
    number: usize,
    kind: ColumnType,
    /// `,"name":{"S":`
    opening: Vec<u8>,
    name_bytes: usize,
    /// The longest value, where the attribute is a key.
    most: Option<usize>,
    is_sort_key: bool,
}

/// All attributes that items take from their rows. See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    /// The sort key first, where it is among them.
    columns: Vec<Column>,
    wanted: Vec<String>,
    /// Bytes of an item without them.
    base_bytes: usize,
}

impl Columns {
    /// Those of `from`, for items of `schema` that have `base_bytes` without them.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when one has not the type
    /// that the table's keys need.
    pub(crate) fn new(
        table: &str,
        schema: &KeySchema,
        from: &[AttributeFrom],
        base_bytes: usize,
    ) -> Result<Columns> {
        let mut columns = Vec::new();
        for (number, attribute) in from.iter().enumerate() {
            let is_sort_key = (schema.sort.as_ref()).is_some_and(|s| s.name == attribute.name);
            let keys = schema
                .index_keys
                .iter()
                .map(|k| (k, MAX_PARTITION_KEY_BYTES));
            let keys = (schema.sort.iter().map(|s| (s, MAX_SORT_KEY_BYTES))).chain(keys);
            let mut most = None;
            for (key, bytes) in keys.filter(|(key, _)| key.name == attribute.name) {
                let fits = matches!(
                    (key.kind, attribute.kind),
                    (KeyType::S, ColumnType::S) | (KeyType::N, ColumnType::N)
                );
                if !fits {
                    return Err(Error::usage(format!(
                        "{:?} is a key of table {table} or of an index of it and has type {}, and the \
                         attribute from column {:?} has type {}",
                        key.name,
                        key.kind,
                        attribute.column,
                        attribute.kind.letter()
                    ))
                    .hint(match key.kind {
                        KeyType::B => "a key of type B cannot be taken from a column".to_owned(),
                        kind => format!("give it by --attr-from {}:{kind}={}", key.name, attribute.column),
                    }));
                }
                most = Some(most.map_or(bytes, |m: usize| m.min(bytes)));
            }
            let name = serde_json::Value::from(attribute.name.as_str());
            columns.push(Column {
                number,
                kind: attribute.kind,
                opening: format!(",{name}:{{\"{}\":", attribute.kind.letter()).into_bytes(),
                name_bytes: attribute.name.len(),
                most,
                is_sort_key,
            });
        }
        columns.sort_by_key(|c| !c.is_sort_key);
        Ok(Columns {
            columns,
            wanted: from.iter().map(|a| a.column.clone()).collect(),
            base_bytes,
        })
    }

    /// The columns to take from each row, in the order in which they were given.
    pub(crate) fn wanted(&self) -> &[String] {
        &self.wanted
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Whether the table's sort key is among them.
    pub(crate) fn has_sort_key(&self) -> bool {
        self.columns.first().is_some_and(|c| c.is_sort_key)
    }

    /// Writes a row's attributes to `out`, as [`Extra`](crate::base::row_attributes::Extra) has them;
    /// `value` gives the n-th of the [wanted](Self::wanted) columns, and nothing where
    /// that is empty. Returns the length of the sort key's part, and the bytes that
    /// DynamoDB stores.
    ///
    /// # Errors
    /// Why the row cannot be written.
    pub(crate) fn write<'a>(
        &self,
        value: impl Fn(usize) -> Option<&'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, usize), Reason> {
        let (mut key_length, mut stored) = (0, 0);
        let start = out.len();
        for column in &self.columns {
            let Some(value) = value(column.number).filter(|v| !v.is_empty()) else {
                if column.is_sort_key {
                    return Err(Reason::NoKey);
                }
                continue;
            };
            out.extend_from_slice(&column.opening);
            let text = text_of(value);
            let bytes = match column.kind {
                ColumnType::S => {
                    // Into memory: it cannot fail.
                    let _ = serde_json::to_writer(&mut *out, &text);
                    text.len()
                }
                ColumnType::N => {
                    let text = text.trim_ascii();
                    if !is_number(text) {
                        return Err(Reason::Attribute);
                    }
                    // By a key an item is known again, in a batch and in an answer.
                    let text = &*match column.is_sort_key {
                        true => canonical(text),
                        false => Cow::Borrowed(text),
                    };
                    out.push(b'"');
                    out.extend_from_slice(text.as_bytes());
                    out.push(b'"');
                    number_size(text)
                }
                ColumnType::Bool => {
                    let text = text.trim_ascii();
                    let is = |word: &str, digit| text.eq_ignore_ascii_case(word) || text == digit;
                    out.extend_from_slice(match () {
                        () if is("true", "1") => b"true",
                        () if is("false", "0") => b"false",
                        () => return Err(Reason::Attribute),
                    });
                    1
                }
            };
            out.push(b'}');
            if column.most.is_some_and(|most| bytes > most) {
                return Err(Reason::LongKey);
            }
            if column.is_sort_key {
                key_length = out.len() - start;
            }
            stored += column.name_bytes + bytes;
        }
        match self.base_bytes + stored > MAX_ITEM_BYTES {
            true => Err(Reason::LargeItem),
            false => Ok((key_length, stored)),
        }
    }
}

/// A number as DynamoDB gives it back: without a plus sign, leading zeros, and trailing
/// ones of its fraction. One with an exponent is left as it is.
/// Source: DynamoDB developer guide, data types, Number.
fn canonical(number: &str) -> Cow<'_, str> {
    if number.contains(['e', 'E']) {
        return Cow::Borrowed(number);
    }
    let unsigned = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let fraction = fraction.trim_end_matches('0');
    let minus = match number.starts_with('-') && (whole, fraction) != ("0", "") {
        true => "-",
        false => "",
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Cow::Owned([minus, whole, point, fraction].concat())
}

/// UTF-8, or else ISO-8859-1.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::key_schema::KeyAttribute;

    fn schema(sort: Option<(&str, KeyType)>) -> KeySchema {
        let key = |name: &str, kind| KeyAttribute {
            name: name.to_owned(),
            kind,
        };
        KeySchema {
            partition: key("sha256", KeyType::S),
            sort: sort.map(|(name, kind)| key(name, kind)),
            index_keys: vec![key("product", KeyType::N)],
        }
    }

    fn columns(list: &[&str], sort: Option<(&str, KeyType)>) -> Result<Columns> {
        let from: Vec<AttributeFrom> = list.iter().map(|a| a.parse().expect("one")).collect();
        Columns::new("t", &schema(sort), &from, 70)
    }

    fn row(columns: &Columns, values: &[&[u8]]) -> Result<(String, usize, usize), Reason> {
        let mut out = Vec::new();
        let (key, stored) = columns.write(|n| values.get(n).copied(), &mut out)?;
        Ok((String::from_utf8(out).expect("JSON"), key, stored))
    }

    #[test]
    fn a_row_gives_its_attributes() {
        let c = columns(&["name=FileName", "size:N=FileSize", "bad:BOOL=Flag"], None).expect("fit");
        assert_eq!(c.wanted(), ["FileName", "FileSize", "Flag"]);
        assert_eq!(
            row(&c, &[b"a \"b\"", b" 503 ", b"TRUE"]),
            Ok((
                r#","name":{"S":"a \"b\""},"size":{"N":"503"},"bad":{"BOOL":true}"#.to_owned(),
                0,
                4 + 5 + 4 + 3 + 3 + 1
            ))
        );
        // What is empty is left out, and what is not UTF-8 is taken byte by byte.
        assert_eq!(
            row(&c, &[b"caf\xE9", b""]),
            Ok((",\"name\":{\"S\":\"café\"}".to_owned(), 0, 4 + 5))
        );
        assert_eq!(row(&c, &[]), Ok((String::new(), 0, 0)));
        assert_eq!(row(&c, &[b"x", b"12a"]), Err(Reason::Attribute));
        assert_eq!(row(&c, &[b"x", b"1", b"maybe"]), Err(Reason::Attribute));
    }

    #[test]
    fn a_sort_key_comes_first_and_must_be_there() {
        let c = columns(&["size:N=s", "name=f"], Some(("name", KeyType::S))).expect("fit");
        assert!(c.has_sort_key());
        let (json, key, _) = row(&c, &[b"7", b"x"]).expect("a row");
        assert_eq!(
            (&json[..key], &json[key..]),
            (r#","name":{"S":"x"}"#, r#","size":{"N":"7"}"#)
        );
        assert_eq!(row(&c, &[b"7", b""]), Err(Reason::NoKey));
        assert_eq!(row(&c, &[b"7", &[b'x'; 1025]]), Err(Reason::LongKey));
    }

    #[test]
    fn a_numeric_sort_key_is_written_as_it_comes_back() {
        let c = columns(&["n:N=n", "m:N=m"], Some(("n", KeyType::N))).expect("fit");
        for (text, written) in [
            ("7", "7"),
            ("+007.50", "7.5"),
            ("-0.10", "-0.1"),
            (".5", "0.5"),
            ("-0.0", "0"),
            ("100", "100"),
            ("1e3", "1e3"),
        ] {
            let (json, key, _) = row(&c, &[text.as_bytes(), b"007"]).expect("a row");
            assert_eq!(
                json[..key],
                format!(",\"n\":{{\"N\":\"{written}\"}}"),
                "{text}"
            );
            assert_eq!(&json[key..], r#","m":{"N":"007"}"#);
        }
    }

    #[test]
    fn a_key_of_another_type_is_refused() {
        for (list, sort) in [
            ("name:N=f", Some(("name", KeyType::S))),
            ("name=f", Some(("name", KeyType::B))),
            ("product=p", None),
        ] {
            let error = columns(&[list], sort).expect_err("refused");
            assert_eq!(error.exit_status(), 2, "{error}");
        }
    }

    #[test]
    fn an_item_that_is_too_large_is_a_reject() {
        let c = columns(&["name=f"], None).expect("fit");
        let long = vec![b'x'; MAX_ITEM_BYTES - 70 - 4];
        assert!(row(&c, &[&long]).is_ok());
        let longer = vec![b'x'; MAX_ITEM_BYTES - 70 - 3];
        assert_eq!(row(&c, &[&longer]), Err(Reason::LargeItem));
    }
}
