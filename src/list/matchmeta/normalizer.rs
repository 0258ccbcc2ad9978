//! Normalisation of paths (MatchMeta): replaces the parts of a full path that differ between
//! two machines of the same build. The result is hashed with SHA-256.
//!
//! A hidden file stands out because its full path is not among those of a gold build, the clean
//! reference installation. To compare paths, the drive letter and the names of users are
//! replaced by standard ones; everything else stays byte for byte. The result is hashed as
//! UTF-8, so that a table of paths is an ordinary table of SHA-256 hashes.
//!
//! # The rules
//!
//! Two generations are in use ([`Rules`]). A look-up must use the rules and [`Users`] that
//! built the table, so the table stores both with the hashes.
//!
//! | path | `v2`, the default | `v3` |
//! |---|---|---|
//! | begins with `/`: Unix | | |
//! | `/home/NAME…` | `/home/ubuntu…` | `/home/user…` |
//! | `/Users/NAME…` | stays | `/Users/user…`, except `Shared` |
//! | otherwise, second character is `:`: Windows | the drive becomes `C` | the drive stays, except in the next rows |
//! | `D:\Users\NAME…` | `C:\Users\Administrator…` | as `v2`; with `Default`, `Public`, `All Users`, `Default User` the whole path stays |
//! | `D:\Documents and Settings\NAME…` | `C:\Documents and Settings\Administrator…` | as `v2`, with the same exceptions |
//! | anything else | stays | stays |
//!
//! `v2` follows the published rule exactly: it replaces an empty `NAME`, too, and treats
//! all text before the first `\` as the drive. `v3` does not replace an empty `NAME`, and
//! requires the `\` right after the drive.
//!
//! `NAME` is one complete component, a folder or a file (`C:\Users\desktop.ini`
//! becomes `C:\Users\Administrator`). Components are compared exactly: `/Home`,
//! `C:\USERS` and `C:\users` are other folders. Nothing is trimmed, case-folded,
//! percent-decoded or brought into a Unicode normal form. `.` and `..` are ordinary names.
//! Normalising a normalised path changes nothing.
//!
//! # Separators
//!
//! `/` on Unix; only `\` on Windows. Windows accepts `/` as well, but its listings never
//! contain it, and the hashes of `C:/Users/x` and `C:\Users\x` differ anyway. In a list
//! with `/`, only the drive is replaced. Convert it first (`tr / '\\'`) to compare it with a list
//! from Windows.
//!
//! # Edge cases
//!
//! | path | result |
//! |---|---|
//! | `/`, `a`, `:`, any other single character | stays |
//! | `/home`, `/Users`, `/Users/` | stays: there is no name to replace |
//! | `/home/`, `/home//x` | `/home/ubuntu`, `/home/ubuntu/x` (`v3`: stay, the name is empty) |
//! | `//home/x` | stays: the first component is empty, not `home` |
//! | `/home/x`, `/home/x/` | `/home/ubuntu`, `/home/ubuntu/` |
//! | `home/x` | stays: relative |
//! | `d:` | `C:` (`v3`: stays) |
//! | `1:\x`, `é:\x`, `::` | `C:\x`, `C:\x`, `C:` (`v3`: stay): the first character may be any but `/` |
//! | `D:x`, `D:Users\x\y` | `C:x`, `C:Users\x\y` (`v3`: stay): relative to the drive's current folder |
//! | `D:a\Users\x`, `D:/a\Users\x` | `C:a\Users\Administrator`, `C:/a\Users\Administrator` (`v3`: stay) |
//! | `D:\Users` | the drive as `v2` says, nothing else: there is no name |
//! | `D:\Users\`, `D:\Users\\x` | `C:\Users\Administrator`, `C:\Users\Administrator\x` (`v3`: stay, the name is empty) |
//! | `D:\\Users\x` | the drive as `v2` says, nothing else: the first component is empty |
//! | `\\server\share\Users\x`, `\\?\D:\Users\x` | stays |
//! | ` `, `/home/x ` | blanks are part of a name |
//! | empty | [`InvalidPath::Empty`] |
//! | with a NUL | [`InvalidPath::Nul`]: neither system allows it in a name |
//! | with a surrogate (WTF-8, CESU-8; alone or in a pair) | [`InvalidPath::Surrogate`]: UTF-8 cannot encode it |
//! | other invalid UTF-8 | [`InvalidPath::Utf8`]; a NUL is detected first |
//!
//! # Lists of paths
//!
//! One path per line ([`path_from_line`]). LF or CR LF ends a line, and so does the end of the
//! list, with or without a CR before it. A byte order mark at the start of the list is
//! dropped; blanks stay. An empty line is skipped.

