//! The reading half: source → text → lines → records, up to the queue of the writer.
//!
//! One task reads the sources one after another. What it hands on waits in a
//! bounded channel, so that a slow table slows the reading down and nothing
//! piles up. It counts lines as it takes them: each becomes a record, a
//! duplicate, a reject or skipped.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::base::printable::shown;
use crate::base::record::{LANE, Place, Reason, Record};
use crate::base::row_attributes::{Extra, Gathering};
use crate::base::shutdown::Stop;
use crate::dynamodb::column_attributes::Columns;
use crate::list::format::kind::Form;
use crate::list::format::plain::{Parsed, looks_like};
use crate::list::format::row_parser::RowParser;
use crate::list::format::rows::{Row, Rows};
use crate::list::lines::{Framer, Line};
use crate::pipeline::dedup::{Distinct, Known, Seen};
use crate::pipeline::progress::counts::{Books, Meters};
use crate::pipeline::progress::sources::{Account, Accounts};
use crate::pipeline::progress::watermark::{Below, HandOver, Stretch};
use crate::pipeline::rejects::{JUDGED_FROM_LINES, MaxRejects, Rejects};
use crate::source::version::ObjectVersion;
use tokio::sync::mpsc;

#[cfg(test)]
mod tests;

use crate::list::opened::Opened;
use crate::list::prefetch::Ahead;

/// Records handed on at once: some batches' worth, so that the channel costs
/// nothing per line.
const HAND_OVER: usize = 500;

/// Hand-overs that may wait in the channel.
pub(crate) const HAND_OVERS: usize = 8;

impl Beginning {
    /// The beginning of the first source.
    pub(crate) fn of(opened: Opened) -> Beginning {
        Beginning {
            opened,
            number: 0,
            below: Below::default(),
            here: Books::default(),
            lines: 0,
            rejected: 0,
        }
    }
}

/// Reads sources into records. See the [module](self).
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// What the lines are.
    pub algorithm: Algorithm,
    /// How repeats are found.
    pub distinct: Distinct,
    /// What each item takes from its row.
    pub columns: &'a Columns,
    /// How many may be none.
    pub max_rejects: MaxRejects,
    /// The counters.
    pub meters: &'a Meters,
    /// Where rejected lines go.
    pub rejects: &'a Rejects,
    /// The accounts of the sources.
    pub accounts: &'a Accounts,
    /// Where records go.
    pub records: mpsc::Sender<HandOver>,
}

/// Where reading begins.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The source that is read first.
    pub opened: Opened,
    /// How many sources are behind it.
    pub number: u32,
    /// What of it is behind.
    pub below: Below,
    /// The books of that.
    pub here: Books,
    /// All lines behind, and rejected ones: what is judged is the whole.
    pub lines: u64,
    /// See `lines`.
    pub rejected: u64,
}

/// What is carried from line to line.
struct Taking {
    /// Of the source that is being read.
    rows: Option<Rows>,
    known: Known,
    /// What was counted and is not in the meters yet: the books of the stretch that
    /// is handed on next.
    books: Books,
    /// Bytes read that are not in the meters yet.
    read: u64,
    /// Where the last line taken ends.
    end: Place,
    /// Records that are not handed on yet.
    taken: Vec<Record>,
    /// What they take from their rows.
    gathering: Gathering,
    /// All lines, and rejected ones, of the run.
    lines: u64,
    rejected: u64,
    /// The books of the lines handed on.
    handed: Books,
}

fn one_line() -> Books {
    Books {
        lines: 1,
        ..Books::default()
    }
}

fn too_many_sources() -> Error {
    Error::new(
        ErrorKind::Input,
        "there are more than 2,147,483,648 objects",
    )
    .hint("name a longer prefix, and the others in further runs")
}

/// Why reading stops early.
enum Halt {
    /// The other side takes no more.
    Closed,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(e: Error) -> Self {
        Halt::Failed(e)
    }
}

