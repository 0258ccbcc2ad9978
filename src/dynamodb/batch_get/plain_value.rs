//! An attribute's value as plain JSON, without DynamoDB's types.

use crate::dynamodb::batch_get::ordered_json::{MemberSorter, compare_numbers, write_string};
use crate::dynamodb::batch_get::value::{WireText, WireValue};
use serde_json::value::RawValue;
use std::cmp::Ordering;

/// Appends a value. Its nesting is limited by the JSON parser.
///
/// # Errors
/// If a map has two members with one name.
pub(super) fn write(value: &WireValue<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        WireValue::S(text) | WireValue::B(text) => write_string(out, text),
        WireValue::N(number) => write_number(out, number),
        WireValue::Bool(is) => out.extend_from_slice(if *is { b"true" } else { b"false" }),
        WireValue::Null(_) => out.extend_from_slice(b"null"),
        WireValue::Ss(set) | WireValue::Bs(set) => write_set(out, set, Ord::cmp, write_string),
        WireValue::Ns(set) => write_set(out, set, compare_numbers, write_number),
        WireValue::L(list) => {
            out.push(b'[');
            for (i, value) in list.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(value, out)?;
            }
            out.push(b']');
        }
        WireValue::M(map) => {
            out.push(b'{');
            let mut members = MemberSorter::new(out);
            for (name, value) in &map.0 {
                members.start_member(&name.0, out);
                write(value, out)?;
            }
            members.finish(out)?;
            out.push(b'}');
        }
    }
    Ok(())
}

/// Appends a number digit for digit, or as text if it is no JSON number.
fn write_number(out: &mut Vec<u8>, number: &str) {
    match serde_json::from_str::<&RawValue>(number) {
        Ok(raw)
            if raw.get() == number
                && number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) =>
        {
            out.extend_from_slice(number.as_bytes());
        }
        _ => write_string(out, number),
    }
}

/// Appends the texts of a set in the order of `compare`.
fn write_set(
    out: &mut Vec<u8>,
    set: &[WireText<'_>],
    compare: fn(&str, &str) -> Ordering,
    write: fn(&mut Vec<u8>, &str),
) {
    let mut texts: Vec<&str> = set.iter().map(|text| text.0.as_ref()).collect();
    texts.sort_unstable_by(|a, b| compare(a, b));
    out.push(b'[');
    for (i, text) in texts.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, text);
    }
    out.push(b']');
}
