//! DynamoDB's rules for an item: validity, size and key.
//!
//! Written from DynamoDB's documentation and error messages. It shares no code with the
//! program under test, so that both cannot have the same error.

use aws_smithy_types::base64;
use serde_json::{Map, Value};

/// An item, or a key: attribute names and `{"S": "…"}`-like values.
pub type Item = Map<String, Value>;

/// Maximum item size, by [`size`]. Source: Developer Guide, "Quotas": 400 KB.
pub const MAX_ITEM: usize = 400 * 1024;
/// Maximum size of a partition key. Source: Developer Guide, "Quotas".
pub const MAX_PARTITION_KEY: usize = 2048;
/// Maximum size of a sort key. Source: Developer Guide, "Quotas".
pub const MAX_SORT_KEY: usize = 1024;
/// Maximum number of digits in a number. Source: Developer Guide, "Quotas".
const MAX_DIGITS: usize = 38;

/// An error response with DynamoDB's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// `ValidationException`: well formed, but not allowed.
    Validation(String),
    /// `SerializationException`: not well formed.
    Serialization(String),
}

fn validation<T>(why: impl Into<String>) -> Result<T, RequestError> {
    Err(RequestError::Validation(why.into()))
}

fn serialization<T>(why: impl Into<String>) -> Result<T, RequestError> {
    Err(RequestError::Serialization(why.into()))
}

/// The type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// Text.
    S,
    /// Bytes.
    B,
    /// A number.
    N,
}

impl KeyType {
    /// The name in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::B => "B",
            Self::N => "N",
        }
    }
}

/// The key of a table.
#[derive(Clone, Debug)]
pub struct KeySchema {
    /// The partition key's name and type.
    pub partition: (String, KeyType),
    /// The sort key's name and type; `None` without a sort key.
    pub sort: Option<(String, KeyType)>,
}

impl KeySchema {
    /// The bytes that identify an item: text as UTF-8, binary decoded, a number in one
    /// spelling. A zero byte separates the partition key from the sort key. Fails as
    /// PutItem does if a key is missing, empty, too long or of another type.
    pub fn key_of(&self, item: &Item) -> Result<Vec<u8>, RequestError> {
        let (name, kind) = &self.partition;
        let mut key = key_bytes(item, name, *kind)?;
        if key.len() > MAX_PARTITION_KEY {
            return validation(
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
            );
        }
        if let Some((name, kind)) = &self.sort {
            let sort = key_bytes(item, name, *kind)?;
            if sort.len() > MAX_SORT_KEY {
                return validation(
                    "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
                );
            }
            key.push(0);
            key.extend_from_slice(&sort);
        }
        Ok(key)
    }

    /// As [`key_of`](Self::key_of), for requests with only a key.
    pub fn exact_key(&self, key: &Item) -> Result<Vec<u8>, RequestError> {
        let attributes = 1 + usize::from(self.sort.is_some());
        match self.key_of(key) {
            Ok(bytes) if key.len() == attributes => Ok(bytes),
            Err(RequestError::Validation(why)) if why.contains("empty") => validation(why),
            _ => validation("The provided key element does not match the schema"),
        }
    }
}

fn key_bytes(item: &Item, name: &str, kind: KeyType) -> Result<Vec<u8>, RequestError> {
    let Some(value) = item.get(name) else {
        return validation(format!(
            "One or more parameter values were invalid: Missing the key {name} in the item"
        ));
    };
    let (actual, content) = type_and_content(value)?;
    if actual != kind.name() {
        return validation(format!(
            "One or more parameter values were invalid: Type mismatch for key {name} expected: {} actual: {actual}",
            kind.name()
        ));
    }
    let bytes = match kind {
        KeyType::S => string(content)?.as_bytes().to_vec(),
        KeyType::B => binary(content)?,
        KeyType::N => Decimal::parse(string(content)?)?.to_string().into_bytes(),
    };
    if bytes.is_empty() {
        let type_name = if kind == KeyType::B {
            "binary"
        } else {
            "string"
        };
        return validation(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {type_name} value. Key: {name}"
        ));
    }
    Ok(bytes)
}

/// The billed size: names and values, by the Developer Guide's "DynamoDB item sizes and
/// formats". Fails for an invalid item.
pub fn size(item: &Item) -> Result<usize, RequestError> {
    let sizes = item
        .iter()
        .map(|(name, value)| Ok(name.len() + value_size(value)?));
    sizes.sum()
}

