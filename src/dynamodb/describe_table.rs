//! DescribeTable: key schema, billing and capacity of a table.

use crate::aws::config::{Aws, no_credentials};
use crate::aws::error::{CallError, ErrorClass};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::dynamodb::create_table::create_table;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::dynamodb::table::{Billing, Index, Table};
use aws_sdk_dynamodb::types::{
    BillingMode, KeySchemaElement, KeyType as SchemaRole, ScalarAttributeType, TableDescription,
    TableStatus,
};
use std::time::Duration;

/// Timeout for a table that is being created.
const ACTIVE_TIMEOUT: Duration = Duration::from_secs(300);

/// Describes the table `name` in another `region` and returns its WCU/s; `None` if it has
/// no limit there.
///
/// # Errors
/// [`ErrorKind::Write`] if the call fails.
pub(crate) async fn describe_replica_write_units(
    aws: &Aws,
    region: &str,
    name: &str,
) -> Result<Option<f64>> {
    let answer = aws
        .dynamodb_in_region(region)
        .describe_table()
        .table_name(name)
        .send()
        .await;
    let answer = answer.map_err(|e| {
        Error::new(
            ErrorKind::Write,
            format!("cannot describe table {name} in region {region}"),
        )
        .with_source(CallError::from_sdk(e))
    })?;
    let units = answer
        .table
        .as_ref()
        .and_then(|t| t.provisioned_throughput()?.write_capacity_units());
    Ok(units.filter(|u| *u > 0).map(|u| u as f64))
}

