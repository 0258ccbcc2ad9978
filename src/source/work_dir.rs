//! Where large temporary files go: the folder, whether it has the room, and the
//! copies of sources that lie there.
//!
//! A copy outlives the process that made it, so that the same command goes on with
//! it: it is removed only once a run has come to its end ([`WorkDir::done`]), or to
//! make room for the next when it was read to its end. Whoever drops the folder with
//! copies in it is told where they lie.

use crate::base::error::{Error, Result};
use std::fs::{self, File};
#[cfg(feature = "rds")]
use std::fs::{OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How often a file is opened again that another process has just put away.
#[cfg(feature = "rds")]
const TRIES: usize = 16;

/// The folder of a run's large temporary files. Clones are the same folder with the
/// same copies.
#[derive(Debug, Clone, Default)]
pub struct WorkDir(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    told: Option<PathBuf>,
    copies: Mutex<Vec<Arc<Copy>>>,
    /// Runs that are still to use the copies after the one that is under way.
    further: AtomicU32,
}

/// What was told is the same; which copies there are is no matter.
impl PartialEq for WorkDir {
    fn eq(&self, other: &WorkDir) -> bool {
        self.0.told == other.0.told
    }
}

impl Eq for WorkDir {}

impl WorkDir {
    /// `told`, or else the system's folder for temporary files, where `TMPDIR` names
    /// another.
    pub fn new(told: Option<PathBuf>) -> WorkDir {
        let mut inner = Inner::default();
        inner.told = told;
        WorkDir(Arc::new(inner))
    }

    /// The folder.
    pub fn path(&self) -> PathBuf {
        match &self.0.told {
            Some(told) => told.clone(),
            None => std::env::temp_dir(),
        }
    }

    /// Checks that the folder has room for `bytes` more, which are for `what`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when it has not.
    pub fn has_room(&self, bytes: u64, what: &str) -> Result<()> {
        let folder = self.path();
        match free_bytes(&folder) {
            Some(free) if free < bytes => Err(Error::usage(format!(
                "{what} needs {bytes} bytes in {}, and its file system has {free} free",
                folder.display()
            ))
            .hint("name a folder with more room by --work-dir DIR")),
            _ => Ok(()),
        }
    }

    /// Of the copies there, the one at `path`.
    pub fn copy(&self, path: &Path) -> Option<Arc<Copy>> {
        let copies = self.copies();
        copies.iter().find(|c| c.path() == path).cloned()
    }

    /// Enters a copy that lies in the folder.
    pub fn enter(&self, copy: Copy) -> Arc<Copy> {
        let copy = Arc::new(copy);
        self.copies().push(copy.clone());
        copy
    }

    /// Another run is to follow that reads the same copies.
    pub fn one_more_run(&self) {
        self.0.further.fetch_add(1, Ordering::Relaxed);
    }

    /// A run has come to its end: the copies are removed, unless another follows.
    pub fn done(&self) {
        let less = |n: u32| n.checked_sub(1);
        let further = &self.0.further;
        if further
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_err()
        {
            self.remove(|_| true);
        }
    }

    /// Removes the copies that were read to their end.
    pub fn make_room(&self) {
        self.remove(|copy| copy.is_read.load(Ordering::Relaxed));
    }

    fn remove(&self, which: impl Fn(&Copy) -> bool) {
        self.copies().retain(|copy| {
            let gone = which(copy);
            if gone {
                copy.remove();
            }
            !gone
        });
    }

    fn copies(&self) -> MutexGuard<'_, Vec<Arc<Copy>>> {
        // A list of files is whole at every instant.
        let copies = self.0.copies.lock();
        copies.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let copies = self.copies.get_mut();
        for copy in copies.unwrap_or_else(PoisonError::into_inner) {
            if copy.is_bad.load(Ordering::Relaxed) || !copy.is_known {
                copy.remove();
            } else {
                tracing::info!(
                    "the copy of {} is kept in {}: the same command goes on with it, and removes it at its end",
                    copy.name,
                    copy.path().display()
                );
            }
        }
    }
}

/// A copy of a source, whole or in part. While it is open no other process uses it.
#[derive(Debug)]
pub struct Copy {
    /// Of what.
    pub name: String,
    path: Mutex<PathBuf>,
    /// Whether its source can be recognised by another run.
    pub is_known: bool,
    /// Held for its lock.
    _lock: File,
    is_read: AtomicBool,
    is_bad: AtomicBool,
}

