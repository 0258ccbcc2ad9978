//! Text that comes out of a decoder, chunk by chunk, and the faults that end it.

use crate::base::error::{Error, Result};
use bytes::Bytes;
use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// How much text is handed on at once, at most.
pub(super) const TEXT_BYTES: usize = 64 * 1024;

/// A chunk of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// The text.
    pub bytes: Bytes,
    /// How many bytes of the source it took, as they lie there.
    pub lying: u64,
}

/// Why the unpacking ends early.
pub(super) enum Fault {
    /// The decoder says so.
    Io(io::Error),
    /// What is wrong with it, in words.
    Bad(String),
    /// A failure that says all by itself.
    Whole(Error),
    /// Nobody takes the text any more.
    Closed,
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Fault::Io(e)
    }
}

/// Where text goes.
pub(super) struct Out<'a> {
    pub(super) sink: &'a mut dyn FnMut(Chunk) -> bool,
    pub(super) taken: Rc<Cell<u64>>,
    /// Of `taken`, what was handed on.
    pub(super) said: u64,
    pub(super) text: u64,
}

impl Out<'_> {
    /// Hands on `text`, and what of the source was taken since.
    pub(super) fn give(&mut self, text: &[u8]) -> Result<(), Fault> {
        let taken = self.taken.get();
        let lying = taken - std::mem::replace(&mut self.said, taken);
        self.text += text.len() as u64;
        let chunk = Chunk {
            bytes: Bytes::copy_from_slice(text),
            lying,
        };
        match (self.sink)(chunk) {
            true => Ok(()),
            false => Err(Fault::Closed),
        }
    }

    /// Hands on all that `reader` has.
    pub(super) fn drain(&mut self, reader: &mut dyn Read) -> Result<(), Fault> {
        let mut buffer = vec![0; TEXT_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.give(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
