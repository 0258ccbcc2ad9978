//! The gate: lets in the owners of API keys, each at its rate.
//!
//! Each name has a bucket of one second of its rate. As in [`token_bucket`](crate::flow::token_bucket),
//! a request that asks for more than the bucket ever holds goes when it is full, and
//! what comes after it waits the longer.

use crate::base::error::Result;
use crate::commands::serve::api_keys::{Keys, read_file};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// The least time between two warnings that the file cannot be read.
const LEAST_BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// What a file was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Seen {
    fn of(path: &Path) -> Option<Seen> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Seen {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }
}

/// How the file was found.
#[derive(Debug, Default)]
struct Looked {
    /// As it was when it was read last.
    read: Option<Seen>,
    /// When it was said that it cannot be read, since then.
    warned: Option<Instant>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There is no key.
    NoKey,
    /// There is no such key.
    WrongKey,
}

/// Lets in who has a key, as often as it may. See the [module](self).
#[derive(Debug)]
pub(crate) struct Gate {
    file: Option<PathBuf>,
    seen: Mutex<Looked>,
    /// Nothing: whoever comes is let in.
    keys: Option<RwLock<Arc<Keys>>>,
    /// Requests a second of each name.
    rate: Option<f64>,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

impl Gate {
    /// One that lets everybody in, `rate` requests a second of all together.
    pub(crate) fn open(rate: Option<f64>) -> Gate {
        Gate::with(None, None, rate)
    }

    /// One that lets in who has one of `keys`, `rate` requests a second of each.
    #[cfg(any(test, feature = "lambda"))]
    pub(crate) fn of_keys(keys: Keys, rate: Option<f64>) -> Gate {
        Gate::with(None, Some(keys), rate)
    }

    /// One with the keys of the file at `path`, which is read again when it changes.
    ///
    /// # Errors
    /// As [`read_file`].
    pub(crate) fn of_file(path: &Path, rate: Option<f64>) -> Result<Gate> {
        // Before it is read: what is written in between is seen later.
        let seen = Seen::of(path);
        let keys = read_file(path)?;
        if keys.is_empty() {
            tracing::warn!(
                "{} has no key: nobody is let in until it has one (--new-key NAME)",
                path.display()
            );
        }
        let gate = Gate::with(Some(path.to_owned()), Some(keys), rate);
        gate.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read = seen;
        Ok(gate)
    }

    fn with(file: Option<PathBuf>, keys: Option<Keys>, rate: Option<f64>) -> Gate {
        Gate {
            file,
            seen: Mutex::default(),
            keys: keys.map(|keys| RwLock::new(Arc::new(keys))),
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Whether a key is needed.
    pub(super) fn wants_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Whose `key` it is; an empty name where none is needed.
    pub(crate) fn enter(&self, key: Option<&[u8]>) -> std::result::Result<Arc<str>, Denied> {
        let Some(keys) = &self.keys else {
            return Ok("".into());
        };
        let key = key.ok_or(Denied::NoKey)?;
        let keys = keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.owner(key).ok_or(Denied::WrongKey)
    }

    /// Takes `count` requests of `name`, or says how long to wait.
    pub(super) fn charge(
        &self,
        name: &Arc<str>,
        count: usize,
    ) -> std::result::Result<(), Duration> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry(name.clone())
            .or_insert_with(|| Bucket::full(rate, now));
        bucket.take(count as f64, now)
    }

    /// Reads the file again where it has changed, or in any case when `anyway`. A file
    /// that cannot be read leaves the keys as they are.
    pub(super) fn reread(&self, anyway: bool) {
        let (Some(path), Some(keys)) = (&self.file, &self.keys) else {
            return;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Seen::of(path);
        if !anyway && seen.read.is_some() && seen.read == now {
            return;
        }
        // Only what was read was seen: what could not be is tried again, for a key that
        // was taken out of the file must not stay valid.
        match read_file(path) {
            Ok(new) => {
                *seen = Looked {
                    read: now,
                    warned: None,
                };
                tracing::info!("{} was read again: {} API keys", path.display(), new.len());
                let names: Vec<_> = new.names().cloned().collect();
                *keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
                buckets.retain(|name, _| names.contains(name));
            }
            Err(e) => {
                let due = |at: Instant| at.elapsed() >= LEAST_BETWEEN_WARNINGS;
                if anyway || seen.warned.is_none_or(due) {
                    seen.warned = Some(Instant::now());
                    tracing::warn!("{e:#}: the API keys stay as they were, and it is tried again");
                }
            }
        }
    }
}

/// How much of a rate there is to be used.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    level: f64,
    seen: Instant,
}

impl Bucket {
    fn full(rate: f64, now: Instant) -> Bucket {
        Bucket {
            rate,
            level: rate.max(1.0),
            seen: now,
        }
    }

