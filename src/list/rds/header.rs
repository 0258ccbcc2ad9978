//! The header of an SQLite file: whether it is one, and its length.

/// The first bytes of every SQLite database. Source: SQLite, database file format.
pub(crate) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The file's header, in bytes. Source: as [`MAGIC`].
pub(crate) const HEADER_BYTES: usize = 100;

/// Whether `head`, the beginning of a file, is that of an SQLite database; nothing
/// when too few bytes have come to say.
pub(crate) fn is_database(head: &[u8]) -> Option<bool> {
    match head.first_chunk::<16>() {
        Some(first) => Some(first == MAGIC),
        None if MAGIC.starts_with(head) => None,
        None => Some(false),
    }
}

/// How long the database is, in bytes, by its own header; nothing when that does not
/// say it. Source: SQLite, database file format, 1.3.
pub(crate) fn length_by_header(head: &[u8]) -> Option<u64> {
    let head = head.first_chunk::<HEADER_BYTES>()?;
    let u32_at = |at: usize| -> u32 {
        let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        u32::from_be_bytes(bytes)
    };
    let page = match u16::from_be_bytes([head[16], head[17]]) {
        1 => 65_536,
        n if n >= 512 && n.is_power_of_two() => u64::from(n),
        _ => return None,
    };
    // Versions before 3.7.0 did not keep it up to date.
    let (pages, is_valid) = (u32_at(28), u32_at(24) == u32_at(92));
    (pages > 0 && is_valid).then(|| page * u64::from(pages))
}
