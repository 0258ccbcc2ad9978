//! The text of a hash: hexadecimal, or base64 if the options say so.

use crate::base::hash::{Algorithm, Hash};
use crate::base::hash_prefix;
use crate::base::record::RejectReason;
use crate::list::format::kind::{Encoding, ListOptions};
use crate::list::format::plain::Parsed;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Length of the longest hash in padded base64.
const MAX_BASE64_BYTES: usize = 88;

/// Algorithm and encoding that the text of a hash must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashSpec {
    pub(super) algorithm: Algorithm,
    /// Number of hexadecimal digits of a hash.
    pub(super) hex_digits: usize,
    pub(super) encoding: Encoding,
}

impl HashSpec {
    /// The specification of hashes of `algorithm` in lists with these options.
    pub(super) fn new(algorithm: Algorithm, options: &ListOptions) -> HashSpec {
        HashSpec {
            algorithm,
            hex_digits: algorithm.bytes() * 2,
            encoding: options.encoding,
        }
    }

    /// Parses a text that is not just hexadecimal digits: base64, or a hash with the name of
    /// its algorithm before it. `None` if it is neither.
    pub(super) fn parse_decorated(self, text: &[u8]) -> Option<Parsed> {
        let (named, hash) = match self.encoding {
            Encoding::Hex => {
                let (named, digits) = hash_prefix::split_prefix(text);
                if digits.len() == text.len() {
                    return None;
                }
                (named, Hash::from_hex(digits)?)
            }
            Encoding::Base64 => {
                let (named, digits) = hash_prefix::split_base64_prefix(text);
                match hash_from_base64(digits) {
                    Some(hash) => (named, hash),
                    None => return Some(Parsed::Rejected(RejectReason::Base64)),
                }
            }
        };
        let is_as_long = hash.as_bytes().len() * 2 == self.hex_digits;
        Some(match named {
            Some(named) if named != self.algorithm => Parsed::Rejected(RejectReason::Algorithm),
            _ if is_as_long => Parsed::Hash(hash),
            _ => Parsed::Rejected(RejectReason::Length),
        })
    }
}

/// Decodes a hash from base64, in the standard or the URL alphabet.
pub(super) fn hash_from_base64(text: &[u8]) -> Option<Hash> {
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

/// The algorithm of a hash in base64: the one named before it, or else by its length.
pub(super) fn algorithm_from_base64(text: &[u8]) -> Option<Algorithm> {
    let (named, digits) = hash_prefix::split_base64_prefix(text);
    let length = hash_from_base64(digits)?.as_bytes().len();
    match named {
        Some(named) => (named.bytes() == length).then_some(named),
        None => Algorithm::from_hex_digits(length * 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";
    const BASE64_TEXT: &str = "OiEY30e/PwQoVknwRVwvxv4tx/CyNwcwOKoAr0Hw1fI=";

    fn read(text: &str, algorithm: Algorithm) -> Option<Parsed> {
        let options = ListOptions {
            encoding: Encoding::Base64,
            ..ListOptions::default()
        };
        HashSpec::new(algorithm, &options).parse_decorated(text.as_bytes())
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
                algorithm_from_base64(text.as_bytes()),
                Some(Algorithm::Sha256)
            );
        }
    }

    #[test]
    fn invalid_base64_is_rejected_with_its_reason() {
        let rejected = |reason| Some(Parsed::Rejected(reason));
        // Hexadecimal digits are valid base64, of a longer value.
        assert_eq!(
            read(SHA256, Algorithm::Sha256),
            rejected(RejectReason::Length)
        );
        assert_eq!(
            read(BASE64_TEXT, Algorithm::Md5),
            rejected(RejectReason::Length)
        );
        let other = format!("blake3-{BASE64_TEXT}");
        assert_eq!(
            read(&other, Algorithm::Sha256),
            rejected(RejectReason::Algorithm)
        );
        for text in ["a b", "====", "é", &"A".repeat(200), "OiEY30e!"] {
            assert_eq!(
                read(text, Algorithm::Sha256),
                rejected(RejectReason::Base64),
                "{text}"
            );
        }
    }
}
