//! Access control: admits clients with an API key, each up to its rate limit.
//!
//! Each key name has a bucket of one second of its rate. As in
//! [`token_bucket`](crate::flow::token_bucket), a request larger than the bucket is admitted
//! when the bucket is full, and the requests after it wait longer.

use crate::base::error::Result;
use crate::commands::serve::api_keys::{Keys, read_file};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Minimum time between two warnings that the file cannot be read.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Version of a file, compared to detect changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileVersion {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileVersion {
    fn from_path(path: &Path) -> Option<FileVersion> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(FileVersion {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    }
}

/// State of the key file at the last check.
#[derive(Debug, Default)]
struct KeyFileState {
    /// Version at the last successful read; `None` if there was none.
    read: Option<FileVersion>,
    /// Time of the last warning since that read; `None` if there was none.
    warned: Option<Instant>,
}

/// Reason to deny a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The request has no key.
    NoKey,
    /// The key of the request is not in the file.
    WrongKey,
}

/// Checks API keys and rate limits. See the [module](self).
#[derive(Debug)]
pub(crate) struct AccessControl {
    file: Option<PathBuf>,
    seen: Mutex<KeyFileState>,
    /// The accepted keys; `None` if no key is required.
    keys: Option<RwLock<Arc<Keys>>>,
    /// Rate limit of each key name, in hashes and paths a second; `None` if unlimited.
    rate: Option<f64>,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

impl AccessControl {
    /// Admits every client without a key, with one rate limit for all together.
    pub(crate) fn without_keys(rate: Option<f64>) -> AccessControl {
        AccessControl::from_parts(None, None, rate)
    }

    /// Admits clients with one of `keys`, with a rate limit for each.
    #[cfg(any(test, feature = "lambda"))]
    pub(crate) fn from_keys(keys: Keys, rate: Option<f64>) -> AccessControl {
        AccessControl::from_parts(None, Some(keys), rate)
    }

    /// Admits clients with a key of the file at `path`, which is reloaded when it changes.
    ///
    /// # Errors
    /// The errors of [`read_file`].
    pub(crate) fn from_file(path: &Path, rate: Option<f64>) -> Result<AccessControl> {
        // Taken before the read, so that a write in between is noticed at the next check.
        let seen = FileVersion::from_path(path);
        let keys = read_file(path)?;
        if keys.is_empty() {
            tracing::warn!(
                "{} has no key; no client is admitted until it has one (add one with --new-key NAME)",
                path.display()
            );
        }
        let gate = AccessControl::from_parts(Some(path.to_owned()), Some(keys), rate);
        gate.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .read = seen;
        Ok(gate)
    }

    fn from_parts(file: Option<PathBuf>, keys: Option<Keys>, rate: Option<f64>) -> AccessControl {
        AccessControl {
            file,
            seen: Mutex::default(),
            keys: keys.map(|keys| RwLock::new(Arc::new(keys))),
            rate,
            buckets: Mutex::default(),
        }
    }

    /// True if requests need a key.
    pub(super) fn requires_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Returns the name of `key`, which is empty if no key is required.
    ///
    /// # Errors
    /// [`Denied`] if a key is required and `key` is missing or wrong.
    pub(crate) fn authenticate(&self, key: Option<&[u8]>) -> std::result::Result<Arc<str>, Denied> {
        let Some(keys) = &self.keys else {
            return Ok("".into());
        };
        let key = key.ok_or(Denied::NoKey)?;
        let keys = keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.owner(key).ok_or(Denied::WrongKey)
    }

    /// Charges `count` hashes and paths to the rate limit of `name`.
    ///
    /// # Errors
    /// The time to wait if the limit is exceeded.
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

    /// Reloads the file if it changed, or always if `anyway`. If the file cannot be read, the
    /// keys stay unchanged.
    pub(super) fn reload(&self, anyway: bool) {
        let (Some(path), Some(keys)) = (&self.file, &self.keys) else {
            return;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = FileVersion::from_path(path);
        if !anyway && seen.read.is_some() && seen.read == now {
            return;
        }
        // A failed read is retried at every check, so that a key removed from the file does
        // not stay valid.
        match read_file(path) {
            Ok(new) => {
                *seen = KeyFileState {
                    read: now,
                    warned: None,
                };
                tracing::info!("{} was reloaded: {} API keys", path.display(), new.len());
                let names: Vec<_> = new.names().cloned().collect();
                *keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
                buckets.retain(|name, _| names.contains(name));
            }
            Err(e) => {
                let due = |at: Instant| at.elapsed() >= WARNING_INTERVAL;
                if anyway || seen.warned.is_none_or(due) {
                    seen.warned = Some(Instant::now());
                    tracing::warn!("{e:#}; the API keys stay unchanged, retrying");
                }
            }
        }
    }
}

/// Token bucket of one key name.
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
    fn a_changed_file_takes_effect_and_a_damaged_one_is_ignored() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let alice = new_key("alice", &path).expect("a key");
        let gate = AccessControl::from_file(&path, None).expect("keys");
        gate.reload(false);
        let bob = new_key("bob", &path).expect("a key");
        assert!(gate.authenticate(Some(bob.as_bytes())).is_err());
        gate.reload(false);
        assert!(gate.authenticate(Some(bob.as_bytes())).is_ok());
        std::fs::write(&path, "alice\n").expect("damaged");
        gate.reload(false);
        assert!(gate.authenticate(Some(alice.as_bytes())).is_ok());
        std::fs::write(&path, "# nobody\n").expect("written");
        gate.reload(false);
        assert!(gate.authenticate(Some(alice.as_bytes())).is_err());
    }

    #[test]
    fn a_file_that_could_not_be_read_is_retried_though_its_version_is_unchanged() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let alice = new_key("alice", &path).expect("a key");
        let gate = AccessControl::from_file(&path, None).expect("keys");
        // Like a file that is unreadable for a while: same inode, time and length.
        let good = "# nobody has a key any more\n";
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let write = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let file = std::fs::File::options().write(true).open(&path);
            file.expect("a file").set_modified(time).expect("set");
        };
        write(&good.replace('#', "x"));
        gate.reload(false);
        assert!(gate.authenticate(Some(alice.as_bytes())).is_ok());
        write(good);
        gate.reload(false);
        assert!(gate.authenticate(Some(alice.as_bytes())).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn each_name_has_its_rate_and_a_large_request_makes_the_next_wait() {
        let gate = AccessControl::without_keys(Some(10.0));
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
            "a full bucket admits a larger request"
        );
        tokio::time::advance(Duration::from_secs(50)).await;
        let wait = gate.charge(&alice, 1).expect_err("in debt");
        assert_eq!(wait.as_secs_f64().round(), 49.0);
        let slow = AccessControl::without_keys(Some(0.5));
        assert_eq!(slow.charge(&alice, 1), Ok(()));
        assert_eq!(slow.charge(&alice, 1), Err(Duration::from_secs(2)));
        assert_eq!(
            AccessControl::without_keys(None).charge(&alice, 1_000_000),
            Ok(())
        );
    }
}
