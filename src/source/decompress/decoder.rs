//! Decoders: compressed chunks → chunks of text, without I/O.
//!
//! [`decompress`] blocks while it waits for the next chunk and while it works, so it needs
//! a separate thread. Memory is limited to the window of the format, at most
//! [`MAX_WINDOW_BYTES`], and one chunk on either side.

use crate::base::error::{Error, ErrorKind, Result};
use crate::source::decompress::codec::{
    Codec, SourceCompression, pipe_command, skippable_frame_end,
};
use crate::source::decompress::feed::Feed;
use crate::source::decompress::output::{Chunk, Fault, TextSink};
use crate::source::decompress::zip;
use bytes::Bytes;
use std::io::{self, Read};

/// Maximum window of a decoder, in bytes. It is zstd's own limit, and twice the window
/// of `xz -9`; only `zstd --ultra --long=28` and above exceed it.
pub(crate) const MAX_WINDOW_BYTES: u64 = 128 * 1024 * 1024;

/// Decompresses the source `name`. Takes its bytes from `chunks`, and passes the text
/// to `sink` until that returns false.
///
/// # Errors
/// [`ErrorKind::Damaged`], naming the positions in the source and in its text, if it is
/// truncated or damaged. The valid text before is passed on. Otherwise the error of
/// `chunks`.
pub(crate) fn decompress(
    name: &str,
    packed: &SourceCompression,
    mut chunks: impl FnMut() -> Result<Option<Bytes>>,
    mut sink: impl FnMut(Chunk) -> bool,
) -> Result<()> {
    let mut feed = Feed::new(&mut chunks);
    let mut out = TextSink {
        sink: &mut sink,
        consumed: feed.consumed(),
        reported: 0,
        text_bytes: 0,
    };
    let ended = match packed.codec {
        Codec::Gzip => gzip(&mut feed, &mut out),
        Codec::Zstd => zstd(&mut feed, &mut out),
        Codec::Xz => xz(&mut feed, &mut out),
        Codec::Bzip2 => bzip2(&mut feed, &mut out),
        Codec::Lz4 => lz4(&mut feed, &mut out),
        Codec::Zip => zip::decompress_member(name, packed.member.as_deref(), &mut feed, &mut out),
    };
    // Report bytes consumed after the last text: checksums, an index.
    let ended = ended.and_then(|()| out.send(&[]));
    let (consumed, text) = (out.consumed.get(), out.text_bytes);
    let cut_off = feed.has_read_past_end();
    if let Some(e) = feed.into_error() {
        return Err(e);
    }
    let why = match ended {
        Ok(()) | Err(Fault::Closed) => return Ok(()),
        Err(Fault::Complete(e)) => return Err(e),
        Err(Fault::Bad(why)) => why,
        Err(Fault::Io(_)) if cut_off => "it is cut off".to_owned(),
        Err(Fault::Io(e)) => match is_over_memory_limit(&e) {
            true => {
                return Err(Error::new(
                    ErrorKind::Read,
                    format!(
                        "cannot decompress {name}: its {} window is larger than {} MiB, the limit for \
                         the decoder's memory",
                        packed.codec,
                        MAX_WINDOW_BYTES / (1024 * 1024)
                    ),
                )
                .with_hint(format!(
                    "decompress it in a pipe: {} | hashferry ingest - …",
                    pipe_command(
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
            "reading {name} ended at byte {consumed} of its {} data, byte {text} of its text: {why}",
            packed.codec
        ),
    )
    .with_hint("every line before it is accounted for; fetch the list again, then run this again"))
}

/// True if the decoder exceeded its memory limit.
fn is_over_memory_limit(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::OutOfMemory || e.to_string().contains("too much memory")
}

/// Decodes consecutive streams with `one`, as long as the next begins with `magic`.
/// Zeros after the last are padding.
fn decode_streams(
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
            return skip_padding(feed);
        }
        if head != magic {
            return Err(Fault::Bad(match first {
                true => "its magic number is missing".into(),
                false => "unknown data follows its last part".into(),
            }));
        }
        one(feed)?;
        first = false;
    }
}

/// Skips zeros up to the end.
fn skip_padding(feed: &mut Feed<'_>) -> Result<(), Fault> {
    let mut buffer = [0; 512];
    loop {
        match feed.read(&mut buffer)? {
            0 => return Ok(()),
            n if buffer[..n].iter().all(|b| *b == 0) => {}
            _ => return Err(Fault::Bad("unknown data follows its last part".into())),
        }
    }
}

fn gzip(feed: &mut Feed<'_>, out: &mut TextSink<'_>) -> Result<(), Fault> {
    decode_streams(feed, b"\x1F\x8B", |feed| {
        out.drain(&mut flate2::bufread::GzDecoder::new(feed))
    })
}

fn zstd(feed: &mut Feed<'_>, out: &mut TextSink<'_>) -> Result<(), Fault> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(feed)?;
    decoder.window_log_max(MAX_WINDOW_BYTES.ilog2())?;
    out.drain(&mut decoder)
}

fn xz(feed: &mut Feed<'_>, out: &mut TextSink<'_>) -> Result<(), Fault> {
    // In KiB: the window, and the decoder's own memory.
    let limit = u32::try_from(MAX_WINDOW_BYTES / 1024).unwrap_or(u32::MAX) + 1024;
    loop {
        decode_xz_streams(feed, out, limit)?;
        // Padding between two streams is a multiple of four bytes.
        while feed.peek(4)? == b"\0\0\0\0" {
            feed.skip(4)?;
        }
        match feed.peek(1)? {
            [] => return Ok(()),
            [0] => {
                return Err(Fault::Bad(
                    "its padding is not a multiple of four bytes".into(),
                ));
            }
            _ => {}
        }
    }
}

fn decode_xz_streams(feed: &mut Feed<'_>, out: &mut TextSink<'_>, limit: u32) -> Result<(), Fault> {
    let magic = b"\xFD7zXZ\0";
    let head = feed.peek(magic.len())?;
    if head.len() < magic.len() && magic.starts_with(head) {
        return Err(Fault::Bad("it is cut off".into()));
    }
    if head != magic {
        return Err(Fault::Bad("no xz stream begins there".into()));
    }
    out.drain(&mut lzma_rust2::XzReader::new_mem_limit(feed, false, limit))
}

fn bzip2(feed: &mut Feed<'_>, out: &mut TextSink<'_>) -> Result<(), Fault> {
    decode_streams(feed, b"BZh", |feed| {
        out.drain(&mut bzip2::bufread::BzDecoder::new(feed))
    })
}

fn lz4(feed: &mut Feed<'_>, out: &mut TextSink<'_>) -> Result<(), Fault> {
    let mut any = false;
    loop {
        let head = feed.peek(8)?;
        if head.is_empty() && any {
            return Ok(());
        }
        any = true;
        if let Some(length) = skippable_frame_end(head) {
            feed.skip(length as u64)?;
            continue;
        }
        out.drain(&mut lz4_flex::frame::FrameDecoder::new(&mut *feed))?;
        // The decoder accepts an end of input instead of the end mark.
        if feed.has_read_past_end() {
            return Err(Fault::Bad("it is cut off".into()));
        }
    }
}

#[cfg(test)]
mod tests;