/// Describes the table `name`, and waits for it while it is being created. In a local
/// DynamoDB only, a missing table is created with a partition key named after `make_for`.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is no such table, no permission or no
/// credentials; [`ErrorKind::Write`] if the call fails.
pub(crate) async fn describe_table(
    aws: &Aws,
    name: &str,
    make_for: Option<Algorithm>,
) -> Result<Table> {
    let begun = tokio::time::Instant::now();
    let mut made = false;
    loop {
        match aws
            .dynamodb()
            .describe_table()
            .table_name(name)
            .send()
            .await
        {
            Ok(answer) => {
                let table = answer
                    .table
                    .unwrap_or_else(|| TableDescription::builder().build());
                match table.table_status() {
                    Some(TableStatus::Creating) if begun.elapsed() < ACTIVE_TIMEOUT => {
                        tracing::info!("waiting for table {name}, which is being created");
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    Some(TableStatus::Creating | TableStatus::Deleting) => {
                        return Err(Error::usage(format!(
                            "table {name} is not ready ({})",
                            table.table_status().map_or("", |s| s.as_str())
                        ))
                        .with_hint("wait until the table is ACTIVE, then run this again"));
                    }
                    _ => return parse_table(name, &table),
                }
            }
            Err(error) => {
                let error = CallError::from_sdk(error);
                let missing = error.code.as_deref() == Some("ResourceNotFoundException");
                match make_for {
                    Some(algorithm) if missing && aws.is_local() && !made => {
                        create_table(aws, name, algorithm, Billing::OnDemand { maximum: None })
                            .await?;
                        made = true;
                    }
                    _ => return Err(describe_error(aws, name, error)),
                }
            }
        }
    }
}

/// Schema and billing assumed for the table `name` when DescribeTable is `denied`.
///
/// The partition key is `key`, or else text named after `algorithm`. The table is assumed
/// to be on-demand, so the rate starts there and then follows throttling.
///
/// # Errors
/// `denied`, if neither `key` nor `algorithm` is given.
pub(crate) fn assume_table(
    denied: Error,
    name: &str,
    key: Option<KeyAttribute>,
    algorithm: Option<Algorithm>,
) -> Result<Table> {
    let named = algorithm.map(|a| KeyAttribute {
        name: a.name().to_owned(),
        kind: KeyType::S,
    });
    let Some(partition) = key.or(named) else {
        return Err(denied);
    };
    tracing::warn!(
        "{denied:#}; continuing without the description: the partition key is assumed to be {} ({}; --key names \
         another), indexes and replicas are unknown, and the rate follows throttling (--rate N sets it). \
         Hint: {}",
        partition.name,
        partition.kind,
        denied.hint().unwrap_or_default()
    );
    Ok(Table {
        name: name.to_owned(),
        arn: None,
        id: None,
        schema: KeySchema {
            partition,
            sort: None,
            index_keys: Vec::new(),
        },
        billing: Billing::OnDemand { maximum: None },
        indexes: Vec::new(),
        replicas: Vec::new(),
        warm_write_units: None,
        read_units: None,
        warm_read_units: None,
        decreases_today: 0,
    })
}

/// True if the table `name` exists.
///
/// # Errors
/// [`ErrorKind::Write`] if the call fails.
pub(crate) async fn table_exists(aws: &Aws, name: &str) -> Result<bool> {
    match aws
        .dynamodb()
        .describe_table()
        .table_name(name)
        .send()
        .await
    {
        Ok(_) => Ok(true),
        Err(error) => {
            let error = CallError::from_sdk(error);
            match error.code.as_deref() {
                Some("ResourceNotFoundException") => Ok(false),
                _ => Err(describe_error(aws, name, error)),
            }
        }
    }
}

/// Parses a DescribeTable response.
fn parse_table(name: &str, table: &TableDescription) -> Result<Table> {
    let schema = parse_key_schema(name, table)?;
    let billing = parse_billing(table);
    let positive = |units: Option<i64>| units.filter(|u| *u > 0).map(|u| u as f64);
    let warm = table.warm_throughput();
    let read_units = match billing {
        Billing::Provisioned { .. } => table
            .provisioned_throughput()
            .and_then(|p| p.read_capacity_units()),
        Billing::OnDemand { .. } => table
            .on_demand_throughput()
            .and_then(|t| t.max_read_request_units()),
    };
    Ok(Table {
        name: name.to_owned(),
        arn: table.table_arn().map(str::to_owned),
        id: table.table_id().map(str::to_owned),
        schema,
        billing,
        indexes: parse_indexes(table, billing),
        replicas: parse_replicas(table),
        warm_write_units: positive(warm.and_then(|w| w.write_units_per_second())),
        read_units: positive(read_units),
        warm_read_units: positive(warm.and_then(|w| w.read_units_per_second())),
        decreases_today: table
            .provisioned_throughput()
            .and_then(|p| p.number_of_decreases_today())
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
    })
}

/// Parses the keys of a table and of its indexes.
fn parse_key_schema(name: &str, table: &TableDescription) -> Result<KeySchema> {
    let strange = |what: &str| {
        Error::new(
            ErrorKind::Write,
            format!("DynamoDB's description of table {name} has {what}"),
        )
    };
    let kind = |attribute: &str| {
        table
            .attribute_definitions()
            .iter()
            .find(|d| d.attribute_name() == attribute)
            .and_then(|d| match d.attribute_type() {
                ScalarAttributeType::S => Some(KeyType::S),
                ScalarAttributeType::N => Some(KeyType::N),
                ScalarAttributeType::B => Some(KeyType::B),
                _ => None,
            })
            .map(|kind| KeyAttribute {
                name: attribute.to_owned(),
                kind,
            })
    };
    let key = |role: SchemaRole| table.key_schema().iter().find(|k| *k.key_type() == role);
    let partition = key(SchemaRole::Hash)
        .and_then(|k| kind(k.attribute_name()))
        .ok_or_else(|| strange("no partition key"))?;
    let sort = key(SchemaRole::Range)
        .map(|k| kind(k.attribute_name()).ok_or_else(|| strange("a sort key without a type")))
        .transpose()?;
    let of_table = |n: &str| n == partition.name || sort.as_ref().is_some_and(|s| s.name == n);
    let index_keys = table
        .attribute_definitions()
        .iter()
        .filter(|d| !of_table(d.attribute_name()))
        .filter_map(|d| kind(d.attribute_name()))
        .collect();
    Ok(KeySchema {
        partition,
        sort,
        index_keys,
    })
}

/// Parses the billing mode of a table.
fn parse_billing(table: &TableDescription) -> Billing {
    let on_demand = table
        .billing_mode_summary()
        .and_then(|b| b.billing_mode())
        .is_some_and(|m| *m == BillingMode::PayPerRequest);
    let provisioned = table
        .provisioned_throughput()
        .and_then(|p| p.write_capacity_units())
        .unwrap_or(0);
    if on_demand || provisioned <= 0 {
        let maximum = table
            .on_demand_throughput()
            .and_then(|t| t.max_write_request_units())
            .and_then(|m| u64::try_from(m).ok())
            .filter(|m| *m > 0);
        Billing::OnDemand { maximum }
    } else {
        Billing::Provisioned {
            write_units: provisioned.unsigned_abs(),
        }
    }
}

/// Parses the secondary indexes of a table, global ones first.
fn parse_indexes(table: &TableDescription, billing: Billing) -> Vec<Index> {
    let index = |name: Option<&str>, global, keys: &[KeySchemaElement], units: Option<i64>| Index {
        name: name.unwrap_or_default().to_owned(),
        global,
        keys: keys.iter().map(|k| k.attribute_name().to_owned()).collect(),
        write_units: units.filter(|u| *u > 0).map(|u| u as f64),
    };
    let global = table.global_secondary_indexes().iter().map(|i| {
        let units = match billing {
            Billing::Provisioned { .. } => i
                .provisioned_throughput()
                .and_then(|p| p.write_capacity_units()),
            Billing::OnDemand { .. } => i
                .on_demand_throughput()
                .and_then(|t| t.max_write_request_units()),
        };
        index(i.index_name(), true, i.key_schema(), units)
    });
    let local = table
        .local_secondary_indexes()
        .iter()
        .map(|i| index(i.index_name(), false, i.key_schema(), None));
    global.chain(local).collect()
}

/// Regions of the replicas, without the table's own.
fn parse_replicas(table: &TableDescription) -> Vec<String> {
    // arn:aws:dynamodb:REGION:…; the list of replicas may include the table's own region.
    let home = table.table_arn().and_then(|arn| arn.split(':').nth(3));
    table
        .replicas()
        .iter()
        .filter_map(|r| r.region_name())
        .filter(|r| Some(*r) != home)
        .map(str::to_owned)
        .collect()
}

/// Error of a failed DescribeTable call, with a hint.
fn describe_error(aws: &Aws, name: &str, error: CallError) -> Error {
    let place = aws.describe_dynamodb();
    if error.no_credentials {
        return no_credentials(aws, error);
    }
    match (error.class, error.code.as_deref()) {
        (_, Some("ResourceNotFoundException")) => {
            Error::usage(format!("there is no table {name} {place}")).with_hint(
                "check the name and the region (--region, AWS_REGION); \
                 create a table with: aws dynamodb create-table",
            )
        }
        (_, Some("AccessDeniedException")) => {
            Error::new(ErrorKind::Denied, format!("access to table {name} {place} is denied"))
                .with_source(error)
                .with_hint(aws.permission_hint("dynamodb:DescribeTable"))
        }
        (
            _,
            Some(
                "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "MissingAuthenticationTokenException"
                | "IncompleteSignatureException",
            ),
        ) => Error::usage(format!("DynamoDB {place} does not accept these credentials"))
            .with_source(error)
            .with_hint("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (ErrorClass::Expired, _) => {
            Error::usage(format!("the credentials for DynamoDB {place} have expired"))
                .with_source(error)
                .with_hint("renew them (for example: aws sso login), then run this again")
        }
        (ErrorClass::Invalid, _) => {
            Error::usage(format!("{name:?} is not a valid table name")).with_source(error)
        }
        _ => Error::new(ErrorKind::Write, format!("cannot describe table {name} of DynamoDB {place}"))
            .with_source(error)
            .with_hint("check the region, the endpoint and the network, then run this again; nothing was written"),
    }
}

#[cfg(test)]
mod tests;
