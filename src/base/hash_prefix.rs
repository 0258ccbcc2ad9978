//! Prefixes of a hash: the algorithm, as in `sha256:3a21…`, or `0x`.

use crate::base::hash::Algorithm;

/// Maximum length of an algorithm's name before its separator; the longest is
/// `sha512-256`.
const MAX_NAME_BYTES: usize = 16;

/// Letters and digits of `text`, in lower case.
fn folded(text: &[u8]) -> impl Iterator<Item = u8> {
    let kept = text.iter().filter(|b| b.is_ascii_alphanumeric());
    kept.map(u8::to_ascii_lowercase)
}

impl Algorithm {
    /// The algorithm called `tag`, found without an allocation; `None` if unknown.
    /// Sources of the names: `md5sum --tag` and similar commands of GNU coreutils,
    /// BSD's md5 and rmd160, openssl dgst, `b3sum --tag`.
    pub(crate) fn from_tag(tag: &[u8]) -> Option<Algorithm> {
        let is = |name: &str| folded(tag).eq(folded(name.as_bytes()));
        let others = [
            ("rmd160", Algorithm::Ripemd160),
            ("blake2b512", Algorithm::Blake2b),
            ("blake2s256", Algorithm::Blake2s),
        ];
        // openssl calls it SHA2-256.
        let is_sha2 = |name: &str| {
            let bits = name.strip_prefix("sha").unwrap_or(name);
            bits.len() >= 3
                && folded(tag).eq(b"sha2".iter().copied().chain(folded(bits.as_bytes())))
        };
        let mut all = Algorithm::ALL.into_iter();
        let named = all.find(|a| is(a.name()) || is_sha2(a.name()));
        named.or_else(|| {
            let other = others.iter().find(|(name, _)| is(name));
            other.map(|(_, algorithm)| *algorithm)
        })
    }
}

/// Splits the name of an algorithm, or `0x`, from the digits.
pub(crate) fn split_prefix(text: &[u8]) -> (Option<Algorithm>, &[u8]) {
    let digits = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X"));
    match digits {
        Some(digits) => (None, digits),
        None => split_name(text, b":"),
    }
}

/// As [`split_prefix`], for base64 digests, where `sha256-…` and `sha256=…` are common.
pub(crate) fn split_base64_prefix(text: &[u8]) -> (Option<Algorithm>, &[u8]) {
    split_name(text, b":-=")
}

/// Splits `text` after the name of an algorithm and one of `separators`.
fn split_name<'a>(text: &'a [u8], separators: &[u8]) -> (Option<Algorithm>, &'a [u8]) {
    let head = text.iter().take(MAX_NAME_BYTES).enumerate();
    // A name may contain a separator (`sha-256-…`), so the longest name wins.
    let ends = head.rev().filter(|(_, b)| separators.contains(b));
    let mut named = ends.filter_map(|(at, _)| Some((Algorithm::from_tag(&text[..at])?, at)));
    match named.next() {
        Some((algorithm, at)) => (Some(algorithm), text[at + 1..].trim_ascii_start()),
        None => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithm_tags_are_parsed_in_any_spelling() {
        for (tag, algorithm) in [
            ("SHA256", Some(Algorithm::Sha256)),
            ("sha-256", Some(Algorithm::Sha256)),
            ("SHA2-256", Some(Algorithm::Sha256)),
            ("SHA2-512/256", Some(Algorithm::Sha512_256)),
            ("SHA512/256", Some(Algorithm::Sha512_256)),
            ("SHA224", Some(Algorithm::Sha224)),
            ("SHA3-256", Some(Algorithm::Sha3_256)),
            ("RMD160", Some(Algorithm::Ripemd160)),
            ("BLAKE2b", Some(Algorithm::Blake2b)),
            ("BLAKE2b-512", Some(Algorithm::Blake2b)),
            ("BLAKE2b-256", None),
            ("sha2", None),
            ("imphash", None),
            ("", None),
        ] {
            assert_eq!(Algorithm::from_tag(tag.as_bytes()), algorithm, "{tag}");
        }
    }

    #[test]
    fn a_prefix_is_split_from_the_digits() {
        for (text, algorithm, digits) in [
            ("sha256:abcd", Some(Algorithm::Sha256), "abcd"),
            ("SHA-256: abcd", Some(Algorithm::Sha256), "abcd"),
            ("0xabcd", None, "abcd"),
            ("0Xabcd", None, "abcd"),
            ("abcd", None, "abcd"),
            ("ssdeep:abcd", None, "ssdeep:abcd"),
            ("sha256-abcd", None, "sha256-abcd"),
        ] {
            assert_eq!(
                split_prefix(text.as_bytes()),
                (algorithm, digits.as_bytes()),
                "{text}"
            );
        }
        for text in ["sha256-abc=", "sha256=abc=", "sha-256:abc=", "SHA-256-abc="] {
            let expected = (Some(Algorithm::Sha256), &b"abc="[..]);
            assert_eq!(split_base64_prefix(text.as_bytes()), expected, "{text}");
        }
    }
}
