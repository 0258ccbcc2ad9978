//! Opens a list at the position where an earlier run ended.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::detect;
use crate::list::identity::Identity;
use crate::list::open_list::{OpenList, Text};
use crate::list::rewrite_stage::RewriteStage;
use crate::source::decompress::codec::DecompressOptions;
use crate::source::decompress::thread::DecompressThread;
use crate::source::open::OpenSource;
use bytes::BytesMut;
use std::collections::VecDeque;

impl OpenList {
    /// Opens a list to resume an earlier run, which read hashes of `algorithm` up to byte
    /// `from` of the text. `was` is the identity from that run, so nothing is detected.
    /// `source` is at that byte, or at the start if the text
    /// [differs from the bytes](Self::is_derived).
    ///
    /// # Errors
    /// If the list cannot be read or decompressed up to that byte.
    pub async fn resume_at(
        source: OpenSource,
        was: &Identity,
        algorithm: Algorithm,
        from: u64,
        aws: &Aws,
        unpack: &DecompressOptions,
    ) -> Result<OpenList> {
        let location = source.location().clone();
        let packed = was.compression.clone();
        let identity = Identity {
            compression: packed.clone(),
            layout: was.layout.clone(),
            is_database: was.is_database,
            text_encoding: was.text_encoding,
            array_field: was.array_field.clone(),
            object: source.version(),
        };
        let text = match packed {
            None => Text::Plain(Box::new(source)),
            Some(packed) => {
                let name = location.to_string();
                Text::Compressed(DecompressThread::spawn(
                    name,
                    packed,
                    VecDeque::new(),
                    false,
                    source,
                ))
            }
        };
        let mut opened = OpenList {
            location,
            identity,
            text,
            rewrite_stage: RewriteStage::resume(was),
            peeked: VecDeque::new(),
            ended: false,
            skipped_bytes: from,
            detected: detect::DetectedList {
                layout: was.layout.clone().unwrap_or_default(),
                ..detect::DetectedList::default()
            },
            first_with_rows: None,
            pending_error: None,
        };
        #[cfg(feature = "rds")]
        if was.is_database {
            opened.skipped_bytes = 0;
            opened
                .switch_to_database(BytesMut::new(), aws, unpack)
                .await?;
        }
        #[cfg(not(feature = "rds"))]
        if was.is_database {
            // The detection returns the same error as for a new run.
            opened
                .detect(
                    BytesMut::new(),
                    aws,
                    unpack,
                    &crate::list::format::kind::ListOptions::default(),
                )
                .await?;
        }
        opened.select_algorithm(algorithm)?;
        if opened.is_derived() {
            opened.skip_to(from).await?;
        }
        Ok(opened)
    }

    /// Reads and drops the text up to byte `from`.
    async fn skip_to(&mut self, from: u64) -> Result<()> {
        if from > 0 {
            let kind = match (self.identity.is_database, &self.identity.compression) {
                (true, _) => "a database",
                (false, Some(_)) => "compressed",
                (false, None) => "converted while it is read",
            };
            tracing::info!(
                "{} is {kind}: reading again up to byte {from} of its text; nothing is written twice",
                self.location
            );
        }
        self.skipped_bytes = 0;
        let mut left = from;
        while left > 0 {
            let Some(mut chunk) = self.read_chunk().await? else {
                return Err(Error::new(
                    ErrorKind::Read,
                    format!(
                        "{} has {} bytes of text, but an earlier run read {from}",
                        self.location,
                        from - left
                    ),
                )
                .with_hint("give --restart to begin again"));
            };
            let length = chunk.bytes.len() as u64;
            match usize::try_from(left) {
                Ok(part) if left < length => {
                    let share =
                        u128::from(chunk.compressed_bytes) * u128::from(left) / u128::from(length);
                    let share = u64::try_from(share).unwrap_or(chunk.compressed_bytes);
                    self.skipped_bytes += share;
                    chunk.compressed_bytes -= share;
                    chunk.bytes = chunk.bytes.slice(part..);
                    self.peeked.push_back(chunk);
                    left = 0;
                }
                _ => {
                    self.skipped_bytes += chunk.compressed_bytes;
                    left -= length;
                }
            }
        }
        Ok(())
    }
}
