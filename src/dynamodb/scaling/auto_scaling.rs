//! Application Auto Scaling: what may change a table's capacity by itself.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Part;
use aws_sdk_applicationautoscaling::types::{ScalableDimension, ScalableTarget, ServiceNamespace};
use serde::Serialize;

/// How auto scaling handles the write capacity of a table or an index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Scaling {
    /// `table/NAME` or `table/NAME/index/INDEX`.
    pub resource: String,
    /// The least write capacity units a second.
    pub min: u64,
    /// The most.
    pub max: u64,
    /// Share of the capacity in use that it aims at, in percent; nothing when no
    /// target-tracking policy is attached.
    pub target_percent: Option<f64>,
    /// Whether it is kept from lowering the capacity, by its state or policy.
    pub scale_in_off: bool,
    /// Whether it is kept from raising it.
    pub scale_out_off: bool,
}

/// The scalable targets of table `name` and of its `indexes`; none where
/// DynamoDB is a server of one's own.
///
/// # Errors
/// [`ErrorKind::Write`] when auto scaling cannot be asked, [`ErrorKind::Denied`]
/// when it may not be.
pub(crate) async fn describe(aws: &Aws, name: &str, indexes: &[String]) -> Result<Vec<Scaling>> {
    let failed = |action: &str, e: CallError| {
        let what = format!("auto scaling cannot be asked about table {name}");
        match e.code.as_deref() {
            Some("AccessDeniedException") => Error::new(ErrorKind::Denied, what)
                .because(e)
                .hint(aws.needs(&format!("application-autoscaling:{action}"))),
            _ => Error::new(ErrorKind::Write, what).because(e),
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
        scalings.push(Scaling {
            target_percent: tracking.map(|t| t.target_value()),
            ..of_target(
                &target,
                tracking.and_then(|t| t.disable_scale_in()).unwrap_or(false),
            )
        });
    }
    scalings.sort_by(|a, b| a.resource.cmp(&b.resource));
    Ok(scalings)
}

/// How far a table is above the least that auto scaling lowers it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descent {
    /// Its provisioned write capacity units a second.
    pub write_units: u64,
    /// The least that auto scaling lowers them to.
    pub min: u64,
}

impl Descent {
    /// Whether there is nothing left to lower.
    pub(crate) fn is_done(self) -> bool {
        self.write_units <= self.min
    }
}

/// How far `table` is above its minimum. Its indexes are not looked at.
///
/// # Errors
/// [`ErrorKind::Usage`] when nothing lowers it: it is paid per request, or has
/// no auto scaling of its writes; [`ErrorKind::Write`] when auto scaling cannot
/// be asked.
pub(crate) async fn descent(aws: &Aws, table: &Table) -> Result<Descent> {
    let Billing::Provisioned { write_units } = table.billing else {
        return Err(Error::usage(format!(
            "table {} is paid per request: it has no capacity to come down",
            table.name
        )));
    };
    let scalings = describe(aws, &table.name, &[]).await?;
    let by_hand = "without auto scaling, lower the capacity by: aws dynamodb update-table";
    match scalings.first() {
        None => Err(Error::usage(format!(
            "table {} has no auto scaling of its writes",
            table.name
        ))
        .hint(by_hand)),
        Some(s) if s.scale_in_off || s.target_percent.is_none() => Err(Error::usage(format!(
            "auto scaling of table {} does not lower it: it is suspended, or has no policy that tracks a \
             target and scales in",
            table.name
        ))
        .hint(by_hand)),
        Some(s) => Ok(Descent {
            write_units,
            min: s.min,
        }),
    }
}

fn of_target(target: &ScalableTarget, policy_keeps_up: bool) -> Scaling {
    let suspended = target.suspended_state();
    let units = |n: i32| u64::try_from(n).unwrap_or(0);
    Scaling {
        resource: target.resource_id().to_owned(),
        min: units(target.min_capacity()),
        max: units(target.max_capacity()),
        target_percent: None,
        scale_in_off: policy_keeps_up
            || suspended
                .and_then(|s| s.dynamic_scaling_in_suspended())
                .unwrap_or(false),
        scale_out_off: suspended
            .and_then(|s| s.dynamic_scaling_out_suspended())
            .unwrap_or(false),
    }
}

/// What auto scaling calls a part of table `name`.
pub(crate) fn resource_id(name: &str, part: &Part) -> String {
    match part {
        Part::Index(index) => format!("table/{name}/index/{index}"),
        Part::Table | Part::Replica(_) => format!("table/{name}"),
    }
}
