//! Forecast: the routes into a table, each with its time and its cost. Pure arithmetic on a
//! survey.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::human::format_number;
use crate::commands::plan::estimate::{DecimalEstimate, Estimate};
use crate::commands::plan::import_table::ImportFormat;
use crate::commands::plan::shell_commands::ShellCommands;
use crate::commands::plan::survey::{FurtherSurveyedSources, SAMPLE_BYTES, Survey, SurveyedSource};
use crate::commands::plan::target::{Copies, Target};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::prices::{BYTES_PER_GB, PRICE_REGION, PRICES_DATE, Prices};
use crate::dynamodb::table::Billing;
use crate::flow::capacity::ON_DEMAND_WRITE_UNITS;
use crate::pipeline::window::WINDOW_HASHES;
use serde::Serialize;

/// Default maximum write capacity of a table in WCU/s, without a quota increase by AWS.
/// Source: DynamoDB developer guide, ServiceQuotas.
pub(crate) const TABLE_WCU_QUOTA: u64 = 40_000;

/// Seconds of the billed hours that a proposed capacity leaves free: for the start, and for
/// lowering the capacity afterwards.
const SPARE_SECONDS: u64 = 300;

/// Kind of a route into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouteKind {
    /// Provisioned write capacity, billed by the hour.
    Provisioned,
    /// On-demand capacity, billed by the request.
    OnDemand,
    /// ImportTable: a new table from files in S3.
    Import,
}

/// A route into a table, with its time and its cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// Kind of the route.
    #[serde(rename = "route")]
    pub kind: RouteKind,
    /// Write rate in WCU/s. `None` for an import, for which AWS states no rate.
    pub write_units_per_s: Option<f64>,
    /// Source of that rate.
    pub rate_source: String,
    /// Seconds at that rate. `None` if there is no rate.
    pub seconds: Option<DecimalEstimate>,
    /// Billed capacity in WCU, with indexes and replicas. `None` unless provisioned.
    pub billed_capacity: Option<u64>,
    /// Billed hours; a part of an hour counts as a whole one. `None` unless provisioned.
    pub billed_hours: Option<Estimate>,
    /// Billed uncompressed bytes. `None` unless it is an import.
    pub billed_bytes: Option<Estimate>,
    /// Total cost in USD.
    pub usd: DecimalEstimate,
    /// Conditions and limits of the route.
    pub limits: Vec<String>,
    /// Commands that carry it out, in order.
    pub commands: Vec<String>,
}

/// Key and size of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ItemSize {
    /// Name of the partition key.
    pub key: String,
    /// Type of the partition key: S or B.
    pub key_type: String,
    /// Size in bytes, by DynamoDB's size formula.
    pub bytes: u64,
    /// WCU of one put, without indexes and replicas.
    pub write_units: u64,
}

/// Forecast of an ingest. Scripts rely on the names and meanings of the fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// Version of this format: 1.
    pub version: u32,
    /// Name of the command: `plan`.
    pub command: &'static str,
    /// Name of the table. `None` if the caller gives none.
    pub table: Option<String>,
    /// Name of the hash algorithm.
    pub hash: String,
    /// True if every line was read. Otherwise the numbers are estimates.
    pub exact: bool,
    /// The first 10,000 sources, in order.
    pub sources: Vec<SurveyedSource>,
    /// Sum of the sources after them. `None` if there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_sources: Option<FurtherSurveyedSources>,
    /// Lines.
    pub lines: Estimate,
    /// Hashes that become items.
    pub hashes: Estimate,
    /// Duplicate hashes within the window, which an ingest does not send.
    pub duplicates: Estimate,
    /// Lines that are not a hash of this algorithm.
    pub rejected: Estimate,
    /// Blank lines, comments, headers, and hashes of other algorithms.
    pub skipped: Estimate,
    /// Hashes of other algorithms in the samples.
    #[serde(skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub other_algorithms: AlgorithmCounts,
    /// Key and size of an item.
    pub item: ItemSize,
    /// Number of Regions with the table.
    pub replicas: Copies,
    /// Number of global indexes with the items.
    pub indexes: Copies,
    /// Number of local indexes with the items.
    pub local_indexes: Copies,
    /// Total WCU, with indexes and replicas.
    pub write_units: Estimate,
    /// WCU of the table itself in one Region, to compare with its capacity.
    pub table_write_units: Estimate,
    /// The routes into the table.
    pub routes: Vec<Route>,
    /// Index of the cheapest of `routes`, from 0. Imports to several Regions do not count.
    pub cheapest: Option<usize>,
    /// Index of the cheapest route without imports.
    pub cheapest_ingest: Option<usize>,
    /// Index of the fastest route with a known time.
    pub fastest: Option<usize>,
    /// Region of the prices.
    pub prices_region: &'static str,
    /// Date of the prices.
    pub prices_as_of: &'static str,
    /// The prices.
    pub prices: Prices,
    /// Assumptions and limits of the forecast.
    pub notes: Vec<String>,
}

