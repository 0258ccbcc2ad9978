//! The `hashferry plan` command: estimates time and cost of writing a list.

use crate::aws::endpoint;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::human::{format_number, format_seconds};
use crate::cli::context::Context;
use crate::cli::flags::compression::DecompressArgs;
use crate::cli::flags::format::ListArgs;
use crate::cli::flags::item::ItemArgs;
use crate::cli::flags::run::parse_wcu;
use crate::cli::flags::sources::SourceArgs;
use crate::cli::terminal;
use crate::commands::plan::estimate::{DecimalEstimate, Estimate};
use crate::commands::plan::forecast::{Forecast, Route, RouteKind};
use crate::commands::plan::options::PlanOptions;
use crate::commands::plan::target::Copies;
use crate::dynamodb::prices::Prices;
use crate::pipeline::report::describe_skipped;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use std::fmt::Write as _;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    hashferry plan s3://my-bucket/nsrl-sha256.txt --table sha256 --source NSRL --type known\n  \
    hashferry plan list.txt --exact --at 10000 --replicas 2 --indexes 1 --json\n\n\
    Permissions: scripts/iam/plan.json")]
pub(super) struct PlanArgs {
    #[command(flatten)]
    sources: SourceArgs,
    /// Table to plan for [default: a new one, with a text key named like the algorithm]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    item: ItemArgs,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    decompress: DecompressArgs,
    /// Read and count whole lists, instead of estimating from their first part (compressed lists
    /// are always read to the end)
    #[arg(long)]
    exact: bool,
    /// Estimate also for N provisioned WCU/s
    #[arg(long, value_name = "N", value_parser = parse_wcu, allow_hyphen_values = true, help_heading = "Speed")]
    at: Option<f64>,
    /// Regions of a global table, including this one; every write is replicated to each [default:
    /// those of the table, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100), help_heading = "Cost")]
    replicas: Option<u64>,
    /// Global secondary indexes that the items are in; each costs as much as the table [default:
    /// those of the table, else 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=100), help_heading = "Cost")]
    indexes: Option<u64>,
    /// Price of a million on-demand write request units, also replicated ones
    #[arg(long, value_name = "USD", value_parser = parse_usd, allow_hyphen_values = true, help_heading = "Cost")]
    price_write_units: Option<f64>,
    /// Price of a provisioned WCU for an hour, also replicated ones
    #[arg(long, value_name = "USD", value_parser = parse_usd, allow_hyphen_values = true, help_heading = "Cost")]
    price_capacity_hour: Option<f64>,
    /// Price of importing an uncompressed GB
    #[arg(long, value_name = "USD", value_parser = parse_usd, allow_hyphen_values = true, help_heading = "Cost")]
    price_import_gb: Option<f64>,
    /// Print one JSON object with all figures
    #[arg(long, help_heading = "Output")]
    json: bool,
}

fn parse_usd(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|p: &f64| p.is_finite() && *p >= 0.0)
        .ok_or_else(|| format!("expected a price in USD, such as 0.625, got {text:?}"))
}

