use super::*;
use crate::source::decompress::output::TEXT_BYTES;
use crate::source::decompress::zip::tests::{Entry, archive};
use proptest::prelude::*;
use std::io::Write as _;

/// Text of `lines` lines that compresses to more than a few bytes.
fn text(lines: usize) -> Vec<u8> {
    (0..lines as u64)
        .flat_map(|i| format!("{:064X}\n", i.wrapping_mul(0x9E37_79B9_7F4A_7C15)).into_bytes())
        .collect()
}

/// `text` compressed in one go.
fn pack(codec: Codec, text: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Gzip => {
            let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            w.write_all(text).and_then(|()| w.finish()).expect("gzip")
        }
        Codec::Zstd => {
            let mut w = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("zstd");
            w.include_checksum(true).expect("zstd");
            w.write_all(text).and_then(|()| w.finish()).expect("zstd")
        }
        Codec::Xz => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut w = lzma_rust2::XzWriter::new(Vec::new(), options).expect("xz");
            w.write_all(text).expect("xz");
            w.finish().expect("xz")
        }
        Codec::Bzip2 => {
            let mut w = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            w.write_all(text).and_then(|()| w.finish()).expect("bzip2")
        }
        Codec::Lz4 => {
            let mut info = lz4_flex::frame::FrameInfo::new();
            info.content_checksum = true;
            info.block_mode = lz4_flex::frame::BlockMode::Linked;
            let mut w = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            w.write_all(text).expect("lz4");
            w.finish().expect("lz4")
        }
        Codec::Zip => archive(&[Entry::deflated("list.txt", text)]),
    }
}

const ALL: [Codec; 6] = [
    Codec::Gzip,
    Codec::Zstd,
    Codec::Xz,
    Codec::Bzip2,
    Codec::Lz4,
    Codec::Zip,
];

/// Decompresses `chunks`. Returns the text, the number of consumed bytes, and the
/// result.
fn decode_chunks<'a>(
    codec: Codec,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, u64, Result<()>) {
    let packed = SourceCompression {
        codec,
        member: None,
    };
    let mut chunks = chunks.into_iter();
    let (mut text, mut consumed) = (Vec::new(), 0);
    let ended = decompress(
        "list",
        &packed,
        || Ok(chunks.next().map(Bytes::copy_from_slice)),
        |chunk| {
            assert!(chunk.bytes.len() <= TEXT_BYTES);
            text.extend_from_slice(&chunk.bytes);
            consumed += chunk.compressed_bytes;
            true
        },
    );
    (text, consumed, ended)
}

fn decode(codec: Codec, packed: &[u8]) -> (Vec<u8>, u64, Result<()>) {
    decode_chunks(codec, packed.chunks(1000))
}

fn assert_decoded(codec: Codec, packed: &[u8], expected: &[u8]) {
    let (text, consumed, ended) = decode(codec, packed);
    ended.unwrap_or_else(|e| panic!("{codec}: {e}"));
    assert!(
        text == expected,
        "{codec}: {} of {}",
        text.len(),
        expected.len()
    );
    assert_eq!(consumed, packed.len() as u64, "{codec}");
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let value = |d: u8| char::from(d).to_digit(16).expect("a digit") as u8;
    digits
        .chunks(2)
        .map(|d| value(d[0]) << 4 | value(d[1]))
        .collect()
}

#[test]
fn each_format_is_decompressed_and_every_byte_counted() {
    for codec in ALL {
        for lines in [0, 1, 5000] {
            assert_decoded(codec, &pack(codec, &text(lines)), &text(lines));
        }
    }
}

#[test]
fn files_of_other_programs_are_decompressed() {
    // CPython's gzip, bz2 and lzma, python-zstandard and python-lz4.
    for (codec, hex) in REFERENCE {
        assert_decoded(codec, &from_hex(hex), b"hello\nhello\nhello\n");
    }
}

