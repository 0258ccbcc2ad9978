//! The file that a report goes to: whole, or as it was before.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::state_file;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind as IoErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The file that the report goes to, known to be writable before there is one.
#[derive(Debug)]
pub(super) struct ReportFile {
    path: PathBuf,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Written beside, then renamed over what is there.
    Beside,
    /// A pipe or a device, or a file in a folder that takes no other.
    Open(File),
}

impl ReportFile {
    /// Checks that a report can be written to `path`. What is there stays until then.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let way = way(path).map_err(|e| {
            Error::usage(format!("cannot write the report to {}", path.display()))
                .because(e)
                .hint("name a path in a folder that exists and can be written to")
        })?;
        Ok(ReportFile {
            path: path.to_owned(),
            way,
        })
    }

    /// Writes the report; if that fails, the message says what is `known` all the same.
    pub(super) fn write(&mut self, json: &str, known: &str) -> Result<()> {
        let path = self.path.display();
        let (written, hint) = match &mut self.way {
            Way::Beside => {
                let hint = match self.path.exists() {
                    true => format!("{known}. The report that was there before is still whole"),
                    false => known.to_owned(),
                };
                (
                    state_file::replace_readable(&self.path, json.as_bytes()),
                    hint,
                )
            }
            Way::Open(file) => (write_over(file, json), known.to_owned()),
        };
        written.map_err(|e| {
            Error::new(
                ErrorKind::Output,
                format!("cannot write the report to {path}"),
            )
            .because(e)
            .hint(hint)
        })
    }
}

fn way(path: &Path) -> io::Result<Way> {
    let there = std::fs::metadata(path);
    let is_plain = there.as_ref().map_or(true, std::fs::Metadata::is_file);
    // Behind a name such as /dev/stdout there may be a file that others have open.
    let is_name_of_another = ["/dev", "/proc"]
        .iter()
        .any(|folder| path.starts_with(folder));
    if !is_plain || is_name_of_another {
        return OpenOptions::new().append(true).open(path).map(Way::Open);
    }
    match state_file::can_replace(path) {
        Ok(()) => Ok(Way::Beside),
        Err(e) => match (e.kind(), there) {
            (IoErrorKind::PermissionDenied | IoErrorKind::ReadOnlyFilesystem, Ok(_)) => {
                OpenOptions::new().write(true).open(path).map(Way::Open)
            }
            _ => Err(e),
        },
    }
}

fn write_over(file: &mut File, json: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(json.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_until_the_report_is_written() {
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
        assert!(!dir.path().join("no").exists(), "and none is made");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_report_that_cannot_be_written_says_what_is_known_all_the_same() {
        let mut file = ReportFile::create(Path::new("/dev/full")).expect("it can be opened");
        let error = file
            .write("{}", "7 lines are written")
            .expect_err("it is full");
        assert_eq!(error.exit_status(), 1);
        assert_eq!(error.what_to_do(), Some("7 lines are written"));
    }
}
