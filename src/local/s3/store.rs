//! Object store: plain files, and records of what a plain file cannot hold.
//!
//! An object is the file `s3/BUCKET/KEY`. Its ETag, content type, metadata and
//! checksums are in a separate JSON file under `s3-meta/objects`, written
//! when the API receives the object. That record has the length and the
//! modification time of its object file, and is valid only as long as both
//! match. So a file that was added or replaced by hand
//! has no record. Its ETag is derived from length and modification time: no
//! hashing of gigabytes for a HEAD, and yet a new ETag for new contents. Such
//! an ETag ends in `-1`, as for multipart uploads in S3, so that
//! no client mistakes it for the MD5 of the contents. This does not detect a
//! replacement of the same length that also carries over the modification time
//! to the nanosecond.
//!
//! Keys without a unique path in the folder are invalid: those with an
//! empty, `.` or `..` part, and those that would be both a file and a folder.
//! Symbolic links are followed, since only the owner of the folder can make them:
//! a bucket may be a link to the folder with the data.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto;
use s3s::{S3Error, S3Result, s3_error};
use serde::Serialize;

use crate::local::s3::object::{
    ContentMetadata, ObjectRecord, StoredVersion, WriteCondition, hex, nanoseconds, timestamp,
    whole_seconds,
};
use crate::local::s3::store_errors::{
    failed, folder_in_the_way, no_such_bucket, no_such_key, write_failed,
};

/// S3's maximum length of a key, in bytes.
pub(super) const MAX_KEY_BYTES: usize = 1024;

/// A temporary file that may become an object; removed on drop otherwise.
#[derive(Debug)]
pub(super) struct TempFile {
    path: PathBuf,
}

impl TempFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Fails without effect if the file was renamed to its object.
        let _ = fs::remove_file(&self.path);
    }
}

/// The store's folders. All functions block, but none on the network.
#[derive(Debug)]
pub(super) struct Store {
    buckets: PathBuf,
    objects: PathBuf,
    pub(super) uploads: PathBuf,
    parts: PathBuf,
    temp: PathBuf,
    next_temp: AtomicU64,
    /// Held for writing while an object and its record change together, so that
    /// no reader sees one without the other. Never held during transfers.
    gate: RwLock<()>,
}

impl Store {
    /// Opens the store and creates missing folders. The error names the folder.
    pub(super) fn open(dir: &Path) -> Result<Store, (PathBuf, io::Error)> {
        let meta = dir.join("s3-meta");
        let store = Store {
            buckets: dir.join("s3"),
            objects: meta.join("objects"),
            uploads: meta.join("uploads"),
            parts: meta.join("parts"),
            temp: meta.join("temp"),
            next_temp: AtomicU64::new(0),
            gate: RwLock::new(()),
        };
        for folder in [
            &store.buckets,
            &store.objects,
            &store.uploads,
            &store.parts,
            &store.temp,
        ] {
            fs::create_dir_all(folder).map_err(|error| (folder.clone(), error))?;
        }
        // Partial files of a process that died. The lock on the whole
        // folder excludes another owner.
        let left_behind = fs::read_dir(&store.temp).map_err(|error| (store.temp.clone(), error))?;
        for entry in left_behind.flatten() {
            let _ = fs::remove_file(entry.path());
        }
        Ok(store)
    }

