//! The form that ImportTable takes a list in.

use crate::base::hash::{Hash, MAX_HASH_BYTES};
use crate::base::record::{Place, Record};
use crate::commands::plan::survey::Survey;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;

/// What ImportTable would be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImportForm {
    /// `CSV` or `DYNAMODB_JSON`.
    pub(super) name: &'static str,
    /// The columns of CSV, in order.
    pub(super) columns: Vec<String>,
    /// A row, without its line feed; all have its length.
    pub(super) row: String,
    /// The one S3 object that was read, where it can be imported as it lies there.
    pub(super) as_it_lies: Option<String>,
}

impl ImportForm {
    /// CSV where every attribute is a text (CSV knows no other type, keys
    /// aside), else DynamoDB JSON.
    pub(super) fn of(survey: &Survey, template: &ItemTemplate, schema: &KeySchema) -> Self {
        let mut body = Vec::new();
        let example = Hash::from_bytes(&[0xAB; MAX_HASH_BYTES][..survey.algorithm.bytes()]);
        let nowhere = Place {
            source: 0,
            line: 0,
            byte: 0,
        };
        let example = example.map(|hash| Record::new(hash, nowhere));
        template.write_request(&example, &mut body);
        // What the template writes, taken apart again: the item and no copy of
        // how it is made.
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let item = request
            .pointer("/RequestItems")
            .and_then(|tables| tables.as_object()?.values().next())
            .and_then(|puts| puts.pointer("/0/PutRequest/Item"))
            .cloned()
            .unwrap_or_default();
        let key = &schema.partition.name;
        let mut columns = vec![key.clone()];
        let attributes = item.as_object().into_iter().flat_map(|item| item.keys());
        columns.extend(attributes.filter(|name| *name != key).cloned());
        let texts: Option<Vec<&str>> = columns
            .iter()
            .map(|name| item.get(name)?.get("S")?.as_str())
            .collect();
        match texts {
            Some(texts) => ImportForm {
                name: "CSV",
                as_it_lies: match &survey.sources[..] {
                    [one]
                        if survey.verbatim && texts.len() == 1 && one.uri.starts_with("s3://") =>
                    {
                        Some(one.uri.clone())
                    }
                    _ => None,
                },
                row: texts
                    .iter()
                    .map(|t| csv_field(t))
                    .collect::<Vec<_>>()
                    .join(","),
                columns,
            },
            None => ImportForm {
                name: "DYNAMODB_JSON",
                columns,
                row: serde_json::json!({ "Item": item }).to_string(),
                as_it_lies: None,
            },
        }
    }
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
