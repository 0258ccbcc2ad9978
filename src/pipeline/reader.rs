//! Reader: source → text → lines → records, sent to the writer.
//!
//! One task reads the sources one after another. It sends batches of records through a
//! bounded channel, so a slow table slows the reading down and memory stays bounded. The
//! reader counts each line as a record, a duplicate, rejected or skipped.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::printable::printable_bytes;
use crate::base::record::{Position, Record, RejectReason, SECOND_LIST_START};
use crate::base::row_attributes::{RowAttributes, RowBuffer};
use crate::base::shutdown::Stop;
use crate::dynamodb::column_attributes::ColumnAttributes;
use crate::list::format::kind::ListOptions;
use crate::list::format::plain::{Parsed, describe_line};
use crate::list::format::row_parser::RowParser;
use crate::list::format::rows::{Row, Rows};
use crate::list::lines::{Framer, Line};
use crate::pipeline::dedup::{Dedup, Distinct, Verdict};
use crate::pipeline::progress::counts::{Counters, LineCounts};
use crate::pipeline::progress::sources::{SourceProgress, SourceTracker};
use crate::pipeline::progress::watermark::{Offset, RecordBatch, Segment};
use crate::pipeline::rejects::{MIN_LINES_FOR_PERCENT, MaxRejects, Rejects};
use crate::source::version::ObjectVersion;
use tokio::sync::mpsc;

#[cfg(test)]
mod tests;

use crate::list::open_list::OpenList;
use crate::list::prefetch::Prefetch;

/// Records in a batch: enough to make the cost of the channel per line negligible.
const BATCH_RECORDS: usize = 500;

/// Capacity of the channel, in batches of records.
pub(crate) const CHANNEL_CAPACITY: usize = 8;

impl StartPosition {
    /// The start of `list`, as the first source.
    pub(crate) fn at_start(list: OpenList) -> StartPosition {
        StartPosition {
            list,
            source: 0,
            offset: Offset::default(),
            source_line_counts: LineCounts::default(),
            total_lines: 0,
            total_rejected: 0,
        }
    }
}

/// Reader of sources. See the [module](self).
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// Algorithm of the hashes.
    pub algorithm: Algorithm,
    /// Method of finding duplicates.
    pub distinct: Distinct,
    /// Attributes that each item takes from its row.
    pub columns: &'a ColumnAttributes,
    /// Maximum of rejected lines.
    pub max_rejects: MaxRejects,
    /// Counters of the run.
    pub counters: &'a Counters,
    /// Destination of rejected lines.
    pub rejects: &'a Rejects,
    /// Progress of the sources.
    pub sources: &'a SourceTracker,
    /// Channel to the next stage.
    pub records: mpsc::Sender<RecordBatch>,
}

/// Start position of the reader.
#[derive(Debug)]
pub(crate) struct StartPosition {
    /// First source to read.
    pub list: OpenList,
    /// Number of that source.
    pub source: u32,
    /// Offset in that source.
    pub offset: Offset,
    /// Line counts of that source before the offset.
    pub source_line_counts: LineCounts,
    /// All lines before the start position; the limit of rejected lines counts them too.
    pub total_lines: u64,
    /// Rejected lines among them.
    pub total_rejected: u64,
}

/// State between lines.
struct ReadState {
    /// Rows of the current source.
    rows: Option<Rows>,
    dedup: Dedup,
    /// Line counts of the next segment, not yet added to the counters.
    line_counts: LineCounts,
    /// Bytes read, not yet added to the counters.
    bytes_read: u64,
    /// End of the last line.
    end: Position,
    /// Records of the next batch.
    records: Vec<Record>,
    /// Attributes that these records take from their rows.
    row_buffer: RowBuffer,
    /// All lines of the run.
    total_lines: u64,
    /// All rejected lines of the run.
    total_rejected: u64,
    /// Line counts of the segments sent.
    sent_line_counts: LineCounts,
}

fn one_line() -> LineCounts {
    LineCounts {
        lines: 1,
        ..LineCounts::default()
    }
}

fn too_many_sources_error() -> Error {
    Error::new(
        ErrorKind::Input,
        "there are more than 2,147,483,648 objects",
    )
    .with_hint("give a longer prefix, and read the other objects in further runs")
}

