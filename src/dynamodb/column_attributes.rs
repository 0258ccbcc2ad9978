//! Attributes from columns: the values that `--attr-from` copies from each row to its item.
//!
//! [`AttributeFrom`] is one attribute in command-line syntax. [`ColumnAttributes`] holds all of
//! them, checked against the table. [`ColumnAttributes::write`] turns a row into the JSON for its
//! item, or rejects the row:
//!
//! * An empty or missing column gives no attribute. If the attribute is the table's sort
//!   key, the row is rejected.
//! * An invalid number or boolean rejects the row.
//! * Text is decoded as UTF-8, or else as ISO-8859-1. Every byte is a character there, so
//!   no name is lost to its encoding.

use crate::base::error::{Error, Result};
use crate::base::record::RejectReason;
use crate::dynamodb::attribute::{is_number, number_bytes};
use crate::dynamodb::attribute_from::{AttributeFrom, ColumnType};
use crate::dynamodb::item::MAX_ITEM_BYTES;
use crate::dynamodb::key_schema::{
    KeySchema, KeyType, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES,
};
use std::borrow::Cow;

/// One attribute, prepared for writing.
#[derive(Debug, Clone)]
struct ColumnAttribute {
    /// Index of its column in `wanted`.
    column_index: usize,
    kind: ColumnType,
    /// `,"name":{"S":`
    json_prefix: Vec<u8>,
    name_bytes: usize,
    /// Maximum bytes of the value; `None` if the attribute is not a key.
    max_bytes: Option<usize>,
    is_sort_key: bool,
}

/// Attributes that items take from their rows. See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct ColumnAttributes {
    /// The sort key, if present, comes first.
    attributes: Vec<ColumnAttribute>,
    column_names: Vec<String>,
    /// Bytes of an item without these attributes.
    base_bytes: usize,
}

impl ColumnAttributes {
    /// Prepares the attributes `from` for items of `schema` that have `base_bytes` without them.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if one lacks the type
    /// that a key of the table needs.
    pub(crate) fn new(
        table: &str,
        schema: &KeySchema,
        from: &[AttributeFrom],
        base_bytes: usize,
    ) -> Result<ColumnAttributes> {
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
                        "{:?} is a key of table {table} or of one of its indexes and has type {}, but the \
                         attribute from column {:?} has type {}",
                        key.name,
                        key.kind,
                        attribute.column,
                        attribute.kind.type_code()
                    ))
                    .with_hint(match key.kind {
                        KeyType::B => "use a key of type S or N: a key of type B cannot be taken from a column".to_owned(),
                        kind => format!("give it with --attr-from {}:{kind}={}", key.name, attribute.column),
                    }));
                }
                most = Some(most.map_or(bytes, |m: usize| m.min(bytes)));
            }
            let name = serde_json::Value::from(attribute.name.as_str());
            columns.push(ColumnAttribute {
                column_index: number,
                kind: attribute.kind,
                json_prefix: format!(",{name}:{{\"{}\":", attribute.kind.type_code()).into_bytes(),
                name_bytes: attribute.name.len(),
                max_bytes: most,
                is_sort_key,
            });
        }
        columns.sort_by_key(|c| !c.is_sort_key);
        Ok(ColumnAttributes {
            attributes: columns,
            column_names: from.iter().map(|a| a.column.clone()).collect(),
            base_bytes,
        })
    }

    /// Columns to take from each row, in command-line order.
    pub(crate) fn column_names(&self) -> &[String] {
        &self.column_names
    }

    /// True if items take no attributes from their rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// True if the table's sort key comes from the row.
    pub(crate) fn has_sort_key(&self) -> bool {
        self.attributes.first().is_some_and(|c| c.is_sort_key)
    }

    /// Writes a row's attributes to `out`, in the form of [`RowAttributes`](crate::base::row_attributes::RowAttributes).
    /// `value` returns the n-th of the [wanted](Self::column_names) columns; `None` if it is empty.
    /// Returns the length of the sort key's JSON, and the bytes that DynamoDB stores.
    ///
    /// # Errors
    /// The reason to reject the row.
    pub(crate) fn write<'a>(
        &self,
        value: impl Fn(usize) -> Option<&'a [u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, usize), RejectReason> {
        let (mut key_length, mut stored) = (0, 0);
        let start = out.len();
        for column in &self.attributes {
            let Some(value) = value(column.column_index).filter(|v| !v.is_empty()) else {
                if column.is_sort_key {
                    return Err(RejectReason::NoKey);
                }
                continue;
            };
            out.extend_from_slice(&column.json_prefix);
            let text = decode_text(value);
            let bytes = match column.kind {
                ColumnType::S => {
                    // Into memory: it cannot fail.
                    let _ = serde_json::to_writer(&mut *out, &text);
                    text.len()
                }
                ColumnType::N => {
                    let text = text.trim_ascii();
                    if !is_number(text) {
                        return Err(RejectReason::Attribute);
                    }
                    // Keys are compared as text, in a batch and in a response.
                    let text = &*match column.is_sort_key {
                        true => canonical_number(text),
                        false => Cow::Borrowed(text),
                    };
                    out.push(b'"');
                    out.extend_from_slice(text.as_bytes());
                    out.push(b'"');
                    number_bytes(text)
                }
                ColumnType::Bool => {
                    let text = text.trim_ascii();
                    let is = |word: &str, digit| text.eq_ignore_ascii_case(word) || text == digit;
                    out.extend_from_slice(match () {
                        () if is("true", "1") => b"true",
                        () if is("false", "0") => b"false",
                        () => return Err(RejectReason::Attribute),
                    });
                    1
                }
            };
            out.push(b'}');
            if column.max_bytes.is_some_and(|most| bytes > most) {
                return Err(RejectReason::LongKey);
            }
            if column.is_sort_key {
                key_length = out.len() - start;
            }
            stored += column.name_bytes + bytes;
        }
        match self.base_bytes + stored > MAX_ITEM_BYTES {
            true => Err(RejectReason::LargeItem),
            false => Ok((key_length, stored)),
        }
    }
}

