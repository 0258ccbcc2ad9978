//! Lists of paths: each line is made comparable by [`matchmeta`](crate::list::matchmeta::normalizer), and
//! its hash is the SHA-256 of that.
//!
//! The rules belong beside the hashes, for a table answers only to those that built it:
//! `attributes` of a form are what every item gets.

use crate::base::error::{Error, Result};
use crate::base::hash::Algorithm;
use crate::base::record::Reason;
use crate::list::format::plain::Parsed;
use crate::list::matchmeta::normalizer;
use crate::list::matchmeta::normalizer::{Normalizer, Unfit, Users};

/// What can be taken into items of a path: as it stands in the list, and as it was
/// hashed.
const COLUMNS: [&str; 2] = ["path", "normalized"];

/// The names of the columns.
pub(super) fn columns() -> Vec<String> {
    COLUMNS.map(str::to_owned).to_vec()
}

/// The attributes that tell the rules: `rules`, and `unix_user` and `windows_user` where
/// the rules' own do not stand for the users.
pub(super) fn told(normalizer: &Normalizer) -> impl Iterator<Item = (&'static str, &str)> {
    let rules = normalizer.rules();
    let (own, users) = (Users::of(rules), normalizer.users());
    let unix = (users.unix != own.unix).then_some(users.unix.as_str());
    let windows = (users.windows != own.windows).then_some(users.windows.as_str());
    [("rules", rules.name())]
        .into_iter()
        .chain(unix.map(|user| ("unix_user", user)))
        .chain(windows.map(|user| ("windows_user", user)))
}

/// In words, what paths are made comparable by.
pub(super) fn words(normalizer: &Normalizer) -> String {
    let users = normalizer.users();
    format!(
        "rules {} (users: {}, {})",
        normalizer.rules(),
        users.unix,
        users.windows
    )
}

/// Makes hashes of the lines of one list.
#[derive(Debug)]
pub(super) struct PathParser {
    normalizer: Normalizer,
    /// Which of the columns are wanted.
    wanted: Vec<usize>,
    /// The last path as it was hashed, and as it stood there, where that is wanted.
    normalized: Vec<u8>,
    path: Vec<u8>,
}

impl PathParser {
    /// A parser of paths for a table of hashes of `algorithm`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when that is not SHA-256.
    pub(super) fn new(
        normalizer: Normalizer,
        algorithm: Algorithm,
        wanted: Vec<usize>,
    ) -> Result<PathParser> {
        if algorithm != Algorithm::Sha256 {
            return Err(Error::usage(format!(
                "paths are hashed by SHA-256, and this table or --hash says {algorithm}"
            ))
            .hint("name a table whose partition key is sha256, or give --hash sha256"));
        }
        Ok(PathParser {
            normalizer,
            wanted,
            normalized: Vec::new(),
            path: Vec::new(),
        })
    }

    /// What a line is, which may be the `first` of its list.
    pub(super) fn parse(&mut self, line: &[u8], first: bool) -> Parsed {
        let path = normalizer::of_line(line, first);
        self.normalized.clear();
        if let Err(why) = self.normalizer.normalize(path, &mut self.normalized) {
            return match why {
                Unfit::Empty => Parsed::Skipped,
                Unfit::Nul => Parsed::Rejected(Reason::Nul),
                Unfit::Surrogate | Unfit::Utf8 => Parsed::Rejected(Reason::Utf8),
            };
        }
        if self.wanted.contains(&0) {
            self.path.clear();
            self.path.extend_from_slice(path);
        }
        Parsed::Hash(normalizer::hash(&self.normalized))
    }

    /// Of the last path, the n-th of the wanted columns.
    pub(super) fn wanted(&self, n: usize) -> Option<&[u8]> {
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
    fn a_line_is_hashed_as_it_is_normalised() {
        let mut parser =
            PathParser::new(Normalizer::default(), Algorithm::Sha256, vec![1, 0]).expect("fits");
        let parsed = parser.parse(b"\xEF\xBB\xBF/home/alice/x\r", true);
        assert_eq!(parsed, Parsed::Hash(normalizer::hash(b"/home/ubuntu/x")));
        assert_eq!(parser.wanted(0), Some(&b"/home/ubuntu/x"[..]));
        assert_eq!(parser.wanted(1), Some(&b"/home/alice/x"[..]));
        assert_eq!(parser.wanted(2), None);
        for (line, parsed) in [
            (&b""[..], Parsed::Skipped),
            (b"\r", Parsed::Skipped),
            (b"/a\0b", Parsed::Rejected(Reason::Nul)),
            (b"/a\xFF", Parsed::Rejected(Reason::Utf8)),
            (b"/a\xED\xA0\x80", Parsed::Rejected(Reason::Utf8)),
            // No comment: a path may begin so.
            (b"# x", Parsed::Hash(normalizer::hash(b"# x"))),
        ] {
            assert_eq!(parser.parse(line, false), parsed, "{line:?}");
        }
    }

    #[test]
    fn paths_have_one_algorithm() {
        let error = PathParser::new(Normalizer::default(), Algorithm::Md5, vec![]);
        assert!(error.expect_err("refused").to_string().contains("SHA-256"));
    }

    #[test]
    fn items_tell_the_rules_and_users_that_are_not_the_rules_own() {
        let told = |rules, unix: &str, windows: &str| {
            let users = Users {
                unix: unix.to_owned(),
                windows: windows.to_owned(),
            };
            let normalizer = Normalizer::new(rules, users).expect("names");
            let told = super::told(&normalizer);
            told.map(|(name, text)| format!("{name}={text}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(told(Rules::V2, "ubuntu", "Administrator"), ["rules=v2"]);
        assert_eq!(told(Rules::V3, "user", "Administrator"), ["rules=v3"]);
        assert_eq!(
            told(Rules::V3, "ubuntu", "Admin"),
            ["rules=v3", "unix_user=ubuntu", "windows_user=Admin"]
        );
    }
}
