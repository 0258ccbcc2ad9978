//! Paths made comparable (MatchMeta): a full path without what differs between two
//! machines that were built alike, and the SHA-256 of that.
//!
//! A file that hides among others shows when its full path is not among the paths of
//! a gold build. For that the drive letter and the names of users are replaced by
//! standard ones, and everything else stays byte for byte. The result is hashed as
//! UTF-8, so that a table of paths is a table of SHA-256 like any other.
//!
//! # The rules
//!
//! Two generations of them are in use ([`Rules`]). A table answers only to the rules,
//! and the [`Users`], that built it: both belong beside the hashes.
//!
//! | a path | `v2`, the default | `v3` |
//! |---|---|---|
//! | begins with `/`: Unix | | |
//! | `/home/NAME…` | `/home/ubuntu…` | `/home/user…` |
//! | `/Users/NAME…` | stays | `/Users/user…`, except `Shared` |
//! | else, its second character is `:`: Windows | the drive becomes `C` | the drive stays, except below |
//! | `D:\Users\NAME…` | `C:\Users\Administrator…` | the same, except `Default`, `Public`, `All Users`, `Default User`, with which the whole path stays |
//! | `D:\Documents and Settings\NAME…` | `C:\Documents and Settings\Administrator…` | the same, with the same exceptions |
//! | anything else | stays | stays |
//!
//! `v2` is the published rule to the letter: it replaces an empty `NAME` too, and takes
//! what stands before the first `\` for the drive. `v3` leaves an empty `NAME` alone, and
//! needs the `\` right after the drive.
//!
//! `NAME` is one component, whole, a folder or a file (`C:\Users\desktop.ini`
//! becomes `C:\Users\Administrator`). Components are compared exactly: `/Home`,
//! `C:\USERS` and `C:\users` are other folders. Nothing is trimmed, folded,
//! percent-decoded or brought into a Unicode normal form, and `.` and `..` are names
//! like any other. Normalising twice changes nothing more.
//!
//! # What separates
//!
//! `/` on Unix; on Windows `\` alone. Windows takes `/` as well, but its own listings
//! never write it, and the hashes of `C:/Users/x` and `C:\Users\x` differ whatever is
//! done about the name: of such a list only the drive is replaced. Who has one converts
//! it first (`tr / '\\'`), which it needs anyway to meet a list from Windows.
//!
//! # What is at the edge
//!
//! | a path | becomes |
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
//! | nothing at all | [`Unfit::Empty`] |
//! | holds a NUL | [`Unfit::Nul`]: neither system can have such a name |
//! | holds a surrogate (WTF-8, CESU-8; alone or in a pair) | [`Unfit::Surrogate`]: it has no UTF-8 |
//! | is not UTF-8 otherwise | [`Unfit::Utf8`]; NUL is looked for first |
//!
//! # Lists of paths
//!
//! One path a line ([`of_line`]). LF or CR LF ends a line, and so does the end of the
//! list, with or without a CR before it; a byte order mark at the beginning of the list
//! is dropped; blanks stay. A line with nothing on it is no path, and is skipped.

use crate::base::error::{Error, Result as Outcome};
use crate::base::hash::Hash;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The users that the machine images of Linux distributions come with, each of which
/// a gold build may have been made with: Ubuntu's, Debian's, CentOS's, Amazon Linux's.
pub(crate) const UNIX_USERS: [&str; 4] = ["ubuntu", "admin", "centos", "ec2-user"];

/// The user that Windows is installed with.
const WINDOWS_USER: &str = "Administrator";

/// The folders of users on Windows: of today, and up to Windows XP.
const WINDOWS_HOMES: [&[u8]; 2] = [b"Users", b"Documents and Settings"];

/// What lies among the users' folders there and belongs to none.
const WINDOWS_SHARED: [&[u8]; 4] = [b"Default", b"Public", b"All Users", b"Default User"];

/// UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A generation of the rules. See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rules {
    /// Of 2018: the distribution's user, and drive `C` for every Windows path.
    #[default]
    V2,
    /// Of 2024: `user`, macOS too, and Windows paths below users' folders only.
    V3,
}

impl Rules {
    /// Every generation, oldest first.
    pub const ALL: [Rules; 2] = [Rules::V2, Rules::V3];

    /// The name, as it is written on the command line, into answers and into items.
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

/// The names that stand for every user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// On Unix.
    pub unix: String,
    /// On Windows.
    pub windows: String,
}

impl Users {
    /// As the rules have them: `ubuntu` in `v2`, `user` in `v3`, and `Administrator`.
    pub fn of(rules: Rules) -> Users {
        Users {
            unix: match rules {
                Rules::V2 => UNIX_USERS[0].to_owned(),
                Rules::V3 => "user".to_owned(),
            },
            windows: WINDOWS_USER.to_owned(),
        }
    }
}

/// Why something is no path that can be normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// There is nothing.
    Empty,
    /// It holds a NUL byte.
    Nul,
    /// It holds a surrogate, which has no UTF-8, encoded as in WTF-8 or CESU-8.
    Surrogate,
    /// It is not valid UTF-8.
    Utf8,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Empty => "empty",
            Unfit::Nul => "holds a NUL byte",
            Unfit::Surrogate => "holds a surrogate, encoded as in WTF-8 or CESU-8",
            Unfit::Utf8 => "not valid UTF-8",
        })
    }
}

