//! Chunks as they come → a reader that counts what is taken from it.

use crate::base::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// The compressed bytes of a source, for decoders to read.
pub(super) struct Feed<'a> {
    chunks: &'a mut dyn FnMut() -> Result<Option<Bytes>>,
    now: Bytes,
    ended: bool,
    /// Whether more was asked for than there is.
    beyond: bool,
    taken: Rc<Cell<u64>>,
    /// Why there are no more chunks, where that is a failure.
    failed: Option<Error>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(chunks: &'a mut dyn FnMut() -> Result<Option<Bytes>>) -> Self {
        Feed {
            chunks,
            now: Bytes::new(),
            ended: false,
            beyond: false,
            taken: Rc::default(),
            failed: None,
        }
    }

    /// How many bytes were taken so far, from now on.
    pub(super) fn taken(&self) -> Rc<Cell<u64>> {
        self.taken.clone()
    }

    /// Whether more was asked for than there is.
    pub(super) fn beyond(&self) -> bool {
        self.beyond
    }

    /// What the source failed with.
    pub(super) fn failed(self) -> Option<Error> {
        self.failed
    }

    fn more(&mut self) -> io::Result<Option<Bytes>> {
        while !self.ended {
            match (self.chunks)() {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) => self.ended = true,
                Err(e) => {
                    self.ended = true;
                    self.failed = Some(e);
                }
            }
        }
        match self.failed {
            Some(_) => Err(io::Error::other("the source cannot be read")),
            None => Ok(None),
        }
    }

    /// The next `n` bytes, without taking them; fewer at the end.
    pub(super) fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.now.len() < n {
            let Some(chunk) = self.more()? else { break };
            if self.now.is_empty() {
                self.now = chunk;
            } else {
                let mut joined = BytesMut::with_capacity(self.now.len() + chunk.len());
                joined.extend_from_slice(&self.now);
                joined.extend_from_slice(&chunk);
                self.now = joined.freeze();
            }
        }
        Ok(&self.now[..self.now.len().min(n)])
    }

    /// Passes over `n` bytes.
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
            self.beyond = true;
        }
        Ok(&self.now)
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.now.len());
        self.now = self.now.slice(n..);
        self.taken.set(self.taken.get() + n as u64);
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
            .field("taken", &self.taken)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
