//! The format of a list, and the options by which a person says how to read it.
//!
//! [`Format`] names the formats; a parser of each stands in its own file. [`Form`] is the
//! options together: the format, the hash column, the [`Encoding`] of the hashes, the rules
//! for paths, and the treatment of hashes of [`OtherAlgorithms`].
//!
//! | format | a row | its columns |
//! |---|---|---|
//! | `lines` | a hash | none |
//! | `sums` | what sha256sum, md5deep and their like print | `name`, `size` |
//! | `hashdeep` | what hashdeep prints | as its `%%%%` line names them |
//! | `nsrl`, `hashkeeper`, `ilook` | quoted or bare, by commas, one line | as the header names them |
//! | `csv` | as of RFC 4180: a quoted field may hold line feeds | as the header names them, or by number |
//! | `semicolon` | the same by semicolons | the same |
//! | `tsv`, `psv` | by tabs or `\|`, one line | the same |
//! | `clamav` | a signature of a file, `hash:size:name` | `name`, `size` |
//! | `powershell` | what `Get-FileHash` prints, as a table or as a list | as it names them |
//! | `certutil` | what `certutil -hashfile` prints | `name` |
//! | `ndjson` | one JSON object | its fields, `a.b` for one inside another |
//! | `paths`, where a person says so | a full path, of which the hash is made | `path`, `normalized` |

use crate::list::format::paths;
use crate::list::matchmeta::normalizer::Normalizer;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// One hash a line.
    #[default]
    Lines,
    /// What md5sum, sha256sum, md5deep and their like print: hash and name, with a
    /// size before them or not, and the BSD form `SHA256 (name) = hash`.
    Sums,
    /// What hashdeep prints: a line names the columns.
    Hashdeep,
    /// NSRLFile.txt of the RDS 1.x and 2.x.
    Nsrl,
    /// HashKeeper's .hsh.
    Hashkeeper,
    /// iLook's .hsh, versions 3 and 4.
    Ilook,
    /// Comma-separated, as of RFC 4180.
    Csv,
    /// Tab-separated.
    Tsv,
    /// Separated by `|`.
    Psv,
    /// Separated by semicolons, quoted as comma-separated ones are.
    Semicolon,
    /// ClamAV's signatures of files, `.hdb` and `.hsb`.
    Clamav,
    /// What PowerShell's Get-FileHash prints, as a table or as a list.
    Powershell,
    /// What Windows' certutil -hashfile prints.
    Certutil,
    /// One JSON object a line.
    Ndjson,
    /// One full path a line, made comparable and hashed; see [`Form::paths`].
    Paths,
}

impl Format {
    /// All that hold hashes.
    pub const ALL: [Format; 14] = [
        Format::Lines,
        Format::Sums,
        Format::Hashdeep,
        Format::Nsrl,
        Format::Hashkeeper,
        Format::Ilook,
        Format::Csv,
        Format::Tsv,
        Format::Psv,
        Format::Semicolon,
        Format::Clamav,
        Format::Powershell,
        Format::Certutil,
        Format::Ndjson,
    ];

    /// Its name on the command line, what it is in words, and what stands between the
    /// fields of a row.
    fn facts(self) -> (&'static str, &'static str, Option<u8>) {
        match self {
            Format::Lines => ("lines", "a plain list, one hash a line", None),
            Format::Sums => (
                "sums",
                "the output of a program like sha256sum or md5deep",
                None,
            ),
            Format::Hashdeep => ("hashdeep", "the output of hashdeep", None),
            Format::Nsrl => ("nsrl", "an NSRLFile.txt", Some(b',')),
            Format::Hashkeeper => ("hashkeeper", "a HashKeeper hash set", Some(b',')),
            Format::Ilook => ("ilook", "an iLook hash set", Some(b',')),
            Format::Csv => ("csv", "a comma-separated table", Some(b',')),
            Format::Tsv => ("tsv", "a tab-separated table", Some(b'\t')),
            Format::Psv => ("psv", "a table separated by |", Some(b'|')),
            Format::Semicolon => ("semicolon", "a table separated by semicolons", Some(b';')),
            Format::Clamav => (
                "clamav",
                "a list of ClamAV's signatures of files, .hdb or .hsb",
                None,
            ),
            Format::Powershell => (
                "powershell",
                "the output of PowerShell's Get-FileHash",
                None,
            ),
            Format::Certutil => ("certutil", "the output of certutil -hashfile", None),
            Format::Ndjson => ("ndjson", "JSON, an object a line", None),
            Format::Paths => ("paths", "a list of paths, one a line", None),
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// What it is, in words.
    pub fn described(self) -> &'static str {
        self.facts().1
    }

    /// What stands between the fields of a row.
    pub(super) fn delimiter(self) -> Option<u8> {
        self.facts().2
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a person says that lists are to be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// The format; by the first lines of each list, where it is not said.
    pub format: Option<Format>,
    /// The column that holds the hash: its name, or its number from 1; in JSON, the
    /// field.
    pub column: Option<String>,
    /// How the hashes are written.
    pub encoding: Encoding,
    /// Of lists of paths, by which rules these are made comparable; nothing of lists of
    /// hashes.
    pub paths: Option<Normalizer>,
    /// The treatment of hashes of other algorithms.
    pub others: OtherAlgorithms,
}

impl Form {
    /// Lists of paths, made comparable by `normalizer`: the hash of a line is the
    /// SHA-256 of its path.
    pub fn paths(normalizer: Normalizer) -> Form {
        Form {
            format: Some(Format::Paths),
            column: None,
            encoding: Encoding::Hex,
            paths: Some(normalizer),
            ..Form::default()
        }
    }

    /// Words that are equal for two runs that read alike. They leave out the treatment of
    /// other algorithms: a run may go on once that is said.
    pub fn words(&self) -> String {
        if let Some(paths) = &self.paths {
            return format!("as paths by {}", paths::words(paths));
        }
        let format = self.format.map_or("as they look", Format::name);
        let format = match self.encoding {
            Encoding::Hex => format.to_owned(),
            Encoding::Base64 => format!("{format}, in base64"),
        };
        match &self.column {
            Some(column) => format!("{format}, the hash from column {column}"),
            None => format,
        }
    }
}

/// How hashes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// Hexadecimal, in any case.
    #[default]
    Hex,
    /// Base64: of the standard alphabet or the one for URLs, padded or not.
    Base64,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Encoding; 2] = [Encoding::Hex, Encoding::Base64];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
        }
    }
}

/// The treatment of hashes of other algorithms than the one that a list is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OtherAlgorithms {
    /// A list that mixes them is refused; in one that does not, they are rejected.
    #[default]
    Refuse,
    /// They are skipped, and counted by algorithm.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_but_that_of_paths_can_be_named() {
        // The last one of the type: a format that is added before it has a number below.
        let last = Format::Paths as usize;
        assert_eq!(Format::ALL.len(), last);
        for (n, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, n, "{format}");
            let json = serde_json::to_string(&format).expect("JSON");
            assert_eq!(json, format!("\"{format}\""));
        }
    }
}