/// Inputs of a forecast besides the survey.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumptions {
    /// Write rate in WCU/s. `None` uses the table's capacity, or proposes one.
    pub rate: Option<f64>,
    /// The prices.
    pub prices: Prices,
    /// Builder of the proposed commands.
    pub commands: ShellCommands,
}

impl Forecast {
    /// The forecast for the hashes of `survey`, written to `target` as items of `template`.
    pub fn new(
        survey: Survey,
        template: &ItemTemplate,
        target: &Target,
        assumptions: &Assumptions,
    ) -> Forecast {
        // A whole number: an item costs 1 WCU per KB, rounded up.
        let item_wcu = template.write_units() as u64;
        let writes_per_item = 1 + target.local_indexes.count;
        let replicas = target.replicas.count.max(1);
        let total_writes_per_item = (writes_per_item + target.indexes.count) * replicas;
        let table_write_units = survey.write_units.scaled(writes_per_item);
        let mut routes = Vec::new();
        let calculator = RouteCalculator {
            target,
            assumptions,
            table_writes_per_item: writes_per_item,
            replicas,
            table_units: table_write_units,
            total_units: survey.write_units.scaled(total_writes_per_item),
        };
        calculator.provisioned(&mut routes);
        routes.push(calculator.on_demand());
        routes.push(calculator.import(&survey, template));

        let is_comparable = |r: &Route| r.kind != RouteKind::Import || replicas == 1;
        let minimum = |key: &dyn Fn(&Route) -> Option<f64>| {
            let keyed = routes.iter().enumerate();
            keyed
                .filter_map(|(i, r)| Some((i, key(r)?)))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(i, _)| i)
        };
        let cheapest = minimum(&|r| is_comparable(r).then_some(r.usd.value));
        let cheapest_ingest = minimum(&|r| (r.kind != RouteKind::Import).then_some(r.usd.value));
        let fastest = minimum(&|r| r.seconds.map(|s| s.value));
        Forecast {
            version: 1,
            command: "plan",
            table: target.table.clone(),
            hash: survey.algorithm.name().to_owned(),
            exact: survey.is_exact(),
            lines: survey.lines,
            hashes: survey.hashes,
            duplicates: survey.duplicates,
            rejected: survey.rejected,
            skipped: survey.skipped,
            other_algorithms: survey.other_algorithms,
            item: ItemSize {
                key: target.schema.partition.name.clone(),
                key_type: target.schema.partition.kind.to_string(),
                bytes: template.item_bytes() as u64 + survey.row_bytes.round() as u64,
                write_units: item_wcu,
            },
            replicas: target.replicas.clone(),
            indexes: target.indexes.clone(),
            local_indexes: target.local_indexes.clone(),
            write_units: calculator.total_units,
            table_write_units,
            cheapest,
            cheapest_ingest,
            fastest,
            prices_region: PRICE_REGION,
            prices_as_of: PRICES_DATE,
            prices: assumptions.prices.clone(),
            notes: notes(&survey, target),
            sources: survey.sources,
            further_sources: survey.further_sources,
            routes,
        }
    }

    /// The forecast as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // Cannot fail: a struct of numbers, texts and lists always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

