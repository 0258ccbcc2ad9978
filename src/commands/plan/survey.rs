//! What the sources hold: the reading stages of a run, counted.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, MAX_HASH_BYTES};
use crate::base::printable::shown;
use crate::base::record::{Place, Reason};
use crate::commands::plan::estimate::Figure;
use crate::dynamodb::column_attributes::Columns;
use crate::dynamodb::item::{ItemTemplate, WRITE_UNIT_BYTES};
use crate::list::format::kind::Format;
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser::RowParser;
use crate::list::format::rows::{Row, Rows};
use crate::list::lines::Framer;
use crate::list::opened::Opened;
use crate::list::prefetch::Ahead;
use crate::list::shape::Shapes;
use crate::pipeline::dedup::{Distinct, Known, Seen};
use crate::pipeline::progress::sources::MOST_KEPT;
use crate::pipeline::rejects::MaxRejects;
use serde::Serialize;

/// How much of a source is read for an estimate, in bytes. Some 30,000 lines of
/// SHA-256, less than a second to fetch.
pub(crate) const SAMPLE_BYTES: u64 = 2 * 1024 * 1024;

/// Lines that a sample has at least, however long they are.
const SAMPLE_LINES: u64 = 100;

/// Standard deviations to either side that hold 95 % of a normal distribution.
const Z_95: f64 = 1.96;

/// How many lines are of one kind, and their bytes with their line feeds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Column {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl Column {
    pub(super) fn add(&mut self, bytes: u64) {
        self.lines += 1;
        self.bytes += bytes;
    }
}

/// What was counted of one source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) all: Column,
    /// Sum of the squares of the lines' lengths.
    pub(super) squares: u128,
    pub(super) hashes: Column,
    pub(super) duplicates: Column,
    pub(super) rejected: Column,
    pub(super) skipped: Column,
    /// Of those skipped, the hashes of other algorithms.
    pub(super) others: AlgorithmCounts,
    /// Write units of the hashes that become items, counted as lines are, and the
    /// bytes that these take from their rows.
    pub(super) units: Column,
    pub(super) row_bytes: u64,
}

/// A total that is growing, source by source: its value, what of it was seen,
/// and its variance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
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
    pub(super) fn add(&mut self, sample: &Counted, column: Column, rest: u64) {
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

    pub(super) fn figure(self) -> Figure {
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
#[non_exhaustive]
pub struct Surveyed {
    /// `s3://bucket/key`, a path, or `-`.
    pub uri: String,
    /// The length of its text in bytes, where that was known or it was read to its end.
    pub bytes: Option<u64>,
    /// Bytes of text read.
    pub bytes_read: u64,
    /// Whether it was read to its end.
    pub whole: bool,
}

/// The sources that are not kept one by one, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FurtherSurveyed {
    /// How many they are.
    pub count: u64,
    /// The length of their text in bytes, as far as it is known.
    pub bytes: u64,
    /// Bytes of text read.
    pub bytes_read: u64,
    /// Whether all of them were read to their ends.
    pub whole: bool,
}

/// Adds a source to those kept one by one, or, where these are [`MOST_KEPT`], to the
/// `further` ones.
fn keep(kept: &mut Vec<Surveyed>, further: &mut Option<FurtherSurveyed>, next: Surveyed) {
    if kept.len() < MOST_KEPT {
        return kept.push(next);
    }
    let sum = further.get_or_insert(FurtherSurveyed {
        count: 0,
        bytes: 0,
        bytes_read: 0,
        whole: true,
    });
    sum.count += 1;
    sum.bytes += next.bytes.unwrap_or(0);
    sum.bytes_read += next.bytes_read;
    sum.whole &= next.whole;
}

/// What the sources hold, counted or estimated.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// The sources, in order; the first [`MOST_KEPT`] of them.
    pub sources: Vec<Surveyed>,
    /// Those after them.
    pub further_sources: Option<FurtherSurveyed>,
    /// Lines.
    pub lines: Figure,
    /// Hashes that become items: without the duplicates.
    pub hashes: Figure,
    /// Write units of writing each of them to the table itself.
    pub units: Figure,
    /// Bytes that an item takes from its row, on average.
    pub row_bytes: f64,
    /// Hashes that came again within the window.
    pub duplicates: Figure,
    /// Lines that are no hash of this kind.
    pub rejected: Figure,
    /// Blank lines, comments, headers, and hashes of other algorithms.
    pub skipped: Figure,
    /// Of those skipped, the hashes of other algorithms in what was read.
    pub others: AlgorithmCounts,
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
        self.sources.iter().all(|s| s.whole) && self.further_sources.is_none_or(|f| f.whole)
    }

    /// Bytes of all sources, as far as they are known.
    pub fn bytes(&self) -> u64 {
        let kept: u64 = self.sources.iter().filter_map(|s| s.bytes).sum();
        kept + self.further_sources.map_or(0, |f| f.bytes)
    }
}

