//! Lock file: allows one process per folder, and holds its endpoints.

use crate::local::error::LocalError;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Locked file in the folder. The system releases the lock when the file
/// closes, also when the process dies.
#[derive(Debug)]
pub(super) struct LockFile {
    path: PathBuf,
    file: File,
}

impl LockFile {
    pub(super) fn acquire(dir: &Path) -> Result<LockFile, LocalError> {
        let path = dir.join("lock");
        let failed = |source| LocalError::Lock {
            path: path.clone(),
            source,
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // Removes the endpoints of a process that died.
                file.set_len(0).map_err(failed)?;
                let mut lock = LockFile { path, file };
                lock.write("", "")?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                // On Windows a locked file is not readable: then there are no endpoints.
                let mut text = String::new();
                let read = file.read_to_string(&mut text);
                Err(LocalError::InUse {
                    dir: dir.to_owned(),
                    endpoints: read.ok().and_then(|_| parse_endpoints(&text)),
                    holder: text.lines().nth(2).map(str::to_owned),
                })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Writes the endpoints and this process. Later text is never shorter.
    pub(super) fn write(&mut self, s3: &str, dynamodb: &str) -> Result<(), LocalError> {
        let (process, now) = (std::process::id(), jiff::Timestamp::now());
        self.file
            .rewind()
            .and_then(|()| {
                self.file.write_all(
                    format!("{s3}\n{dynamodb}\nprocess {process} since {now:.0}\n").as_bytes(),
                )
            })
            .map_err(|source| LocalError::Lock {
                path: self.path.clone(),
                source,
            })
    }

    pub(super) fn clear(&mut self) {
        // The endpoints in an unlocked file are ignored; emptying it only
        // avoids confusion for a user who opens it.
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(path = %self.path.display(), %error, "cannot empty the lock file");
        }
    }
}

fn parse_endpoints(text: &str) -> Option<(String, String)> {
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(s3), Some(dynamodb)) if !s3.is_empty() && !dynamodb.is_empty() => {
            Some((s3.to_owned(), dynamodb.to_owned()))
        }
        _ => None,
    }
}
