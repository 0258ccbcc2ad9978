//! Before a run: what a list will take, in lines, write units, time and money.
//!
//! Two halves. [`Planning::run`] drives the reading stages of a run ([`Opened`],
//! [`lines`](crate::lines), [`record`](crate::record), [`window`](crate::window))
//! over the beginning of each source, or all of it, and counts. [`Forecast::of`]
//! is arithmetic on what was counted. Nothing is written anywhere.
//!
//! # What an estimate is worth
//!
//! The rest of a source is taken to be like its beginning: as many lines (and
//! hashes, duplicates, …) a byte. The margin is the 95 % interval of that ratio
//! estimate, from how the lengths of the sample's lines vary, and of how they
//! may vary in the rest. Lines that are all of one length have no margin. What
//! it cannot know is a list whose rest is unlike its beginning; a full read
//! can.

mod commands;

pub use commands::Words;

use crate::algorithm::{Algorithm, Case, Hash, MAX_HASH_BYTES};
use crate::attribute::Attribute;
use crate::aws::Aws;
use crate::aws::table::{self, Billing, Table};
use crate::capacity::ON_DEMAND_WRITE_UNITS;
use crate::error::Result;
use crate::item::{ItemTemplate, KeyAttribute, KeySchema, KeyType};
use crate::lines::{Framer, Line};
use crate::prices::{AS_OF, GB_BYTES, Prices, REGION};
use crate::reader::Opened;
use crate::record::{LineParser, Parsed};
use crate::rejects::MaxRejects;
use crate::report::{ten_thousandths, thousands};
use crate::source::{self, Location};
use crate::window::{WINDOW, Window};
use serde::Serialize;

/// How much of a source is read for an estimate, in bytes. Some 30,000 lines of
/// SHA-256, less than a second to fetch.
pub const SAMPLE_BYTES: u64 = 2 * 1024 * 1024;

/// Lines that a sample has at least, however long they are.
const SAMPLE_LINES: u64 = 100;

/// Write capacity units a second that a table can be given without asking AWS
/// for more. Source: DynamoDB developer guide, ServiceQuotas.
pub const TABLE_QUOTA: u64 = 40_000;

/// Seconds of the billed hours that are left free when a capacity is chosen to
/// fill them: for starting, and for lowering the capacity afterwards.
const SPARE_S: u64 = 300;

/// Standard deviations to either side that hold 95 % of a normal distribution.
const Z_95: f64 = 1.96;

// ---------------------------------------------------------------------------
// Counting

/// A number that was counted, or estimated with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// The number; of an estimate, the likeliest.
    pub value: u64,
    /// Lower end of the interval.
    pub low: u64,
    /// Upper end of the interval.
    pub high: u64,
}

impl Figure {
    /// A number without a margin.
    pub fn exact(value: u64) -> Self {
        Figure {
            value,
            low: value,
            high: value,
        }
    }

    /// Whether it has no margin.
    pub fn is_exact(self) -> bool {
        self.low == self.high
    }

    fn times(self, n: u64) -> Self {
        self.map(|x| x.saturating_mul(n))
    }

    fn map(self, f: impl Fn(u64) -> u64) -> Self {
        Figure {
            value: f(self.value),
            low: f(self.low),
            high: f(self.high),
        }
    }

    fn span(self, f: impl Fn(f64) -> f64) -> Span {
        Span {
            value: f(self.value as f64),
            low: f(self.low as f64),
            high: f(self.high as f64),
        }
    }
}

/// As [`Figure`], of something that is not whole: seconds, or USD.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Span {
    /// The likeliest.
    #[serde(serialize_with = "ten_thousandths")]
    pub value: f64,
    /// Lower end of the interval.
    #[serde(serialize_with = "ten_thousandths")]
    pub low: f64,
    /// Upper end of the interval.
    #[serde(serialize_with = "ten_thousandths")]
    pub high: f64,
}

/// How many lines are of one kind, and their bytes with their line feeds.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    lines: u64,
    bytes: u64,
}

impl Column {
    fn add(&mut self, bytes: u64) {
        self.lines += 1;
        self.bytes += bytes;
    }
}

/// What was counted of one source.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    all: Column,
    /// Sum of the squares of the lines' lengths.
    squares: u128,
    hashes: Column,
    duplicates: Column,
    rejected: Column,
    skipped: Column,
}

