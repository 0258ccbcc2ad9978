//! Raising a table's write capacity for a run, and bringing it back.
//!
//! [`raise`] looks first: what cannot work, or could not be undone today, is
//! refused before anything is changed. Then it leaves a [note](crate::dynamodb::scaling::restore_note) on disk,
//! raises the table and the indexes that the items feed, and waits until they
//! are. What it returns [brings everything back](Raise::restore), after whatever
//! end; [`restore`] does the same from the note of a run that was killed.
//!
//! A part that auto scaling looks after is not set by hand, which would be a
//! tug-of-war: the minimum of its scalable target is moved, and auto scaling
//! itself raises it. Afterwards the minimum is moved back, and the capacity is
//! lowered by hand, because auto scaling never lowers what nobody uses.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::thousands;
use crate::base::shutdown::Stop;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::raise_plan::{DECREASES_A_DAY, Throughput, plan, same_table};
use crate::dynamodb::scaling::restore_note::{Held, Note, Raised};
use crate::dynamodb::scaling::update_table::{
    describe, set_minimum, settled, update, wait_for, within_limits,
};
use crate::dynamodb::table::Table;
use jiff::Timestamp;
use std::path::PathBuf;

/// A table that was raised. It must be [restored](Raise::restore): dropping it
/// leaves the table raised, and the note on disk.
#[derive(Debug)]
#[must_use = "the table stays raised, and is paid for, until it is restored"]
pub(crate) struct Raise(Held);

/// Raises `table` to `units` write capacity units a second, and those of its
/// indexes that items with attributes of these `names` feed. Nothing when it has
/// as much already. `note` is where the note goes.
///
/// When `stop` is requested while it waits, it returns at once what must be
/// restored.
///
/// # Errors
/// [`ErrorKind::Usage`] when it cannot work or is not allowed, [`ErrorKind::Write`]
/// when DynamoDB does not do it: in either case the table is as it was, or the
/// message says how to bring it back.
pub(crate) async fn raise(
    aws: &Aws,
    table: &Table,
    units: u64,
    names: &[&str],
    note: PathBuf,
    stop: &Stop,
) -> Result<Option<Raise>> {
    let (arn, parts) = settled(aws, &table.name, stop).await?;
    let indexes: Vec<String> = table
        .indexes
        .iter()
        .filter(|i| i.global)
        .map(|i| i.name.clone())
        .collect();
    let scalings = match auto_scaling::describe(aws, &table.name, &indexes).await {
        Ok(scalings) => scalings,
        Err(e) => {
            tracing::warn!("{e:#}: if auto scaling looks after the table, it may undo the raise");
            Vec::new()
        }
    };
    let mut plan = plan(table, &parts, &scalings, units, names)?;
    if note.exists() {
        // A run before was killed: what it found is what must come back.
        let left = Held::read(&note)?;
        same_table(&left.note, &table.name, &arn)?;
        tracing::warn!(
            "the table was left raised by a run that was killed ({}): this run brings it back to what it \
             had before that",
            note.display()
        );
        plan.take_over(left.note);
    }
    if plan.parts.is_empty() {
        tracing::info!(
            "the table has {} write units/s already: nothing is raised",
            thousands(units as f64)
        );
        return Ok(None);
    }
    within_limits(aws, units).await?;
    let held = Held::write(
        Note {
            version: crate::dynamodb::scaling::restore_note::VERSION,
            table: table.name.clone(),
            arn,
            raised_at: Timestamp::now().to_string(),
            parts: plan.parts,
        },
        note,
    )?;
    let raise = Raise(held);
    match raise.carry_out(aws, &parts, stop).await {
        Ok(()) => Ok(Some(raise)),
        Err(failed) => match raise.restore(aws, &Stop::new()).await {
            Ok(()) => Err(failed),
            Err(also) => {
                tracing::warn!("{also:#}");
                Err(match also.what_to_do() {
                    Some(hint) => failed.hint(hint.to_owned()),
                    None => failed,
                })
            }
        },
    }
}

/// Brings table `name` back by the note at `path`, which a run that was killed
/// has left.
///
/// # Errors
/// [`ErrorKind::Usage`] when the note is none or another table's,
/// [`ErrorKind::Write`] when DynamoDB does not do it: the note stays.
pub(crate) async fn restore(
    aws: &Aws,
    name: &str,
    path: &std::path::Path,
    stop: &Stop,
) -> Result<()> {
    let held = Held::read(path)?;
    let (arn, _) = describe(aws, name).await?;
    same_table(&held.note, name, &arn)?;
    Raise(held).restore(aws, stop).await
}

