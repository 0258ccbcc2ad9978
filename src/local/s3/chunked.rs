//! The `aws-chunked` content encoding: a body in signed or unsigned chunks, with
//! checksums after it.
//!
//! SDK clients send uploads this way, so that they need not read a file twice to
//! send its checksum first. Each chunk is `SIZE[;chunk-signature=…]\r\n`, the
//! data, `\r\n`; a chunk of size 0 ends them, and lines of `name:value` follow.
//! Signatures are skipped, as everywhere in the embedded server. The checksums are
//! kept for the code that stores the body, which checks them.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body as _, Incoming};
use s3s::stream::{ByteStream, RemainingLength};

/// Maximum length of a chunk header or trailer, in bytes; clients send far less.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// Lines after the last chunk; empty until the body has been read to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Trailers(Arc<Mutex<HeaderMap>>);

impl Trailers {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        // The lock guards no data that a panic could have left half changed.
        let trailers = self.0.lock().unwrap_or_else(|error| error.into_inner());
        let value = trailers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    }

    fn set(&self, headers: HeaderMap) {
        *self.0.lock().unwrap_or_else(|error| error.into_inner()) = headers;
    }
}

/// Decodes a chunked request body.
#[derive(Debug)]
pub(super) struct Dechunked {
    body: Incoming,
    decoder: Decoder,
    trailers: Trailers,
    /// Announced length minus the bytes delivered so far; `None` if not announced.
    remaining: Option<u64>,
    ended: bool,
}

impl Dechunked {
    pub(super) fn new(body: Incoming, decoded_len: Option<u64>, trailers: Trailers) -> Self {
        Dechunked {
            body,
            decoder: Decoder::default(),
            trailers,
            remaining: decoded_len,
            ended: false,
        }
    }

    fn count_decoded(&mut self, len: u64) -> io::Result<()> {
        if let Some(left) = &mut self.remaining {
            *left = left
                .checked_sub(len)
                .ok_or_else(|| invalid("the body is longer than x-amz-decoded-content-length"))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.ended = true;
        self.trailers.set(self.decoder.finish()?);
        match self.remaining {
            Some(left) if left > 0 => Err(invalid(
                "the body is shorter than x-amz-decoded-content-length",
            )),
            _ => Ok(()),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if let Some(data) = self.decoder.next_piece()? {
                self.count_decoded(data.len() as u64)?;
                return Poll::Ready(Ok(Some(data)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.decoder.push(&data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(self.finish().map(|()| None)),
            }
        }
    }
}

impl Stream for Dechunked {
    type Item = Result<Bytes, s3s::StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = ready!(self.poll(cx)).transpose();
        if matches!(item, None | Some(Err(_))) {
            self.ended = true;
        }
        Poll::Ready(item.map(|item| item.map_err(Into::into)))
    }
}

impl ByteStream for Dechunked {
    fn remaining_length(&self) -> RemainingLength {
        self.remaining
            .and_then(|left| usize::try_from(left).ok())
            .map_or_else(RemainingLength::unknown, RemainingLength::new_exact)
    }
}

#[derive(Debug, Default)]
enum State {
    /// Before the size of a chunk.
    #[default]
    ChunkSize,
    /// In a chunk, with this number of bytes left.
    ChunkData(u64),
    /// Before the line end after a chunk.
    ChunkEnd,
    /// After the last chunk.
    Trailers,
}

#[derive(Debug, Default)]
struct Decoder {
    state: State,
    buffer: BytesMut,
}

impl Decoder {
    fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Next piece of a chunk; `None` if the decoder needs more input.
    fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.state {
                State::ChunkSize => {
                    let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
                        return self.need_more();
                    };
                    let line = self.buffer.split_to(end + 1);
                    self.state = match parse_size(&line)? {
                        0 => State::Trailers,
                        size => State::ChunkData(size),
                    };
                }
                State::ChunkData(left) => {
                    if self.buffer.is_empty() {
                        return Ok(None);
                    }
                    // The minimum of the two fits both types.
                    let take = left.min(self.buffer.len() as u64);
                    let data = self.buffer.split_to(take as usize).freeze();
                    self.state = match left - take {
                        0 => State::ChunkEnd,
                        left => State::ChunkData(left),
                    };
                    return Ok(Some(data));
                }
                State::ChunkEnd => {
                    if self.buffer.len() < 2 {
                        return Ok(None);
                    }
                    if !self.buffer.starts_with(b"\r\n") {
                        return Err(invalid("a chunk is longer than its announced size"));
                    }
                    self.buffer.advance(2);
                    self.state = State::ChunkSize;
                }
                State::Trailers => return self.need_more(),
            }
        }
    }

