//! The look of rejected lines: which hashes they seem to be, for the message about a list
//! that has none of the kind.

use crate::base::hash::{Algorithm, Hash};
use crate::base::record::Reason;
use crate::list::format::plain::content;

/// Rejected lines that are looked at: the first ones show what a list is.
const LOOKED_AT: u64 = 1000;

/// How much of a line is looked at, in bytes.
const LOOKED_AT_BYTES: usize = 4096;

/// Where a line holds a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// It is one.
    Alone,
    /// Before blanks and a file name.
    BeforeName,
    /// In one of its columns.
    InColumn,
}

/// What rejected lines look like. See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    looked_at: u64,
    /// Lines whose hash was good, and whose item was not.
    unfit: u64,
    counts: Vec<((Position, usize), u64)>,
    first: Option<String>,
}

impl Shapes {
    /// Takes a rejected line, and why it was rejected.
    pub(crate) fn add(&mut self, text: &[u8], reason: Reason) {
        if self.looked_at >= LOOKED_AT {
            return;
        }
        self.looked_at += 1;
        match reason {
            Reason::Refused
            | Reason::Attribute
            | Reason::NoKey
            | Reason::LongKey
            | Reason::LargeItem => {
                self.unfit += 1;
                return;
            }
            _ => {}
        }
        let Some(shape) = shape(text) else { return };
        match self.counts.iter_mut().find(|(s, _)| *s == shape) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((shape, 1)),
        }
    }

    /// Keeps what is to be said of the first rejected line.
    pub(crate) fn begin_with(&mut self, said: impl FnOnce() -> String) {
        self.first.get_or_insert_with(said);
    }

    /// What is to be said of the first rejected line.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Whether each of these lines has a good hash, and only its item was refused.
    pub(crate) fn are_unfit_items(&self) -> bool {
        self.unfit > 0 && self.unfit == self.looked_at
    }

    /// The algorithm that most of them show, and how they show it.
    pub(crate) fn looks(&self) -> Option<(Algorithm, String)> {
        let (shape, count) = self.counts.iter().max_by_key(|(_, count)| *count)?;
        if count * 2 <= self.looked_at {
            return None;
        }
        let (position, digits) = *shape;
        let algorithm = Algorithm::of_hex_digits(digits)?;
        let who = match *count == self.looked_at {
            true => "they look like",
            false => "most of them look like",
        };
        let title = algorithm.title();
        let hash = format!("{title} ({digits} hexadecimal digits)");
        let what = match position {
            Position::Alone => hash,
            Position::BeforeName => format!("lines of {hash}, blanks and a file name"),
            Position::InColumn => format!("a table with a column of {hash}"),
        };
        Some((algorithm, format!("{who} {what}")))
    }
}

fn shape(text: &[u8]) -> Option<(Position, usize)> {
    let text = content(&text[..text.len().min(LOOKED_AT_BYTES)]);
    if is_hash(text) {
        return Some((Position::Alone, text.len()));
    }
    let separates = |b: &u8| matches!(b, b' ' | b'\t' | b',' | b'|' | b';');
    let mut begins = true;
    for field in text.split(separates) {
        let bare = field.strip_prefix(b"\"").unwrap_or(field);
        let bare = bare.strip_suffix(b"\"").unwrap_or(bare);
        if is_hash(bare) {
            let position = match text.get(field.len()) {
                Some(b' ') if begins => Position::BeforeName,
                _ => Position::InColumn,
            };
            return Some((position, bare.len()));
        }
        begins = false;
    }
    None
}

fn is_hash(text: &[u8]) -> bool {
    Algorithm::of_hex_digits(text.len()).is_some() && Hash::from_hex(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "92e792c43c35e96fed3f9566083326fc";

    fn looks(lines: &[String]) -> Option<String> {
        let mut shapes = Shapes::default();
        for line in lines {
            shapes.add(line.as_bytes(), Reason::Length);
        }
        shapes.looks().map(|(_, looks)| looks)
    }

    #[test]
    fn lines_are_known_by_the_hash_in_them() {
        let hash = "MD5 (32 hexadecimal digits)";
        for (line, says) in [
            (format!("{MD5}\r"), format!("they look like {hash}")),
            (
                format!("{MD5}  a/b.deb"),
                format!("they look like lines of {hash}, blanks and a file name"),
            ),
            (
                format!("\"x\",\"{MD5}\",7"),
                format!("they look like a table with a column of {hash}"),
            ),
        ] {
            assert_eq!(
                looks(std::slice::from_ref(&line)).as_ref(),
                Some(&says),
                "{line}"
            );
            let mixed = [line.clone(), line, "nothing of the kind".into()];
            let most = says.replace("they look", "most of them look");
            assert_eq!(looks(&mixed), Some(most));
        }
        assert_eq!(looks(&[MD5.into(), "hello".into()]), None);
        assert_eq!(looks(&[]), None);
    }

    #[test]
    fn an_item_that_does_not_fit_says_nothing_against_its_hash() {
        let mut shapes = Shapes::default();
        shapes.add(MD5.as_bytes(), Reason::LargeItem);
        assert!(shapes.are_unfit_items() && shapes.looks().is_none());
        shapes.add(b"hello", Reason::Length);
        assert!(!shapes.are_unfit_items());
    }
}