impl Reader<'_> {
    /// Reads from `first` on, and then `rest`, to the end, or until `stop`; says whether it
    /// came to the end. What was read of each is entered in its account.
    ///
    /// # Errors
    /// When a source cannot be read to its end, when rejected lines cannot be
    /// written down, or when there are too many of them. What was handed on
    /// before is still to be written.
    pub(crate) async fn run(self, first: Beginning, rest: &mut Ahead, stop: &Stop) -> Result<bool> {
        let mut taking = Taking {
            rows: None,
            known: Known::new(self.distinct, self.algorithm, self.columns.has_sort_key()),
            books: Books::default(),
            read: 0,
            end: Place {
                source: first.number,
                line: first.below.lines,
                byte: first.below.bytes,
            },
            taken: Vec::with_capacity(HAND_OVER),
            gathering: Gathering::default(),
            lines: first.lines,
            rejected: first.rejected,
            handed: Books::default(),
        };
        let is_whole = first.lines == 0;
        let read = async {
            let mut begun = Some((first.opened, first.below, first.here));
            let mut number = first.number;
            let mut said = Vec::new();
            while let Some((opened, below, here)) = begun {
                let behind = opened.behind();
                let parser = self.parser(&opened, rest, &mut said)?;
                let account = Account {
                    source: opened.identity(),
                    read: behind,
                    books: here,
                };
                self.unchanged(number, Some(&account.source.object))?;
                self.accounts.begin(number, account);
                taking.rows = Some(Rows::new(parser));
                self.source(&mut taking, opened, number, below).await?;
                number = number.wrapping_add(1);
                if number.is_multiple_of(LANE) {
                    return Err(too_many_sources().into());
                }
                let next = rest.next().await?;
                begun = next.map(|opened| (opened, Below::default(), Books::default()));
            }
            self.unchanged(number, None)?;
            if is_whole {
                self.some_of_its_own(rest.form(), &taking.handed)?;
            }
            Ok::<(), Halt>(())
        };
        let ended = tokio::select! {
            biased;
            () = stop.requested() => Err(Halt::Closed),
            // The writer has ended: it will not take what is still to come.
            () = self.records.closed() => Err(Halt::Closed),
            ended = read => ended,
        };
        // What was taken and not handed on is handed on still, if it can be.
        let left = self.close_stretch(&mut taking);
        let count = left.records.len() as u64;
        let handed = match &ended {
            Ok(()) | Err(Halt::Failed(_)) => self.records.send(left).await.is_ok(),
            Err(Halt::Closed) => false,
        };
        if !handed {
            self.meters.update(|c| c.books.failed += count);
        }
        match ended {
            Ok(()) => Ok(true),
            Err(Halt::Closed) => Ok(false),
            Err(Halt::Failed(e)) => Err(e),
        }
    }

    async fn source(
        &self,
        taking: &mut Taking,
        mut opened: Opened,
        number: u32,
        below: Below,
    ) -> Result<(), Halt> {
        opened.begin(self.algorithm)?;
        let mut framer = Framer::after(below.lines, below.bytes);
        taking.end = Place {
            source: number,
            line: below.lines,
            byte: below.bytes,
        };
        let Some(mut rows) = taking.rows.take() else {
            return Ok(());
        };
        while let Some(chunk) = opened.next().await? {
            let mut rest = &chunk.bytes[..];
            let mut lying = chunk.lying;
            // A chunk may hold more lines than are handed over at once.
            while !rest.is_empty() {
                let part = self.part(rest);
                // Of the source's bytes, as much as of the text.
                let share = lying as u128 * part as u128 / rest.len() as u128;
                let share = u64::try_from(share).unwrap_or(lying);
                lying -= share;
                taking.read += share;
                let mut lines = framer.push(&rest[..part]);
                while let Some(line) = lines.next() {
                    rows.push(&line, 1, &mut |row, parser| {
                        self.take(taking, number, &row, parser)
                    })?;
                }
                rest = &rest[part..];
                if taking.books.lines > 0 {
                    self.hand_on(taking).await?;
                }
            }
            // What of the source bore no text: headers, checksums.
            taking.read += lying;
        }
        let mut take = |row: Row<'_>, parser: &RowParser| self.take(taking, number, &row, parser);
        if let Some(line) = framer.finish() {
            rows.push(&line, 0, &mut take)?;
        }
        rows.finish(&mut take)?;
        // Even when there is nothing in it: this source is behind now.
        self.hand_on(taking).await
    }

    /// Checks that a list that is read again is the one that was read before, as far as
    /// `source`, which is `now`.
    fn unchanged(&self, source: u32, now: Option<&ObjectVersion>) -> Result<()> {
        self.accounts.expect(source, now).map_err(|what| {
            Error::new(
                ErrorKind::Read,
                format!("a list was changed between its two readings: {what}"),
            )
            .hint("let the lists be written whole first, then run this again")
        })
    }

    /// Checks that a list whose hashes of other algorithms, or elements without a hash,
    /// were skipped has some of its own.
    fn some_of_its_own(&self, form: &Form, books: &Books) -> Result<(), Halt> {
        if books.lines > books.skipped {
            return Ok(());
        }
        if books.others.is_zero() {
            crate::list::rewriting::some_elements(form, books.lines, self.algorithm)?;
            return Ok(());
        }
        let what = format!(
            "none of the {} lines is a {} hash; skipped as of other algorithms: {}",
            books.lines, self.algorithm, books.others
        );
        Err(Halt::Failed(Error::new(ErrorKind::Input, what).hint(
            "check the list; name the algorithm that is meant by --hash, and a table for such hashes",
        )))
    }

    /// The parser of a source, which says how it is read, unless the one before was read
    /// alike.
    fn parser(&self, opened: &Opened, ahead: &Ahead, said: &mut Vec<String>) -> Result<RowParser> {
        let form = ahead.form();
        let parser = opened.parser(form, self.algorithm, self.columns.wanted())?;
        if opened.layout().empty {
            return Ok(parser);
        }
        let says = opened.said(ahead.unpack(), form, self.algorithm);
        if says != *said {
            for what in &says {
                tracing::info!("{} is {what}", opened.name());
            }
            *said = says;
        }
        Ok(parser)
    }

    /// How much of `rest` to take before records are handed on: about as many
    /// lines as one hand-over holds.
    fn part(&self, rest: &[u8]) -> usize {
        rest.len().min(HAND_OVER * (self.algorithm.bytes() * 2 + 1))
    }

    /// Takes a row.
    fn take(
        &self,
        taking: &mut Taking,
        source: u32,
        row: &Row<'_>,
        parser: &RowParser,
    ) -> Result<()> {
        let line = &row.line;
        let end_before = taking.end;
        taking.end = Place {
            source,
            line: row.last,
            byte: row.end,
        };
        taking.lines += 1;
        taking.books.lines += 1;
        let place = Place {
            source,
            line: line.number,
            byte: line.offset,
        };
        let rejected = match row.parsed {
            Parsed::Hash(hash) => match self.extra(taking, parser) {
                Ok(extra) => {
                    let row_key = taking.gathering.key_json(&extra);
                    match taking.known.take(&hash, row_key, place) {
                        Seen::New => taking.taken.push(Record {
                            extra,
                            ..Record::new(hash, place)
                        }),
                        Seen::Repeat => {
                            taking.gathering.take_back(&extra);
                            taking.books.duplicates += 1;
                        }
                        Seen::OutOfOrder(before) => {
                            // Of no stretch: a run that is taken up reads it again.
                            taking.end = end_before;
                            taking.books.lines -= 1;
                            self.accounts.count(source, 0, one_line());
                            self.meters.update(|c| {
                                c.books += one_line();
                                c.books.failed += 1;
                            });
                            return Err(self.out_of_order(place, before));
                        }
                    }
                    None
                }
                Err(reason) => Some(reason),
            },
            Parsed::Skipped => {
                taking.books.skipped += 1;
                None
            }
            Parsed::Other(algorithm) => {
                taking.books.skipped += 1;
                taking.books.others.add(algorithm);
                None
            }
            Parsed::Rejected(reason) => Some(reason),
            // Rows are whole.
            Parsed::Continues => Some(Reason::Quote),
        };
        if let Some(reason) = rejected {
            taking.books.rejected += 1;
            taking.rejected += 1;
            let name = self.accounts.name(place.source);
            self.rejects.add(place, &name, reason, line.bytes, None)?;
        }
        let judged = rejected.is_some() || taking.lines == JUDGED_FROM_LINES;
        if judged && self.max_rejects.exceeded(taking.rejected, taking.lines) {
            return Err(self.too_many(taking, line));
        }
        Ok(())
    }

    /// What the item of the row that was parsed last takes from it.
    fn extra(&self, taking: &mut Taking, parser: &RowParser) -> Result<Extra, Reason> {
        if self.columns.is_empty() {
            return Ok(Extra::default());
        }
        let wanted = |n| parser.wanted(n);
        taking.gathering.add(|out| self.columns.write(wanted, out))
    }

    fn out_of_order(&self, place: Place, before: Place) -> Error {
        let at = |p: Place| {
            let name = self.accounts.name(p.source);
            format!("line {} (byte {}) of {name}", p.line, p.byte)
        };
        Error::new(
            ErrorKind::Unsorted,
            format!(
                "the list is not sorted: the hash in {} comes before the one in {}",
                at(place),
                at(before)
            ),
        )
        .hint(
            "leave --distinct sorted out, take --distinct exact, or sort the list first: LC_ALL=C sort -u, \
             all of one case",
        )
    }

    fn too_many(&self, taking: &Taking, line: &Line<'_>) -> Error {
        let Taking {
            lines, rejected, ..
        } = taking;
        let first = self.rejects.first().unwrap_or_default();
        let looks = looks_like(line.bytes)
            .map(|l| {
                format!(
                    "; line {} looks like {l}: {:?}",
                    line.number,
                    shown(line.bytes, 80)
                )
            })
            .unwrap_or_default();
        Error::new(
            ErrorKind::Input,
            format!(
                "{rejected} of {lines} lines are no {} hashes: this does not look like such a list \
                 (the first: {first}{looks})",
                self.algorithm
            ),
        )
        .hint(
            "check the source, --hash and --format; --rejects PATH keeps every rejected line, \
             --max-rejects N or P% lets more of them pass",
        )
    }

    /// Ends the stretch that was taken: enters it in the meters.
    fn close_stretch(&self, taking: &mut Taking) -> HandOver {
        let books = std::mem::take(&mut taking.books);
        let read = std::mem::take(&mut taking.read);
        taking.handed += books;
        self.accounts.count(taking.end.source, read, books);
        self.meters.update(|c| {
            c.books += books;
            c.bytes_read += read;
        });
        taking
            .gathering
            .share(taking.taken.iter_mut().map(|r| &mut r.extra));
        HandOver {
            stretch: Stretch {
                end: taking.end,
                books,
            },
            records: std::mem::take(&mut taking.taken),
        }
    }

    async fn hand_on(&self, taking: &mut Taking) -> Result<(), Halt> {
        // The place is reserved first: a send that is given up half-way must
        // not take the records with it.
        let permit = self.records.reserve().await.map_err(|_| Halt::Closed)?;
        permit.send(self.close_stretch(taking));
        taking.taken.reserve(HAND_OVER);
        Ok(())
    }
}
