//! One member of a ZIP archive, streamed by the local file headers.
//!
//! A ZIP archive has its central directory at the end, and a local header before each
//! member. So a member can be streamed, even from a pipe; but further members are
//! detected only afterwards. For a seekable archive, [`find_directory`] and [`member_names`] find the
//! members in advance.
//!
//! Source of layouts and constants: PKWARE's APPNOTE.TXT 6.3.10.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::printable::printable_bytes;
use crate::source::decompress::feed::Feed;
use crate::source::decompress::output::{Fault, TextSink};
use flate2::Crc;
use std::io::{self, Read};

const LOCAL_HEADER: &[u8; 4] = b"PK\x03\x04";
const CENTRAL_HEADER: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
/// Markers before the first member of an archive that was written for splitting.
const SPANNING: [&[u8; 4]; 2] = [b"PK00", DESCRIPTOR];

/// Length of the end record without its comment.
const END_BYTES: usize = 22;

/// Length of the ZIP64 locator, which precedes the end record.
const LOCATOR_64_BYTES: usize = 20;

/// Maximum size of the end record with comment and locator, in bytes.
pub(crate) const TAIL_BYTES: u64 = (END_BYTES + u16::MAX as usize + LOCATOR_64_BYTES) as u64;

/// Maximum size of a central directory that is read in advance, in bytes: about 300,000
/// members.
pub(crate) const MAX_DIRECTORY_BYTES: u64 = 32 * 1024 * 1024;

/// Marks a number that is in the ZIP64 field.
const ZIP64_MARKER: u32 = u32::MAX;

/// Maximum number of members in a message.
const MAX_NAMED_MEMBERS: usize = 20;

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..).and_then(|b| b.first_chunk());
    two.map_or(0, |b| u16::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..).and_then(|b| b.first_chunk());
    four.map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..).and_then(|b| b.first_chunk());
    eight.map_or(0, |b| u64::from_le_bytes(*b))
}

/// A parsed local header.
struct LocalHeader {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    compressed_bytes: u64,
    uncompressed_bytes: u64,
}

impl LocalHeader {
    fn read(feed: &mut Feed<'_>) -> Result<LocalHeader, Fault> {
        let fixed = read_exactly(feed, 30)?;
        let name = read_exactly(feed, usize::from(u16_at(&fixed, 26)))?;
        let extra = read_exactly(feed, usize::from(u16_at(&fixed, 28)))?;
        let (mut packed, mut unpacked) =
            (u64::from(u32_at(&fixed, 18)), u64::from(u32_at(&fixed, 22)));
        let mut fields = &extra[..];
        while fields.len() >= 4 {
            let (id, size) = (u16_at(fields, 0), usize::from(u16_at(fields, 2)));
            let mut field = fields.get(4..4 + size).unwrap_or_default();
            if id == 1 {
                for number in [&mut unpacked, &mut packed] {
                    if *number == u64::from(ZIP64_MARKER) && field.len() >= 8 {
                        *number = u64_at(field, 0);
                        field = &field[8..];
                    }
                }
            }
            fields = fields.get(4 + size..).unwrap_or_default();
        }
        Ok(LocalHeader {
            name: String::from_utf8_lossy(&name).into_owned(),
            flags: u16_at(&fixed, 6),
            method: u16_at(&fixed, 8),
            crc: u32_at(&fixed, 14),
            compressed_bytes: packed,
            uncompressed_bytes: unpacked,
        })
    }

    fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// True if the sizes follow the member.
    fn has_descriptor(&self) -> bool {
        self.flags & 0x0008 != 0
    }

    /// Checks that the member can be read. The error is a description.
    fn check(&self) -> Result<(), String> {
        let name = printable_bytes(self.name.as_bytes(), 200);
        if self.flags & 0x2041 != 0 {
            return Err(format!("its member {name:?} is encrypted"));
        }
        let description = match self.method {
            0 if self.has_descriptor() => "stored without its length in the header",
            0 | 8 => return Ok(()),
            9 => "compressed with Deflate64",
            12 => "compressed with bzip2",
            14 => "compressed with LZMA",
            93 => "compressed with zstd",
            95 => "compressed with xz",
            _ => "compressed with a method other than Deflate",
        };
        Err(format!("its member {name:?} is {description}"))
    }
}

/// Reads exactly `n` bytes.
fn read_exactly(feed: &mut Feed<'_>, n: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; n];
    feed.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A reader that computes checksum and length.
struct ChecksumReader<R> {
    inner: R,
    crc: Crc,
    length: u64,
}

impl<R: Read> Read for ChecksumReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.crc.update(&buf[..n]);
        self.length += n as u64;
        Ok(n)
    }
}

