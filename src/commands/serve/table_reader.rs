//! The reader of the table: pending hashes → BatchGetItem calls, at the table's pace.

use crate::aws::error::{CallError, Meaning};
use crate::base::hash::Hash;
use crate::commands::serve::pending::{Found, Inner, Shared, Trouble};
use crate::dynamodb::batch_get::plain_json::WholeAnswer;
use crate::dynamodb::batch_get::request::{
    CONSISTENT_READ_UNITS, EVENTUAL_READ_UNITS, MAX_GET_KEYS,
};
use crate::dynamodb::client::operation::BatchGet;
use crate::flow::backoff::Backoff;
use crate::flow::capacity::Consumed;
use crate::flow::concurrency::{Bound, Concurrency};
use crate::flow::rate_limiter::Pace;
use crate::pipeline::contents::either_case::{Answered, EitherCase};
use futures::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a key waits for others to share its call, while calls are in flight.
pub(super) const LINGER: Duration = Duration::from_millis(2);

/// The longest wait before a call is made again. Whoever asks waits for half a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The least time between two warnings that the table cannot be asked.
const LEAST_BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The smallest answer that may have left keys unread because it was full: it ends
/// before the item that would make it larger than 16 MiB.
const FULL_ANSWER: usize = 15 * 1024 * 1024;

/// How much more units the largest item takes, of 400 KB, than the smallest.
const LARGEST_OVER_LEAST: f64 = 100.0;

/// Asks the table for what is queued. See [`Reads`](crate::commands::serve::reads::Reads).
#[derive(Debug)]
pub(super) struct Asker<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) table: T,
    pub(super) questions: EitherCase,
    pub(super) pace: Arc<Pace>,
    pub(super) concurrency: Concurrency,
    pub(super) consistent: bool,
    pub(super) backoff: Backoff,
}

/// What the loop knows.
struct State {
    pub(crate) backoff: Backoff,
    /// What waits for its next try, until when.
    again: BTreeMap<(Instant, u64), Vec<Hash>>,
    number: u64,
    /// Read units of a small item.
    least: f64,
    /// Read units of a key of late.
    pub(crate) key_units: f64,
    /// Calls in flight, at most.
    pub(crate) bound: Bound,
    warned: Option<Instant>,
}

/// One call.
struct Call {
    keys: Vec<Hash>,
    /// Units that were taken for it.
    paid: f64,
    begun: Instant,
}

