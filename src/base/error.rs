//! What can go wrong, said so that a person can act on it.
//!
//! One type for the whole crate: a [kind](ErrorKind), which decides the exit
//! status, a sentence that says what happened and where, a hint that says what
//! to do, and the cause underneath. Libraries that need to branch do so on the
//! kind; nobody needs to parse the sentence.

use crate::base::printable::one_line;
use std::borrow::Cow;
use std::fmt;

/// The cause underneath an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Wrong usage or configuration; nothing was written (exit status 2).
    Usage,
    /// A permission is missing; nothing was written (exit status 2).
    Denied,
    /// The source could not be read to its end (exit status 1).
    Read,
    /// A source is cut off or damaged, or was replaced while it was read (exit status 1).
    Damaged,
    /// DynamoDB could not be asked, or refused for good (exit status 1).
    Write,
    /// A file of ours (report, rejects) could not be written (exit status 1).
    Output,
    /// The input does not look like a list of this kind (exit status 1).
    Input,
    /// A list is not in the order that it was said to be in (exit status 1).
    Unsorted,
    /// An invariant of this program does not hold (exit status 1).
    Internal,
}

/// A failure: kind, what happened, what to do, and why. It shows itself on one line,
/// whatever names it holds.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    what: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    cause: Option<Cause>,
}

impl Error {
    /// A failure of `kind`, described by `what` (one sentence, no full stop).
    pub fn new(kind: ErrorKind, what: impl Into<Cow<'static, str>>) -> Self {
        Error {
            kind,
            what: what.into(),
            hint: None,
            cause: None,
        }
    }

    /// Wrong usage or configuration: [`ErrorKind::Usage`].
    pub fn usage(what: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorKind::Usage, what)
    }

    /// The same as a failure of `kind`.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Says before what happened of what it did: `name: …`.
    #[must_use]
    pub fn of(mut self, name: &str) -> Self {
        self.what = format!("{name}: {}", self.what).into();
        self
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause underneath.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it, where that is known.
    pub fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The exit status that this failure ends the program with: 2 when nothing
    /// was or could be written because of how it was called, else 1.
    pub fn exit_status(&self) -> u8 {
        match self.kind {
            ErrorKind::Usage | ErrorKind::Denied => 2,
            _ => 1,
        }
    }
}

/// `{}` is the failure alone, as the standard library has it; `{:#}` names its causes, too.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.what))?;
        if !f.alternate() {
            return Ok(());
        }
        let mut cause = std::error::Error::source(self);
        let mut said = self.what.to_string();
        while let Some(c) = cause {
            // Causes often repeat themselves on the way down.
            let text = c.to_string();
            if !said.contains(&text) {
                write!(f, ": {}", one_line(&text))?;
                said = text;
            }
            cause = c.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|c| c as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_each_cause_once() {
        let io = std::io::Error::other("disk on fire");
        let inner = Error::new(ErrorKind::Read, "cannot read list.txt at byte 7").because(io);
        let outer = Error::new(ErrorKind::Read, "the run stopped").because(inner);
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
    fn names_in_a_message_cannot_act_on_a_terminal() {
        let inner = std::io::Error::other("\u{9b}2J".repeat(5_000));
        let error = Error::usage("no column \x1b[8mx\nerror: forged\u{202e}").because(inner);
        let said = format!("{error:#}");
        assert!(said.starts_with("no column \\u{1b}[8mx\\nerror: forged\\u{202e}: \\u{9b}2J"));
        assert!(said.chars().all(|c| !c.is_control()));
        assert!(said.len() < 20_000);
    }

    #[test]
    fn only_usage_is_exit_status_2() {
        assert_eq!(Error::usage("x").exit_status(), 2);
        assert_eq!(Error::new(ErrorKind::Write, "x").exit_status(), 1);
    }
}
