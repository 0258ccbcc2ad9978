//! Header of an SQLite file: detection, and the length of the file.

/// The first bytes of every SQLite database. Source: SQLite, database file format.
pub(crate) const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Size of the file's header, in bytes. Source: same as [`MAGIC`].
pub(crate) const HEADER_BYTES: usize = 100;

/// Reports whether a file that begins with `head` is an SQLite database. `None` if `head` is
/// too short to decide.
pub(crate) fn is_database(head: &[u8]) -> Option<bool> {
    match head.first_chunk::<16>() {
        Some(first) => Some(first == MAGIC),
        None if MAGIC.starts_with(head) => None,
        None => Some(false),
    }
}

/// Returns the length of the database in bytes, as its header says. `None` if the header does
/// not tell. Source: SQLite, database file format, 1.3.
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
    // SQLite before 3.7.0 does not update the number of pages at 28. It is current if the change
    // counter at 24 equals its copy at 92, which later versions write with it.
    let (pages, is_valid) = (u32_at(28), u32_at(24) == u32_at(92));
    (pages > 0 && is_valid).then(|| page * u64::from(pages))
}