    /// Folder of the parts of unfinished uploads.
    pub(super) fn parts_dir(&self) -> &Path {
        &self.parts
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, ()> {
        // The lock guards no data that a panic could have left half changed.
        self.gate.read().unwrap_or_else(|error| error.into_inner())
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(|error| error.into_inner())
    }

    // Buckets

    /// Folder of an existing bucket.
    pub(super) fn bucket_dir(&self, bucket: &str) -> S3Result<PathBuf> {
        // Some names come from headers, without the checks of the request path.
        if !s3s::path::check_bucket_name(bucket) {
            return Err(no_such_bucket(bucket));
        }
        let path = self.buckets.join(bucket);
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Ok(path),
            Ok(_) => Err(no_such_bucket(bucket)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(no_such_bucket(bucket)),
            Err(error) => Err(failed("inspect", &path, error)),
        }
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        if !s3s::path::check_bucket_name(bucket) {
            return Err(s3_error!(InvalidBucketName));
        }
        let path = self.buckets.join(bucket);
        match fs::create_dir(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(s3_error!(
                BucketAlreadyOwnedByYou,
                "the bucket {bucket} already exists"
            )),
            Err(error) => Err(failed("create", &path, error)),
        }
    }

    /// Removes a bucket that holds no object.
    pub(super) fn delete_bucket(&self, bucket: &str) -> S3Result<()> {
        let path = self.bucket_dir(bucket)?;
        let _gate = self.write_lock();
        match remove_empty_tree(&path) {
            Ok(()) => {
                let _ = fs::remove_dir_all(self.objects.join(bucket));
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Err(s3_error!(
                BucketNotEmpty,
                "the bucket {bucket} still holds objects"
            )),
            Err(error) => Err(failed("remove", &path, error)),
        }
    }

    /// Names and creation times of the buckets, in order.
    pub(super) fn list_buckets(&self) -> S3Result<Vec<(String, dto::Timestamp)>> {
        let failed = |error| failed("list", &self.buckets, error);
        let mut buckets = Vec::new();
        for entry in fs::read_dir(&self.buckets).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Follows a link to a folder; a dangling link is not a bucket.
            let Ok(found) = fs::metadata(entry.path()) else {
                continue;
            };
            if found.is_dir() && s3s::path::check_bucket_name(&name) {
                let created = found.created().or_else(|_| found.modified());
                let created = timestamp(created.unwrap_or(UNIX_EPOCH));
                buckets.push((name, created));
            }
        }
        buckets.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(buckets)
    }

    // Objects

    /// Opens an object for reading, and returns the version of exactly the
    /// contents that were opened.
    pub(super) fn read(&self, bucket: &str, key: &str) -> S3Result<(File, StoredVersion)> {
        let path = self.existing_path(bucket, key)?;
        let _gate = self.read_lock();
        let file = File::open(&path).map_err(|error| self.read_failed(key, &path, error))?;
        let found = file
            .metadata()
            .map_err(|error| self.read_failed(key, &path, error))?;
        if !found.is_file() {
            return Err(no_such_key(key));
        }
        let version = self.version(bucket, key, &found);
        Ok((file, version))
    }

    /// Version of an object as in [`Store::read`], without opening the file.
    pub(super) fn stat(&self, bucket: &str, key: &str) -> S3Result<StoredVersion> {
        let path = self.existing_path(bucket, key)?;
        self.stat_path(bucket, key, &path)
    }

    /// Version of an object for a caller that knows the path, such as a listing.
    pub(super) fn stat_path(
        &self,
        bucket: &str,
        key: &str,
        path: &Path,
    ) -> S3Result<StoredVersion> {
        let _gate = self.read_lock();
        let found = fs::metadata(path).map_err(|error| self.read_failed(key, path, error))?;
        if !found.is_file() {
            return Err(no_such_key(key));
        }
        Ok(self.version(bucket, key, &found))
    }

    fn existing_path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let dir = self.bucket_dir(bucket)?;
        // A key that cannot be stored cannot exist.
        object_path(&dir, key).ok_or_else(|| no_such_key(key))
    }

