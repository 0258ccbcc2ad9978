//! The formats of lists, and the options for reading a list.
//!
//! [`Format`] names the formats. [`ListOptions`] groups the options: the format, the hash column,
//! the [`Encoding`] of the hashes, the rules for paths, and the treatment of hashes of
//! [`OtherAlgorithms`].
//!
//! | format | row | columns |
//! |---|---|---|
//! | `lines` | a hash | none |
//! | `sums` | output of sha256sum, md5deep and similar programs | `name`, `size` |
//! | `hashdeep` | output of hashdeep | named in its `%%%%` line |
//! | `nsrl`, `hashkeeper`, `ilook` | comma-separated, quoted or not, on one line | named in the header |
//! | `csv` | RFC 4180: a quoted field may hold line feeds | named in the header, or numbers |
//! | `semicolon` | as `csv`, separated by semicolons | as `csv` |
//! | `tsv`, `psv` | separated by tabs or `\|`, on one line | as `csv` |
//! | `clamav` | a file signature, `hash:size:name` | `name`, `size` |
//! | `powershell` | output of `Get-FileHash`, as a table or a list | named in the output |
//! | `certutil` | output of `certutil -hashfile` | `name` |
//! | `ndjson` | one JSON object | its fields, `a.b` for a nested field |
//! | `paths`, only if requested | a full path, which is normalised and hashed | `path`, `normalized` |

use crate::list::format::paths;
use crate::list::matchmeta::normalizer::Normalizer;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Format of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// One hash per line.
    #[default]
    Lines,
    /// Output of md5sum, sha256sum, md5deep and similar programs: hash and name, optionally
    /// with a size before them, or the BSD format `SHA256 (name) = hash`.
    Sums,
    /// Output of hashdeep, in which a line names the columns.
    Hashdeep,
    /// NSRLFile.txt of RDS 1.x and 2.x.
    Nsrl,
    /// HashKeeper's .hsh.
    Hashkeeper,
    /// iLook's .hsh, versions 3 and 4.
    Ilook,
    /// Comma-separated, RFC 4180.
    Csv,
    /// Tab-separated.
    Tsv,
    /// Separated by `|`.
    Psv,
    /// Separated by semicolons, with quotes as in RFC 4180.
    Semicolon,
    /// ClamAV's signatures of files, `.hdb` and `.hsb`.
    Clamav,
    /// Output of PowerShell's `Get-FileHash`, as a table or a list.
    Powershell,
    /// Output of Windows' `certutil -hashfile`.
    Certutil,
    /// One JSON object per line.
    Ndjson,
    /// One full path per line, which is normalised and hashed; see [`ListOptions::paths`].
    Paths,
}

impl Format {
    /// All formats that hold hashes.
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

    /// Name on the command line, description, and delimiter of the fields in a row.
    fn facts(self) -> (&'static str, &'static str, Option<u8>) {
        match self {
            Format::Lines => ("lines", "a plain list, one hash per line", None),
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
                "a list of ClamAV signatures of files (.hdb or .hsb)",
                None,
            ),
            Format::Powershell => (
                "powershell",
                "the output of PowerShell's Get-FileHash",
                None,
            ),
            Format::Certutil => ("certutil", "the output of certutil -hashfile", None),
            Format::Ndjson => ("ndjson", "JSON, one object per line", None),
            Format::Paths => ("paths", "a list of paths, one per line", None),
        }
    }

    /// Returns the name of the format on the command line.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// Describes the format, for messages.
    pub fn describe(self) -> &'static str {
        self.facts().1
    }

    /// Returns the delimiter of the fields in a row. `None` if the format has none.
    pub(super) fn delimiter(self) -> Option<u8> {
        self.facts().2
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Options for reading lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Format of the lists. `None` to detect it by the first lines of each list.
    pub format: Option<Format>,
    /// The hash column, by name or by number from 1; in JSON, the path of the field. `None`
    /// to detect it.
    pub column: Option<String>,
    /// Encoding of the hashes.
    pub encoding: Encoding,
    /// Rules that normalise the paths of lists of paths. `None` for lists of hashes.
    pub path_normalizer: Option<Normalizer>,
    /// The treatment of hashes of other algorithms.
    pub other_algorithms: OtherAlgorithms,
}

impl ListOptions {
    /// Options for lists of paths: the hash of a line is the SHA-256 of its path,
    /// normalised by `normalizer`.
    pub fn paths(normalizer: Normalizer) -> ListOptions {
        ListOptions {
            format: Some(Format::Paths),
            column: None,
            encoding: Encoding::Hex,
            path_normalizer: Some(normalizer),
            ..ListOptions::default()
        }
    }

    /// Describes the options that a resumed run must repeat. Checkpoints store the text, so it
    /// never changes. It omits the treatment of other algorithms, which a user may change before
    /// a run resumes.
    pub fn describe(&self) -> String {
        if let Some(paths) = &self.path_normalizer {
            return format!("as paths by {}", paths::describe(paths));
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

/// Encoding of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encoding {
    /// Hexadecimal, in any case.
    #[default]
    Hex,
    /// Base64 in the standard or the URL alphabet, with or without padding.
    Base64,
}

impl Encoding {
    /// All encodings.
    pub const ALL: [Encoding; 2] = [Encoding::Hex, Encoding::Base64];

    /// Returns the name of the encoding on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Hex => "hex",
            Encoding::Base64 => "base64",
        }
    }
}

/// Treatment of hashes of other algorithms than the one that a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OtherAlgorithms {
    /// A list that mixes algorithms line by line is an error. In other lists such lines are
    /// rejected.
    #[default]
    Refuse,
    /// Such lines are skipped, and counted by algorithm.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holds_every_format_but_paths() {
        // The last variant: new formats go before it.
        let last = Format::Paths as usize;
        assert_eq!(Format::ALL.len(), last);
        for (n, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, n, "{format}");
            let json = serde_json::to_string(&format).expect("JSON");
            assert_eq!(json, format!("\"{format}\""));
        }
    }
}
