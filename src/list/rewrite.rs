//! Rewriting what was peeked of a list: as UTF-16, as lines that NULs end, as elements of arrays.

use crate::base::error::{Error, Result};
use crate::list::detect;
use crate::list::encoding::{Rewriter, Shown, Writing};
use crate::list::format::document::ArrayPath;
use crate::list::format::kind::{Form, Format};
use crate::list::json_arrays::Splitter;
use crate::list::opened::Opened;
use crate::list::rewriting::Rewriting;
use bytes::BytesMut;

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

/// Whether a NUL ends the first line of `head`.
fn ends_in_nul(head: &[u8]) -> bool {
    let end = head.iter().find(|b| matches!(b, 0 | b'\n'));
    end == Some(&0)
}
