//! Opening a list again where an earlier run left it.

use crate::aws::config::Aws;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::detect;
use crate::list::identity::Identity;
use crate::list::opened::{Opened, Text};
use crate::list::rewriting::Rewriting;
use crate::source::decompress::codec::Unpack;
use crate::source::decompress::thread::Unpacking;
use crate::source::open::Source;
use bytes::BytesMut;
use std::collections::VecDeque;

impl Opened {
    /// A source that goes on where an earlier run, which read hashes of `algorithm`,
    /// left it, at byte `from` of its text: there is nothing to look at. It `was` the
    /// same then; `source` stands at that byte, or at its beginning when it is
    /// [packed](Self::is_packed).
    ///
    /// # Errors
    /// When it cannot be read or decompressed up to there.
    pub async fn again(
        source: Source,
        was: &Identity,
        algorithm: Algorithm,
        from: u64,
        aws: &Aws,
        unpack: &Unpack,
    ) -> Result<Opened> {
        let location = source.location().clone();
        let packed = was.packed.clone();
        let identity = Identity {
            packed: packed.clone(),
            layout: was.layout.clone(),
            database: was.database,
            writing: was.writing,
            document: was.document.clone(),
            object: source.version(),
        };
        let text = match packed {
            None => Text::Plain(Box::new(source)),
            Some(packed) => {
                let name = location.to_string();
                Text::Packed(Unpacking::start(
                    name,
                    packed,
                    VecDeque::new(),
                    false,
                    source,
                ))
            }
        };
        let mut opened = Opened {
            location,
            identity,
            text,
            rewriting: Rewriting::again(was),
            peeked: VecDeque::new(),
            ended: false,
            behind: from,
            beginning: detect::Beginning {
                layout: was.layout.clone().unwrap_or_default(),
                ..detect::Beginning::default()
            },
            follows: None,
            failed: None,
        };
        #[cfg(feature = "rds")]
        if was.database {
            opened.behind = 0;
            opened.read_database(BytesMut::new(), aws, unpack).await?;
        }
        #[cfg(not(feature = "rds"))]
        if was.database {
            // The same beginning is refused for the same reason.
            opened
                .look(
                    BytesMut::new(),
                    aws,
                    unpack,
                    &crate::list::format::kind::Form::default(),
                )
                .await?;
        }
        opened.begin(algorithm)?;
        if opened.is_packed() {
            opened.pass(from).await?;
        }
        Ok(opened)
    }

    /// Reads or decompresses up to byte `from` of the text, and no further.
    async fn pass(&mut self, from: u64) -> Result<()> {
        if from > 0 {
            let is = match (self.identity.database, &self.identity.packed) {
                (true, _) => "a database",
                (false, Some(_)) => "compressed",
                (false, None) => "rewritten as it is read",
            };
            tracing::info!(
                "{} is {is}: reading again up to byte {from} of its text, nothing is written twice",
                self.location
            );
        }
        self.behind = 0;
        let mut left = from;
        while left > 0 {
            let Some(mut chunk) = self.pull().await? else {
                return Err(Error::new(
                    ErrorKind::Read,
                    format!(
                        "{} has {} bytes of text, and an earlier run had read {from}",
                        self.location,
                        from - left
                    ),
                )
                .hint("begin again with --restart"));
            };
            let length = chunk.bytes.len() as u64;
            match usize::try_from(left) {
                Ok(part) if left < length => {
                    let share = u128::from(chunk.lying) * u128::from(left) / u128::from(length);
                    let share = u64::try_from(share).unwrap_or(chunk.lying);
                    self.behind += share;
                    chunk.lying -= share;
                    chunk.bytes = chunk.bytes.slice(part..);
                    self.peeked.push_back(chunk);
                    left = 0;
                }
                _ => {
                    self.behind += chunk.lying;
                    left -= length;
                }
            }
        }
        Ok(())
    }
}
