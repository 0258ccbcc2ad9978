//! Signature version 4, written from AWS's "Signing AWS API requests". Servers use it
//! to check signatures, and a client to sign. It shares no code with the SDK's signer.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// HMAC-SHA-256.
pub fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
    text
}

/// The signing key for one day, region and service (`20261124`, `us-east-1`,
/// `dynamodb`), valid for that day.
pub fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> [u8; 32] {
    let secret = format!("AWS4{secret}");
    let parts = [day, region, service, "aws4_request"];
    let mut key = hmac(secret.as_bytes(), parts[0].as_bytes());
    for part in &parts[1..] {
        key = hmac(&key, part.as_bytes());
    }
    key
}

/// The signature of a canonical request made at `time` (`20261124T101500Z`)
/// within `scope` (`20261124/us-east-1/dynamodb/aws4_request`).
pub fn signature(key: &[u8], time: &str, scope: &str, canonical: &str) -> String {
    let hash = sha256_hex(canonical.as_bytes());
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
    hex(&hmac(key, to_sign.as_bytes()))
}
