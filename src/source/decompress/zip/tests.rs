use super::*;
use crate::source::decompress::codec::{Codec, SourceCompression};
use crate::source::decompress::decoder::decompress;
use bytes::Bytes;
use std::io::Write as _;

/// A member to write to an archive.
pub(crate) struct Entry<'a> {
    name: &'a str,
    text: &'a [u8],
    method: u16,
    flags: u16,
    /// True for sizes in the ZIP64 field.
    wide: bool,
    /// True for a descriptor with a signature.
    signed: bool,
}

impl<'a> Entry<'a> {
    pub(crate) fn deflated(name: &'a str, text: &'a [u8]) -> Self {
        Entry {
            name,
            text,
            method: 8,
            flags: 0,
            wide: false,
            signed: true,
        }
    }

    fn stored(name: &'a str, text: &'a [u8]) -> Self {
        Entry {
            method: 0,
            ..Entry::deflated(name, text)
        }
    }

    fn descriptor(self) -> Self {
        Entry { flags: 8, ..self }
    }

    fn wide(self) -> Self {
        Entry { wide: true, ..self }
    }
}

/// Writes an archive of `entries`.
pub(crate) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for e in entries {
        let data = match e.method {
            8 => {
                let level = flate2::Compression::fast();
                let mut w = flate2::write::DeflateEncoder::new(Vec::new(), level);
                w.write_all(e.text)
                    .and_then(|()| w.finish())
                    .expect("deflate")
            }
            _ => e.text.to_vec(),
        };
        let mut crc = Crc::new();
        crc.update(e.text);
        let has_descriptor = e.flags & 8 != 0;
        let sizes = [data.len() as u64, e.text.len() as u64];
        let at = out.len() as u32;
        let mut extra = Vec::new();
        if e.wide {
            extra.extend([1, 0, 16, 0]);
            for n in sizes.iter().rev() {
                extra.extend(if has_descriptor { 0 } else { *n }.to_le_bytes());
            }
        }
        let head = |out: &mut Vec<u8>, central: bool| {
            out.extend(if central {
                CENTRAL_HEADER
            } else {
                LOCAL_HEADER
            });
            if central {
                out.extend(45u16.to_le_bytes());
            }
            for n in [45, e.flags, e.method, 0, 0x21] {
                out.extend(n.to_le_bytes());
            }
            let known = central || !has_descriptor;
            out.extend(if known { crc.sum() } else { 0 }.to_le_bytes());
            for n in sizes {
                let n = match (e.wide, known) {
                    (true, _) => ZIP64_MARKER,
                    (false, true) => n as u32,
                    (false, false) => 0,
                };
                out.extend(n.to_le_bytes());
            }
            out.extend((e.name.len() as u16).to_le_bytes());
            out.extend((extra.len() as u16).to_le_bytes());
            if central {
                out.extend([0; 10]);
                out.extend(at.to_le_bytes());
            }
            out.extend(e.name.as_bytes());
            out.extend(&extra);
        };
        head(&mut out, false);
        out.extend(&data);
        if has_descriptor {
            if e.signed {
                out.extend(DESCRIPTOR);
            }
            out.extend(crc.sum().to_le_bytes());
            for n in sizes {
                match e.wide {
                    true => out.extend(n.to_le_bytes()),
                    false => out.extend((n as u32).to_le_bytes()),
                }
            }
        }
        head(&mut directory, true);
    }
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend(END);
    out.extend([0; 4]);
    let count = entries.len() as u16;
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// Decompresses `member` of `archive`, which arrives in small chunks.
fn decode(archive: &[u8], member: Option<&str>) -> (String, Result<()>) {
    let packed = SourceCompression {
        codec: Codec::Zip,
        member: member.map(str::to_owned),
    };
    let mut chunks = archive.chunks(7);
    let mut text = Vec::new();
    let ended = decompress(
        "list.zip",
        &packed,
        || Ok(chunks.next().map(Bytes::copy_from_slice)),
        |chunk| {
            text.extend_from_slice(&chunk.bytes);
            true
        },
    );
    (String::from_utf8(text).expect("text"), ended)
}

const TEXT: &str = "hello\nhello\nhello\nPK\x07\x08 and PK\x03\x04\n";

#[test]
fn members_are_read_with_all_forms_of_sizes() {
    let t = TEXT.as_bytes();
    let unsigned = |e: Entry<'static>| Entry { signed: false, ..e };
    for (case, entry) in [
        ("stored", Entry::stored("a", t)),
        ("deflated", Entry::deflated("a", t)),
        ("empty", Entry::stored("a", b"")),
        ("ZIP64", Entry::deflated("a", t).wide()),
        ("stored, ZIP64", Entry::stored("a", t).wide()),
        ("descriptor", Entry::deflated("a", t).descriptor()),
        (
            "descriptor, ZIP64",
            Entry::deflated("a", t).descriptor().wide(),
        ),
        (
            "no signature",
            unsigned(Entry::deflated("a", t).descriptor()),
        ),
        (
            "no signature, ZIP64",
            unsigned(Entry::deflated("a", t).descriptor().wide()),
        ),
    ] {
        let expected = String::from_utf8_lossy(entry.text).into_owned();
        let whole = archive(&[Entry::stored("folder/", b""), entry]);
        let (text, ended) = decode(&whole, None);
        ended.unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(text, expected, "{case}");
        for n in 0..whole.len() {
            assert!(
                decode(&whole[..n], None).1.is_err(),
                "{case}, cut off at {n}"
            );
        }
    }
}