#[test]
fn consecutive_members_are_decompressed() {
    let (one, two) = (text(900), text(10));
    for codec in &ALL[..5] {
        let parts = [pack(*codec, &one), pack(*codec, b""), pack(*codec, &two)];
        assert_decoded(*codec, &parts.concat(), &[&one[..], &two].concat());
    }
    // bgzip ends a file with an empty member.
    let end = from_hex("1f8b08040000000000ff0600424302001b0003000000000000000000");
    let bgzip = [pack(Codec::Gzip, &one), end].concat();
    assert_decoded(Codec::Gzip, &bgzip, &one);
    // Padding to whole blocks.
    for codec in [Codec::Gzip, Codec::Bzip2, Codec::Xz] {
        let padded = [pack(codec, &two), vec![0; 512]].concat();
        assert_decoded(codec, &padded, &two);
    }
    let between = [pack(Codec::Xz, &one), vec![0; 8], pack(Codec::Xz, &two)].concat();
    assert_decoded(Codec::Xz, &between, &[&one[..], &two].concat());
}

#[test]
fn skippable_frames_are_skipped() {
    let skip = [&b"\x53\x2A\x4D\x18\x05\0\0\0"[..], b"hello"].concat();
    for codec in [Codec::Zstd, Codec::Lz4] {
        let parts = [
            &skip[..],
            &pack(codec, &text(9)),
            &skip,
            &skip,
            &pack(codec, &text(5)),
            &skip,
        ];
        assert_decoded(codec, &parts.concat(), &[text(9), text(5)].concat());
        let cut = &parts.concat()[..];
        assert!(decode(codec, &cut[..cut.len() - 1]).2.is_err(), "{codec}");
    }
}

#[test]
fn truncation_at_any_byte_is_an_error() {
    let whole = text(40);
    for codec in ALL {
        let packed = pack(codec, &whole);
        for n in 0..packed.len() {
            let (got, _, ended) = decode(codec, &packed[..n]);
            let e = ended.expect_err("cut off");
            assert!(whole.starts_with(&got), "{codec} at {n}");
            assert_eq!(e.kind(), ErrorKind::Damaged, "{codec} at {n}: {e}");
            assert!(
                format!("{e:#}").contains("it is cut off"),
                "{codec} at {n}: {e}"
            );
            let text = format!("byte {} of its text", got.len());
            assert!(format!("{e:#}").contains(&text), "{codec} at {n}: {e}");
        }
    }
}

#[test]
fn unknown_data_after_the_end_is_an_error() {
    for codec in &ALL[..5] {
        let (got, _, ended) = decode(*codec, &[&pack(*codec, &text(9))[..], b"more"].concat());
        assert_eq!(got, text(9), "{codec}");
        assert_eq!(
            ended.expect_err("more").kind(),
            ErrorKind::Damaged,
            "{codec}"
        );
    }
}

#[test]
fn a_window_above_the_limit_is_an_error_with_a_hint() {
    // A frame header that asks for 2^28 bytes, and an empty last block.
    let zstd = from_hex("28b52ffd 00 90 010000");
    let e = decode(Codec::Zstd, &zstd).2.expect_err("too large");
    assert!(format!("{e:#}").contains("larger than 128 MiB"), "{e}");
    assert!(e.hint().is_some_and(|h| h.contains("--long=31")));
    // 2^27 bytes are accepted.
    assert_decoded(Codec::Zstd, &from_hex("28b52ffd 00 88 010000"), b"");

    let options = |dictionary| {
        let mut options = lzma_rust2::XzOptions::with_preset(0);
        options.lzma_options.dict_size = dictionary;
        options
    };
    let xz = |dictionary| {
        let mut w = lzma_rust2::XzWriter::new(Vec::new(), options(dictionary)).expect("xz");
        w.write_all(b"hello\n").expect("xz");
        w.finish().expect("xz")
    };
    let e = decode(Codec::Xz, &xz(192 << 20)).2.expect_err("too large");
    assert!(format!("{e:#}").contains("larger than 128 MiB"), "{e}");
}

#[test]
fn the_error_of_the_source_is_passed_on() {
    for codec in ALL {
        let packed = pack(codec, &text(500));
        let mut chunks = packed[..packed.len() / 2].chunks(100);
        let compression = SourceCompression {
            codec,
            member: None,
        };
        let e = decompress(
            "list",
            &compression,
            || match chunks.next() {
                Some(chunk) => Ok(Some(Bytes::copy_from_slice(chunk))),
                None => Err(Error::new(ErrorKind::Read, "the line is down")),
            },
            |_| true,
        );
        assert_eq!(
            e.expect_err("it failed").to_string(),
            "the line is down",
            "{codec}"
        );
    }
}