/// What was read, without what the rest is taken for.
#[derive(Debug)]
pub(super) struct LookedAt {
    pub(super) lines: u64,
    pub(super) skipped: u64,
    pub(super) rejected: u64,
    /// What the rejected lines look like.
    pub(super) shapes: Shapes,
}

/// Reads sources through the stages of a run, without its writing half.
struct Surveyor<'a> {
    algorithm: Algorithm,
    case: Case,
    columns: &'a Columns,
    item_bytes: usize,
    known: Known,
    counted: Counted,
    /// What a row gives its item.
    own: Vec<u8>,
    verbatim: bool,
    key: Vec<u8>,
    shapes: Shapes,
}

impl Surveyor<'_> {
    fn take(&mut self, row: &Row<'_>, parser: &RowParser) {
        let bytes = row.end - row.line.offset;
        let counted = &mut self.counted;
        counted.all.add(bytes);
        counted.squares += u128::from(bytes) * u128::from(bytes);
        let hash = match row.parsed {
            Parsed::Hash(hash) => hash,
            Parsed::Skipped => {
                self.verbatim = false;
                return counted.skipped.add(bytes);
            }
            Parsed::Other(algorithm) => {
                self.verbatim = false;
                counted.others.add(algorithm);
                return counted.skipped.add(bytes);
            }
            Parsed::Rejected(reason) => {
                self.verbatim = false;
                counted.rejected.add(bytes);
                return self.reject(row, reason);
            }
            Parsed::Continues => {
                self.verbatim = false;
                counted.rejected.add(bytes);
                return self.reject(row, Reason::Quote);
            }
        };
        self.own.clear();
        let own = self.columns.write(|n| parser.wanted(n), &mut self.own);
        let (key, stored) = match own {
            Ok(own) => own,
            Err(reason) => {
                counted.rejected.add(bytes);
                return self.reject(row, reason);
            }
        };
        if self.verbatim {
            self.key.clear();
            hash.write_hex(self.case, &mut self.key);
            self.verbatim = self.key == row.line.bytes;
        }
        let place = Place {
            source: 0,
            line: row.line.number,
            byte: row.line.offset,
        };
        let new = self.known.take(&hash, &self.own[..key], place) == Seen::New;
        if !new {
            return counted.duplicates.add(bytes);
        }
        counted.hashes.add(bytes);
        counted.row_bytes += stored as u64;
        let units = (self.item_bytes + stored).div_ceil(WRITE_UNIT_BYTES).max(1) as u64;
        counted.units.lines += units;
        counted.units.bytes += units * bytes;
    }

    fn reject(&mut self, row: &Row<'_>, reason: Reason) {
        let (number, text) = (row.line.number, row.line.bytes);
        self.shapes.add(text, reason);
        let said = || format!("line {number}: {reason}: {:?}", shown(text, 100));
        self.shapes.begin_with(said);
    }

    /// Reads a source: all of it, or when it is longer than a sample and not
    /// everything is wanted, its beginning. The bytes that were counted, and
    /// whether it came to the end.
    async fn source(
        &mut self,
        opened: &mut Opened,
        parser: RowParser,
        exact: bool,
    ) -> Result<(u64, bool)> {
        opened.begin(self.algorithm)?;
        let sampled = !exact && opened.text_length().is_some_and(|l| l > SAMPLE_BYTES);
        let (mut framer, mut rows) = (Framer::new(), Rows::new(parser));
        let mut read = 0;
        // As it lies there it is no such file.
        let plain = opened.layout().format == Format::Lines && self.columns.is_empty();
        self.verbatim &= plain && !opened.is_packed();
        while let Some(chunk) = opened.next().await? {
            let mut rest = &chunk.bytes[..];
            while !rest.is_empty() {
                // A sample ends at the same byte however the source is cut.
                let room = match SAMPLE_BYTES.checked_sub(read) {
                    Some(room @ 1..) if sampled => usize::try_from(room).unwrap_or(usize::MAX),
                    _ => rest.len(),
                };
                let part = rest.len().min(room);
                let mut lines = framer.push(&rest[..part]);
                while let Some(line) = lines.next() {
                    rows.push(&line, 1, &mut |row, parser| {
                        self.take(&row, parser);
                        Ok::<(), Error>(())
                    })?;
                }
                read += part as u64;
                rest = &rest[part..];
                if sampled
                    && read >= SAMPLE_BYTES
                    && self.counted.all.lines >= SAMPLE_LINES
                    && opened.text_length().is_some_and(|l| read < l)
                {
                    return Ok((read, false));
                }
            }
        }
        let mut take = |row: Row<'_>, parser: &RowParser| {
            self.take(&row, parser);
            Ok::<(), Error>(())
        };
        if let Some(line) = framer.finish() {
            rows.push(&line, 0, &mut take)?;
        }
        rows.finish(&mut take)?;
        Ok((read, true))
    }
}

