//! Changes to a table's capacity, and waiting until they are made.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::thousands;
use crate::base::shutdown::Stop;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::raise_plan::Throughput;
use crate::dynamodb::scaling::restore_note::Raised;
use aws_sdk_applicationautoscaling::types::{ScalableDimension, ServiceNamespace};
use aws_sdk_dynamodb::types::{
    GlobalSecondaryIndexUpdate, IndexStatus, ProvisionedThroughput,
    ProvisionedThroughputDescription, TableDescription, TableStatus,
    UpdateGlobalSecondaryIndexAction,
};
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait until a table is what it was told to be. UpdateTable takes
/// from seconds to some minutes; auto scaling acts within a minute.
pub(crate) const WAIT: Duration = Duration::from_secs(15 * 60);

/// First and longest time between two looks at a table that is being changed.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The policy that raising needs.
const POLICY: &str = "scripts/iam/ingest-raise.json";

/// Asks DynamoDB how much a table may have. Where that may not be asked, it says
/// so itself, by refusing.
pub(super) async fn within_limits(aws: &Aws, units: u64) -> Result<()> {
    let most = match aws.dynamodb().describe_limits().send().await {
        Ok(limits) => limits.table_max_write_capacity_units(),
        Err(e) => {
            tracing::debug!(
                "the account's limits cannot be asked: {}",
                CallError::from_sdk(e)
            );
            None
        }
    };
    match most.and_then(|m| u64::try_from(m).ok()) {
        Some(most) if most > 0 && most < units => Err(Error::usage(format!(
            "a table of this account takes {} write units/s at most, less than {}",
            thousands(most as f64),
            thousands(units as f64)
        ))
        .hint("raise to less, or ask for a higher quota")),
        _ => Ok(()),
    }
}

/// The table's ARN and its parts, once nothing about it is being changed.
pub(super) async fn settled(
    aws: &Aws,
    name: &str,
    stop: &Stop,
) -> Result<(String, Vec<Throughput>)> {
    wait_for(aws, name, stop.requested(), |parts| {
        parts.iter().all(|t| t.active)
    })
    .await?;
    describe(aws, name).await
}

/// Looks at the table until it is as `wanted`: how long that took; nothing when
/// `enough` came first.
pub(super) async fn wait_for(
    aws: &Aws,
    name: &str,
    enough: impl Future<Output = ()>,
    wanted: impl Fn(&[Throughput]) -> bool,
) -> Result<Option<Duration>> {
    let begun = Instant::now();
    tokio::pin!(enough);
    let (mut pause, longest) = LOOKS;
    loop {
        let (_, parts) = describe(aws, name).await?;
        if wanted(&parts) {
            return Ok(Some(begun.elapsed()));
        }
        if begun.elapsed() >= WAIT {
            let now: Vec<String> = parts
                .iter()
                .map(|t| format!("{} has {} write units/s", t.part(), t.write_units))
                .collect();
            return Err(Error::new(
                ErrorKind::Write,
                format!(
                    "table {name} was not changed within {} minutes: {}",
                    WAIT.as_secs() / 60,
                    now.join(", ")
                ),
            )
            .hint("look at it by: hashferry capacity --table NAME"));
        }
        tokio::select! {
            biased;
            () = &mut enough => return Ok(None),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
        }
    }
}

