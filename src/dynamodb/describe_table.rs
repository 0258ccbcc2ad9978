//! DescribeTable: the key schema, and how much the table can take.

use crate::aws::config::{Aws, no_credentials};
use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::dynamodb::create_table::create;
use crate::dynamodb::key_schema::{KeyAttribute, KeySchema, KeyType};
use crate::dynamodb::table::{Billing, Index, Table};
use aws_sdk_dynamodb::types::{
    BillingMode, KeySchemaElement, KeyType as SchemaRole, ScalarAttributeType, TableDescription,
    TableStatus,
};
use std::time::Duration;

/// How long a table may be in the making before it is no use waiting.
const TABLE_WAIT: Duration = Duration::from_secs(300);

/// The write capacity of the table `name` in another `region`; nothing when it
/// has no limit there.
///
/// # Errors
/// [`ErrorKind::Write`] when the region cannot be asked.
pub(crate) async fn in_region(aws: &Aws, region: &str, name: &str) -> Result<Option<f64>> {
    let answer = aws
        .dynamodb_in(region)
        .describe_table()
        .table_name(name)
        .send()
        .await;
    let answer = answer.map_err(|e| {
        Error::new(
            ErrorKind::Write,
            format!("cannot ask region {region} about table {name}"),
        )
        .because(CallError::from_sdk(e))
    })?;
    let units = answer
        .table
        .as_ref()
        .and_then(|t| t.provisioned_throughput()?.write_capacity_units());
    Ok(units.filter(|u| *u > 0).map(|u| u as f64))
}

/// Asks for the table `name`. A table that is being made is waited for; one
/// that does not exist is made, in a local DynamoDB only, with a partition key
/// named as `make_for` is.
///
/// # Errors
/// [`ErrorKind::Usage`] when there is no such table, no permission or no
/// credentials; [`ErrorKind::Write`] when DynamoDB cannot be asked.
pub(crate) async fn describe(aws: &Aws, name: &str, make_for: Option<Algorithm>) -> Result<Table> {
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
                    Some(TableStatus::Creating) if begun.elapsed() < TABLE_WAIT => {
                        tracing::info!("table {name} is being created: waiting for it");
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                    Some(TableStatus::Creating | TableStatus::Deleting) => {
                        return Err(Error::usage(format!(
                            "table {name} is not ready ({})",
                            table.table_status().map_or("", |s| s.as_str())
                        ))
                        .hint("wait until the table is ACTIVE, then run this again"));
                    }
                    _ => return read(name, &table),
                }
            }
            Err(error) => {
                let error = CallError::from_sdk(error);
                let missing = error.code.as_deref() == Some("ResourceNotFoundException");
                match make_for {
                    Some(algorithm) if missing && aws.is_local() && !made => {
                        create(aws, name, algorithm, Billing::OnDemand { maximum: None }).await?;
                        made = true;
                    }
                    _ => return Err(refused(aws, name, error)),
                }
            }
        }
    }
}

/// What is taken for granted of the table `name` where describing it was
/// `denied`: that its partition key is `key`, or else text and named as
/// `algorithm` is, and that it is paid per request, which is where the rate then
/// begins before it follows what is refused.
///
/// # Errors
/// `denied`, when nothing says what the key is.
pub(crate) fn assumed(
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
        "{denied:#}: going on without. Its partition key is taken to be {} ({}; --key says otherwise), indexes \
         and replicas are not known, and the rate follows what is refused (--rate N says how much there is). \
         What to do: {}",
        partition.name,
        partition.kind,
        denied.what_to_do().unwrap_or_default()
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
        warm: None,
        read_units: None,
        warm_reads: None,
        decreases_today: 0,
    })
}

/// Whether there is a table `name`.
///
/// # Errors
/// [`ErrorKind::Write`] when DynamoDB cannot be asked.
pub(crate) async fn exists(aws: &Aws, name: &str) -> Result<bool> {
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
                _ => Err(refused(aws, name, error)),
            }
        }
    }
}

/// Reads a DescribeTable answer.
fn read(name: &str, table: &TableDescription) -> Result<Table> {
    let schema = schema(name, table)?;
    let billing = billing(table);
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
        indexes: indexes(table, billing),
        replicas: replicas(table),
        warm: positive(warm.and_then(|w| w.write_units_per_second())),
        read_units: positive(read_units),
        warm_reads: positive(warm.and_then(|w| w.read_units_per_second())),
        decreases_today: table
            .provisioned_throughput()
            .and_then(|p| p.number_of_decreases_today())
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
    })
}

/// The keys of a table and of its indexes.
fn schema(name: &str, table: &TableDescription) -> Result<KeySchema> {
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

/// How a table's writes are paid.
fn billing(table: &TableDescription) -> Billing {
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

/// The secondary indexes of a table, the global ones first.
fn indexes(table: &TableDescription, billing: Billing) -> Vec<Index> {
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

/// The other regions that a table is replicated to.
fn replicas(table: &TableDescription) -> Vec<String> {
    // arn:aws:dynamodb:REGION:…; whether the list names it too does not matter.
    let home = table.table_arn().and_then(|arn| arn.split(':').nth(3));
    table
        .replicas()
        .iter()
        .filter_map(|r| r.region_name())
        .filter(|r| Some(*r) != home)
        .map(str::to_owned)
        .collect()
}

/// Says why the table could not be asked for, and what to do.
fn refused(aws: &Aws, name: &str, error: CallError) -> Error {
    let place = aws.dynamodb_place();
    if error.no_credentials {
        return no_credentials(aws, error);
    }
    match (error.meaning, error.code.as_deref()) {
        (_, Some("ResourceNotFoundException")) => {
            Error::usage(format!("there is no table {name} {place}")).hint(
                "check the name and the region (--region, AWS_REGION); \
                 a table of its own is made by: aws dynamodb create-table",
            )
        }
        (_, Some("AccessDeniedException")) => {
            Error::new(ErrorKind::Denied, format!("access to table {name} {place} is denied"))
                .because(error)
                .hint(aws.needs("dynamodb:DescribeTable"))
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
            .because(error)
            .hint("check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"),
        (Meaning::Expired, _) => {
            Error::usage(format!("the credentials for DynamoDB {place} have expired"))
                .because(error)
                .hint("renew them (for example: aws sso login), then run this again")
        }
        (Meaning::Invalid, _) => {
            Error::usage(format!("{name:?} is no name of a table")).because(error)
        }
        _ => Error::new(ErrorKind::Write, format!("cannot ask DynamoDB {place} about table {name}"))
            .because(error)
            .hint("check the region, the endpoint and the network, then run this again; nothing was written"),
    }
}

#[cfg(test)]
mod tests;
