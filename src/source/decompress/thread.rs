//! Decompression beside the run: a task feeds a thread, and that hands on text.
//!
//! Decoders work for milliseconds at a stretch. On the runtime's own thread they
//! would hold up the calls in flight; on one of their own they run beside them.
//! Two short channels bound what is between.

use crate::base::error::{Error, ErrorKind, Result};
use crate::source::decompress::codec::Packed;
use crate::source::decompress::decoder::unpack;
use crate::source::decompress::output::Chunk;
use crate::source::open::Source;
use bytes::Bytes;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Compressed chunks that may wait for the decoder.
const COMPRESSED_CHUNKS: usize = 4;

/// Chunks of text that may wait for the reader.
const TEXT_CHUNKS: usize = 8;

/// A source that is being decompressed.
#[derive(Debug)]
pub(crate) struct Unpacking {
    name: String,
    feeder: JoinHandle<()>,
    text: mpsc::Receiver<Result<Option<Chunk>>>,
}

impl Unpacking {
    /// Begins to decompress `source`, called `name`, of which the chunks `first`
    /// are read already, and all when `ended`.
    pub(crate) fn start(
        name: String,
        packed: Packed,
        first: VecDeque<Bytes>,
        ended: bool,
        mut source: Source,
    ) -> Unpacking {
        let (feed, mut fed) = mpsc::channel::<Result<Bytes>>(COMPRESSED_CHUNKS);
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
        let called = name.clone();
        // It ends when either channel does.
        tokio::task::spawn_blocking(move || {
            let ended = unpack(
                &called,
                &packed,
                || fed.blocking_recv().transpose(),
                |chunk| send.blocking_send(Ok(Some(chunk))).is_ok(),
            );
            // Nobody may be there any more to take it.
            let _ = send.blocking_send(ended.map(|()| None));
        });
        Unpacking { name, feeder, text }
    }

    /// The next chunk of text; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>> {
        match self.text.recv().await {
            Some(next) => next,
            None => Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "the decompression of {} broke down; this is a fault of hashferry",
                    self.name
                ),
            )
            .hint("decompress it first, then ingest that")),
        }
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}
