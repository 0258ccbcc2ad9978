//! A source → a copy of it on this machine, for what cannot be read as it comes.
//!
//! The copy is named after what its source is recognised by, so that the same command
//! finds it again: whole, then nothing is read; or a part, then reading goes on behind
//! it. What lies there is compared with the source as far as that is read again.

use crate::base::error::{Error, ErrorKind, Result};
use crate::list::identity::Identity;
use crate::source::work_dir::{Copy, WorkDir, open_alone};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// From how many bytes on a copy takes so long that it is said how far it is.
const LARGE_BYTES: u64 = 1024 * 1024 * 1024;

/// What there is of a copy.
pub(crate) enum Begun {
    /// All of it.
    Whole(Arc<Copy>),
    /// A part, or nothing yet.
    Part(Part),
}

/// A copy that is being made.
pub(crate) struct Part {
    name: String,
    file: File,
    copy: Arc<Copy>,
    /// Where it goes when it is whole.
    whole: Option<PathBuf>,
    /// Bytes that lie there.
    have: u64,
    /// Of the source, the next byte that is to be taken.
    at: u64,
    /// How long it will be, where that is known.
    length: Option<u64>,
    /// How many tenths of it were said to lie there.
    said: u64,
}

/// Begins a copy of the source with this identity, which is `length` bytes long.
///
/// # Errors
/// [`ErrorKind::Usage`] when there is no room for it, or no place.
pub(crate) fn begin(identity: &Identity, work: &WorkDir, length: Option<u64>) -> Result<Begun> {
    let name = identity.object.uri.clone();
    let folder = work.path();
    let (part, whole) = match identity.object.is_known() {
        true => {
            let stem = stem(identity);
            let whole = folder.join(format!("{stem}.db"));
            if let Some(copy) = work.copy(&whole) {
                return Ok(Begun::Whole(copy));
            }
            if let Some(lock) = open_alone(&whole, false)? {
                tracing::info!("the copy of {name} in {} is whole", whole.display());
                return Ok(Begun::Whole(
                    work.enter(Copy::new(&name, whole, true, lock)),
                ));
            }
            (folder.join(format!("{stem}.part")), Some(whole))
        }
        false => {
            // Nobody can find it again.
            let part = tempfile::Builder::new()
                .prefix("hashferry-")
                .tempfile_in(&folder);
            let part = part.and_then(|p| p.keep().map_err(|e| e.error));
            let (_, path) = part.map_err(|e| no_place(&folder, e))?;
            (path, None)
        }
    };
    work.make_room();
    let Some(lock) = open_alone(&part, true)? else {
        return Err(Error::new(ErrorKind::Internal, "a file was not made"));
    };
    let have = lock.metadata().map_err(|e| no_place(&folder, e))?.len();
    let file = lock.try_clone().map_err(|e| no_place(&folder, e))?;
    let copy = Copy::new(&name, part.clone(), whole.is_some(), lock);
    // From here on it is told of, or removed.
    let copy = work.enter(copy);
    let have = match length {
        // It is of something else.
        Some(length) if have > length => 0,
        _ => have,
    };
    match length {
        Some(length) => {
            let room = work.has_room(length - have, &format!("the copy of {name}"));
            if room.is_err() && have == 0 {
                copy.is_damaged();
            }
            room?;
            tracing::info!(
                "{name} is a database, which is read from a copy: {length} bytes in {}{}",
                folder.display(),
                match have {
                    0 => String::new(),
                    have => format!(", of which {have} are there already"),
                }
            );
        }
        None => tracing::info!(
            "{name} is a database, which is read from a copy in {}; it does not say how many bytes that takes",
            folder.display()
        ),
    }
    Ok(Begun::Part(Part {
        name,
        file: File::from_std(file),
        copy,
        whole,
        have,
        at: 0,
        length,
        said: 0,
    }))
}

impl Part {
    /// Bytes that lie there.
    pub(crate) fn have(&self) -> u64 {
        self.have
    }