/// A total that is growing, source by source: its value, what of it was seen,
/// and its variance.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    value: f64,
    seen: u64,
    variance: f64,
}

impl Total {
    /// Adds `column` of `sample`, and what the `rest` bytes after it should hold.
    ///
    /// Ratio estimation: with `y` lines of the kind in `x` bytes of sample there
    /// are `y / x` a byte. A line of length `l` departs from that by
    /// `d = [it is of the kind] - l * y / x`; the variance of `d` tells how far
    /// off the ratio may be (over `n` lines), and how far the rest may depart
    /// from it by itself.
    fn add(&mut self, sample: &Counted, column: Column, rest: u64) {
        self.seen += column.lines;
        self.value += column.lines as f64;
        let (n, x) = (sample.all.lines, sample.all.bytes);
        if rest == 0 || n == 0 || x == 0 {
            return;
        }
        let rest_lines = rest as f64 * n as f64 / x as f64;
        self.value += rest as f64 * column.lines as f64 / x as f64;
        // Whole numbers, so that lines of one length come to exactly nothing.
        let (x2, y) = (i128::from(x), i128::from(column.lines));
        let squares = i128::try_from(sample.squares).unwrap_or(i128::MAX);
        let departures = y * x2 * x2 - 2 * y * x2 * i128::from(column.bytes) + y * y * squares;
        let each = departures.max(0) as f64 / (x as f64 * x as f64) / (n as f64 - 1.0).max(1.0);
        self.variance += each * rest_lines * rest_lines / n as f64 + each * rest_lines;
    }

    fn figure(self) -> Figure {
        let margin = Z_95 * self.variance.sqrt();
        // Saturates: a float of any size becomes a u64.
        let value = self.value.round() as u64;
        if margin == 0.0 {
            return Figure::exact(value);
        }
        Figure {
            value,
            low: ((self.value - margin).floor().max(0.0) as u64).max(self.seen),
            high: (self.value + margin).ceil() as u64,
        }
    }
}

/// What was read of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Surveyed {
    /// `s3://bucket/key`, a path, or `-`.
    pub uri: String,
    /// Its length in bytes, where that was known or it was read to its end.
    pub bytes: Option<u64>,
    /// Bytes read.
    pub bytes_read: u64,
    /// Whether it was read to its end.
    pub whole: bool,
}

/// What the sources hold, counted or estimated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// The sources, in order.
    pub sources: Vec<Surveyed>,
    /// Lines.
    pub lines: Figure,
    /// Hashes that become items: without the duplicates.
    pub hashes: Figure,
    /// Hashes that came again within the window.
    pub duplicates: Figure,
    /// Lines that are no hash of this kind.
    pub rejected: Figure,
    /// Blank lines, comments, headers.
    pub skipped: Figure,
    /// Whether each line that was read is the text key of its item and nothing
    /// else, so that the list is a CSV file as it lies there.
    pub verbatim: bool,
    /// Whether so many lines that were read are rejected that a run would stop
    /// for it.
    pub too_many_rejects: bool,
}

impl Survey {
    /// Whether everything was read.
    pub fn is_exact(&self) -> bool {
        self.sources.iter().all(|s| s.whole)
    }

    /// Bytes of all sources, as far as they are known.
    pub fn bytes(&self) -> u64 {
        self.sources.iter().filter_map(|s| s.bytes).sum()
    }
}

/// Reads sources through the stages of a run, without its writing half.
struct Surveyor {
    algorithm: Algorithm,
    case: Case,
    parser: LineParser,
    window: Window,
    counted: Counted,
    verbatim: bool,
    key: Vec<u8>,
}

impl Surveyor {
    fn take(&mut self, line: &Line<'_>, terminator: u64) {
        let bytes = line.length + terminator;
        let counted = &mut self.counted;
        counted.all.add(bytes);
        counted.squares += u128::from(bytes) * u128::from(bytes);
        match self.parser.parse(line) {
            Parsed::Hash(hash) => {
                if self.verbatim {
                    self.key.clear();
                    hash.write_hex(self.case, &mut self.key);
                    self.verbatim = self.key == line.bytes;
                }
                if self.window.take(&hash) {
                    counted.hashes.add(bytes);
                } else {
                    counted.duplicates.add(bytes);
                }
                return;
            }
            Parsed::Skipped => counted.skipped.add(bytes),
            Parsed::Rejected(_) => counted.rejected.add(bytes),
        }
        self.verbatim = false;
    }

