//! Batches → DynamoDB: paced, many in flight, until each item is acknowledged.
//!
//! One loop owns everything that waits and everything in flight. It composes the
//! next batch, waits at the token bucket for what the batch costs, sends it, and
//! looks at what came back:
//!
//! * written items are in the books;
//! * unprocessed ones go back to the queue with a back-off, and so do all items
//!   of a call that was throttled, broken or timed out: they are sent again, and
//!   pay for their tokens again;
//! * a batch that is refused as invalid is halved until the bad item is alone:
//!   that line is rejected, the others are written;
//! * what will never work (no permission, no such table) stops the run.
//!
//! Where deletes have a condition, each is a call of its own in the same loop: see
//! [`ItemTemplate::deleting_only`].
//!
//! A call that broke may have been written or not: a put can be repeated
//! harmlessly, so it is sent again. Retries have no count, only a limit in time
//! without any progress ([`WriterOptions::give_up_after`]): DynamoDB being away
//! for ten minutes must not end an import of three days.
//!
//! While nothing is accepted, a call of one item is sent every half a second,
//! whatever that item waits for.
//!
//! When the run is stopped, nothing more is sent; what is in flight may finish
//! for [`DRAIN`], and what is then not acknowledged is `failed`.

use crate::aws::error::{CallError, Meaning};
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::record::{Action, Reason, Record};
use crate::dynamodb::batch_write::{Answer, Returned};
use crate::dynamodb::client::operation::BatchWrite;
use crate::dynamodb::delete_item::CONDITION_FAILED;
use crate::dynamodb::item::ItemTemplate;
use crate::flow::backoff::Backoff;
use crate::flow::concurrency::{Bound, Concurrency};
use crate::flow::rate_limiter::Pace;
use crate::flow::retry_queue::{Batch, Entry, Queue};
use crate::pipeline::progress::counts::{Meters, Settled};
use crate::pipeline::progress::watermark::LowWater;
use crate::pipeline::rejects::Rejects;
use bytes::Bytes;

use std::time::Duration;
use tokio::time::Instant;

/// How long expired credentials may stay expired. The chain renews what it can
/// renew within seconds.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(120);

/// Items refused one after another, none being accepted, before it is plain that
/// it is not a bad item but all of them.
const ALL_REFUSED: u32 = 25;

/// How a [`Writer`] goes about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterOptions {
    /// Calls in flight, at most: by the rate and the latency of the moment, where it
    /// is left to them.
    pub concurrency: Concurrency,
    /// How long to go on without a single item being written.
    pub give_up_after: Duration,
}

/// How the writing ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Everything that was read is in the books.
    Complete,
    /// It was stopped from outside.
    Stopped,
    /// It could not go on.
    Failed(Error),
}

/// Writes records to one table. See the [module](self).
#[derive(Debug)]
pub(crate) struct Writer<'a, T> {
    /// The table.
    pub table: &'a T,
    /// Its name, for messages.
    pub table_name: &'a str,
    /// The items.
    pub template: &'a ItemTemplate,
    /// Where it pays.
    pub pace: &'a Pace,
    /// The counters.
    pub meters: &'a Meters,
    /// Below which everything is settled.
    pub water: &'a LowWater,
    /// Where a line goes that DynamoDB refuses.
    pub rejects: &'a Rejects,
    /// The rest.
    pub options: WriterOptions,
}

/// What the loop knows besides the queue.
pub(super) struct State {
    pub(super) queue: Queue,
    pub(crate) backoff: Backoff,
    /// Since when calls have failed without an item being written.
    pub(crate) stalled: Option<Instant>,
    /// Items refused since one was last written.
    pub(super) refused: u32,
    /// The last answer that handed nothing back, and what it meant: while all goes
    /// well, answers to full batches are alike to the byte, and need not be parsed.
    pub(super) last: Option<(Bytes, Answer)>,
    /// Calls in flight.
    pub(crate) bound: Bound,
    pub(crate) end: Option<End>,
}

