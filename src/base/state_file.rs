//! State files: small files that a later run or a user needs after a crash.
//!
//! [`replace`] writes a file atomically: it writes a temporary file beside it, flushes
//! that to disk, and renames it. So either the old or the new content is there,
//! complete. The default location is [`state_folder`].

use etcetera::base_strategy::{BaseStrategy as _, choose_base_strategy};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The user's state folder: `hashferry` in `$XDG_STATE_HOME` (`~/.local/state`), or the
/// system's equivalent. `None` if the user has no home folder.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let user = choose_base_strategy().ok()?;
    let base = user.state_dir().unwrap_or_else(|| user.data_dir());
    Some(base.join("hashferry"))
}

/// Converts `text` to a part of a file name: at most 100 characters, with a dash for
/// every special character.
pub(crate) fn file_name_part(text: &str) -> String {
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

/// Writes `bytes` to `path` atomically, and returns the open file. Creates the folder.
/// Only the owner can read the file.
///
/// # Errors
/// If the disk is full, or the folder is not writable. The old file then remains.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let folder = parent_folder(path);
    std::fs::create_dir_all(folder)?;
    let new = tempfile::NamedTempFile::new_in(folder)?;
    write_and_rename(path, new, |file| file.write_all(bytes))
}

/// Writes `bytes` to `path` atomically. The file keeps its permissions; a new one has
/// the default permissions. If `path` is a link, its target is replaced.
///
/// # Errors
/// As [`replace`], and if the folder does not exist.
pub(crate) fn replace_readable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = temp_file_beside(&target)?;
    if let Ok(old) = std::fs::metadata(&target) {
        new.as_file().set_permissions(old.permissions())?;
    }
    write_and_rename(&target, new, |file| file.write_all(bytes)).map(drop)
}

/// Checks that [`replace_readable`] could create its file. Leaves no file.
///
/// # Errors
/// If it could not.
pub(crate) fn check_replace(path: &Path) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    temp_file_beside(&target).map(drop)
}

fn parent_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// An empty temporary file beside `path`, with the default permissions.
fn temp_file_beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The process's umask still applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(parent_folder(path))
}

/// Lets `write` fill `new`, then renames it to `path`.
fn write_and_rename(
    path: &Path,
    mut new: tempfile::NamedTempFile,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    write(new.as_file_mut())?;
    new.as_file().sync_all()?;
    let file = new.persist(path).map_err(|e| e.error)?;
    // The folder entry must be on disk, too. Where a folder cannot be opened (Windows),
    // a rename is already durable.
    if let Ok(folder) = File::open(parent_folder(path)) {
        folder.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_without_leftovers() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("deep/er/note.json");
        replace(&path, b"first, and longer").expect("written");
        replace(&path, b"second").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"second");
        let beside = std::fs::read_dir(path.parent().expect("a folder")).expect("a list");
        assert_eq!(beside.count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("note");
        std::fs::write(&path, b"old").expect("written");
        // A file cannot be a folder.
        assert!(replace(&path.join("note"), b"new").is_err());
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
    }

    #[test]
    fn a_full_disk_keeps_the_old_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("report.json");
        std::fs::write(&path, b"old").expect("written");
        let new = temp_file_beside(&path).expect("there is room for a name");
        let full = write_and_rename(&path, new, |file| {
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
    fn replacing_keeps_permissions_and_links() {
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
    fn file_name_parts_have_no_special_characters() {
        assert_eq!(
            file_name_part("s3://b/k ü.txt"),
            "s3---b-k---.txt".replace("---.txt", "--.txt")
        );
        assert_eq!(file_name_part("../x"), "-x");
        assert!(file_name_part(&"x".repeat(500)).len() <= 100);
    }
}
