//! The `hashferry capacity` and `hashferry keepalive` commands: show a table's write
//! capacity, restore it, and let auto scaling scale it in.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::{format_number, parse_duration};
use crate::cli::context::Context;
use crate::cli::terminal;
use crate::dynamodb::describe_table;
use crate::dynamodb::scaling::auto_scaling::ScalingTarget;
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
    /// Name of the table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// Print one JSON object instead of text
    #[arg(long, conflicts_with = "restore")]
    json: bool,
    /// Restore the capacity of a table that a run left raised; FILE is the restore note that the
    /// run named [default: the note of ingest --raise-to]
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    restore: Option<Option<PathBuf>>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hashferry keepalive --table sha256\n  \
    hashferry keepalive --table sha256 --until-min\n\n\
    This does not scale indexes in: deleting a key that does not exist writes nothing to an index. To scale \
    an index in, set the maximum of its scaling policy to its minimum, or put and delete real items.\n\n\
    Permissions: scripts/iam/keepalive.json")]
pub(super) struct KeepaliveArgs {
    /// Name of the table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// Continue until the table is at its auto scaling minimum
    #[arg(long)]
    until_min: bool,
    /// Time between two calls
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    interval: Duration,
}

impl CapacityArgs {
    /// The path of the command's minimum IAM policy.
    pub(super) fn policy(&self) -> &'static str {
        match self.restore {
            Some(_) => "scripts/iam/ingest-raise.json",
            None => "scripts/iam/capacity.json",
        }
    }
}

/// Shows the table's write capacity, or restores it with `--restore`.
pub(super) async fn show(context: &Context, args: &CapacityArgs) -> Result<u8> {
    let connection = context.connect().await?;
    let aws = &connection.aws;
    if let Some(note) = &args.restore {
        let note = match note {
            Some(path) => path.clone(),
            None => restore_note::note_path(aws, &args.table)?,
        };
        let ended = raise::restore(aws, &args.table, &note, &context.stop).await;
        connection.close();
        ended?;
        println!("The capacity of table {} is restored.", args.table);
        return Ok(0);
    }
    let table = describe_table::describe_table(aws, &args.table, None).await?;
    let mut replicas = Vec::new();
    for region in table.replicas.iter().filter(|r| *r != aws.region()) {
        let units = describe_table::describe_replica_write_units(aws, region, &table.name).await;
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
        terminal::print(&format!("{text}\n"), terminal::OutputFormat::Json)
    } else {
        terminal::print(
            &as_text(&table, &replicas, &scalings),
            terminal::OutputFormat::Text,
        )
    };
    connection.close();
    printed.map(|()| 0).map_err(|e| {
        Error::new(ErrorKind::Output, "cannot write to standard output").with_source(e)
    })
}

type Replicas = [(String, std::result::Result<Option<f64>, String>)];
type Scalings = std::result::Result<Vec<ScalingTarget>, String>;

/// The known capacity of all parts of the table, including every index.
fn total_capacity(table: &Table, replicas: &Replicas) -> crate::flow::capacity::Capacity {
    let names: Vec<&str> = table
        .indexes
        .iter()
        .flat_map(|i| i.keys.iter().map(String::as_str))
        .collect();
    let known = |(r, u): &(String, std::result::Result<Option<f64>, String>)| {
        u.as_ref().ok().copied().flatten().map(|u| (r.clone(), u))
    };
    table.write_capacity(
        &names,
        &replicas.iter().filter_map(known).collect::<Vec<_>>(),
    )
}

fn as_json(table: &Table, replicas: &Replicas, scalings: &Scalings) -> serde_json::Value {
    let capacity = total_capacity(table, replicas);
    let (mode, units) = match table.billing {
        Billing::Provisioned { write_units } => ("provisioned", Some(write_units)),
        Billing::OnDemand { maximum } => ("on-demand", maximum),
    };
    json!({
        "table": table.name,
        "billing": mode,
        "write_units": units,
        "warm_write_units": table.warm_write_units,
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
        "takes_wcu_per_s": capacity.start_rate(),
        "narrowest": capacity.narrowest().map(|(part, _)| part.to_string()),
    })
}

