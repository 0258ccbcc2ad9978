//! The shared state of pending reads: waited-for hashes, the queue, the cache of answers.

use crate::base::hash::Hash;
use crate::commands::serve::metrics::Metrics;
use crate::flow::concurrency::Concurrency;
use moka::sync::Cache;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Hashes that may be waited for at once, each with half a KiB.
pub(super) const MAX_WAITING: usize = 100_000;

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

/// State of the requests and the [reader](crate::commands::serve::table_reader).
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Something was queued.
    pub(super) came: Notify,
    pub(super) cache: Option<Cache<Hash, Kept>>,
    pub(super) ttl: Duration,
    pub(super) metrics: Arc<Metrics>,
}

/// An answer of the table, and since when.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) at: Instant,
    /// Its fields; nothing when it is unknown.
    pub(super) fields: Option<Arc<str>>,
}

/// The pending hashes.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) open: HashMap<Hash, Open>,
    /// What is to be asked, and since when. May name what is not open any more, or what
    /// is being asked already.
    pub(super) queue: VecDeque<(Hash, Instant)>,
}

/// A hash that is waited for. Whoever waits has a receiver: how many there are is known
/// without looking at each.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) answer: watch::Sender<Option<Found>>,
    /// It is in a call, or waits for its next one.
    pub(super) asked: bool,
    pub(super) tries: u32,
}

impl Open {
    /// Whether somebody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.answer.receiver_count() > 0
    }
}

impl Shared {
    /// Nothing pending, and a cache as `options` have it.
    pub(super) fn new(options: &ReadOptions, metrics: Arc<Metrics>) -> Shared {
        let ttl = options.cache_ttl;
        let cache = (options.cache_entries > 0 && !ttl.is_zero()).then(|| {
            Cache::builder()
                .max_capacity(options.cache_entries)
                .weigher(|_, kept: &Kept| {
                    let bytes = kept.fields.as_ref().map_or(0, |f| f.len());
                    // At most 400 KB.
                    u32::try_from(bytes.div_ceil(ENTRY_BYTES).max(1)).unwrap_or(u32::MAX)
                })
                .time_to_live(ttl)
                .build()
        });
        Shared {
            inner: Mutex::default(),
            came: Notify::new(),
            cache,
            ttl,
            metrics,
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is queued, and since when the first of it.
    pub(super) fn queued(&self) -> Option<(usize, Instant)> {
        let inner = self.inner();
        let (_, since) = inner.queue.front()?;
        Some((inner.queue.len(), *since))
    }

    /// The keys of the next call, no more than `most`.
    pub(super) fn next_keys(&self, most: usize) -> Vec<Hash> {
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
    pub(super) fn settle(&self, hash: &Hash, found: &Found) {
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
