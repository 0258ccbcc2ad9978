//! Attributes that each item takes from a column of its row, in command-line syntax.

use std::fmt;
use std::str::FromStr;

/// Type of an attribute from a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ColumnType {
    /// String.
    S,
    /// Number.
    N,
    /// Boolean: `true`, `false`, `1` or `0`, in any case.
    Bool,
}

impl ColumnType {
    pub(crate) fn type_code(self) -> &'static str {
        match self {
            ColumnType::S => "S",
            ColumnType::N => "N",
            ColumnType::Bool => "BOOL",
        }
    }
}

/// An attribute that each item takes from a column of its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeFrom {
    /// Attribute name.
    pub name: String,
    /// Attribute type.
    pub kind: ColumnType,
    /// Column name, or number from 1; in JSON, the field name.
    pub column: String,
}

impl FromStr for AttributeFrom {
    type Err = String;

    /// Parses `NAME=COLUMN` (text) or `NAME:TYPE=COLUMN` with the type S, N or BOOL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (left, column) = text.split_once('=').ok_or(
            "expected NAME=COLUMN or NAME:TYPE=COLUMN, for example size:N=FileSize (no = found)",
        )?;
        let (name, kind) = match left.rsplit_once(':') {
            Some((name, kind)) => (name, kind),
            None => (left, "S"),
        };
        let kind = match kind.to_ascii_uppercase().as_str() {
            "S" => ColumnType::S,
            "N" => ColumnType::N,
            "BOOL" => ColumnType::Bool,
            other => {
                return Err(format!(
                    "unknown type {other:?}: expected S, N or BOOL (a name that holds a colon is \
                     written NAME:S=COLUMN)"
                ));
            }
        };
        if name.is_empty() || column.is_empty() {
            return Err(format!(
                "expected NAME=COLUMN or NAME:TYPE=COLUMN, got {text:?}"
            ));
        }
        Ok(AttributeFrom {
            name: name.to_owned(),
            kind,
            column: column.to_owned(),
        })
    }
}

impl fmt::Display for AttributeFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.name, self.kind.type_code(), self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_such_attribute_is_said() {
        for bad in ["name", "name:SS=x", "=x", "name=", "a:b=c"] {
            assert!(bad.parse::<AttributeFrom>().is_err(), "{bad}");
        }
        let a: AttributeFrom = "a:b:N=c".parse().expect("one");
        assert_eq!(
            (a.name.as_str(), a.to_string().as_str()),
            ("a:b", "a:b:N=c")
        );
    }
}
