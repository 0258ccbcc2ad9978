//! Survey of the sources: runs the reading stages of an ingest and counts.

use crate::base::algorithm_counts::AlgorithmCounts;
use crate::base::error::{Error, Result};
use crate::base::hash::{Algorithm, Case, MAX_HASH_BYTES};
use crate::base::printable::printable_bytes;
use crate::base::record::{Position, RejectReason};
use crate::commands::plan::estimate::Estimate;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::dynamodb::item::{ItemTemplate, WRITE_UNIT_BYTES};
use crate::list::format::kind::Format;
use crate::list::format::plain::Parsed;
use crate::list::format::row_parser::RowParser;
use crate::list::format::rows::{Row, Rows};
use crate::list::lines::Framer;
use crate::list::open_list::OpenList;
use crate::list::prefetch::Prefetch;
use crate::list::shape::Shapes;
use crate::pipeline::dedup::{Dedup, Distinct, Verdict};
use crate::pipeline::progress::sources::MAX_LISTED;
use crate::pipeline::rejects::MaxRejects;
use serde::Serialize;

/// Size of a source's sample for an estimate, in bytes: about 30,000 lines of SHA-256, less
/// than a second to download.
pub(crate) const SAMPLE_BYTES: u64 = 2 * 1024 * 1024;

/// Minimum number of lines in a sample.
const SAMPLE_LINES: u64 = 100;

/// Half the width of a 95 % interval, in standard deviations of a normal distribution.
const Z_95: f64 = 1.96;

/// Number of lines of one kind, and their bytes with line feeds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LineStats {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

impl LineStats {
    pub(super) fn add(&mut self, bytes: u64) {
        self.lines += 1;
        self.bytes += bytes;
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SourceCounts {
    pub(super) all: LineStats,
    /// Sum of the squares of the lines' lengths.
    pub(super) length_squares: u128,
    pub(super) hashes: LineStats,
    pub(super) duplicates: LineStats,
    pub(super) rejected: LineStats,
    pub(super) skipped: LineStats,
    /// Hashes of other algorithms, among the skipped lines.
    pub(super) other_algorithms: AlgorithmCounts,
    /// WCU of the hashes that become items, counted like lines.
    pub(super) write_units: LineStats,
    /// Bytes that these items have from their rows.
    pub(super) row_bytes: u64,
}

/// Total over the sources: estimated value, number in the samples, and variance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RatioEstimator {
    value: f64,
    observed: u64,
    variance: f64,
}

impl RatioEstimator {
    /// Adds `column` of `sample`, and the estimate for the `rest` bytes after it.
    ///
    /// Ratio estimation: with `y` lines of the kind in `x` bytes of sample there are `y / x`
    /// lines a byte. A line of length `l` deviates from that by `d = k - l * y / x`, where `k`
    /// is 1 for a line of the kind and 0 for any other. The variance of `d` gives the error of
    /// the ratio (over `n` lines), and the deviation of the rest from it.
    pub(super) fn add(&mut self, sample: &SourceCounts, column: LineStats, rest: u64) {
        self.observed += column.lines;
        self.value += column.lines as f64;
        let (n, x) = (sample.all.lines, sample.all.bytes);
        if rest == 0 || n == 0 || x == 0 {
            return;
        }
        let rest_lines = rest as f64 * n as f64 / x as f64;
        self.value += rest as f64 * column.lines as f64 / x as f64;
        // Integers, so that the variance of lines of equal length is exactly zero.
        let (x2, y) = (i128::from(x), i128::from(column.lines));
        let squares = i128::try_from(sample.length_squares).unwrap_or(i128::MAX);
        let deviations = y * x2 * x2 - 2 * y * x2 * i128::from(column.bytes) + y * y * squares;
        let each = deviations.max(0) as f64 / (x as f64 * x as f64) / (n as f64 - 1.0).max(1.0);
        self.variance += each * rest_lines * rest_lines / n as f64 + each * rest_lines;
    }

