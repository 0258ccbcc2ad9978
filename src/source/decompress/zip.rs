//! One member of a ZIP archive, streamed by the local file headers.
//!
//! A ZIP archive has its table of contents at the end, and before each member a
//! header that says the most of it. So a member can be read as it comes, from a
//! pipe too; only that there are further ones is then known late. Where the
//! archive can be read at will, [`place`] and [`names`] tell its members before.
//!
//! Source of layouts and constants: PKWARE's APPNOTE.TXT 6.3.10.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::printable::shown;
use crate::source::decompress::feed::Feed;
use crate::source::decompress::output::{Fault, Out};
use flate2::Crc;
use std::io::{self, Read};

const LOCAL_HEADER: &[u8; 4] = b"PK\x03\x04";
const CENTRAL_HEADER: &[u8; 4] = b"PK\x01\x02";
const END: &[u8; 4] = b"PK\x05\x06";
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
/// Before the first member of an archive that was to be split and was not, or was.
const SPANNING: [&[u8; 4]; 2] = [b"PK00", DESCRIPTOR];

/// The end record's length, and that of its comment at most.
const END_BYTES: usize = 22;

/// The locator's length, which stands before the end record in ZIP64.
const LOCATOR_64_BYTES: usize = 20;

/// How much of the end of an archive holds the end record, in bytes.
pub(crate) const TAIL_BYTES: u64 = (END_BYTES + u16::MAX as usize + LOCATOR_64_BYTES) as u64;

/// The largest table of contents that is read before the list: some 300,000
/// members.
pub(crate) const MAX_DIRECTORY_BYTES: u64 = 32 * 1024 * 1024;

/// Stands for a number that is in the ZIP64 field instead.
const IN_64: u32 = u32::MAX;

/// How many members a message names.
const NAMED: usize = 20;

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

/// What a local file header says.
struct Header {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
}

impl Header {
    fn read(feed: &mut Feed<'_>) -> Result<Header, Fault> {
        let fixed = exact(feed, 30)?;
        let name = exact(feed, usize::from(u16_at(&fixed, 26)))?;
        let extra = exact(feed, usize::from(u16_at(&fixed, 28)))?;
        let (mut packed, mut unpacked) =
            (u64::from(u32_at(&fixed, 18)), u64::from(u32_at(&fixed, 22)));
        let mut fields = &extra[..];
        while fields.len() >= 4 {
            let (id, size) = (u16_at(fields, 0), usize::from(u16_at(fields, 2)));
            let mut field = fields.get(4..4 + size).unwrap_or_default();
            if id == 1 {
                for number in [&mut unpacked, &mut packed] {
                    if *number == u64::from(IN_64) && field.len() >= 8 {
                        *number = u64_at(field, 0);
                        field = &field[8..];
                    }
                }
            }
            fields = fields.get(4 + size..).unwrap_or_default();
        }
        Ok(Header {
            name: String::from_utf8_lossy(&name).into_owned(),
            flags: u16_at(&fixed, 6),
            method: u16_at(&fixed, 8),
            crc: u32_at(&fixed, 14),
            packed,
            unpacked,
        })
    }

    fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// Whether its sizes follow it instead of standing in its header.
    fn has_descriptor(&self) -> bool {
        self.flags & 0x0008 != 0
    }

    /// Whether it can be read, else why not.
    fn check(&self) -> Result<(), String> {
        let name = shown(self.name.as_bytes(), 200);
        if self.flags & 0x2041 != 0 {
            return Err(format!("its member {name:?} is encrypted"));
        }
        let what = match self.method {
            0 if self.has_descriptor() => "stored without its length before it",
            0 | 8 => return Ok(()),
            9 => "compressed by Deflate64",
            12 => "compressed by bzip2",
            14 => "compressed by LZMA",
            93 => "compressed by zstd",
            95 => "compressed by xz",
            _ => "compressed by another method than Deflate",
        };
        Err(format!("its member {name:?} is {what}"))
    }
}

