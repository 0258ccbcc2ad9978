//! Description of rejected lines by the hashes in them, for the message about a list without
//! hashes of the algorithm.

use crate::base::hash::{Algorithm, Hash};
use crate::base::record::RejectReason;
use crate::list::format::plain::trimmed;

/// Rejected lines that are sampled, from the start of a list.
const LINES_SAMPLED: u64 = 1000;

/// Maximum number of bytes of a line that are sampled.
const MAX_SAMPLED_BYTES: usize = 4096;

/// Placement of a hash in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HashPlacement {
    /// The line is a hash.
    Alone,
    /// Before blanks and a file name.
    BeforeName,
    InColumn,
}

/// Statistics of rejected lines. See the [module](self).
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes {
    sampled: u64,
    /// Lines with a valid hash but an invalid item.
    invalid_items: u64,
    counts: Vec<((HashPlacement, usize), u64)>,
    first: Option<String>,
}

impl Shapes {
    /// Adds a rejected line with its reason.
    pub(crate) fn add(&mut self, text: &[u8], reason: RejectReason) {
        if self.sampled >= LINES_SAMPLED {
            return;
        }
        self.sampled += 1;
        match reason {
            RejectReason::InvalidItem
            | RejectReason::Attribute
            | RejectReason::NoKey
            | RejectReason::LongKey
            | RejectReason::LargeItem => {
                self.invalid_items += 1;
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

    /// Sets the description of the first rejected line, unless it is set.
    pub(crate) fn set_first(&mut self, describe: impl FnOnce() -> String) {
        self.first.get_or_insert_with(describe);
    }

    /// Returns the description of the first rejected line. `None` if there is none.
    pub(crate) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// True if each sampled line has a valid hash but an invalid item.
    pub(crate) fn are_invalid_items(&self) -> bool {
        self.invalid_items > 0 && self.invalid_items == self.sampled
    }

    /// Returns the algorithm that most lines show, with a description. `None` if no algorithm
    /// has a majority.
    pub(crate) fn describe(&self) -> Option<(Algorithm, String)> {
        let (shape, count) = self.counts.iter().max_by_key(|(_, count)| *count)?;
        if count * 2 <= self.sampled {
            return None;
        }
        let (position, digits) = *shape;
        let algorithm = Algorithm::from_hex_digits(digits)?;
        let subject = match *count == self.sampled {
            true => "they look like",
            false => "most of them look like",
        };
        let title = algorithm.title();
        let hash = format!("{title} ({digits} hexadecimal digits)");
        let object = match position {
            HashPlacement::Alone => hash,
            HashPlacement::BeforeName => format!("lines of {hash}, blanks and a file name"),
            HashPlacement::InColumn => format!("a table with a column of {hash}"),
        };
        Some((algorithm, format!("{subject} {object}")))
    }
}

fn shape(text: &[u8]) -> Option<(HashPlacement, usize)> {
    let text = trimmed(&text[..text.len().min(MAX_SAMPLED_BYTES)]);
    if is_hash(text) {
        return Some((HashPlacement::Alone, text.len()));
    }
    let separates = |b: &u8| matches!(b, b' ' | b'\t' | b',' | b'|' | b';');
    let mut begins = true;
    for field in text.split(separates) {
        let bare = field.strip_prefix(b"\"").unwrap_or(field);
        let bare = bare.strip_suffix(b"\"").unwrap_or(bare);
        if is_hash(bare) {
            let position = match text.get(field.len()) {
                Some(b' ') if begins => HashPlacement::BeforeName,
                _ => HashPlacement::InColumn,
            };
            return Some((position, bare.len()));
        }
        begins = false;
    }
    None
}

fn is_hash(text: &[u8]) -> bool {
    Algorithm::from_hex_digits(text.len()).is_some() && Hash::from_hex(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "92e792c43c35e96fed3f9566083326fc";

    fn looks(lines: &[String]) -> Option<String> {
        let mut shapes = Shapes::default();
        for line in lines {
            shapes.add(line.as_bytes(), RejectReason::Length);
        }
        shapes.describe().map(|(_, looks)| looks)
    }

    #[test]
    fn lines_are_described_by_the_hash_in_them() {
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
    fn an_invalid_item_does_not_count_against_its_hash() {
        let mut shapes = Shapes::default();
        shapes.add(MD5.as_bytes(), RejectReason::LargeItem);
        assert!(shapes.are_invalid_items() && shapes.describe().is_none());
        shapes.add(b"hello", RejectReason::Length);
        assert!(!shapes.are_invalid_items());
    }
}
