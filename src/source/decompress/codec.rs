//! Compression of a list: the option, and detection from its first bytes.

use crate::base::error::{Error, Result};
use crate::source::work_dir::WorkDir;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A supported compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 8878, one frame or several, skippable ones too.
    Zstd,
    /// The .xz format, one stream or several.
    Xz,
    /// One stream or several.
    Bzip2,
    /// The LZ4 frame format, one frame or several, skippable ones too.
    Lz4,
    /// One member of a ZIP archive, stored or deflated.
    Zip,
}

/// Magic numbers. Source: each format's specification.
const MAGIC: [(&[u8], Codec); 8] = [
    (b"\x1F\x8B", Codec::Gzip),
    (b"\x28\xB5\x2F\xFD", Codec::Zstd),
    (b"\xFD7zXZ\0", Codec::Xz),
    (b"BZh", Codec::Bzip2),
    (b"\x04\x22\x4D\x18", Codec::Lz4),
    (b"PK\x03\x04", Codec::Zip),
    // Marker of an archive that was written for splitting.
    (b"PK00PK\x03\x04", Codec::Zip),
    (b"PK\x07\x08PK\x03\x04", Codec::Zip),
];

/// Result of detection from the first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detected {
    /// No known compression.
    Uncompressed,
    /// Too few bytes to decide.
    TooFew,
    /// This format.
    Codec(Codec),
}

impl Codec {
    /// Detects the format from `head`, the first bytes of the source.
    pub fn detect(head: &[u8]) -> Detected {
        if let Some(after) = skippable_frame_end(head) {
            // Skippable frames of zstd and LZ4 are equal: the next frame decides.
            return match head.get(after..).map(Codec::detect) {
                Some(Detected::Codec(codec @ (Codec::Zstd | Codec::Lz4))) => Detected::Codec(codec),
                Some(Detected::TooFew) | None => Detected::TooFew,
                Some(_) => Detected::Codec(Codec::Zstd),
            };
        }
        for (magic, codec) in MAGIC {
            if head.starts_with(magic) {
                return match (codec, head.get(3)) {
                    // The digit is the block size. Without one it is text.
                    (Codec::Bzip2, Some(b'1'..=b'9')) => Detected::Codec(codec),
                    (Codec::Bzip2, Some(_)) => Detected::Uncompressed,
                    (Codec::Bzip2, None) => Detected::TooFew,
                    _ => Detected::Codec(codec),
                };
            }
            if magic.starts_with(head) {
                return Detected::TooFew;
            }
        }
        match is_skippable_magic(head) {
            true => Detected::TooFew,
            false => Detected::Uncompressed,
        }
    }

    /// Detects the format from `head` when no more bytes will follow.
    pub fn detect_at_end(head: &[u8]) -> Detected {
        match (Codec::detect(head), skippable_frame_end(head)) {
            // The skippable frame is longer than `head`.
            (Detected::TooFew, Some(_)) => Detected::Codec(Codec::Zstd),
            (Detected::TooFew, None) => Detected::Uncompressed,
            (detected, _) => detected,
        }
    }

    /// The name, as in `--compression`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
            Codec::Xz => "xz",
            Codec::Bzip2 => "bzip2",
            Codec::Lz4 => "lz4",
            Codec::Zip => "zip",
        }
    }

    /// The command that decompresses it to standard output.
    pub fn command(self) -> &'static str {
        match self {
            Codec::Gzip => "gunzip -c",
            Codec::Zstd => "zstd -dc",
            Codec::Xz => "xz -dc",
            Codec::Bzip2 => "bunzip2 -c",
            Codec::Lz4 => "lz4 -dc",
            Codec::Zip => "unzip -p",
        }
    }
}

/// A shell pipeline from the source `name` through `command`.
pub(crate) fn pipe_command(name: &str, command: &str) -> String {
    match name {
        "-" => format!("… | {command}"),
        _ => {
            let name = shlex::try_quote(name).unwrap_or(name.into());
            match name.contains("s3://") {
                true => format!("aws s3 cp {name} - | {command}"),
                false => format!("{command} {name}"),
            }
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// True if `head`, even if incomplete, matches the magic number of a skippable frame:
/// 0x184D2A50 to 0x184D2A5F, little-endian.
fn is_skippable_magic(head: &[u8]) -> bool {
    let (first, rest) = match head {
        [] => return true,
        [first, rest @ ..] => (first, &rest[..rest.len().min(3)]),
    };
    first & 0xF0 == 0x50 && b"\x2A\x4D\x18".starts_with(rest)
}

/// The end of a skippable frame at the start; `None` if there is none.
pub(super) fn skippable_frame_end(head: &[u8]) -> Option<usize> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let size = rest.first_chunk::<4>()?;
    is_skippable_magic(magic).then(|| {
        usize::try_from(u32::from_le_bytes(*size)).map_or(usize::MAX, |s| s.saturating_add(8))
    })
}

/// Option for the compression of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Detect it from the first bytes.
    #[default]
    Auto,
    /// Not compressed: the bytes are the text, in any case.
    None,
    /// This format.
    Fixed(Codec),
}

/// Options for the decompression of a run's sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecompressOptions {
    /// Compression of the sources.
    pub compression: Compression,
    /// Member of a ZIP archive that is the list; needed if it has several.
    pub member: Option<String>,
    /// Folder for copies of sources that cannot be streamed.
    pub work_dir: WorkDir,
}

