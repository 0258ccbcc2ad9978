//! One run at a time: a lock of the operating system beside a file that a run writes.
//!
//! The lock file names the process that holds it. The system releases the lock when the
//! process ends, however it ends, so a dead process holds none; the file that it leaves
//! behind is then used again.
//!
//! The file is removed while its lock is held. A process that opened it before, and locks
//! it after, holds a lock on a file without a name: so each checks that the path still
//! leads to the file that it locked, and begins again if not.

use crate::base::error::Error;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// How often a file that goes away between opening and locking is opened.
const MAX_TRIES: u32 = 100;

/// The longest lock file that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Its process id.
    pub(crate) process: u32,
    /// The machine that it runs on.
    pub(crate) host: String,
    /// When it took the lock (UTC, RFC 3339).
    pub(crate) started: String,
}

impl Holder {
    /// This process, now.
    pub(crate) fn this() -> Holder {
        let now = jiff::Timestamp::now();
        Holder {
            process: std::process::id(),
            host: host(),
            started: format!("{now:.0}"),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Holder {
            process,
            host,
            started,
        } = self;
        write!(f, "process {process} on {host} since {started}")
    }
}

/// The name of this machine.
fn host() -> String {
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

/// A lock that this process holds until it is dropped.
#[derive(Debug)]
pub(crate) struct RunLock {
    path: PathBuf,
    file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Another process holds it: that one, if its file says so.
    InUse(Option<Holder>),
    /// The lock file cannot be made.
    File(io::Error),
}

impl LockError {
    /// The refusal of `path`, which is `what`; `hint` says what to do besides waiting.
    pub(crate) fn refusal(self, what: &str, path: &Path, hint: &str) -> Error {
        let path = path.display();
        match self {
            LockError::InUse(holder) => {
                let who = match holder {
                    Some(holder) => holder.to_string(),
                    None => "a process that has not named itself yet".to_owned(),
                };
                Error::usage(format!("another run has {what} {path}: {who}"))
                    .hint(format!("wait for its end, or {hint}"))
            }
            LockError::File(e) => Error::usage(format!("cannot lock {what} {path}"))
                .because(e)
                .hint(format!(
                    "{hint}, in a folder that exists and can be written to"
                )),
        }
    }
}

impl RunLock {
    /// Takes the lock beside `path`, an output file that is `what`; `hint` says what to do
    /// besides waiting. `None` if it is a device or a pipe, or there can be no lock.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if another process holds it.
    pub(crate) fn of_output(path: &Path, what: &str, hint: &str) -> Result<Option<RunLock>, Error> {
        // Beside the file itself, where `path` is a link to it.
        let file = std::fs::canonicalize(path);
        let file = file.as_deref().unwrap_or(path);
        if std::fs::metadata(file).is_ok_and(|m| !m.is_file()) {
            return Ok(None);
        }
        match RunLock::take(file) {
            Err(LockError::File(e)) => {
                // One that is not there and cannot be made is refused when it is opened.
                if file.exists() {
                    warn_unlocked(path, &e);
                }
                Ok(None)
            }
            taken => taken.map_err(|e| e.refusal(what, path, hint)),
        }
    }

    /// Takes the lock beside `path`. `None` if the file system has no locks: then a
    /// warning says so.
    ///
    /// # Errors
    /// If another process holds it, or the lock file cannot be made.
    pub(crate) fn take(path: &Path) -> Result<Option<RunLock>, LockError> {
        let beside = beside(path);
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
                Err(TryLockError::WouldBlock) => return Err(LockError::InUse(holder(file))),
                Err(TryLockError::Error(e)) => {
                    warn_unlocked(path, &e);
                    return Ok(None);
                }
            }
            if !leads_to(&beside, &file).map_err(LockError::File)? {
                continue;
            }
            let mut lock = RunLock { path: beside, file };
            lock.name(&Holder::this()).map_err(LockError::File)?;
            return Ok(Some(lock));
        }
        let what = io::Error::other("its lock file comes and goes");
        Err(LockError::File(what))
    }

    fn name(&mut self, holder: &Holder) -> io::Result<()> {
        let text = serde_json::to_string(holder).unwrap_or_default() + "\n";
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Elsewhere an open file keeps its name until it is closed: a second run would
        // find a file that it cannot open.
        let removed = match cfg!(unix) {
            true => std::fs::remove_file(&self.path),
            false => self.file.set_len(0),
        };
        if let Err(e) = removed {
            tracing::debug!("{} stays: {e}", self.path.display());
        }
    }
}

fn warn_unlocked(path: &Path, e: &io::Error) {
    let path = path.display();
    tracing::warn!("no lock beside {path} ({e}): a second run on it is not noticed");
}

/// The lock file beside `path`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// The process that holds the lock, if its file says so. On Windows a locked file cannot
/// be read.
fn holder(file: File) -> Option<Holder> {
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether `path` is the name of `file`.
#[cfg(unix)]
fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
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
    // There the file is never removed.
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(path: &Path) -> Result<Option<RunLock>, Error> {
        RunLock::take(path).map_err(|e| e.refusal("the checkpoint", path, "give --checkpoint PATH"))
    }

    #[test]
    fn a_second_one_is_told_who_has_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.json");
        let first = take(&path).expect("free").expect("a lock");
        let e = take(&path).expect_err("held");
        let text = e.to_string();
        if cfg!(unix) {
            let who = format!("process {} on {} since 20", std::process::id(), host());
            assert!(text.contains(&who), "{text}");
        }
        assert_eq!(e.exit_status(), 2);
        let hint = e.what_to_do().unwrap_or_default();
        assert!(hint.contains("give --checkpoint PATH"), "{hint}");
        drop(first);
        if cfg!(unix) {
            assert!(!beside(&path).exists(), "nothing is left behind");
        }
        take(&path).expect("free").expect("a lock");
    }

    #[test]
    fn a_file_that_a_dead_process_left_is_no_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.json");
        for left in [
            "",
            "{\"process\":1,\"host\":\"h\",\"started\":\"s\"}\n and more",
            "x",
        ] {
            std::fs::write(beside(&path), left).expect("written");
            let lock = take(&path).expect("free").expect("a lock");
            let file = File::open(beside(&path)).expect("there");
            if cfg!(unix) {
                let named = holder(file).expect("it names itself");
                assert_eq!(named.process, std::process::id());
            }
            drop(lock);
        }
    }

    #[test]
    fn of_many_at_once_one_has_it() {
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
    fn a_folder_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let e = take(&folder.path().join("no/c.json")).expect_err("no folder");
        assert_eq!(e.exit_status(), 2);
    }
}
