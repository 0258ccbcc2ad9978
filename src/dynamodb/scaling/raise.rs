//! Raising a table's write capacity for a run, and bringing it back.
//!
//! [`raise`] looks first: what cannot work, or could not be undone today, is
//! refused before anything is changed. Then it leaves a [note] on disk,
//! raises the table and the indexes that the items feed, and waits until they
//! are. What it returns [brings everything back](Raise::restore), after whatever
//! end; [`restore`] does the same from the note of a run that was killed.
//!
//! A part that auto scaling looks after is not set by hand, which would be a
//! tug-of-war: the minimum of its scalable target is moved, and auto scaling
//! itself raises it. Afterwards the minimum is moved back, and the capacity is
//! lowered by hand, because auto scaling never lowers what nobody uses.

use crate::aws::config::Aws;
use crate::aws::error::CallError;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::thousands;
use crate::base::shutdown::Stop;
use crate::dynamodb::scaling::auto_scaling;
use crate::dynamodb::scaling::auto_scaling::Scaling;
use crate::dynamodb::scaling::restore_note::{Held, Note, Raised};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::Part;
use aws_sdk_applicationautoscaling::types::{ScalableDimension, ServiceNamespace};
use aws_sdk_dynamodb::types::{
    GlobalSecondaryIndexUpdate, IndexStatus, ProvisionedThroughput,
    ProvisionedThroughputDescription, TableDescription, TableStatus,
    UpdateGlobalSecondaryIndexAction,
};
use jiff::Timestamp;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How often a table or an index can be lowered in a day (UTC).
/// Source: DynamoDB service quotas: 4 at any time, and one more for each hour
/// without one.
pub const DECREASES_A_DAY: u64 = 27;

/// How many of these can follow one another at any time.
pub const DECREASES_AT_ONCE: u64 = 4;

/// How long to wait until a table is what it was told to be. UpdateTable takes
/// from seconds to some minutes; auto scaling acts within a minute.
pub const WAIT: Duration = Duration::from_secs(15 * 60);

/// First and longest time between two looks at a table that is being changed.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// The policy that raising needs.
const POLICY: &str = "scripts/iam/ingest-raise.json";

/// A table that was raised. It must be [restored](Raise::restore): dropping it
/// leaves the table raised, and the note on disk.
#[derive(Debug)]
#[must_use = "the table stays raised, and is paid for, until it is restored"]
pub struct Raise(Held);

/// One part of a table, as DynamoDB describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Throughput {
    /// The index; nothing for the table itself.
    index: Option<String>,
    read_units: u64,
    write_units: u64,
    /// How often it was lowered today.
    decreases: u64,
    /// Whether it can be changed.
    active: bool,
}

