//! Application Auto Scaling: the scalable targets of a table's write capacity.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Part;
use aws_sdk_applicationautoscaling::types::{ScalableDimension, ScalableTarget, ServiceNamespace};
use serde::Serialize;

/// Auto scaling of the write capacity of a table or an index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ScalingTarget {
    /// `table/NAME` or `table/NAME/index/INDEX`.
    #[serde(rename = "resource")]
    pub resource_id: String,
    /// Minimum WCU/s.
    pub min: u64,
    /// Maximum WCU/s.
    pub max: u64,
    /// Target utilisation in percent; `None` if no target-tracking policy is attached.
    pub target_percent: Option<f64>,
    /// True if its state or policy disables scaling in.
    #[serde(rename = "scale_in_off")]
    pub scale_in_disabled: bool,
    /// True if its state disables scaling out.
    #[serde(rename = "scale_out_off")]
    pub scale_out_disabled: bool,
}

/// Describes the scalable targets of the table `name` and of its `indexes`; empty for a
/// custom DynamoDB endpoint without auto scaling.
///
/// # Errors
/// [`ErrorKind::Write`] if a call fails; [`ErrorKind::Denied`] if it is denied.
pub(crate) async fn describe(
    aws: &Aws,
    name: &str,
    indexes: &[String],
) -> Result<Vec<ScalingTarget>> {
    let failed = |action: &str, e: CallError| {
        let what = format!("cannot describe auto scaling of table {name}");
        match e.code.as_deref() {
            Some("AccessDeniedException") => Error::new(ErrorKind::Denied, what)
                .with_source(e)
                .with_hint(aws.permission_hint(&format!("application-autoscaling:{action}"))),
            _ => Error::new(ErrorKind::Write, what).with_source(e),
        }
    };
    let parts = std::iter::once(Part::Table).chain(indexes.iter().cloned().map(Part::Index));
    let ids: Vec<String> = parts.map(|p| resource_id(name, &p)).collect();
    let Some(client) = aws.autoscaling() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let mut targets = client
        .describe_scalable_targets()
        .service_namespace(ServiceNamespace::Dynamodb)
        .set_resource_ids(Some(ids))
        .into_paginator()
        .items()
        .send();
    while let Some(target) = targets.next().await {
        let target =
            target.map_err(|e| failed("DescribeScalableTargets", CallError::from_sdk(e)))?;
        let writes = [
            ScalableDimension::DynamoDbTableWriteCapacityUnits,
            ScalableDimension::DynamoDbIndexWriteCapacityUnits,
        ];
        if writes.contains(target.scalable_dimension()) {
            found.push(target);
        }
    }
    let mut scalings = Vec::with_capacity(found.len());
    for target in found {
        let policies = client
            .describe_scaling_policies()
            .service_namespace(ServiceNamespace::Dynamodb)
            .resource_id(target.resource_id())
            .scalable_dimension(target.scalable_dimension().clone())
            .send()
            .await
            .map_err(|e| failed("DescribeScalingPolicies", CallError::from_sdk(e)))?;
        let tracking = policies
            .scaling_policies()
            .iter()
            .find_map(|p| p.target_tracking_scaling_policy_configuration());
        scalings.push(ScalingTarget {
            target_percent: tracking.map(|t| t.target_value()),
            ..scaling_from_target(
                &target,
                tracking.and_then(|t| t.disable_scale_in()).unwrap_or(false),
            )
        });
    }
    scalings.sort_by(|a, b| a.resource_id.cmp(&b.resource_id));
    Ok(scalings)
}

/// Capacity of a table, and the minimum that auto scaling can lower it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScaleInPlan {
    /// Provisioned WCU/s.
    pub write_units: u64,
    /// Auto scaling minimum, in WCU/s.
    pub min: u64,
}

impl ScaleInPlan {
    /// True if the table is at its minimum.
    pub(crate) fn is_done(self) -> bool {
        self.write_units <= self.min
    }
}

/// Compares the capacity of `table` with its minimum. Indexes are not included.
///
/// # Errors
/// [`ErrorKind::Usage`] if the table cannot scale in: it is on-demand, or has no auto
/// scaling of its writes; [`ErrorKind::Write`] if a call fails.
pub(crate) async fn describe_scale_in(aws: &Aws, table: &Table) -> Result<ScaleInPlan> {
    let Billing::Provisioned { write_units } = table.billing else {
        return Err(Error::usage(format!(
            "table {} is on-demand: it has no provisioned capacity to scale in",
            table.name
        )));
    };
    let scalings = describe(aws, &table.name, &[]).await?;
    let by_hand = "lower the capacity with: aws dynamodb update-table";
    match scalings.first() {
        None => Err(Error::usage(format!(
            "table {} has no auto scaling of its writes",
            table.name
        ))
        .with_hint(by_hand)),
        Some(s) if s.scale_in_disabled || s.target_percent.is_none() => Err(Error::usage(format!(
            "auto scaling of table {} does not scale in: it is suspended, or has no policy that tracks a \
             target and scales in",
            table.name
        ))
        .with_hint(by_hand)),
        Some(s) => Ok(ScaleInPlan {
            write_units,
            min: s.min,
        }),
    }
}

fn scaling_from_target(target: &ScalableTarget, policy_keeps_up: bool) -> ScalingTarget {
    let suspended = target.suspended_state();
    let units = |n: i32| u64::try_from(n).unwrap_or(0);
    ScalingTarget {
        resource_id: target.resource_id().to_owned(),
        min: units(target.min_capacity()),
        max: units(target.max_capacity()),
        target_percent: None,
        scale_in_disabled: policy_keeps_up
            || suspended
                .and_then(|s| s.dynamic_scaling_in_suspended())
                .unwrap_or(false),
        scale_out_disabled: suspended
            .and_then(|s| s.dynamic_scaling_out_suspended())
            .unwrap_or(false),
    }
}

/// Auto scaling's resource id of a part of the table `name`.
pub(crate) fn resource_id(name: &str, part: &Part) -> String {
    match part {
        Part::Index(index) => format!("table/{name}/index/{index}"),
        Part::Table | Part::Replica(_) => format!("table/{name}"),
    }
}
