//! UpdateTable and RegisterScalableTarget, and the wait for their effect.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::format_number;
use crate::base::shutdown::Stop;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::raise_plan::PartThroughput;
use crate::dynamodb::scaling::restore_note::RaisedPart;
use aws_sdk_applicationautoscaling::types::{ScalableDimension, ServiceNamespace};
use aws_sdk_dynamodb::types::{
    GlobalSecondaryIndexUpdate, IndexStatus, ProvisionedThroughput,
    ProvisionedThroughputDescription, TableDescription, TableStatus,
    UpdateGlobalSecondaryIndexAction,
};
use std::time::Duration;
use tokio::time::Instant;

/// Timeout for a change of capacity. UpdateTable takes from seconds to some minutes; auto
/// scaling acts within a minute.
pub(crate) const ACTIVE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// First and maximum interval between DescribeTable calls while a table is being changed.
const POLL_INTERVALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// IAM policy that allows the raise.
const POLICY_FILE: &str = "scripts/iam/ingest-raise.json";

/// Checks `units` against the account's limit. If DescribeLimits fails, UpdateTable itself
/// reports the limit.
pub(super) async fn check_account_limits(aws: &Aws, units: u64) -> Result<()> {
    let most = match aws.dynamodb().describe_limits().send().await {
        Ok(limits) => limits.table_max_write_capacity_units(),
        Err(e) => {
            tracing::debug!(
                "cannot read the account's limits: {}",
                CallError::from_sdk(e)
            );
            None
        }
    };
    match most.and_then(|m| u64::try_from(m).ok()) {
        Some(most) if most > 0 && most < units => Err(Error::usage(format!(
            "a table of this account can have at most {} WCU/s, less than {}",
            format_number(most as f64),
            format_number(units as f64)
        ))
        .with_hint("raise to at most that, or request a higher quota")),
        _ => Ok(()),
    }
}

/// Waits until no part of the table is being changed; returns its ARN and parts.
pub(super) async fn wait_until_active(
    aws: &Aws,
    name: &str,
    stop: &Stop,
) -> Result<(String, Vec<PartThroughput>)> {
    wait_for(aws, name, stop.requested(), |parts| {
        parts.iter().all(|t| t.active)
    })
    .await?;
    describe_throughput(aws, name).await
}

/// Polls the table until `wanted` is true, and returns the time taken; `None` if `enough`
/// completes first.
pub(super) async fn wait_for(
    aws: &Aws,
    name: &str,
    enough: impl Future<Output = ()>,
    wanted: impl Fn(&[PartThroughput]) -> bool,
) -> Result<Option<Duration>> {
    let begun = Instant::now();
    tokio::pin!(enough);
    let (mut pause, longest) = POLL_INTERVALS;
    loop {
        let (_, parts) = describe_throughput(aws, name).await?;
        if wanted(&parts) {
            return Ok(Some(begun.elapsed()));
        }
        if begun.elapsed() >= ACTIVE_TIMEOUT {
            let now: Vec<String> = parts
                .iter()
                .map(|t| format!("{} has {} WCU/s", t.part(), t.write_units))
                .collect();
            return Err(Error::new(
                ErrorKind::Write,
                format!(
                    "table {name} did not reach its new capacity within {} minutes: {}",
                    ACTIVE_TIMEOUT.as_secs() / 60,
                    now.join(", ")
                ),
            )
            .with_hint("inspect it with: hashferry capacity --table NAME"));
        }
        tokio::select! {
            biased;
            () = &mut enough => return Ok(None),
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(longest),
        }
    }
}

/// Describes the table: its ARN and the current capacity of its parts.
pub(super) async fn describe_throughput(
    aws: &Aws,
    name: &str,
) -> Result<(String, Vec<PartThroughput>)> {
    let answer = aws
        .dynamodb()
        .describe_table()
        .table_name(name)
        .send()
        .await;
    let table = match answer {
        Ok(answer) => answer.table,
        Err(e) => {
            return Err(permission_error(
                "DescribeTable",
                name,
                CallError::from_sdk(e),
            ));
        }
    };
    let table = table.unwrap_or_else(|| TableDescription::builder().build());
    let units = |p: Option<&ProvisionedThroughputDescription>, index, active| PartThroughput {
        index,
        read_units: p
            .and_then(|p| p.read_capacity_units())
            .map_or(0, i64::unsigned_abs),
        write_units: p
            .and_then(|p| p.write_capacity_units())
            .map_or(0, i64::unsigned_abs),
        decreases_today: p
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

/// Sets the WCU/s of all `parts` in one call; RCU/s stay unchanged.
pub(super) async fn update_throughput(
    aws: &Aws,
    name: &str,
    parts: &[(&PartThroughput, u64)],
) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let internal =
        |e| Error::new(ErrorKind::Internal, "cannot build a provisioned throughput").with_source(e);
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
        .map_err(|e| permission_error("UpdateTable", name, CallError::from_sdk(e)))?;
    Ok(())
}

/// Moves the minimum of the auto scaling target of `part`; its maximum stays.
pub(super) async fn set_minimum(
    aws: &Aws,
    name: &str,
    part: &RaisedPart,
    minimum: u64,
) -> Result<()> {
    let client = aws.autoscaling().ok_or_else(|| {
        Error::usage("auto scaling has no endpoint here").with_hint(
            "set AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING, as when the table was raised",
        )
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
        .map_err(|e| permission_error("RegisterScalableTarget", name, CallError::from_sdk(e)))?;
    Ok(())
}

/// Error of a failed call, with a hint.
fn permission_error(operation: &str, name: &str, error: CallError) -> Error {
    let what = format!("{operation} of table {name} failed");
    let service = match operation {
        "RegisterScalableTarget" => "application-autoscaling",
        _ => "dynamodb",
    };
    match error.code.as_deref() {
        Some("AccessDeniedException") => Error::usage(what).with_source(error).with_hint(format!(
            "grant these credentials {service}:{operation} on this table: see {POLICY_FILE}"
        )),
        Some("LimitExceededException") => Error::usage(what).with_source(error).with_hint(
            "wait an hour: after 4 decreases a day, DynamoDB lowers a table or an index only after an hour \
             without a decrease; for a raise, check the account's quota",
        ),
        Some("ResourceInUseException") => {
            Error::usage(what).with_source(error).with_hint("run this again in a minute: the table is being changed by another caller")
        }
        Some("ValidationException" | "ResourceNotFoundException") => Error::usage(what).with_source(error),
        _ => Error::new(ErrorKind::Write, what).with_source(error),
    }
}