impl Raise {
    /// What was raised, for messages: from what to what.
    pub(crate) fn parts(&self) -> &[Raised] {
        &self.0.note.parts
    }

    /// Where the note lies.
    pub(crate) fn note(&self) -> &std::path::Path {
        &self.0.path
    }

    /// Does what the note says is going to be done, and waits for it.
    async fn carry_out(&self, aws: &Aws, now: &[Throughput], stop: &Stop) -> Result<()> {
        let note = &self.0.note;
        for part in &note.parts {
            let (from, to) = (
                thousands(part.write_units as f64),
                thousands(part.raised_to as f64),
            );
            match part.minimum {
                Some(minimum) => {
                    tracing::info!(
                        "raising {}: from {from} to {to} write units/s, by the minimum of its auto scaling, \
                         which is {minimum}",
                        part.part()
                    );
                    set_minimum(aws, &note.table, part, part.raised_to).await?;
                }
                None => {
                    let lowered = now
                        .iter()
                        .find(|t| t.index == part.index)
                        .map_or(0, |t| t.decreases);
                    tracing::info!(
                        "raising {}: from {from} to {to} write units/s; DynamoDB lets it be lowered {} times \
                         more today",
                        part.part(),
                        DECREASES_A_DAY.saturating_sub(lowered)
                    );
                }
            }
        }
        let by_hand: Vec<(&Throughput, u64)> = note
            .parts
            .iter()
            .filter(|p| p.minimum.is_none())
            .filter_map(|p| Some((now.iter().find(|t| t.index == p.index)?, p.raised_to)))
            .filter(|(t, to)| t.write_units < *to)
            .collect();
        update(aws, &note.table, &by_hand).await?;
        let reached = |parts: &[Throughput]| {
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

    /// Brings the table back to what it was, and removes the note.
    ///
    /// When `stop` is insisted on, it does not wait for a table that is being
    /// changed.
    ///
    /// # Errors
    /// [`ErrorKind::Write`] when DynamoDB does not do it, with the command that
    /// does it later: the note stays.
    pub(crate) async fn restore(self, aws: &Aws, stop: &Stop) -> Result<()> {
        let note = &self.0.note;
        let later = |e: Error| {
            let command = format!(
                "hashferry capacity --table {} --restore {}",
                note.table,
                self.0.path.display()
            );
            let why = e
                .what_to_do()
                .map(|hint| format!(" ({hint})"))
                .unwrap_or_default();
            Error::new(
                ErrorKind::Write,
                format!(
                    "table {} could not be brought back: it is still raised, and paid for",
                    note.table
                ),
            )
            .because(e)
            .hint(format!("run this{why}: {command}"))
        };
        for part in note.parts.iter().filter(|p| p.minimum.is_some()) {
            let minimum = part.minimum.unwrap_or(part.write_units);
            set_minimum(aws, &note.table, part, minimum)
                .await
                .map_err(later)?;
        }
        let all_active = |parts: &[Throughput]| parts.iter().all(|t| t.active);
        wait_for(aws, &note.table, stop.insisted(), all_active)
            .await
            .map_err(later)?;
        let (_, parts) = describe(aws, &note.table).await.map_err(later)?;
        let lower: Vec<(&Throughput, u64)> = parts
            .iter()
            .filter_map(|t| {
                Some((
                    t,
                    note.parts.iter().find(|p| p.index == t.index)?.write_units,
                ))
            })
            // Zero is what a table that is now paid per request says.
            .filter(|(t, before)| t.write_units > *before)
            .collect();
        for (part, before) in &lower {
            tracing::info!(
                "bringing {} back: from {} to {} write units/s",
                part.part(),
                thousands(part.write_units as f64),
                thousands(*before as f64)
            );
        }
        update(aws, &note.table, &lower).await.map_err(later)?;
        let left = lower
            .iter()
            .map(|(t, _)| DECREASES_A_DAY.saturating_sub(t.decreases + 1))
            .min();
        if let Some(left) = left {
            tracing::info!(
                "table {} is back at its capacity; it can be lowered {left} times more today",
                note.table
            );
        }
        self.0.remove()
    }
}
