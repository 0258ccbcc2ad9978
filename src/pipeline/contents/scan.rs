//! Scan of a few items of a table.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::Result;
use crate::dynamodb::client::operation::PreparedOperation;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::backoff::Backoff;
use crate::pipeline::contents::inspection::Inspection;
use crate::pipeline::contents::items::InspectedItems;
use crate::pipeline::contents::settings::RULE_ATTRIBUTES;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// Maximum number of items of an inspection: 0.5 RCU for items of 160 bytes.
const MAX_INSPECTED_ITEMS: usize = 25;

/// Maximum number of Scan calls, including failed ones and those with an empty page.
const MAX_CALLS: u32 = 4;

/// Inspects up to [`MAX_INSPECTED_ITEMS`] items of the table `name`; small items cost 0.5 RCU.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if no call can be made.
pub(crate) async fn inspect(aws: &Aws, name: &str, key: &KeyAttribute) -> Result<Inspection> {
    let scan = PreparedOperation::new(aws, "Scan", name)?;
    let backoff = Backoff::new(fastrand::Rng::new());
    Ok(inspect_with(|body| scan.send(body), name, key, backoff).await)
}

/// Response of Scan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<Value>,
    last_evaluated_key: Option<Value>,
    consumed_capacity: Option<Capacity>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    capacity_units: Option<f64>,
}

/// Inspects the table `name` with calls to `scan`.
pub(super) async fn inspect_with<F, A>(
    scan: F,
    name: &str,
    key: &KeyAttribute,
    mut backoff: Backoff,
) -> Inspection
where
    F: Fn(Bytes) -> A,
    A: Future<Output = Result<Bytes, CallError>>,
{
    let mut body = scan_request(name, &key.name);
    let mut contents = InspectedItems::new(name, key);
    let mut read_units = 0.0;
    let mut failures = 0;
    for call in 1..=MAX_CALLS {
        let response = scan(Bytes::from(body.to_string())).await;
        let page = response.and_then(|body| {
            serde_json::from_slice::<Page>(&body)
                .map_err(|e| CallError::unrecognised_response(e.to_string()))
        });
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let can_retry =
                    matches!(error.class, ErrorClass::Throttled | ErrorClass::Transient);
                if !can_retry || call == MAX_CALLS {
                    return Inspection::new(Err(error.to_string()), read_units);
                }
                failures += 1;
                tokio::time::sleep(backoff.wait(failures)).await;
                continue;
            }
        };
        let consumed = page.consumed_capacity.and_then(|c| c.capacity_units);
        read_units += consumed.filter(|units| units.is_finite()).unwrap_or(0.0);
        for item in &page.items {
            contents.add_item(key, item);
        }
        match page.last_evaluated_key {
            // Deleted items leave empty pages.
            Some(last) if page.items.is_empty() && last.is_object() => {
                body["ExclusiveStartKey"] = last;
            }
            _ => return Inspection::new(Ok(contents), read_units),
        }
    }
    Inspection::new(
        Err(format!("Scan returned {MAX_CALLS} empty pages")),
        read_units,
    )
}

fn scan_request(table: &str, key: &str) -> Value {
    let mut names = vec![key];
    names.extend(RULE_ATTRIBUTES.iter().filter(|name| **name != key));
    let names: serde_json::Map<String, Value> = names
        .into_iter()
        .enumerate()
        .map(|(n, name)| (format!("#n{n}"), Value::from(name)))
        .collect();
    let projection: Vec<&str> = names.keys().map(String::as_str).collect();
    json!({
        "TableName": table,
        "Limit": MAX_INSPECTED_ITEMS,
        "ProjectionExpression": projection.join(","),
        "ExpressionAttributeNames": names,
        "ReturnConsumedCapacity": "TOTAL",
    })
}