/// Runs the command and returns its exit status.
pub(super) async fn run(context: &Context, args: PlanArgs) -> Result<u8> {
    let common = &context.common;
    let flag = |name: &str, value: Option<&String>| {
        value
            .map(|v| [name.to_owned(), v.clone()])
            .into_iter()
            .flatten()
    };
    let endpoint_url = common
        .endpoint_url
        .as_deref()
        .and_then(endpoint::without_secrets);
    let local = common.local.as_ref().map(|d| d.display().to_string());
    let prices = Prices::default();
    let json = args.json;
    let asks_aws = args.table.is_some()
        || args
            .sources
            .sources
            .iter()
            .chain(&args.sources.manifests)
            .any(|source| source.starts_with("s3://"));
    let planning = PlanOptions {
        globs: args.sources.globs()?,
        manifests: args.sources.manifests.clone(),
        unpack: args.decompress.decompress_options(),
        form: args.list.list_options()?,
        attributes_from: args.item.attributes_from.clone(),
        table: args.table,
        algorithm: args.item.hash,
        key: args.item.key.clone(),
        case: args.item.case().unwrap_or_default(),
        attr_from_version: args.item.attr_from_version,
        attributes: args.item.clone().into_attributes(),
        exact: args.exact,
        rate: args.at,
        replicas: args.replicas,
        indexes: args.indexes,
        prices: Prices {
            write_units: prices
                .write_units
                .overridden_with(args.price_write_units, "--price-write-units"),
            capacity_hour: prices
                .capacity_hour
                .overridden_with(args.price_capacity_hour, "--price-capacity-hour"),
            import_gb: prices
                .import_gb
                .overridden_with(args.price_import_gb, "--price-import-gb"),
        },
        aws_flags: flag("--region", common.region.as_ref())
            .chain(flag("--profile", common.profile.as_ref()))
            .chain(flag("--endpoint-url", endpoint_url.as_ref()))
            .collect(),
        hashferry_flags: flag("--local", local.as_ref())
            .chain(args.decompress.to_args())
            .chain(args.list.to_args())
            .chain(args.item.attributes_from_args())
            .chain(args.sources.to_args())
            .collect(),
        sources: args.sources.sources,
    };
    // A local list for a new table needs no call to AWS, so no region need be set.
    let connection = match asks_aws {
        true => context.connect().await?,
        false => {
            context
                .connect_with_default_region(Some("us-east-1"))
                .await?
        }
    };
    let ended = tokio::select! {
        biased;
        () = context.stop.requested() => None,
        ended = planning.run(&connection.aws) => Some(ended),
    };
    connection.close();
    let Some(forecast) = ended.transpose()? else {
        return Ok(4);
    };
    let (text, form) = match json {
        true => (forecast.to_json(), terminal::OutputFormat::Json),
        false => (describe(&forecast), terminal::OutputFormat::Text),
    };
    terminal::print(&text, form).map_err(|e| {
        Error::new(ErrorKind::Output, "cannot write the plan to stdout").with_source(e)
    })?;
    Ok(0)
}

/// The forecast as text.
fn describe(f: &Forecast) -> String {
    let mut out = String::new();
    show_list(&mut out, f);
    show_items(&mut out, f);
    show_routes(&mut out, f);
    show_choice(&mut out, f);
    show_prices(&mut out, f);
    let _ = writeln!(out, "\nNotes:");
    for note in &f.notes {
        let _ = writeln!(out, "  {note}");
    }
    out
}

/// Appends line counts of the list and the method of counting.
fn show_list(out: &mut String, f: &Forecast) {
    let how = if f.exact {
        "counted in full".to_owned()
    } else {
        let read: u64 = f.sources.iter().map(|s| s.bytes_read).sum();
        let all: u64 = f.sources.iter().filter_map(|s| s.bytes).sum();
        let (read, all) = match &f.further_sources {
            Some(further) => (read + further.bytes_read, all + further.bytes),
            None => (read, all),
        };
        format!(
            "estimated from {} of {}, with 95 % intervals",
            HumanBytes(read),
            HumanBytes(all)
        )
    };
    let _ = writeln!(out, "The list ({how}):");
    let skipped = describe_skipped(&f.other_algorithms);
    for (name, figure, note) in [
        ("lines", f.lines, ""),
        ("hashes", f.hashes, "each becomes an item"),
        ("duplicates", f.duplicates, "not written"),
        ("rejected", f.rejected, "not a hash of this algorithm"),
        ("skipped", f.skipped, &skipped),
    ] {
        let note = match figure.value == 0 || note.is_empty() {
            true => String::new(),
            false => format!("  {note}"),
        };
        let count = HumanCount(figure.value);
        let _ = writeln!(
            out,
            "  {name:<12}{:>15}{}{note}",
            count.to_string(),
            describe_interval(figure)
        );
    }
}

/// Appends the size of an item and the WCU of all items.
fn show_items(out: &mut String, f: &Forecast) {
    let item = &f.item;
    let table = match &f.table {
        Some(name) => format!("table {name}"),
        None => "a new table".to_owned(),
    };
    let _ = writeln!(
        out,
        "\nThe items, for {table}: {} hashes as key {} ({}), {} bytes and {} WCU each \
         (DynamoDB's size formula)",
        f.hash, item.key, item.key_type, item.bytes, item.write_units,
    );
    let copies = |c: &Copies, one: &str, more: &str| {
        let what = if c.count == 1 { one } else { more };
        format!("{} {what} ({})", c.count, c.source)
    };
    let mut times = vec![
        copies(&f.replicas, "Region", "Regions"),
        copies(&f.indexes, "index", "indexes"),
    ];
    if f.local_indexes.count > 0 {
        times.push(copies(&f.local_indexes, "local index", "local indexes"));
    }
    let _ = writeln!(
        out,
        "  {} WCU in total{}: {}",
        HumanCount(f.write_units.value),
        describe_interval(f.write_units),
        times.join(", ")
    );
}