/// What the sources read so far come to.
#[derive(Default)]
struct Totals {
    lines: Total,
    hashes: Total,
    duplicates: Total,
    rejected: Total,
    skipped: Total,
    units: Total,
    row_bytes: u64,
    others: AlgorithmCounts,
    sources: Vec<Surveyed>,
    further_sources: Option<FurtherSurveyed>,
}

impl Totals {
    /// Adds a source, and what of it was `counted`.
    fn add(&mut self, counted: &Counted, source: Surveyed) {
        self.row_bytes += counted.row_bytes;
        self.others += counted.others;
        let unseen = match source.bytes {
            Some(length) if !source.whole => length.saturating_sub(counted.all.bytes),
            _ => 0,
        };
        for (total, column) in [
            (&mut self.lines, counted.all),
            (&mut self.hashes, counted.hashes),
            (&mut self.duplicates, counted.duplicates),
            (&mut self.rejected, counted.rejected),
            (&mut self.skipped, counted.skipped),
            (&mut self.units, counted.units),
        ] {
            total.add(counted, column, unseen);
        }
        keep(&mut self.sources, &mut self.further_sources, source);
    }

    /// The survey of all sources, and what was read of them, by `surveyor`.
    fn survey(self, surveyor: Surveyor<'_>) -> (Survey, LookedAt) {
        let (lines, hashes, rejected) = (self.lines.seen, self.hashes.seen, self.rejected.seen);
        let looked_at = LookedAt {
            lines,
            skipped: self.skipped.seen,
            rejected,
            shapes: surveyor.shapes,
        };
        let survey = Survey {
            algorithm: surveyor.algorithm,
            sources: self.sources,
            further_sources: self.further_sources,
            lines: self.lines.figure(),
            hashes: self.hashes.figure(),
            units: self.units.figure(),
            row_bytes: self.row_bytes as f64 / hashes.max(1) as f64,
            duplicates: self.duplicates.figure(),
            rejected: self.rejected.figure(),
            skipped: self.skipped.figure(),
            others: self.others,
            verbatim: surveyor.verbatim && hashes > 0,
            too_many_rejects: MaxRejects::default().exceeded(rejected, lines),
        };
        (survey, looked_at)
    }
}

/// Reads `first` and then `rest`: their beginnings, or all of them when `exact`.
/// What has no known length is read to its end; what is compressed has none.
///
/// # Errors
/// When a source cannot be opened or read.
pub(super) async fn survey(
    first: Opened,
    rest: &mut Ahead,
    template: &ItemTemplate,
    columns: &Columns,
    case: Case,
    exact: bool,
) -> Result<(Survey, LookedAt)> {
    let algorithm = template.algorithm();
    let mut surveyor = Surveyor {
        algorithm,
        case,
        columns,
        item_bytes: template.item_bytes(),
        known: Known::new(Distinct::InFlight, algorithm, columns.has_sort_key()),
        counted: Counted::default(),
        own: Vec::new(),
        verbatim: true,
        key: Vec::with_capacity(MAX_HASH_BYTES * 2),
        shapes: Shapes::default(),
    };
    let mut totals = Totals::default();
    let mut next = Some(first);
    while let Some(mut opened) = next {
        surveyor.counted = Counted::default();
        let parser = opened.parser(rest.form(), algorithm, columns.wanted())?;
        for what in opened.said(rest.unpack(), rest.form(), algorithm) {
            tracing::info!("{} is {what}", opened.name());
        }
        let (read, whole) = surveyor.source(&mut opened, parser, exact).await?;
        let bytes = if whole {
            Some(read)
        } else {
            opened.text_length()
        };
        let surveyed = Surveyed {
            uri: opened.name(),
            bytes,
            bytes_read: read,
            whole,
        };
        totals.add(&surveyor.counted, surveyed);
        next = rest.next().await?;
    }
    Ok(totals.survey(surveyor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_beyond_those_kept_are_summed_up() {
        let (mut kept, mut further) = (Vec::new(), None);
        for n in 0..MOST_KEPT as u64 + 3 {
            let surveyed = Surveyed {
                uri: format!("s3://b/{n}"),
                bytes: (n % 2 == 0).then_some(5),
                bytes_read: 7,
                whole: n != MOST_KEPT as u64 + 1,
            };
            keep(&mut kept, &mut further, surveyed);
        }
        assert_eq!(kept.len(), MOST_KEPT);
        let expected = FurtherSurveyed {
            count: 3,
            bytes: 10,
            bytes_read: 21,
            whole: false,
        };
        assert_eq!(further, Some(expected));
    }
}
