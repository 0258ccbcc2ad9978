//! Standard output: raw bytes for a program, escaped text on a terminal.

use crate::base::printable;
use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Format of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputFormat {
    /// Lines, possibly with tab-separated columns.
    Text,
    /// JSON, on one or more lines.
    Json,
}

impl OutputFormat {
    fn escape(self, text: &str) -> Cow<'_, str> {
        match self {
            OutputFormat::Text => printable::escape_lines(text),
            OutputFormat::Json => printable::escape_json(text),
        }
    }
}

/// Writes `text` to standard output, escaped on a terminal.
pub(super) fn print(text: &str, form: OutputFormat) -> io::Result<()> {
    let mut out = io::stdout();
    let text = match out.is_terminal() {
        true => form.escape(text),
        false => Cow::Borrowed(text),
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A writer to standard output, for complete lines only.
pub(super) fn stdout(form: OutputFormat) -> EscapingWriter<tokio::io::Stdout> {
    EscapingWriter {
        format: io::stdout().is_terminal().then_some(form),
        inner: tokio::io::stdout(),
        pending: Vec::new(),
        written: 0,
    }
}

/// A writer that escapes its input for a terminal.
#[derive(Debug)]
pub(super) struct EscapingWriter<W> {
    inner: W,
    /// Format of the input; `None` if the bytes pass unchanged.
    format: Option<OutputFormat>,
    /// Escaped bytes, of which `written` are written.
    pending: Vec<u8>,
    written: usize,
}

impl<W: AsyncWrite + Unpin> EscapingWriter<W> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.written..).filter(|r| !r.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.pending.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for EscapingWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(form) = self.format else {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        };
        ready!(self.poll_pending(cx))?;
        let text = String::from_utf8_lossy(bytes);
        self.pending
            .extend_from_slice(form.escape(&text).as_bytes());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn written(form: Option<OutputFormat>, lines: &[&str]) -> String {
        // A small buffer forces partial writes.
        let (to, mut from) = tokio::io::duplex(3);
        let mut guarded = EscapingWriter {
            inner: to,
            format: form,
            pending: Vec::new(),
            written: 0,
        };
        let write = async {
            for line in lines {
                guarded.write_all(line.as_bytes()).await.expect("written");
            }
            guarded.flush().await.expect("written");
            drop(guarded);
        };
        let mut text = String::new();
        let read = tokio::io::AsyncReadExt::read_to_string(&mut from, &mut text);
        let ((), read) = tokio::join!(write, read);
        read.expect("text");
        text
    }

    #[tokio::test]
    async fn a_terminal_gets_escapes_and_a_program_the_bytes() {
        let lines = ["/a\x1b[2J\t/b\u{202e}\n", "", "é\n"];
        assert_eq!(written(None, &lines).await, lines.concat());
        assert_eq!(
            written(Some(OutputFormat::Text), &lines).await,
            "/a\\u{1b}[2J\t/b\\u{202e}\né\n"
        );
        assert_eq!(
            written(Some(OutputFormat::Json), &["{\"a\":\"\u{9b}\"}\n"]).await,
            "{\"a\":\"\\u009b\"}\n"
        );
    }
}
