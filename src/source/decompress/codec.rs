//! How a list may be compressed: what was told, and what its first bytes show.

use crate::base::error::{Error, Result};
use crate::source::work_dir::WorkDir;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A compression that is undone on the way in.
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

/// By what each is known. Source: each format's specification.
const MAGIC: [(&[u8], Codec); 8] = [
    (b"\x1F\x8B", Codec::Gzip),
    (b"\x28\xB5\x2F\xFD", Codec::Zstd),
    (b"\xFD7zXZ\0", Codec::Xz),
    (b"BZh", Codec::Bzip2),
    (b"\x04\x22\x4D\x18", Codec::Lz4),
    (b"PK\x03\x04", Codec::Zip),
    // An archive that was to be split, and was not or is the first part.
    (b"PK00PK\x03\x04", Codec::Zip),
    (b"PK\x07\x08PK\x03\x04", Codec::Zip),
];

/// What the first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No compression that is known here.
    Nothing,
    /// Too few bytes to say.
    TooFew,
    /// This.
    Codec(Codec),
}

impl Codec {
    /// What `head` shows, the beginning of the source.
    pub fn seen(head: &[u8]) -> Seen {
        if let Some(after) = after_skippable(head) {
            // A skippable frame is alike in zstd and LZ4: the next one tells.
            return match head.get(after..).map(Codec::seen) {
                Some(Seen::Codec(codec @ (Codec::Zstd | Codec::Lz4))) => Seen::Codec(codec),
                Some(Seen::TooFew) | None => Seen::TooFew,
                Some(_) => Seen::Codec(Codec::Zstd),
            };
        }
        for (magic, codec) in MAGIC {
            if head.starts_with(magic) {
                return match (codec, head.get(3)) {
                    // The digit is the block size: without one it is text.
                    (Codec::Bzip2, Some(b'1'..=b'9')) => Seen::Codec(codec),
                    (Codec::Bzip2, Some(_)) => Seen::Nothing,
                    (Codec::Bzip2, None) => Seen::TooFew,
                    _ => Seen::Codec(codec),
                };
            }
            if magic.starts_with(head) {
                return Seen::TooFew;
            }
        }
        match is_skippable_magic(head) {
            true => Seen::TooFew,
            false => Seen::Nothing,
        }
    }

    /// What `head` shows when no more will come of it.
    pub fn shown(head: &[u8]) -> Seen {
        match (Codec::seen(head), after_skippable(head)) {
            // A skippable frame longer than what is looked at.
            (Seen::TooFew, Some(_)) => Seen::Codec(Codec::Zstd),
            (Seen::TooFew, None) => Seen::Nothing,
            (seen, _) => seen,
        }
    }

    /// Its name, as `--compression` takes it.
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

    /// The command that undoes it into a pipe.
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

/// How the bytes of the source `name` come into `command`, for a shell.
pub(crate) fn piped(name: &str, command: &str) -> String {
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

/// Whether `head`, however short, may be the magic number of a skippable frame:
/// 0x184D2A50 to 0x184D2A5F, little-endian.
fn is_skippable_magic(head: &[u8]) -> bool {
    let (first, rest) = match head {
        [] => return true,
        [first, rest @ ..] => (first, &rest[..rest.len().min(3)]),
    };
    first & 0xF0 == 0x50 && b"\x2A\x4D\x18".starts_with(rest)
}

/// Where a skippable frame at the beginning ends.
pub(super) fn after_skippable(head: &[u8]) -> Option<usize> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let size = rest.first_chunk::<4>()?;
    is_skippable_magic(magic).then(|| {
        usize::try_from(u32::from_le_bytes(*size)).map_or(usize::MAX, |s| s.saturating_add(8))
    })
}

/// Whether and how a list is compressed, as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Compression {
    /// As its first bytes show.
    #[default]
    Auto,
    /// It is not: the bytes are the text, whatever they look like.
    None,
    /// So.
    Is(Codec),
}

/// What was told about the compression of a run's sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unpack {
    /// How they are compressed.
    pub compression: Compression,
    /// Which member of a ZIP archive is the list, where it has several.
    pub member: Option<String>,
    /// Where copies go of what cannot be read as it comes.
    pub work: WorkDir,
}

/// How a source is compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// By what.
    pub codec: Codec,
    /// The member of a ZIP archive that was named.
    pub member: Option<String>,
}

