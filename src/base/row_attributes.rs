//! Attributes of an item from the row of its hash, as the JSON text to write.
//!
//! Most lists have none, and an empty [`RowAttributes`] costs nothing. Otherwise the attributes
//! of some hundred rows share one buffer, so no row needs an allocation.

use std::fmt;
use std::sync::Arc;

/// Row attributes of one item. See the [module](self).
#[derive(Clone, Default)]
pub struct RowAttributes {
    buffer: Option<Arc<Vec<u8>>>,
    start: u32,
    length: u32,
    key_length: u32,
    stored_bytes: u32,
}

impl RowAttributes {
    /// The attributes as JSON text that continues an item's object: each begins with a
    /// comma. The sort key comes first if it is one of them.
    pub fn json(&self) -> &[u8] {
        self.slice(self.length)
    }

    /// The sort key's part of [`json`](Self::json); empty if the row does not provide
    /// it.
    pub fn key_json(&self) -> &[u8] {
        self.slice(self.key_length)
    }

    /// Size of names and values in bytes, as DynamoDB counts it.
    pub fn stored_bytes(&self) -> usize {
        self.stored_bytes as usize
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Creates attributes with a separate buffer. The arguments correspond to
    /// [`json`](Self::json), the length of [`key_json`](Self::key_json), and
    /// [`stored_bytes`](Self::stored_bytes).
    pub fn from_json(json: Vec<u8>, key_length: usize, stored_bytes: usize) -> RowAttributes {
        if json.is_empty() {
            return RowAttributes::default();
        }
        RowAttributes {
            start: 0,
            length: saturating_u32(json.len()),
            key_length: saturating_u32(key_length.min(json.len())),
            stored_bytes: saturating_u32(stored_bytes),
            buffer: Some(Arc::new(json)),
        }
    }

    fn slice(&self, length: u32) -> &[u8] {
        let start = self.start as usize;
        let whole = self.buffer.as_ref().map_or(&[][..], |b| b.as_slice());
        whole.get(start..start + length as usize).unwrap_or(&[])
    }
}

impl PartialEq for RowAttributes {
    fn eq(&self, other: &Self) -> bool {
        (self.json(), self.key_length, self.stored_bytes)
            == (other.json(), other.key_length, other.stored_bytes)
    }
}

impl Eq for RowAttributes {}

impl fmt::Debug for RowAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.json()))
    }
}

/// The buffer that the records of a segment share.
#[derive(Debug, Default)]
pub(crate) struct RowBuffer {
    buffer: Vec<u8>,
}

impl RowBuffer {
    /// Adds a row's attributes. `write` appends their JSON to the buffer. It returns
    /// the length of the sort key's part, and the bytes that DynamoDB stores. If it
    /// fails, its output is removed.
    ///
    /// # Errors
    /// The error of `write`.
    pub(crate) fn add<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(usize, usize), E>,
    ) -> Result<RowAttributes, E> {
        let start = self.buffer.len();
        match write(&mut self.buffer) {
            Ok((key_length, stored)) => Ok(RowAttributes {
                buffer: None,
                start: saturating_u32(start),
                length: saturating_u32(self.buffer.len() - start),
                key_length: saturating_u32(key_length),
                stored_bytes: saturating_u32(stored),
            }),
            Err(e) => {
                self.buffer.truncate(start);
                Err(e)
            }
        }
    }

    /// Moves the buffer to the attributes added since the last call. Until then they
    /// are empty.
    pub(crate) fn share<'a>(&mut self, extras: impl IntoIterator<Item = &'a mut RowAttributes>) {
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

    /// The sort key's part of `extra`, which must still be in the buffer.
    pub(crate) fn key_json(&self, extra: &RowAttributes) -> &[u8] {
        let start = extra.start as usize;
        let part = start..start + extra.key_length as usize;
        self.buffer.get(part).unwrap_or(&[])
    }

    /// Removes `extra`, the last addition.
    pub(crate) fn remove_last(&mut self, extra: &RowAttributes) {
        self.buffer.truncate(extra.start as usize);
    }

    /// Bytes in the buffer.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// True if the buffer is empty.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Converts a size. A segment has some hundred rows of at most 64 KiB, far below the
/// range of a u32.
fn saturating_u32(n: usize) -> u32 {
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
    fn rows_share_a_buffer_with_separate_parts() {
        let mut gathering = RowBuffer::default();
        let mut extras = vec![
            gathering.add(piece(",ab", 1)).expect("added"),
            gathering.add(piece("", 0)).expect("added"),
        ];
        let failed = gathering.add(|out| {
            out.extend_from_slice(b"half");
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        extras.push(gathering.add(piece(",c", 0)).expect("added"));
        let last = gathering.add(piece(",de", 2)).expect("added");
        assert_eq!(gathering.key_json(&last), b",d");
        gathering.remove_last(&last);
        assert_eq!(gathering.len(), 5);
        gathering.share(&mut extras);
        let json: Vec<&[u8]> = extras.iter().map(RowAttributes::json).collect();
        assert_eq!(json, [&b",ab"[..], b"", b",c"]);
        assert_eq!(extras[0].key_json(), b",");
        assert_eq!(extras[0].stored_bytes(), 6);
        assert!(extras[1].is_empty() && gathering.is_empty());
        // The next segment does not change this one.
        let mut next = gathering.add(piece(",xyz", 0)).expect("added");
        gathering.share([&mut next]);
        assert_eq!((extras[2].json(), next.json()), (&b",c"[..], &b",xyz"[..]));
        assert_eq!(next, RowAttributes::from_json(b",xyz".to_vec(), 0, 8));
    }
}
