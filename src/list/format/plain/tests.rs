//! Plain lists: hashes, headers, blanks, and rejected lines.

use super::*;
use proptest::prelude::*;

const HEX: &str = "3a2118df47bf3f04285649f0455c2fc6fe2dc7f0b237073038aa00af41f0d5f2";

fn parse(bytes: &[u8]) -> Parsed {
    let line = Line {
        bytes,
        offset: 0,
        number: 1,
        length: bytes.len() as u64,
    };
    LineParser::new(Algorithm::Sha256).parse(&line)
}

#[test]
fn a_hash_is_parsed_in_any_case_and_with_blanks_around_it() {
    let expected = Parsed::Hash(Hash::from_hex(HEX.as_bytes()).expect("hex"));
    let mixed: String = HEX
        .chars()
        .enumerate()
        .map(|(i, c)| {
            if i % 2 == 0 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        })
        .collect();
    for line in [
        HEX.to_string(),
        HEX.to_uppercase(),
        mixed,
        format!("{HEX}\r"),
        format!("{HEX} \t \r"),
        format!("  {HEX}"),
        format!("\u{FEFF}{HEX}\r"),
    ] {
        assert_eq!(parse(line.as_bytes()), expected, "{line:?}");
    }
}

#[test]
fn blanks_comments_and_headers_are_skipped() {
    for line in [
        "",
        "\r",
        "  \t\r",
        "# comment",
        "#",
        "\u{FEFF}",
        "\u{FEFF}# by hand",
        "SHA-256",
        "sha256",
        "sha256_hash",
        "\"SHA-1\"",
        "hash",
        "Hash Value",
        "MD5",
        "file hash",
        "sha256sum",
        "hash_sha256\r",
    ] {
        assert_eq!(parse(line.as_bytes()), Parsed::Skipped, "{line:?}");
    }
    // A comment may hold invalid UTF-8.
    assert_eq!(parse(b"# caf\xE9"), Parsed::Skipped);
}

#[test]
fn other_lines_are_rejected_with_their_reason() {
    let almost_hex = HEX.replace('3', "g");
    for (line, reason) in [
        (&b"hello"[..], RejectReason::Length),
        (&HEX.as_bytes()[1..], RejectReason::Length),
        (b"92e792c43c35e96fed3f9566083326fc", RejectReason::Length),
        (almost_hex.as_bytes(), RejectReason::Hex),
        (b"abc\0def", RejectReason::Nul),
        (b"caf\xE9", RejectReason::Utf8),
        (b"0x00", RejectReason::Length),
        (
            format!("{HEX} {HEX}\t{HEX}").as_bytes(),
            RejectReason::SeveralHashes,
        ),
        (format!("{HEX} name").as_bytes(), RejectReason::Length),
    ] {
        assert_eq!(parse(line), Parsed::Rejected(reason), "{line:?}");
    }
    let overlong = Line {
        bytes: b"ab",
        offset: 0,
        number: 1,
        length: 1 << 20,
    };
    assert_eq!(
        LineParser::new(Algorithm::Sha256).parse(&overlong),
        Parsed::Rejected(RejectReason::Overlong)
    );
}

#[test]
fn a_hash_may_have_its_algorithms_name_or_0x_before_it() {
    let expected = Parsed::Hash(Hash::from_hex(HEX.as_bytes()).expect("hex"));
    for before in ["sha256:", "SHA256:", "sha-256: ", "0x", "0X"] {
        assert_eq!(
            parse(format!("{before}{HEX}\r").as_bytes()),
            expected,
            "{before}"
        );
    }
    // Other algorithms with hashes of the same length.
    for before in ["blake3:", "sha3-256:"] {
        let parsed = parse(format!("{before}{HEX}").as_bytes());
        assert_eq!(
            parsed,
            Parsed::Rejected(RejectReason::Algorithm),
            "{before}"
        );
    }
    assert_eq!(
        parse(format!("ssdeep:{HEX}").as_bytes()),
        Parsed::Rejected(RejectReason::Length)
    );
    let shown = |text: String| algorithm_from_text(text.as_bytes());
    assert_eq!(shown(format!("blake3:{HEX}")), Some(Algorithm::Blake3));
    assert_eq!(shown(format!("0x{HEX}")), Some(Algorithm::Sha256));
    assert_eq!(shown(format!("md5:{HEX}")), None);
}

#[test]
fn the_length_of_a_hash_decides_the_algorithm() {
    let line = |bytes| Line {
        bytes,
        offset: 0,
        number: 1,
        length: 1,
    };
    assert_eq!(
        algorithm_from_line(&line(b" 92e792c43c35e96fed3f9566083326fc\r")),
        Some(Algorithm::Md5)
    );
    assert_eq!(
        algorithm_from_line(&line(HEX.as_bytes())),
        Some(Algorithm::Sha256)
    );
    assert_eq!(algorithm_from_line(&line(b"cafe")), None);
    assert_eq!(algorithm_from_line(&line(b"# md5")), None);
}

#[test]
fn lines_of_other_formats_are_described() {
    let described = |text: &str| describe_line(text.as_bytes()).map(|s| s.into_owned());
    assert_eq!(
        described("92e792c43c35e96fed3f9566083326fc\r").as_deref(),
        Some("md5 by its length")
    );
    assert!(described(&format!("{HEX}  a/b.deb")).is_some_and(|s| s.contains("sha256sum")));
    assert!(described(&format!("\"{HEX}\",\"x\"")).is_some_and(|s| s.contains("table")));
    assert_eq!(described("hello world"), None);
}
proptest! {
    /// No line panics, and a parsed hash occurs in its line.
    #[test]
    fn any_line_is_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), blanks in "[ \t]{0,3}", raw in any::<[u8; 16]>(), upper in any::<bool>()) {
        let parser = LineParser::new(Algorithm::Md5);
        fn line(bytes: &[u8]) -> Line<'_> { Line { bytes, offset: 0, number: 1, length: bytes.len() as u64 } }
        if let Parsed::Hash(hash) = parser.parse(&line(&bytes)) {
            let text = String::from_utf8(bytes.clone()).expect("a hash is text").to_lowercase();
            prop_assert!(text.contains(&hash.to_hex(crate::base::hash::Case::Lower)));
        }
        let hash = Hash::from_bytes(&raw).expect("16 bytes");
        let case = if upper { crate::base::hash::Case::Upper } else { crate::base::hash::Case::Lower };
        let text = format!("{blanks}{}{blanks}\r", hash.to_hex(case));
        prop_assert_eq!(parser.parse(&line(text.as_bytes())), Parsed::Hash(hash));
    }
}
