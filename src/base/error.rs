//! The error type of the crate.
//!
//! An error has a [kind](ErrorKind), which sets the exit status, a message, a hint and
//! a cause. The message says what failed and where; the hint says what to do. A program
//! that branches on errors uses the kind and never parses the message.

use crate::base::printable::one_line;
use std::borrow::Cow;
use std::fmt;

/// Cause of an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Wrong usage or configuration; nothing was written (exit status 2).
    Usage,
    /// Missing permission; nothing was written (exit status 2).
    Denied,
    /// A source could not be read to its end (exit status 1).
    Read,
    /// A source is truncated or damaged, or was replaced during the read (exit status
    /// 1).
    Damaged,
    /// DynamoDB is unreachable or failed permanently (exit status 1).
    Write,
    /// An output file, such as report or rejects, could not be written (exit status 1).
    Output,
    /// The input does not look like a list of this kind (exit status 1).
    Input,
    /// A list is not sorted as stated (exit status 1).
    Unsorted,
    /// An invariant of this program does not hold (exit status 1).
    Internal,
}

/// A failure: kind, message, hint and cause. It always displays on one line.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    source: Option<Cause>,
}

impl Error {
    /// Creates a failure of `kind` with `message`: one sentence without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Error {
            kind,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// Creates a failure of kind [`ErrorKind::Usage`].
    pub fn usage(message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorKind::Usage, message)
    }

    /// Changes the kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Prefixes the message with a name: `name: …`.
    #[must_use]
    pub fn in_source(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message).into();
        self
    }

    /// Adds a hint: what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, cause: impl Into<Cause>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Kind of a failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The hint; `None` if there is none.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit status for this failure: 2 for [`ErrorKind::Usage`] and
    /// [`ErrorKind::Denied`], else 1.
    pub fn exit_status(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage | ErrorKind::Denied => 2,
            _ => 1,
        }
    }
}

/// `{}` shows the message alone, as in the standard library. `{:#}` adds the causes.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.message))?;
        if !f.alternate() {
            return Ok(());
        }
        let mut cause = std::error::Error::source(self);
        let mut shown = self.message.to_string();
        while let Some(c) = cause {
            // A cause often contains the text of the causes below it.
            let text = c.to_string();
            if !shown.contains(&text) {
                write!(f, ": {}", one_line(&text))?;
                shown = text;
            }
            cause = c.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|c| c as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_each_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let inner = Error::new(ErrorKind::Read, "cannot read list.txt at byte 7").with_source(io);
        let outer = Error::new(ErrorKind::Read, "the run stopped").with_source(inner);
        assert_eq!(
            format!("{outer:#}"),
            "the run stopped: cannot read list.txt at byte 7: disk on fire"
        );
        assert_eq!(outer.to_string(), "the run stopped");
        let cause = std::error::Error::source(&outer).expect("a cause");
        assert_eq!(cause.to_string(), "cannot read list.txt at byte 7");
        let innermost = cause.source().map(ToString::to_string);
        assert_eq!(innermost.as_deref(), Some("disk on fire"));
    }

    #[test]
    fn control_characters_in_messages_are_escaped() {
        let inner = std::io::Error::other("\u{9b}2J".repeat(5_000));
        let error = Error::usage("no column \x1b[8mx\nerror: forged\u{202e}").with_source(inner);
        let text = format!("{error:#}");
        assert!(text.starts_with("no column \\u{1b}[8mx\\nerror: forged\\u{202e}: \\u{9b}2J"));
        assert!(text.chars().all(|c| !c.is_control()));
        assert!(text.len() < 20_000);
    }

    #[test]
    fn usage_errors_have_exit_status_2() {
        assert_eq!(Error::usage("x").exit_status(), 2);
        assert_eq!(Error::new(ErrorKind::Write, "x").exit_status(), 1);
    }
}