    /// Whether more lies there than was taken of the source yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.at < self.have
    }

    /// The source goes on behind what lies there.
    pub(crate) fn pass(&mut self) {
        self.at = self.have;
    }

    /// Takes the next bytes of the source: compares them with what lies there, and
    /// writes what does not.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] when they cannot be written; [`ErrorKind::Read`] when
    /// there are more of them than there can be.
    pub(crate) async fn take(&mut self, bytes: &Bytes) -> Result<()> {
        let end = self.at + bytes.len() as u64;
        if let Some(length) = self.length.filter(|l| end > *l) {
            self.copy.is_damaged();
            return Err(Error::new(
                ErrorKind::Read,
                format!(
                    "the database {} says that it has {length} bytes, and has more",
                    self.name
                ),
            )
            .hint("fetch it again, whole, then run this again"));
        }
        let written = self.write(bytes).await;
        written.map_err(|e| {
            Error::new(
                ErrorKind::Output,
                format!(
                    "cannot write the copy of {} to {}",
                    self.name,
                    self.copy.path().display()
                ),
            )
            .because(e)
            .hint("name a folder with more room by --work-dir DIR")
        })?;
        self.say();
        Ok(())
    }

    /// Says how far the copy of something large is, tenth by tenth.
    fn say(&mut self) {
        let Some(length) = self.length.filter(|l| *l >= LARGE_BYTES) else {
            return;
        };
        let tenths = self.at / (length / 10);
        if tenths > self.said && tenths < 10 {
            self.said = tenths;
            tracing::info!("{} of {length} bytes of {} are copied", self.at, self.name);
        }
    }

    async fn write(&mut self, bytes: &Bytes) -> std::io::Result<()> {
        let mut new = &bytes[..];
        if self.at < self.have {
            let known = usize::try_from(self.have - self.at).unwrap_or(usize::MAX);
            let known = known.min(bytes.len());
            let mut there = vec![0; known];
            self.file.seek(std::io::SeekFrom::Start(self.at)).await?;
            self.file.read_exact(&mut there).await?;
            if there == bytes[..known] {
                new = &bytes[known..];
            } else {
                tracing::warn!(
                    "what lies in {} is not as {} is from byte {} on: it is written again",
                    self.copy.path().display(),
                    self.name,
                    self.at
                );
                self.have = self.at;
            }
        }
        if !new.is_empty() {
            if self.file.metadata().await?.len() != self.have {
                self.file.set_len(self.have).await?;
            }
            self.file.seek(std::io::SeekFrom::Start(self.have)).await?;
            self.file.write_all(new).await?;
            // Now, and not when the next bytes come: a process that is killed has
            // then written what it took.
            self.file.flush().await?;
            self.have += new.len() as u64;
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// The source has ended: the copy is whole.
    ///
    /// # Errors
    /// [`ErrorKind::Read`] when it is shorter than it must be; [`ErrorKind::Output`]
    /// when it is not safe on the disk.
    pub(crate) async fn finish(self) -> Result<Arc<Copy>> {
        if let Some(length) = self.length.filter(|l| *l != self.at) {
            self.copy.is_damaged();
            return Err(Error::new(
                ErrorKind::Read,
                format!(
                    "the database {} is cut off: it says that it has {length} bytes, and has {}",
                    self.name, self.at
                ),
            )
            .hint("fetch it again, whole, then run this again"));
        }
        let unsafe_there = |e| {
            Error::new(
                ErrorKind::Output,
                format!("cannot write the copy of {}", self.name),
            )
            .because(e)
            .hint("name another folder by --work-dir DIR")
        };
        // What lay behind it was of something else.
        self.file.set_len(self.at).await.map_err(unsafe_there)?;
        let Some(whole) = &self.whole else {
            return Ok(self.copy);
        };
        self.file.sync_all().await.map_err(unsafe_there)?;
        self.copy.rename(whole.clone()).map_err(unsafe_there)?;
        Ok(self.copy)
    }
}

/// The name of a copy without its ending: the same for the same source.
fn stem(identity: &Identity) -> String {
    // Of a struct of texts and numbers there always is JSON.
    let json = serde_json::to_vec(identity).unwrap_or_default();
    let digest = Sha256::digest(&json);
    let hex = digest.iter().take(16);
    hex.fold("hashferry-".to_owned(), |name, byte| {
        name + &format!("{byte:02x}")
    })
}

fn no_place(folder: &std::path::Path, e: std::io::Error) -> Error {
    Error::usage(format!("cannot make a file in {}", folder.display()))
        .because(e)
        .hint("name a folder that exists and can be written to by --work-dir DIR")
}
