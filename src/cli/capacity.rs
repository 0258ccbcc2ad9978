//! `hashferry capacity` and `hashferry keepalive`: what a table can take, and how
//! it comes down again.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::{duration, thousands};
use crate::cli::context::Context;
use crate::cli::terminal;
use crate::dynamodb::describe_table;
use crate::dynamodb::scaling::auto_scaling::Scaling;
use crate::dynamodb::scaling::{auto_scaling, keepalive, raise, restore_note};
use crate::dynamodb::table::{Billing, Table};
use crate::flow::capacity::ON_DEMAND_WRITE_UNITS;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hashferry capacity --table sha256\n  \
    hashferry capacity --table sha256 --json\n  \
    hashferry capacity --table sha256 --restore\n\n\
    Permissions: scripts/iam/capacity.json, with --restore scripts/iam/ingest-raise.json")]
pub(super) struct CapacityArgs {
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// One JSON object instead of text
    #[arg(long, conflicts_with = "restore")]
    json: bool,
    /// Bring a table back that a run has left raised: FILE is the note that the run spoke of
    /// [default: where ingest --raise-to leaves it]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    restore: Option<Option<PathBuf>>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hashferry keepalive --table sha256\n  \
    hashferry keepalive --table sha256 --until-min\n\n\
    Indexes are not helped by this: a delete of a key that does not exist writes nothing to an index. \
    What helps them: set the maximum of the index's scaling policy to its minimum, or put and delete real \
    items.\n\n\
    Permissions: scripts/iam/keepalive.json")]
pub(super) struct KeepaliveArgs {
    /// The table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// Go on until the table is at its auto scaling minimum
    #[arg(long)]
    until_min: bool,
    /// Time between two calls
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    interval: Duration,
}

impl CapacityArgs {
    /// The file with the least IAM policy.
    pub(super) fn policy(&self) -> &'static str {
        match self.restore {
            Some(_) => "scripts/iam/ingest-raise.json",
            None => "scripts/iam/capacity.json",
        }
    }
}

/// Shows what the table can take.
pub(super) async fn show(context: &Context, args: &CapacityArgs) -> Result<u8> {
    let connection = context.connect().await?;
    let aws = &connection.aws;
    if let Some(note) = &args.restore {
        let note = match note {
            Some(path) => path.clone(),
            None => restore_note::place(aws, &args.table)?,
        };
        let ended = raise::restore(aws, &args.table, &note, &context.stop).await;
        connection.close();
        ended?;
        println!("Table {} is back at its capacity.", args.table);
        return Ok(0);
    }
    let table = describe_table::describe(aws, &args.table, None).await?;
    let mut replicas = Vec::new();
    for region in table.replicas.iter().filter(|r| *r != aws.region()) {
        let units = describe_table::in_region(aws, region, &table.name).await;
        replicas.push((region.clone(), units.map_err(|e| format!("{e:#}"))));
    }
    let indexes: Vec<String> = table.indexes.iter().map(|i| i.name.clone()).collect();
    let scalings = match table.billing {
        Billing::OnDemand { .. } => Ok(Vec::new()),
        Billing::Provisioned { .. } => auto_scaling::describe(aws, &table.name, &indexes)
            .await
            .map_err(|e| format!("{e:#}")),
    };
    let printed = if args.json {
        let text = as_json(&table, &replicas, &scalings);
        terminal::print(&format!("{text}\n"), terminal::Form::Json)
    } else {
        terminal::print(&as_text(&table, &replicas, &scalings), terminal::Form::Text)
    };
    connection.close();
    printed
        .map(|()| 0)
        .map_err(|e| Error::new(ErrorKind::Output, "cannot write to standard output").because(e))
}

type Replicas = [(String, std::result::Result<Option<f64>, String>)];
type Scalings = std::result::Result<Vec<Scaling>, String>;

/// The capacity of all parts that is known, every index counted.
fn all(table: &Table, replicas: &Replicas) -> crate::flow::capacity::Capacity {
    let names: Vec<&str> = table
        .indexes
        .iter()
        .flat_map(|i| i.keys.iter().map(String::as_str))
        .collect();
    let known = |(r, u): &(String, std::result::Result<Option<f64>, String>)| {
        u.as_ref().ok().copied().flatten().map(|u| (r.clone(), u))
    };
    table.capacity(
        &names,
        &replicas.iter().filter_map(known).collect::<Vec<_>>(),
    )
}