/// Reads exactly `n` bytes.
fn exact(feed: &mut Feed<'_>, n: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; n];
    feed.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Sums up what passes.
struct Summed<R> {
    inner: R,
    crc: Crc,
    length: u64,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.crc.update(&buf[..n]);
        self.length += n as u64;
        Ok(n)
    }
}

/// Hands on the text of the member called `wanted`, or of the only one, of the
/// archive `name`; reads to the archive's end.
pub(super) fn member(
    name: &str,
    wanted: Option<&str>,
    feed: &mut Feed<'_>,
    out: &mut Out<'_>,
) -> Result<(), Fault> {
    let mut members = Vec::new();
    let mut given = false;
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
        let header = Header::read(feed)?;
        let is_wanted = !header.is_folder() && !given && wanted.is_none_or(|w| w == header.name);
        if is_wanted {
            header.check().map_err(|what| {
                Fault::Whole(
                    Error::usage(format!("{name} cannot be read: {what}"))
                        .hint("unpack it first, then ingest the list"),
                )
            })?;
            given = true;
            text(&header, feed, out)?;
        } else {
            pass(&header, feed)?;
        }
        if !header.is_folder() {
            members.push(header.name);
        }
    }
    end(feed)?;
    match choose(name, wanted, &members) {
        Ok(()) if given => Ok(()),
        Ok(()) => Err(Fault::Bad("it does not hold what was looked for".into())),
        // Too late to say that nothing was written.
        Err(e) if given => Err(Fault::Whole(
            Error::new(ErrorKind::Input, format!("{e:#}"))
                .hint(e.what_to_do().unwrap_or_default().to_owned()),
        )),
        Err(e) => Err(Fault::Whole(e)),
    }
}

/// Hands on a member's text, and checks it.
fn text(header: &Header, feed: &mut Feed<'_>, out: &mut Out<'_>) -> Result<(), Fault> {
    let taken = feed.taken();
    let before = taken.get();
    let (crc, length) = match header.method {
        0 => {
            let mut reader = Summed {
                inner: Read::take(&mut *feed, header.packed),
                crc: Crc::new(),
                length: 0,
            };
            out.drain(&mut reader)?;
            (reader.crc.sum(), reader.length)
        }
        _ => {
            let mut reader = Summed {
                inner: flate2::bufread::DeflateDecoder::new(&mut *feed),
                crc: Crc::new(),
                length: 0,
            };
            out.drain(&mut reader)?;
            (reader.crc.sum(), reader.length)
        }
    };
    check_sums(header, feed, crc, taken.get() - before, length)
}

/// Passes over a member that is not the list.
fn pass(header: &Header, feed: &mut Feed<'_>) -> Result<(), Fault> {
    if !header.has_descriptor() {
        return Ok(feed.skip(header.packed)?);
    }
    // Only its own end says where it ends.
    header
        .check()
        .map_err(|what| Fault::Bad(format!("there is no passing over it: {what}")))?;
    let taken = feed.taken();
    let before = taken.get();
    let mut reader = Summed {
        inner: flate2::bufread::DeflateDecoder::new(&mut *feed),
        crc: Crc::new(),
        length: 0,
    };
    io::copy(&mut reader, &mut io::sink())?;
    let (crc, length) = (reader.crc.sum(), reader.length);
    check_sums(header, feed, crc, taken.get() - before, length)
}

