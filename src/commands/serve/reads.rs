//! Hashes that many ask for at once → as few BatchGetItem calls as they need.
//!
//! [`Reads`] is what a request asks: it looks into the cache, joins whoever asks the
//! table for the same hash already, and else queues it. One [`Asker`] behind it
//! takes what has queued up, a hundred keys at a time, at the pace of the table: at
//! once while no call is in flight, else when a call is full or [`LINGER`] is over.
//! What is throttled or left unread is asked for again after a back-off, for as long
//! as somebody waits for it: who has waited for too long leaves, and a hash that
//! nobody waits for any more is not asked for.
//!
//! Bounded are the hashes that are waited for ([`MAX_WAITING`]), the calls in flight
//! and the cache. What the table said is remembered for some time, be it that a hash
//! is unknown; a failure is not.

use crate::aws::error::{CallError, Meaning};
use crate::base::hash::Hash;
use crate::commands::serve::metrics::Metrics;
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
use moka::sync::Cache;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long a key waits for others to share its call, while calls are in flight.
const LINGER: Duration = Duration::from_millis(2);

/// Hashes that may be waited for at once, each with half a KiB.
const MAX_WAITING: usize = 100_000;

/// The longest wait before a call is made again. Whoever asks waits for half a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The least time between two warnings that the table cannot be asked.
const LEAST_BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The smallest answer that may have left keys unread because it was full: it ends
/// before the item that would make it larger than 16 MiB.
const FULL_ANSWER: usize = 15 * 1024 * 1024;

/// How much more units the largest item takes, of 400 KB, than the smallest.
const LARGEST_OVER_LEAST: f64 = 100.0;

/// What an entry of the cache takes besides its item, and what counts as one entry.
const ENTRY_BYTES: usize = 1024;

/// What the table says of a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there, with these fields: the inside of a JSON object.
    Known(Arc<str>),
    /// It is not.
    Unknown,
    /// That is not known.
    Error(Trouble),
}

/// Why a hash was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Too many are asked for.
    Busy,
    /// The table did not answer in time.
    Late,
    /// The answer would be too large.
    Large,
    /// The table refuses to be asked, with this code.
    Refused(Option<String>),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Busy => f.write_str("too much is asked for at the moment: try again later"),
            Trouble::Late => f.write_str("the table did not answer in time: try again later"),
            Trouble::Large => {
                f.write_str("the answer would be larger than 16 MiB: ask for fewer at once")
            }
            Trouble::Refused(Some(code)) => write!(f, "the table cannot be asked ({code})"),
            Trouble::Refused(None) => f.write_str("the table cannot be asked"),
        }
    }
}

/// How the table is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadOptions {
    /// Calls in flight, at most.
    pub(super) concurrency: Concurrency,
    /// Whether reads are strongly consistent.
    pub(super) consistent: bool,
    /// How long answers are remembered; not at all when this is zero.
    pub(super) cache_ttl: Duration,
    /// How many, of up to 1 KiB each.
    pub(super) cache_entries: u64,
}

/// See the [module](self). Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Something was queued.
    came: Notify,
    cache: Option<Cache<Hash, Kept>>,
    ttl: Duration,
    metrics: Arc<Metrics>,
}

/// An answer of the table, and since when.
#[derive(Debug, Clone)]
struct Kept {
    at: Instant,
    /// Its fields; nothing when it is unknown.
    fields: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<Hash, Open>,
    /// What is to be asked, and since when. May name what is not open any more, or what
    /// is being asked already.
    queue: VecDeque<(Hash, Instant)>,
}

/// A hash that is waited for. Whoever waits has a receiver: how many there are is known
/// without looking at each.
#[derive(Debug, Default)]
struct Open {
    answer: watch::Sender<Option<Found>>,
    /// It is in a call, or waits for its next one.
    asked: bool,
    tries: u32,
}

impl Open {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool {
        self.answer.receiver_count() > 0
    }
}

impl Reads {
    /// Both ends: what is asked, and what asks `table`.
    pub(super) fn new<T: BatchGet>(
        table: T,
        questions: EitherCase,
        pace: Arc<Pace>,
        metrics: Arc<Metrics>,
        options: ReadOptions,
        backoff: Backoff,
    ) -> (Reads, Asker<T>) {
        let ReadOptions {
            cache_ttl: ttl,
            cache_entries,
            ..
        } = options;
        let cache = (cache_entries > 0 && !ttl.is_zero()).then(|| {
            Cache::builder()
                .max_capacity(cache_entries)
                .weigher(|_, kept: &Kept| {
                    let bytes = kept.fields.as_ref().map_or(0, |f| f.len());
                    // At most 400 KB.
                    u32::try_from(bytes.div_ceil(ENTRY_BYTES).max(1)).unwrap_or(u32::MAX)
                })
                .time_to_live(ttl)
                .build()
        });
        let shared = Arc::new(Shared {
            inner: Mutex::default(),
            came: Notify::new(),
            cache,
            ttl,
            metrics,
        });
        let asker = Asker {
            shared: shared.clone(),
            table,
            questions,
            pace,
            concurrency: options.concurrency,
            consistent: options.consistent,
            backoff,
        };
        (Reads(shared), asker)
    }

