//! Unfinished multipart uploads: the object of each, and its completion.

use std::fs;
use std::path::{Path, PathBuf};

use s3s::S3Result;

use crate::local::s3::object::Upload;
use crate::local::s3::store::{Store, TempFile};
use crate::local::s3::store_errors::{failed, no_such_upload};

impl Store {
    fn upload_path(&self, id: &str) -> Option<PathBuf> {
        // An upload id becomes part of a path, so it must be a UUID.
        let valid = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        valid.then(|| self.uploads.join(format!("{id}.json")))
    }

    pub(super) fn save_upload(&self, id: &str, upload: &Upload) -> S3Result<()> {
        let path = self.upload_path(id).ok_or_else(|| no_such_upload(id))?;
        self.save_json(&path, upload)
    }

    /// Upload with this id; an error if it is not of this object.
    pub(super) fn load_upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<Upload> {
        self.bucket_dir(bucket)?;
        self.upload_path(id)
            .and_then(|path| fs::read(path).ok())
            .and_then(|text| serde_json::from_slice::<Upload>(&text).ok())
            .filter(|upload| upload.bucket == bucket && upload.key == key)
            .ok_or_else(|| no_such_upload(id))
    }

    pub(super) fn delete_upload(&self, id: &str) {
        if let Some(path) = self.upload_path(id) {
            let _ = fs::remove_file(path);
        }
    }

    /// Moves a file to a temporary file, from which an object can be made.
    pub(super) fn move_to_temp(&self, path: &Path) -> S3Result<TempFile> {
        let temp = self.temp_file();
        fs::rename(path, temp.path()).map_err(|error| failed("move", path, error))?;
        Ok(temp)
    }
}