#[test]
fn a_closed_receiver_ends_the_decompression() {
    for codec in ALL {
        let packed = pack(codec, &text(5000));
        let mut chunks = packed.chunks(100);
        let compression = SourceCompression {
            codec,
            member: None,
        };
        let mut chunks_sent = 0;
        let ended = decompress(
            "list",
            &compression,
            || Ok(chunks.next().map(Bytes::copy_from_slice)),
            |_| {
                chunks_sent += 1;
                false
            },
        );
        assert!(ended.is_ok() && chunks_sent == 1, "{codec}: {chunks_sent}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The text does not depend on how the compressed bytes are cut.
    #[test]
    fn the_text_does_not_depend_on_chunk_limits(
        lines in 0usize..60,
        twice in any::<bool>(),
        cuts in proptest::collection::vec(1usize..40, 1..20),
    ) {
        for codec in ALL {
            let mut packed = pack(codec, &text(lines));
            let mut expected = text(lines);
            if twice && codec != Codec::Zip {
                packed.extend(pack(codec, &text(3)));
                expected.extend(text(3));
            }
            let mut chunks = Vec::new();
            let mut rest = &packed[..];
            let mut cut = cuts.iter().cycle();
            while !rest.is_empty() {
                let n = (*cut.next().expect("cycles")).min(rest.len());
                chunks.push(&rest[..n]);
                rest = &rest[n..];
            }
            let (got, consumed, ended) = decode_chunks(codec, chunks);
            prop_assert!(ended.is_ok(), "{codec}: {ended:?}");
            prop_assert!(got == expected, "{codec}");
            prop_assert_eq!(consumed, packed.len() as u64);
        }
    }

    /// Damage is an error, or does not change the text; nothing panics.
    #[test]
    fn damage_is_detected(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        lines in 1usize..50,
    ) {
        for codec in ALL {
            let mut packed = pack(codec, &text(lines));
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
            let (got, _, ended) = decode(codec, &packed);
            if ended.is_ok() {
                prop_assert!(got == text(lines), "{codec}: byte {at}, bit {bit}");
            }
        }
    }

    /// Nothing panics with any data after the magic number.
    #[test]
    fn arbitrary_data_never_panics(rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let magic: [(Codec, &[u8]); 6] = [
            (Codec::Gzip, b"\x1F\x8B\x08\0"),
            (Codec::Zstd, b"\x28\xB5\x2F\xFD"),
            (Codec::Xz, b"\xFD7zXZ\0"),
            (Codec::Bzip2, b"BZh9\x31\x41\x59\x26\x53\x59"),
            (Codec::Lz4, b"\x04\x22\x4D\x18"),
            (Codec::Zip, b"PK\x03\x04"),
        ];
        for (codec, magic) in magic {
            let _ = decode(codec, &[magic, &rest].concat());
            let _ = decode(codec, &rest);
        }
    }
}

/// `hello` three times, compressed by other programs.
const REFERENCE: [(Codec, &str); 7] = [
    (
        Codec::Gzip,
        "1f8b0800000000000203cb48cdc9c9e7ca4022013a37663d12000000",
    ),
    (
        Codec::Bzip2,
        "425a683931415926535927bc6671000004410000100244a000223f546419a0a8e45c78bb9229c284813de33388",
    ),
    (
        Codec::Xz,
        "fd377a585a000004e6d6b4460200210116000000742fe5a3e00011000b5d00341949ee8ddd4ec585e0000000e5955ebcb6d0ac09000127120676fa091fb6f37d010000000004595a",
    ),
    (
        Codec::Xz,
        "fd377a585a00000ae1fb0ca10200210116000000742fe5a3e00011000b5d00341949ee8ddd4ec585e0000000fcf30b99ad097a0a48b1bfa6be7a1d0416105c28785fefbca0cf564cc84847cd00013f125feee18b189b4b9a01000000000a595a",
    ),
    (
        Codec::Zstd,
        "28b52ffd24126500003068656c6c6f0a0100e14a11ef0812e1",
    ),
    (
        Codec::Lz4,
        "04224d186c4012000000000000001b0f0000006368656c6c6f0a060050656c6c6f0a00000000eb49a796",
    ),
    (
        Codec::Lz4,
        "04224d1878401200000000000000da0f0000006368656c6c6f0a060050656c6c6f0a5b9d8c9100000000",
    ),
];