impl Copy {
    /// The copy of the source `name` at `path`, which `lock` is open on.
    pub fn new(name: &str, path: PathBuf, is_known: bool, lock: File) -> Copy {
        Copy {
            name: name.to_owned(),
            path: Mutex::new(path),
            is_known,
            _lock: lock,
            is_read: AtomicBool::new(false),
            is_bad: AtomicBool::new(false),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.place().clone()
    }

    /// Gives it another name in its folder.
    ///
    /// # Errors
    /// When the file system does not take it.
    pub fn rename(&self, to: PathBuf) -> io::Result<()> {
        let mut path = self.place();
        fs::rename(&*path, &to)?;
        *path = to;
        Ok(())
    }

    fn place(&self) -> MutexGuard<'_, PathBuf> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was read to its end.
    pub fn was_read(&self) {
        self.is_read.store(true, Ordering::Relaxed);
    }

    /// What it holds is damaged: it is not kept.
    pub fn is_damaged(&self) {
        self.is_bad.store(true, Ordering::Relaxed);
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

/// Opens the file at `path` for this process alone, for reading and writing; makes it
/// only when told to.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when another process has it,
/// when it cannot be opened, or when it is no file of this user: a folder for
/// temporary files is open to everybody.
#[cfg(feature = "rds")]
pub(crate) fn open_alone(path: &Path, make: bool) -> Result<Option<File>> {
    let cannot = |e: io::Error| {
        Error::usage(format!("cannot use {}", path.display()))
            .because(e)
            .hint("name another folder by --work-dir DIR")
    };
    for _ in 0..TRIES {
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
        // Elsewhere such a lock would keep SQLite out as well.
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
                .hint("wait for its end, or name another folder by --work-dir DIR"));
            }
            Err(TryLockError::Error(e)) => return Err(cannot(e)),
        }
        let is_ours = is_ours(&file, path).map_err(cannot)?;
        match is_ours {
            Ours::Yes => return Ok(Some(file)),
            // Another process has put it away between the opening and the lock.
            Ours::Gone => {}
            Ours::No => {
                return Err(
                    Error::usage(format!("{} is no file of this user", path.display()))
                        .hint("name a folder of your own by --work-dir DIR"),
                );
            }
        }
    }
    Err(
        Error::usage(format!("{} comes and goes", path.display())).hint(
            "another process makes copies of the same source: wait for its end, or name another folder \
             by --work-dir DIR",
        ),
    )
}

/// Whose an open file is.
#[cfg(feature = "rds")]
enum Ours {
    Yes,
    No,
    /// What stands at its path is another, or nothing.
    Gone,
}

#[cfg(all(unix, feature = "rds"))]
fn is_ours(file: &File, path: &Path) -> io::Result<Ours> {
    use std::os::unix::fs::MetadataExt as _;
    let own = file.metadata()?;
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Ours::Gone),
        Err(e) => return Err(e),
    };
    if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
        return Ok(Ours::Gone);
    }
    // Who makes a file owns it.
    let folder = path.parent().unwrap_or(Path::new("."));
    let user = tempfile::tempfile_in(folder)?.metadata()?.uid();
    Ok(
        match own.is_file() && own.uid() == user && own.nlink() == 1 {
            true => Ours::Yes,
            false => Ours::No,
        },
    )
}

#[cfg(all(not(unix), feature = "rds"))]
fn is_ours(file: &File, _path: &Path) -> io::Result<Ours> {
    Ok(match file.metadata()?.is_file() {
        true => Ours::Yes,
        false => Ours::No,
    })
}

/// Bytes that are free for this user on the file system of `folder`; nothing where
/// that cannot be asked.
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
    fn what_does_not_fit_is_refused_before_it_is_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = WorkDir::new(Some(folder.path().to_owned()));
        assert!(work.has_room(1, "x").is_ok());
        #[cfg(unix)]
        {
            let error = work.has_room(u64::MAX, "the copy of x").expect_err("no");
            assert_eq!(error.exit_status(), 2);
            assert!(
                format!("{error:#}").contains("the copy of x needs"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_is_one_process_s_and_goes_when_the_last_run_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("copy");
        assert!(open_alone(&path, false).expect("none").is_none());
        let file = open_alone(&path, true).expect("opened").expect("made");
        let again = open_alone(&path, true).expect_err("in use");
        assert!(format!("{again:#}").contains("in use"), "{again}");

        let work = WorkDir::new(Some(folder.path().to_owned()));
        let copy = work.enter(Copy::new("x", path.clone(), true, file));
        work.make_room();
        assert!(path.exists(), "it was not read to its end");
        work.one_more_run();
        work.done();
        assert!(path.exists() && work.copy(&path).is_some());
        copy.was_read();
        work.clone().done();
        assert!(!path.exists() && work.copy(&path).is_none());
    }

    #[test]
    fn what_is_damaged_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = WorkDir::new(Some(folder.path().to_owned()));
        let enter = |name: &str| {
            let path = folder.path().join(name);
            let file = open_alone(&path, true).expect("opened").expect("made");
            work.enter(Copy::new(name, path, true, file))
        };
        let (bad, good) = (enter("bad"), enter("good"));
        bad.is_damaged();
        drop(work);
        assert!(!bad.path().exists() && good.path().exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_another_user_may_have_laid_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, target) = (folder.path().join("copy"), folder.path().join("target"));
        std::fs::write(&target, b"precious").expect("written");
        std::os::unix::fs::symlink(&target, &path).expect("a link");
        assert!(open_alone(&path, true).is_err());
        std::fs::remove_file(&path).expect("removed");
        std::fs::hard_link(&target, &path).expect("a link");
        let error = open_alone(&path, true).expect_err("refused");
        assert!(
            format!("{error:#}").contains("no file of this user"),
            "{error}"
        );
    }
}
