//! Output of a decoder: chunks of text, and the faults that end them.

use crate::base::error::{Error, Result};
use bytes::Bytes;
use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Maximum size of a chunk of text, in bytes.
pub(super) const TEXT_BYTES: usize = 64 * 1024;

/// A chunk of text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chunk {
    /// Text of the chunk.
    pub bytes: Bytes,
    /// Compressed bytes consumed for it.
    pub compressed_bytes: u64,
}

/// Reason for an early end of the decompression.
pub(super) enum Fault {
    /// I/O error of the decoder.
    Io(io::Error),
    /// Description of the damage.
    Bad(String),
    /// Complete error, passed on unchanged.
    Complete(Error),
    /// The receiver of the text is gone.
    Closed,
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Fault::Io(e)
    }
}

/// Receiver of the text, with counters.
pub(super) struct TextSink<'a> {
    pub(super) sink: &'a mut dyn FnMut(Chunk) -> bool,
    pub(super) consumed: Rc<Cell<u64>>,
    /// Part of `taken` that was reported with chunks.
    pub(super) reported: u64,
    pub(super) text_bytes: u64,
}

impl TextSink<'_> {
    /// Sends `text`, with the number of bytes consumed since the last call.
    pub(super) fn send(&mut self, text: &[u8]) -> Result<(), Fault> {
        let consumed = self.consumed.get();
        let compressed_bytes = consumed - std::mem::replace(&mut self.reported, consumed);
        self.text_bytes += text.len() as u64;
        let chunk = Chunk {
            bytes: Bytes::copy_from_slice(text),
            compressed_bytes,
        };
        match (self.sink)(chunk) {
            true => Ok(()),
            false => Err(Fault::Closed),
        }
    }

    /// Sends the whole text of `reader`.
    pub(super) fn drain(&mut self, reader: &mut dyn Read) -> Result<(), Fault> {
        let mut buffer = vec![0; TEXT_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.send(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
