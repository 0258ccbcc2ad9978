//! Shared state of pending reads: pending hashes, the queue, the cache of answers.

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

/// Maximum number of pending hashes, each of about half a KiB.
pub(super) const MAX_PENDING: usize = 100_000;

/// Item bytes that count as one cache entry. The overhead of an entry is about as large.
const CACHE_ENTRY_BYTES: usize = 1024;

/// Result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The table has an item, with these fields: a JSON object without its braces.
    Known(Arc<str>),
    /// The table has no item.
    Unknown,
    /// The look-up failed.
    Error(ReadError),
}

/// Reason of a failed look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadError {
    /// Too many hashes are pending.
    Busy,
    /// The table did not respond before the timeout.
    Late,
    /// The response would be too large.
    Large,
    /// DynamoDB rejected the call permanently, with this error code.
    Refused(Option<String>),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Busy => f.write_str("too many look-ups are pending; retry later"),
            ReadError::Late => f.write_str("the table did not respond in time; retry later"),
            ReadError::Large => {
                f.write_str("the response would exceed 16 MiB; send fewer per request")
            }
            ReadError::Refused(Some(code)) => write!(f, "cannot read the table ({code})"),
            ReadError::Refused(None) => f.write_str("cannot read the table"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ReadOptions {
    /// Maximum number of calls in flight.
    pub(super) concurrency: Concurrency,
    /// True for strongly consistent reads.
    pub(super) consistent: bool,
    /// Time that answers are cached; zero turns the cache off.
    pub(super) cache_ttl: Duration,
    /// Maximum number of cached answers, of up to 1 KiB each.
    pub(super) cache_entries: u64,
}

/// State of the requests and the [reader](crate::commands::serve::table_reader).
#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Notified after hashes were queued.
    pub(super) queue_changed: Notify,
    pub(super) cache: Option<Cache<Hash, CachedItem>>,
    pub(super) ttl: Duration,
    pub(super) metrics: Arc<Metrics>,
}

/// A cached answer and the time of its read.
#[derive(Debug, Clone)]
pub(super) struct CachedItem {
    pub(super) read_at: Instant,
    /// Fields of the item; `None` if the hash is unknown.
    pub(super) fields: Option<Arc<str>>,
}

/// The pending hashes.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) pending: HashMap<Hash, Pending>,
    /// Hashes to read. Can contain hashes that are no longer pending, or that the reader has
    /// already.
    pub(super) queue: VecDeque<Hash>,
}

/// A pending hash. Every waiting request holds a receiver, so the channel counts them.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) answer: watch::Sender<Option<Found>>,
    /// True while the reader has the hash: in its queue or in a call.
    pub(super) in_flight: bool,
}

impl Pending {
    /// True if a request still waits for the hash.
    pub(super) fn is_wanted(&self) -> bool {
        self.answer.receiver_count() > 0
    }
}

impl Shared {
    /// Creates an empty state, with a cache as in `options`.
    pub(super) fn new(options: &ReadOptions, metrics: Arc<Metrics>) -> Shared {
        let ttl = options.cache_ttl;
        let cache = (options.cache_entries > 0 && !ttl.is_zero()).then(|| {
            Cache::builder()
                .max_capacity(options.cache_entries)
                .weigher(|_, kept: &CachedItem| {
                    let bytes = kept.fields.as_ref().map_or(0, |f| f.len());
                    // An item has at most 400 KB.
                    u32::try_from(bytes.div_ceil(CACHE_ENTRY_BYTES).max(1)).unwrap_or(u32::MAX)
                })
                .time_to_live(ttl)
                .build()
        });
        Shared {
            inner: Mutex::default(),
            queue_changed: Notify::new(),
            cache,
            ttl,
            metrics,
        }
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of pending hashes.
    pub(super) fn pending(&self) -> u64 {
        self.inner().pending.len() as u64
    }

    /// True if a request waits for `hash`. Otherwise it is no longer pending.
    pub(super) fn is_wanted(&self, hash: &Hash) -> bool {
        let mut inner = self.inner();
        match inner.pending.get(hash) {
            Some(entry) if entry.is_wanted() => true,
            _ => {
                inner.pending.remove(hash);
                false
            }
        }
    }

    /// Takes the next keys from the queue, at most `most`.
    pub(super) fn next_keys(&self, most: usize) -> Vec<Hash> {
        let mut inner = self.inner();
        let Inner {
            pending: open,
            queue,
        } = &mut *inner;
        let mut keys = Vec::with_capacity(most);
        while keys.len() < most
            && let Some(hash) = queue.pop_front()
        {
            let Some(entry) = open.get_mut(&hash).filter(|e| !e.in_flight) else {
                continue;
            };
            if entry.is_wanted() {
                entry.in_flight = true;
                keys.push(hash);
            } else {
                open.remove(&hash);
            }
        }
        keys
    }

    /// Caches the answer and sends it to every request that waits for `hash`.
    pub(super) fn resolve(&self, hash: &Hash, found: &Found) {
        let kept = match found {
            Found::Known(fields) => Some(Some(fields.clone())),
            Found::Unknown => Some(None),
            Found::Error(_) => None,
        };
        if let (Some(cache), Some(fields)) = (&self.cache, kept) {
            let at = Instant::now();
            cache.insert(
                *hash,
                CachedItem {
                    read_at: at,
                    fields,
                },
            );
        }
        let entry = self.inner().pending.remove(hash);
        if let Some(entry) = entry {
            entry.answer.send_replace(Some(found.clone()));
        }
    }
}
