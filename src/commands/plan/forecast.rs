//! What it takes to write what was found: the ways into a table, each with its
//! time and its cost. Arithmetic; nothing is asked or read.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::human::thousands;
use crate::commands::plan::estimate::{Figure, Span};
use crate::commands::plan::import_table::ImportForm;
use crate::commands::plan::shell_commands::Words;
use crate::commands::plan::survey::{FurtherSurveyed, SAMPLE_BYTES, Survey, Surveyed};
use crate::commands::plan::target::{Copies, Target};
use crate::dynamodb::item::ItemTemplate;
use crate::dynamodb::prices::{AS_OF, GB_BYTES, Prices, REGION};
use crate::dynamodb::table::Billing;
use crate::flow::capacity::ON_DEMAND_WRITE_UNITS;
use crate::pipeline::window::WINDOW;
use serde::Serialize;

/// Write capacity units a second that a table can be given without asking AWS
/// for more. Source: DynamoDB developer guide, ServiceQuotas.
pub(crate) const TABLE_QUOTA: u64 = 40_000;

/// Seconds of the billed hours that are left free when a capacity is chosen to
/// fill them: for starting, and for lowering the capacity afterwards.
const SPARE_S: u64 = 300;

/// A way to get the items into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Way {
    /// Provisioned write capacity, paid by the hour.
    Provisioned,
    /// Pay per request.
    OnDemand,
    /// ImportTable: a new table made from files in S3.
    Import,
}

/// One way, with what it takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// Which way.
    pub route: Way,
    /// Write units a second that the table takes; nothing where AWS names none.
    pub write_units_per_s: Option<f64>,
    /// Where that rate comes from.
    pub rate_source: String,
    /// Seconds at that rate.
    pub seconds: Option<Span>,
    /// Write capacity units that are billed, with indexes and replicas.
    pub billed_capacity: Option<u64>,
    /// Hours that are billed, begun ones whole.
    pub billed_hours: Option<Figure>,
    /// Bytes that are billed, uncompressed.
    pub billed_bytes: Option<Figure>,
    /// USD in all.
    pub usd: Span,
    /// What to know before choosing it.
    pub limits: Vec<String>,
    /// Commands that do it, in order.
    pub commands: Vec<String>,
}

/// What one item is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ItemSize {
    /// Name of the partition key.
    pub key: String,
    /// Its type: S or B.
    pub key_type: String,
    /// Bytes, as DynamoDB counts them.
    pub bytes: u64,
    /// Write units of one put, without indexes and replicas.
    pub write_units: u64,
}

/// What a run will take. Field names and meanings are a promise to scripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// Version of this format: 1.
    pub version: u32,
    /// Which command it was.
    pub command: &'static str,
    /// The table's name, where one was named.
    pub table: Option<String>,
    /// The hash algorithm's name.
    pub hash: String,
    /// Whether every line was read; else the figures are estimates.
    pub exact: bool,
    /// The sources, in order; the first 10,000 of them.
    pub sources: Vec<Surveyed>,
    /// Those after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub further_sources: Option<FurtherSurveyed>,
    /// Lines.
    pub lines: Figure,
    /// Hashes that become items.
    pub hashes: Figure,
    /// Hashes that came again within the window, and are not sent.
    pub duplicates: Figure,
    /// Lines that are no hash of this kind.
    pub rejected: Figure,
    /// Blank lines, comments, headers, and hashes of other algorithms.
    pub skipped: Figure,
    /// Of those skipped, the hashes of other algorithms in what was read.
    #[serde(skip_serializing_if = "AlgorithmCounts::is_zero")]
    pub other_algorithms: AlgorithmCounts,
    /// One item.
    pub item: ItemSize,
    /// Regions that are written to.
    pub replicas: Copies,
    /// Global indexes that the items are in.
    pub indexes: Copies,
    /// Local indexes that the items are in.
    pub local_indexes: Copies,
    /// Write units in all, with indexes and replicas.
    pub write_units: Figure,
    /// Write units that the table itself takes in one Region: what its capacity
    /// is compared with.
    pub table_write_units: Figure,
    /// The ways there are.
    pub routes: Vec<Route>,
    /// Which of `routes` (counted from 0) is cheapest.
    pub cheapest: Option<usize>,
    /// Which of them is cheapest without an import.
    pub cheapest_ingest: Option<usize>,
    /// Which of them is fastest, of those whose time is known.
    pub fastest: Option<usize>,
    /// Region whose prices these are.
    pub prices_region: &'static str,
    /// The day they are of.
    pub prices_as_of: &'static str,
    /// The prices.
    pub prices: Prices,
    /// What else to know.
    pub notes: Vec<String>,
}

/// What is reckoned with beside what was counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Assumptions {
    /// A rate to reckon with, in write units a second.
    pub at: Option<f64>,
    /// The prices.
    pub prices: Prices,
    /// What the commands are made of.
    pub words: Words,
}

