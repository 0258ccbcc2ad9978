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
pub fn folder() -> Option<PathBuf> {
    let user = choose_base_strategy().ok()?;
    let base = user.state_dir().unwrap_or_else(|| user.data_dir());
    Some(base.join("hashferry"))
}

/// A part of a file's name that says `text`: whatever could mean something to a
/// file system is a dash, and it is not long.
pub fn name_part(text: &str) -> String {
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
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let file = file.persist(path).map_err(|e| e.error)?;
    // The name too must be on the disk. Where a folder cannot be opened
    // (Windows), renaming is durable by itself.
    if let Ok(folder) = File::open(folder) {
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
    fn names_mean_nothing_to_a_file_system() {
        assert_eq!(
            name_part("s3://b/k ü.txt"),
            "s3---b-k---.txt".replace("---.txt", "--.txt")
        );
        assert_eq!(name_part("../x"), "-x");
        assert!(name_part(&"x".repeat(500)).len() <= 100);
    }
}
