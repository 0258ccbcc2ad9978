//! The file of `--report`: replaced as a whole, or left unchanged.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::state_file;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind as IoErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Target file of a report, checked for writability before the run.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    mode: WriteMode,
}

#[derive(Debug)]
enum WriteMode {
    /// Write a temporary file in the same directory, then rename it to the target.
    Replace,
    /// Write to the target itself: a pipe, a device, or a file in a read-only directory.
    InPlace(File),
}

impl ReportFile {
    /// Checks that a report can be written to `path`. An existing file stays unchanged until
    /// [`Self::write`].
    ///
    /// # Errors
    /// A usage error if `path` cannot be written to.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let way = choose_mode(path).map_err(|e| {
            Error::usage(format!("cannot write the report to {}", path.display()))
                .with_source(e)
                .with_hint("name a path in an existing, writable directory")
        })?;
        Ok(ReportFile {
            path: path.to_owned(),
            mode: way,
        })
    }

    /// Writes the report. If that fails, the hint of the error contains `known`, the result of
    /// the run.
    pub(super) fn write(&mut self, json: &str, known: &str) -> Result<()> {
        let path = self.path.display();
        let (written, hint) = match &mut self.mode {
            WriteMode::Replace => {
                let hint = match self.path.exists() {
                    true => format!("{known}. The previous report is unchanged"),
                    false => known.to_owned(),
                };
                (
                    state_file::replace_readable(&self.path, json.as_bytes()),
                    hint,
                )
            }
            WriteMode::InPlace(file) => (write_in_place(file, json), known.to_owned()),
        };
        written.map_err(|e| {
            Error::new(
                ErrorKind::Output,
                format!("cannot write the report to {path}"),
            )
            .with_source(e)
            .with_hint(hint)
        })
    }
}

fn choose_mode(path: &Path) -> io::Result<WriteMode> {
    let there = std::fs::metadata(path);
    let is_plain = there.as_ref().map_or(true, std::fs::Metadata::is_file);
    // A name such as /dev/stdout may be a file that other processes have open.
    let is_name_of_another = ["/dev", "/proc"]
        .iter()
        .any(|folder| path.starts_with(folder));
    if !is_plain || is_name_of_another {
        return OpenOptions::new()
            .append(true)
            .open(path)
            .map(WriteMode::InPlace);
    }
    match state_file::check_replace(path) {
        Ok(()) => Ok(WriteMode::Replace),
        Err(e) => match (e.kind(), there) {
            (IoErrorKind::PermissionDenied | IoErrorKind::ReadOnlyFilesystem, Ok(_)) => {
                OpenOptions::new()
                    .write(true)
                    .open(path)
                    .map(WriteMode::InPlace)
            }
            _ => Err(e),
        },
    }
}

fn write_in_place(file: &mut File, json: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(json.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_stays_until_the_report_is_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("report.json");
        std::fs::write(&path, "old").expect("written");
        let mut file = ReportFile::create(&path).expect("it can be written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "old");
        assert_eq!(dir.path().read_dir().expect("a list").count(), 1);
        file.write("new", "").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "new");
        assert_eq!(dir.path().read_dir().expect("a list").count(), 1);
        let error = ReportFile::create(&dir.path().join("no/such")).expect_err("no folder");
        assert_eq!(error.exit_status(), 2);
        assert!(!dir.path().join("no").exists(), "created a directory");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_error_of_an_unwritable_report_contains_the_result() {
        let mut file = ReportFile::create(Path::new("/dev/full")).expect("it can be opened");
        let error = file
            .write("{}", "7 lines are written")
            .expect_err("it is full");
        assert_eq!(error.exit_status(), 1);
        assert_eq!(error.hint(), Some("7 lines are written"));
    }
}