    fn read_failed(&self, key: &str, path: &Path, error: io::Error) -> S3Error {
        match error.kind() {
            // Also where a part of the key is a file, or longer than a file name
            // may be: no such object can exist.
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
                no_such_key(key)
            }
            _ => failed("read", path, error),
        }
    }

    fn version(&self, bucket: &str, key: &str, found: &Metadata) -> StoredVersion {
        let modified = found.modified().unwrap_or(UNIX_EPOCH);
        let len = found.len();
        let modified_ns = nanoseconds(modified);
        let stored = self
            .load_record(bucket, key)
            .filter(|record| record.len == len && record.modified_ns == modified_ns)
            .map(|record| record.stored)
            .unwrap_or_else(|| ContentMetadata {
                etag: format!("{modified_ns:016x}{len:016x}-1"),
                ..ContentMetadata::default()
            });
        StoredVersion {
            len,
            modified: timestamp(modified),
            modified_secs: timestamp(whole_seconds(modified)),
            stored,
        }
    }

    /// Creates the name of a temporary file for an object's contents.
    pub(super) fn temp_file(&self) -> TempFile {
        let number = self.next_temp.fetch_add(1, Ordering::Relaxed);
        TempFile {
            path: self.temp.join(format!("{number}")),
        }
    }

    /// Checks that an object can be written, before its contents are received.
    pub(super) fn check_writable(&self, bucket: &str, key: &str) -> S3Result<()> {
        self.writable_path(bucket, key).map(drop)
    }

    fn writable_path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let dir = self.bucket_dir(bucket)?;
        if key.len() > MAX_KEY_BYTES {
            return Err(s3_error!(KeyTooLongError));
        }
        object_path(&dir, key).ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "objects are files here, and the key {key:?} is no relative path of a file"
            )
        })
    }

    /// Creates a folder for a key that ends in a slash, as graphical clients do.
    pub(super) fn create_folder(&self, bucket: &str, key: &str) -> S3Result<()> {
        let path = self.writable_path(bucket, key.trim_end_matches('/'))?;
        let _gate = self.write_lock();
        fs::create_dir_all(&path).map_err(|error| write_failed(key, &path, error))
    }

    /// Moves a received file to its object, if the condition holds.
    pub(super) fn commit(
        &self,
        temp: TempFile,
        bucket: &str,
        key: &str,
        condition: &WriteCondition,
        stored: ContentMetadata,
    ) -> S3Result<StoredVersion> {
        let path = self.writable_path(bucket, key)?;
        let _gate = self.write_lock();
        let current = match fs::metadata(&path) {
            Ok(found) if found.is_file() => Some(self.version(bucket, key, &found)),
            Ok(_) => return Err(folder_in_the_way(key)),
            Err(_) => None,
        };
        check_condition(condition, current.as_ref())?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| write_failed(key, &path, error))?;
        }
        let received =
            fs::metadata(&temp.path).map_err(|error| failed("read", &temp.path, error))?;
        let modified = received.modified().unwrap_or(UNIX_EPOCH);
        // The record first: until the file follows, its length or time differ and it
        // is not valid.
        self.save_record(&ObjectRecord {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            len: received.len(),
            modified_ns: nanoseconds(modified),
            stored: stored.clone(),
        })?;
        move_file(&temp.path, &path, modified).map_err(|error| write_failed(key, &path, error))?;
        Ok(StoredVersion {
            len: received.len(),
            modified: timestamp(modified),
            modified_secs: timestamp(whole_seconds(modified)),
            stored,
        })
    }

    /// Removes an object; a missing object is not an error.
    pub(super) fn delete(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<dto::ETagCondition>,
    ) -> S3Result<()> {
        let dir = self.bucket_dir(bucket)?;
        let folder = key.ends_with('/');
        let Some(path) = object_path(&dir, key.trim_end_matches('/')) else {
            return Ok(());
        };
        let _gate = self.write_lock();
        let found = fs::metadata(&path).ok();
        if let Some(condition) = if_match {
            let current = found
                .as_ref()
                .filter(|found| found.is_file())
                .map(|found| self.version(bucket, key, found));
            let condition = WriteCondition {
                if_match: Some(condition),
                if_none_match: None,
            };
            check_condition(&condition, current.as_ref())?;
        }
        let removed = match found {
            Some(found) if found.is_dir() && folder => {
                // A folder that is not empty stays: its objects need it.
                let _ = fs::remove_dir(&path);
                Ok(())
            }
            Some(found) if found.is_file() && !folder => fs::remove_file(&path),
            _ => Ok(()),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("remove", &path, error));
            }
            _ => {}
        }
        let _ = fs::remove_file(self.record_path(bucket, key));
        // S3 has no folders: an empty one would block an
        // object with its name.
        let mut parent = path.parent();
        while let Some(folder) = parent {
            if folder == dir || fs::remove_dir(folder).is_err() {
                break;
            }
            parent = folder.parent();
        }
        Ok(())
    }

    // Records

    fn record_path(&self, bucket: &str, key: &str) -> PathBuf {
        // Keys are longer than file names may be, so the name is a hash of it; the
        // record repeats the key.
        let name = hex(&Md5::checksum(key.as_bytes()));
        self.objects.join(bucket).join(name + ".json")
    }

    fn load_record(&self, bucket: &str, key: &str) -> Option<ObjectRecord> {
        let path = self.record_path(bucket, key);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "cannot read an object's record");
                }
                return None;
            }
        };
        match serde_json::from_slice::<ObjectRecord>(&text) {
            Ok(record) => Some(record).filter(|found| found.bucket == bucket && found.key == key),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "ignoring a damaged record");
                None
            }
        }
    }

    fn save_record(&self, record: &ObjectRecord) -> S3Result<()> {
        let path = self.record_path(&record.bucket, &record.key);
        self.save_json(&path, record)
    }

    pub(super) fn save_json(&self, path: &Path, value: &impl Serialize) -> S3Result<()> {
        let text = serde_json::to_vec(value).map_err(S3Error::internal_error)?;
        let temp = self.temp_file();
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&temp.path, text))
            .and_then(|()| fs::rename(&temp.path, path))
            .map_err(|error| failed("write", path, error))
    }
}

