//! Decompression thread: a task feeds it, and it sends text back.
//!
//! Decoders work for milliseconds without a pause. On the runtime's thread they would
//! delay the calls in flight, so they have a separate one. Two short channels limit the
//! data in between.

use crate::base::error::{Error, ErrorKind, Result};
use crate::source::decompress::codec::SourceCompression;
use crate::source::decompress::decoder::decompress;
use crate::source::decompress::output::Chunk;
use crate::source::open::OpenSource;
use bytes::Bytes;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Maximum number of compressed chunks waiting for the decoder.
const COMPRESSED_CHUNKS: usize = 4;

/// Maximum number of text chunks waiting for the reader.
const TEXT_CHUNKS: usize = 8;

/// A source that is being decompressed.
#[derive(Debug)]
pub(crate) struct DecompressThread {
    name: String,
    feeder: JoinHandle<()>,
    text: mpsc::Receiver<Result<Option<Chunk>>>,
}

impl DecompressThread {
    /// Starts to decompress `source`, called `name`. `first` holds the chunks read so
    /// far; `ended` is true if they are all.
    pub(crate) fn spawn(
        name: String,
        packed: SourceCompression,
        first: VecDeque<Bytes>,
        ended: bool,
        mut source: OpenSource,
    ) -> DecompressThread {
        let (feed, mut compressed) = mpsc::channel::<Result<Bytes>>(COMPRESSED_CHUNKS);
        let feeder = tokio::spawn(async move {
            for chunk in first {
                if feed.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
            if ended {
                return;
            }
            loop {
                let next = tokio::select! {
                    biased;
                    () = feed.closed() => return,
                    next = source.next() => next,
                };
                let Some(next) = next.transpose() else { return };
                let failed = next.is_err();
                if feed.send(next).await.is_err() || failed {
                    return;
                }
            }
        });
        let (send, text) = mpsc::channel(TEXT_CHUNKS);
        let display_name = name.clone();
        // The thread ends when either channel closes.
        tokio::task::spawn_blocking(move || {
            let ended = decompress(
                &display_name,
                &packed,
                || compressed.blocking_recv().transpose(),
                |chunk| send.blocking_send(Ok(Some(chunk))).is_ok(),
            );
            // The receiver may be gone.
            let _ = send.blocking_send(ended.map(|()| None));
        });
        DecompressThread { name, feeder, text }
    }

    /// The next chunk of text; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>> {
        match self.text.recv().await {
            Some(next) => next,
            None => Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "the decompression of {} failed unexpectedly; this is a bug in hashferry",
                    self.name
                ),
            )
            .with_hint("decompress it first, then ingest the result")),
        }
    }
}

impl Drop for DecompressThread {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}