#[test]
fn a_named_member_is_read_and_without_a_name_all_are_listed() {
    let t = TEXT.as_bytes();
    let whole = archive(&[
        Entry::deflated("md5.txt", b"no").descriptor(),
        Entry::stored("x.txt", b"not this"),
        Entry::deflated("sha256.txt", t).descriptor().wide(),
        Entry::deflated("readme.txt", b"nor this"),
    ]);
    let (text, ended) = decode(&whole, Some("sha256.txt"));
    ended.expect("picked");
    assert_eq!(text, TEXT);
    let (text, ended) = decode(&whole, None);
    assert_eq!(text, "no", "the further members are detected afterwards");
    let e = ended.expect_err("several");
    assert_eq!(e.exit_status(), 1);
    assert!(format!("{e:#}").contains("4 members"), "{e}");
    assert!(
        format!("{e:#}").contains("md5.txt, x.txt, sha256.txt, readme.txt"),
        "{e}"
    );
    assert!(e.hint().is_some_and(|h| h.contains("--member")));
    let e = decode(&whole, Some("b")).1.expect_err("none of that name");
    assert!(
        format!("{e:#}").contains("no member \"b\"; it has: md5.txt"),
        "{e}"
    );
    assert_eq!(e.exit_status(), 2);
}

#[test]
fn the_central_directory_lists_the_members() {
    let entries = [
        Entry::deflated("a.txt", b"a"),
        Entry::stored("d/", b""),
        Entry::deflated("d/b.txt", b"b").wide(),
    ];
    let whole = archive(&entries);
    for comment in [&b""[..], b"made by hand", b"PK\x05\x06 is no end"] {
        let mut whole = whole.clone();
        let end = whole.len() - 2;
        whole[end..].copy_from_slice(&(comment.len() as u16).to_le_bytes());
        whole.extend(comment);
        let tail = &whole[whole.len().saturating_sub(TAIL_BYTES as usize)..];
        let Some(DirectoryLocation::At(at, size)) = find_directory(tail) else {
            panic!("no directory in {tail:?}")
        };
        let names = member_names(&whole[at as usize..(at + size) as usize]);
        assert_eq!(names.expect("members"), ["a.txt", "d/b.txt"]);
        decode(&whole, Some("a.txt"))
            .1
            .expect("read by its headers too");
    }
    assert_eq!(find_directory(&whole[..whole.len() - 1]), None);
    assert_eq!(find_directory(b""), None);
    assert_eq!(member_names(b"PK\x01\x02"), None);
}

#[test]
fn zip64_holds_the_directory_location_in_its_own_record() {
    let mut record = END_64.to_vec();
    record.extend(44u64.to_le_bytes());
    record.extend([0; 28]);
    record.extend(7u64.to_le_bytes());
    record.extend(5_000_000_000u64.to_le_bytes());
    assert_eq!(
        find_directory_64(&record),
        Some(DirectoryLocation::At(5_000_000_000, 7))
    );
    let mut tail = LOCATOR_64.to_vec();
    tail.extend([0; 4]);
    tail.extend(5_000_000_007u64.to_le_bytes());
    tail.extend([1, 0, 0, 0]);
    tail.extend(END);
    tail.extend([0; 4]);
    tail.extend([0xFF; 12]);
    tail.extend([0; 2]);
    assert_eq!(
        find_directory(&tail),
        Some(DirectoryLocation::EndRecord64(5_000_000_007))
    );
    // An archive that ends with all three records.
    let whole = archive(&[Entry::stored("a", TEXT.as_bytes())]);
    let (body, _) = whole.split_at(whole.len() - END_BYTES);
    let (text, ended) = decode(&[body, &record, &tail].concat(), None);
    ended.expect("ZIP64");
    assert_eq!(text, TEXT);
}

#[test]
fn unreadable_members_are_errors_with_a_reason() {
    for (flags, method, expected) in [
        (1, 8, "\"a\" is encrypted"),
        (0x2000, 8, "\"a\" is encrypted"),
        (0, 9, "Deflate64"),
        (0, 14, "LZMA"),
        (0, 99, "a method other"),
        (8, 0, "without its length"),
    ] {
        let entry = Entry {
            flags,
            method,
            ..Entry::stored("a", b"hello")
        };
        let e = decode(&archive(&[entry]), None).1.expect_err(expected);
        assert!(format!("{e:#}").contains(expected), "{e}");
        assert_eq!(e.exit_status(), 2);
    }
    let e = decode(&archive(&[Entry::stored("d/", b"")]), None).1;
    assert!(e.expect_err("none").to_string().contains("without members"));
}

#[test]
fn a_wrong_checksum_is_damage() {
    for entry in [
        Entry::stored("a", TEXT.as_bytes()),
        Entry::deflated("a", TEXT.as_bytes()),
        Entry::deflated("a", TEXT.as_bytes()).descriptor(),
    ] {
        let has_descriptor = entry.flags & 8 != 0;
        let mut whole = archive(&[entry]);
        let at = match has_descriptor {
            true => {
                whole
                    .windows(4)
                    .rposition(|w| w == DESCRIPTOR)
                    .expect("one")
                    + 4
            }
            false => 14,
        };
        whole[at] ^= 1;
        let (text, ended) = decode(&whole, None);
        assert_eq!(text, TEXT);
        assert!(ended.expect_err("damaged").to_string().contains("damaged"));
    }
}