/// A number in DynamoDB's spelling: no plus sign, leading zeros, or trailing zeros of its
/// fraction. A number with an exponent stays unchanged.
/// Source: DynamoDB developer guide, data types, Number.
fn canonical_number(number: &str) -> Cow<'_, str> {
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

/// Decodes UTF-8, or else ISO-8859-1.
fn decode_text(bytes: &[u8]) -> Cow<'_, str> {
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

    fn columns(list: &[&str], sort: Option<(&str, KeyType)>) -> Result<ColumnAttributes> {
        let from: Vec<AttributeFrom> = list.iter().map(|a| a.parse().expect("one")).collect();
        ColumnAttributes::new("t", &schema(sort), &from, 70)
    }

    fn row(
        columns: &ColumnAttributes,
        values: &[&[u8]],
    ) -> Result<(String, usize, usize), RejectReason> {
        let mut out = Vec::new();
        let (key, stored) = columns.write(|n| values.get(n).copied(), &mut out)?;
        Ok((String::from_utf8(out).expect("JSON"), key, stored))
    }

    #[test]
    fn a_row_gives_its_attributes() {
        let c = columns(&["name=FileName", "size:N=FileSize", "bad:BOOL=Flag"], None).expect("fit");
        assert_eq!(c.column_names(), ["FileName", "FileSize", "Flag"]);
        assert_eq!(
            row(&c, &[b"a \"b\"", b" 503 ", b"TRUE"]),
            Ok((
                r#","name":{"S":"a \"b\""},"size":{"N":"503"},"bad":{"BOOL":true}"#.to_owned(),
                0,
                4 + 5 + 4 + 3 + 3 + 1
            ))
        );
        // Omit empty values, and decode values that are not UTF-8 byte by byte.
        assert_eq!(
            row(&c, &[b"caf\xE9", b""]),
            Ok((",\"name\":{\"S\":\"café\"}".to_owned(), 0, 4 + 5))
        );
        assert_eq!(row(&c, &[]), Ok((String::new(), 0, 0)));
        assert_eq!(row(&c, &[b"x", b"12a"]), Err(RejectReason::Attribute));
        assert_eq!(
            row(&c, &[b"x", b"1", b"maybe"]),
            Err(RejectReason::Attribute)
        );
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
        assert_eq!(row(&c, &[b"7", b""]), Err(RejectReason::NoKey));
        assert_eq!(row(&c, &[b"7", &[b'x'; 1025]]), Err(RejectReason::LongKey));
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
        assert_eq!(row(&c, &[&longer]), Err(RejectReason::LargeItem));
    }
}
