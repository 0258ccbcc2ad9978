//! Chunks → a reader that counts consumed bytes.

use crate::base::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// The compressed bytes of a source, as a reader for the decoders.
pub(super) struct Feed<'a> {
    chunks: &'a mut dyn FnMut() -> Result<Option<Bytes>>,
    buffer: Bytes,
    ended: bool,
    /// True if a decoder read past the end.
    read_past_end: bool,
    consumed: Rc<Cell<u64>>,
    /// Error that ended the chunks.
    error: Option<Error>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(chunks: &'a mut dyn FnMut() -> Result<Option<Bytes>>) -> Self {
        Feed {
            chunks,
            buffer: Bytes::new(),
            ended: false,
            read_past_end: false,
            consumed: Rc::default(),
            error: None,
        }
    }

    /// A live counter of the consumed bytes.
    pub(super) fn consumed(&self) -> Rc<Cell<u64>> {
        self.consumed.clone()
    }

    /// True if a decoder read past the end.
    pub(super) fn has_read_past_end(&self) -> bool {
        self.read_past_end
    }

    /// The error of the source; `None` if it did not fail.
    pub(super) fn into_error(self) -> Option<Error> {
        self.error
    }

    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended {
            match (self.chunks)() {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => self.ended = true,
                Err(e) => {
                    self.ended = true;
                    self.error = Some(e);
                }
            }
        }
        match self.error {
            Some(_) => Err(io::Error::other("the source cannot be read")),
            None => Ok(None),
        }
    }

    /// The next `n` bytes without consuming them; fewer at the end.
    pub(super) fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.buffer.len() < n {
            let Some(chunk) = self.next_chunk()? else {
                break;
            };
            if self.buffer.is_empty() {
                self.buffer = chunk;
            } else {
                let mut joined = BytesMut::with_capacity(self.buffer.len() + chunk.len());
                joined.extend_from_slice(&self.buffer);
                joined.extend_from_slice(&chunk);
                self.buffer = joined.freeze();
            }
        }
        Ok(&self.buffer[..self.buffer.len().min(n)])
    }

    /// Skips `n` bytes.
    pub(super) fn skip(&mut self, mut n: u64) -> io::Result<()> {
        while n > 0 {
            let have = self.fill_buf()?.len();
            if have == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let part = have.min(usize::try_from(n).unwrap_or(usize::MAX));
            self.consume(part);
            n -= part as u64;
        }
        Ok(())
    }
}

impl BufRead for Feed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.peek(1)?.is_empty() {
            self.read_past_end = true;
        }
        Ok(&self.buffer)
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.buffer.len());
        self.buffer = self.buffer.slice(n..);
        self.consumed.set(self.consumed.get() + n as u64);
    }
}

impl Read for Feed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let have = self.fill_buf()?;
        let n = have.len().min(buf.len());
        buf[..n].copy_from_slice(&have[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl fmt::Debug for Feed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("taken", &self.consumed)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