    fn take(&mut self, count: f64, now: Instant) -> std::result::Result<(), Duration> {
        let size = self.rate.max(1.0);
        let elapsed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.seen = now;
        self.level = (self.level + elapsed * self.rate).min(size);
        let needed = count.min(size);
        if self.level + 1e-9 >= needed {
            self.level -= count;
            return Ok(());
        }
        let wait = (needed - self.level) / self.rate;
        Err(Duration::from_secs_f64(wait.min(86_400.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::serve::api_keys::new_key;

    #[test]
    fn a_changed_file_counts_from_then_on_and_a_damaged_one_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let alice = new_key("alice", &path).expect("a key");
        let gate = Gate::of_file(&path, None).expect("keys");
        gate.reread(false);
        let bob = new_key("bob", &path).expect("a key");
        assert!(gate.enter(Some(bob.as_bytes())).is_err());
        gate.reread(false);
        assert!(gate.enter(Some(bob.as_bytes())).is_ok());
        std::fs::write(&path, "alice\n").expect("damaged");
        gate.reread(false);
        assert!(gate.enter(Some(alice.as_bytes())).is_ok());
        std::fs::write(&path, "# nobody\n").expect("written");
        gate.reread(false);
        assert!(gate.enter(Some(alice.as_bytes())).is_err());
    }

    #[test]
    fn a_file_that_could_not_be_read_is_read_again_though_it_looks_the_same() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let alice = new_key("alice", &path).expect("a key");
        let gate = Gate::of_file(&path, None).expect("keys");
        // As one that may not be read for now: the same file, time and length.
        let good = "# nobody has a key any more\n";
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let write = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let file = std::fs::File::options().write(true).open(&path);
            file.expect("a file").set_modified(time).expect("set");
        };
        write(&good.replace('#', "x"));
        gate.reread(false);
        assert!(gate.enter(Some(alice.as_bytes())).is_ok());
        write(good);
        gate.reread(false);
        assert!(gate.enter(Some(alice.as_bytes())).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_name_has_its_rate_and_a_large_request_makes_the_next_wait() {
        let gate = Gate::open(Some(10.0));
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        for _ in 0..10 {
            assert_eq!(gate.charge(&alice, 1), Ok(()));
        }
        assert_eq!(gate.charge(&alice, 1), Err(Duration::from_millis(100)));
        assert_eq!(gate.charge(&bob, 1), Ok(()));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(
            gate.charge(&alice, 1000),
            Ok(()),
            "one that is larger goes when it is full"
        );
        tokio::time::advance(Duration::from_secs(50)).await;
        let wait = gate.charge(&alice, 1).expect_err("in debt");
        assert_eq!(wait.as_secs_f64().round(), 49.0);
        let slow = Gate::open(Some(0.5));
        assert_eq!(slow.charge(&alice, 1), Ok(()));
        assert_eq!(slow.charge(&alice, 1), Err(Duration::from_secs(2)));
        assert_eq!(Gate::open(None).charge(&alice, 1_000_000), Ok(()));
    }
}
