//! S3 errors of the store.

use std::io::{self, ErrorKind};
use std::path::Path;

use s3s::{S3Error, S3ErrorCode, s3_error};

pub(super) fn no_such_bucket(bucket: &str) -> S3Error {
    s3_error!(NoSuchBucket, "there is no bucket {bucket}")
}

pub(super) fn no_such_key(key: &str) -> S3Error {
    s3_error!(NoSuchKey, "there is no object {key}")
}

pub(super) fn no_such_upload(id: &str) -> S3Error {
    s3_error!(NoSuchUpload, "there is no upload {id} to this object")
}

pub(super) fn folder_in_the_way(key: &str) -> S3Error {
    s3_error!(
        InvalidRequest,
        "objects are files here, and {key} is already a folder of other objects"
    )
}

pub(super) fn write_failed(key: &str, path: &Path, error: io::Error) -> S3Error {
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => s3_error!(
            InvalidRequest,
            "objects are files here, and a part of {key} is already an object"
        ),
        ErrorKind::IsADirectory => folder_in_the_way(key),
        ErrorKind::InvalidFilename => s3_error!(
            KeyTooLongError,
            "a part of the key is longer than a file name may be"
        ),
        _ => failed("write", path, error),
    }
}

/// Any other error of the file system. The client gets all details, because it is the
/// owner of the files.
pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> S3Error {
    let code = match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => S3ErrorCode::AccessDenied,
        _ => S3ErrorCode::InternalError,
    };
    let message = format!("cannot {what} {}: {error}", path.display());
    let mut s3_error = S3Error::with_message(code, message);
    s3_error.set_source(Box::new(error));
    s3_error
}
