//! Text on its way from a source to lines: rewritten where it is UTF-16 or has NULs as
//! ends of lines, and a JSON document split into lines.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::encoding::Rewriter;
use crate::list::format::document::ArrayPath;
use crate::list::format::kind::Form;
use crate::list::identity::Identity;
use crate::list::json_arrays::Splitter;
use crate::source::decompress::output::Chunk;
use bytes::Bytes;

/// What a text goes through. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    pub(super) text: Option<Rewriter>,
    pub(super) split: Option<Splitter>,
    ended: bool,
}

impl Rewriting {
    /// That of a list which an earlier run has read.
    pub(super) fn again(was: &Identity) -> Rewriting {
        let path = was.document.as_deref().and_then(ArrayPath::of);
        Rewriting {
            text: was.writing.map(Rewriter::new),
            split: path.map(|path| Splitter::new(&was.object.uri, path)),
            ended: false,
        }
    }

    /// Whether the text is lines as it is.
    pub(super) fn is_none(&self) -> bool {
        self.text.is_none() && self.split.is_none()
    }

    /// Whether the end was taken.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next chunk, or the end.
    pub(super) fn push(&mut self, chunk: Option<Chunk>) -> Result<Option<Chunk>> {
        let mut text = Vec::new();
        match (&mut self.text, &chunk) {
            (None, Some(chunk)) => text.extend_from_slice(&chunk.bytes),
            (None, None) => {}
            (Some(rewriter), Some(chunk)) => rewriter.push(&chunk.bytes, &mut text),
            (Some(rewriter), None) => rewriter.finish(&mut text),
        }
        if let Some(split) = &mut self.split {
            let mut lines = Vec::new();
            split.push(&text, &mut lines)?;
            if chunk.is_none() {
                split.finish(&mut lines)?;
            }
            text = lines;
        }
        let lying = match chunk {
            Some(chunk) => chunk.lying,
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
            lying,
        }))
    }
}

/// Checks that not all `elements` were skipped of the arrays that the field of `form` leads
/// into, which none of them may have.
pub(crate) fn some_elements(form: &Form, elements: u64, algorithm: Algorithm) -> Result<()> {
    let field = form.column.as_deref().unwrap_or_default();
    if elements == 0 || ArrayPath::of(field).is_none() {
        return Ok(());
    }
    let what = format!("none of the {elements} elements has a {algorithm} hash in {field}");
    Err(Error::new(ErrorKind::Input, what)
        .hint("name the field that they have by --field, or the algorithm by --hash"))
}
