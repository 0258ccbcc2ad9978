//! Text on its way from a source to lines: rewritten where it is UTF-16 or has NULs as
//! ends of lines, and a JSON document split into lines.

use crate::base::error::{Error, ErrorKind, Result};
use crate::base::hash::Algorithm;
use crate::list::detect;
use crate::list::encoding::{Rewriter, Shown, Writing};
use crate::list::format::document::ArrayPath;
use crate::list::format::row_parser::{Form, Format};
use crate::list::identity::Identity;
use crate::list::json_arrays::Splitter;
use crate::list::open::Opened;
use crate::source::decompress::output::Chunk;
use bytes::{Bytes, BytesMut};

/// What a text goes through. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    text: Option<Rewriter>,
    split: Option<Splitter>,
    ended: bool,
}

impl Rewriting {
    /// That of a list which an earlier run has read.
    pub(super) fn again(was: &Identity) -> Rewriting {
        let path = was.document.as_deref().and_then(ArrayPath::of);
        Rewriting {
            text: was.writing.map(Rewriter::new),
            split: path.map(|path| Splitter::new(&was.uri, path)),
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

impl Opened {
    /// Has the text rewritten as its beginning and `form` show. Takes the part that is
    /// peeked, `head`, and returns it rewritten.
    ///
    /// # Errors
    /// When it cannot be read, and when `--field` leads into arrays and it is no JSON.
    pub(super) async fn rewrite(&mut self, mut head: BytesMut, form: &Form) -> Result<BytesMut> {
        loop {
            match Writing::shown(&head, self.ended) {
                Shown::TooFew => head = self.peek_more(head).await?,
                Shown::Is(writing) => {
                    head = self.rewrite_as(writing)?;
                    break;
                }
                // Paths, as `find -print0` prints them.
                Shown::Plain if form.paths.is_some() && ends_in_nul(&head) => {
                    head = self.rewrite_as(Writing::NulEnded)?;
                    break;
                }
                Shown::Plain => break,
            }
        }
        let json = form.format.is_none_or(|f| f == Format::Ndjson);
        let field = form.column.as_deref().filter(|_| json);
        let Some((field, path)) = field.and_then(|f| Some((f, ArrayPath::of(f)?))) else {
            return Ok(head);
        };
        let name = self.location.to_string();
        let first = |head: &BytesMut| {
            let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
            text.trim_ascii_start().first().copied()
        };
        while first(&head).is_none() && !self.ended && head.len() < detect::PEEK_BYTES {
            head = self.peek_more(head).await?;
        }
        match first(&head) {
            None => Ok(head),
            Some(b'{' | b'[') => {
                self.identity.document = Some(field.to_owned());
                // A mark before it is none of its values.
                self.rewriting.split = Some(Splitter::new(&name, path));
                self.rewrite_peeked()
            }
            Some(_) => Err(Error::usage(format!(
                "--field {field} leads into arrays of JSON, and {name} is no JSON"
            ))
            .hint("name a column that the list has by --column")),
        }
    }

    fn rewrite_as(&mut self, writing: Writing) -> Result<BytesMut> {
        self.identity.writing = Some(writing);
        self.rewriting.text = Some(Rewriter::new(writing));
        self.rewrite_peeked()
    }

    async fn peek_more(&mut self, mut head: BytesMut) -> Result<BytesMut> {
        match self.pull().await? {
            Some(chunk) => {
                let room = detect::PEEK_BYTES.saturating_sub(head.len());
                head.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
                self.peeked.push_back(chunk);
            }
            None => self.ended = true,
        }
        Ok(head)
    }

    /// Rewrites the chunks that are peeked, by what was set last.
    fn rewrite_peeked(&mut self) -> Result<BytesMut> {
        let mut head = BytesMut::new();
        let mut last = Rewriting::default();
        match self.rewriting.split.take() {
            Some(split) => last.split = Some(split),
            None => last.text = self.rewriting.text.take(),
        }
        let peeked = std::mem::take(&mut self.peeked);
        let ended = self.ended.then_some(None);
        for chunk in peeked.into_iter().map(Some).chain(ended) {
            if let Some(chunk) = last.push(chunk)? {
                let room = detect::PEEK_BYTES.saturating_sub(head.len());
                head.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
                self.peeked.push_back(chunk);
            }
        }
        self.rewriting.text = last.text.or(self.rewriting.text.take());
        self.rewriting.split = last.split;
        Ok(head)
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

/// Whether a NUL ends the first line of `head`.
fn ends_in_nul(head: &[u8]) -> bool {
    let end = head.iter().find(|b| matches!(b, 0 | b'\n'));
    end == Some(&0)
}