fn as_text(table: &Table, replicas: &Replicas, scalings: &Scalings) -> String {
    let capacity = total_capacity(table, replicas);
    let per_s = |units: f64| format!("{} WCU/s", format_number(units));
    let mut out = vec![format!("Table {}", table.name)];
    out.push(match table.billing {
        Billing::Provisioned { write_units } => format!(
            "  provisioned: {}; decreased {} time{} today",
            per_s(write_units as f64),
            table.decreases_today,
            if table.decreases_today == 1 { "" } else { "s" }
        ),
        Billing::OnDemand { maximum: Some(m) } => {
            format!("  on-demand, with a maximum of {}", per_s(m as f64))
        }
        Billing::OnDemand { maximum: None } => "  on-demand, without a maximum".to_owned(),
    });
    if let Some(warm) = table.warm_write_units {
        out.push(format!("  warm throughput: {}", per_s(warm)));
    }
    for index in &table.indexes {
        let units = index
            .write_units
            .map_or("no separate limit".to_owned(), per_s);
        out.push(format!(
            "  index {} (items with {}): {units}",
            index.name,
            index.keys.join(", ")
        ));
    }
    for (region, units) in replicas {
        out.push(match units {
            Ok(Some(units)) => format!("  replica in {region}: {}", per_s(*units)),
            Ok(None) => format!("  replica in {region}: no separate limit"),
            Err(e) => format!("  replica in {region}: unknown ({e})"),
        });
    }
    match scalings {
        Err(e) => out.push(format!("  auto scaling: unknown ({e})")),
        Ok(list) if list.is_empty() => out.push("  auto scaling: none".to_owned()),
        Ok(list) => {
            for s in list {
                let target = match s.target_percent {
                    Some(p) => format!("target utilisation {p} %"),
                    None => "without a target-tracking policy".to_owned(),
                };
                let off = match (s.scale_in_disabled, s.scale_out_disabled) {
                    (true, true) => "; suspended",
                    (true, false) => "; scale-in suspended",
                    (false, true) => "; scale-out suspended",
                    (false, false) => "",
                };
                out.push(format!(
                    "  auto scaling of {}: {} to {}, {target}{off}",
                    s.resource_id, s.min, s.max
                ));
            }
        }
    }
    let why = match (capacity.narrowest(), table.warm_write_units) {
        (Some((part, _)), _) if !capacity.on_demand => format!("{part} has the lowest capacity"),
        (Some(_), _) => "the configured maximum".to_owned(),
        (None, Some(_)) => "the warm throughput".to_owned(),
        (None, None) => format!(
            "the initial capacity of an on-demand table, {}",
            per_s(ON_DEMAND_WRITE_UNITS)
        ),
    };
    out.push(format!(
        "An ingest whose items are in every index starts at {}: {why}.",
        per_s(capacity.start_rate())
    ));
    out.join("\n") + "\n"
}

/// Sends keepalive traffic until stopped, or until the table is at its minimum.
pub(super) async fn keep(context: &Context, args: &KeepaliveArgs) -> Result<u8> {
    let connection = context.connect().await?;
    let ended = send_rounds(context, args, &connection.aws).await;
    connection.close();
    ended
}

async fn send_rounds(
    context: &Context,
    args: &KeepaliveArgs,
    aws: &crate::aws::config::Aws,
) -> Result<u8> {
    let table = describe_table::describe_table(aws, &args.table, None).await?;
    if !keepalive::indexes_not_covered(&table).is_empty() {
        tracing::warn!(
            "this does not scale the table's indexes in: set the maximum of their scaling policies to \
             the minimum, or put and delete real items"
        );
    }
    if !args.until_min {
        let consumed = keepalive::delete_keepalive_item(aws, &table).await?;
        println!(
            "Consumed {consumed} WCU of table {}; no data changed.",
            table.name
        );
        return Ok(0);
    }
    match keepalive::run_until_minimum(aws, &args.table, args.interval, &context.stop).await? {
        Some(min) => println!("Table {} is at its minimum of {min} WCU/s.", args.table),
        None => return Ok(4),
    }
    Ok(0)
}