/// Sends the text of the member `wanted`, or of the only member, of the archive `name`.
/// Reads to the archive's end.
pub(super) fn decompress_member(
    name: &str,
    wanted: Option<&str>,
    feed: &mut Feed<'_>,
    out: &mut TextSink<'_>,
) -> Result<(), Fault> {
    let mut members = Vec::new();
    let mut found = false;
    let marker = feed.peek(4)?;
    if SPANNING.iter().any(|s| marker == *s) {
        feed.skip(4)?;
    }
    loop {
        let head = feed.peek(4)?;
        if head.len() < 4 {
            return Err(Fault::Bad("it is cut off".into()));
        }
        if head != LOCAL_HEADER {
            break;
        }
        let header = LocalHeader::read(feed)?;
        let is_wanted = !header.is_folder() && !found && wanted.is_none_or(|w| w == header.name);
        if is_wanted {
            header.check().map_err(|description| {
                Fault::Complete(
                    Error::usage(format!("cannot read {name}: {description}"))
                        .with_hint("extract the list first, then ingest it"),
                )
            })?;
            found = true;
            send_member(&header, feed, out)?;
        } else {
            skip_member(&header, feed)?;
        }
        if !header.is_folder() {
            members.push(header.name);
        }
    }
    read_end(feed)?;
    match check_member(name, wanted, &members) {
        Ok(()) if found => Ok(()),
        Ok(()) => Err(Fault::Bad("it lacks the member".into())),
        // Text was sent, so it is not a usage error any more.
        Err(e) if found => Err(Fault::Complete(
            Error::new(ErrorKind::Input, format!("{e:#}"))
                .with_hint(e.hint().unwrap_or_default().to_owned()),
        )),
        Err(e) => Err(Fault::Complete(e)),
    }
}

/// Sends a member's text, and checks it.
fn send_member(
    header: &LocalHeader,
    feed: &mut Feed<'_>,
    out: &mut TextSink<'_>,
) -> Result<(), Fault> {
    let consumed = feed.consumed();
    let before = consumed.get();
    let (crc, length) = match header.method {
        0 => {
            let mut reader = ChecksumReader {
                inner: Read::take(&mut *feed, header.compressed_bytes),
                crc: Crc::new(),
                length: 0,
            };
            out.drain(&mut reader)?;
            (reader.crc.sum(), reader.length)
        }
        _ => {
            let mut reader = ChecksumReader {
                inner: flate2::bufread::DeflateDecoder::new(&mut *feed),
                crc: Crc::new(),
                length: 0,
            };
            out.drain(&mut reader)?;
            (reader.crc.sum(), reader.length)
        }
    };
    check_sums(header, feed, crc, consumed.get() - before, length)
}

/// Skips a member that is not the list.
fn skip_member(header: &LocalHeader, feed: &mut Feed<'_>) -> Result<(), Fault> {
    if !header.has_descriptor() {
        return Ok(feed.skip(header.compressed_bytes)?);
    }
    // Only decompression finds the end of the member.
    header
        .check()
        .map_err(|description| Fault::Bad(format!("cannot skip a member: {description}")))?;
    let consumed = feed.consumed();
    let before = consumed.get();
    let mut reader = ChecksumReader {
        inner: flate2::bufread::DeflateDecoder::new(&mut *feed),
        crc: Crc::new(),
        length: 0,
    };
    io::copy(&mut reader, &mut io::sink())?;
    let (crc, length) = (reader.crc.sum(), reader.length);
    check_sums(header, feed, crc, consumed.get() - before, length)
}

/// Checks a member against its header, or against the descriptor after it.
fn check_sums(
    header: &LocalHeader,
    feed: &mut Feed<'_>,
    crc: u32,
    packed: u64,
    unpacked: u64,
) -> Result<(), Fault> {
    let bad =
        || Fault::Bad("it is damaged (the member does not match its checksum and sizes)".into());
    if !header.has_descriptor() {
        if header.compressed_bytes > packed && feed.peek(1)?.is_empty() {
            return Err(Fault::Bad("it is cut off".into()));
        }
        let says = (
            header.crc,
            header.compressed_bytes,
            header.uncompressed_bytes,
        );
        return match says == (crc, packed, unpacked) {
            true => Ok(()),
            false => Err(bad()),
        };
    }
    // The signature is optional, and sizes have four or eight bytes. Only one
    // combination fits.
    let signed = usize::from(feed.peek(4)? == DESCRIPTOR) * 4;
    let next = feed.peek(signed + 20)?;
    let says = |wide: bool| {
        let at = &next[signed.min(next.len())..];
        match wide {
            false => (
                u32_at(at, 0),
                u64::from(u32_at(at, 4)),
                u64::from(u32_at(at, 8)),
            ),
            true => (u32_at(at, 0), u64_at(at, 4), u64_at(at, 12)),
        }
    };
    let narrow = (
        crc,
        packed & u64::from(u32::MAX),
        unpacked & u64::from(u32::MAX),
    );
    let length = if next.len() >= signed + 20 && says(true) == (crc, packed, unpacked) {
        signed + 20
    } else if next.len() >= signed + 12 && says(false) == narrow {
        signed + 12
    } else if next.len() < signed + 12 {
        return Err(Fault::Bad("it is cut off".into()));
    } else {
        return Err(bad());
    };
    Ok(feed.skip(length as u64)?)
}