    /// What the table says of each of `hashes`, in their order, by `deadline` at the
    /// latest.
    pub(super) async fn get(&self, hashes: &[Hash], deadline: Instant) -> Vec<Found> {
        let mut found: Vec<Option<Found>> = self.cached(hashes);
        let mut waiting = self.queue(hashes, &mut found);
        for (at, _, answer) in &mut waiting.each {
            if let Some(receiver) = answer {
                // One that came in time counts, however late it is looked at.
                let answered = receiver.wait_for(Option::is_some);
                let came = tokio::time::timeout_at(deadline, answered).await;
                let came = came.map(|told| told.ok().and_then(|told| told.clone()));
                if let Ok(told) = came {
                    found[*at] = told;
                    *answer = None;
                }
            }
        }
        for (at, first) in std::mem::take(&mut waiting.same) {
            found[at] = found[first].clone();
        }
        drop(waiting);
        let late = || Found::Error(Trouble::Late);
        found.into_iter().map(|f| f.unwrap_or_else(late)).collect()
    }

    fn cached(&self, hashes: &[Hash]) -> Vec<Option<Found>> {
        let Some(cache) = &self.0.cache else {
            return vec![None; hashes.len()];
        };
        let of = |hash| {
            let kept = cache.get(hash).filter(|k| k.at.elapsed() < self.0.ttl)?;
            Some(kept.fields.map_or(Found::Unknown, Found::Known))
        };
        let found: Vec<_> = hashes.iter().map(of).collect();
        let hits = found.iter().flatten().count();
        self.0.metrics.update(|c| {
            c.cache_hits += hits as u64;
            c.cache_misses += (hashes.len() - hits) as u64;
        });
        found
    }

    /// Queues those that are not `found`, each once.
    fn queue(&self, hashes: &[Hash], found: &mut [Option<Found>]) -> Waiting<'_> {
        let mut firsts = HashMap::new();
        let (mut distinct, mut same) = (Vec::new(), Vec::new());
        for (at, (hash, _)) in hashes
            .iter()
            .zip(&*found)
            .enumerate()
            .filter(|(_, (_, found))| found.is_none())
        {
            match firsts.entry(*hash) {
                Entry::Occupied(first) => same.push((at, *first.get())),
                Entry::Vacant(first) => {
                    first.insert(at);
                    distinct.push((at, *hash));
                }
            }
        }
        let mut each = Vec::with_capacity(distinct.len());
        let (mut queued, mut joined) = (false, same.len() as u64);
        let now = Instant::now();
        let mut inner = self.0.inner();
        for (at, hash) in distinct {
            let Inner { open, queue } = &mut *inner;
            let full = open.len() >= MAX_WAITING;
            let answer = match open.entry(hash) {
                Entry::Occupied(entry) => {
                    joined += 1;
                    entry.get().answer.subscribe()
                }
                Entry::Vacant(_) if full => {
                    found[at] = Some(Found::Error(Trouble::Busy));
                    continue;
                }
                Entry::Vacant(entry) => {
                    queue.push_back((hash, now));
                    queued = true;
                    entry.insert(Open::default()).answer.subscribe()
                }
            };
            each.push((at, hash, Some(answer)));
        }
        let open = inner.open.len() as u64;
        drop(inner);
        if queued {
            self.0.came.notify_one();
        }
        if !each.is_empty() {
            self.0.metrics.update(|c| {
                c.joined += joined;
                c.waiting = open;
            });
        }
        Waiting {
            shared: &self.0,
            each,
            same,
        }
    }

    /// How many wait for `hash`.
    #[cfg(test)]
    pub(super) fn waiting_for(&self, hash: &Hash) -> usize {
        let inner = self.0.inner();
        let open = inner.open.get(hash);
        open.map_or(0, |o| o.answer.receiver_count())
    }
}

/// What the table says of a hash, once it has.
type Answer = watch::Receiver<Option<Found>>;

