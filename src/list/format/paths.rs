//! Lists of paths: [`matchmeta`](crate::list::matchmeta::normalizer) normalises each line,
//! and the hash of the line is the SHA-256 of the result.
//!
//! Every item gets the rules as attributes, because a look-up must use the rules that built
//! the table.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::record::RejectReason;
use crate::list::format::plain::Parsed;
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::{InvalidPath, Normalizer, Users};

/// Columns of a list of paths: the path as listed, and as hashed.
const COLUMNS: [&str; 2] = ["path", "normalized"];

/// Returns the names of the columns.
pub(super) fn columns() -> Vec<String> {
    COLUMNS.map(str::to_owned).to_vec()
}

/// Returns the attributes that store the rules: `rules`, and `unix_user` and `windows_user`
/// if they differ from the defaults of the rules.
pub(super) fn pairs(normalizer: &Normalizer) -> impl Iterator<Item = (&'static str, &str)> {
    let rules = normalizer.rules();
    let (defaults, users) = (Users::for_rules(rules), normalizer.users());
    let unix = (users.unix != defaults.unix).then_some(users.unix.as_str());
    let windows = (users.windows != defaults.windows).then_some(users.windows.as_str());
    [("rules", rules.name())]
        .into_iter()
        .chain(unix.map(|user| ("unix_user", user)))
        .chain(windows.map(|user| ("windows_user", user)))
}

/// Describes the rules and users. Checkpoints store the text, so it never changes.
pub(super) fn describe(normalizer: &Normalizer) -> String {
    let users = normalizer.users();
    format!(
        "rules {} (users: {}, {})",
        normalizer.rules(),
        users.unix,
        users.windows
    )
}

/// Parser of one list of paths.
#[derive(Debug)]
pub(super) struct PathParser {
    normalizer: Normalizer,
    /// Indexes of the wanted columns.
    wanted: Vec<usize>,
    /// The last path as hashed, and as listed if that column is wanted.
    normalized: Vec<u8>,
    path: Vec<u8>,
}

impl PathParser {
    /// A parser of paths for a table of `algorithm` hashes.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if `algorithm` is not SHA-256.
    pub(super) fn new(
        normalizer: Normalizer,
        algorithm: Algorithm,
        wanted: Vec<usize>,
    ) -> Result<PathParser> {
        if algorithm != Algorithm::Sha256 {
            return Err(Error::usage(format!(
                "paths are hashed with SHA-256, but this table or --hash says {algorithm}"
            ))
            .with_hint("give a table whose partition key is sha256, or give --hash sha256"));
        }
        Ok(PathParser {
            normalizer,
            wanted,
            normalized: Vec::new(),
            path: Vec::new(),
        })
    }

    /// Parses a line; `first` says that it is the first one of its list.
    pub(super) fn parse(&mut self, line: &[u8], first: bool) -> Parsed {
        let path = normalizer::path_from_line(line, first);
        self.normalized.clear();
        if let Err(why) = self.normalizer.normalize(path, &mut self.normalized) {
            return match why {
                InvalidPath::Empty => Parsed::Skipped,
                InvalidPath::Nul => Parsed::Rejected(RejectReason::Nul),
                InvalidPath::Surrogate | InvalidPath::Utf8 => Parsed::Rejected(RejectReason::Utf8),
            };
        }
        if self.wanted.contains(&0) {
            self.path.clear();
            self.path.extend_from_slice(path);
        }
        Parsed::Hash(normalizer::hash(&self.normalized))
    }

    /// Returns the n-th wanted column of the last path. `None` if there is no such column.
    pub(super) fn column_value(&self, n: usize) -> Option<&[u8]> {
        match self.wanted.get(n)? {
            0 => Some(&self.path),
            _ => Some(&self.normalized),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::matchmeta::normalizer::Rules;

    #[test]
    fn the_hash_is_that_of_the_normalised_line() {
        let mut parser =
            PathParser::new(Normalizer::default(), Algorithm::Sha256, vec![1, 0]).expect("fits");
        let parsed = parser.parse(b"\xEF\xBB\xBF/home/alice/x\r", true);
        assert_eq!(parsed, Parsed::Hash(normalizer::hash(b"/home/ubuntu/x")));
        assert_eq!(parser.column_value(0), Some(&b"/home/ubuntu/x"[..]));
        assert_eq!(parser.column_value(1), Some(&b"/home/alice/x"[..]));
        assert_eq!(parser.column_value(2), None);
        for (line, parsed) in [
            (&b""[..], Parsed::Skipped),
            (b"\r", Parsed::Skipped),
            (b"/a\0b", Parsed::Rejected(RejectReason::Nul)),
            (b"/a\xFF", Parsed::Rejected(RejectReason::Utf8)),
            (b"/a\xED\xA0\x80", Parsed::Rejected(RejectReason::Utf8)),
            // Not a comment: a path may begin with `#`.
            (b"# x", Parsed::Hash(normalizer::hash(b"# x"))),
        ] {
            assert_eq!(parser.parse(line, false), parsed, "{line:?}");
        }
    }

    #[test]
    fn paths_are_hashed_with_sha256_only() {
        let error = PathParser::new(Normalizer::default(), Algorithm::Md5, vec![]);
        assert!(error.expect_err("md5").to_string().contains("SHA-256"));
    }

    #[test]
    fn attributes_hold_the_rules_and_users_other_than_the_defaults() {
        let pairs = |rules, unix: &str, windows: &str| {
            let users = Users {
                unix: unix.to_owned(),
                windows: windows.to_owned(),
            };
            let normalizer = Normalizer::new(rules, users).expect("names");
            let pairs = super::pairs(&normalizer);
            pairs
                .map(|(name, text)| format!("{name}={text}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(pairs(Rules::V2, "ubuntu", "Administrator"), ["rules=v2"]);
        assert_eq!(pairs(Rules::V3, "user", "Administrator"), ["rules=v3"]);
        assert_eq!(
            pairs(Rules::V3, "ubuntu", "Admin"),
            ["rules=v3", "unix_user=ubuntu", "windows_user=Admin"]
        );
    }
}
