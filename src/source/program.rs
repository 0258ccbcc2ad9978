//! Hashes from a program that uses this library, read as the lines of a list.

use crate::base::hash::{Case, Hash};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

/// Maximum number of hashes in a chunk of text: a chunk is at most 64 KiB.
const CHUNK_HASHES: usize = 512;

/// The text of a stream of hashes, one hash a line.
type Text = Box<dyn AsyncRead + Send + Unpin>;

/// A stream of hashes from a program. Like standard input it can be read only once, so
/// its run saves no checkpoint.
#[derive(Clone)]
pub struct ProgramHashes(Arc<Mutex<Option<Text>>>);

impl ProgramHashes {
    /// Wraps the hashes of `stream`, up to its end or its first error.
    pub fn new<S>(stream: S) -> ProgramHashes
    where
        S: Stream<Item = io::Result<Hash>> + Send + 'static,
    {
        let text = stream.ready_chunks(CHUNK_HASHES).flat_map(|hashes| {
            let mut text = Vec::with_capacity(hashes.len() * 65);
            let mut failed = None;
            for hash in hashes {
                match hash {
                    Ok(hash) => {
                        text.extend_from_slice(hash.to_hex(Case::Lower).as_bytes());
                        text.push(b'\n');
                    }
                    Err(e) => {
                        failed = Some(Err(e));
                        break;
                    }
                }
            }
            // Hashes before an error are read before it.
            let text = (!text.is_empty()).then(|| Ok(Bytes::from(text)));
            futures::stream::iter(text.into_iter().chain(failed))
        });
        let text: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> = Box::pin(text);
        ProgramHashes(Arc::new(Mutex::new(Some(Box::new(StreamReader::new(
            text,
        ))))))
    }

    /// Takes the text; `None` if it was taken before.
    pub(super) fn take(&self) -> Option<Text> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PartialEq for ProgramHashes {
    fn eq(&self, other: &ProgramHashes) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ProgramHashes {}

impl fmt::Debug for ProgramHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgramHashes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn a_stream_is_read_once_as_lines_up_to_its_first_error() {
        let hash = |byte: u8| Hash::from_bytes(&[byte; 16]).expect("16 bytes");
        let items = [Ok(hash(0xAB)), Ok(hash(1)), Err(io::Error::other("gone"))];
        let hashes = ProgramHashes::new(futures::stream::iter(items));
        let mut text = Vec::new();
        let mut reader = hashes.take().expect("the first time");
        let error = reader.read_to_end(&mut text).await.expect_err("an error");
        assert_eq!(error.to_string(), "gone");
        let lines = format!("{}\n{}\n", "ab".repeat(16), "01".repeat(16));
        assert_eq!(text, lines.as_bytes());
        assert!(hashes.clone().take().is_none());
        let only = ProgramHashes::new(futures::stream::iter([Ok(hash(0xAB))]));
        let mut text = String::new();
        let mut reader = only.take().expect("the first time");
        reader.read_to_string(&mut text).await.expect("text");
        assert_eq!(text, "ab".repeat(16) + "\n");
    }
}