    /// The total with its 95 % interval, at least the number in the samples.
    pub(super) fn estimate(self) -> Estimate {
        let margin = Z_95 * self.variance.sqrt();
        // The cast saturates.
        let value = self.value.round() as u64;
        if margin == 0.0 {
            return Estimate::exact(value);
        }
        Estimate {
            value,
            low: ((self.value - margin).floor().max(0.0) as u64).max(self.observed),
            high: (self.value + margin).ceil() as u64,
        }
    }
}

/// A source of a survey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SurveyedSource {
    /// `s3://bucket/key`, a path, or `-`.
    pub uri: String,
    /// Length of its text in bytes. `None` if it is unknown and the end was not read.
    pub bytes: Option<u64>,
    /// Bytes of text read.
    pub bytes_read: u64,
    /// True if it was read to its end.
    pub whole: bool,
}

/// Sum of the sources that are not listed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FurtherSurveyedSources {
    /// Number of sources.
    pub count: u64,
    /// Length of their text in bytes, without unknown lengths.
    pub bytes: u64,
    /// Bytes of text read.
    pub bytes_read: u64,
    /// True if all of them were read to their ends.
    pub whole: bool,
}

/// Adds a source to the list, or to the sum of `further` sources once the list has
/// [`MAX_LISTED`].
fn add_source(
    kept: &mut Vec<SurveyedSource>,
    further: &mut Option<FurtherSurveyedSources>,
    next: SurveyedSource,
) {
    if kept.len() < MAX_LISTED {
        return kept.push(next);
    }
    let sum = further.get_or_insert(FurtherSurveyedSources {
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

/// Contents of the sources, counted or estimated.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// The hash algorithm.
    pub algorithm: Algorithm,
    /// The first [`MAX_LISTED`] sources, in order.
    pub sources: Vec<SurveyedSource>,
    /// Sum of the sources after them. `None` if there are no more.
    pub further_sources: Option<FurtherSurveyedSources>,
    /// Lines.
    pub lines: Estimate,
    /// Hashes that become items, without the duplicates.
    pub hashes: Estimate,
    /// WCU of one put of each of them, without indexes and replicas.
    pub write_units: Estimate,
    /// Mean number of bytes that an item has from its row.
    pub row_bytes: f64,
    /// Duplicate hashes within the window.
    pub duplicates: Estimate,
    /// Lines that are not a hash of this algorithm.
    pub rejected: Estimate,
    /// Blank lines, comments, headers, and hashes of other algorithms.
    pub skipped: Estimate,
    /// Hashes of other algorithms in the samples.
    pub other_algorithms: AlgorithmCounts,
    /// True if each line read is exactly the text key of its item. The list is then a valid
    /// CSV file for ImportTable.
    pub is_key_csv: bool,
    /// True if an ingest would stop because of too many rejected lines.
    pub too_many_rejects: bool,
}

impl Survey {
    /// True if all sources were read to their ends.
    pub fn is_exact(&self) -> bool {
        self.sources.iter().all(|s| s.whole) && self.further_sources.is_none_or(|f| f.whole)
    }

    /// Bytes of all sources, without unknown lengths.
    pub fn bytes(&self) -> u64 {
        let kept: u64 = self.sources.iter().filter_map(|s| s.bytes).sum();
        kept + self.further_sources.map_or(0, |f| f.bytes)
    }
}

/// Counts of the lines read, without any estimate.
#[derive(Debug)]
pub(super) struct SurveyedLines {
    pub(super) lines: u64,
    pub(super) skipped: u64,
    pub(super) rejected: u64,
    /// Shapes of the rejected lines.
    pub(super) shapes: Shapes,
}

/// Reads sources through the reading stages of an ingest.
struct Surveyor<'a> {
    algorithm: Algorithm,
    case: Case,
    columns: &'a ColumnAttributes,
    item_bytes: usize,
    dedup: Dedup,
    counts: SourceCounts,
    /// Buffer for the attributes of a row.
    row_attributes: Vec<u8>,
    is_key_csv: bool,
    key: Vec<u8>,
    shapes: Shapes,
}

impl Surveyor<'_> {
    fn count_row(&mut self, row: &Row<'_>, parser: &RowParser) {
        let bytes = row.end - row.line.offset;
        let counted = &mut self.counts;
        counted.all.add(bytes);
        counted.length_squares += u128::from(bytes) * u128::from(bytes);
        let hash = match row.parsed {
            Parsed::Hash(hash) => hash,
            Parsed::Skipped => {
                self.is_key_csv = false;
                return counted.skipped.add(bytes);
            }
            Parsed::Other(algorithm) => {
                self.is_key_csv = false;
                counted.other_algorithms.add(algorithm);
                return counted.skipped.add(bytes);
            }
            Parsed::Rejected(reason) => {
                self.is_key_csv = false;
                counted.rejected.add(bytes);
                return self.record_rejected(row, reason);
            }
            Parsed::Continues => {
                self.is_key_csv = false;
                counted.rejected.add(bytes);
                return self.record_rejected(row, RejectReason::Quote);
            }
        };
        self.row_attributes.clear();
        let written = self
            .columns
            .write(|n| parser.column_value(n), &mut self.row_attributes);
        let (key, stored) = match written {
            Ok(lengths) => lengths,
            Err(reason) => {
                counted.rejected.add(bytes);
                return self.record_rejected(row, reason);
            }
        };
        if self.is_key_csv {
            self.key.clear();
            hash.write_hex(self.case, &mut self.key);
            self.is_key_csv = self.key == row.line.bytes;
        }
        let place = Position {
            source: 0,
            line: row.line.number,
            byte: row.line.offset,
        };
        let is_new = self.dedup.check(&hash, &self.row_attributes[..key], place) == Verdict::New;
        if !is_new {
            return counted.duplicates.add(bytes);
        }
        counted.hashes.add(bytes);
        counted.row_bytes += stored as u64;
        let units = (self.item_bytes + stored).div_ceil(WRITE_UNIT_BYTES).max(1) as u64;
        counted.write_units.lines += units;
        counted.write_units.bytes += units * bytes;
    }

    fn record_rejected(&mut self, row: &Row<'_>, reason: RejectReason) {
        let (number, text) = (row.line.number, row.line.bytes);
        self.shapes.add(text, reason);
        let describe = || format!("line {number}: {reason}: {:?}", printable_bytes(text, 100));
        self.shapes.set_first(describe);
    }

    /// Reads a source: only a sample if the source is longer and `exact` is false. Returns
    /// the number of bytes read, and true if it came to the end.
    async fn read_source(
        &mut self,
        opened: &mut OpenList,
        parser: RowParser,
        exact: bool,
    ) -> Result<(u64, bool)> {
        opened.select_algorithm(self.algorithm)?;
        let sampled = !exact && opened.text_length().is_some_and(|l| l > SAMPLE_BYTES);
        let (mut framer, mut rows) = (Framer::new(), Rows::new(parser));
        let mut read = 0;
        // ImportTable reads the stored bytes, so only an uncompressed plain list qualifies.
        let plain = opened.layout().format == Format::Lines && self.columns.is_empty();
        self.is_key_csv &= plain && !opened.is_derived();
        while let Some(chunk) = opened.next().await? {
            let mut rest = &chunk.bytes[..];
            while !rest.is_empty() {
                // A sample ends at the same byte for any size of chunks.
                let room = match SAMPLE_BYTES.checked_sub(read) {
                    Some(room @ 1..) if sampled => usize::try_from(room).unwrap_or(usize::MAX),
                    _ => rest.len(),
                };
                let part = rest.len().min(room);
                let mut lines = framer.push(&rest[..part]);
                while let Some(line) = lines.next() {
                    rows.push(&line, 1, &mut |row, parser| {
                        self.count_row(&row, parser);
                        Ok::<(), Error>(())
                    })?;
                }
                read += part as u64;
                rest = &rest[part..];
                if sampled
                    && read >= SAMPLE_BYTES
                    && self.counts.all.lines >= SAMPLE_LINES
                    && opened.text_length().is_some_and(|l| read < l)
                {
                    return Ok((read, false));
                }
            }
        }
        let mut take = |row: Row<'_>, parser: &RowParser| {
            self.count_row(&row, parser);
            Ok::<(), Error>(())
        };
        if let Some(line) = framer.finish() {
            rows.push(&line, 0, &mut take)?;
        }
        rows.finish(&mut take)?;
        Ok((read, true))
    }
}

