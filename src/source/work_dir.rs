//! The work folder: large temporary files and local copies of sources.
//!
//! A copy outlives its process, so that a repeated command can resume with it. It is
//! removed when a run completes ([`WorkDir::finish_run`]), or after it was read to its end,
//! to make room for the next. Dropping the folder logs the location of its copies.

use crate::base::error::{Error, Result};
use std::fs::{self, File};
#[cfg(feature = "rds")]
use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of attempts if another process removes the file after it is opened.
#[cfg(feature = "rds")]
const MAX_TRIES: usize = 16;

/// The folder of a run's large temporary files. Clones share the folder and its copies.
#[derive(Debug, Clone, Default)]
pub struct WorkDir(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    configured: Option<PathBuf>,
    copies: Mutex<Vec<Arc<LocalCopy>>>,
    /// Further runs that will use the copies after the present one.
    expected_runs: AtomicU32,
}

/// Compares the configured folders only, not their copies.
impl PartialEq for WorkDir {
    fn eq(&self, other: &WorkDir) -> bool {
        self.0.configured == other.0.configured
    }
}

impl Eq for WorkDir {}

impl WorkDir {
    /// Uses `folder`, or else the system's temporary folder (`TMPDIR`).
    pub fn new(folder: Option<PathBuf>) -> WorkDir {
        let mut inner = Inner::default();
        inner.configured = folder;
        WorkDir(Arc::new(inner))
    }

    /// The path of the folder.
    pub fn path(&self) -> PathBuf {
        match &self.0.configured {
            Some(folder) => folder.clone(),
            None => std::env::temp_dir(),
        }
    }

    /// Checks that the folder has room for `bytes` more; `purpose` names their use.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if it has not.
    pub fn check_room(&self, bytes: u64, purpose: &str) -> Result<()> {
        let folder = self.path();
        match free_bytes(&folder) {
            Some(free) if free < bytes => Err(Error::usage(format!(
                "{purpose} needs {bytes} bytes in {}, but its file system has only {free} free",
                folder.display()
            ))
            .with_hint("give --work-dir DIR with more free space")),
            _ => Ok(()),
        }
    }

    /// The copy at `path`; `None` if there is none.
    pub fn find_copy(&self, path: &Path) -> Option<Arc<LocalCopy>> {
        let copies = self.copies();
        copies.iter().find(|c| c.path() == path).cloned()
    }

    /// Adds a copy.
    pub fn add_copy(&self, copy: LocalCopy) -> Arc<LocalCopy> {
        let copy = Arc::new(copy);
        self.copies().push(copy.clone());
        copy
    }

    /// Announces another run that reads the same copies.
    pub fn expect_another_run(&self) {
        self.0.expected_runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a run: removes the copies, unless another run follows.
    pub fn finish_run(&self) {
        let less = |n: u32| n.checked_sub(1);
        let further = &self.0.expected_runs;
        if further
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_err()
        {
            self.remove_copies(|_| true);
        }
    }

    /// Removes the copies that were read to their end.
    pub fn remove_read_copies(&self) {
        self.remove_copies(|copy| copy.is_read.load(Ordering::Relaxed));
    }

    fn remove_copies(&self, which: impl Fn(&LocalCopy) -> bool) {
        self.copies().retain(|copy| {
            let remove = which(copy);
            if remove {
                copy.remove();
            }
            !remove
        });
    }

    fn copies(&self) -> MutexGuard<'_, Vec<Arc<LocalCopy>>> {
        // The list of copies is valid at every instant.
        let copies = self.0.copies.lock();
        copies.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let copies = self.copies.get_mut();
        for copy in copies.unwrap_or_else(PoisonError::into_inner) {
            if copy.is_damaged.load(Ordering::Relaxed) || !copy.is_reusable {
                copy.remove();
            } else {
                tracing::info!(
                    "keeping the copy of {} in {}: the same command resumes with it and removes it at its end",
                    copy.name,
                    copy.path().display()
                );
            }
        }
    }
}

/// A complete or partial local copy of a source. While it is open, no other process
/// uses it.
#[derive(Debug)]
pub struct LocalCopy {
    /// Name of the source.
    pub name: String,
    path: Mutex<PathBuf>,
    /// True if another run can recognise the source.
    pub is_reusable: bool,
    /// Holds the file lock.
    _lock: File,
    is_read: AtomicBool,
    is_damaged: AtomicBool,
}

impl LocalCopy {
    /// Creates the copy of the source `name` at `path`; `lock` is its open file.
    pub fn new(name: &str, path: PathBuf, is_reusable: bool, lock: File) -> LocalCopy {
        LocalCopy {
            name: name.to_owned(),
            path: Mutex::new(path),
            is_reusable,
            _lock: lock,
            is_read: AtomicBool::new(false),
            is_damaged: AtomicBool::new(false),
        }
    }

    /// The path of the copy.
    pub fn path(&self) -> PathBuf {
        self.locked_path().clone()
    }

    /// Renames the copy.
    ///
    /// # Errors
    /// If the file system fails.
    pub fn rename(&self, to: PathBuf) -> io::Result<()> {
        let mut path = self.locked_path();
        fs::rename(&*path, &to)?;
        *path = to;
        Ok(())
    }