/// Whether a member is as its header says, or the descriptor behind it.
fn check_sums(
    header: &Header,
    feed: &mut Feed<'_>,
    crc: u32,
    packed: u64,
    unpacked: u64,
) -> Result<(), Fault> {
    let bad =
        || Fault::Bad("it is damaged (the member is not as its checksum and sizes say)".into());
    if !header.has_descriptor() {
        if header.packed > packed && feed.peek(1)?.is_empty() {
            return Err(Fault::Bad("it is cut off".into()));
        }
        let says = (header.crc, header.packed, header.unpacked);
        return match says == (crc, packed, unpacked) {
            true => Ok(()),
            false => Err(bad()),
        };
    }
    // With its signature or without, with sizes of four bytes or of eight: nothing
    // says which, but only one of them fits.
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

/// Reads what follows the last member: the table of contents and the end record.
fn end(feed: &mut Feed<'_>) -> Result<(), Fault> {
    loop {
        let signature: [u8; 4] = match feed.peek(4)?.first_chunk() {
            Some(signature) => *signature,
            None => return Err(Fault::Bad("it is cut off".into())),
        };
        match &signature {
            CENTRAL_HEADER => {
                let fixed = exact(feed, 46)?;
                let names = [28, 30, 32].map(|at| u64::from(u16_at(&fixed, at)));
                feed.skip(names.iter().sum())?;
            }
            END_64 => {
                let fixed = exact(feed, 12)?;
                feed.skip(u64_at(&fixed, 4))?;
            }
            LOCATOR_64 => feed.skip(LOCATOR_64_BYTES as u64)?,
            // Archive extra data, and a digital signature.
            b"PK\x06\x08" => {
                let fixed = exact(feed, 8)?;
                feed.skip(u64::from(u32_at(&fixed, 4)))?;
            }
            b"PK\x05\x05" => {
                let fixed = exact(feed, 6)?;
                feed.skip(u64::from(u16_at(&fixed, 4)))?;
            }
            END => {
                let fixed = exact(feed, END_BYTES)?;
                feed.skip(u64::from(u16_at(&fixed, 20)))?;
                // Whatever follows is none of the archive.
                io::copy(feed, &mut io::sink())?;
                return Ok(());
            }
            _ => {
                return Err(Fault::Bad(
                    "it is damaged (no part of an archive is there)".into(),
                ));
            }
        }
    }
}

/// Whether `members` of the archive `name` leave no doubt which one is the list.
///
/// # Errors
/// [`ErrorKind::Usage`], naming them, when they do.
pub(crate) fn choose(name: &str, wanted: Option<&str>, members: &[String]) -> Result<()> {
    let mut listed: Vec<String> = members
        .iter()
        .take(NAMED)
        .map(|m| shown(m.as_bytes(), 200))
        .collect();
    if members.len() > NAMED {
        listed.push(format!("and {} more", members.len() - NAMED));
    }
    let listed = listed.join(", ");
    match wanted {
        Some(wanted) if members.iter().any(|m| m == wanted) => Ok(()),
        Some(wanted) => Err(Error::usage(format!(
            "{name} has no member {wanted:?}; it has: {listed}"
        ))
        .hint("name one of them by --member NAME")),
        None if members.len() > 1 => Err(Error::usage(format!(
            "{name} has {} members, and only one can be the list: {listed}",
            members.len()
        ))
        .hint("name the one that is the list by --member NAME")),
        None if members.is_empty() => Err(Error::usage(format!(
            "{name} is an archive without a member"
        ))),
        None => Ok(()),
    }
}

/// Where the table of contents lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// From this byte of the archive on, so many bytes.
    At(u64, u64),
    /// The ZIP64 end record, which says it, begins at this byte.
    EndRecord64(u64),
}

/// Where the table of contents lies, by the end of the archive; nothing when the
/// end record is not in it.
pub(crate) fn place(tail: &[u8]) -> Option<Place> {
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
        Some(locator) if size == IN_64 || offset == IN_64 || u16_at(end, 10) == u16::MAX => {
            Some(Place::EndRecord64(u64_at(locator, 8)))
        }
        _ => Some(Place::At(u64::from(offset), u64::from(size))),
    }
}

/// Where the table of contents lies, by the ZIP64 end record.
pub(crate) fn place_64(record: &[u8]) -> Option<Place> {
    (record.starts_with(END_64) && record.len() >= 56)
        .then(|| Place::At(u64_at(record, 48), u64_at(record, 40)))
}

/// The members that a table of contents names, without folders; nothing when it
/// is none.
pub(crate) fn names(directory: &[u8]) -> Option<Vec<String>> {
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