fn notes(survey: &Survey, target: &Target) -> Vec<String> {
    let mut notes = Vec::new();
    if !survey.is_exact() {
        notes.push(format!(
            "estimated from the first {} MiB of each longer source, on the assumption that its \
             rest is similar; intervals are 95 %; duplicates further apart than the sample are \
             not detected; give --exact to read everything",
            SAMPLE_BYTES / (1024 * 1024)
        ));
    }
    if !survey.is_exact() && survey.lines.is_exact() && survey.hashes.is_exact() {
        notes.push(
            "no interval: all lines of the sample have one length and are of one kind".to_owned(),
        );
    }
    if survey.too_many_rejects {
        notes.push(
            "more than a tenth of the lines are rejected: an ingest stops at such a list unless \
             --max-rejects allows it; check the source and --hash"
                .to_owned(),
        );
    }
    notes.push(format!(
        "only a hash among the last {} different ones counts as a duplicate; an ingest writes and \
         pays for all others",
        format_number(WINDOW_HASHES as f64)
    ));
    if target.indexes.count + target.local_indexes.count > 0 {
        notes.push(
            "the forecast assumes that each index has whole items; a smaller projection may cost \
             less"
                .to_owned(),
        );
    }
    if target.billing.is_none() && target.replicas.count + target.indexes.count > 1 {
        notes.push("the commands create the table without replicas and indexes".to_owned());
    }
    notes.push(
        "not included: storage, S3 requests, transfer between Regions, and the extra cost of \
         overwriting an item that is larger than the new one"
            .to_owned(),
    );
    notes
}

/// Calculates time and cost of the routes.
struct RouteCalculator<'a> {
    target: &'a Target,
    assumptions: &'a Assumptions,
    /// Writes of an item to the table and its local indexes, which share the table's capacity.
    table_writes_per_item: u64,
    replicas: u64,
    /// WCU of the table in one Region.
    table_units: Estimate,
    /// Total WCU.
    total_units: Estimate,
}

