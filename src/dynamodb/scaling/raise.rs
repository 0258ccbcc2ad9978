//! Raising a table's write capacity for a run, and restoring it.
//!
//! [`raise`] checks first that the raise can work and can be undone today. Then it writes
//! a [restore note](crate::dynamodb::scaling::restore_note), raises the table and the
//! indexes that the items write to, and waits for the effect. The value that it returns
//! [restores the capacity](Raise::restore) however the run ends. [`restore`] does so from
//! the note of a run that was killed.
//!
//! Auto scaling would undo a direct change of a part that it manages. So the raise moves
//! the minimum of the scalable target, and auto scaling raises the capacity. The restore
//! moves the minimum back and lowers the capacity directly, because auto scaling never
//! lowers an unused table.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::format_number;
use crate::base::shutdown::Stop;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::raise_plan::{
    MAX_DECREASES_PER_DAY, PartThroughput, check_same_table, plan_raise,
};
use crate::dynamodb::scaling::restore_note::{LockedNote, RaisedPart, RestoreNote};
use crate::dynamodb::scaling::update_table::{
    check_account_limits, describe_throughput, set_minimum, update_throughput, wait_for,
    wait_until_active,
};
use crate::dynamodb::table::Table;
use jiff::Timestamp;
use std::path::PathBuf;

/// A raised table. It must be [restored](Raise::restore): dropping it leaves the table
/// raised, and the note on disk.
#[derive(Debug)]
#[must_use = "the table stays raised, and is paid for, until it is restored"]
pub(crate) struct Raise(LockedNote);

/// Raises `table` to `units` WCU/s, with those of its indexes that hold items with
/// attributes of these `names`. `note` is the path of the restore note. `None` if the
/// table already has this capacity.
///
/// If `stop` is requested during the wait, it returns at once.
///
/// # Errors
/// [`ErrorKind::Usage`] if the raise cannot work or is denied; [`ErrorKind::Write`] if a
/// call fails. Either the table is unchanged, or the hint says how to restore it.
pub(crate) async fn raise(
    aws: &Aws,
    table: &Table,
    units: u64,
    names: &[&str],
    note: PathBuf,
    stop: &Stop,
) -> Result<Option<Raise>> {
    let (arn, parts) = wait_until_active(aws, &table.name, stop).await?;
    let indexes: Vec<String> = table
        .indexes
        .iter()
        .filter(|i| i.global)
        .map(|i| i.name.clone())
        .collect();
    let scalings = match auto_scaling::describe(aws, &table.name, &indexes).await {
        Ok(scalings) => scalings,
        Err(e) => {
            tracing::warn!("{e:#}; if auto scaling manages the table, it may undo the raise");
            Vec::new()
        }
    };
    let mut plan = plan_raise(table, &parts, &scalings, units, names)?;
    if note.exists() {
        // An earlier run was killed: restore the capacity from before that run.
        let left = LockedNote::open(&note)?;
        check_same_table(&left.note, &table.name, &arn)?;
        tracing::warn!(
            "a run that was killed left the table raised ({}); this run restores the capacity from before \
             that run",
            note.display()
        );
        plan.merge_note(left.note);
    }
    if plan.parts.is_empty() {
        tracing::info!(
            "the table already has {} WCU/s; nothing to raise",
            format_number(units as f64)
        );
        return Ok(None);
    }
    check_account_limits(aws, units).await?;
    let held = LockedNote::create(
        RestoreNote {
            version: crate::dynamodb::scaling::restore_note::NOTE_VERSION,
            table: table.name.clone(),
            arn,
            raised_at: Timestamp::now().to_string(),
            parts: plan.parts,
        },
        note,
    )?;
    let raise = Raise(held);
    match raise.apply(aws, &parts, stop).await {
        Ok(()) => Ok(Some(raise)),
        Err(failed) => match raise.restore(aws, &Stop::new()).await {
            Ok(()) => Err(failed),
            Err(also) => {
                tracing::warn!("{also:#}");
                Err(match also.hint() {
                    Some(hint) => failed.with_hint(hint.to_owned()),
                    None => failed,
                })
            }
        },
    }
}

/// Restores the table `name` from the note at `path` of a run that was killed.
///
/// # Errors
/// [`ErrorKind::Usage`] if the note is invalid or belongs to another table;
/// [`ErrorKind::Write`] if a call fails. The note then stays.
pub(crate) async fn restore(
    aws: &Aws,
    name: &str,
    path: &std::path::Path,
    stop: &Stop,
) -> Result<()> {
    let held = LockedNote::open(path)?;
    let (arn, _) = describe_throughput(aws, name).await?;
    check_same_table(&held.note, name, &arn)?;
    Raise(held).restore(aws, stop).await
}