impl Unpack {
    /// How a source is compressed whose beginning shows `seen`; nothing where it
    /// is not.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::base::error::ErrorKind::Usage) when a member is named
    /// and the source, `name`, is no ZIP archive.
    pub fn packed(&self, name: &str, seen: Seen) -> Result<Option<Packed>> {
        let codec = match (self.compression, seen) {
            (Compression::Is(codec), _) | (Compression::Auto, Seen::Codec(codec)) => Some(codec),
            _ => None,
        };
        if self.member.is_some() && codec != Some(Codec::Zip) {
            let is = codec.map_or("not compressed", Codec::name);
            return Err(Error::usage(format!(
                "--member names a member of a ZIP archive, and {name} is {is}"
            ))
            .hint("leave --member out"));
        }
        Ok(codec.map(|codec| Packed {
            codec,
            member: self.member.clone(),
        }))
    }

    /// Whether a source that was read as `packed` would be read so again.
    ///
    /// # Errors
    /// In words, how it would be read now.
    pub fn agrees(&self, packed: Option<&Packed>) -> Result<(), String> {
        let was = packed.map_or("none", |p| p.codec.name());
        let is = match self.compression {
            Compression::Auto => was,
            Compression::None => "none",
            Compression::Is(codec) => codec.name(),
        };
        if was != is {
            return Err(format!("its compression was {was}, and is told to be {is}"));
        }
        let member = packed.and_then(|p| p.member.as_ref());
        if member != self.member.as_ref() {
            let said = |m: Option<&String>| m.map_or("none".to_owned(), |m| format!("{m:?}"));
            return Err(format!(
                "the member named was {}, and is {}",
                said(member),
                said(self.member.as_ref())
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_known_by_its_first_bytes_however_few_have_come() {
        for (magic, codec) in MAGIC {
            for n in 0..magic.len() {
                assert_eq!(Codec::seen(&magic[..n]), Seen::TooFew, "{codec} {n}");
            }
            let whole = [magic, b"9xxxx"].concat();
            assert_eq!(Codec::seen(&whole), Seen::Codec(codec));
        }
        for text in [&b"92e7"[..], b"BZhello", b"\n", b"PKzip", b"P\n", b"(hash)"] {
            assert_eq!(Codec::seen(text), Seen::Nothing, "{text:?}");
        }
    }

    #[test]
    fn after_a_skippable_frame_the_next_one_tells() {
        let skip = b"\x5A\x2A\x4D\x18\x02\0\0\0ab";
        for n in 1..skip.len() {
            assert_eq!(Codec::seen(&skip[..n]), Seen::TooFew, "{n}");
        }
        let next = |magic: &[u8]| Codec::seen(&[skip, magic].concat());
        assert_eq!(next(b"\x04\x22\x4D\x18"), Seen::Codec(Codec::Lz4));
        assert_eq!(next(b"\x28\xB5\x2F\xFD"), Seen::Codec(Codec::Zstd));
        let far = b"\x50\x2A\x4D\x18\xFF\xFF\xFF\xFF";
        assert_eq!(Codec::seen(far), Seen::TooFew);
    }

    #[test]
    fn a_member_is_of_an_archive_only() {
        let member = Unpack {
            member: Some("a".into()),
            ..Unpack::default()
        };
        let packed = |u: &Unpack, seen| u.packed("list", seen).map(|p| p.map(|p| p.codec));
        assert!(packed(&member, Seen::Nothing).is_err());
        assert!(packed(&member, Seen::Codec(Codec::Gzip)).is_err());
        assert_eq!(
            packed(&member, Seen::Codec(Codec::Zip)).ok(),
            Some(Some(Codec::Zip))
        );
        let none = Unpack {
            compression: Compression::None,
            ..Unpack::default()
        };
        assert_eq!(packed(&none, Seen::Codec(Codec::Zip)).ok(), Some(None));
        assert!(none.agrees(None).is_ok());
        let zip = Packed {
            codec: Codec::Zip,
            member: Some("b".into()),
        };
        assert!(
            none.agrees(Some(&zip))
                .is_err_and(|e| e.contains("was zip"))
        );
        assert!(
            member
                .agrees(Some(&zip))
                .is_err_and(|e| e.contains("\"b\""))
        );
    }
}