impl Forecast {
    /// What it takes to get what `survey` found into `target`, as items of
    /// `template`.
    pub fn of(
        survey: Survey,
        template: &ItemTemplate,
        target: &Target,
        with: &Assumptions,
    ) -> Forecast {
        // Whole by definition: begun kilobytes.
        let item_units = template.write_units() as u64;
        let own = 1 + target.local_indexes.count;
        let replicas = target.replicas.count.max(1);
        let each = (own + target.indexes.count) * replicas;
        let table_write_units = survey.units.times(own);
        let mut routes = Vec::new();
        let reckoning = Reckoning {
            target,
            with,
            own,
            replicas,
            table_units: table_write_units,
            units: survey.units.times(each),
        };
        reckoning.provisioned(&mut routes);
        routes.push(reckoning.on_demand());
        routes.push(reckoning.import(&survey, template));

        let comparable = |r: &Route| r.route != Way::Import || replicas == 1;
        let least = |key: &dyn Fn(&Route) -> Option<f64>| {
            let keyed = routes.iter().enumerate();
            keyed
                .filter_map(|(i, r)| Some((i, key(r)?)))
                .min_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(i, _)| i)
        };
        let cheapest = least(&|r| comparable(r).then_some(r.usd.value));
        let cheapest_ingest = least(&|r| (r.route != Way::Import).then_some(r.usd.value));
        let fastest = least(&|r| r.seconds.map(|s| s.value));
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
            other_algorithms: survey.others,
            item: ItemSize {
                key: target.schema.partition.name.clone(),
                key_type: target.schema.partition.kind.to_string(),
                bytes: template.item_bytes() as u64 + survey.row_bytes.round() as u64,
                write_units: item_units,
            },
            replicas: target.replicas.clone(),
            indexes: target.indexes.clone(),
            local_indexes: target.local_indexes.clone(),
            write_units: reckoning.units,
            table_write_units,
            cheapest,
            cheapest_ingest,
            fastest,
            prices_region: REGION,
            prices_as_of: AS_OF,
            prices: with.prices.clone(),
            notes: notes(&survey, target),
            sources: survey.sources,
            further_sources: survey.further_sources,
            routes,
        }
    }

    /// The forecast as JSON text, one field a line.
    pub fn to_json(&self) -> String {
        // A struct of numbers, texts and lists of them always has a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

fn notes(survey: &Survey, target: &Target) -> Vec<String> {
    let mut notes = Vec::new();
    if !survey.is_exact() {
        notes.push(format!(
            "estimated from the first {} MiB of each source that is longer, as if its rest were \
             like its beginning; intervals are 95 %; duplicates further apart than the sample are \
             not seen; --exact reads everything",
            SAMPLE_BYTES / (1024 * 1024)
        ));
    }
    if !survey.is_exact() && survey.lines.is_exact() && survey.hashes.is_exact() {
        notes.push(
            "no interval: the lines of the sample are all of one length, and of one kind"
                .to_owned(),
        );
    }
    if survey.too_many_rejects {
        notes.push(
            "more than a tenth of the lines are rejected: ingest stops at such a list unless \
             --max-rejects lets it pass; check the source and --hash"
                .to_owned(),
        );
    }
    notes.push(format!(
        "duplicates are hashes among the last {} different ones; one that comes again later is \
         written, and paid, again",
        thousands(WINDOW as f64)
    ));
    if target.indexes.count + target.local_indexes.count > 0 {
        notes.push(
            "each index is reckoned with whole items; one that projects less may cost less"
                .to_owned(),
        );
    }
    if target.billing.is_none() && target.replicas.count + target.indexes.count > 1 {
        notes.push("the commands make the table without replicas and indexes".to_owned());
    }
    notes.push(
        "not in it: storage, S3 requests, transfer between Regions, and an item that is there \
         already and larger than the new one, which is paid by its own size"
            .to_owned(),
    );
    notes
}

struct Reckoning<'a> {
    target: &'a Target,
    with: &'a Assumptions,
    /// Write units that an item takes of the table's own capacity.
    own: u64,
    replicas: u64,
    /// Write units of the table in one Region.
    table_units: Figure,
    /// Write units in all.
    units: Figure,
}