    /// Reads a source: all of it, or when it is longer than a sample and not
    /// everything is wanted, its beginning. The bytes that were counted, and
    /// whether it came to the end.
    async fn source(&mut self, opened: &mut Opened, exact: bool) -> Result<(u64, bool)> {
        let sampled = !exact && opened.length().is_some_and(|l| l > SAMPLE_BYTES);
        let mut framer = Framer::new();
        let mut read = 0;
        while let Some(chunk) = opened.next().await? {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                // A sample ends at the same byte however the source is cut.
                let room = match SAMPLE_BYTES.checked_sub(read) {
                    Some(room @ 1..) if sampled => usize::try_from(room).unwrap_or(usize::MAX),
                    _ => rest.len(),
                };
                let part = rest.len().min(room);
                let mut lines = framer.push(&rest[..part]);
                while let Some(line) = lines.next() {
                    self.take(&line, 1);
                }
                read += part as u64;
                rest = &rest[part..];
                if sampled
                    && read >= SAMPLE_BYTES
                    && self.counted.all.lines >= SAMPLE_LINES
                    && opened.length().is_some_and(|l| read < l)
                {
                    return Ok((read, false));
                }
            }
        }
        if let Some(line) = framer.finish() {
            self.take(&line, 0);
        }
        Ok((read, true))
    }
}

/// Reads `first` and then `rest`: their beginnings, or all of them when `exact`.
/// What has no known length is read to its end.
///
/// # Errors
/// When a source cannot be opened or read.
async fn survey(
    aws: &Aws,
    first: Opened,
    rest: &[Location],
    algorithm: Algorithm,
    case: Case,
    exact: bool,
) -> Result<Survey> {
    let mut surveyor = Surveyor {
        algorithm,
        case,
        parser: LineParser::new(algorithm),
        window: Window::new(algorithm),
        counted: Counted::default(),
        verbatim: true,
        key: Vec::with_capacity(MAX_HASH_BYTES * 2),
    };
    let mut totals = [Total::default(); 5];
    let mut sources = Vec::new();
    let mut opened = first;
    for next in rest.iter().map(Some).chain([None]) {
        surveyor.counted = Counted::default();
        let (read, whole) = surveyor.source(&mut opened, exact).await?;
        let c = surveyor.counted;
        let bytes = if whole { Some(read) } else { opened.length() };
        let unseen = match bytes {
            Some(length) if !whole => length.saturating_sub(c.all.bytes),
            _ => 0,
        };
        let columns = [c.all, c.hashes, c.duplicates, c.rejected, c.skipped];
        for (total, column) in totals.iter_mut().zip(columns) {
            total.add(&c, column, unseen);
        }
        sources.push(Surveyed {
            uri: opened.report().uri,
            bytes,
            bytes_read: read,
            whole,
        });
        let Some(location) = next else { break };
        opened = Opened::open(location, aws).await?;
    }
    let [lines, hashes, duplicates, rejected, skipped] = totals.map(Total::figure);
    let seen = |of: usize| totals[of].seen;
    Ok(Survey {
        algorithm: surveyor.algorithm,
        sources,
        lines,
        hashes,
        duplicates,
        rejected,
        skipped,
        verbatim: surveyor.verbatim && seen(1) > 0,
        too_many_rejects: MaxRejects::default().exceeded(seen(3), seen(0)),
    })
}

// ---------------------------------------------------------------------------
// Reckoning

/// A number of copies that are written, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// How many.
    pub count: u64,
    /// Where the number comes from.
    pub source: String,
}

/// What the items are written into.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The table's name; nothing when it is yet to be made.
    pub table: Option<String>,
    /// Its keys.
    pub schema: KeySchema,
    /// How it is paid and what it can take; nothing when it is yet to be made.
    pub billing: Option<Billing>,
    /// Regions that hold the table, at least 1.
    pub replicas: Copies,
    /// Global indexes that the items are in; each has a capacity of its own.
    pub indexes: Copies,
    /// Local indexes that the items are in; they draw on the table's capacity.
    pub local_indexes: Copies,
}

