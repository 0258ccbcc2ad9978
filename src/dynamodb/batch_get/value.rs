//! Whether an attribute that was read is the one that is expected.
//!
//! As DynamoDB sees it, not as it is spelled: `1.0` is the number `1`, and a set
//! has no order.

use crate::base::error::{Error, Result};
use crate::base::printable::shown;
use crate::dynamodb::attribute::{Attribute, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::{Borrow, Cow};

/// How much of a value is shown to a person, in characters.
const SHOWN_CHARACTERS: usize = 80;

/// Text of an answer: borrowed from it, but where it is written with escapes.
#[derive(Debug, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// An attribute's value, as it stands in an answer.
#[derive(Debug, Deserialize)]
pub(super) enum Wire<'a> {
    #[serde(borrow)]
    S(Cow<'a, str>),
    #[serde(borrow)]
    N(Cow<'a, str>),
    #[serde(borrow)]
    B(Cow<'a, str>),
    #[serde(rename = "BOOL")]
    Bool(bool),
    #[serde(rename = "NULL")]
    Null(IgnoredAny),
    #[serde(borrow, rename = "SS")]
    Ss(Vec<Text<'a>>),
    #[serde(borrow, rename = "NS")]
    Ns(Vec<Text<'a>>),
    // No item of ours has one of these.
    #[serde(rename = "BS")]
    Bs(IgnoredAny),
    L(IgnoredAny),
    M(IgnoredAny),
}

impl Wire<'_> {
    /// Whether `other` is the same value, of the types that a column can give.
    pub(super) fn is_same(&self, other: &Wire<'_>) -> bool {
        match (self, other) {
            (Wire::S(a), Wire::S(b)) => a == b,
            (Wire::N(a), Wire::N(b)) => same_number(a, b),
            (Wire::Bool(a), Wire::Bool(b)) => a == b,
            _ => false,
        }
    }

    /// The value for a person.
    pub(super) fn shown(&self) -> String {
        let text =
            |kind: &str, text: &str| format!("{kind} {}", shown(text.as_bytes(), SHOWN_CHARACTERS));
        let set = |kind: &str, set: &[Text<'_>]| {
            let texts: Vec<&str> = set.iter().map(|t| t.0.as_ref()).collect();
            text(kind, &texts.join(","))
        };
        match self {
            Wire::S(s) => format!("S {:?}", shown(s.as_bytes(), SHOWN_CHARACTERS)),
            Wire::N(n) => text("N", n),
            Wire::B(b) => text("B", b),
            Wire::Bool(b) => format!("BOOL {b}"),
            Wire::Null(_) => "NULL".into(),
            Wire::Ss(s) => set("SS", s),
            Wire::Ns(s) => set("NS", s),
            Wire::Bs(_) => "a set of binaries (BS)".into(),
            Wire::L(_) => "a list (L)".into(),
            Wire::M(_) => "a map (M)".into(),
        }
    }
}

/// What an attribute must be.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) name: String,
    value: Form,
}

/// A value in the form in which it is compared.
#[derive(Debug, Clone)]
enum Form {
    S(String),
    N(String),
    /// The bytes, and their usual spelling in base64.
    B(Vec<u8>, String),
    Bool(bool),
    Null,
    /// In order.
    Ss(Vec<String>),
    Ns(Vec<String>),
}

impl Expected {
    /// What `attribute` must be.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when a number is none.
    pub(super) fn new(attribute: &Attribute) -> Result<Self> {
        let number = |n: &String| match Decimal::parse(n) {
            Some(_) => Ok(n.clone()),
            None => Err(Error::usage(format!(
                "the attribute {:?} is to be a number, and {n:?} is none",
                attribute.name
            ))),
        };
        let value = match &attribute.value {
            Value::S(s) => Form::S(s.clone()),
            Value::N(n) => Form::N(number(n)?),
            Value::B(b) => Form::B(b.clone(), BASE64.encode(b)),
            Value::Bool(b) => Form::Bool(*b),
            Value::Null => Form::Null,
            Value::Ss(set) => {
                let mut set = set.clone();
                set.sort_unstable();
                Form::Ss(set)
            }
            Value::Ns(set) => Form::Ns(set.iter().map(number).collect::<Result<_>>()?),
        };
        Ok(Expected {
            name: attribute.name.clone(),
            value,
        })
    }

    /// Whether `wire` is it.
    pub(super) fn is(&self, wire: &Wire<'_>) -> bool {
        match (&self.value, wire) {
            (Form::S(s), Wire::S(w)) => s == w,
            (Form::N(n), Wire::N(w)) => same_number(n, w),
            (Form::B(raw, text), Wire::B(w)) => {
                *text == *w || BASE64.decode(&**w).is_ok_and(|w| w == *raw)
            }
            (Form::Bool(b), Wire::Bool(w)) => b == w,
            (Form::Null, Wire::Null(_)) => true,
            (Form::Ss(set), Wire::Ss(w)) => {
                let there = |t: &Text<'_>| set.binary_search_by(|s| s.as_str().cmp(&t.0)).is_ok();
                set.len() == w.len() && w.iter().all(there)
            }
            (Form::Ns(set), Wire::Ns(w)) => {
                let there = |t: &Text<'_>| set.iter().any(|n| same_number(n, &t.0));
                set.len() == w.len() && w.iter().all(there)
            }
            _ => false,
        }
    }
}

/// Whether two texts are the same number; what is no number is only itself.
fn same_number(a: &str, b: &str) -> bool {
    a == b || matches!((Decimal::parse(a), Decimal::parse(b)), (Some(a), Some(b)) if a.is_same(&b))
}

/// A decimal number as it is written, taken apart in place.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    /// From the first to the last digit that is not 0; a point may be between.
    digits: &'a [u8],
    /// The power of ten of the last of them.
    exponent: i64,
}

impl Decimal<'_> {
    fn parse(text: &str) -> Option<Decimal<'_>> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, e)) => (mantissa, i64::from(e.parse::<i32>().ok()?)),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let mantissa = mantissa.as_bytes();
        let points = mantissa.iter().filter(|b| **b == b'.').count();
        if points > 1 || points == mantissa.len() {
            return None;
        }
        if !mantissa.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
            return None;
        }
        let counts = |b: &u8| matches!(b, b'1'..=b'9');
        let (Some(first), Some(last)) = (
            mantissa.iter().position(counts),
            mantissa.iter().rposition(counts),
        ) else {
            return Some(Decimal {
                negative: false,
                digits: &[],
                exponent: 0,
            });
        };
        let point = mantissa.iter().position(|b| *b == b'.');
        let point = point.unwrap_or(mantissa.len());
        // A slice of bytes is never longer than an i64 can say.
        let places = match last < point {
            true => (point - last - 1) as i64,
            false => -((last - point) as i64),
        };
        Some(Decimal {
            negative,
            digits: &mantissa[first..=last],
            exponent: exponent + places,
        })
    }

    fn is_same(&self, other: &Decimal<'_>) -> bool {
        fn digits<'a>(d: &Decimal<'a>) -> impl Iterator<Item = &'a u8> {
            d.digits.iter().filter(|b| **b != b'.')
        }
        self.negative == other.negative
            && self.exponent == other.exponent
            && digits(self).eq(digits(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(attribute: &str, json: &str) -> bool {
        let attribute: Attribute = attribute.parse().expect("an attribute");
        let wire: Wire<'_> = serde_json::from_str(json).expect("a value");
        Expected::new(&attribute).expect("comparable").is(&wire)
    }

    #[test]
    fn values_are_compared_as_dynamodb_compares_them() {
        for (attribute, json) in [
            ("a=x", r#"{"S":"x"}"#),
            ("a=", r#"{"S":""}"#),
            ("a=\u{e9}\"", r#"{"S":"\u00e9\""}"#),
            ("a:N=1.0", r#"{"N":"1"}"#),
            ("a:B=AQI=", r#"{"B":"AQI="}"#),
            ("a:BOOL=true", r#"{"BOOL":true}"#),
            ("a:NULL=", r#"{"NULL":true}"#),
            ("a:SS=b,a", r#"{"SS":["a","b"]}"#),
            ("a:NS=2,1.50", r#"{"NS":["1.5","2"]}"#),
        ] {
            assert!(is(attribute, json), "{attribute} is {json}");
        }
        for (attribute, json) in [
            ("a=x", r#"{"S":"X"}"#),
            ("a=1", r#"{"N":"1"}"#),
            ("a:N=1", r#"{"S":"1"}"#),
            ("a:N=1", r#"{"N":"-1"}"#),
            ("a:B=AQI=", r#"{"B":"AQM="}"#),
            ("a:BOOL=true", r#"{"BOOL":false}"#),
            ("a:NULL=", r#"{"S":""}"#),
            ("a:SS=a,b", r#"{"SS":["a"]}"#),
            ("a:SS=a", r#"{"SS":["a","b"]}"#),
            ("a:SS=a,b", r#"{"SS":["a","c"]}"#),
            ("a:NS=1,2", r#"{"NS":["1","3"]}"#),
            ("a:SS=a", r#"{"L":[{"S":"a"}]}"#),
            ("a=x", r#"{"M":{"x":{"S":"x"}}}"#),
            ("a=x", r#"{"BS":["AQI="]}"#),
        ] {
            assert!(!is(attribute, json), "{attribute} is not {json}");
        }
    }

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for (a, b) in [
            ("1", "1.0"),
            ("1", "+1"),
            ("100", "1e2"),
            ("100", "1E+2"),
            ("0.5", ".5"),
            ("5.", "5"),
            ("0", "-0.00"),
            ("0", "0E10"),
            ("-1.50", "-15e-1"),
            (
                "12345678901234567890123456789012345678",
                "1.2345678901234567890123456789012345678E37",
            ),
            ("0.00120", "1.2e-3"),
            ("1020", "1.02e3"),
        ] {
            assert!(same_number(a, b) && same_number(b, a), "{a} is {b}");
        }
        for (a, b) in [
            ("1", "10"),
            ("1", "-1"),
            ("1", "0.1"),
            ("12", "1.2"),
            ("102", "12"),
            (
                "12345678901234567890123456789012345678",
                "12345678901234567890123456789012345679",
            ),
            ("x", "1"),
            ("", "0"),
            (".", "0"),
            ("1.2.3", "1.23"),
            ("1e", "1"),
        ] {
            assert!(!same_number(a, b) && !same_number(b, a), "{a} is not {b}");
        }
    }

    #[test]
    fn a_value_is_shown_with_its_type() {
        for (json, said) in [
            (r#"{"S":"a\u0007b"}"#, "S \"a\u{FFFD}b\""),
            (r#"{"N":"7"}"#, "N 7"),
            (r#"{"SS":["a","b"]}"#, "SS a,b"),
            (r#"{"BOOL":false}"#, "BOOL false"),
            (r#"{"L":[]}"#, "a list (L)"),
        ] {
            let wire: Wire<'_> = serde_json::from_str(json).expect("a value");
            assert_eq!(wire.shown(), said);
        }
    }
}