    fn locked_path(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the copy as read to its end.
    pub fn mark_read(&self) {
        self.is_read.store(true, Ordering::Relaxed);
    }

    /// Marks the copy as damaged: it is not kept.
    pub fn mark_damaged(&self) {
        self.is_damaged.store(true, Ordering::Relaxed);
    }

    fn remove(&self) {
        let path = self.path();
        if let Err(e) = fs::remove_file(&path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {e}", path.display());
        }
    }
}

/// Opens the file at `path` exclusively for this process, for reading and writing.
/// Creates it only if `make` is true; otherwise `None` if it does not exist.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if another process uses
/// it, it cannot be opened, or it belongs to another user: a temporary folder is open
/// to everybody.
#[cfg(feature = "rds")]
pub(crate) fn open_exclusive(path: &Path, make: bool) -> Result<Option<File>> {
    let cannot = |e: io::Error| {
        Error::usage(format!("cannot use {}", path.display()))
            .with_source(e)
            .with_hint("give another folder with --work-dir DIR")
    };
    for _ in 0..MAX_TRIES {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(make);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            let no_link = rustix::fs::OFlags::NOFOLLOW.bits();
            options
                .mode(0o600)
                .custom_flags(i32::try_from(no_link).unwrap_or(0));
        }
        let file = match options.open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !make => return Ok(None),
            Err(e) => return Err(cannot(e)),
        };
        // On other systems this lock would block SQLite, too.
        let locked = match cfg!(unix) {
            true => file.try_lock(),
            false => Ok(()),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::usage(format!(
                    "{} is in use by another process",
                    path.display()
                ))
                .with_hint("wait until it ends, or give another folder with --work-dir DIR"));
            }
            Err(TryLockError::Error(e)) => return Err(cannot(e)),
        }
        let is_ours = check_ownership(&file, path).map_err(cannot)?;
        match is_ours {
            Ownership::Yes => return Ok(Some(file)),
            // Another process removed it between opening and locking.
            Ownership::Gone => {}
            Ownership::No => {
                return Err(Error::usage(format!(
                    "{} does not belong to this user",
                    path.display()
                ))
                .with_hint("give --work-dir DIR with a folder of this user"));
            }
        }
    }
    Err(
        Error::usage(format!("{} keeps disappearing", path.display())).with_hint(
            "another process copies the same source: wait until it ends, or give another folder \
             with --work-dir DIR",
        ),
    )
}

/// Ownership of an open file.
#[cfg(feature = "rds")]
enum Ownership {
    Yes,
    No,
    /// The path leads to another file, or to none.
    Gone,
}

#[cfg(all(unix, feature = "rds"))]
fn check_ownership(file: &File, path: &Path) -> io::Result<Ownership> {
    use std::os::unix::fs::MetadataExt as _;
    let opened = file.metadata()?;
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Ownership::Gone),
        Err(e) => return Err(e),
    };
    if (opened.dev(), opened.ino()) != (there.dev(), there.ino()) {
        return Ok(Ownership::Gone);
    }
    // A new file belongs to the present user.
    let folder = path.parent().unwrap_or(Path::new("."));
    let user = tempfile::tempfile_in(folder)?.metadata()?.uid();
    Ok(
        match opened.is_file() && opened.uid() == user && opened.nlink() == 1 {
            true => Ownership::Yes,
            false => Ownership::No,
        },
    )
}

#[cfg(all(not(unix), feature = "rds"))]
fn is_ours(file: &File, _path: &Path) -> io::Result<Ownership> {
    Ok(match file.metadata()?.is_file() {
        true => Ownership::Yes,
        false => Ownership::No,
    })
}

/// Bytes available to this user on the file system of `folder`; `None` if unknown.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(folder).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_without_room_fails_before_it_starts() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = WorkDir::new(Some(folder.path().to_owned()));
        assert!(work.check_room(1, "x").is_ok());
        #[cfg(unix)]
        {
            let error = work.check_room(u64::MAX, "the copy of x").expect_err("no");
            assert_eq!(error.exit_status(), 2);
            assert!(
                format!("{error:#}").contains("the copy of x needs"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_copy_is_exclusive_and_removed_after_the_last_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("copy");
        assert!(open_exclusive(&path, false).expect("none").is_none());
        let file = open_exclusive(&path, true).expect("opened").expect("made");
        let error = open_exclusive(&path, true).expect_err("in use");
        assert!(format!("{error:#}").contains("in use"), "{error}");

        let work = WorkDir::new(Some(folder.path().to_owned()));
        let copy = work.add_copy(LocalCopy::new("x", path.clone(), true, file));
        work.remove_read_copies();
        assert!(path.exists(), "it was not read to its end");
        work.expect_another_run();
        work.finish_run();
        assert!(path.exists() && work.find_copy(&path).is_some());
        copy.mark_read();
        work.clone().finish_run();
        assert!(!path.exists() && work.find_copy(&path).is_none());
    }

    #[test]
    fn damaged_copies_are_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = WorkDir::new(Some(folder.path().to_owned()));
        let enter = |name: &str| {
            let path = folder.path().join(name);
            let file = open_exclusive(&path, true).expect("opened").expect("made");
            work.add_copy(LocalCopy::new(name, path, true, file))
        };
        let (bad, good) = (enter("bad"), enter("good"));
        bad.mark_damaged();
        drop(work);
        assert!(!bad.path().exists() && good.path().exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_of_other_users_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, target) = (folder.path().join("copy"), folder.path().join("target"));
        std::fs::write(&target, b"precious").expect("written");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        assert!(open_exclusive(&path, true).is_err());
        std::fs::remove_file(&path).expect("removed");
        std::fs::hard_link(&target, &path).expect("a link");
        let error = open_exclusive(&path, true).expect_err("not of this user");
        assert!(
            format!("{error:#}").contains("does not belong to this user"),
            "{error}"
        );
    }
}