impl Target {
    /// A table that DynamoDB has described. Of its indexes those count whose key
    /// attributes all items have.
    fn described(table: Table, attributes: &[Attribute]) -> Self {
        let schema = &table.schema;
        let has = |name: &String| {
            *name == schema.partition.name || attributes.iter().any(|a| a.name == *name)
        };
        let fed = |global: bool| {
            let of = |i: &&table::Index| i.global == global && i.keys.iter().all(has);
            Copies {
                count: table.indexes.iter().filter(of).count() as u64,
                source: "DescribeTable".to_owned(),
            }
        };
        Target {
            indexes: fed(true),
            local_indexes: fed(false),
            replicas: Copies {
                count: table.regions(),
                source: "DescribeTable".to_owned(),
            },
            table: Some(table.name),
            billing: Some(table.billing),
            schema: table.schema,
        }
    }

    /// A table that is yet to be made, with a text key named as the algorithm.
    fn assumed(table: Option<String>, algorithm: Algorithm) -> Self {
        let none = |count| Copies {
            count,
            source: "assumed".to_owned(),
        };
        Target {
            table,
            schema: KeySchema {
                partition: KeyAttribute {
                    name: algorithm.name().to_owned(),
                    kind: KeyType::S,
                },
                sort: None,
                index_keys: Vec::new(),
            },
            billing: None,
            replicas: none(1),
            indexes: none(0),
            local_indexes: none(0),
        }
    }
}