/// Totals of the sources read so far.
#[derive(Default)]
struct Totals {
    lines: RatioEstimator,
    hashes: RatioEstimator,
    duplicates: RatioEstimator,
    rejected: RatioEstimator,
    skipped: RatioEstimator,
    write_units: RatioEstimator,
    row_bytes: u64,
    other_algorithms: AlgorithmCounts,
    sources: Vec<SurveyedSource>,
    further_sources: Option<FurtherSurveyedSources>,
}

impl Totals {
    fn add(&mut self, counted: &SourceCounts, source: SurveyedSource) {
        self.row_bytes += counted.row_bytes;
        self.other_algorithms += counted.other_algorithms;
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
            (&mut self.write_units, counted.write_units),
        ] {
            total.add(counted, column, unseen);
        }
        add_source(&mut self.sources, &mut self.further_sources, source);
    }

    /// The survey of all sources, and the counts of the lines read.
    fn into_survey(self, surveyor: Surveyor<'_>) -> (Survey, SurveyedLines) {
        let (lines, hashes, rejected) = (
            self.lines.observed,
            self.hashes.observed,
            self.rejected.observed,
        );
        let read = SurveyedLines {
            lines,
            skipped: self.skipped.observed,
            rejected,
            shapes: surveyor.shapes,
        };
        let survey = Survey {
            algorithm: surveyor.algorithm,
            sources: self.sources,
            further_sources: self.further_sources,
            lines: self.lines.estimate(),
            hashes: self.hashes.estimate(),
            write_units: self.write_units.estimate(),
            row_bytes: self.row_bytes as f64 / hashes.max(1) as f64,
            duplicates: self.duplicates.estimate(),
            rejected: self.rejected.estimate(),
            skipped: self.skipped.estimate(),
            other_algorithms: self.other_algorithms,
            is_key_csv: surveyor.is_key_csv && hashes > 0,
            too_many_rejects: MaxRejects::default().is_exceeded(rejected, lines),
        };
        (survey, read)
    }
}

