//! A lock that allows one run at a time, in a file beside the file that a run writes.
//!
//! The lock file names the process that holds it. The operating system releases the
//! lock when the process ends for any reason. A lock file left by a dead process is
//! reused.
//!
//! The holder removes the file while it holds the lock. A process that opened the file
//! earlier would then lock a file without a name. So each process checks that the path
//! still leads to its file, and retries if not.

use crate::base::error::Error;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Maximum number of attempts if the file disappears between opening and locking.
const MAX_TRIES: u32 = 100;

/// Maximum length of a lock file, in bytes.
const MAX_BYTES: u64 = 4096;

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockHolder {
    /// Process id.
    pub(crate) process: u32,
    /// Name of its machine.
    pub(crate) host: String,
    /// Time of locking (UTC, RFC 3339).
    pub(crate) started: String,
}

impl LockHolder {
    /// Describes this process.
    pub(crate) fn current() -> LockHolder {
        let now = jiff::Timestamp::now();
        LockHolder {
            process: std::process::id(),
            host: host_name(),
            started: format!("{now:.0}"),
        }
    }
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LockHolder {
            process,
            host,
            started,
        } = self;
        write!(f, "process {process} on {host} since {started}")
    }
}

/// The name of this machine.
fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    match name.is_empty() {
        true => "this machine".to_owned(),
        false => name,
    }
}

/// A lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct RunLock {
    path: PathBuf,
    file: File,
}

/// Reason why a lock was not acquired.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it; `None` if the file does not name it.
    InUse(Option<LockHolder>),
    /// The lock file cannot be created.
    File(io::Error),
}

impl LockError {
    /// Converts this to an error about `path`. `description` names the file; `hint` is
    /// an alternative to waiting.
    pub(crate) fn into_error(self, description: &str, path: &Path, hint: &str) -> Error {
        let path = path.display();
        match self {
            LockError::InUse(holder) => {
                let name = match holder {
                    Some(holder) => holder.to_string(),
                    None => "an unnamed process".to_owned(),
                };
                Error::usage(format!("another run has {description} {path}: {name}"))
                    .with_hint(format!("wait until it ends, or {hint}"))
            }
            LockError::File(e) => Error::usage(format!("cannot lock {description} {path}"))
                .with_source(e)
                .with_hint(format!(
                    "{hint}, in an existing folder with write permission"
                )),
        }
    }
}

impl RunLock {
    /// Acquires the lock beside the output file `path`. `description` names the file;
    /// `hint` is an alternative to waiting. `None` if it is a device or a pipe, or no
    /// lock is possible.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if another process
    /// holds it.
    pub(crate) fn for_output(
        path: &Path,
        description: &str,
        hint: &str,
    ) -> Result<Option<RunLock>, Error> {
        // If `path` is a link, the lock is beside its target.
        let file = std::fs::canonicalize(path);
        let file = file.as_deref().unwrap_or(path);
        if std::fs::metadata(file).is_ok_and(|m| !m.is_file()) {
            return Ok(None);
        }
        match RunLock::acquire(file) {
            Err(LockError::File(e)) => {
                // A file that cannot be created fails when it is opened.
                if file.exists() {
                    warn_no_lock(path, &e);
                }
                Ok(None)
            }
            taken => taken.map_err(|e| e.into_error(description, path, hint)),
        }
    }

    /// Acquires the lock beside `path`. `None`, with a warning, if the file system has
    /// no locks.
    ///
    /// # Errors
    /// If another process holds the lock, or the lock file cannot be created.
    pub(crate) fn acquire(path: &Path) -> Result<Option<RunLock>, LockError> {
        let beside = lock_path(path);
        for _ in 0..MAX_TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&beside)
                .map_err(LockError::File)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(LockError::InUse(read_holder(file))),
                Err(TryLockError::Error(e)) => {
                    warn_no_lock(path, &e);
                    return Ok(None);
                }
            }
            if !is_same_file(&beside, &file).map_err(LockError::File)? {
                continue;
            }
            let mut lock = RunLock { path: beside, file };
            lock.write_holder(&LockHolder::current())
                .map_err(LockError::File)?;
            return Ok(Some(lock));
        }
        let error = io::Error::other("its lock file keeps disappearing");
        Err(LockError::File(error))
    }

    fn write_holder(&mut self, holder: &LockHolder) -> io::Result<()> {
        let text = serde_json::to_string(holder).unwrap_or_default() + "\n";
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // On other systems an open file keeps its name until it is closed, so a second
        // run could not open it.
        let removed = match cfg!(unix) {
            true => std::fs::remove_file(&self.path),
            false => self.file.set_len(0),
        };
        if let Err(e) = removed {
            tracing::debug!("cannot remove the lock file {}: {e}", self.path.display());
        }
    }
}

fn warn_no_lock(path: &Path, e: &io::Error) {
    let path = path.display();
    tracing::warn!("cannot lock {path} ({e}): hashferry will not notice a second run on it");
}

/// The path of the lock file.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Reads the holder from the lock file; `None` if the file does not name it. On Windows
/// a locked file cannot be read.
fn read_holder(file: File) -> Option<LockHolder> {
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// True if `path` leads to `file`.
#[cfg(unix)]
fn is_same_file(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let held = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(not(unix))]
fn leads_to(_path: &Path, _file: &File) -> io::Result<bool> {
    // On these systems the file is never removed.
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path) -> Result<Option<RunLock>, Error> {
        RunLock::acquire(path)
            .map_err(|e| e.into_error("the checkpoint", path, "give --checkpoint PATH"))
    }

    #[test]
    fn a_second_run_fails_and_names_the_holder() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.json");
        let first = take(&path).expect("free").expect("a lock");
        let e = take(&path).expect_err("held");
        let text = e.to_string();
        if cfg!(unix) {
            let holder = format!("process {} on {} since 20", std::process::id(), host_name());
            assert!(text.contains(&holder), "{text}");
        }
        assert_eq!(e.exit_status(), 2);
        let hint = e.hint().unwrap_or_default();
        assert!(hint.contains("give --checkpoint PATH"), "{hint}");
        drop(first);
        if cfg!(unix) {
            assert!(!lock_path(&path).exists(), "nothing is left behind");
        }
        take(&path).expect("free").expect("a lock");
    }

    #[test]
    fn a_lock_file_of_a_dead_process_is_reused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.json");
        for left in [
            "",
            "{\"process\":1,\"host\":\"h\",\"started\":\"s\"}\n and more",
            "x",
        ] {
            std::fs::write(lock_path(&path), left).expect("written");
            let lock = take(&path).expect("free").expect("a lock");
            let file = File::open(lock_path(&path)).expect("there");
            if cfg!(unix) {
                let named = read_holder(file).expect("it names itself");
                assert_eq!(named.process, std::process::id());
            }
            drop(lock);
        }
    }

    #[test]
    fn only_one_of_many_threads_holds_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.json");
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(Some(lock)) = take(&path) else {
                            continue;
                        };
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(inside.fetch_add(1, SeqCst), 0, "two hold the lock");
                        inside.fetch_sub(1, SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }

    #[test]
    fn a_missing_folder_is_a_usage_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let e = take(&folder.path().join("no/c.json")).expect_err("no folder");
        assert_eq!(e.exit_status(), 2);
    }
}