/// A way to get the items into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// The sources, in order.
    pub sources: Vec<Surveyed>,
    /// Lines.
    pub lines: Figure,
    /// Hashes that become items.
    pub hashes: Figure,
    /// Hashes that came again within the window, and are not sent.
    pub duplicates: Figure,
    /// Lines that are no hash of this kind.
    pub rejected: Figure,
    /// Blank lines, comments, headers.
    pub skipped: Figure,
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
        let own = item_units * (1 + target.local_indexes.count);
        let replicas = target.replicas.count.max(1);
        let each = (own + item_units * target.indexes.count) * replicas;
        let table_write_units = survey.hashes.times(own);
        let mut routes = Vec::new();
        let reckoning = Reckoning {
            target,
            with,
            item_units,
            own,
            replicas,
            table_units: table_write_units,
            units: survey.hashes.times(each),
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
            item: ItemSize {
                key: target.schema.partition.name.clone(),
                key_type: target.schema.partition.kind.to_string(),
                bytes: template.item_bytes() as u64,
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
    item_units: u64,
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
        let of_index = capacity.saturating_mul(self.item_units).div_ceil(self.own);
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
        } else {
            limits.push(
                "paid until the capacity is lowered again, which hashferry does not do".to_owned(),
            );
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
        let bytes = match form.as_it_lies {
            true => Figure::exact(survey.bytes()),
            false => survey.hashes.times(form.row.len() as u64 + 1),
        };
        let price = self.with.prices.import_gb.usd;
        let mut limits = vec![
            "into a new table only, from CSV, DynamoDB JSON or ION in S3; no account of lines: \
             what does not fit is billed and left out, errors are in CloudWatch Logs"
                .to_owned(),
        ];
        limits.push(match form.as_it_lies {
            true => "the list is such a CSV already; S3KeyPrefix takes every object whose key \
                     begins so"
                .to_owned(),
            false => format!(
                "the list must first be put into S3 as {}, one row an item: {}",
                form.name,
                crate::record::shown(form.row.as_bytes(), 200)
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
fn filling_hours(units: u64) -> u64 {
    let seconds = |hours: u64| hours * 3600 - SPARE_S;
    let mut hours = (units / TABLE_QUOTA / 3600).max(1);
    while units > TABLE_QUOTA.saturating_mul(seconds(hours)) {
        hours += 1;
    }
    units.div_ceil(seconds(hours)).max(1)
}

/// What ImportTable would be given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ImportForm {
    /// `CSV` or `DYNAMODB_JSON`.
    name: &'static str,
    /// The columns of CSV, in order.
    columns: Vec<String>,
    /// A row, without its line feed; all have its length.
    row: String,
    /// Whether the one S3 object that was read can be imported as it lies there.
    as_it_lies: bool,
}

impl ImportForm {
    /// CSV where every attribute is a text (CSV knows no other type, keys
    /// aside), else DynamoDB JSON.
    fn of(survey: &Survey, template: &ItemTemplate, schema: &KeySchema) -> Self {
        let mut body = Vec::new();
        let example = Hash::from_bytes(&[0xAB; MAX_HASH_BYTES][..survey.algorithm.bytes()]);
        template.write_request(&example, &mut body);
        // What the template writes, taken apart again: the item and no copy of
        // how it is made.
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let item = request
            .pointer("/RequestItems")
            .and_then(|tables| tables.as_object()?.values().next())
            .and_then(|puts| puts.pointer("/0/PutRequest/Item"))
            .cloned()
            .unwrap_or_default();
        let key = &schema.partition.name;
        let mut columns = vec![key.clone()];
        let attributes = item.as_object().into_iter().flat_map(|item| item.keys());
        columns.extend(attributes.filter(|name| *name != key).cloned());
        let texts: Option<Vec<&str>> = columns
            .iter()
            .map(|name| item.get(name)?.get("S")?.as_str())
            .collect();
        match texts {
            Some(texts) => ImportForm {
                name: "CSV",
                as_it_lies: survey.verbatim
                    && texts.len() == 1
                    && matches!(&survey.sources[..], [one] if one.uri.starts_with("s3://")),
                row: texts
                    .iter()
                    .map(|t| csv_field(t))
                    .collect::<Vec<_>>()
                    .join(","),
                columns,
            },
            None => ImportForm {
                name: "DYNAMODB_JSON",
                columns,
                row: serde_json::json!({ "Item": item }).to_string(),
                as_it_lies: false,
            },
        }
    }
}

fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

// ---------------------------------------------------------------------------

/// What is to be planned.
#[derive(Debug, Clone)]
pub struct Planning {
    /// The sources, as they were named.
    pub sources: Vec<String>,
    /// The table; without one, a text key named as the algorithm is assumed.
    pub table: Option<String>,
    /// The hash algorithm, where it was told.
    pub algorithm: Option<Algorithm>,
    /// Case of text keys.
    pub case: Case,
    /// Attributes of every item.
    pub attributes: Vec<Attribute>,
    /// Whether to read everything.
    pub exact: bool,
    /// A rate to reckon with, in write units a second.
    pub at: Option<f64>,
    /// Regions that hold the table, where that was told.
    pub replicas: Option<u64>,
    /// Global indexes that the items are in, where that was told.
    pub indexes: Option<u64>,
    /// The prices.
    pub prices: Prices,
    /// Flags for the connection, which the commands shown repeat: alike for
    /// hashferry and the AWS command line.
    pub aws_flags: Vec<String>,
    /// Further flags of hashferry alone.
    pub own_flags: Vec<String>,
}

impl Planning {
    /// Asks for the table, reads the sources, and reckons.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) when a source or the
    /// table is not there or the items do not fit it; other kinds when one of
    /// them cannot be read.
    pub async fn run(self, aws: &Aws) -> Result<Forecast> {
        let sources = source::locations(&self.sources)?;
        if sources[0] == Location::Stdin {
            tracing::info!("reading standard input");
        }
        let opened = Opened::open(&sources[0], aws).await?;
        let described = match &self.table {
            // A local DynamoDB makes the table when a run needs it, not before.
            Some(name) if aws.is_local() && !table::exists(aws, name).await? => None,
            Some(name) => Some(table::describe(aws, name, None).await?),
            None => None,
        };
        let key = described.as_ref().map(|t| t.schema.partition.name.clone());
        let algorithm = match &described {
            None if self.algorithm.is_none() && opened.beginning.algorithm.is_none() => {
                let by_name = self.table.as_deref().and_then(Algorithm::from_name);
                opened.algorithm(by_name, None)?
            }
            _ => opened.algorithm(self.algorithm, key.as_deref())?,
        };
        let mut target = match described {
            Some(table) => Target::described(table, &self.attributes),
            None => Target::assumed(self.table.clone(), algorithm),
        };
        for (copies, told, flag) in [
            (&mut target.replicas, self.replicas, "--replicas"),
            (&mut target.indexes, self.indexes, "--indexes"),
        ] {
            if let Some(count) = told {
                flag.clone_into(&mut copies.source);
                copies.count = count;
            }
        }
        let template = ItemTemplate::new(
            target.table.as_deref().unwrap_or(algorithm.name()),
            &target.schema,
            algorithm,
            self.case,
            &self.attributes,
        )?;
        let survey = survey(aws, opened, &sources[1..], algorithm, self.case, self.exact).await?;
        let assumptions = Assumptions {
            at: self.at,
            prices: self.prices.clone(),
            words: Words::new(&self),
        };
        Ok(Forecast::of(survey, &template, &target, &assumptions))
    }
}

#[cfg(test)]
mod tests;