/// Path of a key below its bucket; `None` if the key has no unique path.
pub(super) fn object_path(bucket: &Path, key: &str) -> Option<PathBuf> {
    let mut path = bucket.to_owned();
    if key.len() > MAX_KEY_BYTES {
        return None;
    }
    for part in key.split('/') {
        let plain = !matches!(part, "" | "." | "..") && !part.contains('\0');
        // Separators, drives and streams on Windows.
        if !plain || (cfg!(windows) && part.contains(['\\', ':'])) {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

fn check_condition(condition: &WriteCondition, current: Option<&StoredVersion>) -> S3Result<()> {
    let holds = |condition: &dto::ETagCondition, strong: bool| match (condition, current) {
        (_, None) => false,
        (dto::ETagCondition::Any, Some(_)) => true,
        (dto::ETagCondition::ETag(etag), Some(current)) if strong => {
            current.etag().strong_cmp(etag)
        }
        (dto::ETagCondition::ETag(etag), Some(current)) => current.etag().weak_cmp(etag),
    };
    if let Some(condition) = &condition.if_match {
        if current.is_none() {
            return Err(s3_error!(
                NoSuchKey,
                "If-Match is given, but there is no object"
            ));
        }
        if !holds(condition, true) {
            return Err(s3_error!(PreconditionFailed));
        }
    }
    if let Some(condition) = &condition.if_none_match
        && holds(condition, false)
    {
        return Err(s3_error!(PreconditionFailed));
    }
    Ok(())
}

/// Removes a folder and the folders in it, and stops at the first file.
fn remove_empty_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        remove_empty_tree(&entry.path())?;
    }
    fs::remove_dir(path)
}

/// Renames a file, or copies it if a bucket is a link to another file system.
fn move_file(from: &Path, to: &Path, modified: SystemTime) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            // The record is valid only for this time.
            File::options().write(true).open(to)?.set_modified(modified)
        }
        other => other,
    }
}