/// WCU for a put of an item of this size.
pub fn write_units(size: usize) -> u64 {
    size.div_ceil(1024).max(1) as u64
}

fn value_size(value: &Value) -> Result<usize, RequestError> {
    let (kind, content) = type_and_content(value)?;
    Ok(match kind {
        "S" => string(content)?.len(),
        "B" => binary(content)?.len(),
        "N" => Decimal::parse(string(content)?)?.size(),
        "BOOL" if content.is_boolean() => 1,
        "NULL" if content.as_bool() == Some(true) => 1,
        "L" => {
            let mut total = 3;
            for element in array(content)? {
                total += 1 + value_size(element)?;
            }
            total
        }
        "M" => {
            let Value::Object(map) = content else {
                return serialization("Unexpected token where a map was expected");
            };
            3 + map.len() + size(map)?
        }
        "SS" | "NS" | "BS" => {
            let mut total = 0;
            for element in array(content)? {
                total += value_size(&serde_json::json!({ &kind[..1]: element }))?;
            }
            if total == 0 {
                return validation(
                    "One or more parameter values were invalid: An set may not be empty",
                );
            }
            total
        }
        _ => return serialization(format!("Unexpected content of an attribute of type {kind}")),
    })
}

/// The type and the content of an attribute value.
fn type_and_content(value: &Value) -> Result<(&str, &Value), RequestError> {
    const TYPES: [&str; 10] = ["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"];
    let Value::Object(fields) = value else {
        return serialization("Unexpected value type in payload");
    };
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (None, _) => validation(
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ),
        (Some(_), Some(_)) => validation(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
        ),
        (Some((kind, content)), None) if TYPES.contains(&kind.as_str()) => Ok((kind, content)),
        (Some((kind, _)), None) => serialization(format!("Unexpected field {kind}")),
    }
}

fn string(content: &Value) -> Result<&str, RequestError> {
    match content {
        Value::String(text) => Ok(text),
        Value::Number(_) => serialization("NUMBER_VALUE cannot be converted to String"),
        Value::Bool(true) => serialization("TRUE_VALUE cannot be converted to String"),
        Value::Bool(false) => serialization("FALSE_VALUE cannot be converted to String"),
        _ => serialization("Unexpected value type in payload"),
    }
}

fn binary(content: &Value) -> Result<Vec<u8>, RequestError> {
    base64::decode(string(content)?)
        .or_else(|_| serialization("Invalid Base64 content in an attribute of type B"))
}

fn array(content: &Value) -> Result<&[Value], RequestError> {
    match content {
        Value::Array(elements) => Ok(elements),
        _ => serialization("Unexpected token where a list was expected"),
    }
}

/// A number, stored as its significant digits and the power of ten of the last.
#[derive(Debug)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i32,
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, RequestError> {
        let wrong = || {
            RequestError::Validation(format!(
                "The parameter cannot be converted to a numeric value: {text}"
            ))
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, e)) => (mantissa, e.parse::<i16>().map_err(|_| wrong())?),
            None => (text, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let short = all.trim_end_matches('0');
        let zeros = i32::try_from(all.len() - short.len()).map_err(|_| wrong())?;
        let places = i32::try_from(fraction.len()).map_err(|_| wrong())?;
        let digits = short.trim_start_matches('0').to_owned();
        if digits.len() > MAX_DIGITS {
            return validation("Attempting to store more than 38 significant digits in a Number");
        }
        Ok(match digits.is_empty() {
            true => Self {
                negative: false,
                digits: "0".to_owned(),
                exponent: 0,
            },
            false => Self {
                negative,
                digits,
                exponent: i32::from(exponent) + zeros - places,
            },
        })
    }

    /// Size in bytes: one for two digits, one extra, and one for a minus sign.
    fn size(&self) -> usize {
        self.digits.len().div_ceil(2) + 1 + usize::from(self.negative)
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        match self.exponent {
            0 => write!(f, "{sign}{}", self.digits),
            e @ 1..=20 => write!(f, "{sign}{}{}", self.digits, "0".repeat(e as usize)),
            e => write!(f, "{sign}{}E{e}", self.digits),
        }
    }
}