use crate::base::error::{Error, Result as CrateResult};
use crate::base::hash::Hash;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Default users of the machine images of Linux distributions, on which gold builds may be
/// based: Ubuntu, Debian, CentOS, Amazon Linux.
pub(crate) const UNIX_USERS: [&str; 4] = ["ubuntu", "admin", "centos", "ec2-user"];

/// The default user of a Windows installation.
const WINDOWS_USER: &str = "Administrator";

/// Folders of users on Windows: current, and up to Windows XP.
const WINDOWS_HOMES: [&[u8]; 2] = [b"Users", b"Documents and Settings"];

/// Folders on Windows that are beside those of users but belong to no user.
const WINDOWS_SHARED: [&[u8]; 4] = [b"Default", b"Public", b"All Users", b"Default User"];

/// UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A generation of the rules. See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rules {
    /// Rules of 2018: the distribution's user, and drive `C` for every Windows path.
    #[default]
    V2,
    /// Rules of 2024: `user`, also on macOS; Windows paths only in users' folders.
    V3,
}

impl Rules {
    /// All generations, oldest first.
    pub const ALL: [Rules; 2] = [Rules::V2, Rules::V3];

    /// Returns the name, as used on the command line, in answers and in items.
    pub fn name(self) -> &'static str {
        match self {
            Rules::V2 => "v2",
            Rules::V3 => "v3",
        }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Rules::ALL
            .into_iter()
            .find(|rules| rules.name() == text)
            .ok_or_else(|| format!("expected v2 or v3, got {text:?}"))
    }
}

/// Names that replace those of all users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// User of Unix paths.
    pub unix: String,
    /// User of Windows paths.
    pub windows: String,
}

impl Users {
    /// Default users of the rules: `ubuntu` in `v2`, `user` in `v3`; `Administrator` in both.
    pub fn for_rules(rules: Rules) -> Users {
        Users {
            unix: match rules {
                Rules::V2 => UNIX_USERS[0].to_owned(),
                Rules::V3 => "user".to_owned(),
            },
            windows: WINDOWS_USER.to_owned(),
        }
    }
}

/// Reason why bytes are not a valid path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPath {
    Empty,
    /// It holds a NUL byte.
    Nul,
    /// It holds a surrogate, encoded as in WTF-8 or CESU-8; UTF-8 cannot encode it.
    Surrogate,
    /// It is not valid UTF-8.
    Utf8,
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidPath::Empty => "empty",
            InvalidPath::Nul => "holds a NUL byte",
            InvalidPath::Surrogate => "holds a surrogate, encoded as in WTF-8 or CESU-8",
            InvalidPath::Utf8 => "not valid UTF-8",
        })
    }
}

impl std::error::Error for InvalidPath {}

/// Normaliser of paths with one set of rules and users. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalizer {
    rules: Rules,
    users: Users,
}

impl Default for Normalizer {
    fn default() -> Self {
        Normalizer::with_rules(Rules::default())
    }
}

impl Normalizer {
    /// A normaliser with these rules and their default users.
    pub fn with_rules(rules: Rules) -> Normalizer {
        Normalizer {
            rules,
            users: Users::for_rules(rules),
        }
    }

    /// A normaliser with these rules and users.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a name is empty, or
    /// holds a separator or a control character.
    pub fn new(rules: Rules, users: Users) -> CrateResult<Normalizer> {
        for (system, name) in [("Unix", &users.unix), ("Windows", &users.windows)] {
            let is_invalid = |c: char| c == '/' || c == '\\' || c.is_control();
            if name.is_empty() || name.contains(is_invalid) {
                return Err(Error::usage(format!(
                    "{name:?} is not a valid user of {system} paths: expected one component of a path"
                ))
                .with_hint(format!(
                    "give a plain name, such as {} or {WINDOWS_USER}",
                    UNIX_USERS.join(", ")
                )));
            }
        }
        Ok(Normalizer { rules, users })
    }

