//! The file of API keys.
//!
//! The file has one key a line, its name and its SHA-256 (`alice sha256:9F86…`), so that
//! reading the file gives no access. Keys are 32 random bytes and cannot be guessed, so a
//! plain hash is enough. The hash of a received key is compared with each in the file, in
//! constant time.

use crate::base::error::{Error, ErrorKind, Result};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use subtle::ConstantTimeEq as _;

/// Prefix of every key, so that leaked keys can be recognised.
const PREFIX: &str = "hf_";

/// Random bytes in a key.
const KEY_BYTES: usize = 32;

/// Prefix of a digest in the file.
const DIGEST_PREFIX: &str = "sha256:";

/// Maximum length of a key's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Maximum size of the file: 2 MiB, about ten thousand keys.
const MAX_FILE_BYTES: u64 = 2 * 1024 * 1024;

/// The keys of a file.
#[derive(Default, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Vec<Key>);

#[derive(Clone, PartialEq, Eq)]
struct Key {
    name: Arc<str>,
    digest: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|k| &k.name))
            .finish()
    }
}

impl Keys {
    /// Parses the lines of a file. Blank lines and lines that start with `#` are skipped.
    ///
    /// # Errors
    /// The number of the first invalid line, and the reason. The message does not show the
    /// line, which may be a key entered by mistake.
    pub(crate) fn parse(text: &str) -> std::result::Result<Keys, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let wrong = |why: &str| format!("line {}: {why}", number + 1);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(digest), None) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong("expected NAME sha256:DIGEST"));
            };
            check_name(name).map_err(|why| wrong(&why))?;
            let digest = digest
                .strip_prefix(DIGEST_PREFIX)
                .and_then(|hex| crate::base::hash::Hash::from_hex(hex.as_bytes()))
                .and_then(|hash| <[u8; 32]>::try_from(hash.as_bytes()).ok())
                .ok_or_else(|| {
                    wrong("the second word is not sha256: and the 64 hexadecimal digits of a key's SHA-256")
                })?;
            if keys.iter().any(|k| &*k.name == name) {
                return Err(wrong("another line already has this name"));
            }
            keys.push(Key {
                name: name.into(),
                digest,
            });
        }
        Ok(Keys(keys))
    }

    /// The name of `key`; `None` if it is not in the file. Runs in constant time.
    pub(super) fn owner(&self, key: &[u8]) -> Option<Arc<str>> {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let mut found = None;
        for (at, key) in self.0.iter().enumerate() {
            if bool::from(key.digest.ct_eq(&digest)) {
                found = Some(at);
            }
        }
        found.map(|at| self.0[at].name.clone())
    }

    /// The names of all keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|key| &key.name)
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no keys.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn check_name(name: &str) -> std::result::Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    match name.len() <= MAX_NAME_BYTES && !name.is_empty() && name.chars().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "a key's name has up to {MAX_NAME_BYTES} letters, digits, dots, dashes, underscores and at signs"
        )),
    }
}

