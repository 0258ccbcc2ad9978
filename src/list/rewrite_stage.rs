//! Conversion of a streamed text to UTF-8 lines: text encodings, and the split of JSON
//! documents.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::encoding::Transcoder;
use crate::list::format::document::ArrayPath;
use crate::list::format::kind::ListOptions;
use crate::list::identity::Identity;
use crate::list::json_arrays::Splitter;
use crate::source::decompress::output::Chunk;
use bytes::Bytes;

/// The conversions of a text. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct RewriteStage {
    pub(super) transcoder: Option<Transcoder>,
    pub(super) splitter: Option<Splitter>,
    ended: bool,
}

impl RewriteStage {
    /// The conversions of a list that an earlier run read.
    pub(super) fn resume(was: &Identity) -> RewriteStage {
        let path = was.array_field.as_deref().and_then(ArrayPath::parse);
        RewriteStage {
            transcoder: was.text_encoding.map(Transcoder::new),
            splitter: path.map(|path| Splitter::new(&was.object.uri, path)),
            ended: false,
        }
    }

    /// True if the text needs no conversion.
    pub(super) fn is_none(&self) -> bool {
        self.transcoder.is_none() && self.splitter.is_none()
    }

    /// True if the end of the text was processed.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Converts the next chunk; `None` marks the end. Returns `None` if the end yields no text.
    pub(super) fn push(&mut self, chunk: Option<Chunk>) -> Result<Option<Chunk>> {
        let mut text = Vec::new();
        match (&mut self.transcoder, &chunk) {
            (None, Some(chunk)) => text.extend_from_slice(&chunk.bytes),
            (None, None) => {}
            (Some(rewriter), Some(chunk)) => rewriter.push(&chunk.bytes, &mut text),
            (Some(rewriter), None) => rewriter.finish(&mut text),
        }
        if let Some(split) = &mut self.splitter {
            let mut lines = Vec::new();
            split.push(&text, &mut lines)?;
            if chunk.is_none() {
                split.finish(&mut lines)?;
            }
            text = lines;
        }
        let compressed_bytes = match chunk {
            Some(chunk) => chunk.compressed_bytes,
            None => {
                self.ended = true;
                if text.is_empty() {
                    return Ok(None);
                }
                0
            }
        };
        Ok(Some(Chunk {
            bytes: Bytes::from(text),
            compressed_bytes,
        }))
    }
}

/// Returns an error if all `elements` of an array were skipped because none has the field of
/// `options`. Does nothing if the field does not lead into an array.
pub(crate) fn check_some_elements(
    options: &ListOptions,
    elements: u64,
    algorithm: Algorithm,
) -> Result<()> {
    let field = options.column.as_deref().unwrap_or_default();
    if elements == 0 || ArrayPath::parse(field).is_none() {
        return Ok(());
    }
    let what = format!("none of the {elements} elements has a {algorithm} hash in {field}");
    Err(Error::new(ErrorKind::Input, what)
        .with_hint("give the field that they have with --field, or the algorithm with --hash"))
}
