//! An object: its headers, checksums and version, the record beside it, and its times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto;
use serde::{Deserialize, Serialize};

/// The headers an object is stored with and comes back with.
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

/// Base64 checksums of the whole object, as far as the client asked for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

/// What is known of an object's contents when it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) etag: String,
    #[serde(default)]
    pub(super) checksums: Checksums,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// The record beside an object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) bucket: String,
    pub(super) key: String,
    /// Length and modification time of the file the record is about.
    pub(super) len: u64,
    pub(super) modified_ns: i64,
    #[serde(flatten)]
    pub(super) stored: Stored,
}

/// An object as it is now.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) len: u64,
    pub(super) modified: dto::Timestamp,
    /// The modification time in whole seconds, which is what HTTP dates hold.
    pub(super) modified_secs: dto::Timestamp,
    pub(super) stored: Stored,
}

impl Version {
    pub(super) fn etag(&self) -> dto::ETag {
        dto::ETag::Strong(self.stored.etag.clone())
    }
}

/// What a write demands of the object it replaces.
#[derive(Debug, Default)]
pub(super) struct WriteCondition {
    pub(super) if_match: Option<dto::ETagCondition>,
    pub(super) if_none_match: Option<dto::ETagCondition>,
}

/// An unfinished upload in parts.
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

/// A file may carry any time; the dates of HTTP and XML end with the year 9999.
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