/// Surveys `first` and then `rest`: samples, or all of them if `exact`. A source of unknown
/// length, such as a compressed one, is read to its end.
///
/// # Errors
/// If a source cannot be opened or read.
pub(super) async fn survey(
    first: OpenList,
    rest: &mut Prefetch,
    template: &ItemTemplate,
    columns: &ColumnAttributes,
    case: Case,
    exact: bool,
) -> Result<(Survey, SurveyedLines)> {
    let algorithm = template.algorithm();
    let mut surveyor = Surveyor {
        algorithm,
        case,
        columns,
        item_bytes: template.item_bytes(),
        dedup: Dedup::new(Distinct::InFlight, algorithm, columns.has_sort_key()),
        counts: SourceCounts::default(),
        row_attributes: Vec::new(),
        is_key_csv: true,
        key: Vec::with_capacity(MAX_HASH_BYTES * 2),
        shapes: Shapes::default(),
    };
    let mut totals = Totals::default();
    let mut next = Some(first);
    while let Some(mut opened) = next {
        surveyor.counts = SourceCounts::default();
        let parser = opened.parser(rest.options(), algorithm, columns.column_names())?;
        for description in opened.describe(rest.unpack(), rest.options(), algorithm) {
            tracing::info!("{} is {description}", opened.name());
        }
        let (read, whole) = surveyor.read_source(&mut opened, parser, exact).await?;
        let bytes = if whole {
            Some(read)
        } else {
            opened.text_length()
        };
        let surveyed = SurveyedSource {
            uri: opened.name(),
            bytes,
            bytes_read: read,
            whole,
        };
        totals.add(&surveyor.counts, surveyed);
        next = rest.next().await?;
    }
    Ok(totals.into_survey(surveyor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_after_the_listed_ones_are_summed_up() {
        let (mut kept, mut further) = (Vec::new(), None);
        for n in 0..MAX_LISTED as u64 + 3 {
            let surveyed = SurveyedSource {
                uri: format!("s3://b/{n}"),
                bytes: (n % 2 == 0).then_some(5),
                bytes_read: 7,
                whole: n != MAX_LISTED as u64 + 1,
            };
            add_source(&mut kept, &mut further, surveyed);
        }
        assert_eq!(kept.len(), MAX_LISTED);
        let expected = FurtherSurveyedSources {
            count: 3,
            bytes: 10,
            bytes_read: 21,
            whole: false,
        };
        assert_eq!(further, Some(expected));
    }
}
