//! Conversion of the peeked part of a list: UTF-16, lines that end in NULs, arrays of JSON.

use crate::base::error::{Error, Result};
use crate::list::detect;
use crate::list::encoding::{DetectedEncoding, TextEncoding, Transcoder};
use crate::list::format::document::ArrayPath;
use crate::list::format::kind::{Format, ListOptions};
use crate::list::json_arrays::Splitter;
use crate::list::open_list::OpenList;
use crate::list::rewrite_stage::RewriteStage;
use bytes::BytesMut;

impl OpenList {
    /// Sets up the conversion of the text to UTF-8 lines, as its first bytes and `options`
    /// require. Returns the peeked part `head`, converted.
    ///
    /// # Errors
    /// If the list cannot be read, or `--field` leads into arrays and it is not JSON.
    pub(super) async fn rewrite(
        &mut self,
        mut head: BytesMut,
        options: &ListOptions,
    ) -> Result<BytesMut> {
        loop {
            match TextEncoding::detect(&head, self.ended) {
                DetectedEncoding::TooFewBytes => head = self.peek_more(head).await?,
                DetectedEncoding::Encoded(writing) => {
                    head = self.rewrite_as(writing)?;
                    break;
                }
                // Output of `find -print0`.
                DetectedEncoding::Plain
                    if options.path_normalizer.is_some() && ends_in_nul(&head) =>
                {
                    head = self.rewrite_as(TextEncoding::NulEnded)?;
                    break;
                }
                DetectedEncoding::Plain => break,
            }
        }
        let json = options.format.is_none_or(|f| f == Format::Ndjson);
        let field = options.column.as_deref().filter(|_| json);
        let Some((field, path)) = field.and_then(|f| Some((f, ArrayPath::parse(f)?))) else {
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
                self.identity.array_field = Some(field.to_owned());
                // A byte order mark before it belongs to no element.
                self.rewrite_stage.splitter = Some(Splitter::new(&name, path));
                self.rewrite_peeked()
            }
            Some(_) => Err(Error::usage(format!(
                "--field {field} leads into arrays of JSON, but {name} is not JSON"
            ))
            .with_hint("give a column of the list with --column")),
        }
    }

    fn rewrite_as(&mut self, writing: TextEncoding) -> Result<BytesMut> {
        self.identity.text_encoding = Some(writing);
        self.rewrite_stage.transcoder = Some(Transcoder::new(writing));
        self.rewrite_peeked()
    }

    async fn peek_more(&mut self, mut head: BytesMut) -> Result<BytesMut> {
        match self.read_chunk().await? {
            Some(chunk) => {
                let room = detect::PEEK_BYTES.saturating_sub(head.len());
                head.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
                self.peeked.push_back(chunk);
            }
            None => self.ended = true,
        }
        Ok(head)
    }

    /// Converts the peeked chunks by the conversion that was added last.
    fn rewrite_peeked(&mut self) -> Result<BytesMut> {
        let mut head = BytesMut::new();
        let mut last = RewriteStage::default();
        match self.rewrite_stage.splitter.take() {
            Some(split) => last.splitter = Some(split),
            None => last.transcoder = self.rewrite_stage.transcoder.take(),
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
        self.rewrite_stage.transcoder = last.transcoder.or(self.rewrite_stage.transcoder.take());
        self.rewrite_stage.splitter = last.splitter;
        Ok(head)
    }
}

/// True if a NUL ends the first line of `head`.
fn ends_in_nul(head: &[u8]) -> bool {
    let end = head.iter().find(|b| matches!(b, 0 | b'\n'));
    end == Some(&0)
}