impl<T: BatchWrite> Writer<'_, T> {
    /// Whether a batch is a delete that has a condition, in a call of its own.
    pub(super) fn is_alone(&self, batch: &Batch) -> bool {
        let is_delete = |e: &Entry| e.record.action == Action::Delete;
        self.template.deletes_alone() && batch.entries.first().is_some_and(is_delete)
    }

    /// Takes what came back for `batch`.
    pub(super) fn look_at(
        &self,
        s: &mut State,
        batch: Batch,
        begun: Instant,
        answer: Result<Bytes, CallError>,
    ) {
        let alone = self.is_alone(&batch);
        if alone
            && let Err(error) = &answer
            && error.code.as_deref() == Some(CONDITION_FAILED)
        {
            return self.keep(s, &batch.entries, begun);
        }
        let answer = answer.and_then(|body| self.read(s, &batch, alone, body));
        let error = match answer {
            Ok(answer) => match self.acknowledged(s, batch, begun, answer) {
                Some(error) => error,
                None => return,
            },
            Err(error) => {
                match error.meaning {
                    Meaning::Invalid => return self.refused(s, batch, &error),
                    Meaning::Throttled => {
                        self.pace
                            .refused(self.units(&batch.entries), &error.reasons);
                        self.meters.update(|c| c.throttled += 1);
                    }
                    Meaning::Transient | Meaning::Expired | Meaning::Permanent => {}
                }
                tracing::debug!("a call of {} items failed: {error}", batch.entries.len());
                self.send_again(s, batch.entries);
                error
            }
        };
        self.judge(s, &error);
    }

    /// Reads the answer to `batch`, which may give back only items of it.
    fn read(
        &self,
        s: &mut State,
        batch: &Batch,
        alone: bool,
        body: Bytes,
    ) -> Result<Answer, CallError> {
        if alone {
            let read = self.template.read_delete_answer(&body);
            return read.map_err(CallError::strange_answer);
        }
        if let Some((_, answer)) = s.last.as_ref().filter(|(last, _)| *last == body) {
            return Ok(answer.clone());
        }
        let answer = self
            .template
            .read_answer(&body)
            .map_err(CallError::strange_answer)?;
        if answer.unprocessed.is_empty() {
            s.last = Some((body, answer.clone()));
        }
        let ours = |r: &Returned| batch.entries.iter().any(|e| r.is_of(&e.record));
        match answer.unprocessed.iter().find(|r| !ours(r)) {
            Some(_) => Err(CallError::strange_answer(
                "it hands back an item that was not in the batch",
            )),
            None => Ok(answer),
        }
    }

    /// Enters what `answer` acknowledges of `batch`, and queues what it gives back. An
    /// error if that is all of it.
    fn acknowledged(
        &self,
        s: &mut State,
        batch: Batch,
        begun: Instant,
        answer: Answer,
    ) -> Option<CallError> {
        let back = answer.unprocessed;
        let is_back = |e: &Entry| back.iter().any(|r| r.is_of(&e.record));
        let (returned, done): (Vec<Entry>, Vec<Entry>) = match back.is_empty() {
            true => (Vec::new(), batch.entries),
            false => batch.entries.into_iter().partition(is_back),
        };
        let (deleted, written) = self.settle(&done);
        let by_formula = self.units(&done);
        // First what was refused: the table accepts some.
        if !returned.is_empty() {
            self.pace.refused(self.units(&returned), &[]);
        }
        if !done.is_empty() && self.pace.accepted(by_formula, answer.consumed.as_ref()) {
            s.queue.release(Instant::now());
        }
        self.meters.update(|c| {
            c.books.written += written;
            c.books.deleted += deleted;
            c.unprocessed += returned.len() as u64;
            c.consumed += answer.consumed.as_ref().map_or(by_formula, |c| c.total);
        });
        if !done.is_empty() {
            s.bound.took(begun, Instant::now());
            s.stalled = None;
            s.refused = 0;
        }
        if returned.is_empty() {
            return None;
        }
        self.send_again(s, returned);
        done.is_empty().then(|| CallError {
            meaning: Meaning::Throttled,
            code: None,
            message: "DynamoDB handed back every item of the batch unprocessed".into(),
            reasons: Vec::new(),
            no_credentials: false,
        })
    }

    /// Write capacity units of a call with `entries`.
    pub(super) fn units(&self, entries: &[Entry]) -> f64 {
        entries
            .iter()
            .map(|e| self.template.units_of(&e.record))
            .sum()
    }

    /// Enters what was acknowledged: how many deletions, and how many puts.
    fn settle(&self, done: &[Entry]) -> (u64, u64) {
        let mut counts = [0; 2];
        for (count, action, how) in [
            (0, Action::Delete, Settled::Deleted),
            (1, Action::Put, Settled::Written),
        ] {
            let of = done.iter().filter(|e| e.record.action == action);
            counts[count] = of.clone().count() as u64;
            if counts[count] > 0 {
                self.water.settle(of.map(|e| &e.record), how);
            }
        }
        (counts[0], counts[1])
    }

    /// Enters deletes whose items are of another source. That was found out by a write,
    /// which has cost its units.
    fn keep(&self, s: &mut State, entries: &[Entry], begun: Instant) {
        self.water
            .settle(entries.iter().map(|e| &e.record), Settled::Kept);
        let units = self.units(entries);
        self.pace.accepted(units, None);
        self.meters.update(|c| {
            c.books.kept += entries.len() as u64;
            c.consumed += units;
        });
        s.bound.took(begun, Instant::now());
        s.stalled = None;
        s.refused = 0;
    }

    /// Puts entries back into the queue, to be sent after a back-off.
    fn send_again(&self, s: &mut State, mut entries: Vec<Entry>) {
        for e in &mut entries {
            e.attempts += 1;
        }
        let attempts = entries.iter().map(|e| e.attempts).max().unwrap_or(1);
        let ready = Instant::now() + s.backoff.wait(attempts);
        for e in entries {
            s.queue.push_again(e, ready);
        }
    }

    /// Whether to go on after a call that wrote nothing.
    fn judge(&self, s: &mut State, error: &CallError) {
        if s.end.is_some() {
            return;
        }
        let table = self.table_name;
        if error.meaning == Meaning::Permanent {
            let e = Error::new(
                ErrorKind::Write,
                format!("DynamoDB refuses to write to table {table}"),
            )
            .because(error.clone());
            let hint = match error.code.as_deref() {
                Some("AccessDeniedException") if error.message.contains("dynamodb:DeleteItem") => {
                    "the credentials need dynamodb:DeleteItem on this table (see \
                     scripts/iam/refresh.json); then run this again"
                }
                Some("AccessDeniedException") => {
                    "the credentials need dynamodb:BatchWriteItem on this table (see \
                     scripts/iam/ingest.json); then run this again"
                }
                Some("ResourceNotFoundException") => {
                    "the table is gone, or not ready; once it is ACTIVE, run this again"
                }
                _ => "mend that, then run this again",
            };
            s.end = Some(End::Failed(e.hint(hint)));
            return;
        }
        let since = *s.stalled.get_or_insert_with(Instant::now);
        let patience = match error.meaning {
            Meaning::Expired => self.options.give_up_after.min(EXPIRED_PATIENCE),
            _ => self.options.give_up_after,
        };
        if since.elapsed() >= patience {
            let seconds = patience.as_secs();
            let e = Error::new(
                ErrorKind::Write,
                format!(
                    "nothing could be written to table {table} for {seconds} s; the last answer"
                ),
            )
            .because(error.clone());
            let hint = match error.meaning {
                Meaning::Expired => "renew the credentials, then run this again",
                _ => "run this again once DynamoDB answers; --give-up-after sets how long to try",
            };
            s.end = Some(End::Failed(e.hint(hint)));
        }
    }

    /// Halves a batch that was refused as invalid, or rejects its only item.
    fn refused(&self, s: &mut State, batch: Batch, error: &CallError) {
        let Some(entry) = s.queue.push_refused(batch) else {
            return;
        };
        let Record { hash, place, .. } = &entry.record;
        self.meters.update(|c| c.books.rejected += 1);
        s.refused += 1;
        let text = hash.to_hex(crate::base::hash::Case::Upper);
        let noted = self.rejects.add(
            *place,
            &self.water.accounts().name(place.source),
            Reason::Refused,
            text.as_bytes(),
            Some(&error.to_string()),
        );
        if noted.is_ok() {
            self.water.settle([&entry.record], Settled::Rejected);
        }
        if s.end.is_some() {
            return;
        }
        if let Err(e) = noted {
            s.end = Some(End::Failed(e));
        } else if s.refused >= ALL_REFUSED {
            let e = Error::new(
                ErrorKind::Write,
                format!("DynamoDB refuses every item for table {}", self.table_name),
            )
            .because(error.clone())
            .hint("the attributes (--type, --source, --desc, --attr) do not fit the table or its indexes, or --key not the table");
            s.end = Some(End::Failed(e));
        }
    }
}

#[cfg(test)]
mod tests;
