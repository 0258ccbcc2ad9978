//! Compressed chunks → chunks of text, without I/O of its own.
//!
//! [`unpack`] blocks while it waits for the next chunk and while it works: it
//! belongs on a thread of its own. Memory is bounded: by the window of the
//! format, which is refused above [`MAX_WINDOW_BYTES`], and by one chunk of
//! either side.

use crate::base::error::{Error, ErrorKind, Result};
use crate::source::decompress::codec::{Codec, Packed, after_skippable, piped};
use crate::source::decompress::feed::Feed;
use crate::source::decompress::output::{Chunk, Fault, Out};
use crate::source::decompress::zip;
use bytes::Bytes;
use std::io::{self, Read};

/// The largest window that a decoder may need. zstd's own limit, and twice what
/// `xz -9` makes; only `zstd --ultra --long=28` and the like go beyond.
pub(crate) const MAX_WINDOW_BYTES: u64 = 128 * 1024 * 1024;

/// Undoes the compression of the source `name`: takes its bytes from `chunks`,
/// and hands its text to `sink`, until that says no.
///
/// # Errors
/// [`ErrorKind::Damaged`], naming the place in the source and in its text, when it is
/// cut off or damaged; what was sound before is handed on. As `chunks`, when that
/// fails.
pub(crate) fn unpack(
    name: &str,
    packed: &Packed,
    mut chunks: impl FnMut() -> Result<Option<Bytes>>,
    mut sink: impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let mut feed = Feed::new(&mut chunks);
    let mut out = Out {
        sink: &mut sink,
        taken: feed.taken(),
        said: 0,
        text: 0,
    };
    let ended = match packed.codec {
        Codec::Gzip => gzip(&mut feed, &mut out),
        Codec::Zstd => zstd(&mut feed, &mut out),
        Codec::Xz => xz(&mut feed, &mut out),
        Codec::Bzip2 => bzip2(&mut feed, &mut out),
        Codec::Lz4 => lz4(&mut feed, &mut out),
        Codec::Zip => zip::member(name, packed.member.as_deref(), &mut feed, &mut out),
    };
    // What was taken after the last text: checksums, an index.
    let ended = ended.and_then(|()| out.give(&[]));
    let (taken, text) = (out.taken.get(), out.text);
    let cut_off = feed.beyond();
    if let Some(e) = feed.failed() {
        return Err(e);
    }
    let why = match ended {
        Ok(()) | Err(Fault::Closed) => return Ok(()),
        Err(Fault::Whole(e)) => return Err(e),
        Err(Fault::Bad(why)) => why,
        Err(Fault::Io(_)) if cut_off => "it is cut off".to_owned(),
        Err(Fault::Io(e)) => match too_large(&e) {
            true => {
                return Err(Error::new(
                    ErrorKind::Read,
                    format!(
                        "{name} cannot be decompressed: its {} window is larger than {} MiB, which is as much \
                         memory as is spent on it",
                        packed.codec,
                        MAX_WINDOW_BYTES / (1024 * 1024)
                    ),
                )
                .hint(format!(
                    "decompress it on the way in: {} | hashferry ingest - …",
                    piped(
                        name,
                        match packed.codec {
                            Codec::Zstd => "zstd -dc --long=31",
                            codec => codec.command(),
                        }
                    )
                )));
            }
            false => format!("it is damaged ({e})"),
        },
    };
    Err(Error::new(
        ErrorKind::Damaged,
        format!(
            "reading {name} ended at byte {taken} of its {} data, which is byte {text} of the text in it: {why}",
            packed.codec
        ),
    )
    .hint(
        "what was sound before is written or in the books; fetch the list again, whole, then run this again",
    ))
}

/// Whether a decoder wants more memory than it may have.
fn too_large(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::OutOfMemory || e.to_string().contains("too much memory")
}

/// Undoes one stream after another, each by `one`, as long as the next begins with
/// `magic`; zeros after the last are padding.
fn streams(
    feed: &mut Feed<'_>,
    magic: &[u8],
    mut one: impl FnMut(&mut Feed<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut first = true;
    loop {
        let head = feed.peek(magic.len())?;
        if head.is_empty() && !first {
            return Ok(());
        }
        if head.len() < magic.len() && magic.starts_with(head) {
            return Err(Fault::Bad("it is cut off".into()));
        }
        if head.first() == Some(&0) && !first {
            return padding(feed);
        }
        if head != magic {
            return Err(Fault::Bad(match first {
                true => "it does not begin as such data does".into(),
                false => "what follows its last part is none".into(),
            }));
        }
        one(feed)?;
        first = false;
    }
}

/// Zeros to the end.
fn padding(feed: &mut Feed<'_>) -> Result<(), Fault> {
    let mut buffer = [0; 512];
    loop {
        match feed.read(&mut buffer)? {
            0 => return Ok(()),
            n if buffer[..n].iter().all(|b| *b == 0) => {}
            _ => return Err(Fault::Bad("what follows its last part is none".into())),
        }
    }
}

fn gzip(feed: &mut Feed<'_>, out: &mut Out<'_>) -> Result<(), Fault> {
    streams(feed, b"\x1F\x8B", |feed| {
        out.drain(&mut flate2::bufread::GzDecoder::new(feed))
    })
}

fn zstd(feed: &mut Feed<'_>, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(feed)?;
    decoder.window_log_max(MAX_WINDOW_BYTES.ilog2())?;
    out.drain(&mut decoder)
}

fn xz(feed: &mut Feed<'_>, out: &mut Out<'_>) -> Result<(), Fault> {
    // In KiB; besides the window, what the decoder itself needs.
    let limit = u32::try_from(MAX_WINDOW_BYTES / 1024).unwrap_or(u32::MAX) + 1024;
    loop {
        streams_of_xz(feed, out, limit)?;
        // Padding between two streams comes in fours.
        while feed.peek(4)? == b"\0\0\0\0" {
            feed.skip(4)?;
        }
        match feed.peek(1)? {
            [] => return Ok(()),
            [0] => return Err(Fault::Bad("its padding is not of four bytes".into())),
            _ => {}
        }
    }
}

fn streams_of_xz(feed: &mut Feed<'_>, out: &mut Out<'_>, limit: u32) -> Result<(), Fault> {
    let magic = b"\xFD7zXZ\0";
    let head = feed.peek(magic.len())?;
    if head.len() < magic.len() && magic.starts_with(head) {
        return Err(Fault::Bad("it is cut off".into()));
    }
    if head != magic {
        return Err(Fault::Bad("there it is none".into()));
    }
    out.drain(&mut lzma_rust2::XzReader::new_mem_limit(feed, false, limit))
}

fn bzip2(feed: &mut Feed<'_>, out: &mut Out<'_>) -> Result<(), Fault> {
    streams(feed, b"BZh", |feed| {
        out.drain(&mut bzip2::bufread::BzDecoder::new(feed))
    })
}

fn lz4(feed: &mut Feed<'_>, out: &mut Out<'_>) -> Result<(), Fault> {
    let mut any = false;
    loop {
        let head = feed.peek(8)?;
        if head.is_empty() && any {
            return Ok(());
        }
        any = true;
        if let Some(length) = after_skippable(head) {
            feed.skip(length as u64)?;
            continue;
        }
        out.drain(&mut lz4_flex::frame::FrameDecoder::new(&mut *feed))?;
        // The decoder takes an end before the end mark for one.
        if feed.beyond() {
            return Err(Fault::Bad("it is cut off".into()));
        }
    }
}

#[cfg(test)]
mod tests;
