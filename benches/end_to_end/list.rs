//! The list: SHA-256-like lines, generated from their line numbers.
//!
//! Any part can be generated without the parts before it. So the server needs no
//! memory, and a broken read can resume anywhere. The hashes are distinct,
//! because the first word of each is a bijection of its line number, and look as
//! random as real ones.

/// Bytes of a line: 64 digits, carriage return, line feed.
pub(crate) const LINE: u64 = 66;

/// Two hexadecimal digits for each byte value.
static DIGITS: [[u8; 2]; 256] = {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [HEX[byte >> 4], HEX[byte & 15]];
        byte += 1;
    }
    table
};

/// Finalizer of SplitMix64: a bijection that mixes well.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Line by number; the first is 0.
pub(crate) fn line(number: u64) -> [u8; LINE as usize] {
    let mut line = [b'\n'; LINE as usize];
    for word in 0..4 {
        let bytes = mix(4 * number + word).to_be_bytes();
        let at = 16 * word as usize;
        for (pair, byte) in line[at..at + 16].chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&DIGITS[usize::from(byte)]);
        }
    }
    line[64] = b'\r';
    line
}

/// Fills a buffer with the list's bytes, starting at `offset`.
pub(crate) fn fill(offset: u64, out: &mut [u8]) {
    let mut number = offset / LINE;
    let mut skip = (offset % LINE) as usize;
    let mut done = 0;
    while done < out.len() {
        let line = line(number);
        let part = &line[skip..];
        let length = part.len().min(out.len() - done);
        out[done..done + length].copy_from_slice(&part[..length]);
        done += length;
        number += 1;
        skip = 0;
    }
}

/// Contribution of one hash to the checksum. A sum, so that the order of the
/// hashes does not matter.
pub(crate) fn weight(hash: &[u8]) -> u64 {
    let words = hash.chunks_exact(8).take(4).enumerate();
    words.fold(0, |sum: u64, (index, word)| {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        sum.wrapping_add(word.rotate_left(index as u32 * 13))
    })
}

/// Checksum of a list with this number of lines.
pub(crate) fn checksum(lines: u64) -> u64 {
    (0..lines).fold(0, |sum, number| {
        sum.wrapping_add(weight(&line(number)[..64]))
    })
}
