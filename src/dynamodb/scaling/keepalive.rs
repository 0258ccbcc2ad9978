//! Traffic that changes no data, so that auto scaling can bring a table down.
//!
//! Auto scaling does not lower the capacity of a table that nobody uses: with
//! nothing consumed its alarm has no data, which is not the same as little use.
//! A delete of a key that cannot exist costs one write unit and leaves nothing,
//! and a read of it costs one read unit. Global indexes are not helped: such a
//! delete writes nothing to them.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::shutdown::Stop;
use crate::dynamodb::describe_table;
use crate::dynamodb::key_schema::{KeyAttribute, KeyType};
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::auto_scaling::Descent;
use crate::dynamodb::table::Table;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use std::collections::HashMap;
use std::time::Duration;

/// The key that cannot exist: it is no hash, neither as hex text nor, with its
/// 19 bytes, as raw bytes. The same as in `scripts/keepalive`.
pub(crate) const KEY: &str = "hashferry-keepalive";

/// Deletes and reads the key that cannot exist, once; the write units consumed.
///
/// # Errors
/// [`ErrorKind::Write`] when DynamoDB refuses.
pub(crate) async fn once(aws: &Aws, table: &Table) -> Result<f64> {
    let key: HashMap<String, AttributeValue> = std::iter::once(&table.schema.partition)
        .chain(&table.schema.sort)
        .map(|k| (k.name.clone(), value(k)))
        .collect();
    let failed = |what: &str, e: CallError| {
        let action = format!("dynamodb:{what}");
        let denied = e.code.as_deref() == Some("AccessDeniedException");
        let e = Error::new(
            ErrorKind::Write,
            format!("{what} on table {} failed", table.name),
        )
        .because(e);
        if denied {
            e.hint(aws.needs(&action))
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

/// Names of the indexes that this does not help: the global ones, which have a
/// capacity of their own. A local one draws on the table's.
pub(crate) fn not_helped(table: &Table) -> Vec<&str> {
    let global = table.indexes.iter().filter(|i| i.global);
    global.map(|i| i.name.as_str()).collect()
}

/// Goes on until table `name` is at its auto scaling minimum, with `interval`
/// between two rounds: that minimum; nothing when `stop` was requested first.
///
/// # Errors
/// [`ErrorKind::Usage`] when nothing will ever bring it down; else as [`once`].
pub(crate) async fn until_minimum(
    aws: &Aws,
    name: &str,
    interval: Duration,
    stop: &Stop,
) -> Result<Option<u64>> {
    loop {
        let table = describe_table::describe(aws, name, None).await?;
        let descent = auto_scaling::descent(aws, &table).await?;
        if descent.is_done() {
            return Ok(Some(descent.min));
        }
        let Descent { write_units, min } = descent;
        tracing::info!("table {name}: {write_units} write units/s, the minimum is {min}");
        once(aws, &table).await?;
        tokio::select! {
            () = stop.requested() => return Ok(None),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

fn value(key: &KeyAttribute) -> AttributeValue {
    match key.kind {
        KeyType::S => AttributeValue::S(KEY.into()),
        KeyType::B => AttributeValue::B(Blob::new(KEY)),
        KeyType::N => AttributeValue::N("-1".into()),
    }
}