    /// Returns the rules.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Returns the users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Appends the normalised `path` to `out`. Appends nothing on an error.
    ///
    /// # Errors
    /// The reason why it is not a valid path.
    pub fn normalize(&self, path: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidPath> {
        let parts = self.parts(path)?;
        out.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
        Ok(())
    }

    /// Returns the SHA-256 of the normalised `path`, without allocating a normalised copy.
    ///
    /// # Errors
    /// The reason why it is not a valid path.
    pub fn hash(&self, path: &[u8]) -> Result<Hash, InvalidPath> {
        let mut digest = Sha256::new();
        for part in self.parts(path)? {
            digest.update(part);
        }
        Ok(Hash::from(<[u8; 32]>::from(digest.finalize())))
    }

    /// Returns the parts of the normalised path in order: slices of `path` and a user.
    fn parts<'a>(&'a self, path: &'a [u8]) -> Result<[&'a [u8]; 4], InvalidPath> {
        let text = check_path(path)?;
        let mut characters = text.chars();
        let first = characters.next();
        if first == Some('/') {
            let home: &[&[u8]] = match self.rules {
                Rules::V2 => &[b"home"],
                Rules::V3 => &[b"home", b"Users"],
            };
            let shared: &[&[u8]] = match self.rules {
                Rules::V2 => &[],
                // On macOS, so not below /home.
                Rules::V3 if path.starts_with(b"/Users/") => &[b"Shared"],
                Rules::V3 => &[],
            };
            return Ok(match self.split_at_user(path, b'/', home, shared) {
                Some((before, after)) => [before, self.users.unix.as_bytes(), after, b""],
                None => [path, b"", b"", b""],
            });
        }
        if characters.next() != Some(':') {
            return Ok([path, b"", b"", b""]);
        }
        // The part from the colon on: the drive is one character of one to four bytes.
        let rest = &path[first.map_or(0, char::len_utf8)..];
        let (separator, shared): (_, &[&[u8]]) = match self.rules {
            Rules::V2 => (memchr::memchr(b'\\', rest), &[]),
            Rules::V3 => (Some(1), &WINDOWS_SHARED),
        };
        let name = separator.and_then(|at| {
            let below = rest.get(at..)?;
            let (before, after) = self.split_at_user(below, b'\\', &WINDOWS_HOMES, shared)?;
            Some((&rest[..at + before.len()], after))
        });
        Ok(match (name, self.rules) {
            (Some((before, after)), _) => [b"C", before, self.users.windows.as_bytes(), after],
            (None, Rules::V2) => [b"C", rest, b"", b""],
            (None, Rules::V3) => [path, b"", b"", b""],
        })
    }

    /// Splits `path` around its second component, the user to replace. `None` if the first
    /// component is none of `homes`, or the second is one of `shared`, or empty in `v3`.
    fn split_at_user<'a>(
        &self,
        path: &'a [u8],
        separator: u8,
        homes: &[&[u8]],
        shared: &[&[u8]],
    ) -> Option<(&'a [u8], &'a [u8])> {
        let inside = path.strip_prefix(&[separator])?;
        let home = homes
            .iter()
            .find(|h| inside.starts_with(h) && inside.get(h.len()) == Some(&separator))?;
        // Two separators, with the home between them.
        let (before, name) = path.split_at(home.len() + 2);
        let end = memchr::memchr(separator, name).unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        let replaced = match self.rules {
            Rules::V2 => true,
            Rules::V3 => !name.is_empty(),
        };
        (replaced && !shared.contains(&name)).then_some((before, after))
    }
}

/// Checks that `path` is a valid path and returns it as text.
fn check_path(path: &[u8]) -> Result<&str, InvalidPath> {
    if path.is_empty() {
        return Err(InvalidPath::Empty);
    }
    if memchr::memchr(0, path).is_some() {
        return Err(InvalidPath::Nul);
    }
    std::str::from_utf8(path).map_err(|e| match path.get(e.valid_up_to()..) {
        // U+D800 to U+DFFF, encoded in three bytes each.
        Some([0xED, 0xA0..=0xBF, 0x80..=0xBF, ..]) => InvalidPath::Surrogate,
        _ => InvalidPath::Utf8,
    })
}

/// Returns the SHA-256 of a normalised path.
pub(crate) fn hash(normalized: &[u8]) -> Hash {
    Hash::from(<[u8; 32]>::from(Sha256::digest(normalized)))
}

/// Returns the path on a line without line feed: strips the carriage return and, from the
/// `first` line of a list, the byte order mark. The path may be empty.
pub(crate) fn path_from_line(line: &[u8], first: bool) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match first {
        true => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
        false => line,
    }
}

#[cfg(test)]
mod tests;