impl Reckoning<'_> {
    fn provisioned(&self, routes: &mut Vec<Route>) {
        let table = self.target.table.as_deref().unwrap_or_default();
        let begun = routes.len();
        if let Some(Billing::Provisioned { write_units }) = self.target.billing {
            let source = format!("the capacity of table {table}, by DescribeTable");
            routes.push(self.at_capacity(write_units, write_units as f64, source));
        }
        if let Some(at) = self.with.at {
            // Saturates: a float of any size becomes a u64.
            routes.push(self.at_capacity(at.ceil() as u64, at, "--at".to_owned()));
        }
        if routes.len() == begun {
            let capacity = filling_hours(self.table_units.high);
            let source = format!(
                "chosen: the least that leaves {} min of the billed hours free, within a table's \
                 quota of {}",
                SPARE_S / 60,
                thousands(TABLE_QUOTA as f64)
            );
            routes.push(self.at_capacity(capacity, capacity as f64, source));
        }
    }

    /// Provisioned with `capacity`, written at `rate`.
    fn at_capacity(&self, capacity: u64, rate: f64, rate_source: String) -> Route {
        let seconds = self.table_units.span(|units| units / rate);
        let hours = |s: f64| ((s / 3600.0).ceil() as u64).max(1);
        let billed = Figure {
            value: hours(seconds.value),
            low: hours(seconds.low),
            high: hours(seconds.high),
        };
        let there = match self.target.billing {
            Some(Billing::Provisioned { write_units }) if write_units >= capacity => {
                Some(write_units)
            }
            _ => None,
        };
        // An index keeps up with the table when it can write as many items.
        let of_index = capacity.div_ceil(self.own);
        let of_indexes = of_index.saturating_mul(self.target.indexes.count);
        // What the table has is paid, however slowly it is written to.
        let in_all = there
            .unwrap_or(capacity)
            .saturating_add(of_indexes)
            .saturating_mul(self.replicas);
        let price = self.with.prices.capacity_hour.usd;
        let mut limits = Vec::new();
        if capacity > TABLE_QUOTA {
            limits.push(format!(
                "above the {} write units a table can have without asking AWS for more",
                thousands(TABLE_QUOTA as f64)
            ));
        }
        if there.is_some() {
            limits.push("paid whether it is used or not".to_owned());
        } else if let Some(Billing::Provisioned { .. }) = self.target.billing {
            limits.push("the run raises the table and brings it back".to_owned());
        } else {
            limits.push("paid until the capacity is lowered again".to_owned());
            if self.target.billing.is_some() {
                limits.push("READ stands for the read capacity that the table needs".to_owned());
            }
        }
        if self.target.indexes.count > 0 {
            limits.push(format!(
                "as much as {} write units/s for each index too, or it slows the table down",
                thousands(of_index as f64)
            ));
        }
        Route {
            route: Way::Provisioned,
            write_units_per_s: Some(rate),
            rate_source,
            seconds: Some(seconds),
            billed_capacity: Some(in_all),
            billed_hours: Some(billed),
            billed_bytes: None,
            usd: billed.span(|hours| in_all as f64 * hours * price),
            limits,
            commands: self.with.words.provisioned(self.target, capacity, rate),
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
            ("the table's own maximum, by DescribeTable", vec![])
        } else {
            (
                "what a new on-demand table takes, by the developer guide",
                vec!["a table that took more before takes twice that peak at once".to_owned()],
            )
        };
        let price = self.with.prices.write_units.usd;
        Route {
            route: Way::OnDemand,
            write_units_per_s: Some(rate),
            rate_source: rate_source.to_owned(),
            seconds: Some(self.table_units.span(|units| units / rate)),
            billed_capacity: None,
            billed_hours: None,
            billed_bytes: None,
            usd: self.units.span(|units| units * price / 1e6),
            limits,
            commands: self.with.words.on_demand(self.target),
        }
    }

    fn import(&self, survey: &Survey, template: &ItemTemplate) -> Route {
        let form = ImportForm::of(survey, template, &self.target.schema);
        let bytes = match form.as_it_lies.is_some() {
            true => Figure::exact(survey.bytes()),
            false => {
                let row = form.row.len() as f64 + 1.0 + survey.row_bytes;
                survey.hashes.times(row.round() as u64)
            }
        };
        let price = self.with.prices.import_gb.usd;
        let mut limits = vec![
            "into a new table only, from CSV, DynamoDB JSON or ION in S3; no account of lines: \
             what does not fit is billed and left out, errors are in CloudWatch Logs"
                .to_owned(),
        ];
        limits.push(match form.as_it_lies.is_some() {
            true => "the list is such a CSV already; S3KeyPrefix takes every object whose key \
                     begins so"
                .to_owned(),
            false => format!(
                "the list must first be put into S3 as {}, one row an item: {}",
                form.name,
                crate::base::printable::shown(form.row.as_bytes(), 200)
            ),
        });
        if self.replicas > 1 {
            limits.push(
                "replicas are added after the import, at a price that is not in this figure: not \
                 compared with the others"
                    .to_owned(),
            );
        }
        Route {
            route: Way::Import,
            write_units_per_s: None,
            rate_source: "none is promised: AWS names no rate for imports".to_owned(),
            seconds: None,
            billed_capacity: None,
            billed_hours: None,
            billed_bytes: Some(bytes),
            usd: bytes.span(|bytes| bytes / GB_BYTES * price),
            limits,
            commands: vec![self.with.words.import(self.target, &form)],
        }
    }
}

/// The least capacity that writes `units` within whole hours less [`SPARE_S`],
/// in as few hours as [`TABLE_QUOTA`] allows.
pub(super) fn filling_hours(units: u64) -> u64 {
    let seconds = |hours: u64| hours * 3600 - SPARE_S;
    let mut hours = (units / TABLE_QUOTA / 3600).max(1);
    while units > TABLE_QUOTA.saturating_mul(seconds(hours)) {
        hours += 1;
    }
    units.div_ceil(seconds(hours)).max(1)
}

#[cfg(test)]
mod tests;
