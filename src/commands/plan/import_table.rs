//! Input format of ImportTable for a list.

use crate::base::hash::{Hash, MAX_HASH_BYTES};
use crate::base::record::{Position, Record};
use crate::commands::plan::survey::Survey;
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::key_schema::KeySchema;

/// The list as input of ImportTable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImportFormat {
    /// `CSV` or `DYNAMODB_JSON`.
    pub(super) name: &'static str,
    /// The columns of the CSV, in order.
    pub(super) columns: Vec<String>,
    /// An example row without line feed. All rows have its length.
    pub(super) row: String,
    /// URI of the S3 object that is a valid import file already. `None` if there is none.
    pub(super) existing_object: Option<String>,
}

impl ImportFormat {
    /// The format for items of `template`: CSV if every attribute is a text, else DynamoDB
    /// JSON. ImportTable reads all CSV values except keys as texts.
    pub(super) fn new(survey: &Survey, template: &ItemTemplate, schema: &KeySchema) -> Self {
        let mut body = Vec::new();
        let example = Hash::from_bytes(&[0xAB; MAX_HASH_BYTES][..survey.algorithm.bytes()]);
        let nowhere = Position {
            source: 0,
            line: 0,
            byte: 0,
        };
        let example = example.map(|hash| Record::new(hash, nowhere));
        template.write_request(&example, &mut body);
        // Parse the template's own output instead of building the item a second time.
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
            Some(texts) => ImportFormat {
                name: "CSV",
                existing_object: match &survey.sources[..] {
                    [one]
                        if survey.is_key_csv
                            && texts.len() == 1
                            && one.uri.starts_with("s3://") =>
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
            None => ImportFormat {
                name: "DYNAMODB_JSON",
                columns,
                row: serde_json::json!({ "Item": item }).to_string(),
                existing_object: None,
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
