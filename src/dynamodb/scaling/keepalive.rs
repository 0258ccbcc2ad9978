//! Keepalive: traffic that changes no data, so that auto scaling can scale in.
//!
//! Auto scaling does not lower the capacity of an unused table: without consumed capacity
//! its alarm has no data. A delete of a key that cannot exist consumes 1 WCU and changes
//! nothing. A read of that key consumes 1 RCU. Global indexes do not benefit, since such a
//! delete writes nothing to them.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::shutdown::Stop;
use crate::dynamodb::describe_table;
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::auto_scaling::ScaleInPlan;
use crate::dynamodb::table::Table;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use std::collections::HashMap;
use std::time::Duration;

/// Key that cannot exist: it is not hex, and no hash has 19 bytes. `scripts/keepalive` uses
/// the same key.
pub(crate) const KEEPALIVE_KEY: &str = "hashferry-keepalive";

/// Deletes and reads the keepalive key once, and returns the consumed WCU.
///
/// # Errors
/// [`ErrorKind::Write`] if a call fails.
pub(crate) async fn delete_keepalive_item(aws: &Aws, table: &Table) -> Result<f64> {
    let key: HashMap<String, AttributeValue> = std::iter::once(&table.schema.partition)
        .chain(&table.schema.sort)
        .map(|k| (k.name.clone(), keepalive_value(k)))
        .collect();
    let failed = |what: &str, e: CallError| {
        let action = format!("dynamodb:{what}");
        let denied = e.code.as_deref() == Some("AccessDeniedException");
        let e = Error::new(
            ErrorKind::Write,
            format!("{what} on table {} failed", table.name),
        )
        .with_source(e);
        if denied {
            e.with_hint(aws.permission_hint(&action))
        } else {
            e
        }
    };
    let deleted = aws
        .dynamodb()
        .delete_item()
        .table_name(&table.name)
        .set_key(Some(key.clone()))
        .return_consumed_capacity(ReturnConsumedCapacity::Total)
        .send()
        .await
        .map_err(|e| failed("DeleteItem", CallError::from_sdk(e)))?;
    aws.dynamodb()
        .get_item()
        .table_name(&table.name)
        .set_key(Some(key))
        .consistent_read(true)
        .send()
        .await
        .map_err(|e| failed("GetItem", CallError::from_sdk(e)))?;
    Ok(deleted
        .consumed_capacity()
        .and_then(|c| c.capacity_units())
        .unwrap_or(1.0))
}

/// Names of the global indexes, which keepalive does not help to scale in: their capacity
/// is separate. A local index uses the table's.
pub(crate) fn indexes_not_covered(table: &Table) -> Vec<&str> {
    let global = table.indexes.iter().filter(|i| i.global);
    global.map(|i| i.name.as_str()).collect()
}

/// Repeats [`delete_keepalive_item`] every `interval` until the table `name` is at its auto scaling
/// minimum. Returns that minimum; `None` if `stop` is requested first.
///
/// # Errors
/// [`ErrorKind::Usage`] if the table cannot scale in; else as [`delete_keepalive_item`].
pub(crate) async fn run_until_minimum(
    aws: &Aws,
    name: &str,
    interval: Duration,
    stop: &Stop,
) -> Result<Option<u64>> {
    loop {
        let table = describe_table::describe_table(aws, name, None).await?;
        let descent = auto_scaling::describe_scale_in(aws, &table).await?;
        if descent.is_done() {
            return Ok(Some(descent.min));
        }
        let ScaleInPlan { write_units, min } = descent;
        tracing::info!("table {name}: {write_units} WCU/s, scaling in to the minimum of {min}");
        delete_keepalive_item(aws, &table).await?;
        tokio::select! {
            () = stop.requested() => return Ok(None),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

fn keepalive_value(key: &KeyAttribute) -> AttributeValue {
    match key.kind {
        KeyType::S => AttributeValue::S(KEEPALIVE_KEY.into()),
        KeyType::B => AttributeValue::B(Blob::new(KEEPALIVE_KEY)),
        KeyType::N => AttributeValue::N("-1".into()),
    }
}
