//! Raise plan: the parts of a described table to raise, and the checks before it.

use crate::base::error::{Error, Result};
use crate::base::human::format_number;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::auto_scaling::ScalingTarget;
use crate::dynamodb::scaling::restore_note::{RaisedPart, RestoreNote};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Part;

/// Maximum decreases of a table or an index in a day (UTC).
/// Source: DynamoDB service quotas: 4 at any time, and one more for each hour
/// without one.
pub(crate) const MAX_DECREASES_PER_DAY: u64 = 27;

/// Decreases a day that need no hour without a decrease before them.
pub(crate) const INITIAL_DECREASES: u64 = 4;

/// Described capacity of the table or one of its indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartThroughput {
    /// Index name; `None` for the table itself.
    pub(super) index: Option<String>,
    pub(super) read_units: u64,
    pub(super) write_units: u64,
    /// Decreases today (UTC).
    pub(super) decreases_today: u64,
    /// True if its status is ACTIVE, so that it can be changed.
    pub(super) active: bool,
}

/// Parts to raise.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RaisePlan {
    pub(super) parts: Vec<RaisedPart>,
}

impl PartThroughput {
    pub(super) fn part(&self) -> Part {
        self.index.clone().map_or(Part::Table, Part::Index)
    }
}

impl RaisePlan {
    /// Takes the capacities to restore from the note of an earlier run.
    pub(super) fn merge_note(&mut self, left: RestoreNote) {
        for part in left.parts {
            match self.parts.iter_mut().find(|p| p.index == part.index) {
                Some(ours) => {
                    ours.write_units = part.write_units;
                    ours.minimum = part.minimum.or(ours.minimum);
                }
                None => self.parts.push(part),
            }
        }
    }
}

/// Plans which parts to raise.
pub(super) fn plan_raise(
    table: &Table,
    parts: &[PartThroughput],
    scalings: &[ScalingTarget],
    units: u64,
    names: &[&str],
) -> Result<RaisePlan> {
    if let Billing::OnDemand { .. } = table.billing {
        return Err(Error::usage(format!(
            "table {} is on-demand: it has no provisioned write capacity to raise",
            table.name
        ))
        .with_hint("run this without --raise-to; an on-demand table starts at its warm throughput and scales by itself"));
    }
    if !table.replicas.is_empty() && scalings.is_empty() {
        return Err(Error::usage(format!(
            "table {} is a global table, whose capacity auto scaling must manage; no scalable target was \
             found to raise",
            table.name
        ))
        .with_hint("raise the minimum of its auto scaling in every region, or run this without --raise-to"));
    }
    let feeds = |index: &str| {
        let index = table.indexes.iter().find(|i| i.global && i.name == index);
        index.is_some_and(|i| i.keys.iter().all(|k| names.contains(&k.as_str())))
    };
    let mut plan = RaisePlan::default();
    for part in parts
        .iter()
        .filter(|p| p.index.as_deref().is_none_or(feeds))
    {
        let minimum = raised_minimum(&table.name, part, scalings, units)?;
        if part.write_units >= units && minimum.is_none() {
            continue;
        }
        check_decreases(&table.name, part)?;
        plan.parts.push(RaisedPart {
            index: part.index.clone(),
            write_units: part.write_units,
            raised_to: units,
            minimum,
        });
    }
    Ok(plan)
}

/// Auto scaling minimum of `part`; `None` if the raise to `units` need not move it.
fn raised_minimum(
    table: &str,
    part: &PartThroughput,
    scalings: &[ScalingTarget],
    units: u64,
) -> Result<Option<u64>> {
    let resource = auto_scaling::resource_id(table, &part.part());
    match scalings.iter().find(|s| s.resource_id == resource) {
        None => Ok(None),
        Some(s) if s.scale_out_disabled => {
            tracing::warn!(
                "auto scaling of {} is suspended; raising the capacity directly",
                s.resource_id
            );
            Ok(None)
        }
        Some(s) if s.max < units => Err(Error::usage(format!(
            "auto scaling of {} has a maximum of {} WCU/s, less than {}",
            s.resource_id,
            format_number(s.max as f64),
            format_number(units as f64)
        ))
        .with_hint(format!(
            "raise to at most {}, or raise that maximum first",
            s.max
        ))),
        Some(s) => Ok(Some(s.min).filter(|min| *min < units)),
    }
}

/// Checks that `part` of `table` can be lowered after the run.
fn check_decreases(table: &str, part: &PartThroughput) -> Result<()> {
    if part.decreases_today >= MAX_DECREASES_PER_DAY {
        return Err(Error::usage(format!(
            "{} of table {} was lowered {} times today, the daily maximum: it cannot be restored before tomorrow (UTC)",
            part.part(),
            table,
            part.decreases_today
        ))
        .with_hint("run this without --raise-to, or run it tomorrow"));
    }
    if part.decreases_today >= INITIAL_DECREASES {
        tracing::warn!(
            "{} was lowered {} times today: DynamoDB now allows a decrease only after an hour without \
             one, {} more today",
            part.part(),
            part.decreases_today,
            MAX_DECREASES_PER_DAY - part.decreases_today
        );
    }
    Ok(())
}

/// Checks that `note` is about the table `name`, whose ARN is `arn`.
pub(super) fn check_same_table(note: &RestoreNote, name: &str, arn: &str) -> Result<()> {
    if note.table == name && note.arn == arn {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the note is about table {} ({}), not {name} ({arn})",
        note.table, note.arn
    ))
    .with_hint("check --table, the region and the account"))
}

#[cfg(test)]
mod tests;
