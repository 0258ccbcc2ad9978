//! Small files that must survive: what a later run or a person needs when this
//! one was killed.
//!
//! [`replace`] writes a file so that at every instant either the old one or the
//! new one is there, whole: beside it, flushed to the disk, then renamed over it.
//! They live in [`folder`] unless a person says where.

use etcetera::base_strategy::{BaseStrategy as _, choose_base_strategy};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The user's folder for the state of this program: `hashferry` in
/// `$XDG_STATE_HOME` (`~/.local/state`) or what the system has in its place.
/// Nothing when the user has no home.
pub(crate) fn folder() -> Option<PathBuf> {
    let user = choose_base_strategy().ok()?;
    let base = user.state_dir().unwrap_or_else(|| user.data_dir());
    Some(base.join("hashferry"))
}

/// A part of a file's name that says `text`: whatever could mean something to a
/// file system is a dash, and it is not long.
pub(crate) fn name_part(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().map(plain).take(100).collect();
    name.trim_start_matches('.').to_owned()
}

/// Writes `bytes` to `path`, whole or not at all, and returns the open file. Its
/// folder is made when there is none. Only its owner can read it.
///
/// # Errors
/// When the disk is full, or the folder cannot be written to: then the file that
/// was there is still there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder)?;
    let new = tempfile::NamedTempFile::new_in(folder)?;
    put(path, new, |file| file.write_all(bytes))
}

/// Writes `bytes` to `path`, whole or not at all. It can be read by those who could read
/// the file that was there; a new one by those who can read any new file. What `path`
/// links to is replaced, not the link.
///
/// # Errors
/// As [`replace`], and if there is no folder for it.
pub(crate) fn replace_readable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = beside(&target)?;
    if let Ok(old) = std::fs::metadata(&target) {
        new.as_file().set_permissions(old.permissions())?;
    }
    put(&target, new, |file| file.write_all(bytes)).map(drop)
}

/// Whether [`replace_readable`] finds a folder that takes its file; nothing is left there.
///
/// # Errors
/// If it does not.
pub(crate) fn can_replace(path: &Path) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    beside(&target).map(drop)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// An empty file beside `path`, which others may read as any new file.
fn beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The process's own mask takes from that what is to be taken.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder_of(path))
}

/// Has `write` fill `new`, and puts it in the place of `path`.
fn put(
    path: &Path,
    mut new: tempfile::NamedTempFile,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    write(new.as_file_mut())?;
    new.as_file().sync_all()?;
    let file = new.persist(path).map_err(|e| e.error)?;
    // The name too must be on the disk. Where a folder cannot be opened
    // (Windows), renaming is durable by itself.
    if let Ok(folder) = File::open(folder_of(path)) {
        folder.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("deep/er/note.json");
        replace(&path, b"first, and longer").expect("written");
        replace(&path, b"second").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"second");
        let beside = std::fs::read_dir(path.parent().expect("a folder")).expect("a list");
        assert_eq!(beside.count(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("note");
        std::fs::write(&path, b"old").expect("written");
        // A file is no folder.
        assert!(replace(&path.join("note"), b"new").is_err());
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
    }

    #[test]
    fn a_disk_that_fills_up_while_it_is_written_leaves_the_old_file_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("report.json");
        std::fs::write(&path, b"old").expect("written");
        let new = beside(&path).expect("there is room for a name");
        let full = put(&path, new, |file| {
            file.write_all(b"half of the new")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(
            full.expect_err("no room").kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
        assert_eq!(dir.path().read_dir().expect("a list").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn who_could_read_the_file_still_can_and_a_link_stays_one() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a folder");
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        std::fs::write(&path, b"old").expect("written");
        let mode = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&path, mode).expect("set");
        std::os::unix::fs::symlink(&path, &link).expect("made");
        replace_readable(&link, b"new").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"new");
        assert!(link.is_symlink());
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn names_mean_nothing_to_a_file_system() {
        assert_eq!(
            name_part("s3://b/k ü.txt"),
            "s3---b-k---.txt".replace("---.txt", "--.txt")
        );
        assert_eq!(name_part("../x"), "-x");
        assert!(name_part(&"x".repeat(500)).len() <= 100);
    }
}