/// Appends a table of the routes, with rate, time and cost of each.
fn show_routes(out: &mut String, f: &Forecast) {
    let _ = writeln!(out, "\nRoutes:");
    let _ = writeln!(
        out,
        "  {:<22}{:>14}{:>16}{:>14}",
        "", "WCU/s", "time", "USD"
    );
    for route in &f.routes {
        let rate = route
            .write_units_per_s
            .map_or_else(|| "-".to_owned(), format_number);
        let time = route
            .seconds
            .map_or_else(|| "unknown".to_owned(), |s| format_seconds(s.value));
        let _ = writeln!(
            out,
            "  {:<22}{rate:>14}{time:>16}{:>14}",
            route_name(route),
            format_usd(route.usd.value)
        );
        let _ = writeln!(out, "      rate: {}", route.rate_source);
        let _ = writeln!(out, "      cost: {}", describe_cost(route, f));
        for limit in &route.limits {
            let _ = writeln!(out, "      {limit}");
        }
    }
}

/// Appends the cheapest and the fastest route, with their commands.
fn show_choice(out: &mut String, f: &Forecast) {
    let named = [
        ("Cheapest", f.cheapest),
        (
            "Cheapest without an import",
            f.cheapest_ingest.filter(|i| Some(*i) != f.cheapest),
        ),
        ("Fastest", f.fastest),
    ];
    for (title, index) in named {
        let Some(route) = index.and_then(|i| f.routes.get(i)) else {
            continue;
        };
        let time = route
            .seconds
            .map(|s| format!(" in {}", format_seconds(s.value)))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "\n{title}: {}, {} USD{time}",
            route_name(route),
            format_usd(route.usd.value)
        );
        for command in &route.commands {
            let _ = writeln!(out, "  {command}");
        }
    }
}

/// Appends the prices of the forecast and their sources.
fn show_prices(out: &mut String, f: &Forecast) {
    let _ = writeln!(
        out,
        "\nPrices, {} as of {} (change them with --price-…):",
        f.prices_region, f.prices_as_of
    );
    let prices = &f.prices;
    for price in [
        &prices.write_units,
        &prices.capacity_hour,
        &prices.import_gb,
    ] {
        let _ = writeln!(
            out,
            "  {} USD a {} ({})",
            price.usd, price.per, price.source
        );
    }
}

fn describe_interval(figure: Estimate) -> String {
    if figure.is_exact() {
        return String::new();
    }
    format!(" ({}–{})", HumanCount(figure.low), HumanCount(figure.high))
}

fn route_name(route: &Route) -> &'static str {
    match route.kind {
        RouteKind::Provisioned => "provisioned",
        RouteKind::OnDemand => "on-demand",
        RouteKind::Import => "import, a new table",
    }
}

/// Formats USD to the hundredth of a cent, or to the cent from 100 USD.
fn format_usd(usd: f64) -> String {
    if usd > 0.0 && usd < 0.0001 {
        "<0.0001".to_owned()
    } else if usd < 100.0 {
        format!("{usd:.4}")
    } else {
        format!("{usd:.2}")
    }
}

/// Describes the calculation of the cost of `route`.
fn describe_cost(route: &Route, f: &Forecast) -> String {
    let DecimalEstimate { low, high, .. } = route.usd;
    let range = match low == high {
        true => String::new(),
        false => format!("; {} to {} USD", format_usd(low), format_usd(high)),
    };
    let billed = match route.kind {
        RouteKind::Provisioned => format!(
            "{} WCU provisioned for {} h",
            HumanCount(route.billed_capacity.unwrap_or(0)),
            HumanCount(route.billed_hours.map_or(0, |h| h.value))
        ),
        RouteKind::OnDemand => format!("{} WCU", HumanCount(f.write_units.value)),
        RouteKind::Import => format!(
            "{} uncompressed",
            HumanBytes(route.billed_bytes.map_or(0, |b| b.value))
        ),
    };
    let price = match route.kind {
        RouteKind::Provisioned => &f.prices.capacity_hour,
        RouteKind::OnDemand => &f.prices.write_units,
        RouteKind::Import => &f.prices.import_gb,
    };
    format!("{billed} at {} USD a {}{range}", price.usd, price.per)
}