impl<T: BatchGet + Send + Sync> Asker<T> {
    /// For ever.
    pub(super) async fn run(mut self) -> Infallible {
        let least = match self.consistent {
            true => CONSISTENT_READ_UNITS,
            false => EVENTUAL_READ_UNITS,
        };
        let mut s = State {
            backoff: std::mem::replace(&mut self.backoff, Backoff::new(fastrand::Rng::new())),
            again: BTreeMap::new(),
            number: 0,
            least,
            key_units: least,
            bound: Bound::new(self.concurrency),
            warned: None,
        };
        let this = &self;
        let mut in_flight = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            let turn = this.pace.turn(now);
            this.take_up(&mut s, turn.is_probe(), now);
            let queued = this.shared.queued();
            let call_units = s.key_units * MAX_GET_KEYS as f64;
            let room = in_flight.len() < s.bound.calls(this.pace.rate(), call_units);
            let (count, since) = queued.unwrap_or((0, now));
            let most = if turn.is_probe() { 1 } else { MAX_GET_KEYS };
            let count = count.min(most);
            let due = count == most || in_flight.is_empty() || since + LINGER <= now;
            let may_send = count > 0 && room && due && turn.is_due(now);
            let units = count as f64 * s.key_units;
            let next_try = s.again.keys().next().map(|(at, _)| *at);
            let lingering = (count > 0 && room && !due).then_some(since + LINGER);
            let wake = [next_try, lingering, turn.wake(now)];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                biased;
                Some((call, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                    this.shared.metrics.update(|c| c.calls_in_flight = in_flight.len() as u64);
                    this.look_at(&mut s, call, answer);
                }
                () = this.pace.take(turn, units), if may_send => {
                    let keys = this.shared.next_keys(count);
                    if keys.is_empty() {
                        // All of them had left; a probe had paid nothing.
                        if !turn.is_probe() {
                            this.pace.give_back(units);
                        }
                        continue;
                    }
                    in_flight.push(this.send(keys, units));
                    this.shared.metrics.update(|c| c.calls_in_flight = in_flight.len() as u64);
                }
                () = this.shared.came.notified() => {}
                () = sleep_until(wake), if wake.is_some() => {}
            }
        }
    }

    /// Queues what is to be tried again by now, before all else. While the table is
    /// `probed`, queues all of it behind all else, so that not always the same key is
    /// tried.
    fn take_up(&self, s: &mut State, probed: bool, now: Instant) {
        while let Some(entry) = s.again.first_entry()
            && (probed || entry.key().0 <= now)
        {
            let hashes = entry.remove();
            let mut inner = self.shared.inner();
            let Inner { open, queue } = &mut *inner;
            for hash in hashes {
                if let Some(entry) = open.get_mut(&hash) {
                    entry.asked = false;
                    // No lingering: it has waited long enough.
                    let queued = (hash, now - LINGER);
                    match probed {
                        true => queue.push_back(queued),
                        false => queue.push_front(queued),
                    }
                }
            }
        }
    }

    /// Makes one call, for which `paid` units were taken.
    async fn send(&self, keys: Vec<Hash>, paid: f64) -> (Call, Result<Answered, CallError>) {
        self.shared.metrics.update(|c| {
            c.calls += 1;
            c.keys += keys.len() as u64;
        });
        let begun = Instant::now();
        let answer = self.questions.ask(&self.table, &keys, self.consistent);
        let answer = answer.await;
        (Call { keys, paid, begun }, answer)
    }

    /// Takes what came back for `call`.
    fn look_at(&self, s: &mut State, call: Call, answer: Result<Answered, CallError>) {
        let full = answer.as_ref().is_ok_and(|a| a.bytes >= FULL_ANSWER);
        let further = answer.as_ref().map_or(0, |a| a.calls.saturating_sub(1));
        let answer =
            answer.and_then(|a| sorted(&call.keys, a.answer).map_err(CallError::strange_answer));
        match answer {
            Ok(sorted) => self.answered(s, &call, sorted, full, further),
            Err(error) => self.failed(s, call, error),
        }
    }

    /// Passes on what was read, and has the rest asked for again. The answer was `full`
    /// when it had no room for the rest; `further` calls were made for it.
    fn answered(&self, s: &mut State, call: &Call, sorted: Sorted, full: bool, further: u64) {
        let (found, unread, consumed) = sorted;
        let each = call.paid / call.keys.len() as f64;
        // First what was refused: the table accepts some.
        if !unread.is_empty() {
            let paid = each * unread.len() as f64;
            // What had no room in the answer was not refused.
            let refused = if full {
                0.0
            } else {
                unread.len() as f64 * s.least
            };
            self.settle_refusal(paid, refused, &[]);
        }
        if !found.is_empty() {
            s.bound.took(call.begun, Instant::now());
            let read = found.len() as f64;
            if self.pace.accepted(each * read, consumed.as_ref()) {
                self.take_up(s, true, Instant::now());
            }
            if let Some(consumed) = &consumed {
                s.key_units = smoothed(s.key_units, s.least, consumed.total, read);
            }
        }
        let units = consumed.map_or(found.len() as f64 * s.least, |c| c.total);
        for (hash, found) in &found {
            self.shared.settle(hash, found);
        }
        let open = self.shared.inner().open.len() as u64;
        self.shared.metrics.update(|c| {
            c.calls += further;
            c.unprocessed += unread.len() as u64;
            c.read_units += units;
            c.waiting = open;
            c.answered = Some(Instant::now());
            c.failing = false;
        });
        self.ask_again(s, unread);
    }

    /// Settles the units of a call that failed; its keys are asked for again, unless the
    /// table refuses to be asked.
    fn failed(&self, s: &mut State, call: Call, error: CallError) {
        let Call { keys, paid, .. } = call;
        let throttled = error.meaning == Meaning::Throttled;
        let units = (keys.len() as f64 * s.least).min(paid);
        match throttled {
            true => self.settle_refusal(paid, units, &error.reasons),
            false => self.give_back(paid - units),
        }
        self.shared.metrics.update(|c| {
            c.throttled += u64::from(throttled);
            c.failed += u64::from(!throttled);
            c.failing = true;
        });
        tracing::debug!("a call of {} keys failed: {error}", keys.len());
        // The pace says what is throttled.
        if !throttled
            && s.warned
                .is_none_or(|at| at.elapsed() >= LEAST_BETWEEN_WARNINGS)
        {
            s.warned = Some(Instant::now());
            tracing::warn!("the table cannot be asked: {error}");
        }
        match error.meaning {
            Meaning::Permanent | Meaning::Invalid => {
                let found = Found::Error(Trouble::Refused(error.code));
                keys.iter()
                    .for_each(|hash| self.shared.settle(hash, &found));
            }
            _ => self.ask_again(s, keys),
        }
    }

    /// Of `paid` units those of small items, `refused`, are gone; that items are large is
    /// not known of what was not read.
    fn settle_refusal(&self, paid: f64, refused: f64, reasons: &[(String, String)]) {
        let refused = refused.min(paid);
        if refused > 0.0 {
            self.pace.refused(refused, reasons);
        }
        self.give_back(paid - refused);
    }

    fn give_back(&self, units: f64) {
        if units > 0.0 {
            self.pace.give_back(units);
        }
    }

    /// Has `keys` asked for again after a while.
    fn ask_again(&self, s: &mut State, keys: Vec<Hash>) {
        let mut inner = self.shared.inner();
        let mut tries = 0;
        let mut wanted = Vec::with_capacity(keys.len());
        for hash in keys {
            let Some(entry) = inner.open.get_mut(&hash) else {
                continue;
            };
            if entry.is_wanted() {
                entry.tries = entry.tries.saturating_add(1);
                tries = tries.max(entry.tries);
                wanted.push(hash);
            } else {
                inner.open.remove(&hash);
            }
        }
        drop(inner);
        if !wanted.is_empty() {
            let wait = s.backoff.wait(tries).min(LONGEST_WAIT);
            s.number += 1;
            s.again.insert((Instant::now() + wait, s.number), wanted);
        }
    }
}

