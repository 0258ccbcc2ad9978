//! What an item has of its own besides its hash: attributes from the row that the
//! hash stands in, as the piece of JSON that is written.
//!
//! Most lists have nothing of the kind, and then a record carries an empty
//! [`Extra`], which costs nothing. Where they have, the pieces of some hundred
//! rows stand in one buffer that their records share: nothing is allocated a row.

use std::fmt;
use std::sync::Arc;

/// The attributes that one item has of its own. See the [module](self).
#[derive(Clone, Default)]
pub struct Extra {
    buffer: Option<Arc<Vec<u8>>>,
    start: u32,
    length: u32,
    key_length: u32,
    stored: u32,
}

impl Extra {
    /// The attributes as they follow others in an item's JSON: each begins with a
    /// comma. The sort key comes first, where it is among them.
    pub fn json(&self) -> &[u8] {
        self.slice(self.length)
    }

    /// The part of [`json`](Self::json) that is the sort key; empty when that is no
    /// attribute of the row.
    pub fn key_json(&self) -> &[u8] {
        self.slice(self.key_length)
    }

    /// Bytes of these attributes, names and values, as DynamoDB counts them.
    pub fn stored_bytes(&self) -> usize {
        self.stored as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The same in a buffer of its own, from what [`json`](Self::json),
    /// [`key_json`](Self::key_json)'s length and [`stored_bytes`](Self::stored_bytes)
    /// say.
    pub fn alone(json: Vec<u8>, key_length: usize, stored_bytes: usize) -> Extra {
        if json.is_empty() {
            return Extra::default();
        }
        Extra {
            start: 0,
            length: small(json.len()),
            key_length: small(key_length.min(json.len())),
            stored: small(stored_bytes),
            buffer: Some(Arc::new(json)),
        }
    }

    fn slice(&self, length: u32) -> &[u8] {
        let start = self.start as usize;
        let whole = self.buffer.as_ref().map_or(&[][..], |b| b.as_slice());
        whole.get(start..start + length as usize).unwrap_or(&[])
    }
}

impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        (self.json(), self.key_length, self.stored)
            == (other.json(), other.key_length, other.stored)
    }
}

impl Eq for Extra {}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.json()))
    }
}

/// The buffer that the records of one stretch are to share.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    buffer: Vec<u8>,
}

impl Gathering {
    /// Adds a row's attributes: `write` appends their JSON to the buffer and returns
    /// the length of the part that is the sort key, and the bytes that DynamoDB
    /// stores. What it appends before it fails is taken back.
    ///
    /// # Errors
    /// What `write` returns.
    pub(crate) fn add<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(usize, usize), E>,
    ) -> Result<Extra, E> {
        let start = self.buffer.len();
        match write(&mut self.buffer) {
            Ok((key_length, stored)) => Ok(Extra {
                buffer: None,
                start: small(start),
                length: small(self.buffer.len() - start),
                key_length: small(key_length),
                stored: small(stored),
            }),
            Err(e) => {
                self.buffer.truncate(start);
                Err(e)
            }
        }
    }

    /// Gives the buffer to those that were added since it was last given away. Until
    /// then they are empty.
    pub(crate) fn share<'a>(&mut self, extras: impl IntoIterator<Item = &'a mut Extra>) {
        if self.buffer.is_empty() {
            return;
        }
        let room = self.buffer.capacity();
        let whole = Arc::new(std::mem::replace(
            &mut self.buffer,
            Vec::with_capacity(room),
        ));
        for extra in extras {
            if extra.length > 0 {
                extra.buffer = Some(whole.clone());
            }
        }
    }

    /// The sort key's part of `extra`, which was added since the buffer was last given
    /// away.
    pub(crate) fn key_json(&self, extra: &Extra) -> &[u8] {
        let start = extra.start as usize;
        let part = start..start + extra.key_length as usize;
        self.buffer.get(part).unwrap_or(&[])
    }

    /// Takes `extra` back, which was added last.
    pub(crate) fn take_back(&mut self, extra: &Extra) {
        self.buffer.truncate(extra.start as usize);
    }

    /// Bytes in the buffer.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing is in it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// A stretch has some hundred rows of at most 64 KiB: far below what a u32 holds.
fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, key: usize) -> impl FnOnce(&mut Vec<u8>) -> Result<(usize, usize), ()> {
        let text = text.to_owned();
        move |out| {
            out.extend_from_slice(text.as_bytes());
            Ok((key, text.len() * 2))
        }
    }

    #[test]
    fn rows_share_a_buffer_and_each_has_its_own_part() {
        let mut gathering = Gathering::default();
        let mut extras = vec![
            gathering.add(piece(",ab", 1)).expect("added"),
            gathering.add(piece("", 0)).expect("added"),
        ];
        let refused = gathering.add(|out| {
            out.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(refused, Err("no"));
        extras.push(gathering.add(piece(",c", 0)).expect("added"));
        let last = gathering.add(piece(",de", 2)).expect("added");
        assert_eq!(gathering.key_json(&last), b",d");
        gathering.take_back(&last);
        assert_eq!(gathering.len(), 5);
        gathering.share(&mut extras);
        let json: Vec<&[u8]> = extras.iter().map(Extra::json).collect();
        assert_eq!(json, [&b",ab"[..], b"", b",c"]);
        assert_eq!(extras[0].key_json(), b",");
        assert_eq!(extras[0].stored_bytes(), 6);
        assert!(extras[1].is_empty() && gathering.is_empty());
        // The next stretch does not touch the one before.
        let mut next = gathering.add(piece(",xyz", 0)).expect("added");
        gathering.share([&mut next]);
        assert_eq!((extras[2].json(), next.json()), (&b",c"[..], &b",xyz"[..]));
        assert_eq!(next, Extra::alone(b",xyz".to_vec(), 0, 8));
    }
}
