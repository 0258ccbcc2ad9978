//! DescribeTable: the key schema, and how much the table can take.

use crate::aws::config::Aws;
use crate::aws::error::no_credentials;
use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::dynamodb::item::{KeyAttribute, KeySchema, KeyType};
use crate::flow::capacity::{Capacity, ON_DEMAND_READ_UNITS, Part};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType as SchemaRole, ScalarAttributeType,
    TableDescription, TableStatus,
};
use std::time::Duration;

/// How long a table may be in the making before it is no use waiting.
const TABLE_WAIT: Duration = Duration::from_secs(300);

/// How a table's writes are paid, and how many there can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Billing {
    /// Provisioned write capacity units a second.
    Provisioned {
        /// Write capacity units.
        write_units: u64,
    },
    /// Pay per request, with the table's own maximum where it has one.
    OnDemand {
        /// Maximum write request units a second.
        maximum: Option<u64>,
    },
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name, as it was asked for.
    pub name: String,
    /// Its ARN and DynamoDB's own id of it: one that is deleted and made anew has
    /// another.
    pub arn: Option<String>,
    /// See `arn`.
    pub id: Option<String>,
    /// Its keys.
    pub schema: KeySchema,
    /// How its writes are paid.
    pub billing: Billing,
    /// Its secondary indexes.
    pub indexes: Vec<Index>,
    /// The other regions that it is replicated to.
    pub replicas: Vec<String>,
    /// Write units a second that it is warm for, where it says so.
    pub warm: Option<f64>,
    /// Read units a second: provisioned, or its own on-demand maximum.
    pub read_units: Option<f64>,
    /// Read units a second that it is warm for, where it says so.
    pub warm_reads: Option<f64>,
    /// How often its capacity was lowered today (UTC): DynamoDB bears 27 times
    /// at most.
    pub decreases_today: u64,
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Whether it is a global one, with a capacity of its own; a local one draws
    /// on the table's.
    pub global: bool,
    /// The attributes that an item must have to be in it.
    pub keys: Vec<String>,
    /// Its write units a second: provisioned, or its own on-demand maximum.
    pub write_units: Option<f64>,
}

impl Table {
    /// Regions that hold it, its own included: 1 but for a global table.
    pub fn regions(&self) -> u64 {
        self.replicas.len() as u64 + 1
    }

    /// What the table takes of items that have attributes of these `names`;
    /// `replicas` says what is known of other regions.
    pub fn capacity(&self, names: &[&str], replicas: &[(String, f64)]) -> Capacity {
        let own = match self.billing {
            Billing::Provisioned { write_units } => Some(write_units as f64),
            Billing::OnDemand { maximum } => maximum.map(|m| m as f64),
        };
        let fed = |i: &&Index| i.keys.iter().all(|k| names.contains(&k.as_str()));
        let mut parts: Vec<_> = own.map(|units| (Part::Table, units)).into_iter().collect();
        for index in self.indexes.iter().filter(fed) {
            parts.extend(
                index
                    .write_units
                    .map(|u| (Part::Index(index.name.clone()), u)),
            );
        }
        parts.extend(replicas.iter().map(|(r, u)| (Part::Replica(r.clone()), *u)));
        Capacity {
            on_demand: matches!(self.billing, Billing::OnDemand { .. }),
            parts,
            warm: self.warm,
        }
    }
}

impl Table {
    /// What the table takes of reads. Indexes and replicas have no part in it.
    pub fn read_capacity(&self) -> Capacity {
        let own = self.read_units.map(|units| (Part::Table, units));
        Capacity {
            on_demand: matches!(self.billing, Billing::OnDemand { .. }),
            parts: own.into_iter().collect(),
            warm: self.warm_reads.or(Some(ON_DEMAND_READ_UNITS)),
        }
    }
}

