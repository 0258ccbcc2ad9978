//! The text of a hash: hexadecimal, or base64 where a person says so.

use crate::base::hash::{Algorithm, Hash};
use crate::base::hash_prefix;
use crate::base::record::Reason;
use crate::list::format::kind::{Encoding, Form};
use crate::list::format::plain::Parsed;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 with its padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Base64 of the longest hash, padded.
const MAX_BASE64_BYTES: usize = 88;

/// What the text of a hash must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Digest {
    pub(super) algorithm: Algorithm,
    /// Hexadecimal digits of a hash.
    pub(super) digits: usize,
    pub(super) encoding: Encoding,
}

impl Digest {
    /// That of hashes of `algorithm` in lists of this form.
    pub(super) fn new(algorithm: Algorithm, form: &Form) -> Digest {
        Digest {
            algorithm,
            digits: algorithm.bytes() * 2,
            encoding: form.encoding,
        }
    }

    /// What `text` is, which is not just the digits of a hash: it may be in base64, or have
    /// the name of its algorithm before it. `None` if it is no hash at all.
    pub(super) fn adorned(self, text: &[u8]) -> Option<Parsed> {
        let (named, hash) = match self.encoding {
            Encoding::Hex => {
                let (named, digits) = hash_prefix::split(text);
                if digits.len() == text.len() {
                    return None;
                }
                (named, Hash::from_hex(digits)?)
            }
            Encoding::Base64 => {
                let (named, digits) = hash_prefix::split_encoded(text);
                match from_base64(digits) {
                    Some(hash) => (named, hash),
                    None => return Some(Parsed::Rejected(Reason::Base64)),
                }
            }
        };
        let is_as_long = hash.as_bytes().len() * 2 == self.digits;
        Some(match named {
            Some(named) if named != self.algorithm => Parsed::Rejected(Reason::Algorithm),
            _ if is_as_long => Parsed::Hash(hash),
            _ => Parsed::Rejected(Reason::Length),
        })
    }
}

/// A hash from base64.
pub(super) fn from_base64(text: &[u8]) -> Option<Hash> {
    let mut standard = [0; MAX_BASE64_BYTES];
    let standard = standard.get_mut(..text.len())?;
    for (to, from) in standard.iter_mut().zip(text) {
        *to = match from {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        };
    }
    let mut raw = [0; MAX_BASE64_BYTES];
    let length = BASE64.decode_slice(standard, &mut raw).ok()?;
    Hash::from_bytes(raw.get(..length)?)
}

/// The algorithm of a digest in base64: as it is named before it, or by its length.
pub(super) fn algorithm_of_base64(text: &[u8]) -> Option<Algorithm> {
    let (named, digits) = hash_prefix::split_encoded(text);
    let length = from_base64(digits)?.as_bytes().len();
    match named {
        Some(named) => (named.bytes() == length).then_some(named),
        None => Algorithm::of_hex_digits(length * 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";
    const BASE64_TEXT: &str = "OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=";

    fn read(text: &str, algorithm: Algorithm) -> Option<Parsed> {
        let form = Form {
            encoding: Encoding::Base64,
            ..Form::default()
        };
        Digest::new(algorithm, &form).adorned(text.as_bytes())
    }

    #[test]
    fn base64_is_read_in_both_alphabets_padded_or_not() {
        let hash = Hash::from_hex(SHA256.as_bytes()).expect("hex");
        let url = BASE64_TEXT.replace('/', "_").replace('+', "-");
        for text in [
            BASE64_TEXT.to_owned(),
            BASE64_TEXT.trim_end_matches('=').to_owned(),
            url.clone(),
            url.trim_end_matches('=').to_owned(),
            format!("sha256-{BASE64_TEXT}"),
            format!("sha256={}", url.trim_end_matches('=')),
            format!("SHA-256:{BASE64_TEXT}"),
        ] {
            assert_eq!(
                read(&text, Algorithm::Sha256),
                Some(Parsed::Hash(hash)),
                "{text}"
            );
            assert_eq!(
                algorithm_of_base64(text.as_bytes()),
                Some(Algorithm::Sha256)
            );
        }
    }

    #[test]
    fn what_is_no_base64_of_the_algorithm_is_rejected_by_name() {
        let rejected = |reason| Some(Parsed::Rejected(reason));
        // Hexadecimal digits are base64 of something longer.
        assert_eq!(read(SHA256, Algorithm::Sha256), rejected(Reason::Length));
        assert_eq!(read(BASE64_TEXT, Algorithm::Md5), rejected(Reason::Length));
        let other = format!("blake3-{BASE64_TEXT}");
        assert_eq!(read(&other, Algorithm::Sha256), rejected(Reason::Algorithm));
        for text in ["a b", "====", "é", &"A".repeat(200), "OiEY30e!"] {
            assert_eq!(
                read(text, Algorithm::Sha256),
                rejected(Reason::Base64),
                "{text}"
            );
        }
    }
}
