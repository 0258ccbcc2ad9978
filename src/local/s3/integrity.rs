//! Checks of an upload against the checksums of its request.

use http::{Extensions, HeaderMap};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Result, s3_error};

use crate::local::s3::chunked::Trailers;
use crate::local::s3::object::{Checksums, hex};

/// Hashes a body while it arrives, and compares it with the client's checksums.
#[derive(Default)]
pub(super) struct Integrity {
    md5: Md5,
    hasher: ChecksumHasher,
    content_md5: Option<String>,
    expected: Checksums,
    in_trailers: Option<Trailers>,
}

const CRC32: &str = "x-amz-checksum-crc32";
const CRC32C: &str = "x-amz-checksum-crc32c";
const CRC64NVME: &str = "x-amz-checksum-crc64nvme";
const SHA1: &str = "x-amz-checksum-sha1";
const SHA256: &str = "x-amz-checksum-sha256";

impl Integrity {
    /// Reads the expected checksums of a request: headers, or trailers that a header
    /// announces them.
    pub(super) fn from_headers(headers: &HeaderMap, extensions: &Extensions) -> Integrity {
        let header = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            Some(value.trim().to_owned())
        };
        let announced: Vec<String> = headers
            .get_all("x-amz-trailer")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let due = |name: &str| headers.contains_key(name) || announced.iter().any(|a| a == name);
        let mut hasher = ChecksumHasher::default();
        if due(CRC32) {
            hasher.crc32 = Some(Default::default());
        }
        if due(CRC32C) {
            hasher.crc32c = Some(Default::default());
        }
        if due(CRC64NVME) {
            hasher.crc64nvme = Some(Default::default());
        }
        if due(SHA1) {
            hasher.sha1 = Some(Default::default());
        }
        if due(SHA256) {
            hasher.sha256 = Some(Default::default());
        }
        Integrity {
            md5: Md5::new(),
            hasher,
            content_md5: header("content-md5"),
            expected: Checksums {
                crc32: header(CRC32),
                crc32c: header(CRC32C),
                crc64nvme: header(CRC64NVME),
                sha1: header(SHA1),
                sha256: header(SHA256),
            },
            in_trailers: extensions.get::<Trailers>().cloned(),
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.hasher.update(data);
    }

    /// Returns the MD5 in hex and the client's checksums, or an error if one differs.
    pub(super) fn finish(self) -> S3Result<(String, Checksums)> {
        let md5 = self.md5.finalize();
        if let Some(expected) = self.content_md5
            && expected != aws_smithy_types::base64::encode(md5.as_ref() as &[u8])
        {
            return Err(s3_error!(
                BadDigest,
                "the body does not match its Content-MD5"
            ));
        }
        let found = self.hasher.finalize();
        let trailers = self.in_trailers;
        let check = |name: &str, found: Option<String>, expected: Option<String>| {
            let expected = expected.or_else(|| trailers.as_ref()?.get(name));
            match (&found, expected) {
                (None, _) => Ok(None),
                (Some(found), Some(expected)) if *found == expected => Ok(Some(expected)),
                (Some(found), Some(expected)) => Err(s3_error!(
                    BadDigest,
                    "the body has {name} {found}, expected {expected}"
                )),
                (Some(_), None) => Err(s3_error!(
                    InvalidRequest,
                    "the trailer {name} was announced but is missing"
                )),
            }
        };
        let expected = self.expected;
        let checksums = Checksums {
            crc32: check(CRC32, found.checksum_crc32, expected.crc32)?,
            crc32c: check(CRC32C, found.checksum_crc32c, expected.crc32c)?,
            crc64nvme: check(CRC64NVME, found.checksum_crc64nvme, expected.crc64nvme)?,
            sha1: check(SHA1, found.checksum_sha1, expected.sha1)?,
            sha256: check(SHA256, found.checksum_sha256, expected.sha256)?,
        };
        Ok((hex(md5.as_ref()), checksums))
    }
}