/// Reason of an early stop.
enum StopReason {
    /// The receiver has closed the channel, or a stop was requested.
    Closed,
    Failed(Error),
}

impl From<Error> for StopReason {
    fn from(e: Error) -> Self {
        StopReason::Failed(e)
    }
}

impl Reader<'_> {
    /// Reads from `first` on, then `rest`, until the end or `stop`. Returns true if it
    /// reached the end.
    ///
    /// # Errors
    /// If a source cannot be read to its end, or if rejected lines are too many or cannot
    /// be written. Records sent before the error remain to be written.
    pub(crate) async fn run(
        self,
        first: StartPosition,
        rest: &mut Prefetch,
        stop: &Stop,
    ) -> Result<bool> {
        let mut taking = ReadState {
            rows: None,
            dedup: Dedup::new(self.distinct, self.algorithm, self.columns.has_sort_key()),
            line_counts: LineCounts::default(),
            bytes_read: 0,
            end: Position {
                source: first.source,
                line: first.offset.lines,
                byte: first.offset.bytes,
            },
            records: Vec::with_capacity(BATCH_RECORDS),
            row_buffer: RowBuffer::default(),
            total_lines: first.total_lines,
            total_rejected: first.total_rejected,
            sent_line_counts: LineCounts::default(),
        };
        let is_whole = first.total_lines == 0;
        let read = async {
            let mut current = Some((first.list, first.offset, first.source_line_counts));
            let mut number = first.source;
            let mut logged = Vec::new();
            while let Some((opened, below, here)) = current {
                let behind = opened.skipped_bytes();
                let parser = self.row_parser(&opened, rest, &mut logged)?;
                let progress = SourceProgress {
                    source: opened.identity(),
                    bytes_read: behind,
                    line_counts: here,
                };
                self.check_unchanged(number, Some(&progress.source.object))?;
                self.sources.start_source(number, progress);
                taking.rows = Some(Rows::new(parser));
                self.read_source(&mut taking, opened, number, below).await?;
                number = number.wrapping_add(1);
                if number.is_multiple_of(SECOND_LIST_START) {
                    return Err(too_many_sources_error().into());
                }
                let next = rest.next().await?;
                current = next.map(|opened| (opened, Offset::default(), LineCounts::default()));
            }
            self.check_unchanged(number, None)?;
            if is_whole {
                self.check_has_hashes(rest.options(), &taking.sent_line_counts)?;
            }
            Ok::<(), StopReason>(())
        };
        let ended = tokio::select! {
            biased;
            () = stop.requested() => Err(StopReason::Closed),
            // The writer has ended.
            () = self.records.closed() => Err(StopReason::Closed),
            ended = read => ended,
        };
        // Send the last, incomplete batch if possible.
        let left = self.finish_segment(&mut taking);
        let count = left.records.len() as u64;
        let handed = match &ended {
            Ok(()) | Err(StopReason::Failed(_)) => self.records.send(left).await.is_ok(),
            Err(StopReason::Closed) => false,
        };
        if !handed {
            self.counters.update(|c| c.line_counts.failed += count);
        }
        match ended {
            Ok(()) => Ok(true),
            Err(StopReason::Closed) => Ok(false),
            Err(StopReason::Failed(e)) => Err(e),
        }
    }

    async fn read_source(
        &self,
        taking: &mut ReadState,
        mut opened: OpenList,
        number: u32,
        below: Offset,
    ) -> Result<(), StopReason> {
        opened.select_algorithm(self.algorithm)?;
        let mut framer = Framer::starting_at(below.lines, below.bytes);
        taking.end = Position {
            source: number,
            line: below.lines,
            byte: below.bytes,
        };
        let Some(mut rows) = taking.rows.take() else {
            return Ok(());
        };
        while let Some(chunk) = opened.next().await? {
            let mut rest = &chunk.bytes[..];
            let mut compressed_bytes = chunk.compressed_bytes;
            // A chunk may hold more lines than a batch.
            while !rest.is_empty() {
                let part = self.slice_bytes(rest);
                // Count compressed bytes in proportion to the text.
                let share = compressed_bytes as u128 * part as u128 / rest.len() as u128;
                let share = u64::try_from(share).unwrap_or(compressed_bytes);
                compressed_bytes -= share;
                taking.bytes_read += share;
                let mut lines = framer.push(&rest[..part]);
                while let Some(line) = lines.next() {
                    rows.push(&line, 1, &mut |row, parser| {
                        self.handle_row(taking, number, &row, parser)
                    })?;
                }
                rest = &rest[part..];
                if taking.line_counts.lines > 0 {
                    self.send_batch(taking).await?;
                }
            }
            // Bytes of the source without text: headers, checksums.
            taking.bytes_read += compressed_bytes;
        }
        let mut take =
            |row: Row<'_>, parser: &RowParser| self.handle_row(taking, number, &row, parser);
        if let Some(line) = framer.finish() {
            rows.push(&line, 0, &mut take)?;
        }
        rows.finish(&mut take)?;
        // Send even an empty segment: it moves the watermark past this source.
        self.send_batch(taking).await
    }

    /// Checks that source number `source` is the same as at the first read of the list.
    fn check_unchanged(&self, source: u32, now: Option<&ObjectVersion>) -> Result<()> {
        self.sources
            .check_unchanged(source, now)
            .map_err(|difference| {
                Error::new(
                    ErrorKind::Read,
                    format!("a list changed between its first and its second read: {difference}"),
                )
                .with_hint("wait until the lists are completely written, then run this again")
            })
    }

    /// Checks that a list with skipped hashes of other algorithms, or skipped elements, has
    /// at least one hash of the run's algorithm.
    fn check_has_hashes(
        &self,
        form: &ListOptions,
        line_counts: &LineCounts,
    ) -> Result<(), StopReason> {
        if line_counts.lines > line_counts.skipped {
            return Ok(());
        }
        if line_counts.other_algorithms.is_zero() {
            crate::list::rewrite_stage::check_some_elements(
                form,
                line_counts.lines,
                self.algorithm,
            )?;
            return Ok(());
        }
        let what = format!(
            "none of the {} lines is a {} hash; skipped as of other algorithms: {}",
            line_counts.lines, self.algorithm, line_counts.other_algorithms
        );
        Err(StopReason::Failed(
            Error::new(ErrorKind::Input, what)
                .with_hint("check the list, or give --hash ALGORITHM and a table of such hashes"),
        ))
    }

    /// Parser of a source. Logs the detected format if it differs from that of the previous
    /// source, `logged`.
    fn row_parser(
        &self,
        opened: &OpenList,
        ahead: &Prefetch,
        logged: &mut Vec<String>,
    ) -> Result<RowParser> {
        let form = ahead.options();
        let parser = opened.parser(form, self.algorithm, self.columns.column_names())?;
        if opened.layout().is_empty {
            return Ok(parser);
        }
        let formats = opened.describe(ahead.unpack(), form, self.algorithm);
        if formats != *logged {
            for format in &formats {
                tracing::info!("{} is {format}", opened.name());
            }
            *logged = formats;
        }
        Ok(parser)
    }

    /// Number of bytes of `rest` to parse before the next batch is sent: about the lines of
    /// one batch.
    fn slice_bytes(&self, rest: &[u8]) -> usize {
        rest.len()
            .min(BATCH_RECORDS * (self.algorithm.bytes() * 2 + 1))
    }

    /// Classifies a row and counts it.
    fn handle_row(
        &self,
        taking: &mut ReadState,
        source: u32,
        row: &Row<'_>,
        parser: &RowParser,
    ) -> Result<()> {
        let line = &row.line;
        let end_before = taking.end;
        taking.end = Position {
            source,
            line: row.last_line,
            byte: row.end,
        };
        taking.total_lines += 1;
        taking.line_counts.lines += 1;
        let place = Position {
            source,
            line: line.number,
            byte: line.offset,
        };
        let rejected = match row.parsed {
            Parsed::Hash(hash) => match self.row_attributes(taking, parser) {
                Ok(extra) => {
                    let row_key = taking.row_buffer.key_json(&extra);
                    match taking.dedup.check(&hash, row_key, place) {
                        Verdict::New => taking.records.push(Record {
                            attributes: extra,
                            ..Record::new(hash, place)
                        }),
                        Verdict::Duplicate => {
                            taking.row_buffer.remove_last(&extra);
                            taking.line_counts.duplicates += 1;
                        }
                        Verdict::OutOfOrder(before) => {
                            // The line is in no segment: a resumed run reads it again.
                            taking.end = end_before;
                            taking.line_counts.lines -= 1;
                            self.sources.record_read(source, 0, one_line());
                            self.counters.update(|c| {
                                c.line_counts += one_line();
                                c.line_counts.failed += 1;
                            });
                            return Err(self.out_of_order_error(place, before));
                        }
                    }
                    None
                }
                Err(reason) => Some(reason),
            },
            Parsed::Skipped => {
                taking.line_counts.skipped += 1;
                None
            }
            Parsed::Other(algorithm) => {
                taking.line_counts.skipped += 1;
                taking.line_counts.other_algorithms.add(algorithm);
                None
            }
            Parsed::Rejected(reason) => Some(reason),
            // Rows are complete, so this row has an unclosed quote.
            Parsed::Continues => Some(RejectReason::Quote),
        };
        if let Some(reason) = rejected {
            taking.line_counts.rejected += 1;
            taking.total_rejected += 1;
            let name = self.sources.name(place.source);
            self.rejects.add(place, &name, reason, line.bytes, None)?;
        }
        let is_check_due = rejected.is_some() || taking.total_lines == MIN_LINES_FOR_PERCENT;
        if is_check_due
            && self
                .max_rejects
                .is_exceeded(taking.total_rejected, taking.total_lines)
        {
            return Err(self.too_many_rejects_error(taking, line));
        }
        Ok(())
    }

    /// Attributes that the item takes from the row parsed last.
    fn row_attributes(
        &self,
        taking: &mut ReadState,
        parser: &RowParser,
    ) -> Result<RowAttributes, RejectReason> {
        if self.columns.is_empty() {
            return Ok(RowAttributes::default());
        }
        let wanted = |n| parser.column_value(n);
        taking.row_buffer.add(|out| self.columns.write(wanted, out))
    }

    fn out_of_order_error(&self, place: Position, before: Position) -> Error {
        let at = |p: Position| {
            let name = self.sources.name(p.source);
            format!("line {} (byte {}) of {name}", p.line, p.byte)
        };
        Error::new(
            ErrorKind::Unsorted,
            format!(
                "the list is not sorted: the hash in {} is less than the one in {}",
                at(place),
                at(before)
            ),
        )
        .with_hint(
            "leave out --distinct sorted, give --distinct exact, or sort the list first: LC_ALL=C sort -u, \
             all in one case",
        )
    }

    fn too_many_rejects_error(&self, taking: &ReadState, line: &Line<'_>) -> Error {
        let ReadState {
            total_lines: lines,
            total_rejected: rejected,
            ..
        } = taking;
        let first = self.rejects.first().unwrap_or_default();
        let looks = describe_line(line.bytes)
            .map(|l| {
                format!(
                    "; line {} looks like {l}: {:?}",
                    line.number,
                    printable_bytes(line.bytes, 80)
                )
            })
            .unwrap_or_default();
        Error::new(
            ErrorKind::Input,
            format!(
                "too many rejected lines: {rejected} of {lines} are not {} hashes (the first: {first}{looks})",
                self.algorithm
            ),
        )
        .with_hint(
            "check the source, --hash and --format; --rejects PATH keeps every rejected line, \
             --max-rejects N or P% allows more of them",
        )
    }

    /// Ends the current segment and adds it to the counters.
    fn finish_segment(&self, taking: &mut ReadState) -> RecordBatch {
        let line_counts = std::mem::take(&mut taking.line_counts);
        let read = std::mem::take(&mut taking.bytes_read);
        taking.sent_line_counts += line_counts;
        self.sources
            .record_read(taking.end.source, read, line_counts);
        self.counters.update(|c| {
            c.line_counts += line_counts;
            c.bytes_read += read;
        });
        taking
            .row_buffer
            .share(taking.records.iter_mut().map(|r| &mut r.attributes));
        RecordBatch {
            segment: Segment {
                end: taking.end,
                line_counts,
            },
            records: std::mem::take(&mut taking.records),
        }
    }

    async fn send_batch(&self, taking: &mut ReadState) -> Result<(), StopReason> {
        // Reserve capacity first: a cancelled send must not lose the records.
        let permit = self
            .records
            .reserve()
            .await
            .map_err(|_| StopReason::Closed)?;
        permit.send(self.finish_segment(taking));
        taking.records.reserve(BATCH_RECORDS);
        Ok(())
    }
}