/// Reads the central directory and the end record.
fn read_end(feed: &mut Feed<'_>) -> Result<(), Fault> {
    loop {
        let signature: [u8; 4] = match feed.peek(4)?.first_chunk() {
            Some(signature) => *signature,
            None => return Err(Fault::Bad("it is cut off".into())),
        };
        match &signature {
            CENTRAL_HEADER => {
                let fixed = read_exactly(feed, 46)?;
                let names = [28, 30, 32].map(|at| u64::from(u16_at(&fixed, at)));
                feed.skip(names.iter().sum())?;
            }
            END_64 => {
                let fixed = read_exactly(feed, 12)?;
                feed.skip(u64_at(&fixed, 4))?;
            }
            LOCATOR_64 => feed.skip(LOCATOR_64_BYTES as u64)?,
            // Archive extra data, and a digital signature.
            b"PK\x06\x08" => {
                let fixed = read_exactly(feed, 8)?;
                feed.skip(u64::from(u32_at(&fixed, 4)))?;
            }
            b"PK\x05\x05" => {
                let fixed = read_exactly(feed, 6)?;
                feed.skip(u64::from(u16_at(&fixed, 4)))?;
            }
            END => {
                let fixed = read_exactly(feed, END_BYTES)?;
                feed.skip(u64::from(u16_at(&fixed, 20)))?;
                // Data after the archive is ignored.
                io::copy(feed, &mut io::sink())?;
                return Ok(());
            }
            _ => {
                return Err(Fault::Bad("it is damaged (unknown record)".into()));
            }
        }
    }
}

/// Checks that one of the `members` of the archive `name` is clearly the list.
///
/// # Errors
/// [`ErrorKind::Usage`], naming the members, if it is not clear.
pub(crate) fn check_member(name: &str, wanted: Option<&str>, members: &[String]) -> Result<()> {
    let mut listed: Vec<String> = members
        .iter()
        .take(MAX_NAMED_MEMBERS)
        .map(|m| printable_bytes(m.as_bytes(), 200))
        .collect();
    if members.len() > MAX_NAMED_MEMBERS {
        listed.push(format!("and {} more", members.len() - MAX_NAMED_MEMBERS));
    }
    let listed = listed.join(", ");
    match wanted {
        Some(wanted) if members.iter().any(|m| m == wanted) => Ok(()),
        Some(wanted) => Err(Error::usage(format!(
            "{name} has no member {wanted:?}; it has: {listed}"
        ))
        .with_hint("give one of them with --member NAME")),
        None if members.len() > 1 => Err(Error::usage(format!(
            "{name} has {} members, but only one can be the list: {listed}",
            members.len()
        ))
        .with_hint("give the one that is the list with --member NAME")),
        None if members.is_empty() => Err(Error::usage(format!(
            "{name} is an archive without members"
        ))),
        None => Ok(()),
    }
}

/// Location of the central directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectoryLocation {
    /// Offset and size of the directory, in bytes.
    At(u64, u64),
    /// Offset of the ZIP64 end record, which holds the location.
    EndRecord64(u64),
}

/// Finds the central directory from the end of the archive; `None` if `tail` does not
/// hold the end record.
pub(crate) fn find_directory(tail: &[u8]) -> Option<DirectoryLocation> {
    let at = (0..=tail.len().checked_sub(END_BYTES)?).rev().find(|at| {
        let rest = &tail[*at..];
        rest.starts_with(END) && usize::from(u16_at(rest, 20)) + END_BYTES <= rest.len()
    })?;
    let end = &tail[at..];
    let (size, offset) = (u32_at(end, 12), u32_at(end, 16));
    let locator = at
        .checked_sub(LOCATOR_64_BYTES)
        .map(|at| &tail[at..])
        .filter(|l| l.starts_with(LOCATOR_64));
    match locator {
        Some(locator)
            if size == ZIP64_MARKER || offset == ZIP64_MARKER || u16_at(end, 10) == u16::MAX =>
        {
            Some(DirectoryLocation::EndRecord64(u64_at(locator, 8)))
        }
        _ => Some(DirectoryLocation::At(u64::from(offset), u64::from(size))),
    }
}

/// Finds the central directory from the ZIP64 end record; `None` if `record` is not
/// one.
pub(crate) fn find_directory_64(record: &[u8]) -> Option<DirectoryLocation> {
    (record.starts_with(END_64) && record.len() >= 56)
        .then(|| DirectoryLocation::At(u64_at(record, 48), u64_at(record, 40)))
}

/// The members in a central directory, without folders; `None` if it is invalid.
pub(crate) fn member_names(directory: &[u8]) -> Option<Vec<String>> {
    let mut members = Vec::new();
    let mut rest = directory;
    while !rest.is_empty() {
        if !rest.starts_with(CENTRAL_HEADER) {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
        let name_bytes = rest.get(46..46 + name)?;
        if !name_bytes.ends_with(b"/") {
            members.push(String::from_utf8_lossy(name_bytes).into_owned());
        }
        rest = rest.get(46 + name + extra + comment..)?;
    }
    Some(members)
}

#[cfg(test)]
pub(super) mod tests;