/// What is going to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    parts: Vec<Raised>,
}

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
pub async fn raise(
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
            tracing::warn!("{e}: if auto scaling looks after the table, it may undo the raise");
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
                tracing::warn!("{also}");
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
pub async fn restore(aws: &Aws, name: &str, path: &std::path::Path, stop: &Stop) -> Result<()> {
    let held = Held::read(path)?;
    let (arn, _) = describe(aws, name).await?;
    same_table(&held.note, name, &arn)?;
    Raise(held).restore(aws, stop).await
}

impl Raise {
    /// What was raised, for messages: from what to what.
    pub fn parts(&self) -> &[Raised] {
        &self.0.note.parts
    }

    /// Where the note lies.
    pub fn note(&self) -> &std::path::Path {
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
    pub async fn restore(self, aws: &Aws, stop: &Stop) -> Result<()> {
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

impl Throughput {
    fn part(&self) -> Part {
        self.index.clone().map_or(Part::Table, Part::Index)
    }
}

impl Plan {
    /// What an earlier note says a part had before, is what it had before.
    fn take_over(&mut self, left: Note) {
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
fn plan(
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
        let resource = auto_scaling::resource_id(&table.name, &part.part());
        let scaling = scalings.iter().find(|s| s.resource == resource);
        let minimum = match scaling {
            None => None,
            Some(s) if s.scale_out_off => {
                tracing::warn!(
                    "auto scaling of {} is suspended: it is raised by hand",
                    s.resource
                );
                None
            }
            Some(s) if s.max < units => {
                return Err(Error::usage(format!(
                    "auto scaling of {} has a maximum of {} write units/s, less than {}",
                    s.resource,
                    thousands(s.max as f64),
                    thousands(units as f64)
                ))
                .hint(format!(
                    "raise to {} at most, or raise that maximum first",
                    s.max
                )));
            }
            Some(s) => Some(s.min).filter(|min| *min < units),
        };
        if part.write_units >= units && minimum.is_none() {
            continue;
        }
        if part.decreases >= DECREASES_A_DAY {
            return Err(Error::usage(format!(
                "{} of table {} was lowered {} times today: it could not be brought back before tomorrow (UTC)",
                part.part(),
                table.name,
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
        plan.parts.push(Raised {
            index: part.index.clone(),
            write_units: part.write_units,
            raised_to: units,
            minimum,
        });
    }
    Ok(plan)
}

fn same_table(note: &Note, name: &str, arn: &str) -> Result<()> {
    if note.table == name && note.arn == arn {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the note is about table {} ({}), not {name} ({arn})",
        note.table, note.arn
    ))
    .hint("check --table, the region and the account"))
}

/// Asks DynamoDB how much a table may have. Where that may not be asked, it says
/// so itself, by refusing.
async fn within_limits(aws: &Aws, units: u64) -> Result<()> {
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
async fn settled(aws: &Aws, name: &str, stop: &Stop) -> Result<(String, Vec<Throughput>)> {
    wait_for(aws, name, stop.requested(), |parts| {
        parts.iter().all(|t| t.active)
    })
    .await?;
    describe(aws, name).await
}

/// Looks at the table until it is as `wanted`: how long that took; nothing when
/// `enough` came first.
async fn wait_for(
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

async fn describe(aws: &Aws, name: &str) -> Result<(String, Vec<Throughput>)> {
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
async fn update(aws: &Aws, name: &str, parts: &[(&Throughput, u64)]) -> Result<()> {
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
async fn set_minimum(aws: &Aws, name: &str, part: &Raised, minimum: u64) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamodb::item::{KeyAttribute, KeySchema, KeyType};
    use crate::dynamodb::scaling::restore_note;
    use crate::dynamodb::table::Index;

    fn table() -> Table {
        let partition = KeyAttribute {
            name: "sha256".into(),
            kind: KeyType::S,
        };
        let index = |name: &str, key: &str, global| Index {
            name: name.into(),
            global,
            keys: vec![key.into()],
            write_units: Some(5.0),
        };
        Table {
            name: "t".into(),
            arn: None,
            id: None,
            schema: KeySchema {
                partition,
                sort: None,
                index_keys: Vec::new(),
            },
            billing: Billing::Provisioned { write_units: 5 },
            indexes: vec![
                index("by-source", "source", true),
                index("by-name", "name", true),
                index("l", "source", false),
            ],
            replicas: Vec::new(),
            warm: None,
            read_units: None,
            warm_reads: None,
            decreases_today: 0,
        }
    }

    fn part(index: Option<&str>, write_units: u64) -> Throughput {
        Throughput {
            index: index.map(str::to_owned),
            read_units: 3,
            write_units,
            decreases: 0,
            active: true,
        }
    }

    fn parts() -> Vec<Throughput> {
        vec![
            part(None, 5),
            part(Some("by-source"), 7),
            part(Some("by-name"), 9),
        ]
    }

    fn scaling(resource: &str, min: u64, max: u64) -> Scaling {
        Scaling {
            resource: resource.into(),
            min,
            max,
            target_percent: Some(70.0),
            scale_in_off: false,
            scale_out_off: false,
        }
    }

    fn raised(index: Option<&str>, write_units: u64, minimum: Option<u64>) -> Raised {
        Raised {
            index: index.map(str::to_owned),
            write_units,
            raised_to: 1000,
            minimum,
        }
    }

    #[test]
    fn the_table_and_the_indexes_that_are_fed_are_raised() {
        let got = plan(&table(), &parts(), &[], 1000, &["sha256", "source"]).expect("works");
        assert_eq!(
            got.parts,
            [raised(None, 5, None), raised(Some("by-source"), 7, None)]
        );
        let got = plan(&table(), &parts(), &[], 6, &["sha256", "source"]).expect("works");
        assert_eq!(got.parts.len(), 1, "the index has 7 already");
        let got = plan(&table(), &parts(), &[], 5, &["sha256", "source"]).expect("works");
        assert_eq!(got, Plan::default());
    }

    #[test]
    fn where_auto_scaling_is_its_minimum_is_moved() {
        let scalings = [
            scaling("table/t", 5, 2000),
            scaling("table/t/index/by-source", 1000, 1000),
        ];
        let parts = [part(None, 1500), part(Some("by-source"), 1000)];
        let got = plan(&table(), &parts, &scalings, 1000, &["sha256", "source"]).expect("works");
        // The table has enough now, but auto scaling could lower it.
        assert_eq!(got.parts, [raised(None, 1500, Some(5))]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let says = |table: &Table, parts: &[Throughput], scalings: &[Scaling], words: &str| {
            let e = plan(table, parts, scalings, 1000, &["sha256"]).expect_err(words);
            assert_eq!(e.exit_status(), 2);
            assert!(e.to_string().contains(words), "expected {words:?} in {e}");
        };
        let on_demand = Table {
            billing: Billing::OnDemand { maximum: None },
            ..table()
        };
        says(&on_demand, &parts(), &[], "paid per request");
        let global = Table {
            replicas: vec!["eu-west-1".into()],
            ..table()
        };
        says(&global, &parts(), &[], "global table");
        says(
            &table(),
            &parts(),
            &[scaling("table/t", 5, 999)],
            "maximum of 999",
        );
        let lowered = [Throughput {
            decreases: 27,
            ..part(None, 5)
        }];
        says(&table(), &lowered, &[], "lowered 27 times today");
    }

    #[test]
    fn a_note_that_was_left_says_what_comes_back() {
        let mut plan = plan(&table(), &[part(None, 800)], &[], 1000, &["sha256"]).expect("works");
        let note = Note {
            version: restore_note::VERSION,
            table: "t".into(),
            arn: String::new(),
            raised_at: String::new(),
            parts: vec![raised(None, 5, None), raised(Some("by-name"), 9, None)],
        };
        plan.take_over(note);
        assert_eq!(
            plan.parts,
            [raised(None, 5, None), raised(Some("by-name"), 9, None)]
        );
    }
}
