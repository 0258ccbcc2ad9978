//! Hash algorithms with their names and lengths, and hash values as raw bytes.
//!
//! Internally a hash is raw bytes, never text. That halves the memory, gives one form
//! for all letter cases, and makes hashes comparable. Conversion happens at the edges:
//! [`Hash::from_hex`] parses a line, [`Hash::write_hex`] writes a request.

use std::fmt;
use std::str::FromStr;

/// Maximum length of a hash, in bytes (SHA-512, BLAKE2b).
pub(crate) const MAX_HASH_BYTES: usize = 64;

/// A hash algorithm. It determines the length of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say it
pub enum Algorithm {
    Md5,
    Sha1,
    Ripemd160,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_256,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
    Blake2s,
    Blake2b,
    Blake3,
}

impl Algorithm {
    /// All algorithms, most common first. If a length fits several, an unlabelled list
    /// is assumed to hold the first of them.
    pub const ALL: [Algorithm; 15] = [
        Algorithm::Sha256,
        Algorithm::Sha1,
        Algorithm::Md5,
        Algorithm::Sha512,
        Algorithm::Sha384,
        Algorithm::Sha224,
        Algorithm::Blake3,
        Algorithm::Sha512_256,
        Algorithm::Sha3_224,
        Algorithm::Sha3_256,
        Algorithm::Sha3_384,
        Algorithm::Sha3_512,
        Algorithm::Blake2s,
        Algorithm::Blake2b,
        Algorithm::Ripemd160,
    ];

    /// Name on the command line and in reports, such as `sha256`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Ripemd160 => "ripemd160",
            Algorithm::Sha224 => "sha224",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
            Algorithm::Sha512_256 => "sha512-256",
            Algorithm::Sha3_224 => "sha3-224",
            Algorithm::Sha3_256 => "sha3-256",
            Algorithm::Sha3_384 => "sha3-384",
            Algorithm::Sha3_512 => "sha3-512",
            Algorithm::Blake2s => "blake2s",
            Algorithm::Blake2b => "blake2b",
            Algorithm::Blake3 => "blake3",
        }
    }

    /// Name in prose, such as `SHA-256`.
    pub fn title(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Ripemd160 => "RIPEMD-160",
            Algorithm::Sha224 => "SHA-224",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha384 => "SHA-384",
            Algorithm::Sha512 => "SHA-512",
            Algorithm::Sha512_256 => "SHA-512/256",
            Algorithm::Sha3_224 => "SHA3-224",
            Algorithm::Sha3_256 => "SHA3-256",
            Algorithm::Sha3_384 => "SHA3-384",
            Algorithm::Sha3_512 => "SHA3-512",
            Algorithm::Blake2s => "BLAKE2s",
            Algorithm::Blake2b => "BLAKE2b",
            Algorithm::Blake3 => "BLAKE3",
        }
    }

    /// Name with its indefinite article, such as `an MD5`.
    pub(crate) fn with_article(self) -> String {
        let article = match self {
            Algorithm::Md5 => "an",
            _ => "a",
        };
        format!("{article} {}", self.title())
    }

    /// Length of a hash in bytes; its hex text has twice as many digits.
    pub fn bytes(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 | Algorithm::Ripemd160 => 20,
            Algorithm::Sha224 | Algorithm::Sha3_224 => 28,
            Algorithm::Sha256
            | Algorithm::Sha512_256
            | Algorithm::Sha3_256
            | Algorithm::Blake2s
            | Algorithm::Blake3 => 32,
            Algorithm::Sha384 | Algorithm::Sha3_384 => 48,
            Algorithm::Sha512 | Algorithm::Sha3_512 | Algorithm::Blake2b => 64,
        }
    }

    /// The most common algorithm with `digits` hex digits; `None` if there is none.
    /// Length alone cannot distinguish SHA-256 from BLAKE3.
    pub fn from_hex_digits(digits: usize) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|a| a.bytes() * 2 == digits)
    }

    /// The algorithm called `name`, in any spelling (`SHA-256`, `sha_256`, `Sha256`);
    /// `None` if unknown.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        let folded = fold(name);
        Algorithm::ALL
            .into_iter()
            .find(|a| fold(a.name()) == folded)
    }
}

