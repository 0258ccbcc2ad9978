//! Questions → answers: paced, many in flight, until each line is answered.
//!
//! One loop owns everything that waits and everything in flight:
//!
//! * a hash is asked for once, however many lines wait for it (the [desk](crate::commands::lookup::answers));
//! * hashes that were left unread, or whose call failed, go back to the queue with a
//!   back-off; when too many are sent, nothing is sent until that has passed, and of
//!   an API fewer calls are in flight for a while;
//! * where [tries](EngineOptions::tries) are bounded, a hash that has used them up is
//!   answered by an error, and the run goes on;
//! * what will never work ends the run, and so does a long time without an answer.
//!
//! Every call pays at the token bucket what such calls cost of late; the difference to
//! what DynamoDB says is settled when the answer is there.
//!
//! Whoever reads the answers slowly slows all of it down: what is written is waited for.

use crate::base::error::{Error, ErrorKind};
use crate::base::hash::Hash;
use crate::base::record::{Place, Record};
use crate::base::shutdown::Stop;
use crate::commands::lookup::answers::Desk;
use crate::commands::lookup::backend::{Kind, Oracle, Reply, Told, Trouble};
use crate::commands::lookup::counts::LookupMeters;
use crate::commands::lookup::output::{Halt, Output};
use crate::commands::lookup::query::Question;
use crate::commands::lookup::request_state::{Ended, EngineOptions, State};
use crate::flow::backoff::Backoff;
use crate::flow::capacity::Consumed;
use crate::flow::concurrency::Bound;
use crate::flow::probe::Turn;
use crate::flow::rate_limiter::Pace;
use crate::flow::waiting::{Keys, Waiting};
use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long calls in flight may take to finish once the run is over.
const DRAIN: Duration = Duration::from_secs(10);

/// How long expired credentials may stay expired.
const EXPIRED_PATIENCE: Duration = Duration::from_secs(120);

/// Answers that no look-up gives, before the first that one gives, after which the
/// address is taken to be wrong.
const MOST_ASTRAY: u32 = 100;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Engine<'a, O> {
    pub(super) oracle: &'a O,
    pub(super) pace: &'a Pace,
    pub(super) meters: &'a LookupMeters,
    pub(super) options: EngineOptions,
}

