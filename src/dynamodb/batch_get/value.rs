//! Comparison of an attribute that was read with the expected one.
//!
//! Values are compared by DynamoDB's rules, not by spelling: `1.0` is the number `1`, and
//! a set has no order.

use crate::base::error::{Error, Result};
use crate::base::printable::printable_bytes;
use crate::dynamodb::attribute::{Attribute, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::marker::PhantomData;

/// Maximum characters of a value in a message.
const SHOWN_CHARACTERS: usize = 80;

/// Text of a response, borrowed unless it contains escapes.
#[derive(Debug, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct WireText<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Borrow<str> for WireText<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Members of a JSON object in their order, duplicates included.
#[derive(Debug, PartialEq)]
pub(super) struct WireMap<'a, V>(pub(super) Vec<(WireText<'a>, V)>);

/// The attributes of an item, or of a key.
pub(super) type WireItem<'a> = WireMap<'a, WireValue<'a>>;

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for WireMap<'a, V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Members<'a, V>(PhantomData<(&'a (), V)>);

        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Members<'a, V> {
            type Value = WireMap<'a, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(WireMap(members))
            }
        }
        from.deserialize_map(Members(PhantomData))
    }
}

/// An attribute's value in a response.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) enum WireValue<'a> {
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
    Ss(Vec<WireText<'a>>),
    #[serde(borrow, rename = "NS")]
    Ns(Vec<WireText<'a>>),
    #[serde(borrow, rename = "BS")]
    Bs(Vec<WireText<'a>>),
    #[serde(borrow)]
    L(Vec<WireValue<'a>>),
    #[serde(borrow)]
    M(WireItem<'a>),
}

impl WireValue<'_> {
    /// True if `other` is the same value, of a type that a column can have.
    pub(super) fn is_same(&self, other: &WireValue<'_>) -> bool {
        match (self, other) {
            (WireValue::S(a), WireValue::S(b)) => a == b,
            (WireValue::N(a), WireValue::N(b)) => is_same_number(a, b),
            (WireValue::Bool(a), WireValue::Bool(b)) => a == b,
            _ => false,
        }
    }

    /// Describes the value for a message.
    pub(super) fn describe(&self) -> String {
        let text = |kind: &str, text: &str| {
            format!(
                "{kind} {}",
                printable_bytes(text.as_bytes(), SHOWN_CHARACTERS)
            )
        };
        let set = |kind: &str, set: &[WireText<'_>]| {
            let texts: Vec<&str> = set.iter().map(|t| t.0.as_ref()).collect();
            text(kind, &texts.join(","))
        };
        match self {
            WireValue::S(s) => format!("S {:?}", printable_bytes(s.as_bytes(), SHOWN_CHARACTERS)),
            WireValue::N(n) => text("N", n),
            WireValue::B(b) => text("B", b),
            WireValue::Bool(b) => format!("BOOL {b}"),
            WireValue::Null(_) => "NULL".into(),
            WireValue::Ss(s) => set("SS", s),
            WireValue::Ns(s) => set("NS", s),
            WireValue::Bs(_) => "a set of binaries (BS)".into(),
            WireValue::L(_) => "a list (L)".into(),
            WireValue::M(_) => "a map (M)".into(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct ExpectedAttribute {
    pub(super) name: String,
    value: ComparableValue,
}

/// A value prepared for comparison.
#[derive(Debug, Clone)]
enum ComparableValue {
    S(String),
    N(String),
    /// The bytes, and their base64 text.
    B(Vec<u8>, String),
    Bool(bool),
    Null,
    /// Sorted.
    Ss(Vec<String>),
    Ns(Vec<String>),
}

impl ExpectedAttribute {
    /// Prepares `attribute` for comparison.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a number is invalid.
    pub(super) fn new(attribute: &Attribute) -> Result<Self> {
        let number = |n: &String| match Decimal::parse(n) {
            Some(_) => Ok(n.clone()),
            None => Err(Error::usage(format!(
                "the attribute {:?} must be a number, got {n:?}",
                attribute.name
            ))),
        };
        let value = match &attribute.value {
            Value::S(s) => ComparableValue::S(s.clone()),
            Value::N(n) => ComparableValue::N(number(n)?),
            Value::B(b) => ComparableValue::B(b.clone(), BASE64.encode(b)),
            Value::Bool(b) => ComparableValue::Bool(*b),
            Value::Null => ComparableValue::Null,
            Value::Ss(set) => {
                let mut set = set.clone();
                set.sort_unstable();
                ComparableValue::Ss(set)
            }
            Value::Ns(set) => ComparableValue::Ns(set.iter().map(number).collect::<Result<_>>()?),
        };
        Ok(ExpectedAttribute {
            name: attribute.name.clone(),
            value,
        })
    }

    /// True if `wire` has the expected value.
    pub(super) fn matches(&self, wire: &WireValue<'_>) -> bool {
        match (&self.value, wire) {
            (ComparableValue::S(s), WireValue::S(w)) => s == w,
            (ComparableValue::N(n), WireValue::N(w)) => is_same_number(n, w),
            (ComparableValue::B(raw, text), WireValue::B(w)) => {
                *text == *w || BASE64.decode(&**w).is_ok_and(|w| w == *raw)
            }
            (ComparableValue::Bool(b), WireValue::Bool(w)) => b == w,
            (ComparableValue::Null, WireValue::Null(_)) => true,
            (ComparableValue::Ss(set), WireValue::Ss(w)) => {
                let there =
                    |t: &WireText<'_>| set.binary_search_by(|s| s.as_str().cmp(&t.0)).is_ok();
                set.len() == w.len() && w.iter().all(there)
            }
            (ComparableValue::Ns(set), WireValue::Ns(w)) => {
                let there = |t: &WireText<'_>| set.iter().any(|n| is_same_number(n, &t.0));
                set.len() == w.len() && w.iter().all(there)
            }
            _ => false,
        }
    }
}

/// True if two texts are the same number, or the same text.
fn is_same_number(a: &str, b: &str) -> bool {
    a == b || matches!((Decimal::parse(a), Decimal::parse(b)), (Some(a), Some(b)) if a.is_same(&b))
}

/// A decimal number, split into its parts without a copy.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    negative: bool,
    /// From the first to the last digit other than 0, with a possible point between.
    digits: &'a [u8],
    /// Power of ten of the last digit.
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
        // The length of a slice always fits an i64.
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
        let wire: WireValue<'_> = serde_json::from_str(json).expect("a value");
        ExpectedAttribute::new(&attribute)
            .expect("comparable")
            .matches(&wire)
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
    fn numbers_are_compared_by_value() {
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
            assert!(is_same_number(a, b) && is_same_number(b, a), "{a} is {b}");
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
            assert!(
                !is_same_number(a, b) && !is_same_number(b, a),
                "{a} is not {b}"
            );
        }
    }

    #[test]
    fn a_value_is_described_with_its_type() {
        for (json, said) in [
            (r#"{"S":"a\u0007b"}"#, "S \"a\u{FFFD}b\""),
            (r#"{"N":"7"}"#, "N 7"),
            (r#"{"SS":["a","b"]}"#, "SS a,b"),
            (r#"{"BOOL":false}"#, "BOOL false"),
            (r#"{"L":[]}"#, "a list (L)"),
        ] {
            let wire: WireValue<'_> = serde_json::from_str(json).expect("a value");
            assert_eq!(wire.describe(), said);
        }
    }
}
