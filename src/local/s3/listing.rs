//! Listing of a bucket: a walk over its folder in the order of the keys.
//!
//! S3 lists keys in the order of their bytes. A folder's files do not come in any
//! order, but sorting each folder's entries, with folders as `name/`, and walking
//! depth first gives exactly that order. So a page reads only the
//! folders of its keys, not the whole bucket.

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::Path;

use s3s::{S3ErrorCode, S3Result, s3_error};

use crate::local::s3::object::{StoredVersion, hex};
use crate::local::s3::store::{MAX_KEY_BYTES, Store};
use crate::local::s3::store_errors::failed;

/// Parameters of a listing.
#[derive(Debug)]
pub(super) struct ListQuery {
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    pub(super) after: ListStart,
    pub(super) max_keys: usize,
}

/// Start position of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListStart {
    /// After this key; the empty key is before all others.
    Key(String),
    /// After all keys with this prefix.
    Prefix(String),
}

impl ListStart {
    /// Encodes the position as a continuation token: opaque, and safe in any text.
    pub(super) fn to_token(&self) -> String {
        match self {
            ListStart::Key(key) => format!("k{}", hex(key.as_bytes())),
            ListStart::Prefix(prefix) => format!("p{}", hex(prefix.as_bytes())),
        }
    }

    pub(super) fn from_token(token: &str) -> S3Result<ListStart> {
        let parse = || {
            let (kind, digits) = token.split_at_checked(1)?;
            let text = String::from_utf8(decode_hex(digits)?).ok()?;
            match kind {
                "k" => Some(ListStart::Key(text)),
                "p" => Some(ListStart::Prefix(text)),
                _ => None,
            }
        };
        parse().ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not valid"))
    }

    /// True if `key` is at or before this position.
    fn covers_key(&self, key: &str) -> bool {
        match self {
            ListStart::Key(after) => key <= after.as_str(),
            ListStart::Prefix(after) => key < after.as_str() || key.starts_with(after.as_str()),
        }
    }

    /// True if all keys that begin with `folder` are at or before this position.
    fn covers_folder(&self, folder: &str) -> bool {
        let (ListStart::Key(after) | ListStart::Prefix(after)) = self;
        let before = folder < after.as_str() && !after.starts_with(folder);
        before || matches!(self, ListStart::Prefix(after) if folder.starts_with(after.as_str()))
    }
}

/// One page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<(String, StoredVersion)>,
    pub(super) common_prefixes: Vec<String>,
    /// Start of the next page; `None` on the last page.
    pub(super) next: Option<ListStart>,
}

pub(super) fn list(store: &Store, bucket: &str, query: &ListQuery) -> S3Result<Page> {
    let dir = store.bucket_dir(bucket)?;
    let mut walk = BucketWalk {
        store,
        bucket,
        query,
        page: Page::default(),
        last: None,
    };
    if query.max_keys > 0 {
        // The result only says if the page is full.
        let _ = walk.visit_folder(&dir, "")?;
    }
    Ok(walk.page)
}

struct BucketWalk<'a> {
    store: &'a Store,
    bucket: &'a str,
    query: &'a ListQuery,
    page: Page,
    /// Last entry of the page.
    last: Option<ListStart>,
}

impl BucketWalk<'_> {
    /// Walks one folder; `base` is its prefix of the keys, ending in a
    /// slash. Stops when the page is full.
    fn visit_folder(&mut self, dir: &Path, base: &str) -> S3Result<ControlFlow<()>> {
        let mut entries = self
            .sorted_entries(dir, base)
            .map_err(|error| failed("list", dir, error))?;
        entries.sort_unstable();
        for key in entries {
            // The rest of a common prefix that is already on the page.
            if let Some(ListStart::Prefix(prefix)) = &self.last
                && key.starts_with(prefix.as_str())
            {
                continue;
            }
            let name = key.strip_prefix(base).unwrap_or(&key);
            let flow = match name.strip_suffix('/') {
                Some(name) => self.visit_folder(&dir.join(name), &key)?,
                None => self.visit_object(&dir.join(name), &key)?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Sorted keys of a folder's entries that may be listed; folders end in a slash.
    fn sorted_entries(&self, dir: &Path, base: &str) -> io::Result<Vec<String>> {
        let listing = match fs::read_dir(dir) {
            // Removed since its parent was read.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let ListQuery { prefix, after, .. } = self.query;
        let mut entries = Vec::new();
        for entry in listing {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                tracing::debug!(path = %entry.path().display(), "skipping a file: its name is not UTF-8");
                continue;
            };
            let mut key = format!("{base}{name}");
            // Cheap checks first: they exclude most entries of a long listing.
            if !key.starts_with(prefix.as_str()) && !prefix.starts_with(key.as_str()) {
                continue;
            }
            let mut kind = entry.file_type()?;
            if kind.is_symlink() {
                match fs::metadata(entry.path()) {
                    Ok(found) => kind = found.file_type(),
                    Err(_) => continue,
                }
            }
            if kind.is_dir() {
                key.push('/');
                let wanted = key.starts_with(prefix.as_str()) || prefix.starts_with(key.as_str());
                // The limit on length also ends a loop of symbolic links.
                if wanted && key.len() < MAX_KEY_BYTES && !after.covers_folder(&key) {
                    entries.push(key);
                }
            } else if kind.is_file() {
                let wanted = key.starts_with(prefix.as_str()) && key.len() <= MAX_KEY_BYTES;
                if wanted && !after.covers_key(&key) {
                    entries.push(key);
                }
            }
        }
        Ok(entries)
    }

    fn visit_object(&mut self, path: &Path, key: &str) -> S3Result<ControlFlow<()>> {
        let ListQuery {
            prefix, delimiter, ..
        } = self.query;
        let common_prefix = delimiter.as_deref().and_then(|delimiter| {
            let at = key.get(prefix.len()..)?.find(delimiter)?;
            key.get(..prefix.len() + at + delimiter.len())
        });
        let found = match common_prefix {
            Some(_) => None,
            None => match self.store.stat_path(self.bucket, key, path) {
                Ok(version) => Some(version),
                // Removed since its folder was read.
                Err(error) if *error.code() == S3ErrorCode::NoSuchKey => {
                    return Ok(ControlFlow::Continue(()));
                }
                Err(error) => return Err(error),
            },
        };
        let page = &mut self.page;
        if page.objects.len() + page.common_prefixes.len() == self.query.max_keys {
            page.next.clone_from(&self.last);
            return Ok(ControlFlow::Break(()));
        }
        self.last = Some(match (found, common_prefix) {
            (Some(version), _) => {
                page.objects.push((key.to_owned(), version));
                ListStart::Key(key.to_owned())
            }
            (None, prefix) => {
                let prefix = prefix.unwrap_or(key).to_owned();
                page.common_prefixes.push(prefix.clone());
                ListStart::Prefix(prefix)
            }
        });
        Ok(ControlFlow::Continue(()))
    }
}

/// Percent-encodes a key for `encoding-type=url`, as S3 does in listings.
pub(super) fn url_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}