/// What a request waits for. What has not come when it is dropped is left to others.
struct Waiting<'a> {
    shared: &'a Shared,
    /// Where in the request, what, and the answer until it has come.
    each: Vec<(usize, Hash, Option<Answer>)>,
    /// Where in the request what is asked for there comes again, and where it is first.
    same: Vec<(usize, usize)>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut left = Vec::new();
        for (_, hash, answer) in &mut self.each {
            if answer.take().is_some() {
                left.push(*hash);
            }
        }
        if left.is_empty() {
            return;
        }
        let mut inner = self.shared.inner();
        for hash in left {
            if let Some(entry) = inner.open.get(&hash)
                && !entry.is_wanted()
                && !entry.asked
            {
                inner.open.remove(&hash);
            }
        }
        // Whoever comes and goes while nothing can be asked must not fill it.
        let Inner { open, queue } = &mut *inner;
        if queue.len() > open.len() + open.len() / 8 + 16 {
            let mut seen = HashSet::new();
            queue.retain(|(hash, _)| open.contains_key(hash) && seen.insert(*hash));
        }
        let open = inner.open.len() as u64;
        drop(inner);
        self.shared.metrics.update(|c| c.waiting = open);
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is queued, and since when the first of it.
    fn queued(&self) -> Option<(usize, Instant)> {
        let inner = self.inner();
        let (_, since) = inner.queue.front()?;
        Some((inner.queue.len(), *since))
    }

    /// The keys of the next call, no more than `most`.
    fn next_keys(&self, most: usize) -> Vec<Hash> {
        let mut inner = self.inner();
        let Inner { open, queue } = &mut *inner;
        let mut keys = Vec::with_capacity(most);
        while keys.len() < most
            && let Some((hash, _)) = queue.pop_front()
        {
            let Some(entry) = open.get_mut(&hash).filter(|e| !e.asked) else {
                continue;
            };
            if entry.is_wanted() {
                entry.asked = true;
                keys.push(hash);
            } else {
                open.remove(&hash);
            }
        }
        keys
    }

    /// Tells who waits for `hash`.
    fn settle(&self, hash: &Hash, found: &Found) {
        let kept = match found {
            Found::Known(fields) => Some(Some(fields.clone())),
            Found::Unknown => Some(None),
            Found::Error(_) => None,
        };
        if let (Some(cache), Some(fields)) = (&self.cache, kept) {
            let at = Instant::now();
            cache.insert(*hash, Kept { at, fields });
        }
        let entry = self.inner().open.remove(hash);
        if let Some(entry) = entry {
            entry.answer.send_replace(Some(found.clone()));
        }
    }
}

/// Asks the table for what is queued. See the [module](self).
#[derive(Debug)]
pub(super) struct Asker<T> {
    shared: Arc<Shared>,
    table: T,
    questions: EitherCase,
    pace: Arc<Pace>,
    concurrency: Concurrency,
    consistent: bool,
    backoff: Backoff,
}

/// What the loop knows.
struct State {
    backoff: Backoff,
    /// What waits for its next try, until when.
    again: BTreeMap<(Instant, u64), Vec<Hash>>,
    number: u64,
    /// Read units of a key of late.
    key_units: f64,
    /// Calls in flight, at most.
    bound: Bound,
    warned: Option<Instant>,
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
                Some((keys, paid, begun, answer)) = in_flight.next(), if !in_flight.is_empty() => {
                    this.shared.metrics.update(|c| c.calls_in_flight = in_flight.len() as u64);
                    this.look_at(&mut s, least, keys, paid, begun, answer);
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
    async fn send(
        &self,
        keys: Vec<Hash>,
        paid: f64,
    ) -> (Vec<Hash>, f64, Instant, Result<Answered, CallError>) {
        self.shared.metrics.update(|c| {
            c.calls += 1;
            c.keys += keys.len() as u64;
        });
        let begun = Instant::now();
        let answer = self.questions.ask(&self.table, &keys, self.consistent);
        let answer = answer.await;
        (keys, paid, begun, answer)
    }

    /// Takes what came back for `keys`.
    fn look_at(
        &self,
        s: &mut State,
        least: f64,
        keys: Vec<Hash>,
        paid: f64,
        begun: Instant,
        answer: Result<Answered, CallError>,
    ) {
        let full = answer.as_ref().is_ok_and(|a| a.bytes >= FULL_ANSWER);
        let further = answer.as_ref().map_or(0, |a| a.calls.saturating_sub(1));
        let answer =
            answer.and_then(|a| sorted(&keys, a.answer).map_err(CallError::strange_answer));
        let metrics = &self.shared.metrics;
        match answer {
            Ok((found, unread, consumed)) => {
                let each = paid / keys.len() as f64;
                // First what was refused: the table accepts some.
                if !unread.is_empty() {
                    let paid = each * unread.len() as f64;
                    // What had no room in the answer was not refused.
                    let refused = if full {
                        0.0
                    } else {
                        unread.len() as f64 * least
                    };
                    self.settle_refusal(paid, refused, &[]);
                }
                if !found.is_empty() {
                    s.bound.took(begun, Instant::now());
                    let read = found.len() as f64;
                    if self.pace.accepted(each * read, consumed.as_ref()) {
                        self.take_up(s, true, Instant::now());
                    }
                    if let Some(consumed) = &consumed {
                        s.key_units = smoothed(s.key_units, least, consumed.total, read);
                    }
                }
                let units = consumed.map_or(found.len() as f64 * least, |c| c.total);
                for (hash, found) in &found {
                    self.shared.settle(hash, found);
                }
                let open = self.shared.inner().open.len() as u64;
                metrics.update(|c| {
                    c.calls += further;
                    c.unprocessed += unread.len() as u64;
                    c.read_units += units;
                    c.waiting = open;
                    c.answered = Some(Instant::now());
                    c.failing = false;
                });
                self.ask_again(s, unread);
            }
            Err(error) => {
                let throttled = error.meaning == Meaning::Throttled;
                let units = (keys.len() as f64 * least).min(paid);
                match throttled {
                    true => self.settle_refusal(paid, units, &error.reasons),
                    false => self.give_back(paid - units),
                }
                metrics.update(|c| {
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

#[cfg(test)]
mod outages;
