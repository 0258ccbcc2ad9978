//! A plan of what to raise, worked out from what is described of a table.

use crate::base::error::{Error, Result};
use crate::base::human::thousands;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::auto_scaling::Scaling;
use crate::dynamodb::scaling::restore_note::{Note, Raised};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Part;

/// How often a table or an index can be lowered in a day (UTC).
/// Source: DynamoDB service quotas: 4 at any time, and one more for each hour
/// without one.
pub(crate) const DECREASES_A_DAY: u64 = 27;

/// How many of these can follow one another at any time.
pub(crate) const DECREASES_AT_ONCE: u64 = 4;

/// One part of a table, as DynamoDB describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Throughput {
    /// The index; nothing for the table itself.
    pub(super) index: Option<String>,
    pub(super) read_units: u64,
    pub(super) write_units: u64,
    /// How often it was lowered today.
    pub(super) decreases: u64,
    /// Whether it can be changed.
    pub(super) active: bool,
}

/// What is going to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) parts: Vec<Raised>,
}

impl Throughput {
    pub(super) fn part(&self) -> Part {
        self.index.clone().map_or(Part::Table, Part::Index)
    }
}

impl Plan {
    /// What an earlier note says a part had before, is what it had before.
    pub(super) fn take_over(&mut self, left: Note) {
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

/// Works out what to raise.
pub(super) fn plan(
    table: &Table,
    parts: &[Throughput],
    scalings: &[Scaling],
    units: u64,
    names: &[&str],
) -> Result<Plan> {
    if let Billing::OnDemand { .. } = table.billing {
        return Err(Error::usage(format!(
            "table {} is paid per request: it has no write capacity that could be raised",
            table.name
        ))
        .hint("run this without --raise-to; on demand begins at what the table is warm for and grows by itself"));
    }
    if !table.replicas.is_empty() && scalings.is_empty() {
        return Err(Error::usage(format!(
            "table {} is a global table, whose capacity auto scaling looks after; none was found that could \
             be asked to raise it",
            table.name
        ))
        .hint("raise the minimum of its auto scaling in every region, or run this without --raise-to"));
    }
    let feeds = |index: &str| {
        let index = table.indexes.iter().find(|i| i.global && i.name == index);
        index.is_some_and(|i| i.keys.iter().all(|k| names.contains(&k.as_str())))
    };
    let mut plan = Plan::default();
    for part in parts
        .iter()
        .filter(|p| p.index.as_deref().is_none_or(feeds))
    {
        let minimum = minimum(&table.name, part, scalings, units)?;
        if part.write_units >= units && minimum.is_none() {
            continue;
        }
        check_decreases(&table.name, part)?;
        plan.parts.push(Raised {
            index: part.index.clone(),
            write_units: part.write_units,
            raised_to: units,
            minimum,
        });
    }
    Ok(plan)
}

/// The minimum that auto scaling of `part` has, where it must be moved to reach `units`.
fn minimum(
    table: &str,
    part: &Throughput,
    scalings: &[Scaling],
    units: u64,
) -> Result<Option<u64>> {
    let resource = auto_scaling::resource_id(table, &part.part());
    match scalings.iter().find(|s| s.resource == resource) {
        None => Ok(None),
        Some(s) if s.scale_out_off => {
            tracing::warn!(
                "auto scaling of {} is suspended: it is raised by hand",
                s.resource
            );
            Ok(None)
        }
        Some(s) if s.max < units => Err(Error::usage(format!(
            "auto scaling of {} has a maximum of {} write units/s, less than {}",
            s.resource,
            thousands(s.max as f64),
            thousands(units as f64)
        ))
        .hint(format!(
            "raise to {} at most, or raise that maximum first",
            s.max
        ))),
        Some(s) => Ok(Some(s.min).filter(|min| *min < units)),
    }
}

/// Checks that `part` of `table` can be lowered after the run.
fn check_decreases(table: &str, part: &Throughput) -> Result<()> {
    if part.decreases >= DECREASES_A_DAY {
        return Err(Error::usage(format!(
            "{} of table {} was lowered {} times today: it could not be brought back before tomorrow (UTC)",
            part.part(),
            table,
            part.decreases
        ))
        .hint("run this without --raise-to, or tomorrow"));
    }
    if part.decreases >= DECREASES_AT_ONCE {
        tracing::warn!(
            "{} was lowered {} times today: DynamoDB lowers it again only when it was not lowered for an \
             hour, {} times more today",
            part.part(),
            part.decreases,
            DECREASES_A_DAY - part.decreases
        );
    }
    Ok(())
}

/// Checks that `note` is about the table `name`, whose ARN is `arn`.
pub(super) fn same_table(note: &Note, name: &str, arn: &str) -> Result<()> {
    if note.table == name && note.arn == arn {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the note is about table {} ({}), not {name} ({arn})",
        note.table, note.arn
    ))
    .hint("check --table, the region and the account"))
}

#[cfg(test)]
mod tests;