/// Compression of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceCompression {
    /// Format of the compression.
    pub codec: Codec,
    /// Member of a ZIP archive, if one was named.
    pub member: Option<String>,
}

impl DecompressOptions {
    /// The compression of the source `name` with the detection result `detected`;
    /// `None` if it is not compressed.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) if a member is named,
    /// but the source is not a ZIP archive.
    pub fn compression_for(
        &self,
        name: &str,
        detected: Detected,
    ) -> Result<Option<SourceCompression>> {
        let codec = match (self.compression, detected) {
            (Compression::Fixed(codec), _) | (Compression::Auto, Detected::Codec(codec)) => {
                Some(codec)
            }
            _ => None,
        };
        if self.member.is_some() && codec != Some(Codec::Zip) {
            let is = codec.map_or("not compressed", Codec::name);
            return Err(Error::usage(format!(
                "--member names a member of a ZIP archive, but {name} is {is}"
            ))
            .with_hint("omit --member"));
        }
        Ok(codec.map(|codec| SourceCompression {
            codec,
            member: self.member.clone(),
        }))
    }

    /// Checks that the options agree with the compression `packed` of an earlier run.
    ///
    /// # Errors
    /// A description of the difference.
    pub fn check_unchanged(&self, packed: Option<&SourceCompression>) -> Result<(), String> {
        let was = packed.map_or("none", |p| p.codec.name());
        let is = match self.compression {
            Compression::Auto => was,
            Compression::None => "none",
            Compression::Fixed(codec) => codec.name(),
        };
        if was != is {
            return Err(format!(
                "its compression was {was}, but the option says {is}"
            ));
        }
        let member = packed.and_then(|p| p.member.as_ref());
        if member != self.member.as_ref() {
            let text_or_none =
                |m: Option<&String>| m.map_or("none".to_owned(), |m| format!("{m:?}"));
            return Err(format!(
                "its member was {}, but the option names {}",
                text_or_none(member),
                text_or_none(self.member.as_ref())
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_detected_from_the_first_bytes() {
        for (magic, codec) in MAGIC {
            for n in 0..magic.len() {
                assert_eq!(Codec::detect(&magic[..n]), Detected::TooFew, "{codec} {n}");
            }
            let whole = [magic, b"9xxxx"].concat();
            assert_eq!(Codec::detect(&whole), Detected::Codec(codec));
        }
        for text in [&b"92e7"[..], b"BZhello", b"\n", b"PKzip", b"P\n", b"(hash)"] {
            assert_eq!(Codec::detect(text), Detected::Uncompressed, "{text:?}");
        }
    }

    #[test]
    fn after_a_skippable_frame_the_next_one_decides() {
        let skip = b"\x5A\x2A\x4D\x18\x02\0\0\0ab";
        for n in 1..skip.len() {
            assert_eq!(Codec::detect(&skip[..n]), Detected::TooFew, "{n}");
        }
        let next = |magic: &[u8]| Codec::detect(&[skip, magic].concat());
        assert_eq!(next(b"\x04\x22\x4D\x18"), Detected::Codec(Codec::Lz4));
        assert_eq!(next(b"\x28\xB5\x2F\xFD"), Detected::Codec(Codec::Zstd));
        let far = b"\x50\x2A\x4D\x18\xFF\xFF\xFF\xFF";
        assert_eq!(Codec::detect(far), Detected::TooFew);
    }

    #[test]
    fn only_archives_have_members() {
        let member = DecompressOptions {
            member: Some("a".into()),
            ..DecompressOptions::default()
        };
        let packed = |u: &DecompressOptions, detected| {
            u.compression_for("list", detected)
                .map(|p| p.map(|p| p.codec))
        };
        assert!(packed(&member, Detected::Uncompressed).is_err());
        assert!(packed(&member, Detected::Codec(Codec::Gzip)).is_err());
        assert_eq!(
            packed(&member, Detected::Codec(Codec::Zip)).ok(),
            Some(Some(Codec::Zip))
        );
        let none = DecompressOptions {
            compression: Compression::None,
            ..DecompressOptions::default()
        };
        assert_eq!(packed(&none, Detected::Codec(Codec::Zip)).ok(), Some(None));
        assert!(none.check_unchanged(None).is_ok());
        let zip = SourceCompression {
            codec: Codec::Zip,
            member: Some("b".into()),
        };
        assert!(
            none.check_unchanged(Some(&zip))
                .is_err_and(|e| e.contains("was zip"))
        );
        assert!(
            member
                .check_unchanged(Some(&zip))
                .is_err_and(|e| e.contains("\"b\""))
        );
    }
}