/// What a key takes of late, once `read` more of them took `total` units: the more keys,
/// the more that counts, and never beyond what the largest item takes.
fn smoothed(before: f64, least: f64, total: f64, read: f64) -> f64 {
    let now = total / read.max(1.0);
    let weight = 0.5 * (read / MAX_GET_KEYS as f64).min(1.0);
    let after = before + (now - before) * weight;
    after.clamp(least, least * LARGEST_OVER_LEAST)
}

/// What was found, what was left unread, and what it took.
type Sorted = (Vec<(Hash, Found)>, Vec<Hash>, Option<Consumed>);

/// What `answer` says of each of `keys`.
fn sorted(keys: &[Hash], answer: WholeAnswer) -> Result<Sorted, String> {
    let mut items: HashMap<Hash, String> = HashMap::with_capacity(answer.items.len());
    for item in answer.items {
        if items.insert(item.hash, item.fields).is_some() {
            return Err("an item came twice".to_owned());
        }
    }
    let asked_again = answer.unprocessed.len();
    let unread: HashSet<Hash> = answer.unprocessed.into_iter().collect();
    if unread.len() < asked_again {
        return Err("a key is unprocessed twice".to_owned());
    }
    let mut found = Vec::with_capacity(keys.len());
    let mut left = Vec::with_capacity(unread.len());
    for hash in keys {
        match (items.remove(hash), unread.contains(hash)) {
            (Some(fields), false) => found.push((*hash, Found::Known(fields.into()))),
            (None, false) => found.push((*hash, Found::Unknown)),
            (None, true) => left.push(*hash),
            (Some(_), true) => return Err("a key was read and is unprocessed".to_owned()),
        }
    }
    if !items.is_empty() || left.len() < unread.len() {
        return Err("it holds a key that was not asked for".to_owned());
    }
    Ok((found, left, answer.consumed))
}

/// Waits until `at`, or for ever.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_takes_follows_full_calls_and_hardly_one_large_item() {
        let after = smoothed(0.5, 0.5, 50.0, 1.0);
        assert!((0.5..1.0).contains(&after), "{after}");
        let mut units = 0.5;
        for _ in 0..10 {
            units = smoothed(units, 0.5, 400.0, 100.0);
        }
        assert!((3.9..=4.0).contains(&units), "{units}");
        for _ in 0..20 {
            units = smoothed(units, 0.5, 1e9, 100.0);
        }
        assert_eq!(units, 50.0);
        assert_eq!(smoothed(0.5, 0.5, 0.0, 100.0), 0.5);
    }
}