fn as_json(table: &Table, replicas: &Replicas, scalings: &Scalings) -> serde_json::Value {
    let capacity = all(table, replicas);
    let (mode, units) = match table.billing {
        Billing::Provisioned { write_units } => ("provisioned", Some(write_units)),
        Billing::OnDemand { maximum } => ("on-demand", maximum),
    };
    json!({
        "table": table.name,
        "billing": mode,
        "write_units": units,
        "warm_write_units": table.warm,
        "indexes": table.indexes.iter()
            .map(|i| json!({"name": i.name, "keys": i.keys, "write_units": i.write_units}))
            .collect::<Vec<_>>(),
        "replicas": replicas.iter()
            .map(|(region, units)| json!({"region": region, "write_units": units.as_ref().ok().copied().flatten(),
                "error": units.as_ref().err()}))
            .collect::<Vec<_>>(),
        "auto_scaling": scalings.as_ref().ok(),
        "auto_scaling_error": scalings.as_ref().err(),
        "decreases_today": table.decreases_today,
        "takes_wcu_per_s": capacity.start(),
        "narrowest": capacity.narrowest().map(|(part, _)| part.to_string()),
    })
}

fn as_text(table: &Table, replicas: &Replicas, scalings: &Scalings) -> String {
    let capacity = all(table, replicas);
    let per_s = |units: f64| format!("{} write units/s", thousands(units));
    let mut out = vec![format!("Table {}", table.name)];
    out.push(match table.billing {
        Billing::Provisioned { write_units } => format!(
            "  provisioned: {}; lowered {} time{} today",
            per_s(write_units as f64),
            table.decreases_today,
            if table.decreases_today == 1 { "" } else { "s" }
        ),
        Billing::OnDemand { maximum: Some(m) } => {
            format!("  on demand, with a maximum of {}", per_s(m as f64))
        }
        Billing::OnDemand { maximum: None } => "  on demand, without a maximum".to_owned(),
    });
    if let Some(warm) = table.warm {
        out.push(format!("  warm for {}", per_s(warm)));
    }
    for index in &table.indexes {
        let units = index
            .write_units
            .map_or("no limit of its own".to_owned(), per_s);
        out.push(format!(
            "  index {} (items with {}): {units}",
            index.name,
            index.keys.join(", ")
        ));
    }
    for (region, units) in replicas {
        out.push(match units {
            Ok(Some(units)) => format!("  replica in {region}: {}", per_s(*units)),
            Ok(None) => format!("  replica in {region}: no limit of its own"),
            Err(e) => format!("  replica in {region}: not known ({e})"),
        });
    }
    match scalings {
        Err(e) => out.push(format!("  auto scaling: not known ({e})")),
        Ok(list) if list.is_empty() => out.push("  auto scaling: none".to_owned()),
        Ok(list) => {
            for s in list {
                let aim = match s.target_percent {
                    Some(p) => format!("aims at {p} % in use"),
                    None => "without a target-tracking policy".to_owned(),
                };
                let off = match (s.scale_in_off, s.scale_out_off) {
                    (true, true) => "; suspended",
                    (true, false) => "; does not lower",
                    (false, true) => "; does not raise",
                    (false, false) => "",
                };
                out.push(format!(
                    "  auto scaling of {}: {} to {}, {aim}{off}",
                    s.resource, s.min, s.max
                ));
            }
        }
    }
    let why = match (capacity.narrowest(), table.warm) {
        (Some((part, _)), _) if !capacity.on_demand => format!("{part} is the narrowest part"),
        (Some(_), _) => "the maximum that was set".to_owned(),
        (None, Some(_)) => "what it is warm for".to_owned(),
        (None, None) => format!(
            "what a new on-demand table takes, {}",
            per_s(ON_DEMAND_WRITE_UNITS)
        ),
    };
    out.push(format!(
        "An ingest whose items feed every index begins at {}: {why}.",
        per_s(capacity.start())
    ));
    out.join("\n") + "\n"
}

/// Keeps the table alive.
pub(super) async fn keep(context: &Context, args: &KeepaliveArgs) -> Result<u8> {
    let connection = context.connect().await?;
    let ended = keep_on(context, args, &connection.aws).await;
    connection.close();
    ended
}

async fn keep_on(
    context: &Context,
    args: &KeepaliveArgs,
    aws: &crate::aws::config::Aws,
) -> Result<u8> {
    let table = describe_table::describe(aws, &args.table, None).await?;
    if !keepalive::not_helped(&table).is_empty() {
        tracing::warn!(
            "the table's indexes are not helped by this: set the maximum of their scaling policies to \
             the minimum, or put and delete real items"
        );
    }
    if !args.until_min {
        let consumed = keepalive::once(aws, &table).await?;
        println!(
            "Consumed {consumed} write unit(s) of table {}; nothing was changed.",
            table.name
        );
        return Ok(0);
    }
    match keepalive::until_minimum(aws, &args.table, args.interval, &context.stop).await? {
        Some(min) => println!(
            "Table {} is at its minimum of {min} write units/s.",
            args.table
        ),
        None => return Ok(4),
    }
    Ok(0)
}