/// Letters and digits of `name` in lower case, so that `SHA-1` equals `sha1`.
pub(crate) fn fold(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Algorithm::from_name(s).ok_or_else(|| {
            let names: Vec<_> = Algorithm::ALL.iter().map(|a| a.name()).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}

/// Letter case of hex text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Case {
    /// `0A1B…`, as in NSRL's lists; the default.
    #[default]
    Upper,
    /// `0a1b…`
    Lower,
}

/// A hash value of up to 64 raw bytes.
#[derive(Clone, Copy)]
pub struct Hash {
    length: u8,
    bytes: [u8; MAX_HASH_BYTES],
}

impl Hash {
    /// Creates a hash from raw bytes; `None` if `raw` is empty or longer than 64 bytes.
    pub fn from_bytes(raw: &[u8]) -> Option<Hash> {
        if raw.is_empty() || raw.len() > MAX_HASH_BYTES {
            return None;
        }
        let mut bytes = [0; MAX_HASH_BYTES];
        bytes[..raw.len()].copy_from_slice(raw);
        Some(Hash {
            length: raw.len() as u8,
            bytes,
        })
    }

    /// Parses hex digits of either case; `None` if there are no digits, an odd number,
    /// more than 128, or other characters.
    pub fn from_hex(hex: &[u8]) -> Option<Hash> {
        if hex.is_empty() || hex.len() > MAX_HASH_BYTES * 2 || !hex.len().is_multiple_of(2) {
            return None;
        }
        let mut bytes = [0; MAX_HASH_BYTES];
        // The decoder removes a "0x" prefix, which leaves too few digits here.
        const_hex::decode_to_slice(hex, &mut bytes[..hex.len() / 2]).ok()?;
        Some(Hash {
            length: (hex.len() / 2) as u8,
            bytes,
        })
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Appends the hex text to `out`.
    pub fn write_hex(&self, case: Case, out: &mut Vec<u8>) {
        let mut text = [0u8; MAX_HASH_BYTES * 2];
        let text = &mut text[..usize::from(self.length) * 2];
        let written = match case {
            Case::Upper => const_hex::encode_to_slice_upper(self.as_bytes(), text),
            Case::Lower => const_hex::encode_to_slice(self.as_bytes(), text),
        };
        debug_assert!(written.is_ok(), "two digits a byte");
        out.extend_from_slice(text);
    }

    /// The hex text of the hash.
    pub fn to_hex(&self, case: Case) -> String {
        let mut text = Vec::with_capacity(usize::from(self.length) * 2);
        self.write_hex(case, &mut text);
        text.into_iter().map(char::from).collect()
    }
}

impl From<[u8; 32]> for Hash {
    fn from(raw: [u8; 32]) -> Self {
        let mut bytes = [0; MAX_HASH_BYTES];
        bytes[..raw.len()].copy_from_slice(&raw);
        Hash {
            length: raw.len() as u8,
            bytes,
        }
    }
}

impl PartialEq for Hash {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Hash {}

impl std::hash::Hash for Hash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex(Case::Upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithm_names_are_parsed_in_any_spelling() {
        for name in ["sha256", "SHA-256", "Sha_256", " sha 256 "] {
            assert_eq!(
                Algorithm::from_name(name),
                Some(Algorithm::Sha256),
                "{name}"
            );
        }
        assert_eq!(
            Algorithm::from_name("sha512/256"),
            Some(Algorithm::Sha512_256)
        );
        assert_eq!(Algorithm::from_name("pk"), None);
        for a in Algorithm::ALL {
            assert_eq!(a.name().parse(), Ok(a));
        }
    }

    #[test]
    fn a_length_selects_the_most_common_algorithm() {
        assert_eq!(Algorithm::from_hex_digits(32), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_hex_digits(40), Some(Algorithm::Sha1));
        assert_eq!(Algorithm::from_hex_digits(64), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::from_hex_digits(128), Some(Algorithm::Sha512));
        assert_eq!(Algorithm::from_hex_digits(63), None);
    }

    #[test]
    fn hex_of_any_case_is_parsed_and_written_in_either_case() {
        let h = Hash::from_hex(b"00ffAbcD9f").expect("hex");
        assert_eq!(h.as_bytes(), [0x00, 0xff, 0xab, 0xcd, 0x9f]);
        assert_eq!(h.to_hex(Case::Upper), "00FFABCD9F");
        assert_eq!(h.to_hex(Case::Lower), "00ffabcd9f");
    }

    #[test]
    fn every_byte_is_parsed_as_the_standard_library_does() {
        for c in 0..=255u8 {
            let pair = [b'0', c];
            let expected = char::from(c).to_digit(16).filter(|_| c.is_ascii());
            let got = Hash::from_hex(&pair).map(|h| u32::from(h.as_bytes()[0]));
            assert_eq!(got, expected, "byte {c:#x}");
        }
    }

    #[test]
    fn odd_empty_and_long_texts_are_not_hashes() {
        assert!(Hash::from_hex(b"").is_none());
        assert!(Hash::from_hex(b"abc").is_none());
        assert!(Hash::from_hex(&[b'a'; 130]).is_none());
        assert!(Hash::from_bytes(&[]).is_none());
        assert!(Hash::from_bytes(&[0; 65]).is_none());
    }
}