impl std::error::Error for Unfit {}

/// Normalises paths by one set of rules and users. See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalizer {
    rules: Rules,
    users: Users,
}

impl Default for Normalizer {
    fn default() -> Self {
        Normalizer::of(Rules::default())
    }
}

impl Normalizer {
    /// By these rules, with their own users.
    pub fn of(rules: Rules) -> Normalizer {
        Normalizer {
            rules,
            users: Users::of(rules),
        }
    }

    /// By these rules, with users of one's own.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when a name can be none:
    /// empty, or with a separator or a control character in it.
    pub fn new(rules: Rules, users: Users) -> Outcome<Normalizer> {
        for (system, name) in [("Unix", &users.unix), ("Windows", &users.windows)] {
            let foreign = |c: char| c == '/' || c == '\\' || c.is_control();
            if name.is_empty() || name.contains(foreign) {
                return Err(Error::usage(format!(
                    "{name:?} cannot stand for the users of {system}: it is one component of a path"
                ))
                .hint(format!(
                    "give a plain name, such as {} or {WINDOWS_USER}",
                    UNIX_USERS.join(", ")
                )));
            }
        }
        Ok(Normalizer { rules, users })
    }

    /// The rules.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Appends the normalised `path` to `out`, and nothing when it is none.
    ///
    /// # Errors
    /// Why it is no path.
    pub fn normalize(&self, path: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let parts = self.parts(path)?;
        out.reserve(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
        Ok(())
    }

    /// The SHA-256 of the normalised `path`, without putting that together.
    ///
    /// # Errors
    /// Why it is no path.
    pub fn hash(&self, path: &[u8]) -> Result<Hash, Unfit> {
        let mut digest = Sha256::new();
        for part in self.parts(path)? {
            digest.update(part);
        }
        Ok(Hash::from(<[u8; 32]>::from(digest.finalize())))
    }

    /// The pieces of the normalised path, in order: some of `path`, some of the users.
    fn parts<'a>(&'a self, path: &'a [u8]) -> Result<[&'a [u8]; 4], Unfit> {
        let text = fit(path)?;
        let mut characters = text.chars();
        let first = characters.next();
        if first == Some('/') {
            let home: &[&[u8]] = match self.rules {
                Rules::V2 => &[b"home"],
                Rules::V3 => &[b"home", b"Users"],
            };
            let shared: &[&[u8]] = match self.rules {
                Rules::V2 => &[],
                // Of macOS, hence not below /home.
                Rules::V3 if path.starts_with(b"/Users/") => &[b"Shared"],
                Rules::V3 => &[],
            };
            return Ok(match self.around_name(path, b'/', home, shared) {
                Some((before, after)) => [before, self.users.unix.as_bytes(), after, b""],
                None => [path, b"", b"", b""],
            });
        }
        if characters.next() != Some(':') {
            return Ok([path, b"", b"", b""]);
        }
        // From the colon on: the drive is one character, of whatever length.
        let rest = &path[first.map_or(0, char::len_utf8)..];
        let (separator, shared): (_, &[&[u8]]) = match self.rules {
            Rules::V2 => (memchr::memchr(b'\\', rest), &[]),
            Rules::V3 => (Some(1), &WINDOWS_SHARED),
        };
        let name = separator.and_then(|at| {
            let below = rest.get(at..)?;
            let (before, after) = self.around_name(below, b'\\', &WINDOWS_HOMES, shared)?;
            Some((&rest[..at + before.len()], after))
        });
        Ok(match (name, self.rules) {
            (Some((before, after)), _) => [b"C", before, self.users.windows.as_bytes(), after],
            (None, Rules::V2) => [b"C", rest, b"", b""],
            (None, Rules::V3) => [path, b"", b"", b""],
        })
    }

    /// What stands in `path` before and after its second component, when its first is
    /// one of `homes`, and the second is a name to replace: none of `shared`, and in
    /// `v3` not empty.
    fn around_name<'a>(
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
        // Both separators and the home between them.
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

/// `path` as text, or why it is none.
fn fit(path: &[u8]) -> Result<&str, Unfit> {
    if path.is_empty() {
        return Err(Unfit::Empty);
    }
    if memchr::memchr(0, path).is_some() {
        return Err(Unfit::Nul);
    }
    std::str::from_utf8(path).map_err(|e| match path.get(e.valid_up_to()..) {
        // U+D800 to U+DFFF, three bytes each, as UTF-8 would have them.
        Some([0xED, 0xA0..=0xBF, 0x80..=0xBF, ..]) => Unfit::Surrogate,
        _ => Unfit::Utf8,
    })
}

/// The SHA-256 of a path that is normalised already.
pub(crate) fn hash(normalized: &[u8]) -> Hash {
    Hash::from(<[u8; 32]>::from(Sha256::digest(normalized)))
}

/// The path on a line of a list, whose line feed is taken off already: without the
/// carriage return before it and, when it is the `first` of its list, without the byte
/// order mark. It may be empty.
pub(crate) fn of_line(line: &[u8], first: bool) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match first {
        true => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
        false => line,
    }
}

#[cfg(test)]
mod tests;