impl<O: Oracle> Engine<'_, O> {
    /// Answers the questions that come from `fresh` into `output`, until that is closed
    /// and all are answered, or until `stop`.
    pub(super) async fn run<W: AsyncWrite + Unpin>(
        &self,
        mut fresh: mpsc::Receiver<Vec<Question>>,
        desk: Desk,
        output: &mut Output<'_, W>,
        stop: &Stop,
        backoff: Backoff,
    ) -> Ended {
        let most = self.options.most;
        let mut s = State {
            desk,
            waiting: Waiting::new(most),
            key_units: self.options.units,
            backoff,
            hold: None,
            refusals: 0,
            bound: Bound::new(self.options.concurrency),
            allowed: None,
            faults: HashMap::new(),
            stalled: None,
            answered: false,
            astray: 0,
            end: None,
        };
        let mut in_flight = FuturesUnordered::new();
        let mut next: Option<Keys> = None;
        let mut open = true;
        let mut drain: Option<Instant> = None;

        loop {
            let now = Instant::now();
            let call_units = s.key_units * most as f64;
            let concurrency = s.bound.calls(self.pace.rate(), call_units);
            s.allowed = s.allowed.filter(|allowed| *allowed < concurrency as f64);
            let allowed = s.allowed.map_or(concurrency, |a| (a as usize).max(1));
            // Enough to fill every call from retries alone; reading pauses beyond.
            let again_limit = concurrency * most * 2;
            let turn = self.turn(now);
            if s.end.is_none() && turn.is_probe() {
                next = s.compose_one(next, now);
            } else if s.end.is_none() && next.is_none() {
                next = s.waiting.compose(now, !open);
            }
            let idle = next.is_none() && in_flight.is_empty();
            if s.end.is_none() && !open && idle && s.waiting.is_empty() {
                break;
            }
            if s.end.is_some() {
                if in_flight.is_empty() || drain.is_some_and(|at| at <= now) {
                    break;
                }
                if drain.is_none() {
                    drain = Some(now + DRAIN);
                    open = false;
                    fresh.close();
                }
            }
            let running = s.end.is_none();
            let held = s.hold.filter(|at| *at > now);
            let room = in_flight.len() < allowed;
            let free = held.is_none() && turn.is_due(now);
            let may_send = running && next.is_some() && room && free;
            let may_read = running
                && open
                && s.waiting.ready() < most * 2
                && s.waiting.again() < again_limit
                && s.desk.has_room();
            let units = next
                .as_ref()
                .map_or(0.0, |k| k.0.len() as f64 * s.key_units);
            // When to look again though nothing happens.
            let wake = match (drain, &next) {
                (Some(at), _) => Some(at),
                (None, Some(_)) => held.filter(|_| room).or(turn.wake(now)),
                (None, None) => s.waiting.next().into_iter().chain(turn.wake(now)).min(),
            };

            tokio::select! {
                biased;
                () = stop.requested(), if running => s.end = Some(Ended::Stopped),
                () = stop.insisted(), if !running => drain = Some(now),
                Some(come) = in_flight.next(), if !in_flight.is_empty() => {
                    let mut come: Option<(Keys, f64, Instant, Told)> = Some(come);
                    // All that is there is looked at before anything is written.
                    while let Some((keys, paid, begun, told)) = come {
                        self.look_at(&mut s, keys, paid, begun, told);
                        come = in_flight.next().now_or_never().flatten();
                    }
                    let count = in_flight.len() as u64;
                    self.meters.update(|c| c.in_flight = count);
                }
                () = self.pace.take(turn, units), if may_send => {
                    if let Some(keys) = next.take() {
                        in_flight.push(self.send(keys, units));
                        let count = in_flight.len() as u64;
                        self.meters.update(|c| c.in_flight = count);
                    }
                }
                more = fresh.recv(), if may_read => match more {
                    Some(questions) => self.take(&mut s, questions, now),
                    None => open = false,
                },
                () = sleep_until(wake), if wake.is_some() => {}
                else => {
                    // Every branch is closed: the loop above must not let that be.
                    let what = "the look-up has nothing to wait for";
                    s.end = Some(Ended::Failed(Error::new(ErrorKind::Internal, what)));
                }
            }
            // What may be astray is kept while something is to come that can tell.
            let quiet = next.is_none() && in_flight.is_empty() && s.waiting.is_empty();
            if !s.may_be_astray() || !s.desk.has_room() || quiet {
                self.write(&mut s, output, &mut in_flight).await;
            }
        }
        fresh.close();
        // At the end, that is what they have been answered.
        if s.end.is_none() || !s.may_be_astray() {
            self.write(&mut s, output, &mut in_flight).await;
        }
        self.meters.update(|c| c.in_flight = 0);
        s.end.unwrap_or(Ended::Complete)
    }

    /// What the next call may be. An API says by itself when to come again.
    fn turn(&self, now: Instant) -> Turn {
        match self.options.tries {
            None => self.pace.turn(now),
            Some(_) => Turn::Full(None),
        }
    }

    /// Takes lines that were read.
    fn take(&self, s: &mut State, questions: Vec<Question>, now: Instant) {
        // The number of a line says nothing here: it is the desk that knows it.
        let place = Place {
            source: 0,
            line: 0,
            byte: 0,
        };
        for question in questions {
            if let Some(hash) = s.desk.take(question) {
                s.waiting.push(Record::new(hash, place), now);
            }
        }
        let repeated = s.desk.repeated;
        self.meters.update(|c| c.repeated = repeated);
    }

    /// Writes what is answered. Whoever reads it may be slow: meanwhile the calls
    /// `in_flight` go on, and what comes of them is looked at.
    async fn write<W: AsyncWrite + Unpin>(
        &self,
        s: &mut State,
        output: &mut Output<'_, W>,
        in_flight: &mut FuturesUnordered<impl Future<Output = (Keys, f64, Instant, Told)>>,
    ) {
        loop {
            output.fill(&mut s.desk);
            if output.is_empty() {
                return;
            }
            let mut write = std::pin::pin!(output.write(self.meters));
            let written = loop {
                tokio::select! {
                    biased;
                    written = &mut write => break written,
                    Some((keys, paid, begun, told)) = in_flight.next(), if !in_flight.is_empty() => {
                        self.look_at(s, keys, paid, begun, told);
                    }
                }
            };
            let halt = match written {
                Ok(()) => continue,
                Err(halt) => halt,
            };
            // The first end counts, unless what was to be written is lost.
            s.end = Some(match (halt, s.end.take()) {
                (Halt::Failed(e), _) => Ended::Failed(e),
                (_, Some(end)) => end,
                (Halt::Enough, None) => Ended::Enough,
                (Halt::Stopped, None) => Ended::Stopped,
            });
            return;
        }
    }

    /// Sends a call once, for which `paid` units were taken.
    async fn send(&self, keys: Keys, paid: f64) -> (Keys, f64, Instant, Told) {
        let again = keys.0.iter().any(|e| e.attempts > 0);
        self.meters.update(|c| {
            c.requests += 1;
            c.retries += u64::from(again);
        });
        let begun = Instant::now();
        let told = self.oracle.ask(&keys).await;
        (keys, paid, begun, told)
    }

    /// Takes what came back for `keys`.
    fn look_at(&self, s: &mut State, keys: Keys, paid: f64, begun: Instant, told: Told) {
        let Told {
            settled,
            again,
            trouble,
            consumed,
            calls,
            astray,
        } = told;
        let paid_each = paid / keys.0.len() as f64;
        let read = settled.len();
        // The table has answered, and left some of it, or all.
        let unread = match &trouble {
            None => true,
            Some(t) => matches!(t.kind, Kind::Unread),
        };
        let unread = if unread { again.len() } else { 0 };
        // First what was refused: the table accepts some.
        if unread > 0 {
            self.pace.refused(paid_each * unread as f64, &[]);
        }
        if read > 0 {
            s.bound.took(begun, Instant::now());
            self.accept(s, read, paid_each * read as f64, consumed.as_ref());
            if !astray {
                s.answered = true;
            }
        }
        let cost = self.cost(read, consumed.as_ref());
        self.meters.update(|c| {
            c.requests += calls.saturating_sub(1);
            c.consumed += cost;
            c.unprocessed += unread as u64;
        });
        for (hash, reply) in settled {
            s.faults.remove(&hash);
            if astray && !s.answered {
                s.astray += 1;
                self.judge_astray(s, &reply);
            }
            s.desk.settle(hash, reply);
        }
        self.put_back(s, &keys, again, trouble.as_ref());
        if let Some(trouble) = trouble {
            self.judge(s, paid, trouble);
        }
    }

    /// Takes it that `read` hashes were answered, for which `paid` units were taken.
    fn accept(&self, s: &mut State, read: usize, paid: f64, consumed: Option<&Consumed>) {
        s.stalled = None;
        s.refusals = 0;
        // As many more as were answered, until all may be in flight again.
        s.allowed = s.allowed.map(|allowed| allowed + 1.0 / allowed);
        if self.pace.accepted(paid, consumed) && self.options.tries.is_none() {
            s.waiting.release(Instant::now());
        }
        if let Some(consumed) = consumed {
            s.key_units = (consumed.total / read as f64).max(self.options.units);
        }
    }

    /// Read units that a call of `read` answers has cost.
    fn cost(&self, read: usize, consumed: Option<&Consumed>) -> f64 {
        match (consumed, self.options.tries) {
            (Some(consumed), _) => consumed.total,
            (None, None) => read as f64 * self.options.units,
            // An API has no read units.
            (None, Some(_)) => 0.0,
        }
    }

    /// Puts back the hashes to ask for `again`; one without tries left is answered.
    fn put_back(&self, s: &mut State, keys: &Keys, again: Vec<Hash>, trouble: Option<&Trouble>) {
        let (is_fault, why) = match trouble {
            None => (false, ""),
            Some(t) => (
                matches!(t.kind, Kind::Passing | Kind::Expired),
                t.why.as_str(),
            ),
        };
        let mut entries = Vec::with_capacity(again.len());
        for hash in again {
            let Some(at) = keys.find(&hash) else { continue };
            let entry = keys.0[at].clone();
            match self.options.tries {
                Some(tries) if s.has_failed(&entry, is_fault, tries) => {
                    let why = format!("{why} (asked {} times)", entry.attempts + 1);
                    s.faults.remove(&hash);
                    s.desk.settle(hash, Reply::Error(why.into()));
                }
                _ => entries.push(entry),
            }
        }
        s.ask_again(entries);
    }

    /// Whether it is the wrong address that answers, and `reply` is the last of it.
    fn judge_astray(&self, s: &mut State, reply: &Reply) {
        if s.astray < MOST_ASTRAY || s.end.is_some() {
            return;
        }
        let why = match reply {
            Reply::Error(why) => why,
            _ => "",
        };
        let what = format!(
            "{} answered none of the first {MOST_ASTRAY} hashes as a look-up answers; the last answer: {why}",
            self.options.whom
        );
        let hint = "check the URL: the hash is put behind it; and that the list is of the hashes that it knows";
        s.end = Some(Ended::Failed(Error::new(ErrorKind::Read, what).hint(hint)));
    }

    /// Whether, and when, to go on after a call that answered nothing.
    fn judge(&self, s: &mut State, paid: f64, trouble: Trouble) {
        let Trouble {
            kind,
            why,
            wait,
            reasons,
        } = trouble;
        tracing::debug!("a call failed: {why}");
        let whom = &self.options.whom;
        let now = Instant::now();
        let throttled = matches!(kind, Kind::Throttled);
        if throttled {
            self.pace.refused(paid, &reasons);
            self.meters.update(|c| c.throttled += 1);
            // Those in flight were sent before it was known: they are one refusal.
            if self.options.tries.is_some() && s.hold.is_none_or(|at| at <= now) {
                s.refusals += 1;
                let all = s
                    .bound
                    .calls(self.pace.rate(), s.key_units * self.options.most as f64);
                s.allowed = Some((s.allowed.unwrap_or(all as f64) / 2.0).max(1.0));
                s.hold = Some(now + s.backoff.wait(s.refusals + 2));
            }
        }
        if let Some(at) = wait.and_then(|wait| now.checked_add(wait)) {
            s.hold = s.hold.max(Some(at));
        }
        if s.end.is_some() {
            return;
        }
        let patience = match kind {
            Kind::Fatal(e) => {
                s.end = Some(Ended::Failed(e));
                return;
            }
            Kind::Expired => self.options.give_up_after.min(EXPIRED_PATIENCE),
            _ => self.options.give_up_after,
        };
        if wait.is_some_and(|wait| wait > patience) {
            let seconds = wait.unwrap_or_default().as_secs();
            let what = format!("{whom} wants to be asked again in {seconds} s; it said");
            let e = Error::new(ErrorKind::Read, what).because(why);
            s.end = Some(Ended::Failed(
                e.hint("go on then; --give-up-after sets how long to wait"),
            ));
            return;
        }
        let since = *s.stalled.get_or_insert(now);
        if since.elapsed() >= patience {
            let seconds = patience.as_secs();
            let what =
                format!("nothing could be read from {whom} for {seconds} s; the last answer");
            let hint = match kind {
                Kind::Expired => "renew the credentials, then go on",
                _ => "go on once it answers; --give-up-after sets how long to try",
            };
            let e = Error::new(ErrorKind::Read, what).because(why).hint(hint);
            s.end = Some(Ended::Failed(e));
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

#[cfg(test)]
mod outages;
#[cfg(test)]
mod tests;
