//! Types of an object: headers, checksums, version, record file and times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto;
use serde::{Deserialize, Serialize};

/// Headers of an object, stored on PUT and returned on GET.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) expires: Option<dto::Timestamp>,
    pub(super) metadata: Option<dto::Metadata>,
    pub(super) website_redirect_location: Option<String>,
}

/// Base64 checksums of the whole object; `None` if the client did not request one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

/// ETag, checksums and headers of an object's contents.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ContentMetadata {
    pub(super) etag: String,
    #[serde(default)]
    pub(super) checksums: Checksums,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// Record of an object, a JSON file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ObjectRecord {
    pub(super) bucket: String,
    pub(super) key: String,
    /// Length and modification time of the record's object file.
    pub(super) len: u64,
    pub(super) modified_ns: i64,
    #[serde(flatten)]
    pub(super) stored: ContentMetadata,
}

/// Current version of an object.
#[derive(Debug)]
pub(super) struct StoredVersion {
    pub(super) len: u64,
    pub(super) modified: dto::Timestamp,
    /// The modification time in whole seconds, the precision of HTTP dates.
    pub(super) modified_secs: dto::Timestamp,
    pub(super) stored: ContentMetadata,
}

impl StoredVersion {
    pub(super) fn etag(&self) -> dto::ETag {
        dto::ETag::Strong(self.stored.etag.clone())
    }
}

/// Conditions of a write on the object that it replaces.
#[derive(Debug, Default)]
pub(super) struct WriteCondition {
    pub(super) if_match: Option<dto::ETagCondition>,
    pub(super) if_none_match: Option<dto::ETagCondition>,
}

/// An unfinished multipart upload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) attributes: Attributes,
}

pub(super) fn nanoseconds(time: SystemTime) -> i64 {
    let saturating = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => saturating(after),
        Err(before) => -saturating(before.duration()),
    }
}

pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let secs = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    UNIX_EPOCH + Duration::from_secs(secs.min(END_OF_9999))
}

const END_OF_9999: u64 = 253_402_300_799;

/// Maximum timestamp: files may have any time, but HTTP and XML dates end in 9999.
pub(super) fn timestamp(time: SystemTime) -> dto::Timestamp {
    let last = UNIX_EPOCH + Duration::from_secs(END_OF_9999);
    dto::Timestamp::from(time.clamp(UNIX_EPOCH, last))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