/// The write capacity of the table `name` in another `region`; nothing when it
/// has no limit there.
///
/// # Errors
/// [`ErrorKind::Write`] when the region cannot be asked.
pub async fn in_region(aws: &Aws, region: &str, name: &str) -> Result<Option<f64>> {
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
pub async fn describe(aws: &Aws, name: &str, make_for: Option<Algorithm>) -> Result<Table> {
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
pub fn assumed(
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
        "{denied}: going on without. Its partition key is taken to be {} ({}; --key says otherwise), indexes \
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
pub async fn exists(aws: &Aws, name: &str) -> Result<bool> {
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

/// Makes the table `name` with one text key, named as `algorithm` is.
///
/// # Errors
/// [`ErrorKind::Write`] when DynamoDB refuses.
pub async fn create(aws: &Aws, name: &str, algorithm: Algorithm, billing: Billing) -> Result<()> {
    let internal = |e| Error::new(ErrorKind::Internal, "cannot describe a table").because(e);
    let key = algorithm.name();
    let mut call = aws
        .dynamodb()
        .create_table()
        .table_name(name)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(key)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(internal)?,
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name(key)
                .key_type(SchemaRole::Hash)
                .build()
                .map_err(internal)?,
        );
    call = match billing {
        Billing::OnDemand { .. } => call.billing_mode(BillingMode::PayPerRequest),
        Billing::Provisioned { write_units } => {
            let units = i64::try_from(write_units).unwrap_or(i64::MAX);
            call.billing_mode(BillingMode::Provisioned)
                .provisioned_throughput(
                    aws_sdk_dynamodb::types::ProvisionedThroughput::builder()
                        .read_capacity_units(units)
                        .write_capacity_units(units)
                        .build()
                        .map_err(internal)?,
                )
        }
    };
    call.send().await.map_err(|e| {
        Error::new(ErrorKind::Write, format!("cannot create table {name}"))
            .because(CallError::from_sdk(e))
    })?;
    tracing::info!("created table {name} with partition key {key} (S)");
    Ok(())
}

/// Reads a DescribeTable answer.
fn read(name: &str, table: &TableDescription) -> Result<Table> {
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
    let on_demand = table
        .billing_mode_summary()
        .and_then(|b| b.billing_mode())
        .is_some_and(|m| *m == BillingMode::PayPerRequest);
    let provisioned = table
        .provisioned_throughput()
        .and_then(|p| p.write_capacity_units())
        .unwrap_or(0);
    let billing = if on_demand || provisioned <= 0 {
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
    };
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
    // arn:aws:dynamodb:REGION:…; whether the list names it too does not matter.
    let home = table.table_arn().and_then(|arn| arn.split(':').nth(3));
    let others = table
        .replicas()
        .iter()
        .filter_map(|r| r.region_name())
        .filter(|r| Some(*r) != home)
        .map(str::to_owned);
    Ok(Table {
        name: name.to_owned(),
        arn: table.table_arn().map(str::to_owned),
        id: table.table_id().map(str::to_owned),
        indexes: global.chain(local).collect(),
        replicas: others.collect(),
        warm: table
            .warm_throughput()
            .and_then(|w| w.write_units_per_second())
            .filter(|w| *w > 0)
            .map(|w| w as f64),
        read_units: match billing {
            Billing::Provisioned { .. } => table
                .provisioned_throughput()
                .and_then(|p| p.read_capacity_units()),
            Billing::OnDemand { .. } => table
                .on_demand_throughput()
                .and_then(|t| t.max_read_request_units()),
        }
        .filter(|u| *u > 0)
        .map(|u| u as f64),
        warm_reads: table
            .warm_throughput()
            .and_then(|w| w.read_units_per_second())
            .filter(|w| *w > 0)
            .map(|w| w as f64),
        decreases_today: table
            .provisioned_throughput()
            .and_then(|p| p.number_of_decreases_today())
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
        schema: KeySchema {
            partition,
            sort,
            index_keys,
        },
        billing,
    })
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
mod tests {
    use super::*;

    fn description(on_demand: bool, units: i64, maximum: Option<i64>) -> TableDescription {
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(kind)
                .build()
                .expect("complete")
        };
        let key = |name: &str, role| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(role)
                .build()
                .expect("complete")
        };
        let mode = if on_demand {
            BillingMode::PayPerRequest
        } else {
            BillingMode::Provisioned
        };
        TableDescription::builder()
            .attribute_definitions(attribute("sha256", ScalarAttributeType::S))
            .attribute_definitions(attribute("set", ScalarAttributeType::N))
            .attribute_definitions(attribute("source", ScalarAttributeType::S))
            .key_schema(key("sha256", SchemaRole::Hash))
            .key_schema(key("set", SchemaRole::Range))
            .billing_mode_summary(
                aws_sdk_dynamodb::types::BillingModeSummary::builder()
                    .billing_mode(mode)
                    .build(),
            )
            .provisioned_throughput(
                aws_sdk_dynamodb::types::ProvisionedThroughputDescription::builder()
                    .write_capacity_units(units)
                    .read_capacity_units(units / 2)
                    .build(),
            )
            .set_on_demand_throughput(maximum.map(|m| {
                aws_sdk_dynamodb::types::OnDemandThroughput::builder()
                    .max_write_request_units(m)
                    .max_read_request_units(m * 2)
                    .build()
            }))
            .build()
    }

    #[test]
    fn keys_and_capacity_are_read() {
        let table = read("t", &description(false, 1000, None)).expect("readable");
        assert_eq!(
            table.schema.partition,
            KeyAttribute {
                name: "sha256".into(),
                kind: KeyType::S
            }
        );
        assert_eq!(
            table.schema.sort,
            Some(KeyAttribute {
                name: "set".into(),
                kind: KeyType::N
            })
        );
        assert_eq!(
            table.schema.index_keys,
            [KeyAttribute {
                name: "source".into(),
                kind: KeyType::S
            }]
        );
        assert_eq!(table.billing, Billing::Provisioned { write_units: 1000 });
        assert_eq!(table.capacity(&[], &[]).start(), 1000.0);
    }

    #[test]
    fn indexes_and_regions_are_read() {
        use aws_sdk_dynamodb::types::{
            GlobalSecondaryIndexDescription, LocalSecondaryIndexDescription, ReplicaDescription,
        };
        let plain = read("t", &description(false, 1, None)).expect("readable");
        assert_eq!((plain.indexes.len(), plain.regions()), (0, 1));
        let keys = |names: &[&str]| {
            let key = |name: &&str| {
                KeySchemaElement::builder()
                    .attribute_name(*name)
                    .key_type(SchemaRole::Hash)
                    .build()
                    .expect("complete")
            };
            Some(names.iter().map(key).collect())
        };
        let replica = |region: &str| ReplicaDescription::builder().region_name(region).build();
        let mut description = description(false, 1, None);
        description.table_arn = Some("arn:aws:dynamodb:us-east-1:1:table/t".into());
        description.global_secondary_indexes = Some(vec![
            GlobalSecondaryIndexDescription::builder()
                .index_name("by-source")
                .set_key_schema(keys(&["source"]))
                .build(),
        ]);
        description.local_secondary_indexes = Some(vec![
            LocalSecondaryIndexDescription::builder()
                .index_name("by-type")
                .set_key_schema(keys(&["sha256", "type"]))
                .build(),
        ]);
        description.replicas = Some(vec![replica("us-east-1"), replica("eu-west-1")]);
        let table = read("t", &description).expect("readable");
        let index = |name: &str, global, keys: &[&str]| Index {
            name: name.into(),
            global,
            keys: keys.iter().map(|&k| k.to_owned()).collect(),
            write_units: None,
        };
        assert_eq!(
            table.indexes,
            [
                index("by-source", true, &["source"]),
                index("by-type", false, &["sha256", "type"])
            ]
        );
        assert_eq!(table.regions(), 2);
    }

    #[test]
    fn on_demand_takes_4000_or_its_own_maximum() {
        let units = |maximum| {
            let table = read("t", &description(true, 0, maximum)).expect("readable");
            table.capacity(&[], &[]).start()
        };
        assert_eq!(units(None), 4000.0);
        assert_eq!(units(Some(-1)), 4000.0);
        assert_eq!(units(Some(500)), 500.0);
        assert_eq!(units(Some(9000)), 4000.0);
    }

    #[test]
    fn reads_have_a_capacity_of_their_own() {
        let units = |on_demand, units, maximum| {
            let table = read("t", &description(on_demand, units, maximum)).expect("readable");
            table.read_capacity().start()
        };
        assert_eq!(units(false, 1000, None), 500.0);
        assert_eq!(units(true, 0, None), 12_000.0);
        assert_eq!(units(true, 0, Some(-1)), 12_000.0);
        assert_eq!(units(true, 0, Some(500)), 1000.0);
        let mut warm = description(true, 0, None);
        warm.warm_throughput = Some(
            aws_sdk_dynamodb::types::TableWarmThroughputDescription::builder()
                .read_units_per_second(20_000)
                .build(),
        );
        let table = read("t", &warm).expect("readable");
        assert_eq!(table.read_capacity().start(), 20_000.0);
    }

    #[test]
    fn an_index_counts_when_the_items_are_in_it() {
        let mut table = read("t", &description(false, 1000, None)).expect("readable");
        table.indexes = vec![Index {
            name: "by-source".into(),
            global: true,
            keys: vec!["source".into(), "sha256".into()],
            write_units: Some(300.0),
        }];
        assert_eq!(
            table.capacity(&["sha256", "set"], &[]).ceiling(),
            Some(1000.0)
        );
        assert_eq!(
            table.capacity(&["sha256", "set", "source"], &[]).ceiling(),
            Some(300.0)
        );
        let replicas = [("eu-west-1".to_owned(), 200.0)];
        assert_eq!(
            table.capacity(&["sha256"], &replicas).ceiling(),
            Some(200.0)
        );
    }
}