    fn need_more(&self) -> io::Result<Option<Bytes>> {
        if self.buffer.len() > MAX_LINE_BYTES {
            return Err(invalid("a chunk header or trailer does not end"));
        }
        Ok(None)
    }

    /// Returns the trailers, or an error if the body is incomplete.
    fn finish(&mut self) -> io::Result<HeaderMap> {
        if !matches!(self.state, State::Trailers) {
            return Err(invalid("the body ended before its last chunk"));
        }
        let mut trailers = HeaderMap::new();
        for line in self.buffer[..].split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let colon =
                memchr::memchr(b':', line).ok_or_else(|| invalid("a trailer has no colon"))?;
            let name = HeaderName::from_bytes(line[..colon].trim_ascii());
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            match (name, value) {
                (Ok(name), Ok(value)) => trailers.insert(name, value),
                _ => return Err(invalid("a trailer is not a valid header")),
            };
        }
        self.buffer.clear();
        Ok(trailers)
    }
}

fn parse_size(line: &[u8]) -> io::Result<u64> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or(line);
    std::str::from_utf8(digits.trim_ascii())
        .ok()
        .filter(|digits| !digits.starts_with('+'))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| invalid("a chunk does not begin with its size"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> io::Result<(Vec<u8>, HeaderMap)> {
        let mut decoder = Decoder::default();
        let mut data = Vec::new();
        for piece in input.chunks(step) {
            decoder.push(piece);
            while let Some(piece) = decoder.next_piece()? {
                data.extend_from_slice(&piece);
            }
        }
        Ok((data, decoder.finish()?))
    }

    #[test]
    fn signed_and_unsigned_chunks_are_decoded_at_any_split() {
        let signed = b"5;chunk-signature=ab12\r\nhello\r\nA;chunk-signature=cd\r\n, \r\nworld!\r\n\
            0;chunk-signature=ef\r\nx-amz-checksum-crc32:AAAAAA==\r\n\
            x-amz-trailer-signature:0123\r\n\r\n";
        let unsigned =
            b"5\r\nhello\r\na\r\n, \r\nworld!\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\n";
        for input in [&signed[..], &unsigned[..]] {
            for step in 1..input.len() {
                let (data, trailers) = decode(input, step).unwrap();
                assert_eq!(data, b"hello, \r\nworld!", "in steps of {step}");
                assert_eq!(trailers["x-amz-checksum-crc32"], "AAAAAA==");
            }
        }
    }

    #[test]
    fn an_empty_body_is_only_the_last_chunk() {
        let (data, trailers) = decode(b"0\r\n\r\n", 100).unwrap();
        assert!(data.is_empty() && trailers.is_empty());
    }

    #[test]
    fn broken_framing_is_an_error() {
        for input in [
            &b""[..],
            b"5\r\nhello\r\n",
            b"5\r\nhel",
            b"5\r\nhello, world\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nbad name:x\r\n\r\n",
        ] {
            let shown = String::from_utf8_lossy(input).into_owned();
            assert!(decode(input, 3).is_err(), "{shown:?}");
        }
        assert!(decode(&[b'1'; MAX_LINE_BYTES * 2], 100).is_err());
    }
}
