//! The Scan of a few items.

use crate::aws::config::Aws;
use crate::aws::error::{CallError, Meaning};
use crate::base::error::Result;
use crate::dynamodb::client::operation::RawOperation;
use crate::dynamodb::key_schema::KeyAttribute;
use crate::flow::backoff::Backoff;
use crate::pipeline::contents::items::Contents;
use crate::pipeline::contents::look::Look;
use crate::pipeline::contents::settings::RULE_ATTRIBUTES;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// Items that a look reads at most: half a read unit of items of 160 bytes.
const MAX_ITEMS: usize = 25;

/// Calls of Scan before a look ends: those that fail, and those whose page is empty.
const MAX_CALLS: u32 = 4;

/// Reads up to [`MAX_ITEMS`] items of the table `name`, at half a read unit where they are
/// small.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when no call can be made.
pub(crate) async fn look(aws: &Aws, name: &str, key: &KeyAttribute) -> Result<Look> {
    let scan = RawOperation::new(aws, "Scan", name)?;
    let backoff = Backoff::new(fastrand::Rng::new());
    Ok(look_by(|body| scan.send(body), name, key, backoff).await)
}

/// An answer of Scan.
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

/// The same, by `scan`.
pub(super) async fn look_by<F, A>(
    scan: F,
    name: &str,
    key: &KeyAttribute,
    mut backoff: Backoff,
) -> Look
where
    F: Fn(Bytes) -> A,
    A: Future<Output = Result<Bytes, CallError>>,
{
    let mut body = request(name, &key.name);
    let mut contents = Contents::of(name, key);
    let mut read_units = 0.0;
    let mut failures = 0;
    for call in 1..=MAX_CALLS {
        let answer = scan(Bytes::from(body.to_string())).await;
        let page = answer.and_then(|body| {
            serde_json::from_slice::<Page>(&body)
                .map_err(|e| CallError::strange_answer(e.to_string()))
        });
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let again = matches!(error.meaning, Meaning::Throttled | Meaning::Transient);
                if !again || call == MAX_CALLS {
                    return Look::new(Err(error.to_string()), read_units);
                }
                failures += 1;
                tokio::time::sleep(backoff.wait(failures)).await;
                continue;
            }
        };
        let consumed = page.consumed_capacity.and_then(|c| c.capacity_units);
        read_units += consumed.filter(|units| units.is_finite()).unwrap_or(0.0);
        for item in &page.items {
            contents.enter(key, item);
        }
        match page.last_evaluated_key {
            // Deleted items leave empty pages.
            Some(last) if page.items.is_empty() && last.is_object() => {
                body["ExclusiveStartKey"] = last;
            }
            _ => return Look::new(Ok(contents), read_units),
        }
    }
    Look::new(
        Err(format!("{MAX_CALLS} pages of it are empty")),
        read_units,
    )
}

fn request(table: &str, key: &str) -> Value {
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
        "Limit": MAX_ITEMS,
        "ProjectionExpression": projection.join(","),
        "ExpressionAttributeNames": names,
        "ReturnConsumedCapacity": "TOTAL",
    })
}
