//! Attributes of an item: typed values, their sizes, and their command-line syntax.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::str::FromStr;

/// An attribute that every item gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Attribute name.
    pub name: String,
    /// Attribute value.
    pub value: Value,
}

/// A typed attribute value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// String.
    S(String),
    /// Number, as text, the form that DynamoDB uses.
    N(String),
    /// Binary.
    B(Vec<u8>),
    /// Boolean.
    Bool(bool),
    /// Null.
    Null,
    /// String set.
    Ss(Vec<String>),
    /// Number set.
    Ns(Vec<String>),
}

impl Value {
    pub(crate) fn type_code(&self) -> &'static str {
        match self {
            Value::S(_) => "S",
            Value::N(_) => "N",
            Value::B(_) => "B",
            Value::Bool(_) => "BOOL",
            Value::Null => "NULL",
            Value::Ss(_) => "SS",
            Value::Ns(_) => "NS",
        }
    }

    /// Size in bytes as DynamoDB counts it.
    /// Source: DynamoDB developer guide, CapacityUnitCalculations.
    pub(crate) fn stored_bytes(&self) -> usize {
        match self {
            Value::S(s) => s.len(),
            Value::N(n) => number_bytes(n),
            Value::B(b) => b.len(),
            Value::Bool(_) | Value::Null => 1,
            Value::Ss(set) => set.iter().map(String::len).sum(),
            Value::Ns(set) => set.iter().map(|n| number_bytes(n)).sum(),
        }
    }

    /// DynamoDB JSON of the value: `{"S":"…"}`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Value::S(s) => json!({ "S": s }),
            Value::N(n) => json!({ "N": n }),
            Value::B(b) => json!({ "B": BASE64.encode(b) }),
            Value::Bool(b) => json!({ "BOOL": b }),
            Value::Null => json!({ "NULL": true }),
            Value::Ss(set) => json!({ "SS": set }),
            Value::Ns(set) => json!({ "NS": set }),
        }
    }
}

/// Approximate stored size of a number in bytes: one per two significant digits, plus one.
/// Zeros at either end do not count.
pub(crate) fn number_bytes(n: &str) -> usize {
    let mantissa = n.split(['e', 'E']).next().unwrap_or(n);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len().div_ceil(2) + 1
}

/// True if `n` is a number of at most 38 significant digits, DynamoDB's maximum.
/// DynamoDB itself checks the exponent range.
pub(crate) fn is_number(n: &str) -> bool {
    let significant = n
        .split(['e', 'E'])
        .next()
        .unwrap_or(n)
        .chars()
        .filter(char::is_ascii_digit)
        .collect::<String>();
    n.parse::<f64>().is_ok_and(f64::is_finite)
        && n.contains(|c: char| c.is_ascii_digit())
        && significant.trim_matches('0').len() <= 38
}

impl FromStr for Attribute {
    type Err = String;

    /// Parses `NAME=TEXT` (a string) or `NAME:TYPE=VALUE` with one of DynamoDB's types:
    /// `S`, `N`, `B` (base64), `BOOL`, `NULL`, `SS` and `NS` (comma-separated).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (left, right) = text.split_once('=').ok_or(
            "expected NAME=TEXT or NAME:TYPE=VALUE, for example release:N=2026 (no = found)",
        )?;
        let (name, kind) = match left.rsplit_once(':') {
            Some((name, kind)) => (name, kind),
            None => (left, "S"),
        };
        if name.is_empty() {
            return Err("the attribute has no name before the =".into());
        }
        let set = || right.split(',').map(str::to_owned).collect::<Vec<_>>();
        let value = match kind.to_ascii_uppercase().as_str() {
            "S" => Value::S(right.to_owned()),
            "N" => Value::N(right.to_owned()),
            "B" => Value::B(
                BASE64
                    .decode(right)
                    .map_err(|e| format!("expected base64 after :B=: {e}"))?,
            ),
            "BOOL" => Value::Bool(match right.to_ascii_lowercase().as_str() {
                "true" => true,
                "false" => false,
                _ => {
                    return Err(format!(
                        "expected true or false after :BOOL=, got {right:?}"
                    ));
                }
            }),
            "NULL" => Value::Null,
            "SS" => Value::Ss(set()),
            "NS" => Value::Ns(set()),
            other => {
                return Err(format!(
                    "unknown type {other:?}: expected S, N, B, BOOL, NULL, SS or NS \
                     (a name that holds a colon is written NAME:S=TEXT)"
                ));
            }
        };
        let numbers: &[String] = match &value {
            Value::N(n) => std::slice::from_ref(n),
            Value::Ns(set) => set,
            _ => &[],
        };
        if let Some(bad) = numbers.iter().find(|n| !is_number(n)) {
            return Err(format!(
                "expected a number of at most 38 digits, got {bad:?}"
            ));
        }
        if let Value::Ss(set) | Value::Ns(set) = &value {
            let mut seen = std::collections::HashSet::new();
            if let Some(twice) = set.iter().find(|v| !seen.insert(*v)) {
                return Err(format!("a set holds each value once, got {twice:?} twice"));
            }
        }
        Ok(Attribute {
            name: name.to_owned(),
            value,
        })
    }
}

impl fmt::Display for Attribute {
    /// Writes the syntax that [`FromStr`] parses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, kind) = (&self.name, self.value.type_code());
        match &self.value {
            Value::S(s) if !name.contains(':') => write!(f, "{name}={s}"),
            Value::S(s) | Value::N(s) => write!(f, "{name}:{kind}={s}"),
            Value::B(b) => write!(f, "{name}:{kind}={}", BASE64.encode(b)),
            Value::Bool(b) => write!(f, "{name}:{kind}={b}"),
            Value::Null => write!(f, "{name}:{kind}="),
            Value::Ss(set) | Value::Ns(set) => write!(f, "{name}:{kind}={}", set.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_typed() {
        let ok = |s: &str| s.parse::<Attribute>().expect("parses");
        assert_eq!(ok("a=b=c").value, Value::S("b=c".into()));
        assert_eq!(ok("a:b:S=c").name, "a:b");
        assert_eq!(ok("n:N=-1.5e3").value, Value::N("-1.5e3".into()));
        assert_eq!(
            ok("s:SS=a,b").value,
            Value::Ss(vec!["a".into(), "b".into()])
        );
        for text in [
            "a=b=c",
            "a:b:S=c",
            "n:N=-1.5e3",
            "b:B=AQI=",
            "f:BOOL=true",
            "z:NULL=",
            "s:SS=a,b",
            "m:NS=1,2",
        ] {
            assert_eq!(ok(text).to_string(), text);
        }
        for bad in [
            "a", "=x", "n:N=abc", "n:N=", "n:N=inf", "b:BOOL=1", "x:Q=1", "s:SS=a,a", "b:B=?",
            "n:NS=1,x",
        ] {
            assert!(bad.parse::<Attribute>().is_err(), "{bad}");
        }
        assert!(
            format!("n:N={}", "1".repeat(39))
                .parse::<Attribute>()
                .is_err()
        );
    }
}