impl RouteCalculator<'_> {
    fn provisioned(&self, routes: &mut Vec<Route>) {
        let table = self.target.table.as_deref().unwrap_or_default();
        let before = routes.len();
        if let Some(Billing::Provisioned { write_units }) = self.target.billing {
            let source = format!("the capacity of table {table}, from DescribeTable");
            routes.push(self.at_capacity(write_units, write_units as f64, source));
        }
        if let Some(rate) = self.assumptions.rate {
            // The cast saturates.
            routes.push(self.at_capacity(rate.ceil() as u64, rate, "--at".to_owned()));
        }
        if routes.len() == before {
            let capacity = capacity_filling_hours(self.table_units.high);
            let source = format!(
                "proposed: the minimum that leaves {} min of the billed hours free, within a \
                 table's quota of {} WCU/s",
                SPARE_SECONDS / 60,
                format_number(TABLE_WCU_QUOTA as f64)
            );
            routes.push(self.at_capacity(capacity, capacity as f64, source));
        }
    }

    /// The route with provisioned `capacity` in WCU, at a write rate of `rate` in WCU/s.
    fn at_capacity(&self, capacity: u64, rate: f64, rate_source: String) -> Route {
        let seconds = self.table_units.map_decimal(|units| units / rate);
        let hours = |s: f64| ((s / 3600.0).ceil() as u64).max(1);
        let billed = Estimate {
            value: hours(seconds.value),
            low: hours(seconds.low),
            high: hours(seconds.high),
        };
        let existing = match self.target.billing {
            Some(Billing::Provisioned { write_units }) if write_units >= capacity => {
                Some(write_units)
            }
            _ => None,
        };
        // An index must write as many items as the table, or it throttles the table.
        let index_capacity = capacity.div_ceil(self.table_writes_per_item);
        let indexes_capacity = index_capacity.saturating_mul(self.target.indexes.count);
        // Existing capacity is billed at any write rate.
        let total_capacity = existing
            .unwrap_or(capacity)
            .saturating_add(indexes_capacity)
            .saturating_mul(self.replicas);
        let price = self.assumptions.prices.capacity_hour.usd;
        let mut limits = Vec::new();
        if capacity > TABLE_WCU_QUOTA {
            limits.push(format!(
                "above a table's quota of {} WCU/s: request a quota increase from AWS first",
                format_number(TABLE_WCU_QUOTA as f64)
            ));
        }
        if existing.is_some() {
            limits.push("billed whether it is used or not".to_owned());
        } else if let Some(Billing::Provisioned { .. }) = self.target.billing {
            limits.push("the run raises the table's capacity and restores it".to_owned());
        } else {
            limits.push("billed until the capacity is lowered".to_owned());
            if self.target.billing.is_some() {
                limits.push("replace READ by the read capacity that the table needs".to_owned());
            }
        }
        if self.target.indexes.count > 0 {
            limits.push(format!(
                "each index needs {} WCU/s, too, or it throttles the table",
                format_number(index_capacity as f64)
            ));
        }
        Route {
            kind: RouteKind::Provisioned,
            write_units_per_s: Some(rate),
            rate_source,
            seconds: Some(seconds),
            billed_capacity: Some(total_capacity),
            billed_hours: Some(billed),
            billed_bytes: None,
            usd: billed.map_decimal(|hours| total_capacity as f64 * hours * price),
            limits,
            commands: self
                .assumptions
                .commands
                .provisioned(self.target, capacity, rate),
        }
    }

    fn on_demand(&self) -> Route {
        let maximum = match self.target.billing {
            Some(Billing::OnDemand { maximum }) => maximum,
            _ => None,
        };
        let rate = maximum.map_or(ON_DEMAND_WRITE_UNITS, |m| {
            ON_DEMAND_WRITE_UNITS.min(m as f64)
        });
        let (rate_source, limits) = if rate < ON_DEMAND_WRITE_UNITS {
            ("the table's maximum, from DescribeTable", vec![])
        } else {
            (
                "the initial capacity of an on-demand table, from the developer guide",
                vec!["a table accepts up to twice its previous peak at once".to_owned()],
            )
        };
        let price = self.assumptions.prices.write_units.usd;
        Route {
            kind: RouteKind::OnDemand,
            write_units_per_s: Some(rate),
            rate_source: rate_source.to_owned(),
            seconds: Some(self.table_units.map_decimal(|units| units / rate)),
            billed_capacity: None,
            billed_hours: None,
            billed_bytes: None,
            usd: self.total_units.map_decimal(|units| units * price / 1e6),
            limits,
            commands: self.assumptions.commands.on_demand(self.target),
        }
    }

    fn import(&self, survey: &Survey, template: &ItemTemplate) -> Route {
        let format = ImportFormat::new(survey, template, &self.target.schema);
        let bytes = match format.existing_object.is_some() {
            true => Estimate::exact(survey.bytes()),
            false => {
                let row = format.row.len() as f64 + 1.0 + survey.row_bytes;
                survey.hashes.scaled(row.round() as u64)
            }
        };
        let price = self.assumptions.prices.import_gb.usd;
        let mut limits = vec![
            "into a new table only, from CSV, DynamoDB JSON or ION in S3; lines are not accounted \
             for: AWS bills and drops invalid items, and logs errors to CloudWatch Logs"
                .to_owned(),
        ];
        limits.push(match format.existing_object.is_some() {
            true => "the list is a valid CSV file already; S3KeyPrefix imports every object whose \
                     key begins with it"
                .to_owned(),
            false => format!(
                "first put the list into S3 as {}, one row an item: {}",
                format.name,
                crate::base::printable::printable_bytes(format.row.as_bytes(), 200)
            ),
        });
        if self.replicas > 1 {
            limits.push(
                "replicas are added after the import, at a cost that is not included: not \
                 compared with the other routes"
                    .to_owned(),
            );
        }
        Route {
            kind: RouteKind::Import,
            write_units_per_s: None,
            rate_source: "none: AWS states no rate for imports".to_owned(),
            seconds: None,
            billed_capacity: None,
            billed_hours: None,
            billed_bytes: Some(bytes),
            usd: bytes.map_decimal(|bytes| bytes / BYTES_PER_GB * price),
            limits,
            commands: vec![self.assumptions.commands.import(self.target, &format)],
        }
    }
}

/// The minimum capacity in WCU that writes `units` WCU within whole hours less [`SPARE_SECONDS`],
/// in as few hours as [`TABLE_WCU_QUOTA`] allows.
pub(super) fn capacity_filling_hours(units: u64) -> u64 {
    let seconds = |hours: u64| hours * 3600 - SPARE_SECONDS;
    let mut hours = (units / TABLE_WCU_QUOTA / 3600).max(1);
    while units > TABLE_WCU_QUOTA.saturating_mul(seconds(hours)) {
        hours += 1;
    }
    units.div_ceil(seconds(hours)).max(1)
}

#[cfg(test)]
mod tests;