/// The table's ARN, and its parts as they are now.
pub(super) async fn describe(aws: &Aws, name: &str) -> Result<(String, Vec<Throughput>)> {
    let answer = aws
        .dynamodb()
        .describe_table()
        .table_name(name)
        .send()
        .await;
    let table = match answer {
        Ok(answer) => answer.table,
        Err(e) => return Err(denied("DescribeTable", name, CallError::from_sdk(e))),
    };
    let table = table.unwrap_or_else(|| TableDescription::builder().build());
    let units = |p: Option<&ProvisionedThroughputDescription>, index, active| Throughput {
        index,
        read_units: p
            .and_then(|p| p.read_capacity_units())
            .map_or(0, i64::unsigned_abs),
        write_units: p
            .and_then(|p| p.write_capacity_units())
            .map_or(0, i64::unsigned_abs),
        decreases: p
            .and_then(|p| p.number_of_decreases_today())
            .map_or(0, i64::unsigned_abs),
        active,
    };
    let active = matches!(table.table_status(), None | Some(TableStatus::Active));
    let mut parts = vec![units(table.provisioned_throughput(), None, active)];
    for index in table.global_secondary_indexes() {
        let active = matches!(index.index_status(), None | Some(IndexStatus::Active));
        parts.push(units(
            index.provisioned_throughput(),
            index.index_name().map(str::to_owned),
            active,
        ));
    }
    Ok((table.table_arn().unwrap_or_default().to_owned(), parts))
}

/// Sets the write units of all these parts in one call; reads stay as they are.
pub(super) async fn update(aws: &Aws, name: &str, parts: &[(&Throughput, u64)]) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let internal = |e| Error::new(ErrorKind::Internal, "cannot describe a capacity").because(e);
    let mut call = aws.dynamodb().update_table().table_name(name);
    for (part, units) in parts {
        let throughput = ProvisionedThroughput::builder()
            .read_capacity_units(i64::try_from(part.read_units).unwrap_or(i64::MAX))
            .write_capacity_units(i64::try_from(*units).unwrap_or(i64::MAX))
            .build()
            .map_err(internal)?;
        call = match &part.index {
            None => call.provisioned_throughput(throughput),
            Some(index) => {
                let action = UpdateGlobalSecondaryIndexAction::builder()
                    .index_name(index)
                    .provisioned_throughput(throughput)
                    .build()
                    .map_err(internal)?;
                call.global_secondary_index_updates(
                    GlobalSecondaryIndexUpdate::builder().update(action).build(),
                )
            }
        };
    }
    call.send()
        .await
        .map_err(|e| denied("UpdateTable", name, CallError::from_sdk(e)))?;
    Ok(())
}

/// Moves the minimum of the auto scaling target of `part`; its maximum stays.
pub(super) async fn set_minimum(aws: &Aws, name: &str, part: &Raised, minimum: u64) -> Result<()> {
    let client = aws.autoscaling().ok_or_else(|| {
        Error::usage("auto scaling cannot be asked at this endpoint")
            .hint("set AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING, as when the table was raised")
    })?;
    let dimension = match part.index {
        None => ScalableDimension::DynamoDbTableWriteCapacityUnits,
        Some(_) => ScalableDimension::DynamoDbIndexWriteCapacityUnits,
    };
    client
        .register_scalable_target()
        .service_namespace(ServiceNamespace::Dynamodb)
        .resource_id(auto_scaling::resource_id(name, &part.part()))
        .scalable_dimension(dimension)
        .min_capacity(i32::try_from(minimum).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|e| denied("RegisterScalableTarget", name, CallError::from_sdk(e)))?;
    Ok(())
}

/// Says why a call was refused, and what to do.
fn denied(operation: &str, name: &str, error: CallError) -> Error {
    let what = format!("{operation} of table {name} was refused");
    let service = match operation {
        "RegisterScalableTarget" => "application-autoscaling",
        _ => "dynamodb",
    };
    match error.code.as_deref() {
        Some("AccessDeniedException") => Error::usage(what).because(error).hint(format!(
            "the credentials need {service}:{operation} on this table: see {POLICY}"
        )),
        Some("LimitExceededException") => Error::usage(what).because(error).hint(
            "DynamoDB lowers a table or an index 4 times a day at any time, and then when it was not lowered \
             for an hour; a raise is bounded by the account's quota",
        ),
        Some("ResourceInUseException") => {
            Error::usage(what).because(error).hint("something else is changing the table: run this again in a minute")
        }
        Some("ValidationException" | "ResourceNotFoundException") => Error::usage(what).because(error),
        _ => Error::new(ErrorKind::Write, what).because(error),
    }
}