/// Reads the file of keys at `path`.
///
/// # Errors
/// [`ErrorKind::Usage`] if the file cannot be read, or is not a file of keys.
pub(crate) fn read_file(path: &Path) -> Result<Keys> {
    let failed = |e: io::Error| {
        Error::usage(format!("cannot read the API keys in {}", path.display()))
            .with_source(e)
            .with_hint(
                "create the file with a first key: hashferry serve --new-key NAME --api-keys FILE",
            )
    };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(failed(io::Error::other("it is larger than 2 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    parse(&text, path)
}

/// Parses `text`, the content of the file at `path`.
fn parse(text: &str, path: &Path) -> Result<Keys> {
    Keys::parse(text).map_err(|why| {
        Error::usage(format!(
            "{} is not a file of API keys: {why}",
            path.display()
        ))
        .with_hint("each line is NAME sha256:DIGEST, as hashferry serve --new-key writes it")
    })
}

/// Creates a key, appends its name and digest to the file at `path`, and returns the key.
///
/// # Errors
/// [`ErrorKind::Usage`] if the name is invalid or taken, or the file is not a file of keys;
/// [`ErrorKind::Output`] if the file cannot be written.
pub(crate) fn new_key(name: &str, path: &Path) -> Result<String> {
    check_name(name)
        .map_err(|why| Error::usage(format!("{name:?} cannot name a key")).with_source(why))?;
    let mut chance = [0; KEY_BYTES];
    getrandom::fill(&mut chance).map_err(|e| {
        Error::new(
            ErrorKind::Internal,
            "the system returned no random bytes for a key",
        )
        .with_source(e)
    })?;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let key = format!("{PREFIX}{}", hex(&chance));
    let digest = hex(&Sha256::digest(&key));
    append(name, &format!("{name} {DIGEST_PREFIX}{digest}\n"), path)?;
    Ok(key)
}

/// Appends `line`, of the key `name`, to the file at `path`. Writes in place, to keep the
/// owner and symbolic links; locks the file, so that concurrent calls lose no key.
fn append(name: &str, line: &str, path: &Path) -> Result<()> {
    let failed = |e: io::Error| write_error(path).with_source(e);
    let mut options = File::options();
    options.read(true).append(true).create(true);
    // Only the owner can read a new file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    match file.lock() {
        // Without file locks, a single append is still safe in practice.
        Err(e) if e.kind() != io::ErrorKind::Unsupported => return Err(failed(e)),
        _ => {}
    }
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let length = metadata.len();
    if length + line.len() as u64 + 1 > MAX_FILE_BYTES {
        return Err(failed(io::Error::other(
            "it would exceed 2 MiB; delete the lines of unused keys",
        )));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let keys = parse(&text, path)?;
    if keys.0.iter().any(|k| &*k.name == name) {
        return Err(
            Error::usage(format!("{} already has a key named {name}", path.display()))
                .with_hint("give another name, or delete that line first, which revokes its key"),
        );
    }
    let before = match text.as_str() {
        "" => "# API keys of hashferry serve: names, and the SHA-256 of each key.\n",
        text if text.ends_with('\n') => "",
        _ => "\n",
    };
    let written = file
        .write_all(format!("{before}{line}").as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|e| {
        // A partial line would make the whole file invalid.
        match file.set_len(length) {
            Ok(()) => failed(e),
            Err(_) => failed(e).with_hint("check its last line, which may be incomplete"),
        }
    })
}

fn write_error(path: &Path) -> Error {
    Error::new(
        ErrorKind::Output,
        format!("cannot write the API keys to {}", path.display()),
    )
    .with_hint("name a file in a writable directory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::serve::access::{AccessControl, Denied};

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn an_error_names_the_line_and_does_not_show_its_text() {
        let text = format!(
            "# keys\n\n alice  sha256:{DIGEST} \r\nbob@x sha256:{}\n",
            DIGEST.to_uppercase()
        );
        let keys = Keys::parse(&text).expect("keys");
        assert_eq!(keys.len(), 2);
        assert_eq!(
            keys.owner(b"test").as_deref(),
            Some("bob@x"),
            "the last key with this digest"
        );
        assert_eq!(keys.owner(b"tesT"), None);
        assert_eq!(keys.owner(b""), None);
        for (line, why) in [
            ("hf_secret".to_owned(), "expected NAME"),
            ("alice hf_secret".to_owned(), "the second word"),
            (format!("alice {DIGEST}"), "the second word"),
            (format!("alice sha256:{}", &DIGEST[2..]), "the second word"),
            (format!("alice sha256:{DIGEST} x"), "expected NAME"),
            (format!("a/b sha256:{DIGEST}"), "a key's name"),
            (
                format!("a sha256:{DIGEST}\na sha256:{DIGEST}"),
                "another line",
            ),
        ] {
            let said = Keys::parse(&line).expect_err(&line);
            assert!(said.contains(why), "{said}");
            assert!(!said.contains("secret") && !said.contains(DIGEST), "{said}");
        }
        assert!(!format!("{keys:?}").contains("159"), "{keys:?}");
    }

    #[test]
    fn a_new_key_is_valid_and_only_its_digest_is_stored() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("keys");
        let alice = new_key("alice", &path).expect("a key");
        std::fs::write(
            &path,
            std::fs::read_to_string(&path).expect("text").trim_end(),
        )
        .expect("cut");
        let bob = new_key("bob", &path).expect("a key");
        assert_eq!(alice.len(), PREFIX.len() + 2 * KEY_BYTES);
        assert_ne!(alice, bob);
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(
            !text.contains(&alice) && !text.contains(&bob[3..]),
            "{text}"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let gate = AccessControl::from_file(&path, None).expect("keys");
        assert_eq!(
            gate.authenticate(Some(alice.as_bytes())).as_deref(),
            Ok("alice")
        );
        assert_eq!(
            gate.authenticate(Some(bob.as_bytes())).as_deref(),
            Ok("bob")
        );
        assert_eq!(
            gate.authenticate(Some(&bob.as_bytes()[1..])),
            Err(Denied::WrongKey)
        );
        assert_eq!(gate.authenticate(None), Err(Denied::NoKey));
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
            let link = dir.path().join("link");
            symlink(&path, &link).expect("a link");
            let mode = std::fs::Permissions::from_mode(0o640);
            std::fs::set_permissions(&path, mode).expect("set");
            let before = std::fs::metadata(&path).expect("there");
            new_key("dave", &link).expect("a key");
            let after = std::fs::metadata(&path).expect("there");
            assert_eq!(
                (after.ino(), after.uid(), after.mode()),
                (before.ino(), before.uid(), before.mode())
            );
            assert!(link.is_symlink());
            assert_eq!(read_file(&path).expect("keys").len(), 3);
        }
        let many: Vec<_> = (0..8)
            .map(|n| {
                let path = path.clone();
                std::thread::spawn(move || new_key(&format!("n{n}"), &path))
            })
            .collect();
        for one in many {
            one.join().expect("it ends").expect("a key");
        }
        assert!(read_file(&path).expect("keys").len() >= 10);
        let taken = new_key("alice", &path).expect_err("taken");
        assert!(format!("{taken:#}").contains("already"), "{taken}");
        assert!(new_key("a b", &path).is_err());
        assert!(new_key("carol", &dir.path().join("no/such/folder")).is_err());
    }
}