impl Raise {
    /// Raised parts, with their capacity before and after.
    pub(crate) fn parts(&self) -> &[RaisedPart] {
        &self.0.note.parts
    }

    /// Path of the restore note.
    pub(crate) fn note_path(&self) -> &std::path::Path {
        &self.0.path
    }

    /// Raises the parts that the note lists, and waits for the effect.
    async fn apply(&self, aws: &Aws, now: &[PartThroughput], stop: &Stop) -> Result<()> {
        let note = &self.0.note;
        for part in &note.parts {
            let (from, to) = (
                format_number(part.write_units as f64),
                format_number(part.raised_to as f64),
            );
            match part.minimum {
                Some(minimum) => {
                    tracing::info!(
                        "raising {}: from {from} to {to} WCU/s through the minimum of its auto scaling, now \
                         {minimum}",
                        part.part()
                    );
                    set_minimum(aws, &note.table, part, part.raised_to).await?;
                }
                None => {
                    let lowered = now
                        .iter()
                        .find(|t| t.index == part.index)
                        .map_or(0, |t| t.decreases_today);
                    tracing::info!(
                        "raising {}: from {from} to {to} WCU/s; DynamoDB allows {} more decreases \
                         today",
                        part.part(),
                        MAX_DECREASES_PER_DAY.saturating_sub(lowered)
                    );
                }
            }
        }
        let by_hand: Vec<(&PartThroughput, u64)> = note
            .parts
            .iter()
            .filter(|p| p.minimum.is_none())
            .filter_map(|p| Some((now.iter().find(|t| t.index == p.index)?, p.raised_to)))
            .filter(|(t, to)| t.write_units < *to)
            .collect();
        update_throughput(aws, &note.table, &by_hand).await?;
        let reached = |parts: &[PartThroughput]| {
            note.parts.iter().all(|p| {
                let part = parts.iter().find(|t| t.index == p.index);
                part.is_none_or(|t| t.active && t.write_units >= p.raised_to)
            })
        };
        let Some(waited) = wait_for(aws, &note.table, stop.requested(), reached).await? else {
            return Ok(());
        };
        tracing::info!("raised after {} s", waited.as_secs());
        Ok(())
    }

    /// Restores the capacity of the table, and removes the note.
    ///
    /// If `stop` is forced, it does not wait for a table that is being changed.
    ///
    /// # Errors
    /// [`ErrorKind::Write`] if a call fails, with the command that restores it later. The
    /// note then stays.
    pub(crate) async fn restore(self, aws: &Aws, stop: &Stop) -> Result<()> {
        let note = &self.0.note;
        let later = |e: Error| {
            let command = format!(
                "hashferry capacity --table {} --restore {}",
                note.table,
                self.0.path.display()
            );
            let why = e
                .hint()
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            Error::new(
                ErrorKind::Write,
                format!(
                    "cannot restore the capacity of table {}: it is still raised, and charged",
                    note.table
                ),
            )
            .with_source(e)
            .with_hint(format!("run{why}: {command}"))
        };
        for part in note.parts.iter().filter(|p| p.minimum.is_some()) {
            let minimum = part.minimum.unwrap_or(part.write_units);
            set_minimum(aws, &note.table, part, minimum)
                .await
                .map_err(later)?;
        }
        let all_active = |parts: &[PartThroughput]| parts.iter().all(|t| t.active);
        wait_for(aws, &note.table, stop.forced(), all_active)
            .await
            .map_err(later)?;
        let (_, parts) = describe_throughput(aws, &note.table).await.map_err(later)?;
        let lower: Vec<(&PartThroughput, u64)> = parts
            .iter()
            .filter_map(|t| {
                Some((
                    t,
                    note.parts.iter().find(|p| p.index == t.index)?.write_units,
                ))
            })
            // A table that is now on-demand reports zero.
            .filter(|(t, before)| t.write_units > *before)
            .collect();
        for (part, before) in &lower {
            tracing::info!(
                "restoring {}: from {} to {} WCU/s",
                part.part(),
                format_number(part.write_units as f64),
                format_number(*before as f64)
            );
        }
        update_throughput(aws, &note.table, &lower)
            .await
            .map_err(later)?;
        let left = lower
            .iter()
            .map(|(t, _)| MAX_DECREASES_PER_DAY.saturating_sub(t.decreases_today + 1))
            .min();
        if let Some(left) = left {
            tracing::info!(
                "restored the capacity of table {}; DynamoDB allows {left} more decreases today",
                note.table
            );
        }
        self.0.remove()
    }
}
