//! Standard output: as it is for a program, harmless on a terminal.

use crate::base::printable;
use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What a command writes as its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Lines, perhaps with columns between tabs.
    Text,
    /// JSON, of one or more lines.
    Json,
}

impl Form {
    fn safe(self, text: &str) -> Cow<'_, str> {
        match self {
            Form::Text => printable::lines(text),
            Form::Json => printable::json(text),
        }
    }
}

/// Writes `text` to standard output.
pub(super) fn print(text: &str, form: Form) -> io::Result<()> {
    let mut out = io::stdout();
    let text = match out.is_terminal() {
        true => form.safe(text),
        false => Cow::Borrowed(text),
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Standard output, written to in whole lines.
pub(super) fn stdout(form: Form) -> Guarded<tokio::io::Stdout> {
    Guarded {
        form: io::stdout().is_terminal().then_some(form),
        to: tokio::io::stdout(),
        pending: Vec::new(),
        written: 0,
    }
}

/// A writer that makes what is written to it safe to show.
#[derive(Debug)]
pub(super) struct Guarded<W> {
    to: W,
    /// The form of what is written; nothing when it stays as it is.
    form: Option<Form>,
    /// What was made safe, and how much of it is written.
    pending: Vec<u8>,
    written: usize,
}

impl<W: AsyncWrite + Unpin> Guarded<W> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.written..).filter(|r| !r.is_empty()) {
            match ready!(Pin::new(&mut self.to).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.pending.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Guarded<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(form) = self.form else {
            return Pin::new(&mut self.to).poll_write(cx, bytes);
        };
        ready!(self.poll_pending(cx))?;
        let text = String::from_utf8_lossy(bytes);
        self.pending.extend_from_slice(form.safe(&text).as_bytes());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    async fn written(form: Option<Form>, lines: &[&str]) -> String {
        // Takes a few bytes at a time.
        let (to, mut from) = tokio::io::duplex(3);
        let mut guarded = Guarded {
            to,
            form,
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
            written(Some(Form::Text), &lines).await,
            "/a\\u{1b}[2J\t/b\\u{202e}\né\n"
        );
        assert_eq!(
            written(Some(Form::Json), &["{\"a\":\"\u{9b}\"}\n"]).await,
            "{\"a\":\"\\u009b\"}\n"
        );
    }
}
